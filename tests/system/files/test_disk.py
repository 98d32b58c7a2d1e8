"""Commands on disks that are full, read-only or gone: one line, exit code 1, and nothing left but what was there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from epilstm.errors import DataError
from epilstm.files.disk import is_disk_full, require_space, system_error_line
from epilstm.files.outputs import written_whole
from epilstm.tracks.bigwig_columns import BigWigs, BinValues
from support.small_disk import make_read_only, small_disk
from support.tracks.small_epigenome import SmallEpigenome, make


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> SmallEpigenome:
    return make(tmp_path_factory.mktemp("small-epigenome"))


def epilstm(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "epilstm", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def commands(small: SmallEpigenome) -> dict[str, list[object]]:
    """Command lines that write, without the path at the end."""
    embeddings = ["--embeddings", small.embeddings]
    exports = {
        f"export-tracks {name}": ["export-tracks", *embeddings, "--quiet", "--format", name, "--to"]
        for name in ("bigwig", "bedgraph", "genomedata-bedgraph", "parquet", "h5ad")
    }
    hub = ["export-tracks", *embeddings, "--quiet", "--format", "hub", "--genome", "hg19", "--email", "a@b.org", "--to"]
    return {
        **exports,
        "export-tracks hub": hub,
        "segment": ["segment", *embeddings, "--quiet", "--states", "2", "--segmentation"],
        "plot": ["plot", "smoothness", "--quiet", "--matrix", small.matrix, *embeddings, "--to"],
        "samplesheet": ["samplesheet", "roadmap", "--core", "--output"],
        "compile": ["pipeline", "compile", "-o"],
    }


NAMES = {"plot": "out.png", "samplesheet": "out.csv"}
COMMANDS = [
    *(f"export-tracks {name}" for name in ("bigwig", "bedgraph", "genomedata-bedgraph", "parquet", "h5ad", "hub")),
    *("segment", "plot", "samplesheet", "compile"),
]


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a failure."""
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], done.stderr
    return lines[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_leaves_nothing(small, tmp_path, name):
    with small_disk(tmp_path / "disk", 4) as disk:
        (disk / "filler").write_bytes(bytes(1024))
        before = sorted(os.listdir(disk))
        line = refused(epilstm(*commands(small)[name], disk / NAMES.get(name, "out")))
        assert "space" in line
        assert sorted(os.listdir(disk)) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_disk_is_one_line(small, tmp_path, name):
    with small_disk(tmp_path / "disk", 1000) as disk:
        make_read_only(disk)
        line = refused(epilstm(*commands(small)[name], disk / NAMES.get(name, "out")))
        assert "Read-only file system" in line
        assert str(disk) in line


@pytest.mark.parametrize("kilobytes", [300, 400, 500, 700, 1000])
@pytest.mark.parametrize("columns", [1, 3])
def test_bigwigs_on_a_disk_that_fills_up_end_in_an_error_not_in_a_crash(tmp_path, kilobytes, columns):
    """Whether it fills up while values are written or while the index is: pyBigWig alone would end the process."""
    program = """
import sys
import numpy as np
from pathlib import Path
from epilstm.errors import DataError
from epilstm.tracks.bigwig_columns import BigWigs, BinValues
columns = int(sys.argv[2])
rng = np.random.default_rng(1)
try:
    files = BigWigs(Path(sys.argv[1]), [f"e{n}" for n in range(columns)], {"chr1": 25_000_000}, 25)
    try:
        for first in range(0, 1_000_000, 10_000):
            files.write(BinValues("chr1", first, rng.normal(size=(10_000, columns)).astype(np.float32)))
    finally:
        files.close()
except OSError as error:
    print(error.errno)
"""
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        done = subprocess.run(
            [sys.executable, "-c", program, str(disk), str(columns)], capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "28\n", "")


def test_bigwigs_on_a_disk_with_space_are_whole(tmp_path):
    import pyBigWig

    values = np.arange(20_000, dtype=np.float32).reshape(-1, 2)
    with small_disk(tmp_path / "disk", 2000) as disk:
        files = BigWigs(disk, ["e0", "e1"], {"chr1": 250_000}, 25)
        files.write(BinValues("chr1", 0, values))
        files.close()
        with pyBigWig.open(str(disk / "e1.bw")) as file:
            np.testing.assert_array_equal(file.values("chr1", 0, 250_000, numpy=True)[::25], values[:, 1])


def test_space_is_required_before_it_is_needed(tmp_path):
    with small_disk(tmp_path / "disk", 100) as disk:
        require_space(disk, 50_000)
        with pytest.raises(OSError, match="No space left") as refusal:
            require_space(disk, 500_000)
        assert is_disk_full(refusal.value)
        assert os.listdir(disk) == []


def test_a_folder_that_vanishes_meanwhile_is_one_line(tmp_path):
    target = tmp_path / "gone" / "out"

    def write() -> None:
        with written_whole(target, folder=True) as staged:
            staged.mkdir()
            shutil.rmtree(target.parent)
            (staged / "late").write_text("x")

    with pytest.raises(DataError, match=r"out: cannot be written: No such file or directory; choose another path$"):
        write()
    assert not target.parent.exists()


def test_sigterm_cleans_up_like_an_interrupt(small, tmp_path):
    target = tmp_path / "folder" / "out"
    target.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "epilstm", *map(str, commands(small)["export-tracks hub"]), str(target)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (target.parent / ".out.partial").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    if process.returncode == 0:
        pytest.skip("the command was faster than the signal")
    # Python itself ends with SIGINT, which is 130 to a shell, where the interrupt fell into a string that it executes.
    assert process.returncode in (130, -signal.SIGINT)
    assert error.splitlines()[-1] == "error: interrupted"
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left", "a/b"), "a/b: No space left; free some space and run it again"),
        (OSError(30, "Read-only", "a"), "a: Read-only; choose another path"),
        (PermissionError(13, "Denied", "a"), "a: Denied; check its permissions, or choose another path"),
        (OSError("write failed"), "write failed"),
    ],
)
def test_a_system_error_is_a_line_with_a_remedy(error, line):
    assert system_error_line(error) == line
