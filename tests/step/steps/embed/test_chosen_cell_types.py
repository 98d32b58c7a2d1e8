"""``embed.cell_types``: only chosen cell types of a model that cell types share are encoded."""

import json

import numpy as np
import onnx
import pytest

import epilstm
from epilstm.cli import main
from epilstm.errors import ParamsError
from epilstm.model.chosen_codes import choose_codes
from epilstm.model.core_encoder import core_of
from epilstm.model.windows import encode_bins
from epilstm.store.manifests import EmbeddingsManifest, read_manifest
from support.embed.exported import array, embed, export
from support.embed.small_matrix import write_matrix
from support.export.small_model import CONFIGS, SCALER, network_of

BY_CELL_TYPE = [name for name, config in CONFIGS.items() if config.cell_types is not None]
CONTEXT = "by cell type with context"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return write_matrix(tmp_path_factory.mktemp("matrix") / "matrix", SCALER)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("encoder"), network_of(CONTEXT))


@pytest.mark.parametrize("name", BY_CELL_TYPE)
@pytest.mark.parametrize("chosen", [["E116"], ["E123", "E003"]])
def test_codes_are_those_of_the_embedding_of_all_cell_types(name, chosen, matrix, tmp_path):
    encoder = export(tmp_path, network_of(name))
    embed(matrix, encoder, tmp_path / "all")
    embed(matrix, encoder, tmp_path / "some", cell_types=chosen)
    every, some = (read_manifest(tmp_path / folder, EmbeddingsManifest) for folder in ("all", "some"))
    assert some.cell_types == chosen
    assert sorted(column for columns in some.code_columns.values() for column in columns) == list(range(some.size))
    for chrom in ("chr1", "chr2"):
        whole, values = (array(tmp_path / folder, "embeddings.zarr", chrom) for folder in ("all", "some"))
        assert values.shape[1] == some.size == every.size // 3 * len(chosen)
        for cell_type in chosen:
            np.testing.assert_allclose(
                values[:, some.code_columns[cell_type]], whole[:, every.code_columns[cell_type]], atol=1e-5
            )


def test_the_recurrence_runs_over_the_chosen_cell_types_alone(encoder):
    import onnxruntime

    config = CONFIGS[CONTEXT]
    core = core_of(onnx.load(encoder / "encoder.onnx"), choose_codes(config, ["E116", "E003"], "cell_types"))
    core.graph.output.append(onnx.helper.make_empty_tensor_value_info("hidden_0"))
    session = onnxruntime.InferenceSession(core.SerializeToString(), providers=["CPUExecutionProvider"])
    _, hidden = session.run(None, {"matrix_by_time": np.zeros((30, 5, 7), np.float16)})
    assert hidden.shape == (30, 5 * 2, 8)


def test_torch_encodes_the_same_columns():
    network = network_of(CONTEXT)
    rows = np.random.default_rng(0).normal(size=(400, 7)).astype(np.float32)
    chosen = choose_codes(network.config, ["E123", "E116"], "cell_types")
    whole, some = encode_bins(network, rows), encode_bins(network, rows, chosen=chosen)
    for cell_type, columns in chosen.code_columns.items():
        np.testing.assert_allclose(some[:, columns], whole[:, network.config.code_columns[cell_type]], atol=1e-5)


def test_python_names_chosen_columns_as_in_the_whole_embedding(tmp_path):
    from support.export.small_model import write_model

    model = epilstm.load(write_model(tmp_path / "model", network_of(CONTEXT)))
    signal = np.random.default_rng(0).exponential(size=(300, 7))
    table = model.embed(signal, ("chr1", 0, 7500), cell_types="E116", assembly=sizes(tmp_path))
    assert list(table.columns[3:]) == model.dimensions_of("E116")
    whole = model.embed(signal, ("chr1", 0, 7500), assembly=sizes(tmp_path))
    np.testing.assert_allclose(table[model.dimensions_of("E116")], whole[model.dimensions_of("E116")], atol=1e-5)
    with pytest.raises(ParamsError, match="cell_types: the model has no cell type 'K562'; it has E003, E116, E123"):
        model.embed(signal, cell_types=["K562"])


def sizes(folder):
    (folder / "chrom.sizes").write_text("chr1\t10000\n")
    return folder / "chrom.sizes"


def test_all_of_them_by_name_is_the_embedding_of_all(matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "all")
    embed(matrix, encoder, tmp_path / "named", cell_types=["E003", "E116", "E123"])
    np.testing.assert_array_equal(*(array(tmp_path / name, "embeddings.zarr", "chr2") for name in ("all", "named")))


@pytest.mark.parametrize(
    ("name", "cell_types", "message"),
    [
        (CONTEXT, ["E116", "K562"], "embed.cell_types: the model has no cell type 'K562'; it has E003, E116, E123"),
        (CONTEXT, ["E116", "E116"], "embed.cell_types: E116 is named twice"),
        ("bottleneck", ["E116"], "embed.cell_types: the model has one code of all tracks, none of each cell type"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(name, cell_types, message, matrix, tmp_path, capsys):
    encoder = export(tmp_path, network_of(name))
    (tmp_path / "params.yaml").write_text(json.dumps({"embed": {"cell_types": cell_types}}))
    flags = ["--matrix", matrix, "--encoder", encoder, "--embeddings", tmp_path / "out", "-q"]
    with pytest.raises(SystemExit) as stopped:
        main(["embed", "--params", str(tmp_path / "params.yaml"), *map(str, flags)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_list_is_refused(tmp_path, matrix, encoder, capsys):
    (tmp_path / "params.yaml").write_text("embed: {cell_types: []}\n")
    flags = ["--matrix", matrix, "--encoder", encoder, "--embeddings", tmp_path / "out", "-q"]
    with pytest.raises(SystemExit):
        main(["embed", "--params", str(tmp_path / "params.yaml"), *map(str, flags)])
    assert "embed.cell_types" in capsys.readouterr().err
