"""Measurements as a table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from benchmarks.segmentation.comparison import Measurement
from benchmarks.segmentation.measures import MEASURES

TITLES = {"active_tss": "active TSS", "gene_body": "gene body", "expressed": "expressed genes"}


def as_markdown(measurements: Sequence[Measurement]) -> str:
    """One row per method: the mean over seeds, with the least and the greatest in brackets where they differ."""
    uses = list(measurements[0].precisions)
    heads = [f"{TITLES[name]}, {' / '.join(uses)}" for name in MEASURES]
    lines = [
        f"| | {' | '.join(heads)} | CPU s, fit | CPU s, segment | bins per CPU s |",
        "|---|" + "---|" * len(heads) + "---:|---:|---:|",
    ]
    for method in dict.fromkeys(each.method for each in measurements):
        own = [each for each in measurements if each.method == method]
        cells = [
            " / ".join(_over_seeds([each.precisions[use][name] for each in own]) for use in uses) for name in MEASURES
        ]
        fit, segment = fmean(each.fit_seconds for each in own), fmean(each.segment_seconds for each in own)
        lines.append(f"| {method} | {' | '.join(cells)} | {fit:.1f} | {segment:.1f} | {own[0].bins / segment:,.0f} |")
    return "\n".join(lines) + "\n"


def _over_seeds(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "n/a"
    low, high = _short(min(known)), _short(max(known))
    return low if low == high else f"{_short(fmean(known))} ({low} to {high})"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
