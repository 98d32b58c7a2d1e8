"""From names to what a classifier is given: each representation, made of the tracks as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ParamsError
from epilstm.genome.bin_range import BinRange
from epilstm.params import EvaluateParams
from epilstm.representation_names import (
    CODE_PARTS,
    OF_TWO_LEVELS,
    TRACK_PARTS,
    Part,
    RepresentationName,
    own_code_of,
    parse_name,
    with_distances,
)
from epilstm.representations.features import (
    BinByBin,
    Columns,
    Means,
    Representation,
    SideBySide,
    Transform,
    Transformed,
)
from epilstm.representations.nmf import Nmf, sampled_every
from epilstm.representations.pca import Pca, fit_pca
from epilstm.representations.varimax_pca import VarimaxPca, fit_varimax_pca
from epilstm.scoring.prediction import MAJORITY
from epilstm.store.evaluation_results import EMBEDDING, REPRESENTATIONS
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from epilstm.tracks.identity import TrackSet

#: The tracks, which PCA and factors are of where nothing stands in brackets.
RAW = parse_name("raw")


#: What a fit to tracks and means is of: a cell type's own tracks or all (None), and the part without PCA's size.
FitKey = tuple[str | None, Part]


@dataclass(frozen=True)
class Fitted:
    """What was fitted to the training chromosomes' tracks: components and factors by size.

    `wide` has what names in brackets or of a cell type's own tracks need.
    """

    pca: Pca
    rotated: Mapping[int, VarimaxPca]
    nmf: Mapping[int, Nmf]
    wide: Mapping[FitKey, Pca | Nmf] = field(default_factory=dict)


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
    columns : mapping of str to (own tracks,) int array
        Cell type -> its tracks among those shown.
    made : dict
        Tracks and means that are made already, for all names that have them.
    own_codes : mapping of str to (columns,) int array
        Cell type -> columns of its code in the embedding of a model by cell type.
    """

    matrix: Matrix
    tracks: Transform
    width: int
    embedding: Representation
    untrained: Representation
    bin_code: int
    fitted: Fitted
    columns: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    made: dict[tuple[Part, Transform], Representation] = field(default_factory=dict)
    own_codes: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)


