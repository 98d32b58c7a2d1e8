"""The roll-out pipeline: serving follows the registry, or returns to the previous champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.pipeline_parameters import pipeline_of
from epilstm.pipelines.graphs.step_tasks import TaskMaker


def rollout(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    def tasks(**given: Any) -> None:
        make.rollout(**given)

    return pipeline_of(
        "roll-out",
        "Serve the registry's champion, or the one before it.",
        ("branch", "data_root", "canary_percent", "rollback", "inference_service"),
        defaults,
        tasks,
        required=("registry",),
    )
