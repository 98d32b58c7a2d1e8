"""A step of its own for the tests of the runner."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from epilstm.files.outputs import MANIFEST
from epilstm.params import SECTIONS, Section
from epilstm.runtime.runner import StepContext, StepResult, run_step
from epilstm.runtime.step_table import METRICS, Port, Step

TOY = Step(
    "toy",
    "Copy a text into a dataset.",
    "train",
    inputs=(Port("text", "file", "text to copy"), Port("extra", "folder", "more", optional=True)),
    outputs=(
        Port("copy", "matrix", "dataset to write"),
        Port("table", "csv", "table to write", optional=True),
        METRICS,
    ),
    work=(Port("cache", "folder", "kept between runs", optional=True),),
    flags=(("resume", "go on"),),
    part="one letter of it",
)


class ToyParams(Section):
    repeat: int = 1


Body = Callable[[ToyParams, StepContext], StepResult]


def copy_text(params: ToyParams, context: StepContext) -> StepResult:
    folder = context.outputs["copy"]
    folder.mkdir()
    (folder / "text").write_text(context.inputs["text"].read_text() * params.repeat)
    if "table" in context.outputs:
        context.outputs["table"].write_text("a,b\n")
    (folder / MANIFEST).write_text(json.dumps({"repeat": params.repeat}))
    return StepResult("copied", {"repeat": params.repeat}, bins=1000, tracks=3)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., StepResult]]:
    """Run the toy step in an empty working directory, with a body of one's choice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SECTIONS, "toy", ToyParams)
    Path("text").write_text("abc")

    def run(
        body: Body = copy_text, params: str | None = None, flags: frozenset[str] = frozenset(), part=None, **paths: str
    ):
        module = ModuleType("epilstm.steps.toy.command")
        module.run = body  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        given = {"text": "text"} | ({} if part else {"copy": "out/copy"}) | paths
        files = {name: Path(path) for name, path in given.items()}
        return run_step(TOY, Path(params) if params else None, files, flags, part)

    return run
