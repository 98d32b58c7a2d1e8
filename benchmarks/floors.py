"""Operations that no implementation of a network can avoid, per bin.

Only matrix products are counted, two operations per multiplication and addition; gates and other element-wise work are
left out, so the floor is a little too low. With ``n`` tracks, ``h`` hidden units, ``k`` numbers per embedding:

- an LSTM reading ``w`` numbers: ``4 h (w + h)`` multiplications;
- published: encoder LSTM(n), decoder LSTM(h), read-out ``h n``;
- bottleneck: encoder LSTM(n), bottleneck ``h k``, path around it ``n k``, decoder of two directions 2 LSTM(k), read-out
  ``(2 h + k) n``.

Going backward costs each product twice, once for the gradient of its weights and once for that of its input; the
input's is not needed where the input is the matrix.
"""

from __future__ import annotations

from typing import Any


def _lstm(width: int, hidden: int) -> int:
    return 4 * hidden * (width + hidden)


def _widths(network: dict[str, Any]) -> tuple[int, int]:
    return int(network["hidden_size"]), int(network["embedding_size"])


def _is_published(network: dict[str, Any]) -> bool:
    return str(network["architecture"]).startswith("published")


def encoding_operations(tracks: int, network: dict[str, Any]) -> int:
    """Operations to embed a bin.

    Parameters
    ----------
    tracks : int
    network : dict
        ``architecture``, ``hidden_size``, ``embedding_size``; one layer, one direction.
    """
    hidden, size = _widths(network)
    multiplications = _lstm(tracks, hidden)
    if not _is_published(network):
        multiplications += (hidden + tracks) * size
    return 2 * multiplications


def training_operations(tracks: int, network: dict[str, Any]) -> int:
    """Operations to train on a bin, forward and backward; parameters as for `encoding_operations`."""
    hidden, size = _widths(network)
    if _is_published(network):
        decoding, of_matrix = _lstm(hidden, hidden) + hidden * tracks, 4 * hidden * tracks
    else:
        decoding = 2 * _lstm(size, hidden) + (2 * hidden + size) * tracks
        of_matrix = (4 * hidden + size) * tracks
    forward = encoding_operations(tracks, network) + 2 * decoding
    return 3 * forward - 2 * of_matrix


def floor_bins_per_second(operations_per_bin: float, bytes_per_bin: float, ceilings: dict[str, float]) -> float:
    """Bins per second at which the machine's arithmetic or its memory, whichever is slower, would be used in full."""
    return 1 / max(operations_per_bin / ceilings["operations"], bytes_per_bin / ceilings["bandwidth"])
