"""The tasks file is strict: what is wrong is named by its key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.errors import LabelsError
from epilstm.scoring.tasks import load_tasks
from support.nonempty import nonempty
from support.paths import PROJECT

GOOD: dict[str, Any] = {
    "name": "fire",
    "kind": "region",
    "windows": ["region"],
    "labels": {"format": "bed", "path": "fire.bed"},
    "cell_types": ["E116"],
}


def load(folder: Path, *tasks: Any) -> list:
    path = folder / "tasks.yaml"
    path.write_text(yaml.safe_dump({"tasks": list(tasks)}))
    return load_tasks(path)


def test_the_roadmap_pilots_tasks_are_valid() -> None:
    tasks = load_tasks(PROJECT / "tasks" / "roadmap-pilot.yaml")
    assert {task.name: task.of_levels for task in tasks} == {
        "gene_expression": False,
        "expression_level": True,
        "promoter_enhancer": False,
        "fire": False,
        "replication_timing": False,
    }


def test_the_finer_tasks_are_the_pilots_in_every_epigenome_with_genes_by_window_and_timing_as_a_level() -> None:
    folder = PROJECT / "tasks"
    pilot = {task.name: task for task in load_tasks(folder / "roadmap-pilot.yaml")}
    finer = {task.name: task for task in load_tasks(folder / "roadmap-pilot-epigenomes.yaml")}
    for name, task in nonempty(pilot.items()):
        assert finer[name].model_copy(update={"cell_types": task.cell_types}) == task
        assert set(task.cell_types) <= set(finer[name].cell_types)
    genes = finer["gene_expression"]
    assert len(genes.cell_types) == 56
    assert finer["expression_level"].cell_types == genes.cell_types
    for name in ("gene_body", "tss"):
        assert finer[name] == genes.model_copy(update={"name": name, "windows": [name]})
    assert finer["timing_level"].of_levels
    assert finer.keys() - pilot.keys() == {"gene_body", "tss", "timing_level"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Fire!"}, r"tasks\[0\].name: string should match pattern"),
        ({"kind": "pair"}, "labels of format 'bed' make a task of kind 'region'"),
        ({"windows": ["promoter"]}, "windows: 'bed' labels have region, not 'promoter'"),
        ({"windows": ["region", "region"]}, "windows: an entry is given twice"),
        ({"windows": []}, r"tasks\[0\].windows: list should have at least 1 item"),
        ({"cell_types": []}, r"tasks\[0\].cell_types: list should have at least 1 item"),
        ({"cell_types": ["A", "B"]}, "'bed' labels are those of one cell type"),
        ({"colour": 1}, r"tasks\[0\].colour: unknown key; keys are name, kind, windows, labels, cell_types"),
        (
            {"labels": {"format": "vcf", "path": "x"}},
            "labels.format: expected one of rpkm, pairs, bed, bedgraph, got 'vcf'",
        ),
        ({"labels": {"path": "x"}}, "labels.format: expected one of .*, got None"),
        ({"labels": {"format": "bed"}}, "labels.path: field required"),
        (
            {"labels": {"format": "bed", "path": "x", "threshold": 1}},
            "labels.threshold: unknown key; keys are format, path",
        ),
        (
            {"labels": {"format": "bedgraph", "path": "x", "threshold": "1"}},
            "labels.threshold: input should be a valid",
        ),
        ({"labels": {"format": "bedgraph", "path": "x", "threshold": float("nan")}}, "labels.threshold: .*finite"),
        ({"labels": "fire.bed"}, r"tasks\[0\].labels"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(LabelsError, match=message) as caught:
        load(tmp_path, GOOD | change)
    assert "\n" not in str(caught.value)
    assert "tasks.yaml" in str(caught.value)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"tasks\[1\].name: 'fire' is given twice"):
        load(tmp_path, GOOD, GOOD)


def test_pair_cell_types_need_a_name_in_the_file_once_names_are_given(tmp_path: Path) -> None:
    labels = {"format": "pairs", "path": "p.csv", "cells": {"A": "a"}}
    task = GOOD | {"kind": "pair", "windows": ["promoter"], "labels": labels, "cell_types": ["A", "B"]}
    with pytest.raises(LabelsError, match=r"labels\.cells: no name in the file for cell type 'B'"):
        load(tmp_path, task)


@pytest.mark.parametrize("text", ["", "tasks: 3", "- a", "tasks: [x]", "tasks: [{", "other: []"])
def test_anything_but_a_list_of_tasks_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(text)
    with pytest.raises(LabelsError, match=r"tasks.yaml"):
        load_tasks(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"absent.yaml: no such file"):
        load_tasks(tmp_path / "absent.yaml")
