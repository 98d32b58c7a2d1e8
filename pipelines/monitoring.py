"""The monitoring pipeline: whether new tracks are like those the model was trained on."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.components import Form
from pipelines.run_tasks import SHARDS
from pipelines.tasks import TaskMaker

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

    @dsl.pipeline(name="epilstm-monitoring", display_name="Epi-LSTM monitoring")
    def epilstm_monitoring(
        matrix: str,
        data_root: str = defaults["data_root"],
        samplesheet: str = defaults["samplesheet"],
        regions: str = defaults["regions"],
        blacklist: str = defaults["blacklist"],
        ingest_shards: int = defaults["ingest_shards"],
        ingest: dict = defaults["ingest"],
        monitor: dict = defaults["monitor"],
    ) -> None:
        """Compare new tracks with those that a model was trained on: verdict, page of plots and metrics.

        Parameters
        ----------
        matrix
            Address of the matrix that the model was trained on, as preprocess told it (`datasets/matrix/KEY`).
        data_root
            Where bulk data lies: a folder on the mounted volume, or s3://bucket/prefix. Paths are relative to it.
        samplesheet
            CSV of the new tracks: cell_type, assay, uri and optionally replicate, sha256, transform, uncovered.
        regions
            BED of the regions to read; empty for whole chromosomes.
        blacklist
            BED of bins to treat as without data; empty for none.
        ingest_shards
            Shards of the tracks that are read at the same time, at most; fewer where there is little to read.
        ingest
            Params of ingest, as its section of params.yaml.
        monitor
            Params of monitor, as its section of params.yaml.
        """
        root: dict[str, Any] = {"data_root": data_root}
        tracks: dict[str, Any] = {"samplesheet": samplesheet, "regions": regions, "blacklist": blacklist}
        plan = make.plan(also=(), **root, params=ingest, ingest_shards=ingest_shards, genome_parts=1, **tracks)

        tracks |= {"data_version": plan.outputs["data_version"]}
        ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=ingest, **tracks)
        make.step(
            "monitor", NEW_TRACKS, plan=plan, **root, params=monitor, matrix=matrix, signal=ingested.outputs["signal"]
        )

    return epilstm_monitoring
