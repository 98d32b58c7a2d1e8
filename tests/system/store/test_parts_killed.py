"""A process that was killed while it wrote parts."""

from __future__ import annotations

import os
import subprocess
import sys

from support.paths import PROJECT
from support.store.written_parts import CHROMS, Writer, parts_at
from support.watching import wait_until

#: Does one chromosome and waits, half-way through a second.
PROGRAM = """
import sys, time
from pathlib import Path
from epilstm.store.parts import Parts
from support.store.written_parts import GROUP, write_one

def write(chroms, folder_of, finish):
    write_one(folder_of("chr1"), "chr1")
    finish("chr1", {"bins": 1})
    write_one(folder_of("chr2"), "chr2")
    print("half-way", flush=True)
    time.sleep(60)

Parts.of(Path(sys.argv[1]), "toy", GROUP, "key").add(["chr1", "chr2"], write)
"""


def test_a_killed_process_leaves_its_finished_chromosomes_and_the_next_clears_up(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=PROJECT / "tests", stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    folder = parts_at(tmp_path).folder
    assert len(list(folder.glob(".*.partial/chr2"))) == 1
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: process.poll() is not None)
    writer = Writer()
    parts_at(tmp_path).add(CHROMS, writer)
    assert writer.wrote == ["chr2", "chrM"]
    assert sorted(os.listdir(folder)) == CHROMS
