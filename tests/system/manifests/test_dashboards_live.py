"""Every query of the dashboards, asked of a Prometheus that watches real steps and a real server."""

from __future__ import annotations

import json
import re
import time

import pytest

from manifests.monitoring.dashboards.__main__ import DASHBOARDS
from manifests.monitoring.dashboards.preview import Window, ask, draw, expression_of, load, panels_of
from support.monitoring.busy_project import BusyProject
from support.monitoring_stack import get
from support.nonempty import nonempty

PANELS = [(name, panel["title"], panel) for name in DASHBOARDS for panel in panels_of(load(name))]


@pytest.fixture(scope="module")
def project(programs, tmp_path_factory):
    project = BusyProject(programs, tmp_path_factory.mktemp("busy"))
    try:
        project.run_steps()
        project.load_server()
        yield project
    finally:
        project.stop()


@pytest.fixture(scope="module")
def window(project) -> Window:
    now = time.time()
    return Window(now, int(now - project.began) + 1, 8)


def numbers(project: BusyProject, window: Window, dashboard: str, title: str) -> list[float]:
    """Last value of each series of a panel."""
    [panel] = [panel for panel in panels_of(load(dashboard)) if panel["title"] == title]
    found = [series for target in panel["targets"] for series in ask(project.prometheus.url, target, window)]
    return [float(series["values"][-1][1]) for series in found]


@pytest.mark.parametrize(("name", "title", "panel"), PANELS, ids=lambda each: each if isinstance(each, str) else "")
def test_every_query_of_a_panel_returns_data(project, window, name, title, panel):
    for target in nonempty(panel["targets"]):
        assert ask(project.prometheus.url, target, window), expression_of(target["expr"], window)


def test_runs_are_counted_as_they_were(project, window):
    assert numbers(project, window, "pipeline", "Runs that ended well") == [project.ended_well]
    assert numbers(project, window, "pipeline", "Runs that failed") == [project.failed]
    assert numbers(project, window, "pipeline", "Steps whose last run failed") == [1]


def test_the_server_shows_the_errors_refusals_and_models_that_it_had(project, window):
    [panel] = [panel for panel in panels_of(load("serving")) if panel["title"] == "Answers by code"]
    answers = ask(project.prometheus.url, panel["targets"][0], window)
    assert {"200", "400", "429", "504", "OK"} <= {series["metric"]["code"] for series in answers}
    assert numbers(project, window, "serving", "Versions served") == [1]
    most = [
        max(float(value) for _, value in series["values"])
        for target in next(panel for panel in panels_of(load("serving")) if panel["title"] == "New models")["targets"]
        for series in ask(project.prometheus.url, target, window)
    ]
    assert len(most) == 2
    assert min(most) > 0


def test_errors_and_refusals_stand_out_at_a_glance(project, window):
    assert 0 < numbers(project, window, "serving", "Errors")[0] < 1
    assert 0 < numbers(project, window, "serving", "Turned away")[0] < 1


def test_inputs_on_another_scale_show_as_a_shift(project):
    # How long the server is held up afterwards depends on the machine, and what lasts becomes what is usual.
    window = Window(project.rescaled, int(project.rescaled - project.began) + 1, 8)
    assert max(numbers(project, window, "serving", "Tracks whose inputs shifted most")) > 0.5


@pytest.mark.parametrize("name", DASHBOARDS)
def test_annotations_are_moments_of_the_run(project, window, name):
    for annotation in nonempty(load(name)["annotations"]["list"]):
        found = ask(project.prometheus.url, {"expr": annotation["expr"]}, window)
        moments = {float(value) / 1000 for series in found for _, value in series["values"]}
        assert moments, annotation["name"]
        assert all(project.began <= moment <= window.end for moment in nonempty(moments))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_variables_have_values_to_choose_from(project, window, name):
    for variable in load(name)["templating"]["list"]:
        # No Kubernetes here, hence no namespace.
        if variable["type"] == "query" and variable["name"] != "namespace":
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
            found = project.prometheus.query(f"count by ({label}) ({expression_of(metric, window)})")
            assert all(series["metric"][label] for series in nonempty(found))
            assert found, variable["name"]


def test_dashboards_can_be_drawn(project, window, tmp_path):
    for name in DASHBOARDS:
        draw(project.prometheus.url, load(name), window, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_rules_were_evaluated_without_errors(project):
    groups = json.loads(get(f"{project.prometheus.url}/api/v1/rules")[1])["data"]["groups"]
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []
