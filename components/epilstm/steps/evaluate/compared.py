"""From names to what a classifier is given: each representation, made of the tracks as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ParamsError
from epilstm.genome.bin_range import BinRange
from epilstm.params import EvaluateParams
from epilstm.representation_names import OF_TWO_LEVELS, Part, RepresentationName, with_distances
from epilstm.representations.features import (
    BinByBin,
    Columns,
    Means,
    Representation,
    SideBySide,
    Transform,
    Transformed,
)
from epilstm.representations.nmf import Nmf
from epilstm.representations.pca import Pca, fit_pca
from epilstm.representations.varimax_pca import VarimaxPca, fit_varimax_pca
from epilstm.scoring.prediction import MAJORITY
from epilstm.store.evaluation_results import EMBEDDING, REPRESENTATIONS
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments


@dataclass(frozen=True)
class Fitted:
    """What was fitted to the training chromosomes' tracks: components and factors by size, wider PCAs by their name."""

    pca: Pca
    rotated: Mapping[int, VarimaxPca]
    nmf: Mapping[int, Nmf]
    wide: Mapping[RepresentationName, Pca] = field(default_factory=dict)


@dataclass(frozen=True)
class Ingredients:
    """What the parts of representations are made of.

    Parameters
    ----------
    matrix : Matrix
    tracks : callable
        From the matrix's rows to the tracks that are shown.
    width : int
        How many of these there are.
    embedding, untrained : Representation
        Of what the network is shown.
    bin_code : int
        Columns of the embedding that are the bin's own code; the rest is that of its context.
    fitted : Fitted
    """

    matrix: Matrix
    tracks: Transform
    width: int
    embedding: Representation
    untrained: Representation
    bin_code: int
    fitted: Fitted


