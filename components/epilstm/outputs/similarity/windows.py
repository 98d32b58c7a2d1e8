"""Embeddings pooled to windows, on disk: what similar regions are searched in.

A folder has ``vectors.npy``, which is mapped into memory, and ``manifest.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from epilstm.console import log, progress
from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import fingerprint, written_whole
from epilstm.genome.bin_range import BinRange
from epilstm.store.bin_ranges import BLOCK_VALUES, bin_ranges_of, open_embeddings, read_rows
from epilstm.store.framed_codes import EmbeddingRows
from epilstm.store.manifests import EmbeddingsManifest, read_manifest, write_manifest

VECTORS = "vectors.npy"

#: Share of a window's bins that have data, at least; one with less has no vector.
LEAST_COVERED = 0.5


class WindowsManifest(BaseModel):
    """What a folder of windows says of itself.

    `runs` are consecutive windows: chromosome, first window (window 0 begins with the chromosome) and how many there
    are; rows of the vectors are in their order. `mean` and `scale` are those that the vectors were standardised with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["epilstm.windows/1"] = "epilstm.windows/1"
    assembly: str
    window_bp: int
    chromosome_sizes: dict[str, int]
    runs: list[tuple[str, int, int]]
    dimensions: list[str]
    cell_type: str | None
    mean: list[float]
    scale: list[float]
    embeddings_fingerprint: str


@dataclass(frozen=True)
class Windows:
    """Pooled embeddings of the windows of a dataset.

    Parameters
    ----------
    manifest : WindowsManifest
    vectors : (window, dim) float32 array
        Standardised; NaN where a window has too little data.
    """

    manifest: WindowsManifest
    vectors: NDArray[np.float32]

    def runs(self) -> Iterator[tuple[str, int, NDArray[np.float32]]]:
        """Chromosome, first window and vectors of each run."""
        row = 0
        for chrom, first, count in self.manifest.runs:
            yield chrom, first, self.vectors[row : row + count]
            row += count

    def standardised(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Vectors of an embedding, (n, dim), as the windows have them."""
        return np.asarray((vectors - np.array(self.manifest.mean)) / np.array(self.manifest.scale), np.float32)


def open_windows(folder: Path, embeddings: Path, cell_type: str | None, window_bp: int) -> Windows:
    """Windows of an embeddings dataset: those in a folder, or else they are pooled, which is kept there.

    Parameters
    ----------
    folder : Path
    embeddings : Path
        Dataset.
    cell_type : str or None
        Of a model that cell types share, whose code is pooled.
    window_bp : int
        Length of a window in base pairs, a multiple of the dataset's bins.

    Raises
    ------
    DataError
        The dataset is unusable, or another thing stands where the folder is to be.
    ParamsError
        Windows are not whole bins, or there is no code of the cell type.
    """
    manifest, arrays = open_embeddings(embeddings, cell_type)
    if window_bp < manifest.bin_size or window_bp % manifest.bin_size:
        raise ParamsError(f"--window {window_bp}: give a multiple of the bins' {manifest.bin_size} bp")
    source = fingerprint(embeddings)
    if (folder / "manifest.json").is_file():
        found = read_manifest(folder, WindowsManifest)
        if (found.embeddings_fingerprint, found.cell_type, found.window_bp) == (source, cell_type, window_bp):
            return Windows(found, _mapped(folder, found))
        log.info(f"{folder}: windows of other embeddings, or of another length or cell type; they are replaced")
    with written_whole(folder, folder=True, kind="windows") as staged:
        windows = _pooled(embeddings, manifest, arrays, cell_type, window_bp, source)
        staged.mkdir(parents=True)
        np.save(staged / VECTORS, windows.vectors)
        write_manifest(staged, windows.manifest)
    return windows


def _mapped(folder: Path, manifest: WindowsManifest) -> NDArray[np.float32]:
    shape = sum(count for *_, count in manifest.runs), len(manifest.dimensions)
    try:
        vectors: NDArray[np.float32] = np.load(folder / VECTORS, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / VECTORS}: cannot be read: {error}; remove {folder}, it is made again") from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise DataError(f"{folder / VECTORS}: not the windows of its manifest; remove {folder}, it is made again")
    return vectors


def _pooled(
    embeddings: Path,
    manifest: EmbeddingsManifest,
    arrays: Mapping[str, EmbeddingRows],
    cell_type: str | None,
    window_bp: int,
    source: str,
) -> Windows:
    per_window = window_bp // manifest.bin_size
    runs, parts = [], []
    bin_ranges = bin_ranges_of(manifest, ())
    with progress("pooling bins", sum(each.bins for each in bin_ranges)) as bar:
        for bin_range in bin_ranges:
            first, last = _whole_windows(bin_range, per_window)
            if first < last:
                runs.append((bin_range.chrom, first, last - first))
                parts.append(_run(embeddings, arrays[bin_range.chrom], first, last, per_window))
            bar.advance(bin_range.bins)
    if not parts:
        raise DataError(f"{embeddings}: no region is as long as a window of {window_bp:,} bp; give a smaller --window")
    vectors = np.concatenate(parts)
    there = ~np.isnan(vectors[:, 0])
    if not there.any():
        raise DataError(f"{embeddings}: no window of {window_bp:,} bp has data in half of its bins")
    mean = vectors[there].mean(axis=0, dtype=np.float64)
    deviation = vectors[there].std(axis=0, dtype=np.float64)
    scale = np.where(deviation == 0, 1.0, deviation)
    vectors -= mean.astype(np.float32)
    vectors /= scale.astype(np.float32)
    content = WindowsManifest(
        assembly=manifest.assembly,
        window_bp=window_bp,
        chromosome_sizes={chrom: manifest.chromosome_sizes[chrom] for chrom in manifest.chromosomes},
        runs=runs,
        dimensions=manifest.names,
        cell_type=cell_type,
        mean=mean.tolist(),
        scale=scale.tolist(),
        embeddings_fingerprint=source,
    )
    return Windows(content, vectors)


def _whole_windows(bin_range: BinRange, per_window: int) -> tuple[int, int]:
    """First and one-past-last window that lie in a range of bins."""
    return -(-bin_range.first // per_window), bin_range.last // per_window


def _run(folder: Path, array: EmbeddingRows, first: int, last: int, per_window: int) -> NDArray[np.float32]:
    """Mean of each window's bins with data."""
    size = array.shape[1]
    vectors = np.empty((last - first, size), np.float32)
    step = max(1, BLOCK_VALUES // (size * per_window))
    for start in range(first, last, step):
        stop = min(start + step, last)
        rows = read_rows(folder, array, start * per_window, stop * per_window)
        bins = rows.reshape(stop - start, per_window, size)
        there = ~np.isnan(bins[:, :, 0])
        count = there.sum(axis=1)[:, None]
        sums = np.where(there[:, :, None], bins, 0).sum(axis=1, dtype=np.float64)
        enough = count >= LEAST_COVERED * per_window
        vectors[start - first : stop - first] = np.where(enough, sums / np.maximum(count, 1), np.nan)
    return vectors
