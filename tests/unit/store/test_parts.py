"""The parts folder: chromosomes are whole or not there, and an output is the same however they came to be."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import COMPLETION_MARKER
from epilstm.store.manifests import Manifest
from epilstm.store.parts import Finish, FolderOf, Parts, fill, group_of
from support.store.written_parts import CHROMS, GROUP, Writer, parts_at, write_one


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Bytes of an output made without parts."""
    folder = tmp_path_factory.mktemp("expected")
    fill(folder, GROUP, CHROMS, Writer(), None)
    return tree(folder)


def shard_of(part: Path) -> Path:
    return part / GROUP / part.name / "c" / "0" / "0"


def truncate(part: Path) -> None:
    shard_of(part).write_bytes(shard_of(part).read_bytes()[:-100])


def zero(part: Path) -> None:
    shard_of(part).write_bytes(bytes(shard_of(part).stat().st_size))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": truncate,
    "zeroed": zero,
    "lost a shard": lambda part: shard_of(part).unlink(),
    "lost its metadata": lambda part: (part / GROUP / part.name / "zarr.json").unlink(),
    "lost its group": lambda part: shutil.rmtree(part / GROUP),
    "half removed": lambda part: (part / COMPLETION_MARKER).unlink(),
    "marker damaged": lambda part: (part / COMPLETION_MARKER).write_text("{"),
    "emptied": lambda part: [shutil.rmtree(part), part.mkdir()],
}
STATES = ["undone", "done", "of another key", "unfinished", *DAMAGES]


@given(states=st.tuples(*[st.sampled_from(STATES)] * len(CHROMS)))
@settings(max_examples=30, deadline=None)
def test_an_output_has_the_same_bytes_whatever_was_done_stale_or_damaged_before(states, expected):
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name, "parts"), Path(name, "output")
        output.mkdir()
        for chrom, state in zip(CHROMS, states, strict=True):
            if state == "of another key":
                parts_at(folder, "another").add([chrom], Writer())
            elif state == "unfinished":
                left = parts_at(folder).folder / f".{socket.gethostname()}-0.partial"
                (left / chrom).mkdir(parents=True)
                (left / ".lock").touch()
            elif state != "undone":
                parts_at(folder).add([chrom], Writer())
                DAMAGES.get(state, lambda _: None)(parts_at(folder).folder / chrom)
        stale = tree(parts_at(folder, "another").folder)
        writer = Writer()
        parts = parts_at(folder)
        facts = fill(output, GROUP, CHROMS, writer, parts)
        assert tree(output) == expected
        assert facts == {chrom: {"bins": number} for number, chrom in enumerate(CHROMS)}
        assert writer.wrote == [chrom for chrom, state in zip(CHROMS, states, strict=True) if state != "done"]
        parts.drop(CHROMS)
        assert not parts.folder.exists()
        assert tree(parts_at(folder, "another").folder) == stale
        assert tree(output) == expected


def test_a_part_that_is_there_is_not_done_again(tmp_path):
    writer = Writer()
    assert parts_at(tmp_path).add(["chr2"], writer) == ["chr2"]
    assert parts_at(tmp_path).add(["chr2"], writer) == []
    assert writer.wrote == ["chr2"]


def test_a_damaged_part_is_reported(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(log, "propagate", True)
    parts_at(tmp_path).add(["chr1"], Writer())
    truncate(parts_at(tmp_path).folder / "chr1")
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        parts_at(tmp_path).add(["chr1"], Writer())
    assert [message for message in caplog.messages if "chr1: damaged; chr1 is done again" in message]


@pytest.mark.parametrize("key", ["step", "follows_from"])
def test_parts_of_another_step_or_key_are_others(tmp_path, key):
    one = Parts.of(tmp_path, "toy", GROUP, {"codec": "lz4"}).folder
    other = Parts.of(
        tmp_path, "other" if key == "step" else "toy", GROUP, {"codec": "zstd" if key == "follows_from" else "lz4"}
    )
    assert other.folder != one


def test_the_output_shares_the_files_of_the_parts(tmp_path):
    parts = parts_at(tmp_path / "parts")
    (tmp_path / "output").mkdir()
    fill(tmp_path / "output", GROUP, CHROMS, Writer(), parts)
    linked = tmp_path / "output" / GROUP / "chr1" / "c" / "0" / "0"
    assert linked.samefile(shard_of(parts.folder / "chr1"))


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_files_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch, expected, number):
    link = os.link

    def no_link_into_the_output(source: os.PathLike[str], target: os.PathLike[str]) -> None:
        if "parts" in Path(source).parts and "output" in Path(target).parts:
            raise OSError(number, os.strerror(number))
        link(source, target)

    monkeypatch.setattr(os, "link", no_link_into_the_output)
    (tmp_path / "output").mkdir()
    parts = parts_at(tmp_path / "parts")
    fill(tmp_path / "output", GROUP, CHROMS, Writer(), parts)
    assert tree(tmp_path / "output") == expected
    assert not shard_of(parts.folder / "chr1").samefile(tmp_path / "output" / GROUP / "chr1" / "c" / "0" / "0")


