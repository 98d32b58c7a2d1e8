"""The step's line, kfp's executor input and output, the ROC curve, storage: without processes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epilstm.errors import DataError, ParamsError, PipelineError
from epilstm.pipelines.task import command, storage
from epilstm.pipelines.task.data_root import open_data_root
from epilstm.pipelines.task.executor import Executor, flat_numbers
from epilstm.pipelines.task.line import StepLine, parse_section
from epilstm.pipelines.task.outcome import require_made_by
from epilstm.pipelines.task.roc import POINTS, confidence_metrics
from epilstm.pipelines.task.step_process import StopSignals, command_of
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.runner import Interrupted
from epilstm.runtime.step_table import STEPS
from support.nonempty import nonempty


@pytest.mark.parametrize("name", STEPS)
def test_the_line_that_a_step_writes_is_read_back(name):
    step = STEPS[name]
    values = {port.name: f"<{port.name}>" for port in (*step.inputs, *step.outputs, *step.work)}
    flags = tuple(flag for flag, _ in step.flags)
    line = StepLine.parse(step.argv("{}", values, flags))
    assert (line.step, line.values, line.flags, line.part) == (step, values, flags, None)


def test_an_empty_value_counts_as_not_given():
    words = ["epilstm", "ingest", "--params", "{}", "--samplesheet", "a", "--signal", "b", "--regions"]
    line = StepLine.parse([*words, "", "--part", ""])
    assert (line.values, line.part) == ({"samplesheet": "a", "signal": "b"}, None)


def test_a_run_without_tasks_gives_empty_ones_and_an_empty_champion_is_none(tmp_path):
    paths = dict.fromkeys(("matrix", "model", "encoder", "evaluation", "decision"), "x")
    paths |= {"tasks": "", "labels": "", "champion": str(tmp_path)}
    line = StepLine.parse(STEPS["promote"].argv("{}", paths))
    assert line.values.keys() == {"matrix", "model", "encoder", "evaluation", "decision"}


def test_labels_that_are_not_there_are_not_dropped(tmp_path):
    absent = str(tmp_path / "labels")
    paths = dict.fromkeys(("matrix", "model", "embeddings", "tasks", "evaluation"), "x") | {"labels": absent}
    assert StepLine.parse(STEPS["evaluate"].argv("{}", paths)).values["labels"] == absent


@pytest.mark.parametrize(
    "words",
    [[], ["epilstm"], ["epilstm", "params"], ["sh", "-c"], ["epilstm", "train", "--matrix"], ["epilstm", "train", "x"]],
)
def test_what_is_no_steps_line_is_refused(words):
    with pytest.raises(ParamsError):
        StepLine.parse(words)


def test_a_port_without_a_value_is_named():
    with pytest.raises(ParamsError, match="step train: --matrix is required: matrix dataset"):
        StepLine.parse(["epilstm", "train", "--model", "m"])


def test_whole_numbers_of_a_struct_are_integers_again():
    section = parse_section("train", '{"epochs": 3.0, "learning_rate": 1.0, "dropout": 0.5}').model_dump()
    assert (section["epochs"], section["learning_rate"], section["dropout"]) == (3, 1.0, 0.5)


def test_what_is_not_an_executor_input_is_refused():
    for text in ("", "[]", '{"outputs": {"artifacts": {"a": {}}}}', '{"outputs": {"parameters": {"a": 1}}}'):
        with pytest.raises(ParamsError, match="executor input"):
            Executor.parse(text)


def test_an_artifact_keeps_its_name_uri_and_type_and_gets_metadata(tmp_path):
    given = {
        "name": "m",
        "uri": "s3://bucket/m",
        "type": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"},
        "metadata": {},
    }
    file = tmp_path / "out" / "executor_output.json"
    text = json.dumps({"outputs": {"artifacts": {"model": {"artifacts": [given]}}, "outputFile": str(file)}})
    executor = Executor.parse(text)
    executor.describe("model", {"fingerprint": "abc"})
    executor.describe("not declared", {"x": 1})
    executor.write()
    assert json.loads(file.read_text()) == {
        "artifacts": {"model": {"artifacts": [{**given, "metadata": {"fingerprint": "abc"}}]}}
    }


def test_parameters_are_text_or_json_and_only_those_that_are_declared(tmp_path):
    files = {name: {"outputFile": str(tmp_path / "new" / name)} for name in ("uri", "chromosomes")}
    executor = Executor.parse(json.dumps({"outputs": {"parameters": files}}))
    executor.set_output("uri", "s3://bucket/x")
    executor.set_output("chromosomes", ["chr1", "chr2"])
    executor.set_output("other", "x")
    assert (tmp_path / "new" / "uri").read_text() == "s3://bucket/x"
    assert json.loads((tmp_path / "new" / "chromosomes").read_text()) == ["chr1", "chr2"]
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_of_nested_metrics_the_finite_numbers_are_shown():
    metrics = {"a": 1, "b": {"c": 0.5, "d": None, "e": {"f": 2}}, "g": "text", "h": True, "i": math.inf, "j": [1]}
    assert flat_numbers(metrics) == {"a": 1, "b.c": 0.5, "b.e.f": 2}


def predictions(path: Path, labels: np.ndarray, scores: np.ndarray) -> Path:
    rows = [(name, label, score) for name in ("embedding", "raw") for label, score in zip(labels, scores, strict=True)]
    frame = pd.DataFrame(rows, columns=["representation", "label", "score"]).astype({"score": "float32"})
    frame.loc[frame["representation"] == "raw", "score"] = 0.5
    frame.to_parquet(path)
    return path


def test_each_point_of_the_roc_is_what_its_threshold_calls(tmp_path):
    draw = np.random.default_rng(1)
    labels = draw.random(5_000) < 0.3
    scores = (draw.random(5_000) * 0.7 + labels * 0.3).astype(np.float32)
    points = confidence_metrics(predictions(tmp_path / "p.parquet", labels, scores))
    assert 50 < len(points) <= POINTS
    for point in nonempty(points):
        called = scores.astype(float) >= point["confidenceThreshold"]
        assert point["recall"] == pytest.approx(called[labels].mean())
        assert point["falsePositiveRate"] == pytest.approx(called[~labels].mean())
    thresholds = [point["confidenceThreshold"] for point in points]
    assert np.all(np.diff(thresholds) < 0)
    assert np.isfinite(thresholds).all()
    assert (points[0]["recall"], points[-1]["recall"]) == (0, 1)
    assert (points[0]["falsePositiveRate"], points[-1]["falsePositiveRate"]) == (0, 1)


def test_labels_of_one_class_have_no_roc(tmp_path):
    path = predictions(tmp_path / "p.parquet", np.ones(5, dtype=bool), np.linspace(0, 1, 5))
    assert confidence_metrics(path) == []


def test_a_distributed_step_is_started_by_torchrun():
    words = STEPS["train"].argv("p", {"matrix": "m", "model": "o"})
    assert "--nproc-per-node=4" in command_of(STEPS["train"], words, 4)
    assert "torch.distributed.run" not in command_of(STEPS["train"], words, 1)
    assert command_of(STEPS["train"], words, 1, launcher="sh -c 'a b'")[:4] == ["sh", "-c", "a b", "epilstm"]


def test_a_signal_before_the_step_has_started_ends_the_task():
    with pytest.raises(Interrupted):
        StopSignals(STEPS["train"])(15, None)


def test_kubernetes_gets_the_last_error(tmp_path, monkeypatch):
    (tmp_path / "termination-log").touch()
    monkeypatch.setattr(command, "TERMINATION_LOG", tmp_path / "termination-log")
    with pytest.raises(DataError), command._reported_to_kubernetes():
        raise DataError("step train: no data")
    assert (tmp_path / "termination-log").read_text() == "error: step train: no data\n"


def test_credentials_in_a_uri_are_refused_and_not_repeated():
    with pytest.raises(ParamsError) as raised:
        storage.refuse_credentials("s3://key:secret@bucket/x")
    assert "secret" not in str(raised.value)
    storage.refuse_credentials("s3://bucket/a@b")
    storage.refuse_credentials("/data/a@b")


def test_a_fault_of_the_code_is_not_reported_as_one_of_the_storage():
    with pytest.raises(ZeroDivisionError), storage.errors_in_one_line("s3://bucket"):
        raise ZeroDivisionError


def test_a_volume_that_is_read_only_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with open_data_root(str(tmp_path)) as root, pytest.raises(DataError, match="not writable by user"):
        root.check_writable()


def test_outputs_that_other_code_made_where_it_was_launched_are_refused():
    here = step_fingerprint("train").sha256
    require_made_by("train", {"code": {"fingerprint": here}})
    with pytest.raises(PipelineError, match=f"step train: ran code 000000000000 where .* this image has {here[:12]}"):
        require_made_by("train", {"code": {"fingerprint": "0" * 64}})
