"""Dimensions of the codes of cell types have names by cell type and block wherever they are shown or exported."""

import csv
import json

import numpy as np
import onnx
import pandas
import pytest

from epilstm.cli import main
from epilstm.store.bin_ranges import open_embeddings
from epilstm.store.manifests import EmbeddingsManifest, code_columns_of, read_manifest
from support.embed.exported import embed, export
from support.embed.small_matrix import write_matrix
from support.export.small_model import SCALER, network_of

CODES = ["bin.01", "bin.02", "linear.01", "recurrent.01", "recurrent.02", "consensus.01"]
OF_E116 = [f"E116.{code}" for code in CODES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A matrix, an encoder and embeddings."""
    folder = tmp_path_factory.mktemp("named")
    write_matrix(folder / "matrix", SCALER)
    embed(folder / "matrix", export(folder, network_of("by cell type with context")), folder / "embeddings")
    return folder


def command(*words):
    main([*map(str, words), "-q"])


def refused(capsys, *words):
    with pytest.raises(SystemExit):
        command(*words)
    return capsys.readouterr().err


def test_the_manifest_and_the_encoder_name_dimensions_by_cell_type_and_block(folder):
    manifest = read_manifest(folder / "embeddings", EmbeddingsManifest)
    assert [manifest.names[column] for column in manifest.code_columns["E116"]] == OF_E116
    assert code_columns_of(manifest.names) == manifest.code_columns
    said = {each.key: each.value for each in onnx.load(folder / "encoder/encoder.onnx").metadata_props}
    assert json.loads(said["dimensions"]) == manifest.names


def test_one_cell_type_is_read_as_if_there_were_no_other(folder):
    whole, every = open_embeddings(folder / "embeddings")
    own, arrays = open_embeddings(folder / "embeddings", "E116")
    assert (own.size, own.names) == (6, OF_E116)
    np.testing.assert_array_equal(arrays["chr2"][90:210], every["chr2"][90:210][:, whole.code_columns["E116"]])


def test_tables_of_one_cell_type_have_its_dimensions_by_name(folder, tmp_path):
    flags = ["--embeddings", folder / "embeddings", "--cell-type", "E116", "--region", "chr2:0-100000"]
    command("export-tracks", *flags, "--to", tmp_path / "out", "--format", "parquet")
    table = pandas.read_parquet(tmp_path / "out/embedding.parquet")
    assert list(table.columns) == ["chrom", "start", "end", *OF_E116]
    _, arrays = open_embeddings(folder / "embeddings", "E116")
    np.testing.assert_array_equal(table[OF_E116].to_numpy()[:5], _with_data(arrays["chr2"][:100])[:5])


def _with_data(rows):
    return rows[~np.isnan(rows[:, 0])]


def test_a_bigwig_is_named_for_its_dimension(folder, tmp_path):
    flags = ["--embeddings", folder / "embeddings", "--tracks", "E116.linear.01", "--region", "chr2:0-100000"]
    command("export-tracks", *flags, "--to", tmp_path / "out", "--format", "bigwig")
    assert [path.name for path in (tmp_path / "out").glob("*.bw")] == ["E116.linear.01.bw"]


def test_states_of_one_cell_type_are_described_by_its_dimensions(folder, tmp_path):
    flags = ["--embeddings", folder / "embeddings", "--cell-type", "E123", "--states", 3, "--sample-bins", 2000]
    command("segment", *flags, "--segmentation", tmp_path / "segments")
    header = (tmp_path / "segments/embedding.tsv").read_text().splitlines()[0].split("\t")
    assert header == ["state", *(f"E123.{code}" for code in CODES)]


def test_figures_of_one_cell_type_are_of_its_dimensions_by_name(folder, tmp_path):
    flags = ["--matrix", folder / "matrix", "--embeddings", folder / "embeddings", "--cell-type", "E116"]
    for figure in ("density", "loadings"):
        command("plot", figure, *flags, "--to", tmp_path / f"{figure}.png", "--numbers", tmp_path / f"{figure}.csv")
        with open(tmp_path / f"{figure}.csv") as stream:
            assert list(dict.fromkeys(row["dimension"] for row in csv.DictReader(stream))) == OF_E116


@pytest.mark.parametrize("words", [["export-tracks", "--format", "parquet", "--to"], ["segment", "--segmentation"]])
def test_a_cell_type_that_is_not_there_is_one_line(words, folder, tmp_path, capsys):
    said = refused(capsys, *words, tmp_path / "out", "--embeddings", folder / "embeddings", "--cell-type", "K562")
    assert "error: --cell-type K562: the embeddings have no such cell type; they have E003, E116, E123" in said
