"""Metrics of training while it runs."""

from __future__ import annotations

import json
import subprocess
import sys

import yaml

from support.monitoring_stack import get
from support.watching import wait_until


def text(port: int) -> str:
    return get(f"http://127.0.0.1:{port}/metrics")[1].decode()


SMALL = {
    "simulate": {"chromosomes": {"chr1": 400_000, "chr3": 100_000, "chr4": 100_000}, "cell_types": 1},
    "ingest": {"assembly": "data/chrom.sizes", "workers": 1},
    "preprocess": {"workers": 1},
    "train": {
        "epochs": 500,
        "streams": 4,
        "patience": 500,
        "hidden_size": 8,
        "embedding_size": 4,
        "context_size": 0,
        "threads": 1,
    },
}


def test_training_is_watched_while_it_runs(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL))

    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "epilstm", words[0], "--params", "params.yaml", *words[1:]]

    for words in (
        ("simulate", "--simulated", "data"),
        ("ingest", "--samplesheet", "data/samplesheet.csv", "--signal", "signal"),
        ("preprocess", "--signal", "signal", "--matrix", "matrix"),
    ):
        subprocess.run(command(*words), cwd=tmp_path, check=True, capture_output=True)
    errors = tmp_path / "errors.txt"
    with open(errors, "w") as stream:
        process = subprocess.Popen(
            command("train", "--matrix", "matrix", "--model", "model", "--metrics-port", "0"),
            cwd=tmp_path,
            stderr=stream,
        )
    try:
        wait_until(lambda: "metrics_port" in errors.read_text() or process.poll() is not None)
        port = json.loads(next(line for line in errors.read_text().splitlines() if "metrics_port" in line))[
            "metrics_port"
        ]

        def value(name: str) -> float:
            found = [line for line in text(port).splitlines() if line.startswith(name + "{")]
            return float(found[0].rpartition(" ")[2]) if found else 0.0

        wait_until(lambda: value("epilstm_training_epochs") >= 2 or process.poll() is not None)
        assert process.poll() is None, errors.read_text()
        assert value("epilstm_training_validation_mse") > 0
        assert value("epilstm_training_bins_per_step") == 4 * 2 * 100
        assert value("epilstm_progress_work_total") > 0
        assert 0 < value("epilstm_progress_ratio") < 1
        assert 'device="cpu"' in text(port) or 'device="cuda"' in text(port)
    finally:
        process.terminate()
        process.wait(60)
