"""The imputer: its reference, what it may look at, and its blocks."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from epilstm.errors import ModelError, ParamsError
from epilstm.model import imputer as imputer_module
from epilstm.model.cell_types import CellTypes
from epilstm.model.imputer import Imputer, impute, imputer_inputs, require_imputer
from epilstm.model.imputer_config import ImputerConfig, assay_scale, by_assay, one_of_each_assay, reference_of
from epilstm.store.manifests import Scaler

CELL_TYPES = CellTypes(names=["A", "B", "C"], assays=["x", "y"], tracks=[[0, 1], [2, -1], [3, 4]])
SCALER = Scaler(tracks=["A-x", "A-y", "B-x", "C-x", "C-y"], mean=[0.5, 0.1, 0.3, 0.4, 0.3], scale=[1, 2, 0.5, 1, 1.5])
CONFIG = ImputerConfig(
    assays=["x", "y"], mean=[0.4, 0.2], scale=[1.0, 2.0], transform=["arcsinh"] * 2, uncovered=["zero"] * 2, clip=50.0,
    window=[1, 3], hidden_size=8, layers=2, spread=[1.0, 1.5],
)  # fmt: skip


def rows(bins=40, seed=0):
    return np.random.default_rng(seed).normal(size=(bins, 5)).astype(np.float32)


def trained():
    torch.manual_seed(0)
    network = Imputer(CONFIG)
    for layer in (network.linear, network.mean, network.deviation):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.eval()


def test_values_are_on_one_scale_for_all_tracks_of_an_assay():
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)
    assert values[7, 2, 1] == pytest.approx((rows()[7, 4] * 1.5 + 0.3 - 0.2) / 2.0, rel=1e-5)
    assert np.isnan(values[:, 1, 1]).all()


def test_the_scale_of_an_assay_is_that_of_all_its_tracks_together():
    random = np.random.default_rng(0)
    signal = {track: random.normal(track, 1 + track, 200_000) for track in range(5)}
    each = Scaler(
        tracks=SCALER.tracks,
        mean=[float(s.mean()) for s in signal.values()],
        scale=[float(s.std()) for s in signal.values()],
    )
    mean, scale = assay_scale(each, CELL_TYPES)
    together = np.concatenate([signal[track] for track in (0, 2, 3)])
    assert (mean[0], scale[0]) == pytest.approx((together.mean(), together.std()), rel=1e-6)


def test_the_reference_leaves_the_cell_types_own_tracks_out():
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)
    found = reference_of(values, 0)
    assert found[5, 0] == pytest.approx((values[5, 1, 0] + values[5, 2, 0]) / 2, rel=1e-5)
    assert found[5, 2] == pytest.approx(abs(values[5, 1, 0] - values[5, 2, 0]) / 2, rel=1e-4)
    assert found[5, [1, 3, 4, 5]].tolist() == pytest.approx([values[5, 2, 1], 0, 1, 1])


def test_an_assay_that_no_reference_cell_type_has_is_not_known_there():
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)[:, :2]
    found = reference_of(values, 0)
    assert found[:, [1, 3, 5]].any() == False  # noqa: E712
    assert (found[:, 4] == 1).all()


def test_the_value_of_a_hidden_assay_changes_nothing():
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)
    reference = reference_of(values, 0)
    other = values[:, 0].copy()
    other[:, 1] += 5
    inputs = [imputer_inputs(own, reference, slice(None), CONFIG) for own in (values[:, 0], other)]
    network = trained()
    hidden = [network(each.showing(torch.tensor([1.0, 0.0])))[0] for each in inputs]
    shown = [network(each)[0] for each in inputs]
    assert torch.equal(*hidden)
    assert not torch.equal(*shown)


def test_an_assay_that_is_missing_is_imputed_as_one_that_is_hidden():
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)
    reference, network = reference_of(values, 0), trained()
    without = values[:, 0].copy()
    without[:, 1] = np.nan
    hidden = imputer_inputs(values[:, 0], reference, slice(None), CONFIG).showing(torch.tensor([1.0, 0.0]))
    mean, deviation = impute(network, without, reference, slice(0, 40))
    np.testing.assert_allclose(mean, network(hidden)[0].detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(deviation, network(hidden)[1].detach().numpy() * [1.0, 1.5], rtol=1e-6)


def test_bins_are_imputed_the_same_in_blocks_of_any_size(monkeypatch):
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)
    reference, network = reference_of(values, 0), trained()
    whole = impute(network, values[:, 0], reference, slice(2, 39))
    monkeypatch.setattr(imputer_module, "BLOCK_BINS", 7)
    for one, other in zip(whole, impute(network, values[:, 0], reference, slice(2, 39)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_an_untrained_imputer_gives_the_references_mean():
    values = by_assay(rows(), SCALER, CELL_TYPES, CONFIG)
    reference = reference_of(values, 0)
    mean, _ = impute(Imputer(CONFIG), values[:, 0], reference, slice(0, 40))
    np.testing.assert_array_equal(mean, reference[:, :2])


def test_tracks_of_an_assay_with_different_transforms_are_refused():
    with pytest.raises(ParamsError, match="those of x have arcsinh and log1p; make them alike"):
        one_of_each_assay(["arcsinh", "arcsinh", "log1p", "arcsinh", "arcsinh"], CELL_TYPES, "transform")


def test_a_config_has_a_value_for_each_assay():
    with pytest.raises(ValidationError, match="1 values of spread for 2 assays"):
        ImputerConfig(**{**CONFIG.model_dump(), "spread": [1.0]})


def test_a_model_without_an_imputer_says_how_to_train_one():
    with pytest.raises(ModelError, match=r"train.imputation.enabled: true"):
        require_imputer(None, "models/a")
