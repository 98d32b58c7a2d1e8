"""Real Prometheus, Pushgateway and Alertmanager for tests, on free ports of this machine.

``--monitoring=auto`` (the default) takes the programs of the PATH, or those that ``tests/support/monitoring-stack.sh``
fetched; where there are none, its tests are skipped. ``--monitoring=install`` fetches them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.free_ports import free_port
from support.made_once import one_at_a_time
from support.watching import wait_until

SCRIPT = Path(__file__).parent / "monitoring-stack.sh"
OWN_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "epilstm-monitoring" / "usr" / "bin"

#: Names that each program goes by: Debian's, then upstream's.
PROGRAMS = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "pushgateway": ("prometheus-pushgateway", "pushgateway"),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "amtool": ("amtool",),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--monitoring",
        choices=("auto", "install"),
        default="auto",
        help="Prometheus and its kin for the tests: those that are there (auto), or fetched otherwise (install)",
    )


def _found() -> dict[str, str] | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), str(OWN_FOLDER)])
    found = {
        name: next(filter(None, (shutil.which(each, path=path) for each in names)), None)
        for name, names in PROGRAMS.items()
    }
    return found if all(found.values()) else None  # type: ignore[return-value]


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> dict[str, str]:
    """Path of each of `PROGRAMS`."""
    if request.config.getoption("--monitoring") == "install":
        with one_at_a_time("monitoring"):
            completed = subprocess.run([SCRIPT], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert completed.returncode == 0, f"{SCRIPT.name} failed: {completed.stderr}"
    found = _found()
    if found is None and request.config.getoption("--monitoring") != "install":
        pytest.skip("no Prometheus, Pushgateway and Alertmanager here; --monitoring=install fetches them (Debian)")
    assert found is not None
    return found


def get(url: str) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


class Daemon:
    """A program that serves HTTP on a port of this machine."""

    ready_path = "/-/ready"

    def __init__(self, folder: Path, words: Sequence[str], port: int) -> None:
        self.folder, self.port, self.url = folder, port, f"http://127.0.0.1:{port}"
        self.log = folder / "log.txt"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.process.poll() is not None or get(self.url + self.ready_path)[0] == 200)
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Pushgateway(Daemon):
    def __init__(self, programs: Mapping[str, str], folder: Path) -> None:
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, [programs["pushgateway"], f"--web.listen-address=127.0.0.1:{port}"], port)

    def samples(self) -> dict[str, float]:
        """Value of each series of epilstm, by name and labels as the gateway prints them, job and instance left out."""
        lines = get(self.url + "/metrics")[1].decode().splitlines()
        found = {}
        for line in lines:
            if line.startswith("epilstm_"):
                series, _, value = line.rpartition(" ")
                found[series.replace('instance="",job="epilstm-steps",', "")] = float(value)
        return found


class Alertmanager(Daemon):
    """With a configuration as its file holds it."""

    def __init__(self, programs: Mapping[str, str], folder: Path, configuration: Mapping[str, Any]) -> None:
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(dict(configuration)))
        words = [programs["alertmanager"], "--config.file=alertmanager.yml", f"--storage.path={folder / 'storage'}"]
        words += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        super().__init__(folder, words, port)


@dataclass(frozen=True)
class Target:
    """What Prometheus scrapes; `honor_labels` as for a Pushgateway."""

    job: str
    port: int
    honor_labels: bool = False


class Prometheus(Daemon):
    """Scrapes every second, with a file of rules that it evaluates every second."""

    def __init__(
        self,
        programs: Mapping[str, str],
        folder: Path,
        targets: Sequence[Target],
        rules: Mapping[str, Any] | None = None,
        alertmanager: Alertmanager | None = None,
    ) -> None:
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        configuration: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": target.job,
                    "honor_labels": target.honor_labels,
                    "static_configs": [{"targets": [f"127.0.0.1:{target.port}"]}],
                }
                for target in targets
            ],
        }
        if rules is not None:
            (folder / "rules.yml").write_text(yaml.safe_dump(dict(rules)))
            configuration["rule_files"] = ["rules.yml"]
        if alertmanager is not None:
            addresses = [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]
            configuration["alerting"] = {"alertmanagers": [{"static_configs": addresses}]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        words = [programs["prometheus"], "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'tsdb'}"]
        words += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        super().__init__(folder, words, port)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Result of an instant query."""
        status, body = get(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        answer = json.loads(body)
        assert status == 200, f"{expression}: {body.decode()}"
        return list(answer["data"]["result"])

    def range(self, expression: str, seconds: float, step: float = 1) -> list[dict[str, Any]]:
        """Result of a range query that ends now."""
        now = time.time()
        given = {"query": expression, "start": now - seconds, "end": now, "step": step}
        answer = json.loads(get(f"{self.url}/api/v1/query_range?{urllib.parse.urlencode(given)}")[1])
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def alerts(self) -> dict[str, str]:
        """State of each alert that is pending or firing, by name; firing counts more."""
        answer = json.loads(get(self.url + "/api/v1/alerts")[1])["data"]["alerts"]
        return {
            each["labels"]["alertname"]: each["state"]
            for each in sorted(answer, key=lambda each: each["state"] == "firing")
        }
