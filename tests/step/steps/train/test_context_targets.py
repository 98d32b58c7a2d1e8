"""The targets that a context code is trained to predict: the signal around its frame."""

import numpy as np
import pytest
import torch

from epilstm.model.networks import bin_level_of, context_level_of
from epilstm.steps.train.context_targets import OWN_WEIGHT, ContextTargets, joint_targets, reaches_in_frames
from epilstm.store.arrays import open_group
from support.train.training_runs import CONTEXT, train, weights


def test_means_are_over_the_frames_with_data_as_far_as_the_sequence_goes():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 2, 9)).astype(np.float32)
    mask = (rng.random((12, 2)) > 0.3).astype(np.float32)
    mask[4:8, 1] = 0
    around = ContextTargets(size=4, tracks=3, reaches=(1, 3))
    around.scale.copy_(torch.arange(1.0, 7.0))
    means = around.means(torch.from_numpy(x), torch.from_numpy(mask)).numpy()
    assert means.shape == (12, 2, 6)
    for frame in range(12):
        for sequence in range(2):
            for place, reach in enumerate((1, 3)):
                near = range(max(0, frame - reach), min(12, frame + reach + 1))
                seen = [x[each, sequence, :3] for each in near if mask[each, sequence]]
                expected = np.mean(seen, axis=0) if seen else np.zeros(3)
                own = slice(3 * place, 3 * place + 3)
                np.testing.assert_allclose(
                    means[frame, sequence, own] * np.arange(1, 7)[own], expected, rtol=1e-5, atol=1e-6
                )


def test_an_error_is_a_mean_over_tracks_and_a_sum_over_reaches():
    torch.manual_seed(1)
    around = ContextTargets(size=4, tracks=3, reaches=(1, 3))
    x, mask, code = torch.randn(10, 2, 9), torch.ones(10, 2), torch.randn(10, 2, 4)
    wrong = (around.predicted(code) - around.means(x, mask)).detach().numpy() ** 2
    expected = wrong[..., :3].mean(2) + wrong[..., 3:].mean(2)
    np.testing.assert_allclose(around.squared_error(code, x, mask).detach(), expected, rtol=1e-5)


def test_without_a_reach_there_are_no_targets():
    around = ContextTargets(size=4, tracks=3, reaches=())
    error = around.squared_error(torch.randn(10, 2, 4), torch.randn(10, 2, 9), torch.ones(10, 2))
    assert torch.equal(error, torch.zeros(10, 2))


@pytest.mark.parametrize(
    ("reaches_bp", "frame_bp", "frames"),
    [
        ([5_000, 20_000, 100_000], 5_000, [1, 4, 20]),
        ([100_000, 20_000], 5_000, [4, 20]),
        ([5_000, 20_000], 40_000, [1]),
        ([], 5_000, []),
    ],
)
def test_reaches_are_whole_frames_each_once(reaches_bp, frame_bp, frames):
    assert reaches_in_frames(reaches_bp, frame_bp) == frames


def test_every_part_of_the_joint_targets_weighs_what_it_counts():
    own, around = torch.randn(5_000, 9), torch.randn(5_000, 6)
    squares = joint_targets(own, around, 3).square().mean(0)
    assert float(squares[:9].sum()) == pytest.approx(OWN_WEIGHT, rel=0.1)
    assert float(squares[9:12].sum()) == pytest.approx(1, abs=0.1)
    assert float(squares[12:].sum()) == pytest.approx(1, abs=0.1)


def test_a_code_trained_on_context_targets_predicts_them_better_and_the_bin_level_is_the_same(matrix, tmp_path):
    shape = CONTEXT | {"context_track_dropout": 0.0}
    alone, _ = train(matrix, tmp_path / "alone", **shape | {"context_surroundings_bp": []})
    around, _ = train(matrix, tmp_path / "around", **shape | {"context_surroundings_bp": [5_000, 10_000, 20_000]})
    assert torch.equal(weights(bin_level_of(alone)), weights(bin_level_of(around)))
    rows = torch.from_numpy(open_group(matrix / "matrix.zarr")["chr1"][:].astype(np.float32))[:, None]
    assert _explained(context_level_of(around), rows) > _explained(context_level_of(alone), rows) + 0.05


def _explained(level, rows):
    """R2 of a linear reading of the means over 8 frames on either side off the code."""
    with torch.no_grad():
        x = level.standardised(level.tokens(rows))
        code = level.encode(x)[:, 0].numpy()
    around = ContextTargets(size=level.size, tracks=6, reaches=(8,))
    means = around.means(x, torch.ones(x.shape[:2]))[:, 0].numpy()
    design = np.column_stack([code, np.ones(len(code))])
    left = means - design @ np.linalg.lstsq(design, means, rcond=None)[0]
    return 1 - np.square(left).sum() / np.square(means - means.mean(0)).sum()
