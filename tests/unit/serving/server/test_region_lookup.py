"""Regions: the embedding of every bin that a region touches, as the dataset has it."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow
import pytest

from epilstm.errors import DataError
from epilstm.serving.server import regions
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.regions import RegionStore
from epilstm.store.arrays import create_bin_array, create_group
from epilstm.store.manifests import EmbeddingsManifest, write_manifest

SIZES = {"chr1": 1010, "chr2": 400}


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((41, 3)).astype(np.float32)
    values[:4] = np.nan
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("embeddings")
    group = create_group(folder / "embeddings.zarr")
    create_bin_array(group, "chr1", 41, 3, "float32", "lz4", float("nan"))[:] = values
    manifest = EmbeddingsManifest(
        assembly="toy", bin_size=25, chromosome_sizes=SIZES, regions=[("chr1", 100, 1010)], size=3,
        matrix_fingerprint="m", model_fingerprint="f", encoder_fingerprint="e",
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="module")
def store(folder) -> RegionStore:
    return RegionStore(folder)


def body(response) -> bytes:
    assert response.status == 200
    return b"".join(response.parts)


def test_a_region_has_every_bin_that_it_touches(store, values):
    content = json.loads(body(store.answer("chr1:249-301", {}, "")))
    assert (content["start"], content["end"], content["bin_size"]) == (225, 325, 25)
    np.testing.assert_array_equal(np.array(content["embedding"], np.float32), values[9:13])


def test_bins_without_an_embedding_are_null(store):
    content = json.loads(body(store.answer("chr1:50-150", {"dimension": "1"}, "")))
    assert content["embedding"][:2] == [[None], [None]]
    assert content["embedding"][2][0] is not None


def test_numbers_are_chosen_by_name(store, values):
    content = json.loads(body(store.answer("chr1:249-301", {"dimensions": "e2,e0"}, "")))
    assert content["dimensions"] == [2, 0]
    np.testing.assert_array_equal(np.array(content["embedding"], np.float32), values[9:13][:, [2, 0]])


def test_the_last_bin_ends_with_the_chromosome(store):
    assert json.loads(body(store.answer("chr1:1,000-1,010", {}, "")))["end"] == 1010


def test_arrow_has_one_row_per_bin(store, values):
    for query, accept in (({"format": "arrow"}, ""), ({}, "application/vnd.apache.arrow.stream")):
        response = store.answer("chr1:75-200", query, accept)
        assert response.content_type == "application/vnd.apache.arrow.stream"
        table = pyarrow.ipc.open_stream(io.BytesIO(body(response))).read_all()
        assert table.column_names == ["chrom", "start", "end", "e0", "e1", "e2"]
        assert table["start"].to_pylist() == [75, 100, 125, 150, 175]
        assert table["e2"].to_pylist()[0] is None
        np.testing.assert_array_equal(table["e2"].to_numpy()[1:], values[4:8, 2])


def test_bedgraph_has_one_track_per_dimension_without_missing_bins(store, values):
    text = body(store.answer("chr1:75-150", {"format": "bedgraph", "dimension": "2"}, "")).decode()
    lines = text.splitlines()
    assert lines[0] == 'track type=bedGraph name="embedding 2"'
    assert [line.split("\t")[:3] for line in lines[1:]] == [["chr1", "100", "125"], ["chr1", "125", "150"]]
    assert [np.float32(line.split("\t")[3]) for line in lines[1:]] == values[4:6, 2].tolist()


REFUSED = {
    "chr1": (Status.BAD_REQUEST, "is not a region"),
    "chr1:5": (Status.BAD_REQUEST, "is not a region"),
    "chr1:-5-10": (Status.BAD_REQUEST, "is not a region"),
    "chr1:10-5": (Status.BAD_REQUEST, "start must be below end"),
    "chr1:5-5": (Status.BAD_REQUEST, "start must be below end"),
    "chr1:0-1011": (Status.BAD_REQUEST, "end at most 1,010"),
    "chr1:0-999999999999999": (Status.BAD_REQUEST, "end at most 1,010"),
    "chr1:0-9999999999999999": (Status.BAD_REQUEST, "is not a region"),
    "chr2:0-100": (Status.NOT_FOUND, "no embeddings of 'chr2'; there are chr1"),
    "../../etc/passwd:0-100": (Status.BAD_REQUEST, "is not a region"),
    "..:0-100": (Status.NOT_FOUND, "no embeddings of '..'"),
}


@pytest.mark.parametrize("region", REFUSED)
def test_what_is_no_region_of_the_dataset_is_refused(store, region):
    with pytest.raises(Refusal) as refused:
        store.answer(region, {}, "")
    assert refused.value.status == REFUSED[region][0]
    assert REFUSED[region][1] in refused.value.message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"dimension": "3"}, "number from 0 to 2"),
        ({"dimension": "x"}, "number from 0 to 2"),
        ({"dimensions": "e3"}, "dimensions: no number 'e3'; there are e0, e1, e2"),
        ({"dimensions": "e1", "dimension": "1"}, "give dimensions or dimension, not both"),
        ({"format": "bigwig"}, "give json, arrow, bedgraph"),
        ({"size": "3"}, "no such option"),
    ],
)
def test_options_that_make_no_sense_are_refused(store, query, message):
    with pytest.raises(Refusal, match=message):
        store.answer("chr1:0-100", query, "")


def test_a_region_too_long_for_one_answer_is_refused(store, monkeypatch):
    monkeypatch.setattr(regions, "MAX_VALUES", 30)
    assert store.answer("chr1:0-250", {}, "").status == 200
    with pytest.raises(Refusal, match="11 bins x 3 numbers, more than 30; ask in parts"):
        store.answer("chr1:0-251", {}, "")


def test_a_dataset_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(DataError):
        RegionStore(tmp_path)


def test_a_chromosome_is_found_without_a_search_through_all(folder):
    class NotSearched(list):
        def __contains__(self, item: object) -> bool:
            raise AssertionError("searched through all chromosomes")

    store = RegionStore(folder)
    store.manifest.__dict__["chromosomes"] = NotSearched(store.manifest.chromosomes)  # where its cache keeps it
    assert json.loads(body(store.answer("chr1:249-301", {}, "")))["start"] == 225
