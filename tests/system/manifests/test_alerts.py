"""Something breaks, the right alert arrives, it is fixed, the alert clears: with the real parts between.

Steps push to a real Pushgateway, a real Prometheus scrapes it and the real server, and evaluates the rules of the
manifests; a real Alertmanager calls a webhook. The rules are those of the manifests with every window and every ``for``
divided by `SCALE` (`monitoring.alert_rules.faster`), Alertmanager's route that of its example with shorter waits.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from support.export.small_model import TRACKS
from support.monitoring.alert_rules import MANIFESTS, alerts, faster, rule_groups
from support.monitoring_stack import Alertmanager, Prometheus, Pushgateway, Target
from support.serve.server_process import ServerProcess, binary_request, export_encoder
from support.watching import wait_until

#: A minute of the rules is a second here.
SCALE = 60


@dataclass
class Webhook:
    """What Alertmanager sent: (receiver, alert, status) in order."""

    received: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Webhook:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in content["alerts"]:
                    webhook.received.append((self.path.strip("/"), alert["labels"], alert["status"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def status(self, name: str, receiver: str = "people", **labels: str) -> str | None:
        """The last status of an alert."""
        for path, found, status in reversed(self.received):
            if path == receiver and found["alertname"] == name and labels.items() <= found.items():
                return status
        return None

    def wait_for(self, status: str, name: str, receiver: str = "people", **labels: str) -> None:
        wait_until(lambda: self.status(name, receiver, **labels) == status)


@dataclass
class World:
    webhook: Webhook
    gateway: Pushgateway
    prometheus: Prometheus
    server: ServerProcess


def quick_alertmanager(webhook: Webhook) -> dict[str, Any]:
    """The example's configuration, with the webhook for its receivers and hardly any waits."""
    example = yaml.safe_load((MANIFESTS / "alertmanager-secret.example.yaml").read_text())
    configuration = yaml.safe_load(example["stringData"]["alertmanager.yaml"])
    configuration["route"] |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    for receiver in configuration["receivers"]:
        for target in receiver["webhook_configs"]:
            target["url"] = f"http://127.0.0.1:{webhook.port}/{receiver['name']}"
            target.pop("http_config", None)
    return configuration


@pytest.fixture(scope="module")
def world(programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("monitoring")
    encoder = export_encoder(folder)
    # One call at a time and one request waiting: a server that is easily overloaded.
    server = ServerProcess(folder, encoder, "--threads=1", "--queue=1", "--max-batch=1")
    try:
        with (
            Webhook() as webhook,
            Pushgateway(programs, folder / "gateway") as gateway,
            Alertmanager(programs, folder / "alertmanager", quick_alertmanager(webhook)) as alertmanager,
            Prometheus(
                programs,
                folder / "prometheus",
                [Target("epilstm-pushgateway", gateway.port, honor_labels=True), Target("encoder", server.http_port)],
                faster(rule_groups(), SCALE),
                alertmanager,
            ) as prometheus,
        ):
            yield World(webhook, gateway, prometheus, server)
    finally:
        server.stop()


def epilstm(world: World, folder: Path, *words: str) -> int:
    """A command line of the pipeline, which sends to the gateway."""
    environment = {**os.environ, "EPILSTM_PUSHGATEWAY": world.gateway.url, "EPILSTM_PIPELINE": "training"}
    command = [sys.executable, "-m", "epilstm", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120).returncode


SMALL = {
    "simulate": {"chromosomes": {"chr1": 400_000, "chr3": 100_000, "chr4": 100_000}, "cell_types": 1},
    "ingest": {"assembly": "data/chrom.sizes", "workers": 1},
    "preprocess": {"workers": 1},
}


def test_a_step_that_fails_raises_an_alert_that_resolves_when_it_ends_well(world: World, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL))
    ingest = ["ingest", "--params", "params.yaml", "--samplesheet", "data/samplesheet.csv", "--signal", "signal"]
    assert epilstm(world, tmp_path, "simulate", "--params", "params.yaml", "--simulated", "data") == 0
    track = next((tmp_path / "data").rglob("*.bigwig"))
    whole = track.read_bytes()
    track.write_bytes(whole[: len(whole) // 2])

    assert epilstm(world, tmp_path, *ingest) == 1
    world.webhook.wait_for("firing", "EpilstmStepFailed", pipeline="training", step="ingest", reason="track")

    track.write_bytes(whole)
    assert epilstm(world, tmp_path, *ingest) == 0
    world.webhook.wait_for("resolved", "EpilstmStepFailed", step="ingest")
    assert world.webhook.status("EpilstmStepFailed", step="simulate") is None


def test_a_track_of_another_assay_alerts_people_and_retraining(world: World, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL))

    def step(*words: str) -> None:
        assert epilstm(world, tmp_path, words[0], "--params", "params.yaml", *words[1:]) == 0

    def drift() -> list[float]:
        return [float(each["value"][1]) for each in world.prometheus.query("epilstm_drift_detected")]

    step("simulate", "--simulated", "data")
    step("ingest", "--samplesheet", "data/samplesheet.csv", "--signal", "signal")
    step("preprocess", "--signal", "signal", "--matrix", "matrix")
    rows = list(csv.DictReader((tmp_path / "data" / "samplesheet.csv").open()))
    dnase, transcribed = (next(row for row in rows if row["assay"] == assay) for assay in ("DNase", "H3K36me3"))
    dnase |= {key: transcribed[key] for key in ("uri", "sha256")}
    with (tmp_path / "data" / "mislabelled.csv").open("w") as stream:
        sheet = csv.DictWriter(stream, list(dnase))
        sheet.writeheader()
        sheet.writerows(rows)
    step("ingest", "--samplesheet", "data/mislabelled.csv", "--signal", "mislabelled")

    monitor = ("monitor", "--matrix", "matrix", "--drift", "drift.json")
    step(*monitor, "--signal", "signal")
    wait_until(lambda: drift() == [0])
    assert world.webhook.status("EpilstmDrift") is None
    step(*monitor, "--signal", "mislabelled")
    world.webhook.wait_for("firing", "EpilstmDrift", pipeline="training")
    world.webhook.wait_for("firing", "EpilstmDrift", receiver="retraining", action="retrain")
    step(*monitor, "--signal", "signal")
    world.webhook.wait_for("resolved", "EpilstmDrift")


def test_an_overloaded_server_raises_an_alert_until_it_has_less(world: World) -> None:
    signal = np.random.default_rng(1).exponential(1, (100, 1000, TRACKS)).astype(np.float32)
    body, headers = binary_request(signal)
    enough = threading.Event()

    def ask() -> set[int]:
        answers = set()
        while not enough.is_set():
            answers.add(world.server.request("POST", "/v2/models/encoder/infer", body, headers)[0])
        return answers

    with ThreadPoolExecutor(6) as clients:
        asked = [clients.submit(ask) for _ in range(6)]
        try:
            world.webhook.wait_for("firing", "EpilstmServingShedding", severity="page")
        finally:
            enough.set()
        assert {429} <= set().union(*(each.result() for each in asked))
    world.webhook.wait_for("resolved", "EpilstmServingShedding")


def test_prometheus_takes_the_rules_and_every_one_of_them_is_healthy(world: World) -> None:
    from support.monitoring_stack import get

    answer = json.loads(get(world.prometheus.url + "/api/v1/rules")[1])["data"]["groups"]
    rules = [rule for group in answer for rule in group["rules"]]
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(alerts())
    assert {rule["health"] for rule in rules} == {"ok"}
