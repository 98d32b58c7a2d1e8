"""Completion markers: a folder that changed after it was completed is reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from epilstm.files.completion import TAIL_BYTES, complete_facts, mark_complete
from epilstm.files.outputs import COMPLETION_MARKER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "done"
    (folder / "chr1" / "c").mkdir(parents=True)
    (folder / "zarr.json").write_text("{}")
    (folder / "chr1" / "c" / "0").write_bytes(bytes(range(256)) * 100)
    (folder / "empty").touch()
    mark_complete(folder, {"bins": 7})
    return folder


def test_a_complete_folder_gives_its_facts_back(folder: Path) -> None:
    assert complete_facts(folder) == {"bins": 7}


def test_a_copy_elsewhere_is_as_good(folder: Path, tmp_path: Path) -> None:
    assert complete_facts(Path(shutil.copytree(folder, tmp_path / "copy"))) == {"bins": 7}


def truncate(folder: Path) -> None:
    shard = folder / "chr1" / "c" / "0"
    shard.write_bytes(shard.read_bytes()[:-1])


def zero_the_end(folder: Path) -> None:
    shard = folder / "chr1" / "c" / "0"
    shard.write_bytes(shard.read_bytes()[:-TAIL_BYTES] + bytes(TAIL_BYTES))


@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        zero_the_end,
        lambda folder: (folder / "zarr.json").write_text("[]"),
        lambda folder: (folder / "chr1" / "c" / "0").unlink(),
        lambda folder: shutil.rmtree(folder / "chr1"),
        lambda folder: (folder / "more").touch(),
        lambda folder: (folder / COMPLETION_MARKER).unlink(),
        lambda folder: (folder / COMPLETION_MARKER).write_text('{"files": {}, "fac'),
        lambda folder: (folder / COMPLETION_MARKER).write_text("[]"),
        shutil.rmtree,
    ],
)
def test_a_folder_that_changed_or_was_never_completed_has_none(folder: Path, spoil: Callable[[Path], object]) -> None:
    spoil(folder)
    assert complete_facts(folder) is None
