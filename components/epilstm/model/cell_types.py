"""Cell types side by side: which tracks are one cell type's assays, for a network that all cell types share.

A matrix has a column per track. The shared network sees one cell type at a time: the values of its assays, over a
vocabulary of all assays, and for each whether it was observed (`epilstm.model.by_cell_type`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from epilstm.errors import ParamsError
from epilstm.tracks.identity import TrackSet


class CellTypes(BaseModel):
    """The cell types and assays of a matrix's tracks.

    Parameters
    ----------
    names, assays : list of str
        In the order of the tracks.
    tracks : list of list of int
        Column of the matrix for each cell type and assay; -1 where the assay was not measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: list[str]
    assays: list[str]
    tracks: list[list[int]]

    @model_validator(mode="after")
    def _each_track_once(self) -> CellTypes:
        columns = [column for row in self.tracks for column in row if column >= 0]
        if len(self.tracks) != len(self.names) or {len(row) for row in self.tracks} != {len(self.assays)}:
            raise ValueError("tracks should have a row per cell type and a column per assay")
        if sorted(columns) != list(range(len(columns))):
            raise ValueError("tracks should hold each column of the matrix once")
        return self

    @property
    def count(self) -> int:
        """Number of cell types."""
        return len(self.names)

    def places(self, names: Sequence[str], key: str) -> list[int]:
        """Places of some cell types.

        Parameters
        ----------
        names : sequence of str
        key : str
            What named them, for messages.

        Raises
        ------
        ParamsError
            There are none, one is not known, or one is named twice.
        """
        if not names:
            raise ParamsError(f"{key}: names no cell type; name some of {', '.join(self.names)}, or leave it out")
        for name in names:
            if name not in self.names:
                raise ParamsError(f"{key}: the model has no cell type {name!r}; it has {', '.join(self.names)}")
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise ParamsError(f"{key}: {twice} is named twice; name each cell type once")
        return [self.names.index(name) for name in names]


def places_of(cell_types: CellTypes | None, names: Sequence[str], key: str) -> list[int]:
    """Places of some cell types among those of a model; parameters and errors as for `CellTypes.places`.

    Raises
    ------
    ParamsError
        The model has none (None).
    """
    if cell_types is None:
        raise ParamsError(
            f"{key}: the model has one code of all tracks, none of each cell type; leave it out, or train with "
            "train.kind: cell_types"
        )
    return cell_types.places(names, key)


def code_names(cell_types: Sequence[str], bin_code: int, context_blocks: Mapping[str, int]) -> list[str]:
    """Names of an embedding's numbers by cell type and block, such as ``E116.bin.01``, in the order of its columns.

    Parameters
    ----------
    cell_types : sequence of str
        In the order of their codes.
    bin_code : int
        Numbers of one cell type's bin code.
    context_blocks : mapping of str to int
        Numbers of each block of one cell type's context code, in order.
    """

    def numbered(cell_type: str, block: str, size: int) -> list[str]:
        return [f"{cell_type}.{block}.{number:02}" for number in range(1, size + 1)]

    names = [name for cell_type in cell_types for name in numbered(cell_type, "bin", bin_code)]
    for cell_type in cell_types:
        for block, size in context_blocks.items():
            names += numbered(cell_type, block, size)
    return names


def codes_side_by_side(names: Sequence[str], code: int, context: int) -> dict[str, list[int]]:
    """Columns of each cell type's code in an embedding: the bin codes of all cell types, then their context codes.

    Parameters
    ----------
    names : sequence of str
        Cell types, in the order of their codes.
    code, context : int
        Numbers of one cell type's bin code and of its context code.
    """
    behind = len(names) * code
    return {
        name: [
            *range(place * code, (place + 1) * code),
            *range(behind + place * context, behind + (place + 1) * context),
        ]
        for place, name in enumerate(names)
    }


def with_missing(
    x: NDArray[np.floating], signal: NDArray[np.floating], cell_types: CellTypes | None
) -> NDArray[np.floating]:
    """Standardised signal in which a track without data in any bin is NaN: an assay that was not observed.

    Parameters
    ----------
    x, signal : array (..., bin, track)
        Standardised, and raw with NaN for no data.
    cell_types : CellTypes or None
        Of the model; one that has none takes what stands for no data as it is.
    """
    if cell_types is None:
        return x
    return np.where(np.isnan(signal).all(axis=-2, keepdims=True), np.nan, x)


def cell_types_of(tracks: TrackSet) -> CellTypes:
    """Cell types and assays of some tracks.

    Raises
    ------
    ParamsError
        A cell type has an assay twice (replicates).
    """
    pairs = [(identity.cell_type, identity.assay) for identity in tracks.identities]
    twice = next((pair for pair, count in Counter(pairs).items() if count > 1), None)
    if twice is not None:
        raise ParamsError(
            f"train.kind: cell_types takes one track per cell type and assay, and {twice[0]} has {twice[1]} more than "
            "once; leave replicates out of the samplesheet, or set train.kind to tracks"
        )
    names, assays = (list(dict.fromkeys(pair[field] for pair in pairs)) for field in (0, 1))
    columns = {pair: column for column, pair in enumerate(pairs)}
    return CellTypes(
        names=names, assays=assays, tracks=[[columns.get((name, assay), -1) for assay in assays] for name in names]
    )
