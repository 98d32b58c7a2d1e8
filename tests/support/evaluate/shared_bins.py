"""Bins that examples of several folds share, which must be none."""

from __future__ import annotations

import numpy as np

from epilstm.representations.pooling import window_bins
from epilstm.scoring.trials import Trial
from support.evaluate.tiny_evaluation import BIN


def check_no_shared_bins(trials: list[Trial]) -> None:
    """Assert that no bin is in examples of two folds."""
    for trial in trials:
        fold_of_bin: dict[str, np.ndarray] = {}
        first, last = window_bins(trial.examples.starts, trial.examples.ends, BIN)
        for i, fold in enumerate(trial.folds.fold):
            for window in range(first.shape[1]):
                own = fold_of_bin.setdefault(str(trial.examples.chroms[i, window]), np.zeros(12_000_000, np.int8))
                bins = own[first[i, window] : last[i, window]]
                assert ((bins == 0) | (bins == fold + 1)).all()
                bins[:] = fold + 1
