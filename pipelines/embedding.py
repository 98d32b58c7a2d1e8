"""The embedding pipeline: an encoder that exists, over other tracks or regions."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.components import Form
from pipelines.run_tasks import GROUPS, SHARDS
from pipelines.tasks import TaskMaker

GIVEN = ("encoder",)
ENCODED = Form(inputs=GIVEN, by_path=GIVEN)


def embedding(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    @dsl.pipeline(name="epilstm-embedding", display_name="Epi-LSTM embedding")
    def epilstm_embedding(
        encoder: str,
        data_root: str = defaults["data_root"],
        samplesheet: str = defaults["samplesheet"],
        regions: str = defaults["regions"],
        blacklist: str = defaults["blacklist"],
        ingest_shards: int = defaults["ingest_shards"],
        genome_parts: int = defaults["genome_parts"],
        ingest: dict = defaults["ingest"],
        preprocess: dict = defaults["preprocess"],
        embed: dict = defaults["embed"],
    ) -> None:
        """Embed epigenomic tracks with an encoder that was trained before.

        Parameters
        ----------
        encoder
            Encoder folder: relative to the data root, absolute, or s3://bucket/prefix. Its tracks and scaler are taken.
        data_root
            Where bulk data lies: a folder on the mounted volume, or s3://bucket/prefix. Paths are relative to it.
        samplesheet
            CSV of the tracks: cell_type, assay, uri and optionally replicate, sha256, transform, uncovered.
        regions
            BED of the regions to read; empty for whole chromosomes.
        blacklist
            BED of bins to treat as without data; empty for none.
        ingest_shards
            Shards of the tracks that are read at the same time, at most; fewer where there is little to read.
        genome_parts
            Groups of chromosomes that are preprocessed and embedded at the same time, at most; fewer where there is
            little to do.
        ingest
            Params of ingest, as its section of params.yaml.
        preprocess
            Params of preprocess, as its section of params.yaml.
        embed
            Params of embed, as its section of params.yaml.
        """
        root: dict[str, Any] = {"data_root": data_root}
        tracks: dict[str, Any] = {"samplesheet": samplesheet, "regions": regions, "blacklist": blacklist}
        plan = make.plan(
            also=GIVEN,
            **root,
            params=ingest,
            ingest_shards=ingest_shards,
            genome_parts=genome_parts,
            **tracks,
            encoder=encoder,
        )
        given = {"encoder": encoder, "encoder_version": plan.outputs["encoder_version"]}

        tracks |= {"data_version": plan.outputs["data_version"]}
        ingested = make.in_parts("ingest", plan.outputs[SHARDS], plan=plan, **root, params=ingest, **tracks)

        groups = plan.outputs[GROUPS]
        scaled = {"signal": ingested.outputs["signal"], **given}
        preprocessed = make.in_parts("preprocess", groups, ENCODED, plan=plan, **root, params=preprocess, **scaled)

        encoded = {"matrix": preprocessed.outputs["matrix"], **given}
        make.in_parts("embed", groups, ENCODED, plan=plan, **root, params=embed, **encoded)

    return epilstm_embedding