def test_a_writer_that_fails_leaves_what_it_had_finished_and_nothing_else(tmp_path):
    def write(chroms: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        Writer()(chroms[:1], folder_of, finish)
        write_one(folder_of(chroms[1]), chroms[1])
        raise DataError("chr2 cannot be read")

    with pytest.raises(DataError, match="chr2 cannot be read"):
        parts_at(tmp_path).add(CHROMS, write)
    assert os.listdir(parts_at(tmp_path).folder) == ["chr1"]
    writer = Writer()
    assert parts_at(tmp_path).add(CHROMS, writer) == ["chr2", "chrM"]


def test_of_two_that_do_the_same_chromosome_the_first_is_kept(tmp_path):
    other = Writer()

    def write(chroms: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        parts_at(tmp_path).add(["chr1"], other)
        Writer()(chroms, folder_of, finish)

    parts_at(tmp_path).add(["chr1"], write)
    assert other.wrote == ["chr1"]
    assert os.listdir(parts_at(tmp_path).folder) == ["chr1"]
    assert parts_at(tmp_path).add(["chr1"], other) == []


def test_parts_that_another_run_takes_away_meanwhile_are_done_again(tmp_path, monkeypatch, expected):
    parts, other, writer = parts_at(tmp_path / "parts"), parts_at(tmp_path / "parts"), Writer()
    (tmp_path / "output").mkdir()
    bring = Parts.bring
    robbed: list[str] = []

    def bring_after_a_robbery(self: Parts, chroms: Sequence[str], output: Path) -> Sequence[str]:
        if not robbed:
            robbed.append("chr2")
            other.drop(robbed)
        return bring(self, chroms, output)

    monkeypatch.setattr(Parts, "bring", bring_after_a_robbery)
    fill(tmp_path / "output", GROUP, CHROMS, writer, parts)
    assert writer.wrote == [*CHROMS, "chr2"]
    assert tree(tmp_path / "output") == expected


def test_parts_that_never_stay_are_an_error_after_a_few_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr(Parts, "_link", lambda self, chrom, target: self.known.pop(chrom) is None)
    (tmp_path / "output").mkdir()
    with pytest.raises(DataError, match=r"chr1: gone as soon as it is done; give this run a --parts of its own"):
        fill(tmp_path / "output", GROUP, CHROMS, Writer(), parts_at(tmp_path / "parts"))


def test_dropping_spares_what_another_process_is_writing(tmp_path):
    def write(chroms: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        parts_at(tmp_path).drop(CHROMS)
        Writer()(chroms, folder_of, finish)

    parts_at(tmp_path).add(["chr1"], write)
    assert parts_at(tmp_path).add(["chr1"], Writer()) == []


def test_what_other_machines_left_is_not_touched(tmp_path):
    left = parts_at(tmp_path).folder / ".elsewhere-0.partial"
    left.mkdir(parents=True)
    (left / ".lock").touch()
    parts_at(tmp_path).add(["chr1"], Writer())
    parts_at(tmp_path).drop(CHROMS)
    assert os.listdir(parts_at(tmp_path).folder) == [left.name]


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def no_locks(stream: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    parts_at(tmp_path).add(CHROMS, Writer())
    assert sorted(os.listdir(parts_at(tmp_path).folder)) == CHROMS


SIZES = {"chr1": 100, "chr2": 60, "chr3": 50, "chr4": 30, "chrM": 1}
MANIFEST = Manifest(
    assembly="toy", bin_size=10, chromosome_sizes=SIZES, regions=[(chrom, 0, size) for chrom, size in SIZES.items()]
)


def test_groups_hold_every_chromosome_once_and_are_about_equal():
    groups = [group_of(f"{number}/3", MANIFEST) for number in (1, 2, 3)]
    assert groups == [["chr1"], ["chr2", "chrM"], ["chr3", "chr4"]]
    assert group_of("1/1", MANIFEST) == list(SIZES)
    assert [group_of(f"{number}/7", MANIFEST) for number in (5, 6, 7)] == [["chrM"], [], []]
    assert group_of("chr3", MANIFEST) == ["chr3"]


@pytest.mark.parametrize("part", ["chr7", "0/3", "4/3", "1/0", "x/3", "1/3/5"])
def test_a_part_that_there_is_not_is_bad_usage(part):
    with pytest.raises(ParamsError, match=f"^--part {part}: .*such as 3/8"):
        group_of(part, MANIFEST)
