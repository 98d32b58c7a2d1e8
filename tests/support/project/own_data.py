"""Params of a small epigenome that stands in for a user's data, and commands as they are typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from epilstm.cli import main

SIMULATE = {
    "chromosomes": {"chr1": 250_000, "chr2": 150_000, "chr3": 130_000, "chr4": 100_000},
    "cell_types": 1,
    "assays": ["DNase", "H3K4me3", "H3K27me3"],
}
#: Params that make a run quick.
QUICK = {
    "ingest": {"workers": 1},
    "preprocess": {"workers": 1},
    "train": {"hidden_size": 8, "streams": 8, "epochs": 1, "context_epochs": 1, "threads": 1, "device": "cpu"},
    "export": {"triton": False},
    "embed": {"threads": 1, "provider": "cpu"},
    "evaluate": {"threads": 1},
}


def epilstm(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Type a command in a folder."""
    line = [sys.executable, "-m", "epilstm", *map(str, words)]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=600)


def init(*words: object) -> int:
    try:
        main(["init", *map(str, words)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
