"""A small project whose steps and server are watched by a real Prometheus, and go through all that dashboards show."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from support.export.small_model import TRACKS
from support.free_ports import free_port
from support.monitoring.alert_rules import rule_groups
from support.monitoring_stack import Prometheus, Pushgateway, Target
from support.serve.server_process import ServerProcess, binary_request, export_encoder
from support.watching import wait_until

PARAMS: dict[str, dict[str, Any]] = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3"],
    },
    "ingest": {"assembly": "data/chrom.sizes", "workers": 1},
    "preprocess": {"workers": 1},
    "train": {"embedding_size": 2, "context_size": 0, "hidden_size": 4, "epochs": 25, "streams": 4, "threads": 1},
    "export": {},
    "embed": {"threads": 1},
    "evaluate": {"bootstrap": 10, "folds": {"count": 2}, "classifier": {"trees": 5}, "threads": 1},
    "promote": {"threads": 1},
    "monitor": {"threads": 1},
}

#: Steps in order.
STEPS = """
simulate --simulated data
ingest --samplesheet data/samplesheet.csv --regions data/regions.bed --cache cache --part 1/2
ingest --samplesheet data/samplesheet.csv --regions data/regions.bed --cache cache --signal signal
preprocess --signal signal --matrix matrix
train --matrix matrix --model model --history history.csv
export --model model --encoder encoder
embed --matrix matrix --encoder encoder --embeddings embeddings
evaluate --matrix matrix --model model --embeddings embeddings --tasks data/tasks.yaml --labels data/labels
    --evaluation evaluation
promote --matrix matrix --model model --encoder encoder --evaluation evaluation --tasks data/tasks.yaml
    --labels data/labels --champion encoder --decision decision.json
