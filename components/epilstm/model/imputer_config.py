"""What an imputer is built from, and its values: each assay's signal, on one scale for all cell types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from epilstm.errors import ParamsError
from epilstm.model.cell_types import CellTypes
from epilstm.store.manifests import Scaler
from epilstm.tracks.signal_transform import Transform, Uncovered

#: Normal deviations either side of the mean that hold nine tenths of values.
NINE_TENTHS = 1.6448536

#: Least standard deviation of an assay.
LEAST_SCALE = 1e-3


class ImputerConfig(BaseModel):
    """Shape of an imputer and the scale of its assays; together with its weights, all that is needed to run it.

    Parameters
    ----------
    assays : list of str
        The vocabulary, in the order of its columns.
    mean, scale : list of float
        Of each assay's transformed signal over the training bins of all cell types.
    transform, uncovered : list
        Of each assay's tracks.
    clip : float or None
        Largest standardised value, either way.
    window : list of int
        Distances in bins, before and after a bin, over which means are taken.
    hidden_size, layers : int
        Units of each hidden layer, and how many there are.
    spread : list of float
        Factor of each assay's standard deviation, fitted on the validation chromosomes so that nine tenths of the
        values lie within 1.645 of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    assays: list[str]
    mean: list[float]
    scale: list[float]
    transform: list[Transform]
    uncovered: list[Uncovered]
    clip: float | None
    window: list[PositiveInt]
    hidden_size: PositiveInt
    layers: PositiveInt
    spread: list[float]

    @model_validator(mode="after")
    def _one_per_assay(self) -> ImputerConfig:
        for key in ("mean", "scale", "transform", "uncovered", "spread"):
            if len(getattr(self, key)) != len(self.assays):
                raise ValueError(f"{len(getattr(self, key))} values of {key} for {len(self.assays)} assays")
        return self

    @property
    def positions(self) -> int:
        """Values of an assay that are looked at: at the bin, and a mean before and after it for each distance."""
        return 1 + 2 * len(self.window)

    def scaler(self, assays: Sequence[str], tracks: Sequence[str]) -> Scaler:
        """How raw signal of tracks of some assays becomes the imputer's values.

        Parameters
        ----------
        assays : sequence of str
            Of the vocabulary, one for each track.
        tracks : sequence of str
            Names.
        """
        places = [self.assays.index(assay) for assay in assays]
        fields = {key: [getattr(self, key)[place] for place in places] for key in ("mean", "scale")}
        ways = {key: [getattr(self, key)[place] for place in places] for key in ("transform", "uncovered")}
        return Scaler(tracks=list(tracks), **fields, **ways, clip=self.clip)


def assay_scale(scaler: Scaler, cell_types: CellTypes) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each assay's transformed signal, over all its tracks."""
    track_mean, track_scale = np.array(scaler.mean), np.array(scaler.scale)
    mean, scale = [], []
    for place in range(len(cell_types.assays)):
        tracks = tracks_of_assay(cell_types, place)
        centre = track_mean[tracks].mean()
        spread = np.mean(np.square(track_scale[tracks]) + np.square(track_mean[tracks])) - centre**2
        mean.append(float(centre))
        scale.append(float(max(np.sqrt(max(spread, 0.0)), LEAST_SCALE)))
    return mean, scale


def one_of_each_assay(values: Sequence[str], cell_types: CellTypes, what: str) -> list[str]:
    """What the tracks of each assay share, such as their transform.

    Raises
    ------
    ParamsError
        Tracks of an assay differ.
    """
    found = []
    for place, assay in enumerate(cell_types.assays):
        kinds = sorted({values[track] for track in tracks_of_assay(cell_types, place)})
        if len(kinds) > 1:
            raise ParamsError(
                f"train.imputation needs one {what} for all tracks of an assay, and those of {assay} have "
                f"{' and '.join(kinds)}; make them alike in the samplesheet, or set train.imputation.enabled to false"
            )
        found += kinds
    return found


def tracks_of_assay(cell_types: CellTypes, place: int) -> list[int]:
    """Columns of the matrix that hold an assay."""
    return [row[place] for row in cell_types.tracks if row[place] >= 0]


def by_assay(
    rows: NDArray[np.floating], scaler: Scaler, cell_types: CellTypes, config: ImputerConfig
) -> NDArray[np.float32]:
    """Rows of the matrix as the imputer's values, (bin, cell type, assay); NaN for assays that were not measured."""
    transformed = rows.astype(np.float32) * np.array(scaler.scale, np.float32) + np.array(scaler.mean, np.float32)
    columns = np.array(cell_types.tracks)
    values = (transformed[:, columns] - np.array(config.mean, np.float32)) / np.array(config.scale, np.float32)
    values[:, columns < 0] = np.nan
    return np.asarray(values, np.float32)


def reference_of(values: NDArray[np.float32], left_out: int | None = None) -> NDArray[np.float32]:
    """Mean and spread of each assay over the reference cell types, and whether any has it: (bin, 3 * assay).

    Parameters
    ----------
    values : (bin, cell type, assay) float32 array
        NaN for assays that were not measured.
    left_out : int, optional
        Place of a cell type that is not part of its own reference.
    """
    others = values if left_out is None else np.delete(values, left_out, axis=1)
    known = ~np.isnan(others)
    count = np.maximum(known.sum(1), 1)
    filled = np.where(known, others, 0)
    mean = filled.sum(1) / count
    spread = np.sqrt((np.where(known, others - mean[:, None], 0) ** 2).sum(1) / count)
    return np.concatenate([mean, spread, known.any(1)], axis=1).astype(np.float32)
