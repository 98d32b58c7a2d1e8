"""The retraining pipeline: if anything is new, training, the gate, the registry and serving; to be scheduled."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.lifecycle import VERDICT
from pipelines.run_tasks import Run, inputs_of, is_to_be_promoted, plan_run, publish_run, train_and_judge
from pipelines.tasks import TaskMaker


def retraining(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    @dsl.pipeline(name="epilstm-retraining", display_name="Epi-LSTM retraining")
    def epilstm_retraining(
        registry: str,
        data_root: str = defaults["data_root"],
        samplesheet: str = defaults["samplesheet"],
        regions: str = defaults["regions"],
        blacklist: str = defaults["blacklist"],
        tasks: str = defaults["tasks"],
        labels: str = defaults["labels"],
        ingest_shards: int = defaults["ingest_shards"],
        genome_parts: int = defaults["genome_parts"],
        ingest: dict = defaults["ingest"],
        preprocess: dict = defaults["preprocess"],
        train: dict = defaults["train"],
        export: dict = defaults["export"],
        embed: dict = defaults["embed"],
        evaluate: dict = defaults["evaluate"],
        report: dict = defaults["report"],
        promote: dict = defaults["promote"],
        branch: str = defaults["branch"],
        max_age_days: int = 0,
        canary_percent: int = 100,
        inference_service: str = "",
        ir_sha256: str = "",
    ) -> None:
        """Train again if anything is new, judge against the champion, publish and serve what is better.

        Parameters
        ----------
        registry
            URL of the git repository that is the registry.
        data_root
            Where bulk data lies: a folder on the mounted volume, or s3://bucket/prefix. Paths are relative to it.
        samplesheet
            CSV of the tracks: cell_type, assay, uri and optionally replicate, sha256, transform, uncovered.
        regions
            BED of the regions to read; empty for whole chromosomes.
        blacklist
            BED of bins to treat as without data; empty for none.
        tasks
            Tasks file (YAML) of the evaluation; empty, with labels, to evaluate the reconstruction only.
        labels
            Folder that the tasks' label files are relative to.
        ingest_shards
            Shards of the tracks that are read at the same time, at most; fewer where there is little to read.
        genome_parts
            Groups of chromosomes that are preprocessed and embedded at the same time, at most; fewer where there is
            little to do.
        ingest
            Params of ingest, as its section of params.yaml.
        preprocess
            Params of preprocess, as its section of params.yaml.
        train
            Params of train, as its section of params.yaml.
        export
            Params of export, as its section of params.yaml.
        embed
            Params of embed, as its section of params.yaml.
        evaluate
            Params of evaluate, as its section of params.yaml.
        report
            Params of report, as its section of params.yaml.
        promote
            Params of promote, the gate, as its section of params.yaml; its key force is a reason to promote anyway.
        branch
            Branch of the registry that a promoted model is committed to; made where it is not there.
        max_age_days
            Train again, though nothing is new, where the champion was registered longer ago; 0 for never.
        canary_percent
            Share of the traffic for a new champion, the one before serving the rest; 100 for all.
        inference_service
            InferenceService to patch in the run's namespace; empty to leave serving to who follows the branch.
        ir_sha256
            SHA-256 of this pipeline's compiled file, for the provenance; whoever sends a run with `epilstm pipeline`
            has it filled in. Empty where it is not known.
        """
        run = Run(
            data_root,
            samplesheet,
            regions,
            blacklist,
            tasks,
            labels,
            ingest_shards,
            genome_parts,
            {
                "ingest": ingest,
                "preprocess": preprocess,
                "train": train,
                "export": export,
                "embed": embed,
                "evaluate": evaluate,
                "report": report,
                "promote": promote,
            },
        )
        plan = plan_run(make, run)
        changed = make.changed(registry=registry, max_age_days=max_age_days, **inputs_of(run, plan))
        with dsl.If(changed.outputs[VERDICT] == "changed", name="changed"):
            done = train_and_judge(make, run, plan, registry)
            with dsl.If(is_to_be_promoted(done["promote"]), name="promoted"):
                published = publish_run(make, run, plan, done, registry, branch, ir_sha256)
                make.rollout(
                    registry=registry,
                    branch=branch,
                    data_root=data_root,
                    inference_service=inference_service,
                    canary_percent=canary_percent,
                    rollback="",
                    after=published.outputs["version"],
                )

    return epilstm_retraining
