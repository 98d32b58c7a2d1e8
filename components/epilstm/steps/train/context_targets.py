"""Targets of a context code beside its own frame: the mean signal around it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from epilstm.model.cell_type_context import CellTypeContext
from epilstm.model.context import DECODER_SIZE
from epilstm.model.frame_sums import running_sum, sum_around

#: How often a frame's own token counts beside the means around it, each of which counts once. With 1, the code is worth
#: about as much on replication timing, but less on promoter-enhancer pairs (docs/lab-notebook.md).
OWN_WEIGHT = 4.0


class ContextTargets(nn.Module):
    """Reads the mean signal around a frame off its code; serves training alone. Tensors are time-major.

    Parameters
    ----------
    size, tracks : int
        Numbers of the code, tracks of the matrix.
    reaches : sequence of int
        Frames on either side over which a mean is taken, itself included.
    outputs : int, optional
        Tracks that are read off one code; all of them unless codes are of one cell type each.
    """

    scale: Tensor

    def __init__(self, size: int, tracks: int, reaches: Sequence[int], outputs: int | None = None) -> None:
        super().__init__()
        self.tracks, self.reaches = tracks, tuple(reaches)
        width = (outputs or tracks) * len(self.reaches)
        with warnings.catch_warnings():
            # torch warns of layers without outputs, which is what no reach makes.
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            self.decoder = nn.Linear(size, DECODER_SIZE)
            self.readout = nn.Linear(DECODER_SIZE, width)
            self.around_decoder = nn.Linear(size, width, bias=False)
        self.register_buffer("scale", torch.ones(tracks * len(self.reaches)))

    def predicted(self, code: Tensor) -> Tensor:
        """Means read off a code (frame, sequence, dim): (frame, sequence, reach * track)."""
        means: Tensor = self.readout(functional.gelu(self.decoder(code))) + self.around_decoder(code)
        return means

    def means(self, x: Tensor, mask: Tensor) -> Tensor:
        """Means (frame, sequence, reach * track) over the frames with data around each, of unit scale.

        Parameters
        ----------
        x : Tensor (frame, sequence, 3 * track)
            Standardised tokens.
        mask : Tensor (frame, sequence)
            1 where a frame has data, else 0.
        """
        seen = mask[..., None]
        sums, counts = (running_sum(each) for each in (x[..., : self.tracks] * seen, seen))
        means = [
            sum_around(sums, reach).float() / sum_around(counts, reach).float().clamp(min=1) for reach in self.reaches
        ]
        return torch.cat([x.new_zeros(*mask.shape, 0), *means], dim=2) / self.scale

    def squared_error(self, code: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """Mean over tracks, sum over reaches, of the squared error of each frame: (frame, sequence)."""
        return (self.predicted(code) - self.means(x, mask)).square().sum(2) / self.tracks


class CellTypeTargets(ContextTargets):
    """The same for codes of all cell types side by side: one decoder reads the means of a cell type off its own code.

    Parameters
    ----------
    level : CellTypeContext
    tracks : int
    reaches : sequence of int
    """

    def __init__(self, level: CellTypeContext, tracks: int, reaches: Sequence[int]) -> None:
        super().__init__(level.code_size, tracks, reaches, level.assays)
        self.by_cell_type = level.by_cell_type

    @override
    def predicted(self, code: Tensor) -> Tensor:
        means = super().predicted(self.by_cell_type.apart(code))
        return self.by_cell_type.to_tracks(means, len(self.reaches))


def reaches_in_frames(reaches_bp: Sequence[int], frame_bp: int) -> list[int]:
    """Frames on either side that reach about so far, each number once and in order, one frame at least."""
    return sorted({max(1, round(reach / frame_bp)) for reach in reaches_bp})


def joint_targets(own: Tensor, around: Tensor, tracks: int) -> Tensor:
    """A frame's own standardised token and the means around it, scaled so that each part weighs what it counts.

    Parameters
    ----------
    own : Tensor (n, 3 * track)
    around : Tensor (n, reach * track)
    tracks : int
    """
    return torch.cat([own * math.sqrt(OWN_WEIGHT / own.shape[1]), around / math.sqrt(tracks)], dim=1)
