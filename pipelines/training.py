"""The training pipeline: from a samplesheet to a model, its encoder, an embedding, a report and the gate."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.run_tasks import Run, is_to_be_promoted, plan_run, publish_run, train_and_judge
from pipelines.tasks import TaskMaker


def training(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    @dsl.pipeline(name="epilstm-training", display_name="Epi-LSTM training")
    def epilstm_training(
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
        registry: str = "",
        branch: str = defaults["branch"],
        ir_sha256: str = "",
    ) -> None:
        """Train an LSTM autoencoder on epigenomic tracks, embed the genome, judge it, and publish it if it is better.

        Parameters
        ----------
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
        registry
            URL of the git repository that is the registry; empty to publish nothing, and to judge without a champion.
        branch
            Branch of the registry that a promoted model is committed to; made where it is not there.
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
        done = train_and_judge(make, run, plan, registry)
        with dsl.If(registry != "", name="registry"), dsl.If(is_to_be_promoted(done["promote"]), name="promoted"):
            publish_run(make, run, plan, done, registry, branch, ir_sha256)

    return epilstm_training
