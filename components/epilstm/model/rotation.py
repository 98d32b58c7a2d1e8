"""Rotation of a code: uncorrelated axes of unit variance, each of which says something of few tracks.

A code is as good as any linear map of it to a network that reads it, but not to a decision tree, which looks at one
axis at a time. So the trained code is whitened and its loadings are rotated by varimax; the map goes into the weights
that make the code, its inverse into those that read it, and the reconstruction stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epilstm.model.cell_type_context import CellTypeContext
from epilstm.model.context import ContextLevel
from epilstm.model.networks import Bottleneck
from epilstm.store.moments import Moments

Floats = NDArray[np.float64]

#: Least variance of an axis before whitening, as a share of the largest: an axis without variance stays without.
LEAST_VARIANCE = 1e-8


@dataclass(frozen=True)
class Rotation:
    """The map ``(code - mean) @ matrix``.

    Parameters
    ----------
    mean : array (size,), float64
    matrix : array (size, size), float64
        Invertible.
    """

    mean: Floats
    matrix: Floats


def varimax(loadings: Floats, iterations: int = 1000, tolerance: float = 1e-10) -> Floats:
    """Rotation that makes the variance of the squared loadings of each factor as large as possible.

    Kaiser, Psychometrika 23 (1958), in the form of a sequence of singular value decompositions.

    Parameters
    ----------
    loadings : array (track, factor)
    iterations : int
    tolerance : float
        Relative gain at which it stops.

    Returns
    -------
    array (factor, factor)
        Orthogonal; ``loadings @ rotation`` are the rotated loadings.
    """
    rotation = np.eye(loadings.shape[1])
    before = 0.0
    for _ in range(iterations):
        rotated = loadings @ rotation
        left, values, right = np.linalg.svd(loadings.T @ (rotated**3 - rotated * np.square(rotated).mean(0)))
        rotation = left @ right
        if values.sum() <= before * (1 + tolerance):
            break
        before = float(values.sum())
    return np.asarray(rotation)


def rotation_of(moments: Moments) -> Rotation:
    """Whitening, then varimax, of a code from its moments with the tracks.

    Axes are in the order of what they explain, each with its largest loading positive.
    """
    values, vectors = np.linalg.eigh(moments.covariance)
    whitening = vectors / np.sqrt(np.maximum(values, max(float(values.max()), 1e-30) * LEAST_VARIANCE))
    loadings = (whitening.T @ moments.cross_covariance).T
    matrix = whitening @ varimax(loadings)
    loadings = moments.cross_covariance.T @ matrix
    order = np.argsort(-np.square(loadings).sum(0), kind="stable")
    matrix, loadings = matrix[:, order], loadings[:, order]
    largest = loadings[np.abs(loadings).argmax(0), np.arange(len(order))]
    return Rotation(moments.mean, matrix * np.where(largest < 0, -1.0, 1.0))


def rotate_bottleneck(network: Bottleneck, rotation: Rotation) -> None:
    """Make a network's code the rotated one; its reconstruction stays the same up to rounding."""
    _rotate_writing(network.bottleneck, rotation)
    _rotate_writing(network.around_encoder, rotation)
    first = network.decoder.layers[0]
    for suffix in ("l0", "l0_reverse"):
        _rotate_reading(getattr(first, f"weight_ih_{suffix}"), getattr(first, f"bias_ih_{suffix}"), rotation)
    readout = network.linear_readout
    _rotate_reading(readout.weight[:, network.decoder.output_size :], readout.bias, rotation)


def rotate_context(level: ContextLevel | CellTypeContext, rotation: Rotation) -> None:
    """Make a context level's trained code the rotated one; what it decodes stays the same up to rounding."""
    _rotate_writing(level.code, rotation)
    _rotate_writing(level.around_encoder, rotation)
    code = level.recurrent_columns if isinstance(level, CellTypeContext) else slice(None)
    _rotate_reading(level.decoder.weight[:, code], level.decoder.bias, rotation)
    _rotate_reading(level.around_decoder.weight[:, code], level.readout.bias, rotation)


@torch.no_grad()
def _rotate_writing(layer: nn.Linear, rotation: Rotation) -> None:
    """Of a layer that makes the code."""
    weight = layer.weight.double().cpu().numpy()
    layer.weight.copy_(torch.from_numpy(rotation.matrix.T @ weight))
    if layer.bias is not None:
        bias = layer.bias.double().cpu().numpy()
        layer.bias.copy_(torch.from_numpy((bias - rotation.mean) @ rotation.matrix))


@torch.no_grad()
def _rotate_reading(weight: Tensor, bias: Tensor, rotation: Rotation) -> None:
    """Of weights (rows, size) that read the code, and the bias (rows,) that goes with them."""
    before = weight.double().cpu().numpy()
    bias += torch.from_numpy(before @ rotation.mean).to(bias)
    weight.copy_(torch.from_numpy(np.linalg.solve(rotation.matrix, before.T).T))
