"""Levels are read beside the classes, and a cell type whose levels do not vary is refused."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from epilstm.errors import LabelsError
from epilstm.params import EvaluateParams
from epilstm.scoring.labels import read_bedgraph, read_labels
from epilstm.scoring.tasks import load_tasks
from epilstm.scoring.trials import prepare_trials
from epilstm.store.matrix import Matrix
from support.evaluate.tiny_evaluation import TASKS, TinyEvaluation


def test_the_value_of_a_bedgraph_is_its_level(tmp_path: Path) -> None:
    path = tmp_path / "x.bedgraph"
    path.write_text("chr1\t0\t10\t-1.5\nchr1\t10\t20\tnan\nchr1\t20\t30\t2.25\n")
    examples = read_bedgraph(path, 0.0, of_levels=True)
    assert examples.levels is not None
    assert examples.levels.tolist() == [-1.5, 2.25]
    assert examples.labels.tolist() == [False, True]
    kept = examples.take(np.array([False, True]))
    assert kept.levels is not None
    assert kept.levels.tolist() == [2.25]
    assert read_bedgraph(path, 0.0).levels is None


def test_a_task_of_levels_reads_the_same_examples_as_one_of_classes(tiny: TinyEvaluation) -> None:
    tasks = {task.name: read_labels(task, tiny.folder / "labels") for task in load_tasks(tiny.inputs["tasks"])}
    for cell in ("A", "B"):
        classes, levels = tasks["expression"][cell], tasks["level"][cell]
        assert classes.levels is None
        assert levels.levels is not None
        assert classes.names == levels.names
        np.testing.assert_array_equal(classes.labels, levels.levels >= np.log2(0.5 + 1))


@pytest.mark.parametrize(("value", "all_of"), [("7.0", True), ("0.01", False)])
def test_levels_that_do_not_vary_are_refused_but_one_class_alone_is_not(
    tiny: TinyEvaluation, tmp_path: Path, value: str, all_of: bool
) -> None:
    lines = (tiny.folder / "labels" / "rpkm.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    # Far below the threshold: the levels still vary, unless all are alike.
    changed = [[row[0], value if all_of else f"{0.3 * number / len(rows):.4f}"] for number, row in enumerate(rows)]
    (tmp_path / "rpkm.tsv").write_text("gene_id\tA\n" + "".join("\t".join(row) + "\n" for row in changed))
    (tmp_path / "genes.gtf.gz").write_bytes((tiny.folder / "labels" / "genes.gtf.gz").read_bytes())
    task = next(task for task in yaml.safe_load(TASKS)["tasks"] if task["name"] == "level") | {"cell_types": ["A"]}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"tasks": [task]}))
    params = EvaluateParams.model_validate({"folds": {"count": 4}})
    matrix, tasks = Matrix(tiny.folder / "matrix"), load_tasks(tmp_path / "tasks.yaml")
    if all_of:
        with pytest.raises(
            LabelsError, match=r"task level, A: all .* examples have the level 3; take the cell type out"
        ):
            prepare_trials(tasks, tmp_path, matrix, params)
    else:
        trials, _ = prepare_trials(tasks, tmp_path, matrix, params)
        assert not trials[0].examples.labels.any()
        assert len(trials[0].folds.splits()) == 4


def test_only_labels_with_values_have_levels(tmp_path: Path) -> None:
    task = next(task for task in yaml.safe_load(TASKS)["tasks"] if task["name"] == "fire")
    task["labels"]["target"] = "level"
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"tasks": [task]}))
    with pytest.raises(LabelsError, match=r"labels\.target: unknown key"):
        load_tasks(tmp_path / "tasks.yaml")
