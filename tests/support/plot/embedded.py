"""Small matrices and representations whose values a test chooses."""

from itertools import pairwise

import numpy as np

from epilstm.genome.bin_range import BinRange


class Chosen:
    """A representation, and a matrix, of one chromosome with given values."""

    def __init__(self, values, mask=None, tracks=None):
        self.values = np.asarray(values, dtype=np.float32)
        self.size = self.values.shape[1]
        self.known = np.ones(len(self.values), dtype=bool) if mask is None else mask
        self.table = tracks
        self.tracks = 0 if tracks is None else tracks.shape[1]

    def block(self, block):
        return self.values[block.first : block.last].copy()

    def mask(self, block):
        return self.known[block.first : block.last]

    def rows(self, block):
        return self.table[block.first : block.last]


def intervals(*edges):
    """Intervals between edges."""
    return [BinRange("chr1", first, last) for first, last in pairwise(edges)]
