"""What is measured: a case before, a measurement after."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

#: ``full`` is what ``make bench`` runs, ``scaling`` compares sizes, ``quick`` shows in seconds that everything runs.
Size = Literal["full", "scaling", "quick"]

#: Stages in the order data flows; each is a module in `benchmarks.stages`.
STAGES = ("ingest", "preprocess", "train", "embed", "evaluate")

#: Does some work and says at how many bins per second.
Rate = Callable[[], float]


class Skipped(Exception):
    """A case cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Case:
    """One row of the table, before it is measured.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    name : str
        What of the stage.
    bins, tracks : int
        Size of the input.
    options : dict
        What the stage's module needs to know besides.
    """

    stage: str
    name: str
    bins: int
    tracks: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Results of a case.

    Parameters
    ----------
    bins_per_second : float
        Median of the repeats.
    bytes_per_bin : float
        Traffic that no implementation can avoid: input read once, output written once, uncompressed unless the note
        says otherwise.
    operations_per_bin : float
        Floating-point operations in matrix products; 0 where there are none.
    peak_memory : int
        Bytes resident at most, over all processes of the stage.
    reference_bins_per_second : float or None
        The plain loop, measured in turn with the fast path.
    storage_bins_per_second : float or None
        Reading, decompressing, compressing and writing alone, without the stage's arithmetic.
    device : str
        ``cpu`` or ``cuda``: whose ceilings make the floor.
    note : str
        What else a reader must know.
    extra : dict
        Further numbers, for the JSON file.
    """

    bins_per_second: float
    bytes_per_bin: float
    operations_per_bin: float
    peak_memory: int
    reference_bins_per_second: float | None = None
    storage_bins_per_second: float | None = None
    device: str = "cpu"
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """Where and with how much a case is measured.

    Parameters
    ----------
    folder : Path
        Holds the synthetic data; shared by all cases of a run.
    threads : int
        CPU threads (or processes) that the stage may use.
    repeats : int
        Timed runs, after one that is not.
    device : str
        ``cpu`` or ``cuda``.
    """

    folder: Path
    threads: int
    repeats: int
    device: str = "cpu"


class Stage(Protocol):
    """What a module in `benchmarks.stages` offers. Importing it loads no heavy library."""

    def cases(self, size: Size, device: str) -> list[Case]:
        """Cases of this stage."""

    def prepare(self, case: Case, folder: Path) -> None:
        """Write the data that a case needs, unless they are there."""

    def measure(self, case: Case, setting: Setting) -> Measurement:
        """Run the case; in a process of its own."""


def pilot_folder() -> Path:
    """Where the real pilot tracks lie beside the project, there or not."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "roadmap-pilot"
    return Path(os.environ.get("EPILSTM_PILOT", default))
