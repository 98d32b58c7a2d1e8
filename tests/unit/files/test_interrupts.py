from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from epilstm.files.interrupts import deferred_interrupts


def test_an_interrupt_takes_effect_after_the_block():
    done = []

    def block() -> None:
        with deferred_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("whole block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["whole block"]


def test_handlers_are_those_of_before():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with deferred_interrupts():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with deferred_interrupts():
            signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_set_no_handlers():
    results = []

    def block() -> None:
        with deferred_interrupts():
            results.append("done")

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert results == ["done"]


def test_a_bigwig_that_is_interrupted_while_it_is_opened_has_its_header(tmp_path):
    program = """
import signal
import sys
from pathlib import Path
from epilstm.tracks.bigwig_columns import new_bigwig

class Sizes(dict):
    def items(self):
        signal.raise_signal(signal.SIGINT)
        return super().items()

try:
    new_bigwig(Path(sys.argv[1]), Sizes(chr1=1000))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "e0.bw")], capture_output=True, text=True, timeout=60
    )
    # pyBigWig itself would print that the file is truncated.
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
