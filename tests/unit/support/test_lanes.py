"""Tests stand in their lanes, and share code through tests/support alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from support.file_order import LONG_FILES
from support.paths import PROJECT

TESTS = PROJECT / "tests"
LANES = {"unit", "step", "system"}


def imported(path: Path) -> Iterator[str]:
    """Each part of the names of modules that a file imports, and each name imported from a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(alias.name for alias in node.names)]
        else:
            continue
        for module in modules:
            yield from module.split(".")


def test_every_test_module_is_in_a_lane() -> None:
    outside = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in LANES]
    assert outside == []
    assert {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("*.py")} == {*LANES, "support", "conftest.py"}


def test_beside_tests_there_are_fixtures_only() -> None:
    beside = {path.name for lane in LANES for path in (TESTS / lane).rglob("*.py") if not path.match("test_*.py")}
    assert beside == {"conftest.py"}


def test_no_file_imports_a_test_module_or_a_conftest() -> None:
    modules = {path.stem for path in TESTS.rglob("test_*.py")} | {"conftest"}
    assert len(modules) > 200
    found = {str(path.relative_to(TESTS)): modules & set(imported(path)) for path in TESTS.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_mark_of_a_lane_is_its_folder(request) -> None:
    assert {mark.name for mark in request.node.iter_markers()} & LANES == {"unit"}


def test_each_long_file_is_there_once() -> None:
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert [names.count(name) for name in LONG_FILES] == [1] * len(LONG_FILES)
