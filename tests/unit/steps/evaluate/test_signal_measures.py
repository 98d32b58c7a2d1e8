"""The imputation field's measures, against loops over whole arrays."""

import numpy as np
import pytest

from epilstm.genome.assembly import Region
from epilstm.genome.bin_range import BinRange
from epilstm.scoring.gene_regions import GENES, PROMOTERS, GeneRegions, gene_regions
from epilstm.scoring.labels import Gene
from epilstm.scoring.tasks import load_tasks
from epilstm.steps.evaluate.measures import CELLS, SignalErrors, rank_cells, top_mean, unstandardised
from epilstm.store.manifests import Scaler
from epilstm.tracks.identity import TrackSet
from support.evaluate.tiny_evaluation import TinyEvaluation

NAMES = ["A-one", "B-one", "A-two"]


def distinct(bins: int, seed: int) -> np.ndarray:
    """(bins, 3) values of which no two share a ranking cell."""
    random = np.random.default_rng(seed)
    cells = np.stack([random.permutation(np.arange(2_600, 3_600))[:bins] for _ in NAMES], axis=1)
    return ((cells << 4) & 0x7FFF).astype(np.uint16).view(np.float16).astype(np.float32)


def test_measures_equal_a_loop_over_sorted_bins() -> None:
    observed, predicted = distinct(900, 1), distinct(900, 2)
    random = np.random.default_rng(3)
    promoters, genes = random.random(900) < 0.1, random.random(900) < 0.5
    errors = SignalErrors(3)
    for part in (slice(0, 100), slice(100, 631), slice(631, 900)):
        errors.add(observed[part], predicted[part], {PROMOTERS: promoters[part], GENES: genes[part]})
    table = errors.table(TrackSet.of_names(NAMES))
    for column, name in enumerate(NAMES):
        o, p = observed[:, column].astype(np.float64), predicted[:, column].astype(np.float64)
        found = table.tracks[name]
        assert found.mse_global == pytest.approx(np.mean((o - p) ** 2))
        assert found.mse_1obs == pytest.approx(np.mean(((o - p) ** 2)[np.argsort(o)[-9:]]))
        assert found.mse_1imp == pytest.approx(np.mean(((o - p) ** 2)[np.argsort(p)[-9:]]))
        assert found.mse_prom == pytest.approx(np.mean(((o - p) ** 2)[promoters]))
        assert found.mse_gene == pytest.approx(np.mean(((o - p) ** 2)[genes]))
        assert found.correlation == pytest.approx(np.corrcoef(o, p)[0, 1])
        assert found.r2 == pytest.approx(1 - np.sum((o - p) ** 2) / np.sum((o - o.mean()) ** 2))
    for measure in ("mse_global", "mse_1obs", "r2"):
        one, two, three = (getattr(table.tracks[name], measure) for name in NAMES)
        assert getattr(table.assays["one"], measure) == pytest.approx((one + two) / 2)
        assert getattr(table.overall, measure) == pytest.approx((one + two + three) / 3)


def test_equal_values_at_the_limit_count_in_proportion() -> None:
    # 10 of 1,000 values are the top: the 4 highest, and 6 of the 20 that are next and equal.
    counts, sums = np.zeros((1, CELLS), dtype=np.int64), np.zeros((1, CELLS))
    counts[0, [50, 60, 70]], sums[0, [50, 60, 70]] = [976, 20, 4], [5.0, 40.0, 12.0]
    assert top_mean(counts, sums) == pytest.approx([(12 + 6 / 20 * 40) / 10])


def test_few_bins_have_a_top_of_one() -> None:
    counts, sums = np.zeros((1, CELLS), dtype=np.int64), np.zeros((1, CELLS))
    counts[0, [5, 6]], sums[0, [5, 6]] = [6, 1], [12.0, 7.0]
    assert top_mean(counts, sums) == pytest.approx([7.0])


def test_ranking_cells_rise_with_the_value() -> None:
    values = np.array([-70000, -3, -0.02, -0.0, 0.0, 1e-3, 0.5, 2, 2.1, 9, 1e6], dtype=np.float32)
    cells = rank_cells(values)
    assert (np.diff(cells) >= 0).all()
    assert cells[3] == cells[4]
    assert len(set(cells.tolist())) == len(values) - 1
    assert cells.min() >= 0
    assert cells.max() < CELLS


def test_a_constant_track_has_no_r2_and_no_correlation() -> None:
    errors = SignalErrors(1)
    errors.add(np.full((50, 1), 0.7, np.float32), np.full((50, 1), 0.2, np.float32), {})
    found = errors.table(TrackSet.of_names(["A-one"])).overall
    assert (found.r2, found.correlation, found.mse_prom) == (None, None, None)
    assert found.mse_1obs == pytest.approx(0.25)


def test_signal_comes_back_from_the_matrix() -> None:
    scaler = Scaler(tracks=NAMES, mean=[1.0, 2.0, 3.0], scale=[0.5, 1.0, 2.0])
    signal = distinct(20, 4)
    rows = (signal - np.array(scaler.mean)) / np.array(scaler.scale)
    np.testing.assert_allclose(unstandardised(rows.astype(np.float32), scaler), signal, rtol=1e-5, atol=1e-6)


def test_promoters_reach_two_kb_from_the_start_of_either_strand() -> None:
    genes = [Gene(Region("chr1", 10_000, 14_010), "+"), Gene(Region("chr1", 30_000, 33_000), "-")]
    block = BinRange("chr1", 300, 1_600)
    masks = GeneRegions(genes, 25).masks(block)
    promoter, body = np.zeros(1_300, dtype=bool), np.zeros(1_300, dtype=bool)
    for index in range(1_300):
        start, end = (300 + index) * 25, (301 + index) * 25
        promoter[index] = any(start < at + 2_000 and end > at - 2_000 for at in (10_000, 33_000))
        body[index] = any(start < gene.body.end and end > gene.body.start for gene in genes)
    np.testing.assert_array_equal(masks[PROMOTERS], promoter)
    np.testing.assert_array_equal(masks[GENES], body)
    assert not GeneRegions(genes, 25).masks(BinRange("chr2", 0, 50))[GENES].any()


def test_without_a_gene_annotation_there_are_no_regions(tiny: TinyEvaluation) -> None:
    tasks = load_tasks(tiny.inputs["tasks"])
    labels, block = tiny.inputs["labels"], BinRange("chr1", 0, 400)
    assert gene_regions(tasks, labels, 25).masks(block)[GENES].any()
    without = [task for task in tasks if task.labels.format != "rpkm"]
    assert gene_regions(without, labels, 25).masks(block) == {}
