"""Folds over the labels of the Roadmap pilot."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.params import EvaluateParams
from epilstm.scoring.labels import Examples, read_labels
from epilstm.scoring.tasks import load_tasks
from epilstm.scoring.trials import prepare_trials
from epilstm.store.matrix import Matrix
from support.evaluate.shared_bins import check_no_shared_bins
from support.evaluate.tiny_evaluation import empty_matrix
from support.paths import PROJECT

PILOT_TASKS = PROJECT / "tasks" / "roadmap-pilot.yaml"


@pytest.fixture(scope="module")
def pilot_labels(pilot: Path) -> dict[str, dict[str, Examples]]:
    """Examples by task and cell type: the annotation takes seconds to read."""
    return {task.name: read_labels(task, pilot / "labels") for task in load_tasks(PILOT_TASKS)}


@pytest.fixture(scope="module")
def pilot_matrix(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return empty_matrix(tmp_path_factory.mktemp("pilot") / "matrix", pilot / "pilot-regions.bed")


@pytest.mark.real_data
@pytest.mark.parametrize("by", ["chromosome", "region"])
def test_real_genes_and_pairs_that_share_a_bin_are_never_apart(
    pilot: Path,
    pilot_labels: dict[str, dict[str, Examples]],
    pilot_matrix: Matrix,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    monkeypatch.setattr("epilstm.scoring.trials.read_labels", lambda task, folder: pilot_labels[task.name])
    tasks = load_tasks(PILOT_TASKS)
    evaluate = EvaluateParams.model_validate({"folds": {"by": by}})
    trials, _ = prepare_trials(tasks, pilot / "labels", pilot_matrix, evaluate)
    check_no_shared_bins(trials)
    counts = {(trial.task.name, trial.cell_type): len(trial.examples) for trial in trials}
    assert counts["gene_expression", "E003"] == 237
    assert counts["promoter_enhancer", "E116"] == 273
    assert counts["fire", "E116"] == 509
    assert counts["replication_timing", "E116"] == 1066
