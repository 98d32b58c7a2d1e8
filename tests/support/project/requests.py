"""What a user asks of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from epilstm.project.plan import Request


def request(epigenome: Path, folder: Path, **given: Any) -> Request:
    usual = {
        "samplesheet": epigenome / "data/samplesheet.csv",
        "assembly": str(epigenome / "data/chrom.sizes"),
        "params": epigenome / "quick.yaml",
    }
    return Request(**{"folder": folder, **usual, **given})


def line(given: Request, *flags: str) -> list[str]:
    words = ["run", given.samplesheet, "--to", given.folder]
    for name in ("assembly", "params", "tasks", "labels", "regions", "blacklist"):
        value = getattr(given, name)
        words += [f"--{name}", value] if value is not None else []
    return [str(word) for word in [*words, *flags]]
