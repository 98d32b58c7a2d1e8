"""The Avocado-style factorisation."""

import numpy as np
import pytest

from epilstm.params import FactorisationParams
from epilstm.steps.evaluate.factorisation import Factorisation, GenomeFactors, Pairs

NAMES = [(cell, assay) for cell in "ABCD" for assay in ("one", "two", "three")]
#: Cell type B, assay two.
HIDDEN = np.array([4])
OBSERVED = np.setdiff1d(np.arange(len(NAMES)), HIDDEN)
#: The signal has no noise, so nothing needs to be shrunk.
PARAMS = FactorisationParams(training_bins=1_000, epochs=40, steps=40, shrinkage=0)


def signal(bins: int, seed: int) -> np.ndarray:
    """(bins, tracks): each assay has its own peaks, each cell type its own strength."""
    random = np.random.default_rng(seed)
    peaks = np.repeat(random.random((bins // 10, 3)) < 0.3, 10, axis=0).astype(np.float32)
    strength = np.array([0.5, 3.0, 1.0, 2.0], dtype=np.float32)
    return np.concatenate([peaks * each for each in strength], axis=1)


@pytest.fixture(scope="module")
def fitted() -> Factorisation:
    factorisation = Factorisation(Pairs.of(NAMES), 25, PARAMS, 1)
    factorisation.fit([signal(700, 1), signal(300, 2)], OBSERVED)
    return factorisation


def test_a_pair_that_was_never_seen_is_imputed_better_than_by_the_mean_of_its_assay(fitted: Factorisation) -> None:
    test = signal(300, 3)
    found = fitted.impute(test, OBSERVED, HIDDEN)
    mean = test[:, [1, 7, 10]].mean(axis=1)
    assert np.mean((found[:, 0] - test[:, 4]) ** 2) < 0.5 * np.mean((mean - test[:, 4]) ** 2)


def test_genome_factors_are_shrunk_until_all_bins_are_alike(fitted: Factorisation) -> None:
    test = signal(100, 3)
    free, shrunk = (Factorisation(Pairs.of(NAMES), 25, PARAMS, 1) for _ in range(2))
    for each, weight in ((free, 0.0), (shrunk, 1e6)):
        each.load_state_dict(fitted.state_dict())
        each.mean, each.scale = fitted.mean, fitted.scale
        each.params = PARAMS.model_copy(update={"shrinkage": weight, "steps": 400})
    along = [each.impute(test, OBSERVED, HIDDEN).std() for each in (free, fitted, shrunk)]
    assert along[0] > 0.5
    assert along[0] > along[2]
    assert along[2] < 0.05


def test_hidden_tracks_are_not_looked_at(fitted: Factorisation) -> None:
    test = signal(100, 3)
    other = test.copy()
    other[:, HIDDEN] = 50
    np.testing.assert_array_equal(fitted.impute(test, OBSERVED, HIDDEN), fitted.impute(other, OBSERVED, HIDDEN))


def test_what_is_learnt_does_not_depend_on_tracks_left_out_and_follows_from_the_seed() -> None:
    params = PARAMS.model_copy(update={"epochs": 2, "steps": 3})
    train, test = signal(200, 1), signal(100, 2)
    other = train.copy()
    other[:, HIDDEN] = 50
    found = []
    for seed, bin_range in ((1, train), (1, other), (2, train)):
        factorisation = Factorisation(Pairs.of(NAMES), 25, params, seed)
        factorisation.fit([bin_range], OBSERVED)
        found.append(factorisation.impute(test, OBSERVED, HIDDEN))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_bins_share_factors_at_three_scales() -> None:
    places = GenomeFactors(450, 25)
    assert [len(each) for each in places.factors] == [450, 45, 3]
    assert [int(each[437]) for each in places.places] == [437, 43, 2]
    assert [len(each) for each in GenomeFactors(40, 1_000).factors] == [40, 40, 8]


@pytest.mark.parametrize("epochs", [1, 2, 3, 9])
def test_few_steps_are_fitted(epochs):
    params = PARAMS.model_copy(update={"epochs": epochs})
    for batches in (1, 9):  # nine steps are those that OneCycleLR would divide by zero for
        factorisation = Factorisation(Pairs.of(NAMES), 25, params, 1)
        factorisation.fit([signal(20, seed) for seed in range(batches)], OBSERVED)
        assert np.isfinite(factorisation.impute(signal(20, 50), OBSERVED, HIDDEN)).all()
