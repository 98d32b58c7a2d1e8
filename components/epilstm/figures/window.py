"""A window of the genome: where it is, what was measured there, and what the model makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.figures.track_choice import choose_tracks
from epilstm.genome.assembly import Region, bins_of
from epilstm.store.arrays import read_mask
from epilstm.store.manifests import MatrixManifest, Scaler, read_manifest, read_scaler
from epilstm.store.shards import open_bins
from epilstm.store.standardisation import to_signal

if TYPE_CHECKING:
    from epilstm.model.networks import Autoencoder

#: Length (bp) of a window that is chosen, and how many places are compared.
WINDOW_BASES = 100_000
PLACES = 48

#: Longest window: more bins are neither visible in a figure nor fit in memory with 1,000 tracks.
MAX_BINS = 40_000

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """An interval of the genome with its values; NaN in every array where there is no data.

    Parameters
    ----------
    region : Region
        Whole bins.
    edges : (bins + 1,) float64 array
        Edges of the bins, in base pairs.
    truth, reconstruction : (bins, tracks) float32 array
        Standardised values; the drawn tracks only.
    signal, reconstructed_signal : (bins, tracks) float32 array
        The same in the units of the tracks' files.
    embedding : (bins, size) float32 array
    tracks : list of str
        The drawn tracks.
    """

    region: Region
    edges: NDArray[np.float64]
    truth: Values
    reconstruction: Values
    signal: Values
    reconstructed_signal: Values
    embedding: Values
    tracks: list[str]

    def r2(self, track: str) -> float | None:
        """R2 of a track's reconstruction over the window's bins with data; None if it is constant there."""
        column = self.tracks.index(track)
        known = np.isfinite(self.truth[:, column])
        truth = self.truth[known, column].astype(np.float64)
        spread = np.square(truth - truth.mean()).sum() if len(truth) else 0.0
        if spread <= 1e-9 * max(len(truth), 1):
            return None
        return float(1 - np.square(truth - self.reconstruction[known, column]).sum() / spread)


def parse_window(text: str, matrix: MatrixManifest, given_as: str = "report.window") -> Region:
    """Region of ``chrom:start-end``, widened to whole bins.

    Parameters
    ----------
    text : str
        Commas within the numbers are ignored.
    matrix : MatrixManifest
        Says where the regions are.
    given_as : str
        The option or key, for messages.

    Raises
    ------
    ParamsError
        Not such a text, empty or too long, or nowhere in the matrix's regions.
    """
    found = re.fullmatch(r"\s*(\S+):([\d,]+)-([\d,]+)\s*", text)
    start, end = (_integer(found[2]), _integer(found[3])) if found else (None, None)
    if found is None or start is None or end is None:
        raise ParamsError(f"{given_as}: expected chrom:start-end, such as chr5:131300000-131400000, got {text!r}")
    chrom = found[1]
    if chrom not in matrix.chromosomes:
        raise ParamsError(f"{given_as}: no regions on chromosome {chrom!r}; {_hint(chrom, matrix.chromosomes)}")
    if end <= start:
        raise ParamsError(f"{given_as}: {text!r} ends where it starts or before; give start < end")
    size = matrix.bin_size
    window = Region(chrom, start // size * size, min(-(-end // size), matrix.bins(chrom)) * size)
    if end > matrix.chromosome_sizes[chrom]:
        log.warning(
            f"{given_as}: {text!r} reaches past the end of {chrom} ({matrix.chromosome_sizes[chrom]:,} bp) and is cut "
            "off there"
        )
    regions = [region for region in matrix.region_list([chrom]) if len(region)]
    if not any(region.start < window.end and window.start < region.end for region in regions):
        nearest = min(regions, key=lambda region: max(region.start - end, start - region.end))
        raise ParamsError(f"{given_as}: {text!r} is outside the matrix's regions; the nearest is {nearest}")
    if len(window) > MAX_BINS * size:
        raise ParamsError(
            f"{given_as}: {text!r} is {len(window) // size:,} bins long; draw at most {MAX_BINS:,}, "
            f"which is {MAX_BINS * size:,} bp"
        )
    return window


def _hint(chrom: str, known: list[str]) -> str:
    other_style = chrom.removeprefix("chr") if chrom.startswith("chr") else f"chr{chrom}"
    close = [other_style] if other_style in known else get_close_matches(chrom, known, n=3, cutoff=0.8)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"they are on {', '.join(known[:30])}{', ...' if len(known) > 30 else ''}"


def _integer(text: str) -> int | None:
    digits = text.replace(",", "")
    return int(digits) if digits and len(digits) < 16 else None


def choose_window(matrix: MatrixManifest, folder: Path) -> Region:
    """A window of a test chromosome where many tracks vary.

    Of `PLACES` places spread evenly over the test regions, the one with the largest product of its share of bins with
    data and the mean over tracks of the standard deviation of the signal (each at most 1, its value over the whole
    training set, so that no single peak decides).

    Parameters
    ----------
    matrix : MatrixManifest
    folder : Path
        Matrix dataset.

    Raises
    ------
    DataError
        The test chromosomes have no regions.
    """
    places = list(_places(matrix))
    if not places:
        raise DataError(
            f"{folder}: the test chromosomes ({', '.join(matrix.split.test)}) have no regions; preprocess again"
        )
    chosen = np.unique(np.linspace(0, len(places) - 1, PLACES).round().astype(int))
    values = open_bins(folder / "matrix.zarr", whole=True)

    def variety(place: Region) -> float:
        first, last = bins_of(place, matrix.bin_size)
        mask = _mask(folder, matrix, place.chrom)[first:last]
        if mask.sum() < 2:
            return 0.0
        spread = values[place.chrom][first:last][mask].astype(np.float32).std(axis=0)
        return float(mask.mean() * np.minimum(spread, 1).mean())

    candidates: list[Region] = [places[number] for number in chosen]
    return max(candidates, key=variety)


def _places(matrix: MatrixManifest) -> Iterator[Region]:
    size = matrix.bin_size
    length = min(max(WINDOW_BASES // size, 1), MAX_BINS) * size
    for region in matrix.region_list(matrix.split.test):
        if len(region) <= length:
            yield region
            continue
        last = region.end - length
        for start in [*range(region.start, last, length // 2 // size * size or size), last]:
            yield Region(region.chrom, start, start + length)


def open_window(
    matrix_folder: Path,
    embeddings: Path,
    network: Autoencoder,
    place: str,
    tracks: Sequence[str],
    options: tuple[str, str] = ("report.window", "report.tracks"),
) -> tuple[Window, MatrixManifest]:
    """A window of the genome and the matrix that it is of.

    Parameters
    ----------
    matrix_folder, embeddings : Path
        Of one run.
    network : Autoencoder
        That run's.
    place : str
        ``chrom:start-end``; empty chooses one (see `choose_window`).
    tracks : sequence of str
        To draw; empty chooses some (see `choose_tracks`).
    options : (str, str)
        Where the place and the tracks are given, for messages.

    Raises
    ------
    DataError, ParamsError
        The place or a track is not in the matrix, or the embeddings lack the chromosome.
    """
    from epilstm.model.windows import CONTEXT_BINS, reconstruct_bins

    matrix = read_manifest(matrix_folder, MatrixManifest)
    scaler = read_scaler(matrix_folder, matrix)
    drawn = choose_tracks(matrix.track_set, tracks, options[1])
    region = parse_window(place, matrix, options[0]) if place else choose_window(matrix, matrix_folder)
    reconstruct = partial(reconstruct_bins, network)
    return read_window(region, drawn, matrix, scaler, matrix_folder, embeddings, reconstruct, CONTEXT_BINS), matrix


def read_window(
    region: Region,
    tracks: list[str],
    matrix: MatrixManifest,
    scaler: Scaler,
    matrix_folder: Path,
    embeddings_folder: Path,
    reconstruct: Callable[[NDArray[np.float16]], Values],
    context_bins: int,
) -> Window:
    """Values of a window.

    Parameters
    ----------
    region : Region
        Whole bins.
    tracks : list of str
        Those to draw.
    matrix, scaler : MatrixManifest, Scaler
    matrix_folder, embeddings_folder : Path
    reconstruct : callable
        From consecutive (bins, all tracks) rows of the matrix to rows of the same shape.
    context_bins : int
        Bins on each side of the window that `reconstruct` is given as well, as far as the region goes.

    Raises
    ------
    DataError
        The embeddings do not have the window's chromosome.
    """
    size = matrix.bin_size
    first, last = region.start // size, region.end // size
    values, masked = open_bins(matrix_folder / "matrix.zarr", whole=True), _mask(matrix_folder, matrix, region.chrom)
    embeddings = open_bins(embeddings_folder / "embeddings.zarr", complete=True)
    if region.chrom not in embeddings:
        raise DataError(f"{embeddings_folder}: no embeddings of {region.chrom}; run embed again")
    columns = [matrix.tracks.index(name) for name in tracks]
    truth = np.full((last - first, len(columns)), np.nan, np.float32)
    reconstruction = truth.copy()
    for interval in matrix.region_list([region.chrom]):
        from_bin, to_bin = bins_of(interval, size)
        a, b = max(first, from_bin), min(last, to_bin)
        if a >= b:
            continue
        wide_a, wide_b = max(from_bin, a - context_bins), min(to_bin, b + context_bins)
        rows = values[region.chrom][wide_a:wide_b]
        mask = masked[a:b]
        inside = slice(a - wide_a, b - wide_a)
        truth[a - first : b - first][mask] = rows[inside][:, columns][mask]
        reconstruction[a - first : b - first][mask] = reconstruct(rows)[inside][:, columns][mask]
    drawn = scaler.select(columns)
    return Window(
        region=region,
        edges=np.arange(first, last + 1, dtype=np.float64) * size,
        truth=truth,
        reconstruction=reconstruction,
        signal=to_signal(truth, drawn).astype(np.float32, copy=False),
        reconstructed_signal=to_signal(reconstruction, drawn).astype(np.float32, copy=False),
        embedding=embeddings[region.chrom][first:last].astype(np.float32),
        tracks=tracks,
    )


def _mask(folder: Path, matrix: MatrixManifest, chrom: str) -> NDArray[np.bool_]:
    return read_mask(folder / "mask.zarr", chrom, matrix.bins_with_data.get(chrom))
