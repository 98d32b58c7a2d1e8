"""What dimensions follow and how their values are spread."""

import numpy as np
import pytest

from epilstm.figures.density import LIMIT, RIDGES, densities, density_figure
from epilstm.figures.drawing import NARROW, WIDE
from epilstm.figures.loadings import correlations, loadings_figure
from epilstm.tracks.identity import TrackSet
from support.plot.embedded import Chosen, intervals


def test_loadings_are_the_correlations_over_bins_with_data():
    generator = np.random.default_rng(0)
    tracks = generator.normal(size=(400, 5)).astype(np.float32)
    values = tracks[:, :3] @ generator.normal(size=(3, 4)) + generator.normal(size=(400, 4))
    mask = generator.random(400) < 0.7
    chosen = Chosen(values, mask, tracks)
    found, bins = correlations(chosen, chosen, intervals(0, 100, 400))
    expected = np.corrcoef(chosen.values[mask].T, tracks[mask].T)[:4, 4:]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert bins == mask.sum()


def test_a_constant_dimension_or_track_has_no_loading():
    tracks = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    tracks[:, 1] = 3.3
    values = np.stack([tracks[:, 0], np.full(50, 1234.5)], axis=1)
    chosen = Chosen(values, None, tracks)
    found, _ = correlations(chosen, chosen, intervals(0, 50))
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan([found[1, 0], found[0, 1], found[1, 1]]).all()


def test_a_density_holds_all_bins_within_its_range():
    values = np.random.default_rng(2).normal(3, 5, size=(5000, 2)).astype(np.float32)
    values[0, 1] = 1e3
    edges, density = densities(values)
    share = density.sum(axis=1) * (edges[1] - edges[0])
    scores = (values - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(share, (np.abs(scores) <= LIMIT).mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
@pytest.mark.parametrize("size", [1, 12, RIDGES + 1])
def test_any_number_of_dimensions_and_tracks_is_drawn(layout, size):
    values = np.random.default_rng(3).normal(size=(300, size)).astype(np.float32)
    values[:, 0] = 0
    density_figure(values, layout).canvas.draw()
    for names in (["E1-DNase"], [f"E{cell:03}-A{assay}" for cell in range(20) for assay in range(5)]):
        loadings_figure(np.full((size, len(names)), np.nan), TrackSet.of_names(names), layout).canvas.draw()
