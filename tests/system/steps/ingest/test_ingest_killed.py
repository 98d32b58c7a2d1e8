"""Ingest, killed or interrupted half-way, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ingest.epigenome import Epigenome, tree
from support.ingest.range_server import Files, serve
from support.watching import alive, wait_until


@pytest.fixture
def files() -> Files:
    return Files({}, stalled={"/last.bigwig"})


@pytest.fixture
def toy(tmp_path: Path, files: Files) -> Iterator[Epigenome]:
    """Three local tracks, and a fourth on a server that does not answer until it is released."""
    toy = Epigenome(tmp_path / "in")
    for seed in range(4):
        toy.add(f"liver-{seed}", seed)
    files.content["/last.bigwig"] = toy.bigwig("liver-3").read_bytes()
    with serve(files) as base:
        toy.rows[-1] = f"liver,3,{base}/last.bigwig,,"
        toy.list_row("spleen-0", "bigwig/liver-0.bigwig")
        toy.write_params(workers=2)
        yield toy


def start(toy: Epigenome, output: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "epilstm", "ingest", "--params", str(toy.folder / "params.yaml")]
    for name, path in toy.paths(output, cache=cache).items():
        command += [f"--{name}", str(path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def binned(cache: Path) -> int:
    return len([path for path in cache.glob("tracks/*") if not path.name.startswith(".")])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_half_way_and_run_again_equals_an_undisturbed_one(
    toy: Epigenome, files: Files, tmp_path: Path, number: signal.Signals
) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    run = start(toy, out / "signal", cache)
    wait_until(lambda: binned(cache) == len(list(cache.glob("sources/*.json"))) == 3)
    workers = workers_of(run)
    assert workers
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    wait_until(lambda: not any(alive(worker) for worker in workers))
    assert not (out / "signal").exists()
    if number != signal.SIGKILL:
        assert run.returncode == 130
        assert "interrupted" in err
        assert "Traceback" not in err
        assert not out.exists()

    files.go.set()
    result = toy.ingest(out / "signal", cache=cache)
    assert result.metrics["tracks_reused"] >= 3
    toy.write_params(workers=1)
    toy.ingest(tmp_path / "undisturbed")
    assert tree(out / "signal") == tree(tmp_path / "undisturbed")
    assert sorted(path.name for path in out.iterdir()) == ["signal", "signal.record.json"]


def test_two_runs_may_share_a_cache(toy: Epigenome, files: Files, tmp_path: Path) -> None:
    files.go.set()
    runs = [start(toy, tmp_path / name, tmp_path / "cache") for name in ("one", "two")]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert os.listdir(tmp_path / "cache" / "downloads") == []
