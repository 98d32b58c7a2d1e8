"""Which array a chromosome's bins lie in: its own, or one that it shares with other small chromosomes.

A draft genome has tens of thousands of scaffolds. An array, and so files, for each of them would cost far more than
the values in them. So where a dataset has many small chromosomes, those are laid end to end in shared arrays, in the
dataset's order; all others, and all of a dataset with few, have an array that is called what they are. Which
chromosomes share an array follows from the assembly and the bin size alone, so it is the same in the signal, the matrix
and the embeddings. A group that has shared arrays says which bins of which array a chromosome has, in its attributes
(`ATTRIBUTE`), and the readers of `epilstm.store.arrays` and `epilstm.store.shards` find chromosomes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

#: Chromosomes of fewer bins than this are small, and share arrays where a dataset has more of them than `MANY`.
SMALL_BINS = 100_000
MANY = 100

#: Bins of the genome in a shared array, about: a tenth of a human chromosome, so that parts of the work can be alike.
SHARED_BINS = 1_000_000

#: Key of a group's attributes: chromosome -> [array, first bin, bins].
ATTRIBUTE = "chromosomes"


class Place(NamedTuple):
    """Where a chromosome lies: `bins` bins of an array from `first` on."""

    array: str
    first: int
    bins: int


def places_of(bins: Mapping[str, int], stored: Mapping[str, int] | None = None) -> dict[str, Place]:
    """Place of each chromosome.

    Parameters
    ----------
    bins : mapping of str to int
        Bins of each chromosome, in the dataset's order: decides which share an array.
    stored : mapping of str to int, optional
        Bins that the dataset stores of each, where these are more: whole frames.
    """
    stored = bins if stored is None else stored
    small = [chrom for chrom, count in bins.items() if count < SMALL_BINS]
    if len(small) <= MANY:
        return {chrom: Place(chrom, 0, stored[chrom]) for chrom in bins}
    prefix = _unused_prefix(bins)
    places: dict[str, Place] = {}
    number = taken = first = 0
    for chrom, count in bins.items():
        if count >= SMALL_BINS:
            places[chrom] = Place(chrom, 0, stored[chrom])
            continue
        if taken and taken + count > SHARED_BINS:
            number, taken, first = number + 1, 0, 0
        places[chrom] = Place(f"{prefix}{number}", first, stored[chrom])
        taken, first = taken + count, first + stored[chrom]
    return places


def _unused_prefix(chroms: Iterable[str]) -> str:
    prefix = "shared-"
    while any(chrom.startswith(prefix) for chrom in chroms):
        prefix += "-"
    return prefix


def arrays_of(places: Mapping[str, Place]) -> dict[str, list[str]]:
    """Chromosomes of each array, both in the dataset's order."""
    arrays: dict[str, list[str]] = {}
    for chrom, place in places.items():
        arrays.setdefault(place.array, []).append(chrom)
    return arrays


def length_of(places: Mapping[str, Place], chroms: Iterable[str]) -> int:
    """Bins of the array that these chromosomes share."""
    return max(places[chrom].first + places[chrom].bins for chrom in chroms)


def attributes_of(places: Mapping[str, Place]) -> dict[str, Any]:
    """Attributes of a group whose arrays are laid out so; none where each chromosome has its own."""
    if all(place.array == chrom for chrom, place in places.items()):
        return {}
    return {ATTRIBUTE: {chrom: list(place) for chrom, place in places.items()}}


def places_in(attributes: Mapping[str, Any], arrays: Mapping[str, int]) -> dict[str, Place]:
    """Places as a group's attributes say, or else of one chromosome per array.

    Parameters
    ----------
    attributes : mapping of str to Any
        Of the group.
    arrays : mapping of str to int
        Bins of each array that is there.
    """
    said = attributes.get(ATTRIBUTE)
    if said is None:
        return {name: Place(name, 0, bins) for name, bins in arrays.items()}
    return {chrom: Place(*place) for chrom, place in said.items() if place[0] in arrays}
