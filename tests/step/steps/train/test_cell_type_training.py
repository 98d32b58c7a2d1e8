"""Training of a model that cell types share, by the command."""

import json
import shutil

import numpy as np
import pytest
import torch

import epilstm
from epilstm.cli import main
from epilstm.errors import ParamsError
from epilstm.model.folder import load_model
from epilstm.model.networks import bin_level_of, context_level_of
from epilstm.model.windows import encode_bins
from epilstm.params import TrainParams
from epilstm.steps.train import context
from epilstm.steps.train.objective import Objective
from epilstm.store.arrays import open_group
from epilstm.tracks.identity import TrackIdentity
from support.train.toy_matrix import write_matrix
from support.train.training_runs import command, train, weights, write_params

PAIRS = [("A", "x"), ("A", "y"), ("B", "z"), ("B", "x"), ("C", "y"), ("C", "x")]
SHARED = {
    "kind": "cell_types", "embedding_size": 8, "context_size": 6, "linear_size": 2, "consensus_size": 1,
    "context_hidden": 6, "context_epochs": 20, "context_surroundings_bp": [2_500, 5_000], "epochs": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def by_cell_type(tmp_path_factory):
    identities = [TrackIdentity(*pair) for pair in PAIRS]
    return write_matrix(tmp_path_factory.mktemp("by cell type") / "matrix", identities=identities)


@pytest.fixture(scope="module")
def trained(by_cell_type, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained by cell type")
    train(by_cell_type, folder, **SHARED)
    return folder


def rows(matrix):
    return open_group(matrix / "matrix.zarr")["chr2"][:1000]


def test_sizes_are_those_of_each_cell_type(trained):
    _, manifest = load_model(trained / "model")
    config = manifest.config
    assert (config.embedding_size, config.context_size, config.bin_code_size) == (24, 18, 6)
    assert (config.cell_types.names, config.cell_types.assays) == (["A", "B", "C"], ["x", "y", "z"])
    assert config.context_reaches == (2, 4)
    assert manifest.training.context.surroundings_bp == [2_500, 5_000]


def test_a_tables_columns_of_one_cell_type_are_its_codes_of_bin_and_context(trained):
    model = epilstm.load(trained / "model")
    sizes = {"bin": 2, "linear": 2, "recurrent": 3, "consensus": 1}
    assert model.dimensions_of("B") == [f"B.{block}.0{n}" for block, size in sizes.items() for n in range(1, size + 1)]
    places = [model.dimensions.index(f"B.{name}") for name in ("bin.01", "bin.02", "linear.01", "consensus.01")]
    assert places == [2, 3, 12, 17]
    with pytest.raises(ParamsError, match="no cell type 'D'; it has A, B, C"):
        model.dimensions_of("D")


def test_both_levels_learn(trained):
    _, manifest = load_model(trained / "model")
    assert manifest.training.validation_r2 > 0.3
    assert manifest.training.context.validation_r2 > 0.1
    assert set(manifest.training.validation_r2_per_track) == {f"{cell}-{assay}" for cell, assay in PAIRS}


def test_the_bin_code_is_white_over_the_bins_of_all_cell_types(by_cell_type, trained):
    network, manifest = load_model(trained / "model")
    assert manifest.training.rotation == "varimax"
    values = open_group(by_cell_type / "matrix.zarr")["chr1"][:2500]
    mask = open_group(by_cell_type / "mask.zarr")["chr1"][:2500]
    codes = encode_bins(bin_level_of(network), values)[mask].reshape(-1, 2)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=0.25)


def test_rotation_keeps_the_reconstruction(by_cell_type, trained, tmp_path):
    rotated, _ = load_model(trained / "model")
    plain, _ = train(by_cell_type, tmp_path, **SHARED | {"rotation": "none"})
    x = torch.from_numpy(rows(by_cell_type).astype(np.float32))[:, None]
    torch.testing.assert_close(rotated.reconstruct(x), plain.reconstruct(x), atol=1e-4, rtol=1e-4)
    tokens = context_level_of(plain).standardised(context_level_of(plain).tokens(x))
    decoded = [context_level_of(net).decode(context_level_of(net).encode(tokens)) for net in (rotated, plain)]
    torch.testing.assert_close(*decoded, atol=1e-4, rtol=1e-4)


def test_the_blocks_that_are_components_are_not_trained(by_cell_type, trained, tmp_path):
    longer, _ = train(by_cell_type, tmp_path, **SHARED | {"context_epochs": 25})
    levels = [context_level_of(net) for net in (load_model(trained / "model")[0], longer)]
    assert torch.equal(*(level.linear.weight for level in levels))
    assert torch.equal(*(level.consensus.weight for level in levels))
    assert not torch.equal(*(level.encoder.weight_hh_l0 for level in levels))


def test_the_context_level_is_trained_on_all_frames_whatever_bins_the_bin_level_sees(by_cell_type, trained, tmp_path):
    train(by_cell_type, tmp_path, **SHARED | {"train_bins": 400, "epochs": 1, "context_epochs": 1})
    of_some, of_all = (load_model(each / "model")[1].training.context.frames for each in (tmp_path, trained))
    assert of_some == of_all > 400 // 50


def test_a_resumed_run_ends_with_the_same_weights(by_cell_type, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(context.ContextProgress, "over", lambda self, epochs: len(self.history) >= 7)
    train(by_cell_type, tmp_path, **SHARED)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "model")
    resumed, _ = train(by_cell_type, tmp_path, "resume", **SHARED)
    assert torch.equal(weights(resumed), weights(load_model(trained / "model")[0]))


def test_hidden_tracks_are_shown_to_the_network_as_not_observed(by_cell_type, trained):
    network, _ = load_model(trained / "model")
    objective = Objective(bin_level_of(network), TrainParams(track_dropout=0.5)).train()
    x = torch.from_numpy(rows(by_cell_type).astype(np.float32))[:, None].repeat(1, 8, 1)
    shown = objective._shown(x, torch.Generator().manual_seed(1))
    hidden = shown.isnan().all(0)
    assert 0.2 < hidden.float().mean() < 0.8
    assert torch.equal(shown[:, ~hidden], x[:, ~hidden])
    loss = objective(x, torch.ones(x.shape[:2]), bin_level_of(network).zero_state(8), torch.Generator().manual_seed(1))
    assert torch.isfinite(loss.total)


def test_a_block_by_cell_type_is_refused_for_a_model_of_tracks(by_cell_type, tmp_path, capsys):
    params = write_params(tmp_path, linear_size=2)
    with pytest.raises(SystemExit):
        main([*command(by_cell_type, tmp_path, params), "-q"])
    assert "train.linear_size needs train.kind: cell_types" in capsys.readouterr().err


def test_what_is_chosen_by_the_assays_is_in_the_record(by_cell_type, tmp_path):
    train(
        by_cell_type,
        tmp_path,
        kind="cell_types",
        epochs=1,
        context_epochs=1,
        embedding_size="auto",
        context_size="auto",
    )
    record = json.loads((tmp_path / "model.record.json").read_text())
    assert record["chosen"] == {"embedding_size": 19, "context_size": 18, "linear_size": 6, "consensus_size": 6}
