"""Metrics of a step while it runs."""

from __future__ import annotations

import logging
import socket

import pytest

from epilstm import console
from epilstm.console import log
from epilstm.runtime.telemetry import gpu, live
from support.monitoring_stack import get


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def port(self) -> int:
        return next(record.fields["metrics_port"] for record in self.records if "metrics at port" in record.msg)  # type: ignore[attr-defined]


@pytest.fixture
def lines(monkeypatch):
    kept = Lines()
    monkeypatch.setattr(log, "handlers", [kept])
    monkeypatch.setattr(log, "level", logging.INFO)
    log.manager._clear_cache()
    yield kept
    log.manager._clear_cache()


def text(port: int) -> str:
    return get(f"http://127.0.0.1:{port}/metrics")[1].decode()


def test_progress_and_gauges_of_a_step_are_served_until_it_ends(lines):
    with live.served(0, "embed", "chr5"):
        with console.progress("embedding bins", 200) as bar:
            bar.advance(50)
            live.set_metric("epilstm_training_epochs", 3)
            found = text(lines.port)
            assert (
                'epilstm_progress_work_total{part="chr5",pipeline="local",stage="embedding bins",step="embed"} 50.0'
                in found
            )
            assert (
                'epilstm_progress_ratio{part="chr5",pipeline="local",stage="embedding bins",step="embed"} 0.25' in found
            )
            assert 'epilstm_training_epochs{part="chr5",pipeline="local",step="embed"} 3.0' in found
            assert "epilstm_run_info{" in found
            assert "process_resident_memory_bytes" in found
            bar.advance(150)
        with console.progress("embedding bins", 100) as bar:
            bar.advance(1)
            assert 'stage="embedding bins",step="embed"} 201.0' in text(lines.port)
    assert get(f"http://127.0.0.1:{lines.port}/metrics")[0] == 0
    assert console.listeners == []
    live.set_metric("epilstm_training_epochs", 4)


def test_without_a_port_nothing_is_served(lines):
    with live.served(None, "embed", None), console.progress("embedding bins", 2) as bar:
        bar.advance()
        live.set_metric("epilstm_training_epochs", 3)
    assert lines.records == []


def test_under_torchrun_the_first_process_serves(lines, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with live.served(0, "train", None):
        assert lines.records == []


def test_a_port_that_is_taken_is_a_warning(lines):
    with socket.create_server(("0.0.0.0", 0)) as other, live.served(other.getsockname()[1], "embed", None):
        pass
    [record] = lines.records
    assert record.levelname == "WARNING"
    assert "cannot listen" in record.getMessage()


def test_what_nvidia_smi_prints_is_read(monkeypatch, tmp_path):
    table = "0, 37, 1024, 81559\n1, 0, 1, 81559\n2, [N/A], [N/A], 81559\n"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{table}'\n".replace("\n1,", "\\n1,").replace("\n2,", "\\n2,"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    families = {family.name: family.samples for family in gpu.Gpus({"step": "train"}).collect()}
    assert [(each.labels["gpu"], each.value) for each in families["epilstm_gpu_utilization_ratio"]] == [
        ("0", 0.37),
        ("1", 0.0),
    ]
    assert families["epilstm_gpu_memory_used_bytes"][0].value == 1024 * 2**20
    assert families["epilstm_gpu_memory_size_bytes"][0].value == 81559 * 2**20


def test_without_gpus_none_are_listed(lines, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with live.served(0, "train", None):
        assert "epilstm_gpu" not in text(lines.port)


def test_an_nvidia_smi_that_fails_lists_none(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert all(family.samples == [] for family in gpu.Gpus({}).collect())
