"""The retraining pipeline: if anything is new, training, the gate, the registry and serving; run on a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.pipeline_parameters import pipeline_of
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.graphs.task_sequences import (
    PARAMETERS,
    inputs_of,
    plan_run,
    publish_run,
    should_promote,
    train_and_evaluate,
)
from epilstm.pipelines.lifecycle import VERDICT


def retraining(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    def tasks(**given: Any) -> None:
        plan = plan_run(make, given)
        about = {name: given[name] for name in ("registry", "max_age_days")}
        changed = make.changed(**about, **inputs_of(given, plan))
        with dsl.If(changed.outputs[VERDICT] == "changed", name="changed"):
            done = train_and_evaluate(make, given, plan)
            with dsl.If(should_promote(done["promote"]), name="promoted"):
                published = publish_run(make, given, plan, done)
                serving = ("registry", "branch", "data_root", "inference_service", "canary_percent")
                make.rollout(**{name: given[name] for name in serving}, rollback="", after=published.outputs["version"])

    return pipeline_of(
        "retraining",
        "Train again if anything is new, compare with the champion, publish and serve what is better.",
        (*PARAMETERS, "branch", "max_age_days", "canary_percent", "inference_service", "ir_sha256"),
        defaults,
        tasks,
        required=("registry",),
    )
