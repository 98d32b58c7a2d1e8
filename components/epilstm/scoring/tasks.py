"""The tasks file: what is predicted, from which windows, with which labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from epilstm.errors import LabelsError, ParamsError
from epilstm.params import Section, read_yaml, validate

GENE_WINDOWS = ("gene_body", "tss")
REGION_WINDOWS = ("region",)
PAIR_WINDOWS = ("promoter", "enhancer", "between")


#: What is predicted of an example that has a value: on which side of the threshold it lies, or the value.
Target = Literal["class", "level"]


class RpkmLabels(Section):
    """A table of expression per gene (rows) and cell type (columns), and the genes' places.

    Expressed means RPKM >= `threshold`. Genes are matched to `annotation` (GTF) without their version suffix. With the
    target ``level``, log2(RPKM + 1) is predicted; the threshold then only spreads both kinds of genes over the folds.
    """

    format: Literal["rpkm"]
    path: str = Field(min_length=1)
    annotation: str = Field(min_length=1)
    threshold: float = Field(0.5, ge=0)
    target: Target = "class"


class PairLabels(Section):
    """Labelled promoter-enhancer pairs (CSV); `cells` maps a cell type to its name in the file."""

    format: Literal["pairs"]
    path: str = Field(min_length=1)
    cells: dict[str, str] = Field(default={})


class BedLabels(Section):
    """Regions whose fourth column is 1 (positive) or 0."""

    format: Literal["bed"]
    path: str = Field(min_length=1)


class BedGraphLabels(Section):
    """Regions with a value; positive means value >= `threshold`. With the target ``level``, the value is predicted."""

    format: Literal["bedgraph"]
    path: str = Field(min_length=1)
    threshold: float = 0.0
    target: Target = "class"


Labels = RpkmLabels | PairLabels | BedLabels | BedGraphLabels

#: Format -> its model, the kind of task it makes and the windows it has.
FORMATS: dict[str, tuple[type[Labels], str, tuple[str, ...]]] = {
    "rpkm": (RpkmLabels, "region", GENE_WINDOWS),
    "pairs": (PairLabels, "pair", PAIR_WINDOWS),
    "bed": (BedLabels, "region", REGION_WINDOWS),
    "bedgraph": (BedGraphLabels, "region", REGION_WINDOWS),
}


class Task(Section):
    """One thing to predict, in each of some cell types."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    kind: Literal["region", "pair"]
    windows: list[str] = Field(min_length=1)
    labels: Labels
    cell_types: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        _, kind, windows = FORMATS[self.labels.format]
        if self.kind != kind:
            raise ValueError(f"labels of format {self.labels.format!r} make a task of kind {kind!r}")
        unknown = [window for window in self.windows if window not in windows]
        if unknown:
            raise ValueError(f"windows: {self.labels.format!r} labels have {', '.join(windows)}, not {unknown[0]!r}")
        for key, values in (("windows", self.windows), ("cell_types", self.cell_types)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: an entry is given twice")
        if isinstance(self.labels, BedLabels | BedGraphLabels) and len(self.cell_types) > 1:
            raise ValueError(
                f"cell_types: {self.labels.format!r} labels are those of one cell type; make one task per cell type"
            )
        if isinstance(self.labels, PairLabels) and self.labels.cells:
            missing = [cell for cell in self.cell_types if cell not in self.labels.cells]
            if missing:
                raise ValueError(f"labels.cells: no name in the file for cell type {missing[0]!r}")
        return self

    @property
    def of_levels(self) -> bool:
        """Whether a level is predicted, not a class."""
        return isinstance(self.labels, RpkmLabels | BedGraphLabels) and self.labels.target == "level"

    @property
    def unit(self) -> str:
        """What a level is counted in."""
        return "log2(RPKM + 1)" if isinstance(self.labels, RpkmLabels) else "value"

    @property
    def label_paths(self) -> list[str]:
        """Label files, relative to the labels folder."""
        paths = [self.labels.path]
        return [*paths, self.labels.annotation] if isinstance(self.labels, RpkmLabels) else paths


def given_tasks(inputs: Mapping[str, Path]) -> tuple[list[Task], Path]:
    """Tasks of a step's inputs, and the folder of their labels.

    Parameters
    ----------
    inputs : mapping of str to Path
        ``tasks`` and ``labels`` may both be absent: there are no tasks then, and no label is read.

    Raises
    ------
    ParamsError
        Only one of them is given, though there are tasks.
    LabelsError
        The tasks file is unusable.
    """
    tasks, labels = inputs.get("tasks"), inputs.get("labels")
    if tasks is None:
        if labels is not None:
            raise ParamsError(f"--labels {labels}: nothing says what to read there; give --tasks too, or leave it out")
        return [], Path()
    described = load_tasks(tasks)
    if described and labels is None:
        raise ParamsError(f"--tasks {tasks}: give --labels too, the folder that its label files are relative to")
    return described, labels or Path()


def load_tasks(path: Path) -> list[Task]:
    """Tasks of a tasks file; none where it says ``tasks: []``.

    Raises
    ------
    LabelsError
        Not YAML, a name given twice, or a key that is unknown, missing or impossible.
    """
    try:
        content = read_yaml(path)
        if not (isinstance(content, dict) and list(content) == ["tasks"] and isinstance(content["tasks"], list)):
            raise LabelsError(f"{path}: expected one key 'tasks' with a list of tasks")
        tasks = [_task(entry, f"{path}: tasks[{number}]") for number, entry in enumerate(content["tasks"])]
    except ParamsError as error:
        raise LabelsError(str(error)) from error
    names = [task.name for task in tasks]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise LabelsError(f"{path}: tasks[{number}].name: {name!r} is given twice; names are unique")
    return tasks


def _task(entry: Any, where: str) -> Task:
    if not isinstance(entry, dict):
        raise LabelsError(f"{where}: expected a mapping with name, kind, windows, labels and cell_types, got {entry!r}")
    labels = entry.get("labels")
    if isinstance(labels, dict):
        label_format = labels.get("format")
        if not isinstance(label_format, str) or label_format not in FORMATS:
            raise LabelsError(f"{where}.labels.format: expected one of {', '.join(FORMATS)}, got {label_format!r}")
        model: type[Any] = FORMATS[label_format][0]
        entry = {**entry, "labels": validate(model, labels, f"{where}.labels")}
    return validate(Task, entry, where)
