"""Tasks that pipelines share: from a samplesheet to an evaluated model, and from there to the registry.

`given` is what kfp passes for each parameter of the pipeline, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl import PipelineTask

from epilstm.pipelines.graphs.pipeline_parameters import LABELS, TRACKS
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.lifecycle import FILES, RUN_SECTIONS, VERDICT

#: Outputs of the plan: the parts of ingest, and of preprocess and embed.
SHARDS, GROUPS = "ingest_parts", "genome_groups"

#: Parameters of a pipeline that trains.
PARAMETERS = ("data_root", *FILES, "ingest_shards", "genome_parts", *RUN_SECTIONS)


def plan_run(make: TaskMaker, given: Mapping[str, Any]) -> PipelineTask:
    """Look at the data."""
    names = ("data_root", *FILES, "ingest_shards", "genome_parts")
    return make.plan(also=LABELS, **{name: given[name] for name in names}, params=given["ingest"])


def inputs_of(given: Mapping[str, Any], plan: PipelineTask) -> dict[str, Any]:
    """What the registry keeps of a run, as arguments of its tasks."""
    versions = {name: plan.outputs[name] for name in ("data_version", "labels_version", "code")}
    return {**versions, **{name: given[name] for name in ("data_root", *FILES, *RUN_SECTIONS)}}


def train_and_evaluate(make: TaskMaker, given: Mapping[str, Any], plan: PipelineTask) -> dict[str, PipelineTask]:
    """From tracks to a report and the gate's verdict; the whole tasks by name."""

    def of_step(name: str) -> dict[str, Any]:
        return {"plan": plan, "data_root": given["data_root"], "params": given[name]}

    tracks = {**{name: given[name] for name in TRACKS}, "data_version": plan.outputs["data_version"]}
    labels = {name: given[name] for name in LABELS}
    groups = plan.outputs[GROUPS]

    ingested = make.in_parts("ingest", plan.outputs[SHARDS], **of_step("ingest"), **tracks)
    signal = ingested.outputs["signal"]
    preprocessed = make.in_parts("preprocess", groups, **of_step("preprocess"), signal=signal)
    matrix = {"matrix": preprocessed.outputs["matrix"]}

    trained = make.train(**of_step("train"), **matrix)
    model = {"model": trained.outputs["model"]}
    exported = make.step("export", **of_step("export"), **model)
    encoder = {"encoder": exported.outputs["encoder"]}

    embedded = make.in_parts("embed", groups, **of_step("embed"), **matrix, **encoder)
    data = {**matrix, **model, "embeddings": embedded.outputs["embeddings"]}
    labels_version = plan.outputs["labels_version"]
    evaluated = make.step("evaluate", **of_step("evaluate"), **data, **labels, labels_version=labels_version)
    evaluation = {"evaluation": evaluated.outputs["evaluation"]}
    make.step("report", **of_step("report"), **data, history=trained.outputs["history"], **evaluation)

    champion = make.champion(registry=given["registry"])
    compared = {**matrix, **model, **encoder, **evaluation, "champion": champion.outputs["champion"]}
    promoted = make.step("promote", **of_step("promote"), **compared, **labels)
    return {
        "ingest": ingested,
        "preprocess": preprocessed,
        "train": trained,
        "export": exported,
        "embed": embedded,
        "evaluate": evaluated,
        "promote": promoted,
    }


def publish_run(
    make: TaskMaker, given: Mapping[str, Any], plan: PipelineTask, done: Mapping[str, PipelineTask]
) -> PipelineTask:
    """Register what a run made, and make it champion."""
    # The hash of the pipeline goes to this task alone: of a step it would change the cache key with every compilation.
    about = {name: given[name] for name in ("registry", "branch", "ir_sha256")}
    metrics = {f"{step}_metrics": task.outputs["metrics"] for step, task in done.items() if step != "promote"}
    return make.publish(
        **about,
        **inputs_of(given, plan),
        model=done["train"].outputs["model"],
        encoder=done["export"].outputs["encoder"],
        evaluation=done["evaluate"].outputs["evaluation"],
        signal_manifest=done["ingest"].outputs["signal_manifest"],
        matrix_manifest=done["preprocess"].outputs["matrix_manifest"],
        embeddings_manifest=done["embed"].outputs["embeddings_manifest"],
        decision=done["promote"].outputs["decision"],
        reasons=done["promote"].outputs["reasons"],
        **metrics,
    )


def should_promote(promoted: PipelineTask) -> Any:
    """The condition under which a run is published."""
    return promoted.outputs[VERDICT] == "promote"
