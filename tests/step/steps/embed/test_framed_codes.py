"""Context codes of cell types are stored once per frame, and read as codes of bins."""

import json

import numpy as np
import pytest

from epilstm.errors import DataError
from epilstm.genome.frames import spread_codes
from epilstm.params import EvaluateParams
from epilstm.representations.features import Embedding, pooled_features
from epilstm.representations.pooling import WindowTable
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.scoring.prediction import PooledWindows
from epilstm.store.arrays import open_group
from epilstm.store.bin_ranges import open_embeddings
from epilstm.store.framed_codes import FramedRows, frame_places, stored_frames
from epilstm.store.manifests import EmbeddingsManifest, read_manifest
from epilstm.store.matrix import Matrix
from epilstm.store.packing import Place
from support.embed.exported import embed, export, files_of
from support.embed.small_matrix import SIZES, write_matrix
from support.export.small_model import SCALER, network_of


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return write_matrix(tmp_path_factory.mktemp("matrix") / "matrix", SCALER)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("encoder"), network_of("by cell type with context"))


@pytest.fixture(scope="module")
def embeddings(matrix, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings") / "embeddings"
    embed(matrix, encoder, folder)
    return folder


def test_bins_have_their_bin_codes_and_frames_their_context_codes(embeddings):
    manifest = read_manifest(embeddings, EmbeddingsManifest)
    assert (manifest.size, manifest.context_frame_bins) == (18, 10)
    for chrom, bins, frames in (("chr1", 112_000, 11_200), ("chr2", 4_150, 420)):
        assert open_group(embeddings / "embeddings.zarr")[chrom].shape == (bins, 6)
        assert open_group(embeddings / "context.zarr")[chrom].shape == (frames, 12)


def test_any_range_of_bins_is_read_as_from_the_whole(embeddings):
    _, arrays = open_embeddings(embeddings)
    for chrom in SIZES:
        whole = arrays[chrom][:]
        assert arrays[chrom].shape == whole.shape == (len(whole), 18)
        for first, last in ((1_003, 1_009), (995, 1_020), (3_999, 4_150), (99_995, 100_007), (6_990, 8_050), (7, 7)):
            np.testing.assert_array_equal(arrays[chrom][first:last], whole[first:last])


def test_codes_are_interpolated_within_a_region_and_not_beyond():
    codes = np.arange(8, dtype=np.float32)[:, None] ** 2
    bins = np.zeros((38, 1), np.float32)
    bins[5] = np.nan

    class Stored(np.ndarray):
        path, basename, chunks = None, "chr1", (10, 1)

    rows = FramedRows(bins.view(Stored), codes.view(Stored), 5, [(0, 20), (20, 38)])[:]
    expected = np.concatenate([spread_codes(codes[:4], 20, 5), spread_codes(codes[4:], 18, 5)])
    expected[5] = np.nan
    np.testing.assert_array_equal(rows[:, 1:], expected)


def test_windows_are_pooled_from_frames_as_from_their_bins(encoder, tmp_path):
    opened = Matrix(write_matrix(tmp_path / "matrix", SCALER, frame_bins=10))
    embed(opened.folder, encoder, tmp_path / "embeddings")
    embedding = Embedding(opened, tmp_path / "embeddings")
    bins, frames = embedding.split()
    assert (bins.size, frames.size) == (6, 12)
    first, last = np.array([0, 3, 17, 4_100]), np.array([7, 4, 333, 4_150])
    windows = WindowTable(np.array(["chr2"] * 4), first, last)
    expected = pooled_features(embedding, opened, windows, ["mean"])
    pooled = PooledWindows(opened, windows, EvaluateParams(pooling=["mean"])).of(embedding)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(pooled, expected, atol=1e-4)


def test_frames_of_another_length_than_the_matrixs_are_not_pooled_by_themselves(matrix, embeddings):
    embedding = Embedding(Matrix(matrix), embeddings)
    assert embedding.split() == (embedding, None)


def test_a_lost_file_of_codes_is_an_error_that_names_it(matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "embeddings")
    next((tmp_path / "embeddings/context.zarr/chr1").rglob("c/1/0")).unlink()
    with pytest.raises(DataError, match=r"context\.zarr/chr1/c/1/0 is missing"):
        open_embeddings(tmp_path / "embeddings")


def test_chromosomes_that_share_an_array_share_one_of_frames():
    places = {"a": Place("shared-0", 0, 400), "b": Place("shared-0", 400, 200)}
    frames = {"shared-0": stored_frames(600, 600, 200)}
    assert frame_places(places, 200, frames) == {"a": Place("shared-0", 0, 2), "b": Place("shared-0", 2, 1)}


def test_frames_beyond_the_end_are_stored_as_far_as_there_are_shards_of_bins():
    assert stored_frames(4_150, 4_200, 10) == 420
    assert stored_frames(100_000, 100_200, 100) == 1_000


def test_parts_join_to_the_bytes_of_a_run_without_parts(matrix, encoder, embeddings, tmp_path):
    (tmp_path / "params.yaml").write_text(json.dumps({"embed": {"threads": 1}}))
    paths = {"matrix": matrix, "encoder": encoder, "parts": tmp_path / "parts"}
    run_step(STEPS["embed"], tmp_path / "params.yaml", paths, frozenset(), "chr2")
    run_step(STEPS["embed"], tmp_path / "params.yaml", paths | {"embeddings": tmp_path / "embeddings"}, frozenset())
    assert files_of(tmp_path / "embeddings") == files_of(embeddings)
