"""Bin ranges of a dataset's regions, and the rows of its arrays there, a piece at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from epilstm.errors import DataError, GenomeError
from epilstm.genome.assembly import Assembly, Region, bin_count, bins_of, merge, parse_region
from epilstm.genome.bin_range import BinRange
from epilstm.store.framed_codes import EmbeddingRows, open_embedding_rows
from epilstm.store.manifests import EmbeddingsManifest, Manifest, read_manifest
from epilstm.store.shards import ShardError

#: Values (bins x columns) of a block, which bounds memory whatever the number of columns; and bins at most.
BLOCK_VALUES = 2_500_000
BLOCK_BINS = 100_000


def sizes_of(manifest: Manifest) -> dict[str, int]:
    """Length of each chromosome with regions, in the assembly's order."""
    return {chrom: manifest.chromosome_sizes[chrom] for chrom in manifest.chromosomes}


def bin_ranges_of(manifest: Manifest, texts: Sequence[str]) -> list[BinRange]:
    """The dataset's regions, or what of them lies in some regions.

    Parameters
    ----------
    texts : sequence of str
        ``chrom:start-end`` or ``chrom``, 0-based and half-open; every region of the dataset where there are none.

    Returns
    -------
    list of BinRange
        In the assembly's order; a bin that a region touches is in.

    Raises
    ------
    GenomeError
        A text is not a region of the assembly, or the dataset has none of its bins.
    """
    assembly = Assembly(manifest.assembly, sizes_of(manifest))
    size = manifest.bin_size
    inside = [(region.chrom, *bins_of(region, size)) for region in manifest.region_list()]
    known = [
        BinRange(chrom, first, min(last, bin_count(manifest.chromosome_sizes[chrom], size)), (first, last))
        for chrom, first, last in inside
    ]
    if not texts:
        return known
    asked, on = [], _by_chromosome(known)
    for text in texts:
        region = parse_region(text, assembly)
        if not _overlapping(on, region, size):
            nearest = min(
                on[region.chrom],
                key=lambda each: max(each.first * size - region.end, region.start - each.last * size),
            )
            raise GenomeError(
                f"--region {text}: the dataset has no bins there; the nearest region it has is "
                f"{Region(nearest.chrom, nearest.first * size, min(nearest.last * size, assembly[nearest.chrom]))}"
            )
        asked.append(region)
    return [bin_range for region in merge(asked, assembly) for bin_range in _overlapping(on, region, size)]


def _by_chromosome(bin_ranges: Sequence[BinRange]) -> dict[str, list[BinRange]]:
    found: dict[str, list[BinRange]] = {}
    for bin_range in bin_ranges:
        found.setdefault(bin_range.chrom, []).append(bin_range)
    return found


def _overlapping(known: Mapping[str, Sequence[BinRange]], region: Region, bin_size: int) -> list[BinRange]:
    first, last = bins_of(region, bin_size)
    return [
        BinRange(each.chrom, max(first, each.first), min(last, each.last), each.region)
        for each in known.get(region.chrom, ())
        if each.first < last and first < each.last
    ]


def within(bin_ranges: Sequence[BinRange], regions: Sequence[Region], bin_size: int) -> list[BinRange]:
    """What of bin ranges lies in some regions; a bin that a region touches is in."""
    known = _by_chromosome(bin_ranges)
    return [part for region in regions for part in _overlapping(known, region, bin_size)]


def open_embeddings(
    folder: Path, cell_type: str | None = None
) -> tuple[EmbeddingsManifest, Mapping[str, EmbeddingRows]]:
    """An embeddings dataset: its manifest and its arrays, by chromosome.

    Parameters
    ----------
    cell_type : str, optional
        Whose code is read; manifest and arrays are then as if there were no other.

    Raises
    ------
    DataError
        It is missing, incomplete or of another kind.
    ParamsError
        There is no code of the cell type.
    """
    manifest, arrays = open_code(folder, cell_type)
    for chrom in manifest.chromosomes:
        shape = (manifest.bins(chrom), manifest.size)
        if arrays[chrom].shape != shape:
            raise DataError(f"{folder}: the array of {chrom} is not of shape {shape}; run embed again")
    return manifest, arrays


def open_code(folder: Path, cell_type: str | None) -> tuple[EmbeddingsManifest, Mapping[str, EmbeddingRows]]:
    """As `open_embeddings`, but chromosomes may be missing."""
    whole = read_manifest(folder, EmbeddingsManifest)
    if cell_type is None:
        return whole, open_embedding_rows(folder, whole)
    chosen = whole.of_cell_type(cell_type)
    return chosen, open_embedding_rows(folder, whole, (whole.code_columns or {})[cell_type])


def block_bins(columns: int, multiple: int) -> int:
    """Bins of a block: a multiple of a chunk or frame."""
    return max(1, min(BLOCK_BINS, BLOCK_VALUES // max(columns, 1)) // multiple) * multiple


def read_rows(folder: Path, array: EmbeddingRows, first: int, last: int) -> NDArray[Any]:
    """Rows of a dataset's array, (bin, column).

    Raises
    ------
    DataError
        A file is missing or damaged.
    """
    try:
        return array[first:last]
    except ShardError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{folder}: {array.basename}, bins {first} to {last}: cannot be read: {error}; pull the dataset again or "
            "run the step that writes it"
        ) from error
