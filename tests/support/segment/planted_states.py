"""Embeddings of three planted states: promoters at genes' starts, transcribed genes, and quiet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm.files.outputs import fingerprint
from epilstm.store.manifests import Scaler
from support.tracks.small_epigenome import BIN, write_embeddings, write_matrix

#: chr2 ends within a bin.
SIZES = {"chr1": 100_000, "chr2": 50_010}
REGIONS = [("chr1", 0, 60_000), ("chr1", 70_000, 100_000), ("chr2", 0, 50_250)]
PROMOTER, GENE, QUIET = range(3)
CENTRES = np.array([[4.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
#: Standardised signal of the two tracks, which have a scaler that does nothing but arcsinh.
SIGNAL = np.array([[2.0, 0.5], [0.25, 1.5], [0.0, 0.0]])
SCALER = Scaler(tracks=["A-H3K4me3", "A-H3K36me3"], mean=[0.0, 0.0], scale=[1.0, 1.0])
#: Without data: of chr1, in bins.
GAP = slice(400, 420)
#: Every so many bases a gene begins, alternately on either strand, so long, with a promoter around its start.
PERIOD, LENGTH, HALF_PROMOTER = 6_000, 3_000, 500


@dataclass(frozen=True)
class PlantedStates:
    folder: Path
    truth: dict[str, np.ndarray]

    @property
    def embeddings(self) -> Path:
        return self.folder / "embeddings"

    @property
    def matrix(self) -> Path:
        return self.folder / "matrix"

    @property
    def annotation(self) -> Path:
        return self.folder / "genes.gtf"


def make(folder: Path) -> PlantedStates:
    random = np.random.default_rng(3)
    truth, embedding, rows, mask, lines = {}, {}, {}, {}, ["#!genome-build test\n"]
    for chrom, size in SIZES.items():
        bins = -(-size // BIN)
        state = np.full(bins, QUIET)
        for number, start in enumerate(range(1_500, size - PERIOD, PERIOD)):
            strand, tss = ("+", start) if number % 2 == 0 else ("-", start + LENGTH)
            state[start // BIN : (start + LENGTH) // BIN] = GENE
            state[(tss - HALF_PROMOTER) // BIN : (tss + HALF_PROMOTER) // BIN] = PROMOTER
            rest = f'test\tgene\t{start + 1}\t{start + LENGTH}\t.\t{strand}\t.\tgene_id "{chrom}{number}";'
            lines.append(f"{chrom}\t{rest}\n")
            lines.append(f"{chrom}\t{rest.replace('gene', 'exon', 1)}\n".replace(str(start + LENGTH), str(start + 500)))
        inside = np.zeros(-(-bins // 10) * 10, bool)
        for name, first, last in REGIONS:
            if name == chrom:
                inside[first // BIN : min(last // BIN, bins)] = True
        if chrom == "chr1":
            inside[GAP] = False
        noise = random.normal(size=(bins, 2)) * 0.5
        truth[chrom] = np.where(inside[:bins], state, -1)
        # Here and there a bin looks like one of another state.
        seen = np.where(random.random(bins) < 0.01, random.integers(0, 3, bins), state)
        embedding[chrom] = np.where(inside[:bins, None], CENTRES[seen] + noise, np.nan).astype(np.float32)
        signal = np.zeros((len(inside), 2), np.float16)
        signal[:bins] = SIGNAL[state]
        rows[chrom], mask[chrom] = signal, inside
    write_matrix(folder / "matrix", rows, mask, SIZES, REGIONS, SCALER, train=("chr1",))
    write_embeddings(folder / "embeddings", embedding, SIZES, REGIONS, fingerprint(folder / "matrix"))
    (folder / "genes.gtf").write_text("".join(lines))
    return PlantedStates(folder, truth)
