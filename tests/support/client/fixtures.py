"""An encoder, a server for it, the signal of its tracks as bigWigs, and what the pipeline itself makes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from support.export.small_model import SCALER
from support.ingest.bigwig_files import random_intervals, write_bigwig
from support.serve.server_process import ServerProcess, export_encoder, make_certificate

#: The last bins of chr9 and chr10 are partial; chr10 ends within a frame.
SIZES = {"chr9": 300_020, "chr10": 40_010, "chr11": 5_000}

#: Whole frames, so that preprocess widens nothing; the last one reaches the chromosome's end.
REGIONS = [("chr9", 10_000, 290_000), ("chr10", 0, 40_010)]


@dataclass(frozen=True)
class Place:
    """Files that a user has: `sheet`, `sizes`, `regions`, `blacklist`."""

    folder: Path

    @property
    def sheet(self) -> Path:
        return self.folder / "samplesheet.csv"

    @property
    def sizes(self) -> Path:
        return self.folder / "toy.sizes"

    @property
    def regions(self) -> Path:
        return self.folder / "regions.bed"

    @property
    def blacklist(self) -> Path:
        return self.folder / "blacklist.bed"


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    """Tracks in another order than the model's, and one that it does not know; chr10 is missing from one file."""
    folder = tmp_path_factory.mktemp("tracks")
    rng = np.random.default_rng(1)
    rows = ["cell_type,assay,uri"]
    for name in ["E900-H3K4me3", *reversed(SCALER.tracks)]:
        chroms = ("chr9",) if name == SCALER.tracks[2] else ("chr9", "chr10")
        # gaps longer than bins, so that some bins have data in no track
        intervals = {chrom: random_intervals(rng, SIZES[chrom], gap=0.7) for chrom in chroms}
        kept = {c: [each for each in found if not 50_000 <= each[0] < 60_000] for c, found in intervals.items()}
        write_bigwig(folder / f"{name}.bigwig", SIZES, kept)
        rows.append(f"{name.replace('-', ',')},{name}.bigwig")
    made = Place(folder)
    made.sheet.write_text("\n".join(rows) + "\n")
    made.sizes.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    made.regions.write_text("".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in REGIONS))
    made.blacklist.write_text("chr9\t100010\t100410\n")
    return made


@pytest.fixture(scope="session", params=["bottleneck", "bottleneck of both directions", "bottleneck with context"])
def any_encoder(request, tmp_path_factory) -> Path:
    return export_encoder(tmp_path_factory.mktemp("encoder"), request.param)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    return export_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def server(tmp_path_factory, encoder):
    process = ServerProcess(tmp_path_factory.mktemp("server"), encoder)
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def ingested(place, tmp_path_factory) -> Path:
    """The signal dataset that ingest makes of the model's tracks."""
    folder = tmp_path_factory.mktemp("ingested")
    lines = place.sheet.read_text().splitlines()
    own = [line.replace(",DNase,", f",DNase,{place.folder}/") for line in (lines[0], *lines[2:])]
    (folder / "sheet.csv").write_text("\n".join([*own, ""]))
    (folder / "params.yaml").write_text(json.dumps({"ingest": {"assembly": str(place.sizes), "workers": 1}}))
    paths = {
        "samplesheet": folder / "sheet.csv",
        "signal": folder / "signal",
        "regions": place.regions,
        "blacklist": place.blacklist,
    }
    run_step(STEPS["ingest"], folder / "params.yaml", paths, frozenset())
    return folder / "signal"


def embedded(signal: Path, encoder: Path, folder: Path) -> Path:
    """The embeddings that preprocess and embed make of a signal dataset with an encoder."""
    (folder / "params.yaml").write_text(json.dumps({"preprocess": {"workers": 1}, "embed": {"threads": 1}}))
    matrix = {"signal": signal, "encoder": encoder, "matrix": folder / "matrix"}
    run_step(STEPS["preprocess"], folder / "params.yaml", matrix, frozenset())
    embedding = {"matrix": folder / "matrix", "encoder": encoder, "embeddings": folder / "embeddings"}
    run_step(STEPS["embed"], folder / "params.yaml", embedding, frozenset())
    return folder / "embeddings"
