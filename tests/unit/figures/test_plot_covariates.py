"""Correlation of an embedding with a quantity along the genome."""

import types

import numpy as np
import pyBigWig
import pytest
from scipy.stats import pearsonr, spearmanr

from epilstm.errors import DataError
from epilstm.figures.covariates import bigwig_of, correlate, window_means
from epilstm.genome.bin_range import BinRange
from support.plot.embedded import Chosen, intervals

MANIFEST = types.SimpleNamespace(bin_size=25)


def data(seed=0, bins=600):
    generator = np.random.default_rng(seed)
    quantity = np.round(generator.random(bins), 1).astype(np.float32)
    values = generator.normal(size=(bins, 3))
    values[:, 0] += 2 * quantity
    values[:, 1] = -np.exp(quantity)
    mask = generator.random(bins) < 0.9
    quantity[generator.random(bins) < 0.1] = np.nan
    chosen = Chosen(values, mask)
    chosen.manifest = MANIFEST
    return chosen, quantity


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_the_correlation_is_that_of_scipy_over_bins_with_data_and_quantity(method):
    chosen, quantity = data()
    parts = intervals(0, 200, 600)
    found = correlate(chosen, [quantity[:200], quantity[200:]], chosen, parts, 1, method)
    both = chosen.known & np.isfinite(quantity)
    reference = {"pearson": pearsonr, "spearman": spearmanr}[method]
    expected = [reference(chosen.values[both, column], quantity[both])[0] for column in range(3)]
    np.testing.assert_allclose(found.value, expected, atol=1e-6)
    assert found.windows == both.sum()
    assert found.window == 25


def test_the_interval_holds_the_correlation_and_narrows_with_more_intervals():
    chosen, quantity = data(bins=4000)
    wide, narrow = (
        correlate(chosen, np.split(quantity, count), chosen, intervals(*range(0, 4001, 4000 // count)), 1, "pearson")
        for count in (4, 40)
    )
    for found in (wide, narrow):
        assert (found.low <= found.value).all()
        assert (found.value <= found.high).all()
    assert narrow.high[2] - narrow.low[2] < 0.2


def test_windows_are_means_over_bins_that_have_both_where_half_of_them_do():
    chosen, quantity = data(seed=1, bins=103)
    vectors, values = window_means(chosen.values, chosen.known, quantity, 10)
    expected_vectors, expected_values = [], []
    for first in range(0, 100, 10):
        rows = [at for at in range(first, first + 10) if chosen.known[at] and np.isfinite(quantity[at])]
        if len(rows) >= 5:
            expected_vectors.append(chosen.values[rows].mean(axis=0))
            expected_values.append(quantity[rows].mean())
    np.testing.assert_allclose(vectors, expected_vectors, rtol=1e-5)
    np.testing.assert_allclose(values, expected_values, rtol=1e-5)


def test_a_constant_dimension_has_no_correlation():
    chosen, quantity = data()
    chosen.values[:, 1] = 7
    found = correlate(chosen, [quantity], chosen, intervals(0, 600), 1, "spearman")
    assert np.isnan([found.value[1], found.low[1], found.high[1]]).all()
    assert np.isfinite(found.value[[0, 2]]).all()


@pytest.mark.parametrize("quantity", [np.full(600, np.nan, np.float32), np.full(600, 0.5, np.float32)])
def test_a_quantity_that_is_unknown_or_constant_is_refused(quantity):
    chosen, _ = data()
    with pytest.raises(DataError, match="too few for a correlation"):
        correlate(chosen, [quantity], chosen, intervals(0, 600), 1, "pearson")


@pytest.mark.parametrize("name", ["phyloP.bw", "phyloP.bedGraph"])
def test_a_bins_conservation_is_the_mean_over_bases_with_a_score(tmp_path, name):
    path = tmp_path / name
    scores = np.random.default_rng(2).normal(size=2000).astype(np.float32)
    known = np.random.default_rng(3).random(2000) < 0.6
    known[500:600] = False
    at = np.flatnonzero(known)
    if name.endswith(".bw"):
        with pyBigWig.open(str(path), "w") as file:
            file.addHeader([("chr1", 2000)])
            file.addEntries(["chr1"] * len(at), at.tolist(), ends=(at + 1).tolist(), values=scores[at].tolist())
    else:
        path.write_text("".join(f"chr1\t{base}\t{base + 1}\t{scores[base]}\n" for base in at))
    matrix = types.SimpleNamespace(manifest=types.SimpleNamespace(bin_size=25, chromosome_sizes={"chr1": 2000}))
    # The last interval reaches past the chromosome's end, as a matrix of whole frames does.
    parts = [BinRange("chr1", 3, 30), BinRange("chr1", 30, 84)]
    found = np.concatenate(bigwig_of(path, matrix, parts))
    bases = np.where(known, scores, np.nan).astype(np.float64)
    bases = np.concatenate([bases, np.full(100, np.nan)]).reshape(-1, 25)[3:84]
    expected = [np.nanmean(row) if np.isfinite(row).any() else np.nan for row in bases]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(DataError, match="no chromosome chr9; it has chr1"):
        bigwig_of(path, matrix, [BinRange("chr9", 0, 10)])
