"""Small parts of an output, chromosome by chromosome."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epilstm.store.arrays import SHARD_BINS, create_bin_array, require_group
from epilstm.store.parts import Finish, FolderOf, Parts
from epilstm.store.shards import open_bins

GROUP = "toy.zarr"


CHROMS = ["chr1", "chr2", "chrM"]


def write_one(folder: Path, chrom: str) -> None:
    rng = np.random.default_rng(len(chrom) + CHROMS.index(chrom))
    values = rng.normal(size=(SHARD_BINS + 500, 2)).astype(np.float32)
    create_bin_array(require_group(folder / GROUP), chrom, len(values), 2, "float32", "lz4", float("nan"))
    array = open_bins(folder / GROUP)[chrom]
    array.write_shard(0, values[:SHARD_BINS])
    array.write_shard(1, values[SHARD_BINS:])


class Writer:
    """Writes chromosomes; notes which."""

    def __init__(self) -> None:
        self.wrote: list[str] = []

    def __call__(self, chroms: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        for chrom in chroms:
            write_one(folder_of(chrom), chrom)
            self.wrote.append(chrom)
            finish(chrom, {"bins": CHROMS.index(chrom)})


def parts_at(folder: Path, follows_from: str = "key") -> Parts:
    return Parts.of(folder, "toy", GROUP, follows_from)
