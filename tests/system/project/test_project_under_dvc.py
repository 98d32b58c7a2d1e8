"""A project that DVC runs without a clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.project.own_data import epilstm


def test_dvc_runs_the_project_without_a_clone_and_without_git(epigenome, tmp_path):
    sheet, sizes = epigenome / "data/samplesheet.csv", epigenome / "data/chrom.sizes"
    assert epilstm(tmp_path, "init", ".", "--samplesheet", sheet, "--assembly", sizes).returncode == 0
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def dvc(*words: str) -> str:
        completed = subprocess.run(
            [sys.executable, "-m", "dvc", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert completed.returncode == 0, completed.stderr + completed.stdout
        return completed.stdout

    dvc("init", "--no-scm", "--quiet")
    ran = [line for line in dvc("repro", "ingest").splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'fingerprint':", "Running stage 'ingest':"]
    again = [line for line in dvc("repro", "ingest").splitlines() if line.startswith("Running stage")]
    assert again == ["Running stage 'fingerprint':"]
