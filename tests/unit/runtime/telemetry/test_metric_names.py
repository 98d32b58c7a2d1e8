"""The names of metrics follow Prometheus's conventions."""

from __future__ import annotations

import re

import pytest

from docs.generate import all_metrics
from epilstm.pipelines.submit.alert_webhook import OUTCOMES
from epilstm.runtime.telemetry.series import Series
from support.paths import PROJECT

PAGE = (PROJECT / "docs" / "metrics.md").read_text()

#: What a value may be, besides what has a unit in its name: a count of things, a yes or no, a description.
UNITLESS = (
    *("_success", "_info", "_bins", "_tracks", "_retries", "_epochs", "_epoch", "_mse", "_learning_rate"),
    *("_per_step", "_per_second", "_examples", "_positives", "_decision", "_forced", "_checks", "_detected"),
    *("_ready", "_requests", "_connections", "_queue_length", "_sequences"),
)
UNITS = ("_seconds", "_bytes", "_ratio", "_total")


def test_the_outcomes_on_the_page_are_those_of_the_code():
    listed = re.search(r"`outcome` is ([^.]*)\.", PAGE)
    assert listed is not None
    assert tuple(re.findall(r"`(\w+)`", listed[1])) == OUTCOMES


@pytest.mark.parametrize("name", sorted(all_metrics()))
def test_a_name_ends_in_its_unit(name):
    known = all_metrics()[name]
    assert re.fullmatch(r"epilstm_[a-z0-9_]+", name)
    assert name.endswith((*UNITS, *UNITLESS))
    assert name.endswith("_total") == (known.kind == "counter")
    assert not name.endswith("_info") or known.text.endswith("; always 1")


def test_labels_other_than_those_of_the_table_are_refused():
    series = Series({})
    with pytest.raises(ValueError, match="epilstm_step_failure_info has the labels"):
        series.set("epilstm_step_failure_info", 1, reason="data", path="/somewhere")
    with pytest.raises(KeyError):
        series.set("epilstm_something_else", 1)
