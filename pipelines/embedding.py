"""The embedding pipeline: an encoder that exists, over other tracks or regions."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.components import Form
from pipelines.run_tasks import PART, REST, all_of
from pipelines.tasks import TaskMaker

GIVEN = ("encoder",)
PART_ENCODED = Form(part=True, inputs=GIVEN, by_path=GIVEN)
REST_ENCODED = Form(follows_parts=True, inputs=GIVEN, by_path=GIVEN)


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
            CSV of the tracks: cell_type, assay, uri and optionally sha256, transform, uncovered.
        regions
            BED of the regions to read; empty for whole chromosomes.
        blacklist
            BED of bins to treat as without data; empty for none.
        ingest_shards
            Shards of the tracks that are read at the same time, at most.
        ingest
            Params of ingest, as its section of params.yaml.
        preprocess
            Params of preprocess, as its section of params.yaml.
        embed
            Params of embed, as its section of params.yaml.
        """
        root: dict[str, Any] = {"data_root": data_root}
        tracks: dict[str, Any] = {"samplesheet": samplesheet, "regions": regions, "blacklist": blacklist}
        plan = make.plan(also=GIVEN, **root, params=ingest, ingest_shards=ingest_shards, **tracks, encoder=encoder)
        given = {"encoder": encoder, "encoder_version": plan.outputs["encoder_version"]}

        tracks |= {"data_version": plan.outputs["data_version"]}
        with dsl.ParallelFor(plan.outputs["ingest_parts"], name="ingest-shards") as shard:
            shard_done = make.step("ingest", PART, plan=plan, **root, params=ingest, **tracks, part=shard)
        ingested = make.step("ingest", REST, plan=plan, **root, params=ingest, **tracks, after=all_of(shard_done))

        scaled = {"signal": ingested.outputs["signal"], **given}
        with dsl.ParallelFor(ingested.outputs["chromosomes"], name="preprocess-chromosomes") as chromosome:
            matrix_done = make.step(
                "preprocess", PART_ENCODED, plan=plan, **root, params=preprocess, **scaled, part=chromosome
            )
        preprocessed = make.step(
            "preprocess", REST_ENCODED, plan=plan, **root, params=preprocess, **scaled, after=all_of(matrix_done)
        )

        encoded = {"matrix": preprocessed.outputs["matrix"], **given}
        with dsl.ParallelFor(preprocessed.outputs["chromosomes"], name="embed-chromosomes") as chromosome:
            embedding_done = make.step(
                "embed", PART_ENCODED, plan=plan, **root, params=embed, **encoded, part=chromosome
            )
        make.step("embed", REST_ENCODED, plan=plan, **root, params=embed, **encoded, after=all_of(embedding_done))

    return epilstm_embedding
