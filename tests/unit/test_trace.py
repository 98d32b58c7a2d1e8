"""One identifier ties the processes of a run together: W3C trace context."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from epilstm.trace_context import join_trace, parse_traceparent, trace_id_of

#: The example of the W3C recommendation.
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EXAMPLE = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "")
    monkeypatch.setenv("EPILSTM_RUN_ID", "")


def test_a_process_continues_the_trace_of_its_caller(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", EXAMPLE)
    trace = join_trace()
    assert (trace.trace_id, trace.parent_id) == (TRACE, SPAN)
    assert trace.span_id != SPAN
    assert os.environ["TRACEPARENT"] == trace.traceparent == f"00-{TRACE}-{trace.span_id}-01"


def test_without_a_caller_a_trace_begins(monkeypatch):
    one = join_trace()
    monkeypatch.setenv("TRACEPARENT", "")
    other = join_trace()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", one.traceparent)
    assert one.trace_id != other.trace_id
    assert one.parent_id is None


def test_a_trace_that_is_not_recorded_stays_so(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{SPAN}-00")
    assert join_trace().traceparent.endswith("-00")


def test_a_run_of_kubeflow_is_the_trace_of_its_steps(monkeypatch):
    monkeypatch.setenv("EPILSTM_RUN_ID", "4BF92F35-77b3-4da6-a3ce-929d0e0e4736")
    assert join_trace().trace_id == TRACE


def test_the_caller_counts_more_than_the_run(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", EXAMPLE)
    monkeypatch.setenv("EPILSTM_RUN_ID", "nightly")
    assert join_trace().trace_id == TRACE


def test_any_text_names_one_run():
    assert trace_id_of("nightly") == trace_id_of(" nightly ") != trace_id_of("weekly")
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id_of("nightly"))
    assert int(trace_id_of("0" * 32), 16)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        EXAMPLE.upper(),
        EXAMPLE[:-1],
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{EXAMPLE}-more",
    ],
)
def test_what_is_no_traceparent_is_not_taken(text):
    assert parse_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known():
    found = parse_traceparent(f"01-{TRACE}-{SPAN}-01-what-the-future-brings")
    assert found is not None
    assert found.trace_id == TRACE


def test_log_lines_and_record_of_a_step_name_the_run(tmp_path):
    environment = {**os.environ, "TRACEPARENT": EXAMPLE}
    (tmp_path / "params.yaml").write_text("simulate: {chromosomes: {chr1: 100000}, cell_types: 1, assays: [DNase]}\n")
    completed = subprocess.run(
        [sys.executable, "-m", "epilstm", "simulate", "--params", "params.yaml", "--simulated", "data"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in completed.stderr.splitlines()]
    assert lines
    assert {line["trace_id"] for line in lines} == {TRACE}
    assert len({line["span_id"] for line in lines} - {SPAN}) == 1
    assert json.loads((tmp_path / "data.record.json").read_text())["run_id"] == TRACE