def as_they_are(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with nothing hidden."""
    return rows


def columns_by_cell_type(tracks: TrackSet) -> dict[str, NDArray[np.intp]]:
    """Cell type -> its tracks, by the fields of the manifest."""
    cells = np.array(tracks.cell_types)
    return {cell: np.flatnonzero(cells == cell) for cell in dict.fromkeys(tracks.cell_types)}


def make(name: RepresentationName, of: Ingredients, cell: str | None = None) -> Representation:
    """The representation of a name.

    Parameters
    ----------
    name : RepresentationName
    of : Ingredients
    cell : str, optional
        The task's cell type, for parts that are of its own tracks.
    """
    return _side_by_side([_make_part(part, of, cell) for part in name.parts])


def _side_by_side(parts: Sequence[Representation]) -> Representation:
    return parts[0] if len(parts) == 1 else SideBySide(parts)


def _make_part(part: Part, of: Ingredients, cell: str | None) -> Representation:
    if part.kind == EMBEDDING:
        return of.embedding
    if part.kind == "untrained":
        return of.untrained
    if part.kind == "bin_code":
        return Columns(of.embedding, range(of.bin_code))
    if part.kind == "context_code":
        return Columns(of.embedding, range(of.bin_code, of.embedding.size))
    if part.kind == "own":
        assert part.of is not None
        return _side_by_side([_own_part(each, of, cell) for each in part.of.parts])
    return _fitted_part(part, of, None)


def _own_part(part: Part, of: Ingredients, cell: str | None) -> Representation:
    """A part made of a cell type's own tracks, or its code in the embedding of a model by cell type."""
    if part.kind not in CODE_PARTS or cell is None:
        return _fitted_part(part, of, cell)
    columns = of.own_codes[cell]
    if part.kind in OF_TWO_LEVELS:
        columns = columns[(columns < of.bin_code) == (part.kind == "bin_code")]
    return Columns(of.untrained if part.kind == "untrained" else of.embedding, columns)


def _fitted_part(part: Part, of: Ingredients, own: str | None) -> Representation:
    """Tracks, means, PCA or factors, of all tracks or of a cell type's `own`."""
    if part.kind in TRACK_PARTS:
        return _tracks(RepresentationName((part,)), of, own)
    raw = _tracks(part.of or RAW, of, own)
    size = min(part.size or of.embedding.size, raw.size)
    if own is not None or part.of is not None:
        fitted = of.fitted.wide[fit_key(own, part)]
        if isinstance(fitted, Nmf):
            # With means around a bin, so many tracks that windows' means are factorised, not their bins.
            return Transformed(raw, fitted.transform, len(fitted.factors), of_means=part.of is not None)
        return Transformed(raw, lambda rows: fitted.transform(rows, size), size, of_means=True)
    if part.kind == "pca":
        return Transformed(raw, lambda rows: of.fitted.pca.transform(rows, size), size, of_means=True)
    if part.kind == "pca_varimax":
        return Transformed(raw, of.fitted.rotated[size].transform, size, of_means=True)
    nmf = of.fitted.nmf[size]
    return Transformed(raw, nmf.transform, len(nmf.factors))


def _tracks(name: RepresentationName, of: Ingredients, own: str | None) -> Representation:
    """A sum of tracks and means; of a cell type, those columns of all tracks', which are made once."""
    whole = _side_by_side([_shared(part, of) for part in name.parts])
    return whole if own is None else Columns(whole, _own_columns(name, of.width, of.columns[own]))


def _shared(part: Part, of: Ingredients) -> Representation:
    found = of.made.get((part, of.tracks))
    if found is None:
        size = of.matrix.manifest.bin_size
        reaches = [max(1, distance // size) for distance in part.distances]
        found = (
            BinByBin(of.matrix, of.tracks, of.width)
            if part.kind == "raw"
            else Means(of.matrix, of.tracks, of.width, reaches)
        )
        of.made[part, of.tracks] = found
    return found


def _own_columns(name: RepresentationName, width: int, columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Columns of some tracks in a sum of tracks and means of `width` tracks."""
    blocks = sum(len(part.distances) if part.kind == "means" else 1 for part in name.parts)
    return np.concatenate([block * width + columns for block in range(blocks)])


def size_of(part: Part, embedding_size: int, width: int) -> int:
    """Numbers of a part that has a size: those asked for, or the embedding's, as far as there are as many tracks."""
    return min(part.size or embedding_size, width)


def fit_key(own: str | None, part: Part) -> FitKey:
    """What a fit is kept by: one PCA serves all sizes."""
    return own, replace(part, size=None) if part.kind == "pca" else part


def fit_wide(
    names: Iterable[RepresentationName],
    of: Ingredients,
    blocks: Sequence[BinRange],
    fit_factors: Callable[[NDArray[np.float32], NDArray[np.intp], int], Nmf],
    cells: Iterable[str] = (),
) -> dict[FitKey, Pca | Nmf]:
    """PCA and factors of what the names have in brackets, and of cell types' own tracks, each once.

    PCA is of standardised columns.

    Parameters
    ----------
    names : iterable of RepresentationName
        Means have distances.
    of : Ingredients
        With the tracks and means.
    blocks : sequence of BinRange
        Where they are fitted; factors on evenly spread bins of these.
    fit_factors : callable
        From rows, the track of each column and a size to a factorisation.
    cells : iterable of str
        Cell types of the tasks.
    """
    wanted: dict[FitKey, tuple[str | None, Part]] = {}
    for part in (part for name in names for part in name.parts if part.of is not None):
        assert part.of is not None
        parts = part.of.parts if part.kind == "own" else (part,)
        owners: Iterable[str | None] = list(cells) if part.kind == "own" else (None,)
        fitted = [each for each in parts if each.kind not in (*TRACK_PARTS, *CODE_PARTS)]
        for own, each in product(owners, fitted):
            wanted[fit_key(own, each)] = own, each
    found: dict[FitKey, Pca | Nmf] = {}
    for inner in dict.fromkeys(part.of or RAW for _, part in wanted.values()):
        whole = _tracks(inner, of, None)
        moments, sample = _summed(whole, of.matrix, blocks)
        tracks = np.tile(np.arange(of.width), whole.size // of.width)
        for key, (own, part) in wanted.items():
            if (part.of or RAW) != inner:
                continue
            chosen = np.arange(whole.size) if own is None else _own_columns(inner, of.width, of.columns[own])
            if part.kind == "pca":
                found[key] = _standardised_pca(moments.of_columns(chosen))
            else:
                size = min(part.size or of.embedding.size, len(chosen))
                found[key] = fit_factors(sample[:, chosen], tracks[chosen], size)
    return found


def _summed(whole: Representation, matrix: Matrix, blocks: Sequence[BinRange]) -> tuple[Moments, NDArray[np.float32]]:
    """Moments over the bins with data of some blocks, and a sample of these bins, evenly spread."""
    moments, parts = Moments(whole.size), [np.empty((0, whole.size), np.float32)]
    every = sampled_every(sum(block.bins for block in blocks), whole.size)
    for block in blocks:
        rows = whole.block(block)[matrix.mask(block)]
        moments.add(rows)
        parts.append(rows[::every])
    return moments, np.concatenate(parts)


def _standardised_pca(moments: Moments) -> Pca:
    spread = np.sqrt(moments.total_squares / max(moments.count, 1))
    scale = np.where(spread > 0, spread, 1)
    standard = Moments(len(scale))
    standard.count = moments.count
    standard.products = moments.about(moments.mean) / np.outer(scale, scale)
    return Pca(moments.mean, fit_pca(standard).components / scale[:, None])


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


def require_own_codes(params: EvaluateParams, by_cell_type: bool) -> None:
    """Refuse a cell type's own code of a model that has one code of all tracks.

    Raises
    ------
    ParamsError
        Names the representation.
    """
    for name in params.representations:
        code = own_code_of(name)
        if code is not None and not by_cell_type:
            raise ParamsError(
                f"evaluate.representations: {name}: the model has one code of all tracks, none of each cell type; take "
                f"{code} without own, or train with train.kind: cell_types"
            )


def require_two_levels(params: EvaluateParams, context_size: int) -> None:
    """Refuse a bin code or a context code of a model that does not have the two.

    Raises
    ------
    ParamsError
        Names the representation.
    """
    for name in params.representations:
        kinds = [
            each.kind
            for part in name.parts
            for each in (part, *(part.of.parts if part.of else ()))
            if each.kind in OF_TWO_LEVELS
        ]
        if kinds and not context_size:
            raise ParamsError(
                f"evaluate.representations: {name}: the model has no context level (train.context_size: 0), so its "
                f"embedding has no {kinds[0].replace('_', ' ')} of its own; take embedding"
            )
