"""Bulk arrays: chunks, shards, codecs, and where their files lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from epilstm.errors import DataError
from epilstm.store.arrays import (
    SHARD_BINS,
    SIGNAL_CHUNK_BINS,
    SIGNAL_SHARD_BINS,
    Masks,
    available_cores,
    chunk_bins,
    create_bin_array,
    create_group,
    create_mask,
    create_signal_array,
    open_group,
    shard_file,
)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_what_is_written_is_read_back_whatever_the_codec(tmp_path: Path, codec: str) -> None:
    values = np.random.default_rng(1).normal(size=(3_000, 5)).astype(np.float16)
    create_bin_array(create_group(tmp_path / "a.zarr"), "chr1", 3_000, 5, "float16", codec, np.nan)[:] = values
    np.testing.assert_array_equal(open_group(tmp_path / "a.zarr")["chr1"][:], values)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_every_reader_of_zarr_finds_chunks_in_shards(tmp_path: Path, codec: str) -> None:
    create_bin_array(create_group(tmp_path / "a.zarr"), "chr1", 250_000, 7, "float16", codec, np.nan)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["chr1"]
    assert (array.chunks, array.shards) == ((chunk_bins(7, 2), 7), (SHARD_BINS, 7))
    assert array.metadata.zarr_format == 3


def test_what_was_not_written_is_the_fill_value_and_takes_no_file(tmp_path: Path) -> None:
    array = create_bin_array(create_group(tmp_path / "a.zarr"), "chr1", 250_000, 2, "float32", "lz4", np.nan)
    array[100_000:100_010] = 1.0
    array[200_000:] = np.nan
    assert np.isnan(open_group(tmp_path / "a.zarr")["chr1"][:100_000]).all()
    assert [path.name for path in (tmp_path / "a.zarr" / "chr1" / "c").iterdir()] == ["1"]


def test_each_track_of_a_signal_has_files_of_its_own_that_can_be_moved_between_arrays(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=4_100_000).astype(np.float32)
    one = create_signal_array(create_group(tmp_path / "one.zarr"), "chr1", 1, len(values), "lz4")
    one[0] = values
    many = create_signal_array(create_group(tmp_path / "many.zarr"), "chr1", 3, len(values), "lz4")
    assert (many.chunks, many.shards) == ((1, SIGNAL_CHUNK_BINS), (1, SIGNAL_SHARD_BINS))
    for shard in (0, 1):
        target = shard_file(tmp_path / "many.zarr", "chr1", 2, shard)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(shard_file(tmp_path / "one.zarr", "chr1", 0, shard), target)
    np.testing.assert_array_equal(open_group(tmp_path / "many.zarr")["chr1"][2], values)
    assert np.isnan(open_group(tmp_path / "many.zarr")["chr1"][:2, :1000]).all()


def test_a_mask_is_false_until_it_is_written(tmp_path: Path) -> None:
    create_mask(create_group(tmp_path / "a.zarr"), "chr1", 2_500_000)[1_000_003] = True
    assert np.flatnonzero(open_group(tmp_path / "a.zarr")["chr1"][:]).tolist() == [1_000_003]


def test_a_missing_or_broken_group_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Zarr group"):
        open_group(tmp_path / "none.zarr")
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="not a Zarr group"):
        open_group(tmp_path)


def test_there_is_at_least_one_core_and_no_more_than_the_machine_has() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_a_mask_that_is_not_the_manifests_is_reported(tmp_path: Path) -> None:
    create_mask(create_group(tmp_path / "a.zarr"), "chr1", 2_500_000)[5:9] = True
    assert Masks(tmp_path / "a.zarr", {"chr1": 4})["chr1"].sum() == 4
    shutil.rmtree(tmp_path / "a.zarr" / "chr1" / "c")
    with pytest.raises(DataError, match="0 bins with data, the manifest says 4"):
        Masks(tmp_path / "a.zarr", {"chr1": 4})["chr1"]
    with pytest.raises(DataError, match="mask of chr2 is missing"):
        Masks(tmp_path / "a.zarr", {})["chr2"]
