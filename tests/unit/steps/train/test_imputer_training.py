"""Examples that the imputer learns from, its loss, and the spread that is fitted."""

import numpy as np
import pytest
import torch

from epilstm.errors import ParamsError
from epilstm.model.cell_types import cell_types_of
from epilstm.model.imputer import Imputer
from epilstm.model.imputer_config import by_assay, reference_of
from epilstm.params import ImputerParams
from epilstm.steps.train.imputer import (
    binned_alike,
    draw_examples,
    draw_shown,
    fitted_spread,
    imputer_config,
    loss_of,
    require_imputable,
)
from epilstm.store.manifests import Scaler, read_scaler
from epilstm.store.matrix import Matrix
from epilstm.tracks.identity import TrackIdentity
from support.train.toy_matrix import write_matrix

PAIRS = [("A", "x"), ("A", "y"), ("B", "z"), ("B", "x"), ("C", "y"), ("C", "x")]
PARAMS = ImputerParams(enabled=True, window=[2, 5], hidden_size=4, bins=300, steps=3, batch=16)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    identities = [TrackIdentity(*pair) for pair in PAIRS]
    folder = write_matrix(tmp_path_factory.mktemp("imputer") / "matrix", identities=identities)
    return Matrix(folder)


@pytest.fixture(scope="module")
def drawn(matrix):
    scaler = read_scaler(matrix.folder, matrix.manifest)
    cell_types = cell_types_of(matrix.manifest.track_set)
    config = imputer_config(PARAMS, scaler, cell_types)
    return config, scaler, cell_types, draw_examples(matrix, scaler, cell_types, config, ["chr1"], 300, 1)


def test_examples_are_bins_with_data_of_every_cell_type_about_as_many_as_asked_for(drawn, matrix):
    _, _, _, examples = drawn
    assert 200 < len(examples.values) < 400
    there = {tuple(row) for row in examples.inputs.observed.tolist()}
    assert there == {(1, 1, 0), (1, 0, 1)}  # A and C have x and y, B has x and z


def test_an_example_is_imputed_from_a_reference_without_its_own_cell_type(drawn, matrix):
    config, scaler, cell_types, examples = drawn
    of_b = torch.nonzero(examples.inputs.observed[:, 2] == 1)[:, 0]
    values = torch.cat(
        [
            torch.from_numpy(by_assay(matrix.rows(region), scaler, cell_types, config))
            for region in matrix.regions_in(["chr1"])
        ]
    )
    example = int(of_b[0])
    own = (values[:, 1, [0, 2]] == examples.values[example, [0, 2]]).all(1)
    (at,) = torch.nonzero(own)[:, 0].tolist()
    expected = reference_of(values[at : at + 1].numpy(), 1)[0, 0]
    assert float(examples.inputs.around[example, 0, 0]) == pytest.approx(expected, abs=1e-5)
    assert examples.inputs.known[example].tolist() == [1, 1, 0]


def test_none_to_all_but_one_of_the_assays_are_shown_each_number_as_often():
    shown = draw_shown(6_000, 3, torch.Generator().manual_seed(0))
    counts = torch.bincount(shown.sum(1).long(), minlength=4)
    assert counts[3] == 0
    assert counts[:3].tolist() == pytest.approx([2000, 2000, 2000], rel=0.1)


def test_assays_that_were_not_measured_are_no_targets(drawn):
    config, _, _, examples = drawn
    torch.manual_seed(0)
    network = Imputer(config)
    inputs = examples.inputs.showing(torch.zeros(3))
    loss = loss_of(network, inputs, examples.values)
    assert torch.isfinite(loss)
    other = examples.values.clone()
    other[~other.isnan()] += 1
    assert loss_of(network, inputs, other) != loss


def test_nine_tenths_of_the_values_lie_within_the_fitted_spread(drawn):
    config, _, _, examples = drawn
    network = Imputer(config)
    spread, error, _ = fitted_spread(network, examples)
    for place in range(3):
        there = ~examples.values[:, place].isnan()
        with torch.inference_mode():
            mean, deviation = network(examples.inputs.select(torch.nonzero(there)[:, 0]))
        away = (mean[:, place] - examples.values[there, place]).numpy()
        within = np.abs(away) <= 1.6448536 * spread[place] * deviation[:, place].numpy()
        assert within.mean() == pytest.approx(0.9, abs=0.02)
        assert error[place] == pytest.approx(np.mean(np.square(away)), rel=1e-4)


def test_a_model_of_one_code_of_all_tracks_cannot_have_an_imputer(drawn):
    with pytest.raises(ParamsError, match=r"needs train\.kind: cell_types"):
        require_imputable(None, drawn[1])


def test_tracks_whose_uncovered_bases_are_binned_alike_may_share_an_assay():
    names = ["A-x", "B-x", "C-m"]
    scaler = Scaler(tracks=names, mean=[0] * 3, scale=[1] * 3, uncovered=["zero", "gap", "missing"])
    assert binned_alike(scaler) == ["gap", "gap", "missing"]
