"""The embedding pipeline: an existing encoder, over other tracks or regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.pipeline_parameters import TRACKS, pipeline_of
from epilstm.pipelines.graphs.step_components import Form
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.graphs.task_sequences import GROUPS, SHARDS

GIVEN = ("encoder",)
ENCODED = Form(inputs=GIVEN, by_path=GIVEN)


def embedding(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    def tasks(**given: Any) -> None:
        root = {"data_root": given["data_root"]}
        tracks = {name: given[name] for name in TRACKS}
        parts = {name: given[name] for name in ("ingest_shards", "genome_parts")}
        plan = make.plan(also=GIVEN, **root, params=given["ingest"], **parts, **tracks, encoder=given["encoder"])
        encoder = {"encoder": given["encoder"], "encoder_version": plan.outputs["encoder_version"]}

        tracks |= {"data_version": plan.outputs["data_version"]}
        ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=given["ingest"], **tracks)

        groups = plan.outputs[GROUPS]
        scaled = {"params": given["preprocess"], "signal": ingested.outputs["signal"], **encoder}
        preprocessed = make.in_parts("preprocess", groups, ENCODED, plan=plan, **root, **scaled)

        encoded = {"params": given["embed"], "matrix": preprocessed.outputs["matrix"], **encoder}
        make.in_parts("embed", groups, ENCODED, plan=plan, **root, **encoded)

    return pipeline_of(
        "embedding",
        "Embed epigenomic tracks with an encoder that was trained before.",
        ("data_root", *TRACKS, "ingest_shards", "genome_parts", "ingest", "preprocess", "embed"),
        defaults,
        tasks,
        required=GIVEN,
    )
