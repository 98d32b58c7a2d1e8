"""Tasks that pipelines share: from a samplesheet to a judged model, and from there to the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp.dsl import PipelineTask

from pipelines.lifecycle import VERDICT
from pipelines.tasks import TaskMaker

#: Outputs of the plan: the parts of ingest, and of preprocess and embed.
SHARDS, GROUPS = "ingest_parts", "genome_groups"


@dataclass(frozen=True)
class Run:
    """What a run is made from, as parameters of its pipeline and outputs of its plan.

    Parameters
    ----------
    data_root, samplesheet, regions, blacklist, tasks, labels : Any
        Parameters of the pipeline.
    ingest_shards, genome_parts : Any
        Parameters of the pipeline.
    sections : mapping of str to Any
        Params of each step.
    """

    data_root: Any
    samplesheet: Any
    regions: Any
    blacklist: Any
    tasks: Any
    labels: Any
    ingest_shards: Any
    genome_parts: Any
    sections: Mapping[str, Any]

    @property
    def root(self) -> dict[str, Any]:
        """The data root."""
        return {"data_root": self.data_root}

    @property
    def tracks(self) -> dict[str, Any]:
        """What is ingested."""
        return {"samplesheet": self.samplesheet, "regions": self.regions, "blacklist": self.blacklist}

    @property
    def judged_on(self) -> dict[str, Any]:
        """Tasks and labels."""
        return {"tasks": self.tasks, "labels": self.labels}


def plan_run(make: TaskMaker, run: Run) -> PipelineTask:
    """Look at the data."""
    shards = {"ingest_shards": run.ingest_shards, "genome_parts": run.genome_parts}
    looked_at = {**run.root, **run.tracks, **run.judged_on}
    return make.plan(also=("tasks", "labels"), **looked_at, params=run.sections["ingest"], **shards)


def inputs_of(run: Run, plan: PipelineTask) -> dict[str, Any]:
    """What the registry keeps of a run, as arguments of its tasks."""
    versions = {name: plan.outputs[name] for name in ("data_version", "labels_version", "code")}
    return {**run.root, **versions, **run.tracks, **run.judged_on, **run.sections}


def train_and_judge(make: TaskMaker, run: Run, plan: PipelineTask, registry: Any) -> dict[str, PipelineTask]:
    """From tracks to a report and the gate's verdict; the whole tasks by name."""
    root, params = run.root, run.sections
    tracks = {**run.tracks, "data_version": plan.outputs["data_version"]}
    ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=params["ingest"], **tracks)

    signal = {"signal": ingested.outputs["signal"]}
    groups = plan.outputs[GROUPS]
    preprocessed = make.in_parts("preprocess", groups, plan=plan, **root, params=params["preprocess"], **signal)

    matrix = {"matrix": preprocessed.outputs["matrix"]}
    trained = make.train(plan=plan, **root, params=params["train"], **matrix)
    model: dict[str, Any] = {"model": trained.outputs["model"]}
    exported = make.step("export", plan=plan, **root, params=params["export"], **model)

    encoder = {"encoder": exported.outputs["encoder"]}
    embedded = make.in_parts("embed", groups, plan=plan, **root, params=params["embed"], **matrix, **encoder)

    embeddings = {"embeddings": embedded.outputs["embeddings"]}
    versions = {"labels_version": plan.outputs["labels_version"]}
    evaluated = make.step(
        "evaluate",
        plan=plan,
        **root,
        params=params["evaluate"],
        **matrix,
        **model,
        **embeddings,
        **run.judged_on,
        **versions,
    )
    evaluation = {"evaluation": evaluated.outputs["evaluation"]}
    history = {"history": trained.outputs["history"]}
    make.step(
        "report", plan=plan, **root, params=params["report"], **matrix, **model, **history, **embeddings, **evaluation
    )

    champion = make.champion(registry=registry)
    judged = make.step(
        "promote",
        **root,
        params=params["promote"],
        **matrix,
        **model,
        **encoder,
        **evaluation,
        **run.judged_on,
        champion=champion.outputs["champion"],
    )
    return {
        "ingest": ingested,
        "preprocess": preprocessed,
        "train": trained,
        "export": exported,
        "embed": embedded,
        "evaluate": evaluated,
        "promote": judged,
    }


def publish_run(
    make: TaskMaker,
    run: Run,
    plan: PipelineTask,
    done: Mapping[str, PipelineTask],
    registry: Any,
    branch: Any,
    ir_sha256: Any,
) -> PipelineTask:
    """Register what a run made, and make it champion."""
    # The hash of the pipeline goes to this task alone: of a step it would change the cache key with every compilation.
    metrics = {f"{step}_metrics": task.outputs["metrics"] for step, task in done.items() if step != "promote"}
    return make.publish(
        registry=registry,
        branch=branch,
        ir_sha256=ir_sha256,
        **inputs_of(run, plan),
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


def is_to_be_promoted(judged: PipelineTask) -> Any:
    """The condition under which a run is published."""
    return judged.outputs[VERDICT] == "promote"
