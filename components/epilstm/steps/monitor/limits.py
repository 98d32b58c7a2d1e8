"""How far a statistic may go: what the params say, or what the reference itself does, whichever is more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Verdict = Literal["ok", "warn", "drift"]

#: From mild to severe.
VERDICTS: tuple[Verdict, ...] = ("ok", "warn", "drift")


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The most severe verdict; ``ok`` of none."""
    return max(verdicts, key=VERDICTS.index, default="ok")


def milder(verdict: Verdict) -> Verdict:
    """The verdict, ``warn`` at most."""
    return "warn" if verdict == "drift" else verdict


def conformal_limit(null: Floats, false_alarms: float) -> float:
    """What a further value like those of `null` exceeds with a probability of `false_alarms` at most.

    The ``ceil((n + 1)(1 - a))``-th smallest of n exchangeable values, whatever their distribution (Vovk et al. 2005).
    With fewer than ``1/a - 1`` values there is no such limit, and the largest stands in; minus infinity of none.
    """
    values = np.sort(null[np.isfinite(null)])
    if not len(values):
        return -math.inf
    rank = math.ceil((len(values) + 1) * (1 - false_alarms))
    return float(values[min(rank, len(values)) - 1])


def limits(stated: Sequence[float], null: Floats, false_alarms: float) -> tuple[float, float]:
    """(warn, drift) limits: the stated ones, raised to what the reference itself does.

    Parameters
    ----------
    stated : (float, float)
        From the params.
    null : array
        What the statistic is where nothing is wrong; may be empty.
    false_alarms : float
        Share of untouched tracks that may warn. Beyond all of `null` is the least that drift is.
    """
    warn = max(stated[0], conformal_limit(null, false_alarms))
    return warn, max(stated[1], warn, conformal_limit(null, 0.0))


def verdict_on(value: float, warn: float, drift: float) -> Verdict:
    """Verdict on a value of which more is worse; a value that is no number says nothing."""
    return "drift" if value > drift else "warn" if value > warn else "ok"


def enough(groups: Sequence[Floats], false_alarms: float) -> Floats:
    """The first of several sets of values, from the closest to the widest, that is large enough for a limit."""
    chosen = np.empty(0)
    for group in groups:
        chosen = group[np.isfinite(group)]
        if len(chosen) + 1 >= 1 / false_alarms:
            break
    return chosen