"""

#: New tracks, two of which are each other's.
DRIFT = """
ingest --samplesheet data/swapped.csv --regions data/regions.bed --signal new
monitor --matrix matrix --model model --signal new --drift drift.json
"""

NVIDIA_SMI = "#!/bin/sh\necho '0, 37, 2048, 81559'\n"


class BusyProject:
    """What has happened, and who watched.

    Attributes
    ----------
    prometheus : Prometheus
    server : ServerProcess
    began : float
        Seconds since 1970.
    ended_well, failed : int
        Runs of steps.
    rescaled : float
        Seconds since 1970 when requests had come on another scale for eight seconds, as a panel averages over.
    """

    def __init__(self, programs: Mapping[str, str], folder: Path) -> None:
        self.folder = folder
        self.began = time.time()
        self.ended_well = self.failed = 0
        self.rescaled = math.nan
        self.live_port = free_port()
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "nvidia-smi").write_text(NVIDIA_SMI)
        (folder / "bin" / "nvidia-smi").chmod(0o755)
        self.served = folder / "served"
        self.served.symlink_to(export_encoder(folder / "first"))
        self.gateway = Pushgateway(programs, folder / "gateway")
        options = ("--watch=0.2", "--threads=1", "--queue=8", "--timeout-s=0.3")
        self.server = ServerProcess(folder, self.served, *options)
        targets = [
            Target("epilstm-pushgateway", self.gateway.port, honor_labels=True),
            Target("epilstm-encoder", self.server.http_port),
            Target("epilstm-live", self.live_port),
        ]
        self.prometheus = Prometheus(programs, folder / "prometheus", targets, rule_groups())
        # It looks for targets every five seconds.
        wait_until(lambda: len(self.prometheus.query("up == 1")) == 2)

    def stop(self) -> None:
        self.prometheus.stop()
        self.gateway.stop()
        self.server.stop()

    def run(self, line: str, **sections: Mapping[str, Any]) -> int:
        """Run a step; its exit code."""
        params = {name: {**values, **sections.get(name, {})} for name, values in PARAMS.items()}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "EPILSTM_PUSHGATEWAY": self.gateway.url,
            "EPILSTM_PIPELINE": "training",
            "EPILSTM_METRICS_PORT": str(self.live_port),
        }
        step, *words = line.split()
        command = [sys.executable, "-m", "epilstm", step, "--params", "params.yaml", *words]
        code = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True).returncode
        if code == 0:
            self.ended_well += 1
        else:
            self.failed += 1
        return code

    def swap_samples(self) -> None:
        """Write a samplesheet in which two assays of a cell type have changed places."""
        heading, first, second, *others = (self.folder / "data" / "samplesheet.csv").read_text().splitlines()
        cell, assay, *one = first.split(",")
        cell_2, assay_2, *two = second.split(",")
        assert cell == cell_2
        swapped = [heading, ",".join([cell, assay, *two]), ",".join([cell, assay_2, *one]), *others]
        (self.folder / "data" / "swapped.csv").write_text("\n".join(swapped) + "\n")

    def run_steps(self) -> None:
        """Run every step, the gate twice: first forced, then not; and one that fails."""
        for line in STEPS.strip().replace("\n    ", " ").splitlines():
            if line.startswith("promote"):
                assert self.run(line, promote={"force": "for the dashboards"}) == 0
            assert self.run(line) == 0, line
        self.swap_samples()
        for line in DRIFT.strip().splitlines():
            assert self.run(line) == 0, line
        assert self.run("embed --matrix matrix --encoder nowhere --embeddings elsewhere") != 0

    def ask_server(self, seconds: float, clients: int, bins: int, batch: int = 2, scale: float = 2) -> set[int]:
        """Have several clients ask for so long; the status codes that they got."""
        rng = np.random.default_rng(3)
        values = rng.exponential(scale, (batch, bins, TRACKS)).astype(np.float32)
        values[rng.random(values.shape) < 0.05] = np.nan
        body, headers = binary_request(values)
        until, codes = time.monotonic() + seconds, set()

        def client() -> None:
            while time.monotonic() < until:
                codes.add(self.server.request("POST", "/v2/models/encoder/infer", body, headers)[0])
                time.sleep(0.02)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return codes

    def hold_up_server(self) -> None:
        """Stop the server for longer than it may take, again and again under load, until every panel can have seen it.

        Whoever waited then is too late, and who comes meanwhile finds a full queue. A counter that Prometheus first
        meets at its last value has not risen in its eyes: so this continues until errors showed ten seconds ago, and
        errors and refusals show in what panels look at, the last eight seconds.
        """
        seen = (
            "epilstm:serve_errors:ratio_rate5m offset 10s > 0",
            'sum(rate(epilstm_serve_requests_total{code="504"}[4s])) > 0',
            'sum(rate(epilstm_serve_requests_total{code="429"}[4s])) > 0',
            'sum(rate(epilstm_serve_requests_total{code="200"}[4s])) > 0',
        )
        with ThreadPoolExecutor(1) as asking:
            for _ in range(20):
                load = asking.submit(self.ask_server, 4, 16, 8000, 8, 200)
                while not load.done():
                    time.sleep(0.7)
                    self.server.process.send_signal(signal.SIGSTOP)
                    time.sleep(0.5)
                    self.server.process.send_signal(signal.SIGCONT)
                if all(self.prometheus.query(each) for each in seen):
                    return
        raise AssertionError(f"not seen, or not all of it: {load.result()}")

    def ask_grpc(self) -> None:
        """One request over gRPC."""
        from tritonclient import grpc

        given = grpc.InferInput("signal", [1, 40, TRACKS], "FP32")
        given.set_data_from_numpy(np.ones((1, 40, TRACKS), np.float32))
        with grpc.InferenceServerClient(f"127.0.0.1:{self.server.grpc_port}") as client:
            client.infer("encoder", [given])

    def exchange_model(self) -> None:
        """Give the server a new model, and then one that is none."""
        other = export_encoder(self.folder / "second", scale=4.0)
        self._serve(other, "taken")
        broken = Path(shutil.copytree(other, self.folder / "broken"))
        (broken / "encoder.onnx").write_bytes(b"no model")
        self._serve(broken, "refused")

    def _serve(self, model: Path, result: str) -> None:
        link = self.folder / "next"
        link.symlink_to(model)
        link.replace(self.served)
        line = f'epilstm_serve_model_reloads_total{{result="{result}"}}'
        wait_until(lambda: self.server.metric(line) >= 1)

    def load_server(self) -> None:
        """Ask at ease, wrongly, and in the end more than it can answer, of signals on another scale."""
        assert 200 in self.ask_server(4, 1, 40)
        for _ in range(4):
            self.ask_grpc()
            self.server.request("POST", "/v2/models/encoder/infer", b"{}")
            self.server.request("POST", "/v2/models/nobody/infer", b"{}")
        self.exchange_model()
        assert 200 in self.ask_server(6, 1, 40)
        codes = self.ask_server(8, 16, 8000, 8, scale=200)
        for _ in range(20):
            if {200, 429} <= codes:
                break
            # Where the processor is busy, a quick answer may be long in coming.
            codes |= self.ask_server(8, 16, 8000, 8, scale=200)
        self.rescaled = time.time()
        assert {200, 429} <= codes, codes
        self.hold_up_server()
