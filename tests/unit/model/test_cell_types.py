"""Models that cell types share, against plain loops in numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from epilstm.errors import ParamsError
from epilstm.model.by_cell_type import ByCellType, SharedReadout
from epilstm.model.cell_type_context import around
from epilstm.model.cell_types import CellTypes, cell_types_of, with_missing
from epilstm.model.chunks import context_frames
from epilstm.model.config import ModelConfig
from epilstm.model.networks import bin_level_of, build, context_level_of
from epilstm.tracks.identity import TrackIdentity, TrackSet

PAIRS = [("A", "x"), ("A", "y"), ("B", "z"), ("B", "x"), ("C", "y"), ("C", "x"), ("C", "z")]
CELL_TYPES = cell_types_of(TrackSet.of([TrackIdentity(*pair) for pair in PAIRS]))
SHAPE = {
    "architecture": "bottleneck", "tracks": 7, "embedding_size": 3 * (2 + 6), "context_size": 3 * 6, "hidden_size": 5,
    "context_hidden": 4, "frame_bins": 10, "linear_size": 2, "consensus_size": 1, "context_reaches": (1, 3),
}  # fmt: skip


def network(cell_types=CELL_TYPES):
    return build(ModelConfig(cell_types=cell_types, **SHAPE), 1).eval()


def bins(seed=0, count=60):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 2, 7)).astype(np.float32))


@pytest.fixture(scope="module")
def fitted():
    net = network()
    level = context_level_of(net)
    level.fit([(level.tokens(bins(1)), torch.ones(6, 2))])
    return net


def code_of(net, x, cell):
    """Codes of bin and context of one cell type."""
    embedding = net.encode(x)[0].detach()
    bin_codes, contexts = embedding[..., :6].unflatten(2, (3, 2)), embedding[..., 6:].unflatten(2, (3, 6))
    return bin_codes[:, :, cell], contexts[:, :, cell]


def test_tracks_are_laid_out_by_cell_type_and_assay_in_the_order_of_the_tracks():
    assert (
        CellTypes(names=["A", "B", "C"], assays=["x", "y", "z"], tracks=[[0, 1, -1], [3, -1, 2], [5, 4, 6]])
        == CELL_TYPES
    )


def test_replicates_of_an_assay_are_refused():
    tracks = TrackSet.of([TrackIdentity("A", "x", "1"), TrackIdentity("A", "x", "2")])
    with pytest.raises(ParamsError, match="A has x more than once; leave replicates out"):
        cell_types_of(tracks)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_tracks_come_back_from_their_assays(batch, parts, seed):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, batch, parts * 7)))
    by_cell_type = ByCellType(CELL_TYPES)
    assert torch.equal(by_cell_type.to_tracks(by_cell_type.of_assays(x, parts)[0], parts), x)


def test_a_cell_type_sees_its_own_tracks_and_which_there_are():
    x = bins()
    x[:, 0, 3] = torch.nan
    values, observed = ByCellType(CELL_TYPES).of_assays(x)
    of_b = values.unflatten(1, (2, 3))[:, :, 1]
    assert torch.equal(of_b[:, 1], torch.stack([x[:, 1, 3], torch.zeros(60), x[:, 1, 2]], 1))
    assert torch.equal(of_b[:, 0], torch.stack([torch.zeros(60), torch.zeros(60), x[:, 0, 2]], 1))
    assert observed.unflatten(1, (2, 3))[0, :, 1].tolist() == [[0, 0, 1], [1, 0, 1]]


def test_codes_side_by_side_come_apart_again():
    codes, by_cell_type = torch.randn(4, 6, 5), ByCellType(CELL_TYPES)
    assert torch.equal(by_cell_type.apart(by_cell_type.side_by_side(codes)), codes)


def test_the_shared_readout_is_that_of_each_cell_types_features():
    readout, features = SharedReadout(4, CELL_TYPES), torch.randn(3, 12)
    tracks = readout(features)
    for track, (cell, assay) in enumerate(PAIRS):
        at = CELL_TYPES.names.index(cell)
        expected = readout.shared(features[:, 4 * at : 4 * at + 4])[:, CELL_TYPES.assays.index(assay)]
        torch.testing.assert_close(tracks[:, track], expected)


def test_the_bin_code_of_a_cell_type_depends_on_its_own_tracks_alone(fitted):
    x, changed = bins(), bins()
    changed[:, :, [2, 3]] += 1
    for cell, same in ((0, True), (1, False), (2, True)):
        assert torch.equal(code_of(fitted, x, cell)[0], code_of(fitted, changed, cell)[0]) == same


def test_only_the_consensus_block_depends_on_other_cell_types(fitted):
    x, changed = bins(), bins()
    changed[:, :, [2, 3]] += 1
    before, after = (code_of(fitted, each, 0)[1] for each in (x, changed))
    assert torch.equal(before[..., :5], after[..., :5])
    assert not torch.allclose(before[..., 5], after[..., 5])


def test_a_track_that_is_not_a_number_counts_as_an_assay_that_was_not_measured(fitted):
    x = bins()
    x[:, :, 2] = torch.nan
    without = CELL_TYPES.model_copy(update={"tracks": [[0, 1, -1], [2, -1, -1], [4, 3, 5]]})
    other = build(ModelConfig(cell_types=without, **SHAPE | {"tracks": 6}), 1).eval()
    weights = {
        name: values
        if not name.startswith("context_level.token")
        else values.unflatten(0, (3, 7))[:, [0, 1, 3, 4, 5, 6]].flatten()
        for name, values in fitted.state_dict().items()
    }
    other.load_state_dict(weights)
    torch.testing.assert_close(other.encode(x[:, :, [0, 1, 3, 4, 5, 6]])[0], fitted.encode(x)[0])


def test_reconstruction_goes_to_the_tracks_in_their_order(fitted):
    x = bins()
    net = bin_level_of(fitted)
    features = net.features(x)[0]
    torch.testing.assert_close(
        net.reconstruct(x)[..., 4], net.linear_readout(features[..., -features.shape[2] // 3 :])[..., 1]
    )


def test_means_around_a_frame_are_those_of_a_loop():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 2, 3)))
    found = around(x, [1, 4])
    assert found.shape == (9, 2, 9)
    for frame in range(9):
        for place, reach in ((3, 1), (6, 4)):
            expected = x[max(0, frame - reach) : frame + reach + 1].mean(0)
            torch.testing.assert_close(found[frame, :, place : place + 3], expected)


def test_the_linear_block_is_a_pca_of_standardised_means(fitted):
    level = context_level_of(fitted)
    tokens = level.tokens(bins(1))
    values, _ = level.by_cell_type.of_assays(tokens, 3)
    means = around(values[..., :3], (1, 3)).flatten(0, 1).double().numpy()
    deviation = means.std(0)
    expected = PCA(2, whiten=True, svd_solver="full").fit_transform(means / deviation) * np.sqrt(
        len(means) / (len(means) - 1)
    )
    found = level.linear(torch.from_numpy(means).float()).detach().numpy()
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=2e-3)


def test_the_consensus_is_the_mean_over_other_cell_types_with_the_assay(fitted):
    level = context_level_of(fitted)
    tokens = level.tokens(bins())
    values, observed = level.by_cell_type.of_assays(tokens, 3)
    others = level.of_others(values[..., :3], observed).unflatten(1, (2, 3))
    torch.testing.assert_close(others[:, :, 0, 0], tokens[..., [3, 5]].mean(2))
    torch.testing.assert_close(others[:, :, 1, 1], tokens[..., [1, 4]].mean(2))
    torch.testing.assert_close(others[:, :, 1, 2], tokens[..., 6])


def test_missing_tracks_are_those_without_data_in_any_bin():
    signal = np.array([[np.nan, np.nan], [1.0, np.nan]])
    marked = with_missing(np.zeros((2, 2)), signal, CELL_TYPES)
    np.testing.assert_array_equal(marked, [[0, np.nan], [0, np.nan]])
    np.testing.assert_array_equal(with_missing(np.zeros((2, 2)), signal, None), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linear_size": 5}, "parts of context_size"),
        ({"architecture": "published", "context_size": 0, "linear_size": 0, "consensus_size": 0}, "no kind cell_types"),
        ({"embedding_size": 25}, "multiples of the number of cell types"),
        ({"cell_types": None}, "need kind: cell_types"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{"cell_types": CELL_TYPES} | SHAPE | changes)


@pytest.mark.parametrize("change", [{}, {"context_size": 0, "linear_size": 0, "consensus_size": 0}])
def test_a_hidden_track_is_an_assay_that_was_not_observed_with_and_without_a_context_level(change):
    assert math.isnan(build(ModelConfig(cell_types=CELL_TYPES, **SHAPE | change), 1).hidden_value)


def test_the_context_level_needs_as_many_frames_around_as_its_means_reach():
    config = network().config
    assert (context_frames(config, 2), context_frames(config, 128)) == (4, 128)
    assert context_frames(config.model_copy(update={"context_size": 0}), 128) == 0
