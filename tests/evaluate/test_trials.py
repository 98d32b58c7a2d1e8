"""Labelled examples on the data set's genome."""

from __future__ import annotations

import numpy as np

from epilstm.evaluate.labels import Examples
from epilstm.evaluate.trials import _clipped


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