def as_they_are(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with nothing hidden."""
    return rows


def make(name: RepresentationName, of: Ingredients) -> Representation:
    """The representation of a name."""
    parts = [_make_part(part, of) for part in name.parts]
    return parts[0] if len(parts) == 1 else SideBySide(parts)


def _make_part(part: Part, of: Ingredients) -> Representation:
    if part.kind == EMBEDDING:
        return of.embedding
    if part.kind == "untrained":
        return of.untrained
    if part.kind == "bin_code":
        return Columns(of.embedding, 0, of.bin_code)
    if part.kind == "context_code":
        return Columns(of.embedding, of.bin_code, of.embedding.size)
    if part.kind == "raw":
        return BinByBin(of.matrix, of.tracks, of.width)
    if part.kind == "means":
        bin_size = of.matrix.manifest.bin_size
        return Means(of.matrix, of.tracks, of.width, [max(1, distance // bin_size) for distance in part.distances])
    if part.of is not None:
        whole, pca = make(part.of, of), of.fitted.wide[part.of]
        size = min(part.size or of.embedding.size, whole.size)
        return Transformed(whole, lambda rows: pca.transform(rows, size), size)
    transform, size = _fitted_part(part, of)
    return BinByBin(of.matrix, lambda rows: transform(of.tracks(rows)), size)


def _fitted_part(part: Part, of: Ingredients) -> tuple[Transform, int]:
    size = size_of(part, of.embedding.size, of.width)
    if part.kind == "pca":
        return lambda rows: of.fitted.pca.transform(rows, size), size
    if part.kind == "pca_varimax":
        return of.fitted.rotated[size].transform, size
    nmf = of.fitted.nmf[size]
    return nmf.transform, len(nmf.factors)


def size_of(part: Part, embedding_size: int, width: int) -> int:
    """Numbers of a part that has a size: those asked for, or the embedding's, as far as there are as many tracks."""
    return min(part.size or embedding_size, width)


def fit_wide(
    names: Iterable[RepresentationName], matrix: Matrix, blocks: Sequence[BinRange]
) -> dict[RepresentationName, Pca]:
    """PCA of what the names have in brackets, each once, of standardised columns over some training blocks.

    Parameters
    ----------
    names : iterable of RepresentationName
        Means have distances.
    matrix : Matrix
    blocks : sequence of BinRange
    """
    inner = dict.fromkeys(part.of for name in names for part in name.parts if part.of is not None)
    found = {}
    for name in inner:
        bins = matrix.manifest.bin_size
        parts: list[Representation] = [
            BinByBin(matrix, as_they_are, matrix.tracks)
            if part.kind == "raw"
            else Means(matrix, as_they_are, matrix.tracks, [max(1, distance // bins) for distance in part.distances])
            for part in name.parts
        ]
        whole = SideBySide(parts)
        moments = Moments(whole.size)
        for block in blocks:
            moments.add(whole.block(block)[matrix.mask(block)])
        spread = np.sqrt(moments.total_squares / max(moments.count, 1))
        scale = np.where(spread > 0, spread, 1)
        standard = Moments(whole.size)
        standard.count = moments.count
        standard.products = moments.about(moments.mean) / np.outer(scale, scale)
        found[name] = Pca(moments.mean, fit_pca(standard).components / scale[:, None])
    return found


@dataclass(frozen=True)
class Resolved:
    """What is compared in the end, and what was left out with the reason, by name."""

    names: list[RepresentationName]
    left_out: dict[str, str]


def resolve(names: Iterable[RepresentationName], embedding_size: int, width: int, sees: Sequence[int]) -> Resolved:
    """Fill in how far means reach, and leave out what would be the same as something else, or mean nothing.

    Parameters
    ----------
    names : iterable of RepresentationName
    embedding_size : int
    width : int
        Tracks.
    sees : sequence of int
        Base pairs on either side whose means the embedding was trained on; empty where it was not.
    """
    kept: dict[RepresentationName, None] = {}
    left_out: dict[str, str] = {}
    for name in names:
        filled = with_distances(name, tuple(sorted(sees)))
        whole = [part for part in filled.parts if _is_everything(part, embedding_size, width)]
        if not sees and not _all_reach(name):
            left_out[str(name)] = (
                "the model's manifest names no distances of a context level (surroundings_bp) to take means over"
            )
        elif whole:
            of = "the raw tracks" if whole[0].of is None else str(whole[0].of)
            left_out[str(filled)] = f"as many components as there are numbers: that is {of}, rotated"
        else:
            kept[filled] = None
    return Resolved(list(kept), left_out)


def _is_everything(part: Part, embedding_size: int, width: int) -> bool:
    if part.kind != "pca":
        return False
    numbers = width if part.of is None else sum(width * max(len(each.distances), 1) for each in part.of.parts)
    return (part.size or embedding_size) >= numbers


def _all_reach(name: RepresentationName) -> bool:
    """Whether all means of a name have distances."""
    return all(
        (part.kind != "means" or bool(part.distances)) and (part.of is None or _all_reach(part.of))
        for part in name.parts
    )


def sizes_of(kind: str, names: Iterable[RepresentationName], embedding_size: int, width: int) -> list[int]:
    """Sizes of a kind of part, each once."""
    parts = [part for name in names for part in name.parts if part.kind == kind and part.of is None]
    return list(dict.fromkeys(size_of(part, embedding_size, width) for part in parts))


def fit(
    names: Sequence[RepresentationName],
    moments: Moments,
    pca: Pca,
    fit_factors: Callable[[int], Nmf],
    embedding_size: int,
) -> Fitted:
    """Fit what the names need, each size once.

    Parameters
    ----------
    names : sequence of RepresentationName
    moments : Moments
        Of the training chromosomes' tracks.
    pca : Pca
        Of the same.
    fit_factors : callable
        From a size to a factorisation; not called where no name has one.
    embedding_size : int
        What stands for a size that is not given.
    """
    width = len(pca.mean)
    return Fitted(
        pca,
        {size: fit_varimax_pca(pca, moments, size) for size in sizes_of("pca_varimax", names, embedding_size, width)},
        {size: fit_factors(size) for size in sizes_of("nmf", names, embedding_size, width)},
    )


def ordered(names: Iterable[RepresentationName]) -> list[RepresentationName]:
    """Plain names in their usual order, those with means beside them, then all others; the majority class last."""
    given = list(names)
    usual = [name for plain in REPRESENTATIONS[:-1] for name in given if str(name) == plain or _wider(name) == plain]
    others = [name for name in given if name not in usual and str(name) != MAJORITY]
    return [*usual, *others, *(name for name in given if str(name) == MAJORITY)]


def _wider(name: RepresentationName) -> str:
    """The plain name that one with means stands beside; empty for all others."""
    kinds = [part.kind for part in name.parts]
    if kinds == ["raw", "means"]:
        return "raw"
    return "pca" if kinds == ["pca"] and name.parts[0].of is not None else ""


def require_two_levels(params: EvaluateParams, context_size: int) -> None:
    """Refuse a bin code or a context code of a model that does not have the two.

    Raises
    ------
    ParamsError
        Names the representation.
    """
    for name in params.representations:
        kinds = [part.kind for part in name.parts if part.kind in OF_TWO_LEVELS]
        if kinds and not context_size:
            raise ParamsError(
                f"evaluate.representations: {name}: the model has no context level (train.context_size: 0), so its "
                f"embedding has no {kinds[0].replace('_', ' ')} of its own; take embedding"
            )
