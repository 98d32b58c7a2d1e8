"""Rules, runbook and the table of metrics name the same things."""

from __future__ import annotations

import re

import pytest

from docs.generate import all_metrics
from support.monitoring.alert_rules import alerts, rule_groups
from support.nonempty import nonempty
from support.paths import PROJECT

DOCS = PROJECT / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text()
METRICS = (DOCS / "metrics.md").read_text()

#: Names that Prometheus and the Pushgateway export themselves.
FOREIGN = {"up", "push_time_seconds", "push_failure_time_seconds"}

METRIC = re.compile(
    r"\bepilstm_(?:step|data|training|encoder|evaluation|promotion|drift|run|progress|gpu|serve|alert)_\w+"
)


def entries() -> dict[str, str]:
    """Text of each entry of the runbook."""
    parts = re.split(r"^### (\w+)$", RUNBOOK, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def base_name(name: str) -> str:
    """A histogram by its own name, not that of one of its series."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_every_alert_has_an_entry_and_every_entry_an_alert():
    assert set(entries()) == set(alerts())


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_entry_says_what_it_means_how_to_look_and_what_to_do(name):
    rule, text = alerts()[name], entries()[name]
    assert "**Look**" in text
    assert re.search(r"\*\*Do\*\*|and \*\*do\*\*", text)
    assert text.strip().startswith(f"*{rule['labels']['severity'].capitalize()}")
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_entry_says_whether_the_alert_starts_a_run(name):
    assert ("starts a run" in entries()[name]) == (alerts()[name]["labels"].get("action") == "retrain")


def test_alerts_are_of_two_severities():
    assert {rule["labels"]["severity"] for rule in alerts().values()} == {"page", "ticket"}


def test_rules_ask_for_metrics_that_there_are():
    recorded = {rule["record"] for group in rule_groups()["groups"] for rule in group["rules"] if "record" in rule}
    for group in nonempty(rule_groups()["groups"]):
        for rule in nonempty(group["rules"]):
            asked = set(re.findall(r"\b[a-z_]+:[\w:]+", rule["expr"]))
            assert asked <= recorded
            names = set(METRIC.findall(rule["expr"]))
            assert {name if name in all_metrics() else base_name(name) for name in names} <= set(all_metrics())
            assert names or asked or FOREIGN & set(re.findall(r"\w+", rule["expr"]))


def test_rules_ask_for_labels_that_the_metrics_have():
    common = {"namespace", "pipeline", "step", "part", "instance", "job", "le"}
    for group in nonempty(rule_groups()["groups"]):
        for rule in nonempty(group["rules"]):
            for name, selector in re.findall(r"\b(epilstm_\w+)\{([^}]*)\}", rule["expr"]):
                known = all_metrics().get(name) or all_metrics()[base_name(name)]
                assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= {*known.labels, *common}


@pytest.mark.parametrize("text", [RUNBOOK, METRICS], ids=["runbook", "metrics"])
def test_metrics_that_a_page_names_are_there(text):
    assert {name for name in METRIC.findall(text) if not name.endswith("_")} <= set(all_metrics())
