"""The pipelines: which tasks each has, and what follows from what.

Each is a function that makes the tasks while kfp traces it. It gets a `TaskMaker` and, in `given`, what kfp passes for
each parameter of the pipeline, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from epilstm.pipelines.graphs.pipeline_parameters import TRACKS, pipeline
from epilstm.pipelines.graphs.step_components import Form
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.graphs.task_sequences import (
    GROUPS,
    PARAMETERS,
    SHARDS,
    inputs_of,
    plan_run,
    publish_run,
    should_promote,
    train_and_evaluate,
)
from epilstm.pipelines.lifecycle import VERDICT

#: How `embedding` runs steps: with an encoder that the user gives by its path.
ENCODED = Form(inputs=("encoder",), by_path=("encoder",))

#: How `monitoring` runs the step: on the signal of new tracks.
NEW_TRACKS = Form(inputs=("signal",))


@pipeline(
    "training",
    "Train an LSTM autoencoder on epigenomic tracks, embed the genome, evaluate, and publish what is better.",
    (*PARAMETERS, "registry", "branch", "ir_sha256"),
)
def training(make: TaskMaker, given: Mapping[str, Any]) -> None:
    """From a samplesheet to a model, its encoder, an embedding, a report and the gate."""
    plan = plan_run(make, given)
    done = train_and_evaluate(make, given, plan)
    with dsl.If(given["registry"] != "", name="registry"), dsl.If(should_promote(done["promote"]), name="promoted"):
        publish_run(make, given, plan, done)


@pipeline(
    "retraining",
    "Train again if anything is new, compare with the champion, publish and serve what is better.",
    (*PARAMETERS, "branch", "max_age_days", "canary_percent", "inference_service", "ir_sha256"),
    required=("registry",),
)
def retraining(make: TaskMaker, given: Mapping[str, Any]) -> None:
    """If anything is new, training, the gate, the registry and serving; run on a schedule."""
    plan = plan_run(make, given)
    about = {name: given[name] for name in ("registry", "max_age_days")}
    changed = make.changed(**about, **inputs_of(given, plan))
    with dsl.If(changed.outputs[VERDICT] == "changed", name="changed"):
        done = train_and_evaluate(make, given, plan)
        with dsl.If(should_promote(done["promote"]), name="promoted"):
            published = publish_run(make, given, plan, done)
            serving = ("registry", "branch", "data_root", "inference_service", "canary_percent")
            make.rollout(**{name: given[name] for name in serving}, rollback="", after=published.outputs["version"])


@pipeline(
    "embedding",
    "Embed epigenomic tracks with an encoder that was trained before.",
    ("data_root", *TRACKS, "ingest_shards", "genome_parts", "ingest", "preprocess", "embed"),
    required=("encoder",),
)
def embedding(make: TaskMaker, given: Mapping[str, Any]) -> None:
    """An existing encoder, over other tracks or regions."""
    root = {"data_root": given["data_root"]}
    tracks = {name: given[name] for name in TRACKS}
    parts = {name: given[name] for name in ("ingest_shards", "genome_parts")}
    plan = make.plan(also=("encoder",), **root, params=given["ingest"], **parts, **tracks, encoder=given["encoder"])
    encoder = {"encoder": given["encoder"], "encoder_version": plan.outputs["encoder_version"]}

    tracks |= {"data_version": plan.outputs["data_version"]}
    ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=given["ingest"], **tracks)

    groups = plan.outputs[GROUPS]
    scaled = {"params": given["preprocess"], "signal": ingested.outputs["signal"], **encoder}
    preprocessed = make.in_parts("preprocess", groups, ENCODED, plan=plan, **root, **scaled)

    encoded = {"params": given["embed"], "matrix": preprocessed.outputs["matrix"], **encoder}
    make.in_parts("embed", groups, ENCODED, plan=plan, **root, **encoded)


@pipeline(
    "roll-out",
    "Serve the registry's champion, or the one before it.",
    ("branch", "data_root", "canary_percent", "rollback", "inference_service"),
    required=("registry",),
)
def rollout(make: TaskMaker, given: Mapping[str, Any]) -> None:
    """Serving follows the registry, or returns to the previous champion."""
    make.rollout(**given)


@pipeline(
    "monitoring",
    "Compare new tracks with those that a model was trained on: verdict, page of plots and metrics.",
    ("data_root", *TRACKS, "ingest_shards", "ingest", "monitor"),
    required=("matrix",),
)
def monitoring(make: TaskMaker, given: Mapping[str, Any]) -> None:
    """Whether new tracks are like those the model was trained on."""
    root = {"data_root": given["data_root"]}
    tracks = {name: given[name] for name in TRACKS}
    shards = {"ingest_shards": given["ingest_shards"], "genome_parts": 1}
    plan = make.plan(also=(), **root, params=given["ingest"], **shards, **tracks)

    tracks |= {"data_version": plan.outputs["data_version"]}
    ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=given["ingest"], **tracks)
    compared = {"matrix": given["matrix"], "signal": ingested.outputs["signal"]}
    make.step("monitor", NEW_TRACKS, plan=plan, **root, params=given["monitor"], **compared)


@pipeline(
    "simulation",
    "Make a small epigenome under the data root: bigWig tracks, a samplesheet and labels for every task.",
    ("data_root", "simulate"),
)
def simulation(make: TaskMaker, given: Mapping[str, Any]) -> None:
    """A small epigenome in the data root, for the training pipeline's defaults to run on."""
    make.step("simulate", data_root=given["data_root"], params=given["simulate"])
