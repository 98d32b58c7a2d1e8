"""A small trained model, its data, and new tracks to hold against them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.files.outputs import read_json
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS

SIMULATE = {
    "chromosomes": {"chr1": 600_000, "chr2": 400_000, "chr3": 400_000, "chr4": 400_000},
    "cell_types": 3,
    "assays": ["DNase", "H3K4me3", "H3K36me3"],
}


def run(name: str, folder: Path, params: dict[str, Any], flags: tuple[str, ...] = (), **paths: Path) -> None:
    """Run a step as the command line does."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({name: params}))
    run_step(STEPS[name], file, paths, frozenset(flags))


def trained(folder: Path, data: Path, assembly: str, split: dict[str, list[str]], train: dict[str, Any]) -> Path:
    """Signal, matrix and model of a samplesheet with its regions."""
    run(
        "ingest", folder, {"assembly": assembly, "workers": 1},
        samplesheet=data / "samplesheet.csv", regions=next(data.glob("*regions.bed")), signal=folder / "signal",
    )  # fmt: skip
    preprocess = {"split": split, "frame_bins": 100, "workers": 1}
    run("preprocess", folder, preprocess, signal=folder / "signal", matrix=folder / "matrix")
    run("train", folder, {"threads": 1, **train}, matrix=folder / "matrix", model=folder / "model")
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small simulated epigenome's ``signal``, ``matrix`` and ``model``; not to be changed."""
    folder = tmp_path_factory.mktemp("monitored")
    run("simulate", folder, SIMULATE, simulated=folder / "data")
    return trained(
        folder,
        folder / "data",
        str(folder / "data" / "chrom.sizes"),
        {"validation": ["chr3"], "test": ["chr4"]},
        {"embedding_size": 3, "context_size": 0, "hidden_size": 8, "epochs": 2, "streams": 4},
    )


@pytest.fixture(scope="session")
def with_context(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ``model`` of the same matrix with a context level."""
    folder = tmp_path_factory.mktemp("with_context")
    params = {"embedding_size": 3, "context_size": 1, "hidden_size": 8, "epochs": 1, "context_epochs": 1, "streams": 4}
    run("train", folder, {"threads": 1, **params}, matrix=small / "matrix", model=folder / "model")
    return folder


@pytest.fixture
def monitor(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the step; gives what ``drift.json`` says."""

    def call(
        params: dict[str, Any] | None = None, flags: tuple[str, ...] = (), page: bool = False, **paths: Path
    ) -> dict[str, Any]:
        outputs = {name: tmp_path / "out" / name for name in ("drift", "metrics", *(["page"] if page else []))}
        run("monitor", tmp_path / "out", {"threads": 1, **(params or {})}, flags, **paths, **outputs)
        return dict(read_json(outputs["drift"]))

    return call
