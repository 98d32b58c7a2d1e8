"""The monitoring pipeline: whether new tracks are like those the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.pipeline_parameters import TRACKS, pipeline_of
from epilstm.pipelines.graphs.step_components import Form
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.graphs.task_sequences import SHARDS

NEW_TRACKS = Form(inputs=("signal",))


def monitoring(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
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
        shards = {"ingest_shards": given["ingest_shards"], "genome_parts": 1}
        plan = make.plan(also=(), **root, params=given["ingest"], **shards, **tracks)

        tracks |= {"data_version": plan.outputs["data_version"]}
        ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=given["ingest"], **tracks)
        compared = {"matrix": given["matrix"], "signal": ingested.outputs["signal"]}
        make.step("monitor", NEW_TRACKS, plan=plan, **root, params=given["monitor"], **compared)

    return pipeline_of(
        "monitoring",
        "Compare new tracks with those that a model was trained on: verdict, page of plots and metrics.",
        ("data_root", *TRACKS, "ingest_shards", "ingest", "monitor"),
        defaults,
        tasks,
        required=("matrix",),
    )
