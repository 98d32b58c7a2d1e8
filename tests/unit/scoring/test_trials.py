"""Labelled examples on the data set's genome."""

from __future__ import annotations

import re

import numpy as np
import pytest

from epilstm.errors import LabelsError
from epilstm.params import EvaluateParams
from epilstm.representations.pooling import window_bins
from epilstm.scoring.labels import Examples
from epilstm.scoring.tasks import load_tasks
from epilstm.scoring.trials import _clipped, prepare_trials
from epilstm.store.matrix import Matrix
from support.evaluate.tiny_evaluation import BIN, TinyEvaluation


def test_windows_past_a_chromosomes_end_are_clipped_and_counted(warnings_logged: list[str]) -> None:
    examples = Examples(
        names=["inside", "past", "beyond"],
        chroms=np.array([["chr1"], ["chr1"], ["chr1"]]),
        starts=np.array([[0], [900], [1_500]]),
        ends=np.array([[100], [1_100], [1_600]]),
        labels=np.array([True, False, True]),
    )
    assert _clipped(examples, {"chr1": 1_000}, "task a", "the data set").ends.tolist() == [[100], [1_000], [1_600]]
    (warning,) = warnings_logged
    assert "task a: 1 of 3 labelled examples reach past the end of their chromosome in the data set" in warning


def test_examples_that_overlap_all_along_chromosomes_are_cut_apart_for_folds_by_region(
    tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch, warnings_logged: list[str]
) -> None:
    tasks = [task for task in load_tasks(tiny.folder / "tasks.yaml") if task.name == "contacts"]
    matrix = Matrix(tiny.folder / "matrix")
    evaluate = EvaluateParams.model_validate({"folds": {"by": "region", "count": 8}})
    with pytest.raises(LabelsError, match="lie in 5 regions, too few for 8 folds"):
        prepare_trials(tasks, tiny.folder / "labels", matrix, evaluate)
    monkeypatch.setattr("epilstm.scoring.trials.FOLD_INTERVAL", 20_000)
    ([trial], _) = prepare_trials(tasks, tiny.folder / "labels", matrix, evaluate)
    first, last = window_bins(trial.examples.starts, trial.examples.ends, BIN)
    groups: dict[tuple[str, int], int] = {}
    for chrom, starts, ends, group in zip(trial.examples.chroms[:, 0], first, last, trial.folds.group, strict=True):
        for window in range(starts.min(), ends.max()):
            assert groups.setdefault((str(chrom), window), int(group)) == group
    assert len(trial.group_names) >= 8
    left_out = int(re.search(r"the (\d+) of \d+ examples that reach over a cut are left out", warnings_logged[-1])[1])
    assert trial.n_outside == left_out > 0
    assert len(trial.rows) == len(trial.examples) == len(trial.cluster)
