"""A window of the genome: where it is, what was measured there, and what the model makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.figures.track_choice import choose_tracks
from epilstm.genome.assembly import Region, bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.genome.name_matching import listed
from epilstm.representations.features import Embedding
from epilstm.store.manifests import MatrixManifest, Scaler
from epilstm.store.matrix import Matrix
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
    dimensions : list of str
        Names of the embedding's numbers; those of `dimension_names` if there are none.
    """

    region: Region
    edges: NDArray[np.float64]
    truth: Values
    reconstruction: Values
    signal: Values
    reconstructed_signal: Values
    embedding: Values
    tracks: list[str]
    dimensions: list[str] = field(default_factory=list)

    def r2(self, track: str) -> float | None:
        """R2 of a track's reconstruction over the window's bins with data; None if it is constant there."""
        column = self.tracks.index(track)
        known = np.isfinite(self.truth[:, column])
        truth = self.truth[known, column].astype(np.float64)
        spread = np.square(truth - truth.mean()).sum() if len(truth) else 0.0
        if spread <= 1e-9 * max(len(truth), 1):
            return None
        return float(1 - np.square(truth - self.reconstruction[known, column]).sum() / spread)


def parse_window(text: str, matrix: MatrixManifest, option: str = "report.window") -> Region:
    """Region of ``chrom:start-end`` (commas are ignored), widened to whole bins.

    Raises
    ------
    ParamsError
        Not such a text, empty or too long, or nowhere in the matrix's regions; the message names the option.
    """
    found = re.fullmatch(r"\s*(\S+):([\d,]+)-([\d,]+)\s*", text)
    start, end = (_integer(found[2]), _integer(found[3])) if found else (None, None)
    if found is None or start is None or end is None:
        raise ParamsError(f"{option}: expected chrom:start-end, such as chr5:131300000-131400000, got {text!r}")
    chrom = found[1]
    if chrom not in matrix.chromosomes:
        raise ParamsError(f"{option}: no regions on chromosome {chrom!r}; {_hint(chrom, matrix.chromosomes)}")
    if end <= start:
        raise ParamsError(f"{option}: {text!r} ends where it starts or before; give start < end")
    size = matrix.bin_size
    window = Region(chrom, start // size * size, min(-(-end // size), matrix.bins(chrom)) * size)
    if end > matrix.chromosome_sizes[chrom]:
        log.warning(
            f"{option}: {text!r} reaches past the end of {chrom} ({matrix.chromosome_sizes[chrom]:,} bp) and is cut "
            "off there"
        )
    regions = [region for region in matrix.region_list([chrom]) if len(region)]
    if not any(region.start < window.end and window.start < region.end for region in regions):
        nearest = min(regions, key=lambda region: max(region.start - end, start - region.end))
        raise ParamsError(f"{option}: {text!r} is outside the matrix's regions; the nearest is {nearest}")
    if len(window) > MAX_BINS * size:
        raise ParamsError(
            f"{option}: {text!r} is {len(window) // size:,} bins long; draw at most {MAX_BINS:,}, "
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


def choose_window(matrix: Matrix) -> Region:
    """A window of a test chromosome where many tracks vary.

    Of `PLACES` places spread evenly over the test regions, the one with the largest product of its share of bins with
    data and the mean over tracks of the standard deviation of the signal (each at most 1, its value over the whole
    training set, so that no single peak decides).

    Raises
    ------
    DataError
        The test chromosomes have no regions.
    """
    places = list(_places(matrix.manifest))
    if not places:
        test = listed(matrix.manifest.split.test)
        raise DataError(f"the test chromosomes ({test}) have no regions in the matrix; preprocess again")
    chosen = np.unique(np.linspace(0, len(places) - 1, PLACES).round().astype(int))

    def variety(place: Region) -> float:
        block = _bins_of(place, matrix)
        mask = matrix.mask(block)
        if mask.sum() < 2:
            return 0.0
        return float(mask.mean() * np.minimum(matrix.rows(block)[mask].std(axis=0), 1).mean())

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


def read_window(
    matrix: Matrix,
    embedding: Embedding,
    scaler: Scaler,
    network: Autoencoder,
    place: str,
    tracks: Sequence[str],
    options: tuple[str, str] = ("report.window", "report.tracks"),
) -> Window:
    """Values of a window.

    Parameters
    ----------
    matrix, embedding, scaler, network
        Of one run.
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
    from epilstm.model.chunks import CONTEXT_BINS
    from epilstm.model.windows import reconstruct_bins

    manifest = matrix.manifest
    drawn = choose_tracks(manifest.track_set, tracks, options[1])
    region = parse_window(place, manifest, options[0]) if place else choose_window(matrix)
    whole = _bins_of(region, matrix)
    columns = [manifest.tracks.index(name) for name in drawn]
    truth = np.full((whole.bins, len(columns)), np.nan, np.float32)
    reconstruction = truth.copy()
    vectors = np.full((whole.bins, embedding.size), np.nan, np.float32)
    for known in matrix.regions_in([region.chrom]):
        block = BinRange(region.chrom, max(whole.first, known.first), min(whole.last, known.last))
        if block.bins <= 0:
            continue
        wide = block.widened([known], CONTEXT_BINS)
        rows, mask = matrix.rows(wide), matrix.mask(block)
        inside, here = _slice(block, wide), _slice(block, whole)
        truth[here][mask] = rows[inside][:, columns][mask]
        reconstruction[here][mask] = reconstruct_bins(network, rows)[inside][:, columns][mask]
        vectors[here] = embedding.block(block)
    shown = scaler.select(columns)
    return Window(
        region=region,
        edges=np.arange(whole.first, whole.last + 1, dtype=np.float64) * manifest.bin_size,
        truth=truth,
        reconstruction=reconstruction,
        signal=to_signal(truth, shown).astype(np.float32, copy=False),
        reconstructed_signal=to_signal(reconstruction, shown).astype(np.float32, copy=False),
        embedding=vectors,
        tracks=drawn,
        dimensions=embedding.names,
    )


def _bins_of(region: Region, matrix: Matrix) -> BinRange:
    return BinRange(region.chrom, *bins_of(region, matrix.manifest.bin_size))


def _slice(block: BinRange, whole: BinRange) -> slice:
    return slice(block.first - whole.first, block.last - whole.first)
