"""Targets of make that the documentation and continuous integration name are there."""

from __future__ import annotations

import re

import pytest
import yaml

from support.paths import PROJECT

TARGETS = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PAGES = ["README.md", "CONTRIBUTING.md", "docs/own-data.md", "docs/gallery.md", "docs/results.md", "docs/dashboards.md"]


@pytest.mark.parametrize("page", PAGES)
def test_targets_that_a_page_names_are_there(page):
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", (PROJECT / page).read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named - TARGETS == set()


def test_continuous_integration_runs_what_contributors_are_asked_to_run():
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    lines = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    run = {line.removeprefix("make ") for line in lines}
    assert run - TARGETS == set()
    asked = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {target for target in run if f"| `make {target}` |" in asked} == {"check", "test"}
