"""The pipeline on a small simulated epigenome, step by step, as a user leaves it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS

PARAMS = {
    "simulate": {
        "chromosomes": {"chr1": 250_000, "chr2": 150_000, "chr3": 130_010, "chr4": 100_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3", "H3K27me3"],
    },
    "ingest": {"workers": 1},
    "preprocess": {"workers": 1},
    "train": {
        "embedding_size": 4, "context_size": 0, "hidden_size": 8, "streams": 8, "epochs": 1, "warmup_steps": 5,
        "threads": 1, "device": "cpu",
    },
    "export": {"triton": False},
    "embed": {"threads": 1, "provider": "cpu"},
}  # fmt: skip

OUTPUTS = {
    "simulate": {"simulated": "data/simulated"},
    "ingest": {"signal": "data/signal"},
    "preprocess": {"matrix": "data/matrix"},
    "train": {"model": "models/autoencoder", "history": "metrics/history.csv"},
    "export": {"encoder": "models/encoder"},
    "embed": {"embeddings": "data/embeddings"},
}
INPUTS = {
    "simulate": {},
    "ingest": {"samplesheet": "data/simulated/samplesheet.csv", "regions": "data/simulated/regions.bed"},
    "preprocess": {"signal": "data/signal"},
    "train": {"matrix": "data/matrix"},
    "export": {"model": "models/autoencoder"},
    "embed": {"matrix": "data/matrix", "encoder": "models/encoder"},
}


def run_pipeline(folder: Path, steps: Iterable[str] = tuple(OUTPUTS), **train: object) -> Path:
    """Run the steps in a folder; `train` overrides params of that step."""
    params = {**PARAMS, "train": {**PARAMS["train"], **train}}
    params["ingest"] = {**params["ingest"], "assembly": str(folder / "data/simulated/chrom.sizes")}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for name in steps:
        paths = {port: folder / path for port, path in {**INPUTS[name], **OUTPUTS[name]}.items()}
        run_step(STEPS[name], folder / "params.yaml", paths, frozenset())
    return folder
