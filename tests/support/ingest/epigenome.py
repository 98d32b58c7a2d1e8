"""A few small tracks on a made-up assembly, and how to ingest them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from epilstm.files.outputs import sha256_file
from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from support.ingest.bigwig_files import Interval, random_intervals, write_bigwig

#: The last bin of chr10 is partial.
SIZES = {"chr9": 60_000, "chr10": 20_010, "chr11": 5_000}
BIN = 25


@dataclass
class Epigenome:
    """Files in a folder, and their intervals.

    Parameters
    ----------
    folder : Path
        Holds samplesheet, sizes, params and bigWigs.
    """

    folder: Path
    intervals: dict[str, dict[str, list[Interval]]] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "bigwig").mkdir(parents=True)
        (self.folder / "toy.sizes").write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
        self.write_params()

    def write_params(self, **params: Any) -> None:
        content = {"assembly": str(self.folder / "toy.sizes"), "bin_size": BIN, "workers": 1, "retries": 1} | params
        (self.folder / "params.yaml").write_text(json.dumps({"ingest": content}))

    def bigwig(self, name: str) -> Path:
        return self.folder / "bigwig" / f"{name}.bigwig"

    def add(self, name: str, seed: int, chroms: tuple[str, ...] = ("chr9", "chr10"), *, sha256: bool = False) -> None:
        """Write a random track and list it; `name` is ``cell_type-assay``."""
        rng = np.random.default_rng(seed)
        self.intervals[name] = {chrom: random_intervals(rng, SIZES[chrom], gap=0.5) for chrom in chroms}
        write_bigwig(self.bigwig(name), SIZES, self.intervals[name])
        self.list_row(name, f"bigwig/{name}.bigwig", sha256_file(self.bigwig(name)) if sha256 else "")

    def list_row(self, name: str, uri: str, sha256: str = "", transform: str = "") -> None:
        cell_type, _, assay = name.partition("-")
        self.rows.append(f"{cell_type},{assay},{uri},{sha256},{transform}")
        lines = ["cell_type,assay,uri,sha256,transform", *self.rows]
        (self.folder / "samplesheet.csv").write_text("\n".join(lines) + "\n")

    def treat_uncovered_as(self, uncovered: str) -> None:
        """State in the samplesheet what uncovered bases are, the same for all rows there are."""
        lines = ["cell_type,assay,uri,sha256,transform,uncovered", *(f"{row},{uncovered}" for row in self.rows)]
        (self.folder / "samplesheet.csv").write_text("\n".join(lines) + "\n")

    def paths(self, output: Path, **more: Path) -> dict[str, Path]:
        return {"samplesheet": self.folder / "samplesheet.csv", "signal": output, **more}

    def ingest(self, output: Path, **more: Path) -> StepResult:
        """Run the step; `more` are further ports: regions, blacklist, cache."""
        return run_step(STEPS["ingest"], self.folder / "params.yaml", self.paths(output, **more), frozenset())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
