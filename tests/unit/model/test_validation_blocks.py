"""Blocks of the validation chromosomes that an epoch is compared by."""

import numpy as np

from epilstm.model import reconstruction
from epilstm.model.reconstruction import matrix_blocks
from epilstm.store.matrix import Matrix
from support.train.toy_matrix import TRACKS, write_matrix


def test_enough_bins_are_blocks_spread_evenly_over_the_chromosomes(tmp_path, monkeypatch):
    monkeypatch.setattr(reconstruction, "BLOCK_VALUES", 250 * TRACKS)
    matrix = Matrix(write_matrix(tmp_path / "matrix"))
    every = [block.values[block.keep] for block in matrix_blocks(matrix, ["chr1"], context=0)]
    some = [block.values[block.keep] for block in matrix_blocks(matrix, ["chr1"], context=0, most=2_000)]
    assert [len(each) for each in every] == [1_000, 1_000, 500, 1_000, 200]
    assert len(some) == 2
    np.testing.assert_array_equal(some[0], every[1])
    np.testing.assert_array_equal(some[1], every[3])


def test_processes_share_the_blocks_that_are_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(reconstruction, "BLOCK_VALUES", 250 * TRACKS)
    matrix = Matrix(write_matrix(tmp_path / "matrix"))
    whole = list(matrix_blocks(matrix, ["chr1"], context=0, most=2_000))
    shares = [list(matrix_blocks(matrix, ["chr1"], context=0, share=(rank, 2), most=2_000)) for rank in (0, 1)]
    assert [len(share) for share in shares] == [1, 1]
    for block, (own,) in zip(whole, shares, strict=True):
        np.testing.assert_array_equal(block.values, own.values)


def test_fewer_bins_than_enough_are_all_taken(tmp_path):
    matrix = Matrix(write_matrix(tmp_path / "matrix"))
    blocks = list(matrix_blocks(matrix, ["chr1"], context=0, most=10_000))
    assert sum(len(block.values) for block in blocks) == 3_700
