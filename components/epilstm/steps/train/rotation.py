"""Rotation of the trained code, from what it is on a sample of the training bins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from epilstm.console import log
from epilstm.genome.bin_range import BinRange
from epilstm.model.chunks import CONTEXT_BINS
from epilstm.model.networks import Autoencoder, Bottleneck, CellTypeBottleneck
from epilstm.model.rotation import rotate_bottleneck, rotation_of
from epilstm.model.windows import encode_bins
from epilstm.steps.train.sampling import cut_evenly, read_ranges, runs_of, spread_evenly
from epilstm.store.moments import Moments

#: Bins of a range that is read, warm-up included, and of all ranges together at most.
RANGE_BINS, SAMPLE_BINS = 2_000, 200_000


def rotate_code(network: Autoencoder, matrix: Path, windows: Sequence[BinRange]) -> str:
    """Rotate the code of a trained network in place, if it has a code of its own.

    Returns
    -------
    str
        'varimax', or 'none' for a network whose embedding is its hidden state, or one without variance.
    """
    if not isinstance(network, Bottleneck):
        return "none"
    moments = code_moments(network, matrix, windows)
    size = network.config.bin_code_size // network.config.groups
    if moments.count <= size or not moments.covariance.trace() > 0:
        log.warning("the code does not vary on the training bins, so it is not rotated")
        return "none"
    rotate_bottleneck(network, rotation_of(moments))
    return "varimax"


def code_moments(network: Bottleneck, matrix: Path, windows: Sequence[BinRange]) -> Moments:
    """Moments of code and tracks over an evenly spread sample of the windows' bins with data."""
    config = network.config
    columns = config.tracks if config.cell_types is None else len(config.cell_types.assays)
    moments = Moments(config.bin_code_size // config.groups, columns)
    ranges = spread_evenly(cut_evenly(runs_of(windows), RANGE_BINS), SAMPLE_BINS)
    for values, mask in read_ranges(matrix, ranges):
        warmed_up = mask.copy()
        if len(mask) > 3 * CONTEXT_BINS:
            warmed_up[:CONTEXT_BINS] = warmed_up[-CONTEXT_BINS:] = False
        codes, seen = encode_bins(network, values)[warmed_up], values[warmed_up]
        if isinstance(network, CellTypeBottleneck):
            # One rotation for all cell types, whose bins count alike.
            codes = codes.reshape(-1, len(moments.sums))
            seen = network.by_cell_type.of_assays(torch.from_numpy(seen)[None])[0].reshape(-1, columns).numpy()
        moments.add(codes, seen)
    return moments
