"""Running a step: outputs whole or not at all, a record beside each, one line for what the user can fix."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from epilstm import __version__
from epilstm.console import log
from epilstm.errors import DataError, EpilstmError, ParamsError
from epilstm.files.outputs import MANIFEST, exclusive, fingerprint
from epilstm.runtime.runner import Interrupted, StepContext, StepResult, run_step
from support.runtime.fixtures import TOY, Body, ToyParams, copy_text


def tree(folder: str = "out") -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def failing(error: BaseException) -> Body:
    def body(params: ToyParams, context: StepContext) -> StepResult:
        copy_text(params, context)
        raise error

    return body


def test_outputs_metrics_and_records_lie_where_they_were_asked_for(toy):
    result = toy(table="out/table.csv", metrics="numbers/toy.json")
    assert result.summary == "copied"
    assert sorted(tree()) == [
        "out/copy.record.json",
        "out/copy/manifest.json",
        "out/copy/text",
        "out/table.csv",
        "out/table.csv.record.json",
    ]
    assert tree("numbers") == {"numbers/toy.json": '{\n  "repeat": 1\n}\n'}


def test_the_step_sees_its_inputs_staged_outputs_work_folders_and_flags(toy):
    seen: list[StepContext] = []

    def body(params: ToyParams, context: StepContext) -> StepResult:
        seen.append(context)
        assert not context.outputs["copy"].exists()
        assert context.outputs["copy"].parent == Path("out")
        return copy_text(params, context)

    toy(body, cache="work/cache", flags=frozenset({"resume"}))
    assert seen[0].inputs == {"text": Path("text")}
    assert seen[0].work == {"cache": Path("work/cache")}
    assert seen[0].flags == {"resume"}
    assert set(seen[0].outputs) == {"copy"}


def test_the_step_gets_its_section_of_the_params_file(toy):
    Path("params.yaml").write_text("toy: {repeat: 3}\ntrain: {epochs: 1}\n")
    toy(params="params.yaml")
    assert Path("out/copy/text").read_text() == "abcabcabc"


def test_the_record_says_what_was_made_from_what_and_how(toy):
    Path("params.yaml").write_text("toy: {repeat: 2}\n")
    toy(params="params.yaml", table="out/table.csv")
    record = json.loads(Path("out/copy.record.json").read_text())
    assert record["step"] == "toy"
    assert record["params"] == {"repeat": 2}
    assert record["inputs"] == {"text": {"path": "text", "fingerprint": fingerprint(Path("text"))}}
    assert record["outputs"] == {
        "copy": {"path": "out/copy", "fingerprint": fingerprint(Path("out/copy"))},
        "table": {"path": "out/table.csv", "fingerprint": fingerprint(Path("out/table.csv"))},
    }
    assert record["version"] == __version__
    assert (record["bins"], record["tracks"]) == (1000, 3)
    assert record["wall_seconds"] >= 0
    assert record["peak_memory_bytes"] > 1_000_000
    assert json.loads(Path("out/table.csv.record.json").read_text()) == record


def test_the_record_names_the_input_that_was_there_when_the_step_began(toy):
    before = fingerprint(Path("text"))

    def body(params: ToyParams, context: StepContext) -> StepResult:
        result = copy_text(params, context)
        Path("text").write_text("changed meanwhile")
        return result

    toy(body)
    record = json.loads(Path("out/copy.record.json").read_text())
    assert record["inputs"]["text"]["fingerprint"] == before != fingerprint(Path("text"))


def test_a_dataset_that_a_killed_run_had_set_aside_is_an_input_and_an_output_again(toy):
    for name in ("out/.copy.old", "out/.extra.old"):
        Path(name).mkdir(parents=True)
        Path(name, MANIFEST).write_text(name)
    with pytest.raises(DataError):
        toy(failing(DataError("no")), extra="out/extra")
    assert tree() == {"out/copy/manifest.json": "out/.copy.old", "out/extra/manifest.json": "out/.extra.old"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_record_names_the_git_revision_and_whether_files_differ(toy):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "text"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    toy()
    assert json.loads(Path("out/copy.record.json").read_text())["git_revision"] == head
    Path("text").write_text("changed")
    toy()
    assert json.loads(Path("out/copy.record.json").read_text())["git_revision"] == f"{head}-dirty"


def test_a_second_run_replaces_the_output_whole(toy):
    toy()
    (Path("out/copy") / "left-over").write_text("")
    Path("text").write_text("xyz")
    toy()
    assert sorted(tree()) == ["out/copy.record.json", "out/copy/manifest.json", "out/copy/text"]
    assert Path("out/copy/text").read_text() == "xyz"


def test_the_same_input_gives_the_same_output(toy):
    toy()
    before = tree("out/copy")
    toy()
    assert tree("out/copy") == before


@pytest.mark.parametrize(
    "error", [DataError("track 3 is empty"), ValueError("a bug"), KeyboardInterrupt(), MemoryError()], ids=repr
)
def test_a_failure_leaves_the_old_output_as_it_was_and_nothing_else(toy, error):
    toy(metrics="out/toy.json")
    before = tree()
    Path("text").write_text("xyz")
    with pytest.raises((EpilstmError, ValueError, MemoryError)):
        toy(failing(error), metrics="out/toy.json")
    assert tree() == before
    assert not any(path.name.startswith(".") for path in Path("out").iterdir())


def test_a_failure_of_the_first_run_leaves_nothing(toy):
    with pytest.raises(DataError, match=r"^no tracks$"):
        toy(failing(DataError("no tracks")), table="out/table.csv", metrics="out/toy.json")
    assert not Path("out").exists()


def test_a_work_folder_survives_a_failure(toy):
    def body(params: ToyParams, context: StepContext) -> StepResult:
        context.work["cache"].mkdir()
        (context.work["cache"] / "checkpoint").write_text("step 7")
        raise DataError("no")

    with pytest.raises(DataError):
        toy(body, cache="cache")
    assert Path("cache/checkpoint").read_text() == "step 7"


def test_a_bug_is_no_user_error(toy):
    with pytest.raises(ZeroDivisionError):
        toy(failing(ZeroDivisionError()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_that_are_no_numbers_are_refused_and_nothing_is_written(toy, value):
    def body(params: ToyParams, context: StepContext) -> StepResult:
        copy_text(params, context)
        return StepResult("copied", {"loss": value})

    with pytest.raises(ValueError, match="not JSON compliant"):
        toy(body, metrics="out/toy.json")
    assert not Path("out").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_while_the_step_is_imported_stops_it_as_one_while_it_runs(toy, monkeypatch, number):
    def slow_import(name: str) -> ModuleType:
        os.kill(os.getpid(), number)
        return sys.modules[name]

    monkeypatch.setattr("epilstm.runtime.runner.import_module", slow_import)
    with pytest.raises(Interrupted, match=r"^toy: interrupted; nothing half-written is left"):
        toy()
    assert not Path("out").exists()


def test_sigterm_stops_the_step_with_exit_code_130(toy):
    handler = signal.getsignal(signal.SIGTERM)

    def body(params: ToyParams, context: StepContext) -> StepResult:
        context.outputs["copy"].mkdir()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        raise AssertionError("not stopped")

    with pytest.raises(Interrupted, match=r"^toy: interrupted; nothing half-written is left") as caught:
        toy(body)
    assert caught.value.exit_code == 130
    assert not Path("out").exists()
    assert signal.getsignal(signal.SIGTERM) is handler


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def wrapped_disk_full() -> RuntimeError:
    error = RuntimeError("cannot write shard 7")
    error.__cause__ = disk_full()
    return error


@pytest.mark.parametrize(
    "error",
    [
        disk_full(),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        wrapped_disk_full(),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["from the system", "quota", "wrapped by a library", "quoted by a library"],
)
def test_a_full_disk_is_one_line_that_names_the_place(toy, error):
    with pytest.raises(DataError, match=r"^toy: no space left on the disk of out; free some and run it again"):
        toy(failing(error))
    assert not Path("out").exists()


def test_of_several_disks_the_full_one_is_named(toy, monkeypatch):
    disks = {Path("out"): (1, 10 << 30), Path("cache"): (2, 0)}
    for folder in disks:
        folder.mkdir()
    real = Path.stat
    numbered = {folder.absolute(): number for folder, (number, _) in disks.items()}
    monkeypatch.setattr(
        Path, "stat", lambda path, **more: Disk(numbered[path]) if path in numbered else real(path, **more)
    )
    free = {folder.absolute(): Free(left) for folder, (_, left) in disks.items()}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free[path])
    with pytest.raises(DataError, match=r"^toy: no space left on the disk of cache; free some"):
        toy(failing(disk_full()), cache="cache")


@dataclass
class Disk:
    st_dev: int
    st_mode: int = stat.S_IFDIR


@dataclass
class Free:
    free: int


def test_other_system_errors_are_not_taken_for_a_full_disk(toy):
    with pytest.raises(PermissionError):
        toy(failing(PermissionError(errno.EACCES, "Permission denied")))


def test_a_disk_that_fills_up_is_reported_and_leaves_nothing(toy):
    Path("disk").mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "disk"], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")

    def body(params: ToyParams, context: StepContext) -> StepResult:
        context.outputs["copy"].mkdir()
        (context.outputs["copy"] / "big").write_bytes(bytes(1_000_000))
        return StepResult("never")

    try:
        with pytest.raises(DataError, match="no space left on the disk of disk"):
            toy(body, copy="disk/copy")
        assert os.listdir("disk") == []
    finally:
        subprocess.run(["umount", "disk"], check=True)


def keep_letter(params: ToyParams, context: StepContext) -> StepResult:
    assert context.part is not None
    context.work["cache"].mkdir(parents=True)
    (context.work["cache"] / context.part).write_text(context.inputs["text"].read_text())
    return StepResult(f"{context.part} kept", bins=1)


@pytest.mark.parametrize("part", [None, "b"])
def test_a_file_in_place_of_a_work_folder_is_named(toy, part):
    with pytest.raises(DataError, match=r"^--cache text: is a file, expected a folder; give another$"):
        toy(part=part, cache="text")


def test_a_work_folder_that_cannot_be_written_to_is_named(toy, monkeypatch):
    Path("work").mkdir()

    def read_only(dir: Path) -> None:  # root may write to any folder
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(
        DataError,
        match=r"^--cache work/new/cache: .*/work cannot be written to: Read-only file system; give another$",
    ):
        toy(cache="work/new/cache")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_work_folder_that_cannot_be_made_even_by_root_is_named(toy):
    with pytest.raises(DataError, match=r"^--cache /proc/no/cache: /proc cannot be written to"):
        toy(part="b", cache="/proc/no/cache")


def test_a_flag_that_does_nothing_without_a_work_folder_is_reported(toy, caplog, monkeypatch):
    monkeypatch.setattr(log, "propagate", True)
    toy(flags=frozenset({"resume"}), cache="cache")
    assert caplog.messages == []
    toy(flags=frozenset({"resume"}))
    assert set(caplog.messages) == {"--resume does nothing without --cache: kept between runs"}


def test_what_the_outputs_replace_is_dropped_once_they_are_in_place(toy):
    def body(params: ToyParams, context: StepContext) -> StepResult:
        result = copy_text(params, context)
        result.afterwards = lambda: Path("seen").write_text(str(sorted(Path("out").glob("[!.]*"))))
        return result

    toy(body)
    assert Path("seen").read_text() == "[PosixPath('out/copy'), PosixPath('out/copy.record.json')]"


def test_what_the_outputs_would_have_replaced_stays_after_a_failure(toy):
    def body(params: ToyParams, context: StepContext) -> StepResult:
        return StepResult("copied", {"loss": float("nan")}, afterwards=lambda: Path("seen").touch())

    with pytest.raises(ValueError, match="not JSON compliant"):
        toy(body)
    assert not Path("seen").exists()


def test_a_part_goes_into_the_work_folder_and_writes_no_output_and_no_record(toy):
    assert toy(keep_letter, part="b", cache="work/cache").summary == "b kept"
    assert tree(".") == {"text": "abc", "work/cache/b": "abc"}


def test_parts_may_be_done_while_the_whole_step_runs(toy):
    with exclusive(Path("out/copy")):
        toy(keep_letter, part="b", cache="work/cache")
    assert Path("work/cache/b").exists()


@pytest.mark.parametrize(
    ("part", "paths", "message"),
    [
        ("b", {"copy": "out/copy", "cache": "c"}, "--copy is not written with --part; leave one of them out"),
        ("b", {"metrics": "out/m.json", "cache": "c"}, "--metrics is not written with --part; leave one of them out"),
        ("b", {}, "--cache is required with --part: kept between runs"),
    ],
)
def test_a_part_with_outputs_or_without_its_work_folder_is_bad_usage(toy, part, paths, message):
    with pytest.raises(ParamsError) as caught:
        toy(keep_letter, part=part, **paths)
    assert str(caught.value) == message
    assert os.listdir(".") == ["text"]


def test_a_step_without_parts_refuses_one(toy):
    with pytest.raises(ParamsError, match=r"^--part b: toy has no parts; leave it out$"):
        run_step(replace(TOY, part=None), None, {"text": Path("text")}, frozenset(), "b")


def test_a_missing_output_is_named_with_its_option(toy):
    with pytest.raises(ParamsError, match=r"^--copy is required: dataset to write$"):
        run_step(TOY, None, {"text": Path("text")}, frozenset())


def test_a_full_disk_is_reported_for_a_part_too(toy):
    def body(params: ToyParams, context: StepContext) -> StepResult:
        raise disk_full()

    with pytest.raises(DataError, match=r"^toy: no space left on the disk of "):
        toy(body, part="b", cache="work/cache")


def test_a_missing_input_is_named_with_its_option(toy):
    with pytest.raises(DataError, match=r"^--text absent: no such file or folder; text to copy$"):
        toy(text="absent")


def test_an_input_of_the_wrong_kind_is_named(toy):
    Path("folder").mkdir()
    with pytest.raises(DataError, match=r"^--text folder: is a folder, expected a file"):
        toy(text="folder")
    with pytest.raises(DataError, match=r"^--extra text: is a file, expected a folder"):
        toy(extra="text")


def test_a_folder_that_no_step_wrote_is_not_replaced(toy):
    Path("thesis").mkdir()
    Path("thesis/chapter").write_text("...")
    with pytest.raises(DataError, match="thesis: a folder with other content stands there"):
        toy(copy="thesis")
    assert tree("thesis") == {"thesis/chapter": "..."}


def test_a_file_is_not_replaced_by_a_dataset(toy):
    Path("notes").write_text("...")
    with pytest.raises(DataError, match="notes: a file stands where a folder is to be written"):
        toy(copy="notes")
    assert Path("notes").read_text() == "..."


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"table": "text"}, r"--table text is also --text"),
        ({"table": "x", "metrics": "./y/../x"}, r"--table x is also --metrics"),
        ({"cache": "out/copy"}, r"--copy out/copy is also --cache"),
        ({"metrics": "out/copy/m.json"}, r"--metrics lies inside --copy out/copy"),
        ({"copy": "."}, r"lies inside --copy \."),
    ],
)
def test_paths_that_would_overwrite_each_other_are_refused(toy, paths: dict[str, Any], message: str):
    with pytest.raises(ParamsError, match=message):
        toy(**paths)
    assert Path("text").read_text() == "abc"


def test_an_output_is_neither_the_params_file_nor_inside_an_input(toy):
    Path("p.yaml").write_text("toy: {}")
    Path("folder").mkdir()
    with pytest.raises(ParamsError, match=r"--metrics p\.yaml is also --params"):
        toy(params="p.yaml", metrics="p.yaml")
    assert Path("p.yaml").read_text() == "toy: {}"
    with pytest.raises(ParamsError, match="--copy folder/copy lies inside --extra"):
        toy(extra="folder", copy="folder/copy")


def test_a_second_run_on_the_same_output_is_refused(toy):
    with exclusive(Path("out/copy")), pytest.raises(DataError, match="another run is writing this output"):
        toy()
