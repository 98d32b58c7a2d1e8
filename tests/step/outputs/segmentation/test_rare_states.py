"""A rare state of few bins with much signal keeps a state of its own; states that miss starts are warned of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epilstm.cli import main
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.annotation import Annotation, Intervals
from epilstm.outputs.segmentation.scales import TrainingSequence, means_around
from epilstm.outputs.segmentation.states import HmmStates, KMeansStates, MultiscaleStates, evidence_of
from epilstm.outputs.segmentation.tables import enrichment_of, missed_starts
from support.tracks.small_epigenome import write_embeddings

BIN_SIZE = 25


def rare_promoters() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (bin, dim) where 2% of bins are promoters, and which they are.

    Two numbers vary from bin to bin, and four stay the same for 200 bins, as a context code does.
    """
    random = np.random.default_rng(5)
    bins = 40_000
    promoter = np.zeros(bins, bool)
    for start in range(1_000, bins - 2_000, 2_000):
        promoter[start : start + 40] = True
    local = random.normal(size=(bins, 2)) * 0.4
    local[promoter] += [6.0, 0.0] + random.normal(size=(promoter.sum(), 2)) * [2.0, 0.4]
    context = np.repeat(random.normal(size=(bins // 200, 4)), 200, axis=0)
    return np.concatenate([local, context + random.normal(size=(bins, 4)) * 0.01], axis=1), promoter


@pytest.mark.parametrize("method", [HmmStates, MultiscaleStates])
def test_a_rare_state_is_kept_beside_numbers_that_stay_the_same_for_long(method):
    rows, promoter = rare_promoters()
    half = len(rows) // 2
    model = method([TrainingSequence(rows[:half], slice(0, half))], 6, 1, BIN_SIZE)
    states = model.decode(rows[half:])
    own = np.bincount(states[promoter[half:]], minlength=6)
    best = own.argmax()
    assert own[best] / own.sum() > 0.8
    assert own[best] / (states == best).sum() > 0.5


def test_evidence_counts_less_where_neighbours_are_alike():
    random = np.random.default_rng(1)
    independent = random.normal(size=2_000)
    constant = np.repeat(random.normal(size=10), 200)
    weights = evidence_of(np.stack([independent, constant], axis=1), [2_000])
    assert weights[0] == pytest.approx(1, abs=0.1)
    assert weights[1] < 0.1


def test_means_around_are_those_of_the_bins_there():
    rows = np.arange(20.0).reshape(10, 2) ** 2
    expected = [rows[max(0, place - 3) : place + 4].mean(axis=0) for place in range(10)]
    np.testing.assert_allclose(means_around(rows, 3), expected)


@pytest.mark.parametrize("states", [3, 1])
def test_the_order_of_states_does_not_hide_starts(states):
    starts = Intervals.of([("chr1", 1_000, 2_000), ("chr1", 6_000, 7_000)])
    found = np.zeros(400, np.uint8)
    if states == 3:
        found[40:80] = found[240:280] = 1
    enrichment = enrichment_of(
        [(BinRange("chr1", 0, 400), found)],
        3,
        Annotation({"TSS": starts, "TSS_2kb": starts, "gene_body": starts}),
        BIN_SIZE,
        lambda chrom: 10_000,
    )
    told = missed_starts(enrichment)
    if states == 3:
        assert told is None
    else:
        assert told is not None
        assert "so 1.0 times only" in told


def test_a_segmentation_that_misses_starts_says_so_in_log_and_record(tmp_path, capsys):
    rows, promoter = rare_promoters()
    size = len(rows) * BIN_SIZE
    write_embeddings(tmp_path / "embeddings", {"chr1": rows.astype(np.float32)}, {"chr1": size}, [("chr1", 0, size)])
    at = np.flatnonzero(np.diff(promoter.astype(int)) == 1) * BIN_SIZE + 500
    for name, starts, missed in (("promoters", at, False), ("elsewhere", at + 20_000, True)):
        annotation = tmp_path / f"{name}.gtf"
        gene = 'chr1\tx\tgene\t{}\t{}\t.\t+\t.\tgene_id "{}";\n'
        annotation.write_text("".join(gene.format(start, start + 3_000, start) for start in starts.tolist()))
        where = ["--embeddings", str(tmp_path / "embeddings"), "--segmentation", str(tmp_path / name)]
        main(["segment", *where, "--states", "6", "--annotation", str(annotation)])
        assert ("the states miss transcription start sites" in capsys.readouterr().err) is missed
        for record in (tmp_path / name / "manifest.json", tmp_path / f"{name}.record.json"):
            assert bool(json.loads(record.read_text())["warnings"]) is missed


def test_rows_without_rare_ones_are_clustered_as_they_are():
    random = np.random.default_rng(2)
    rows = np.concatenate([random.normal(size=(500, 2)), random.normal(size=(500, 2)) + 8])
    sequence = [TrainingSequence(rows, slice(0, 1_000))]
    assert len(np.unique(KMeansStates(sequence, 2, 1, BIN_SIZE).decode(rows))) == 2
