"""Metrics of runs: sent to a Pushgateway, written to a file, or neither; no run fails because of them."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families

from epilstm import errors
from epilstm.console import log
from epilstm.runtime.processes import WorkerDied
from epilstm.runtime.runner import Interrupted
from epilstm.runtime.telemetry import destinations, step_run
from epilstm.runtime.telemetry.failures import ALL_REASONS, reason_of
from epilstm.runtime.telemetry.step_run import observed, report_failure, report_reuse
from support.free_ports import free_port
from support.nonempty import nonempty


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch):
    for name in ("EPILSTM_PUSHGATEWAY", "EPILSTM_TEXTFILE_DIR", "EPILSTM_PIPELINE", "RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    before, log.handlers = log.handlers, [Keep(level=logging.WARNING)]
    yield found
    log.handlers = before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EPILSTM_TEXTFILE_DIR", str(tmp_path))
    return tmp_path


def in_file(path) -> dict[str, float]:
    return {
        sample.name.removeprefix("epilstm_step_"): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def succeed(step: str = "ingest", part: str | None = None, **known: object) -> None:
    with observed(step, part) as run:
        for name, value in known.items():
            setattr(run, name, value)


def fail(error: BaseException, step: str = "ingest") -> None:
    with pytest.raises(type(error)), observed(step):
        raise error


# In a file of node-exporter's


def test_a_run_that_ended_well_sends_its_metrics(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("EPILSTM_PIPELINE", "nightly")
    data = folder / "inputs" / "deeper"
    data.mkdir(parents=True)
    (data / "a").write_bytes(b"x" * 300)
    (folder / "out").write_bytes(b"x" * 20)
    before = time.time()
    succeed(
        bins=1000,
        tracks=4,
        retries=2,
        peak_memory=1 << 20,
        fingerprints={"samplesheet": "a" * 64, "signal": "b" * 64, "model": "c" * 64},
        inputs={"samplesheet": folder / "inputs"},
        outputs={"signal": folder / "out", "gone": folder / "not-there"},
        numbers={"fraction_with_data": 0.5},
    )
    text = (folder / "epilstm-nightly-ingest.prom").read_text()
    assert 'epilstm_data_bins_with_data_ratio{pipeline="nightly",step="ingest"} 0.5' in text
    assert 'data_version="bbbbbbbbbbbb"' in text
    assert 'model_version="cccccccccccc"' in text
    found = in_file(folder / "epilstm-nightly-ingest.prom")
    assert found["bins"] == 1000
    assert found["tracks"] == 4
    assert found["retries"] == 2
    assert found["peak_memory_bytes"] == 1 << 20
    assert found["input_bytes"] == 300
    assert found["output_bytes"] == 20
    assert found["success"] == 1
    assert before <= found["last_success_timestamp_seconds"] <= time.time()
    assert found["throughput_bins_per_second"] == pytest.approx(1000 / found["duration_seconds"])
    assert "last_failure_timestamp_seconds" not in found


def test_the_last_success_outlives_a_failure_and_the_other_way_round(folder):
    file = folder / "epilstm-local-ingest.prom"
    succeed(bins=7)
    first = in_file(file)
    fail(errors.TrackError("gone"))
    second = in_file(file)
    assert (first["success"], second["success"]) == (1, 0)
    assert second["last_success_timestamp_seconds"] == first["last_success_timestamp_seconds"]
    assert second["last_failure_timestamp_seconds"] >= first["last_success_timestamp_seconds"]
    assert second["bins"] == 7
    assert 'reason="track"' in file.read_text()
    succeed(bins=8)
    third = in_file(file)
    assert third["last_failure_timestamp_seconds"] == second["last_failure_timestamp_seconds"]
    assert (third["success"], third["bins"]) == (1, 8)


def test_reuse_of_what_is_there_is_a_success_that_keeps_the_metrics(folder):
    succeed(bins=7)
    fail(errors.DataError("bucket is away"))
    report_reuse("ingest", None)
    found = in_file(folder / "epilstm-local-ingest.prom")
    assert (found["success"], found["bins"]) == (1, 7)


def test_a_run_that_cannot_send_metrics_logs_a_warning(folder):
    report_failure("train", None, "killed")
    assert 'reason="killed"' in (folder / "epilstm-local-train.prom").read_text()


def test_parts_are_distinguished(folder):
    succeed(part="3/8")
    succeed(part="chr5")
    assert {path.name for path in folder.iterdir()} == {
        "epilstm-local-ingest-3%2F8.prom",
        "epilstm-local-ingest-chr5.prom",
    }
    assert 'part="3/8"' in (folder / "epilstm-local-ingest-3%2F8.prom").read_text()


def test_under_torchrun_the_first_process_sends_metrics(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    succeed("train")
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("RANK", "0")
    succeed("train")
    assert len(list(folder.iterdir())) == 1


def test_names_that_differ_have_files_that_differ(folder, monkeypatch):
    pipelines = ["exp-1", "exp_1", "exp 1", "exp/1", "exp%2D1", "Exp-1"]
    for pipeline in pipelines:
        monkeypatch.setenv("EPILSTM_PIPELINE", pipeline)
        succeed("train")
    monkeypatch.setenv("EPILSTM_PIPELINE", "exp")
    succeed("1-train")  # with a separator that a name may hold, this would be the step "train" of "exp-1"
    files = list(folder.iterdir())
    assert len(files) == len(pipelines) + 1
    for pipeline in pipelines:
        assert sum(f'pipeline="{pipeline}"' in file.read_text() for file in files) == 1


def test_a_folder_that_is_not_there_is_a_warning(monkeypatch, tmp_path, warnings):
    monkeypatch.setenv("EPILSTM_TEXTFILE_DIR", str(tmp_path / "none"))
    succeed()
    assert len(warnings) == 1
    assert "EPILSTM_TEXTFILE_DIR" in warnings[0]


def test_numbers_that_cannot_be_sent_are_a_warning(folder, warnings):
    succeed("promote", numbers={"unexpected": 1})
    assert len(warnings) == 1


def test_with_nothing_configured_nothing_is_sent_and_nothing_is_measured(monkeypatch, warnings):
    monkeypatch.setattr(step_run, "size_of", lambda path: pytest.fail("measured"))
    succeed(inputs={"samplesheet": "anything"})
    assert warnings == []


# Why


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.ParamsError("x"), "params"),
        (errors.DataError("x"), "data"),
        (errors.DiskFullError("x"), "disk_full"),
        (errors.TrainingError("x"), "training"),
        (errors.LossNotFiniteError("x"), "loss_not_finite"),
        (WorkerDied("x"), "worker_died"),
        (Interrupted("x"), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (MemoryError(), "out_of_memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "out_of_memory"),
        (ZeroDivisionError(), "internal"),
        (SystemExit(3), "internal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_an_error_has_one_reason_of_a_few(error, reason):
    assert reason_of(error) == reason
    assert reason in ALL_REASONS


def test_every_error_a_user_can_cause_has_a_reason():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EpilstmError)]
    for kind in nonempty(kinds):
        if kind is not errors.EpilstmError:
            assert reason_of(kind("x")) != "internal"


# To gateways that are unwell


def test_a_gateway_that_is_down_is_one_warning(monkeypatch, warnings):
    monkeypatch.setenv("EPILSTM_PUSHGATEWAY", f"http://user:secret@127.0.0.1:{free_port()}")
    succeed()
    assert len(warnings) == 1
    assert "refused" in warnings[0]
    assert "secret" not in warnings[0]


@pytest.mark.parametrize("url", ["gateway:9091", "ftp://gateway", "http://", "not a url", "http://[::1"])
def test_a_url_that_is_none_is_one_warning(monkeypatch, warnings, url):
    monkeypatch.setenv("EPILSTM_PUSHGATEWAY", url)
    succeed()
    assert len(warnings) == 1


def test_a_gateway_that_never_answers_is_not_waited_for(monkeypatch, warnings):
    monkeypatch.setattr(destinations, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("EPILSTM_PUSHGATEWAY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        succeed()
    assert len(warnings) == 1


def test_a_step_that_failed_fails_with_its_own_error_whatever_the_gateway_does(monkeypatch, warnings):
    monkeypatch.setenv("EPILSTM_PUSHGATEWAY", f"http://127.0.0.1:{free_port()}")
    fail(errors.TrackError("gone"))
    assert len(warnings) == 1


class Recorder:
    """Keeps what is sent, and answers with a status."""

    def __init__(self, status: int) -> None:
        recorder = self
        self.sent: list[tuple[str, str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                recorder.sent.append((self.command, self.path, self.headers.get("Authorization", "")))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture(params=[200])
def recorder(request):
    recorder = Recorder(request.param)
    yield recorder
    recorder.server.shutdown()
    recorder.server.server_close()


def test_credentials_in_the_url_are_sent_as_such(monkeypatch, recorder):
    monkeypatch.setenv("EPILSTM_PUSHGATEWAY", f"http://me:p%40ss@127.0.0.1:{recorder.port}/gateway/")
    succeed()
    [(_, path, authorization)] = recorder.sent
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:p@ss"
    assert path == "/gateway/metrics/job/epilstm-steps/pipeline/local/step/ingest"


@pytest.mark.parametrize("recorder", [400, 500], indirect=True)
def test_a_gateway_that_refuses_is_one_warning(monkeypatch, recorder, warnings):
    monkeypatch.setenv("EPILSTM_PUSHGATEWAY", f"http://127.0.0.1:{recorder.port}")
    succeed()
    assert len(warnings) == 1


# To a real one
