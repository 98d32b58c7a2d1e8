"""Outputs appear whole or not at all, and have a fingerprint."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import DataError
from epilstm.files.outputs import (
    MANIFEST,
    check_replaceable,
    exclusive,
    fingerprint,
    put_back,
    put_in_place,
    read_json,
    remove,
    sha256_file,
    sha256_json,
    staging_path,
    to_json,
    write_json,
)


def folder_with(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_the_fingerprint_of_a_file_is_the_sha256_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)
    assert fingerprint(path) == sha256_file(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_the_fingerprint_of_a_dataset_is_that_of_its_manifest(tmp_path):
    folder = folder_with(tmp_path / "data", manifest__json="{}", other="1")
    before = fingerprint(folder)
    assert before == hashlib.sha256(b"{}").hexdigest()
    (folder / "other").write_text("2")
    assert fingerprint(folder) == before


def test_the_fingerprint_of_a_plain_folder_follows_names_and_contents(tmp_path):
    first = fingerprint(folder_with(tmp_path / "1", a="x", b="y"))
    assert fingerprint(folder_with(tmp_path / "2", b="y", a="x")) == first
    assert fingerprint(folder_with(tmp_path / "3", a="x", c="y")) != first
    assert fingerprint(folder_with(tmp_path / "4", a="x", b="z")) != first


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_fingerprint_of_json_ignores_key_order(content):
    assert sha256_json(content) == sha256_json(dict(reversed(content.items())))


def test_a_file_is_replaced_by_its_staged_successor(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    staging_path(path).write_text("new")
    put_in_place(staging_path(path), path)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_folder_is_replaced_whole(tmp_path):
    path = folder_with(tmp_path / "data", manifest__json="{}", only_old="1")
    put_in_place(folder_with(staging_path(path), manifest__json="[]"), path)
    assert [file.name for file in path.iterdir()] == [MANIFEST]
    assert os.listdir(tmp_path) == ["data"]


def test_what_a_killed_replacement_left_is_cleared_by_the_next(tmp_path):
    path = tmp_path / "data"
    folder_with(tmp_path / ".data.old", manifest__json="{}")
    put_in_place(folder_with(staging_path(path), manifest__json="[]"), path)
    assert os.listdir(tmp_path) == ["data"]


class Killed(BaseException):
    pass


@pytest.fixture
def killed_between_the_renames(tmp_path, monkeypatch):
    """A dataset whose replacement died when the old one had gone and the new one had not come."""
    path = folder_with(tmp_path / "data", manifest__json="{}", old="1")
    staged = folder_with(staging_path(path), manifest__json="[]")
    rename = Path.rename

    def die_at_the_second(self, target):
        if self == staged:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", die_at_the_second)
        with pytest.raises(Killed):
            put_in_place(staged, path)
    assert sorted(os.listdir(tmp_path)) == [".data.old", ".data.partial"]
    return path


def test_a_dataset_whose_replacement_was_killed_between_two_renames_is_put_back(killed_between_the_renames):
    put_back(killed_between_the_renames)
    assert sorted(os.listdir(killed_between_the_renames)) == [MANIFEST, "old"]
    assert sorted(os.listdir(killed_between_the_renames.parent)) == [".data.partial", "data"]


def test_the_next_writer_puts_it_back_too(killed_between_the_renames):
    with exclusive(killed_between_the_renames):
        assert sorted(os.listdir(killed_between_the_renames)) == [MANIFEST, "old"]


def test_nothing_is_put_back_while_another_run_writes_there(killed_between_the_renames):
    path = killed_between_the_renames
    with exclusive(path):
        path.rename(path.with_name(".data.old"))
        with pytest.raises(DataError, match="another run is writing this output"):
            put_back(path)
    assert not path.exists()


def test_what_took_the_place_of_the_old_dataset_stays(tmp_path):
    folder_with(tmp_path / ".data.old", manifest__json="{}", old="1")
    put_back(folder_with(tmp_path / "data", manifest__json="[]"))
    assert os.listdir(tmp_path / "data") == [MANIFEST]


def test_half_of_a_deleted_dataset_is_not_put_back(tmp_path, monkeypatch):
    old = folder_with(tmp_path / ".data.old", manifest__json="{}", old="1")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda path: None)  # killed when it had hardly begun
        remove(old)
    put_back(tmp_path / "data")
    assert os.listdir(tmp_path) == [".data.old"]


def test_a_lock_file_that_vanishes_as_it_is_taken_holds_nothing(tmp_path, monkeypatch):
    flock = fcntl.flock

    def lose(stream, operation):
        flock(stream, operation)
        (tmp_path / ".data.lock").unlink()

    monkeypatch.setattr(fcntl, "flock", lose)
    with pytest.raises(DataError, match="another run is writing this output"), exclusive(tmp_path / "data"):
        pass


def test_a_folder_that_no_step_wrote_is_not_replaceable(tmp_path):
    thesis = folder_with(tmp_path / "thesis", chapter1="...")
    with pytest.raises(DataError, match=r"thesis: a folder with other content stands there; choose another output"):
        check_replaceable(thesis, folder=True)


def test_a_file_where_a_folder_is_to_go_is_not_replaceable(tmp_path):
    path = tmp_path / "notes"
    path.write_text("...")
    with pytest.raises(DataError, match="notes: a file stands where a folder is to be written"):
        check_replaceable(path, folder=True)


def test_a_dataset_where_a_file_is_to_go_is_not_replaceable(tmp_path):
    path = folder_with(tmp_path / "data", manifest__json="{}")
    with pytest.raises(DataError, match="data: a folder stands where a file is to be written"):
        check_replaceable(path, folder=False)


def test_nothing_an_empty_folder_and_an_older_dataset_are_replaceable(tmp_path):
    (tmp_path / "empty").mkdir()
    folder_with(tmp_path / "data", manifest__json="{}")
    for name in ("absent", "empty", "data"):
        check_replaceable(tmp_path / name, folder=True)


def hold(path: Path, held: multiprocessing.Event, release: multiprocessing.Event) -> None:
    with exclusive(path):
        held.set()
        release.wait(60)


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path):
    path = tmp_path / "deep" / "data"
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(path, held, release))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(DataError, match="data: another run is writing this output"), exclusive(path):
            pass
    finally:
        release.set()
        other.join()
    with exclusive(path):
        pass
    assert not path.parent.exists()


def test_the_lock_of_a_killed_run_holds_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold, args=(tmp_path / "data", held, release))
    other.start()
    assert held.wait(60)
    other.kill()
    other.join()
    assert os.listdir(tmp_path) == [".data.lock"]
    with exclusive(tmp_path / "data"):
        pass


def test_an_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/data: cannot be written: "), exclusive(tmp_path / "file" / "data"):
        pass


def test_remove_takes_files_folders_and_what_is_not_there(tmp_path):
    folder_with(tmp_path / "folder", a="1")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("link", "file", "absent"):
        remove(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"]
    assert (tmp_path / "folder" / "a").is_file()
    remove(tmp_path / "folder")
    assert os.listdir(tmp_path) == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_json_reads_back_equal(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "deep" / "file.json"
    write_json(path, content)
    assert read_json(path) == content
    assert os.listdir(path.parent) == ["file.json"]


def test_json_text_does_not_depend_on_key_order():
    assert to_json({"b": 1, "a": 2}) == to_json({"a": 2, "b": 1}) == '{\n  "a": 2,\n  "b": 1\n}\n'


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_missing_json_names_the_file_and_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: no such file; run the step that writes it"):
        read_json(tmp_path / "absent.json")


def test_broken_json_names_the_file(tmp_path):
    path = tmp_path / "half.json"
    path.write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(DataError, match=r"half\.json: cannot be read as JSON: "):
        read_json(path)


def test_a_dataset_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    write_json(tmp_path / "out" / MANIFEST, {"format": "epilstm.matrix/1"})
    check_replaceable(tmp_path / "out", folder=True, kind="matrix")
    with pytest.raises(DataError, match=r"epilstm\.matrix stands there, not encoder"):
        check_replaceable(tmp_path / "out", folder=True, kind="encoder")
