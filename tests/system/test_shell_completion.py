"""Shell completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_made_for_each_shell(shell: str):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    completed = subprocess.run(
        [sys.executable, "-m", "epilstm"],
        env={**os.environ, "_EPILSTM_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"_EPILSTM_COMPLETE={shell}_complete" in completed.stdout


def test_completion_offers_the_commands():
    completed = subprocess.run(
        [sys.executable, "-m", "epilstm"],
        env={**os.environ, "_EPILSTM_COMPLETE": "bash_complete", "COMP_WORDS": "epilstm e", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert completed.stdout.split() == ["plain,export-tracks", "plain,export", "plain,embed", "plain,evaluate"]
