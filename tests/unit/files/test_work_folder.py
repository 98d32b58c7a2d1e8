"""Work folders hold pieces that are complete or absent, and an output may be waited for."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from epilstm.console import log
from epilstm.files.completion import CompletionMarker, WorkFolder
from epilstm.files.outputs import exclusive, replacing


def grow(work: WorkFolder, name: str, text: str) -> None:
    with work.growing() as growing:
        (growing / name).mkdir()
        (growing / name / "values").write_text(text)
        work.keep(growing / name, name, {"length": len(text)})


def test_a_piece_that_was_kept_is_there_with_its_facts(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    grow(work, "chr1", "abc")
    assert work.facts("chr1") == {"length": 3}
    assert work.facts("chr2") is None
    assert [path.name for path in work.folder.iterdir()] == ["chr1"]


def test_the_first_of_two_pieces_of_a_name_stays_unless_it_is_damaged(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    grow(work, "chr1", "first")
    grow(work, "chr1", "second")
    assert (work.path("chr1") / "values").read_text() == "first"
    (work.path("chr1") / "values").write_text("firs")
    assert work.facts("chr1") is None
    grow(work, "chr1", "third")
    assert (work.path("chr1") / "values").read_text() == "third"
    assert work.facts("chr1") == {"length": 5}


def test_dropping_the_last_piece_removes_the_folder(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    grow(work, "chr1", "a")
    grow(work, "chr2", "b")
    work.drop(["chr1"])
    assert [path.name for path in work.folder.iterdir()] == ["chr2"]
    work.drop(["chr2"])
    assert not work.folder.exists()


@pytest.mark.parametrize("content", [None, [], {"files": {}}, {"facts": {}, "files": 3}, {"facts": "x", "files": {}}])
def test_what_is_no_marker_is_none(content: object) -> None:
    assert CompletionMarker.parse(content) is None


def test_a_process_that_waits_has_the_output_once_the_other_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    path, order, waits = tmp_path / "data", list[str](), threading.Event()

    class Noted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waits.set()

    def second() -> None:
        with exclusive(path, waiting="data: in use, waiting for it"):
            order.append("second")

    handler = Noted()
    log.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger="epilstm"), exclusive(path):
            waiter = threading.Thread(target=second)
            waiter.start()
            assert waits.wait(60)
            order.append("first")
        waiter.join(60)
    finally:
        log.removeHandler(handler)
    assert order == ["first", "second"]
    assert "data: in use, waiting for it" in caplog.messages
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing(path) as successor:
            successor.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
