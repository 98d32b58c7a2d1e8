"""`epilstm pipeline local` on a disk that fills up while a task writes its artifact."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
import json
import subprocess
import sys
from pathlib import Path

from kfp import compiler, dsl

from support.small_disk import small_disk


@dsl.container_component
def fill(kilobytes: int, page: dsl.Output[dsl.Artifact]):  # type: ignore[no-untyped-def]
    code = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_bytes(bytes(1024 * int(sys.argv[1])))"
    return dsl.ContainerSpec(image="none", command=["python", "-c", code], args=[kilobytes, page.path])


@dsl.pipeline(name="filling")
def filling(kilobytes: int):
    fill(kilobytes=2)
    fill(kilobytes=kilobytes)


def run(package: Path, folder: Path, kilobytes: int) -> subprocess.CompletedProcess[str]:
    words = ["--package", str(package), "--to", str(folder), "-P", f"kilobytes={kilobytes}"]
    line = [sys.executable, "-m", "epilstm", "pipeline", "local", *words]
    return subprocess.run(line, cwd=package.parent, capture_output=True, text=True)


def test_a_full_disk_fails_the_task_in_one_line_and_leaves_no_half_of_it(tmp_path):
    package = tmp_path / "filling.yaml"
    compiler.Compiler().compile(filling, str(package))
    with small_disk(tmp_path / "disk", 200) as disk:
        full = run(package, disk / "run", 1000)
        assert full.returncode == 1
        last = full.stderr.splitlines()[-1]
        assert last.startswith("error: task fill-2 failed: ")
        assert "no space" in last.lower()  # said by the task, if there was space for that
        smaller = run(package, disk / "run", 10)
        assert smaller.returncode == 0, smaller.stderr
        assert [task["cached"] for task in json.loads(smaller.stdout)["tasks"]] == [True, False]
