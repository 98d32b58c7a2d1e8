"""The dashboards as they are committed: made by the code, asking for metrics that there are, and complete."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from epilstm.runtime.telemetry.names import METRICS
from epilstm.serving.server.metrics import ServerMetrics
from manifests.monitoring.dashboards.__main__ import DASHBOARDS, FOLDER, text_of
from manifests.monitoring.dashboards.preview import Window, expression_of, load, panels_of
from manifests.monitoring.dashboards.serving import ERROR_BUDGET, ERRORS, SHED, SLOW_BUDGET
from support.manifests.rendered_manifests import kustomize
from support.monitoring.alert_rules import alerts, rule_groups
from support.nonempty import nonempty

WINDOW = Window(1e9, 3600, 60)

#: Of Prometheus itself, of the Pushgateway, and of every process that prometheus_client exports.
OTHERS = {
    "ALERTS": {"alertstate", "alertname"},
    "push_time_seconds": {"job", "pipeline", "step", "part"},
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
}
#: Labels that Prometheus adds.
ADDED = {"namespace", "job", "instance"}

PANELS = [(name, panel) for name in DASHBOARDS for panel in panels_of(load(name))]
EXPRESSIONS = [(name, panel["title"], target["expr"]) for name, panel in PANELS for target in panel["targets"]]
EXPRESSIONS += [
    (name, annotation["name"], annotation["expr"])
    for name in DASHBOARDS
    for annotation in load(name)["annotations"]["list"]
]
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")


def metrics_and_labels() -> dict[str, set[str]]:
    """Every metric that there is, with its labels."""
    found = {name: {"pipeline", "step", "part", *metric.labels} for name, metric in METRICS.items()}
    server = ServerMetrics()
    server.watch_inputs(["A-DNase"])
    for family in server.registry.collect():
        children = getattr(family, "samples", [])
        names = {sample.name for sample in children} or {family.name}
        for name in names:
            found[name] = {label for sample in children if sample.name == name for label in sample.labels}
    for metric in vars(server).values():
        if hasattr(metric, "_labelnames"):
            name = metric._name
            suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
            for suffix in suffixes[metric._type]:
                found[name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    for group in rule_groups()["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                found[rule["record"]] = {"model"}
    return found | OTHERS


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_committed_dashboard_is_what_the_code_makes(name):
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text_of(name), "run `make dashboards`"


def test_every_metric_and_label_that_is_asked_for_exists():
    known = metrics_and_labels()
    for name, title, expression in nonempty(EXPRESSIONS):
        bare = re.sub(r'"[^"]*"', '""', expression)
        asked = set(re.findall(r"\b(?:epilstm|process|push)[_:][\w:]*", bare)) | set(re.findall(r"\bALERTS\b", bare))
        assert asked, (name, title)
        assert asked <= known.keys(), (name, title, asked - known.keys())
        for metric, selector in SELECTOR.findall(expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert labels <= known[metric] | ADDED, (name, title, metric, labels)


def test_every_query_asks_only_for_what_is_chosen_at_the_top():
    for name, title, expression in nonempty(EXPRESSIONS):
        for metric, selector in SELECTOR.findall(expression):
            if metric.startswith("epilstm_"):
                assert 'namespace=~"$namespace"' in selector, (name, title, metric)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_variables_are_those_that_the_queries_use(name):
    dashboard = load(name)
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__range", "__range_s", "__all"}
    assert used == declared


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda each: each if isinstance(each, str) else each["title"])
def test_every_panel_says_what_it_shows_and_in_which_unit(name, panel):
    assert panel["title"][0].isupper() or panel["title"].startswith("mAP")
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_width_and_do_not_overlap(name):
    panels = load(name)["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_two_panels_of_a_dashboard_have_the_same_title(name):
    titles = [panel["title"] for panel in load(name)["panels"]]
    assert len(titles) == len(set(titles))


def test_identifiers_that_addresses_are_made_of_stay():
    assert {load(name)["uid"] for name in DASHBOARDS} == {
        "epilstm-pipeline",
        "epilstm-quality",
        "epilstm-drift",
        "epilstm-serving",
    }


def test_no_query_can_return_a_series_for_each_of_a_thousand_tracks():
    for name, title, expression in nonempty(EXPRESSIONS):
        if "track" in expression:
            assert re.search(r"\b(topk|max|min|quantile|quantile by|max by) ?\(", expression), (name, title)
            if "by (namespace, pipeline, track)" in expression or "by (track)" in expression:
                assert re.match(r"(topk|max|min|quantile)\(", expression) or "topk(" in expression, (name, title)


def test_panels_link_to_the_runbook_of_alerts_that_there_are():
    entries = {rule["annotations"]["runbook"].partition("#")[2] for rule in alerts().values()}
    linked = [link["url"] for _, panel in PANELS for link in panel.get("links") or []]
    assert linked
    for url in nonempty(linked):
        page, _, entry = url.partition("#")
        assert page == "${docs}/runbook.md"
        assert entry in entries


def test_the_objectives_are_those_of_the_alerts():
    rules = {name: rule["expr"] for name, rule in alerts().items()}
    assert f"* {ERROR_BUDGET}" in rules["EpilstmServingErrorBudgetBurnsFast"]
    assert f"* {SLOW_BUDGET}" in rules["EpilstmServingLatencyBudgetBurnsFast"]
    assert SHED in rules["EpilstmServingShedding"]
    recorded = [rule["expr"] for group in rule_groups()["groups"] for rule in group["rules"] if "record" in rule]
    assert any(ERRORS in expression for expression in recorded)


def test_every_variable_of_a_query_is_known_to_the_preview():
    for _, _, expression in nonempty(EXPRESSIONS):
        assert "$" not in expression_of(expression, WINDOW)


def test_each_dashboard_is_a_config_map_that_grafana_finds():
    done = kustomize(FOLDER)
    assert done.returncode == 0, done.stderr
    maps = list(yaml.safe_load_all(done.stdout))
    assert {each["kind"] for each in maps} == {"ConfigMap"}
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in maps} == {"1"}
    held = {file: text for each in maps for file, text in each["data"].items()}
    assert {json.loads(text)["uid"] for text in held.values()} == {f"epilstm-{name}" for name in DASHBOARDS}
    # What `kubectl apply` can keep as an annotation.
    assert max(len(text.encode()) for text in held.values()) < 2**18 - 2**14
