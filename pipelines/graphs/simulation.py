"""The simulation pipeline: a small epigenome in the data root, for the training pipeline's defaults to run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.pipeline_parameters import pipeline_of
from epilstm.pipelines.graphs.step_tasks import TaskMaker


def simulation(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    def tasks(data_root: Any, simulate: Any) -> None:
        make.step("simulate", data_root=data_root, params=simulate)

    return pipeline_of(
        "simulation",
        "Make a small epigenome under the data root: bigWig tracks, a samplesheet and labels for every task.",
        ("data_root", "simulate"),
        defaults,
        tasks,
    )
