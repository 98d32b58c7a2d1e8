"""The training pipeline: from a samplesheet to a model, its encoder, an embedding, a report and the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.pipeline_parameters import pipeline_of
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.graphs.task_sequences import (
    PARAMETERS,
    plan_run,
    publish_run,
    should_promote,
    train_and_evaluate,
)


def training(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
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
        done = train_and_evaluate(make, given, plan)
        with dsl.If(given["registry"] != "", name="registry"), dsl.If(should_promote(done["promote"]), name="promoted"):
            publish_run(make, given, plan, done)

    return pipeline_of(
        "training",
        "Train an LSTM autoencoder on epigenomic tracks, embed the genome, evaluate, and publish what is better.",
        (*PARAMETERS, "registry", "branch", "ir_sha256"),
        defaults,
        tasks,
    )
