"""From names to what a classifier is given: each representation, made of the tracks as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.config import EvaluateParams
from epilstm.errors import ParamsError
from epilstm.evaluate.matrix import Matrix
from epilstm.evaluate.nmf import Nmf
from epilstm.evaluate.pca import Moments, Pca
from epilstm.evaluate.prediction import MAJORITY
from epilstm.evaluate.representations import BinByBin, Columns, Representation, SideBySide, Transform
from epilstm.evaluate.varimax_pca import VarimaxPca, turn
from epilstm.evaluation import EMBEDDING, REPRESENTATIONS
from epilstm.representation_names import OF_TWO_LEVELS, Part, RepresentationName


@dataclass(frozen=True)
class Fitted:
    """What was fitted to the training chromosomes' tracks, turned components and factors by their size."""

    pca: Pca
    turned: Mapping[int, VarimaxPca]
    nmf: Mapping[int, Nmf]


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
    transform, size = _fitted_part(part, of)
    return BinByBin(of.matrix, lambda rows: transform(of.tracks(rows)), size)


def _fitted_part(part: Part, of: Ingredients) -> tuple[Transform, int]:
    size = size_of(part, of.embedding.size, of.width)
    if part.kind == "pca":
        return lambda rows: of.fitted.pca.transform(rows, size), size
    if part.kind == "pca_varimax":
        return of.fitted.turned[size].transform, size
    nmf = of.fitted.nmf[size]
    return nmf.transform, len(nmf.factors)


def size_of(part: Part, embedding_size: int, width: int) -> int:
    """Numbers of a part that has a size: those asked for, or the embedding's, as far as there are as many tracks."""
    return min(part.size or embedding_size, width)


def sizes_of(kind: str, names: Iterable[RepresentationName], embedding_size: int, width: int) -> list[int]:
    """Sizes of a kind of part, each once."""
    parts = [part for name in names for part in name.parts if part.kind == kind]
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
        {size: turn(pca, moments, size) for size in sizes_of("pca_varimax", names, embedding_size, width)},
        {size: fit_factors(size) for size in sizes_of("nmf", names, embedding_size, width)},
    )


def ordered(names: Iterable[RepresentationName]) -> list[RepresentationName]:
    """Plain names in their usual order, then all others as given; the majority class is the last."""
    given = list(names)
    usual = [name for plain in REPRESENTATIONS[:-1] for name in given if str(name) == plain]
    others = [name for name in given if str(name) not in REPRESENTATIONS]
    return [*usual, *others, *(name for name in given if str(name) == MAJORITY)]


def require_two_levels(params: EvaluateParams, context_size: int) -> None:
    """Refuse a bin code or a context code of a model that does not tell them apart.

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
