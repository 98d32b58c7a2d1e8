"""Shards read and written directly, against Zarr reading and writing the same files."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from epilstm.errors import DataError
from epilstm.store.arrays import SHARD_BINS, chunk_bins, create_array, create_bin_array, create_group, shard_file
from epilstm.store.shards import BinArray, open_bins

BINS = 2 * SHARD_BINS + 12_345
CODECS = ["none", "lz4", "zstd"]


def example(seed=0, columns=30, dtype="float16"):
    """Random rows with a bin range of fill value, and one whole shard of it."""
    values = np.random.default_rng(seed).normal(size=(BINS, columns)).astype(dtype)
    values[40_000:80_000] = np.nan
    values[SHARD_BINS : 2 * SHARD_BINS] = np.nan
    return values


def make(folder, columns=30, dtype="float16", codec="lz4", fill=np.nan):
    return create_bin_array(create_group(folder / "a.zarr"), "chr1", BINS, columns, dtype, codec, fill)


def bits(values):
    return values.view(f"u{values.itemsize}")


@pytest.fixture(scope="module", params=CODECS)
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make(folder, codec=request.param)[:] = example()
    return open_bins(folder / "a.zarr")["chr1"]


@pytest.fixture(scope="module")
def expected():
    return bits(example())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_range_of_bins_reads_as_zarr_wrote_it(written, expected, data):
    first = data.draw(st.integers(0, BINS))
    last = data.draw(st.integers(first, min(BINS, first + 150_000)))
    assert np.array_equal(bits(written[first:last]), expected[first:last])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("columns", "dtype"), [(30, "float16"), (3, "float32")])
def test_zarr_reads_what_is_written_directly(tmp_path, codec, columns, dtype):
    make(tmp_path, columns, dtype, codec)
    values = example(1, columns, dtype)
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    for number in range(3):
        array.write_shard(number, values[number * SHARD_BINS : (number + 1) * SHARD_BINS])
    stored = zarr.open_group(tmp_path / "a.zarr", mode="r")["chr1"][:]
    assert np.array_equal(bits(stored), bits(values))
    assert np.array_equal(bits(array[:]), bits(values))


def test_what_holds_the_fill_value_alone_takes_no_space(tmp_path):
    make(tmp_path, codec="none")
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    for number in range(3):
        array.write_shard(number, example()[number * SHARD_BINS : (number + 1) * SHARD_BINS])
    files = [shard_file(tmp_path / "a.zarr", "chr1", number, 0) for number in range(3)]
    assert [file.exists() for file in files] == [True, False, True]
    assert files[0].stat().st_size == pytest.approx(60_000 * 60, rel=0.01), "40,000 of 100,000 bins are left out"


def test_encoding_gives_the_same_bytes_every_time(tmp_path):
    make(tmp_path)
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    assert blosc.use_threads is False
    chunk = np.ascontiguousarray(example()[: array.chunks[0]])
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(array._encode, [chunk] * 50))) == 1


def test_a_shard_is_written_without_gathering_its_chunks(tmp_path):
    make(tmp_path, columns=200, codec="none")
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    rows = np.zeros((SHARD_BINS, 200), np.float16)
    tracemalloc.start()
    array.write_shard(0, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.chunks[0] == 2_000
    assert peak < rows.nbytes / 5, "a chunk is a fiftieth of the shard"


def test_a_shard_of_the_wrong_shape_or_type_is_refused(tmp_path):
    make(tmp_path)
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    for rows in (np.zeros((7, 30), np.float16), np.zeros((SHARD_BINS, 30), np.float32)):
        with pytest.raises(ValueError, match="shard 0 takes"):
            array.write_shard(0, rows)


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_index_is_reported_not_read(tmp_path, harm):
    make(tmp_path)[:] = example()
    file = shard_file(tmp_path / "a.zarr", "chr1", 0, 0)
    stored = bytearray(file.read_bytes())
    if harm == "cut":
        stored = stored[:10]
    else:
        stored[-20] ^= 0xFF
    file.write_bytes(stored)
    with pytest.raises(ValueError, match=r"cut short|damaged"):
        open_bins(tmp_path / "a.zarr")["chr1"][:10]


def test_an_array_stored_in_another_way_is_refused(tmp_path):
    create_array(
        create_group(tmp_path / "a.zarr"),
        "chr1",
        (10, 2),
        "float32",
        chunks=(5, 2),
        shards=None,
        codec="lz4",
        fill_value=0,
    )
    with pytest.raises(DataError, match="not stored in chunks and shards"):
        open_bins(tmp_path / "a.zarr")


def test_chunks_are_about_a_megabyte_and_divide_a_shard_and_a_frame_divides_them():
    sizes = {columns: chunk_bins(columns, 2) for columns in (1, 12, 25, 250, 1014)}
    assert sizes[25] == 20_000
    assert sizes[1014] == 2_000
    assert all(SHARD_BINS % bins == 0 and bins % 100 == 0 for bins in sizes.values())


def test_arrays_are_found_by_chromosome(tmp_path):
    make(tmp_path)
    arrays = open_bins(tmp_path / "a.zarr")
    assert list(arrays) == ["chr1"]
    assert isinstance(arrays["chr1"], BinArray)
    assert arrays["chr1"].shape == (BINS, 30)


def test_a_lost_shard_of_a_whole_array_is_reported_not_read_as_fill(tmp_path):
    make(tmp_path)[:] = example()
    shard_file(tmp_path / "a.zarr", "chr1", 0, 0).unlink()
    assert np.isnan(open_bins(tmp_path / "a.zarr")["chr1"][:10]).all()
    with pytest.raises(DataError, match="is missing; pull the dataset again"):
        open_bins(tmp_path / "a.zarr", whole=True)["chr1"][:10]


def test_a_chromosome_without_an_array_is_one_line(tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match="no array for chr9"):
        open_bins(tmp_path / "a.zarr")["chr9"]


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_chunk_is_refused_by_both_readers(tmp_path, codec):
    make(tmp_path, codec=codec)[:] = example()
    file = shard_file(tmp_path / "a.zarr", "chr1", 0, 0)
    stored = bytearray(file.read_bytes())
    stored[100_000:100_200] = bytes(200)
    file.write_bytes(stored)
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    with pytest.raises(DataError, match=r"a\.zarr/chr1/c/0/0: chr1, bins [\d,]+ to [\d,]+ are damaged .* run the step"):
        array[:]
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_group(tmp_path / "a.zarr", mode="r")["chr1"][:]


def test_arrays_from_before_chunks_had_a_checksum_are_read(tmp_path):
    values = example()
    old = zarr.create_group(tmp_path / "a.zarr").create_array(
        "chr1", shape=values.shape, dtype="float16", chunks=(20_000, 30), shards=(SHARD_BINS, 30), fill_value=np.nan,
        compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle", typesize=2),
    )  # fmt: skip
    old[:] = values
    array = open_bins(tmp_path / "a.zarr")["chr1"]
    assert array.checksummed is False
    assert np.array_equal(bits(array[:]), bits(values))
