"""Tensors of a matrix's tracks as tensors of one cell type's assays at a time, for a network that cell types share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from epilstm.model.cell_types import CellTypes


class ByCellType(nn.Module):
    """Tensors (time, batch, track) as tensors (time, batch * cell type, assay), and back.

    Where a tensor has several numbers per track, they are `parts` blocks of all tracks, and of all assays.
    """

    columns: Tensor
    present: Tensor
    places: Tensor

    def __init__(self, cell_types: CellTypes) -> None:
        super().__init__()
        self.cell_types, self.assays = cell_types.count, len(cell_types.assays)
        columns = torch.tensor(cell_types.tracks).flatten()
        self.register_buffer("columns", columns.clamp(min=0), persistent=False)
        self.register_buffer("present", columns >= 0, persistent=False)
        self.register_buffer("places", torch.argsort(columns)[int((columns < 0).sum()) :], persistent=False)

    def of_assays(self, x: Tensor, parts: int = 1, places: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Values (time, batch * cell type, parts * assay), 0 where there are none, and which assays were observed.

        Parameters
        ----------
        x : Tensor (time, batch, parts * track)
            NaN for a track that is missing.
        parts : int
        places : sequence of int, optional
            Of the cell types that are wanted; all if not given.

        Returns
        -------
        values : Tensor
        observed : Tensor (time, batch * cell type, assay)
            1 or 0, of the dtype of `x`.
        """
        time, batch = x.shape[:2]
        columns, present, cell_types = self.columns, self.present, self.cell_types
        if places is not None:
            columns, present = (each.view(cell_types, -1)[list(places)].flatten() for each in (columns, present))
            cell_types = len(places)
        x = x.unflatten(2, (parts, -1))[..., columns]
        known = present & ~x.isnan()
        shape = (time, batch, parts, cell_types, self.assays)
        values = torch.where(known, x, torch.zeros_like(x)).view(shape).transpose(2, 3)
        observed = known[:, :, 0].to(x.dtype)
        return (
            values.reshape(time, batch * cell_types, parts * self.assays),
            observed.reshape(time, batch * cell_types, self.assays),
        )

    def to_tracks(self, values: Tensor, parts: int = 1) -> Tensor:
        """Tensor (time, batch, parts * track) of values (time, batch * cell type, parts * assay)."""
        by_cell = values.unflatten(1, (-1, self.cell_types)).unflatten(3, (parts, self.assays))
        tracks: Tensor = by_cell.transpose(2, 3).flatten(3)[..., self.places].flatten(2)
        return tracks

    def side_by_side(self, codes: Tensor) -> Tensor:
        """Codes (time, batch, cell type * dim) of codes (time, batch * cell type, dim)."""
        joined: Tensor = codes.unflatten(1, (-1, self.cell_types)).flatten(2)
        return joined

    def apart(self, codes: Tensor) -> Tensor:
        """The inverse of `side_by_side`."""
        apart: Tensor = codes.unflatten(2, (self.cell_types, -1)).flatten(1, 2)
        return apart


class SharedReadout(nn.Module):
    """One linear read-out of assays for all cell types, as a linear map from their features side by side to tracks."""

    def __init__(self, width: int, cell_types: CellTypes) -> None:
        super().__init__()
        self.shared = nn.Linear(width, len(cell_types.assays))
        rows = sorted(
            (column, cell, assay)
            for cell, row in enumerate(cell_types.tracks)
            for assay, column in enumerate(row)
            if column >= 0
        )
        _, cells, assays = torch.tensor(rows).T
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("of_assay", assays, persistent=False)
        self.cell_types, self.width = cell_types.count, width
        self.in_features, self.out_features = width * cell_types.count, len(rows)

    cells: Tensor
    of_assay: Tensor

    @property
    def weight(self) -> Tensor:
        """(track, cell type * width): the read-out of a track's assay where its own cell type's features are."""
        tracks = torch.arange(self.out_features, device=self.cells.device)
        blank = self.shared.weight.new_zeros(self.out_features, self.cell_types, self.width)
        return blank.index_put((tracks, self.cells), self.shared.weight[self.of_assay]).flatten(1)

    @property
    def bias(self) -> Tensor:
        """(track,)."""
        return self.shared.bias[self.of_assay]

    def forward(self, features: Tensor) -> Tensor:
        """Tracks (..., track) of features (..., cell type * width)."""
        return nn.functional.linear(features, self.weight, self.bias)
