"""The steps of a run and why they failed, from the server's rows and the logs of pods: recorded runs and scripted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer, pod_of, tasks
from support.pipelines.recordings_of import recorded_run

FAILED, CACHED, SKIPPED = "run_failed_after_retries", "run_succeeded_partly_cached", "run_succeeded_condition_skipped"
#: The three attempts of `plan` in the recorded run that failed: WORKFLOW-TEMPLATE-HASH of each.
PLAN_PODS = [
    f"epilstm-training-13-retry-system-container-impl-{hashed}" for hashed in (2567191844, 3036818081, 1023356706)
]
NEVER_REACHED = ["ingest", "preprocess", "train", "export", "embed", "evaluate", "promote", "report"]


@pytest.fixture
def status(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> Command:
    """``status`` of a recorded run."""

    def ask(name: str, *arguments: str) -> Any:
        run = recorded_run(name)
        kfp_server.runs[run["run_id"]] = run
        return epilstm_pipeline("status", run["run_id"], *arguments, "--host", kfp_server.url)

    return ask


@pytest.fixture
def failed(epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path) -> Command:
    """``submit --wait`` of a run that ends with a script's states."""

    def run(*arguments: str, **states: str | list[str]) -> Any:
        kfp_server.script = [tasks("RUNNING"), tasks("FAILED", **states)]
        options = ("--host", kfp_server.url, "--package", package, "-P", "data_root=/data", "--run-name", "r")
        return epilstm_pipeline("submit", *options, "--wait", "--poll", "0.1", *arguments)

    return run


# Steps


def test_a_failed_run_shows_its_steps_and_nothing_around_them(status: Command) -> None:
    steps = status(FAILED).json["steps"]
    assert [(step["step"], step["state"]) for step in steps] == [
        ("champion", "SUCCEEDED"),
        ("plan", "FAILED"),
        *((name, "NOT_REACHED") for name in NEVER_REACHED),
    ]
    assert steps[1] == {
        "step": "plan",
        "part": None,
        "state": "FAILED",
        "cached": False,
        "started": "2026-11-29T18:12:12+00:00",
        "ended": "2026-11-29T18:12:14+00:00",
        "seconds": 2,
    }
    assert {steps[2][key] for key in ("started", "ended", "seconds")} == {None}


def test_parts_and_what_came_from_the_cache_are_reported(status: Command) -> None:
    steps = status(CACHED).json["steps"]
    ran = {"plan": 2, "changed": 1, "champion": 1, "promote": 4, "publish": 3, "rollout": 3}
    assert {step["step"]: step["seconds"] for step in steps if not step["cached"]} == ran
    parts = [f"{number} of 4" for number in (1, 2, 3, 4)]
    assert [(step["step"], step["part"]) for step in steps] == [
        *((name, None) for name in ("plan", "changed", "champion")),
        *(("ingest-part", part) for part in parts),
        ("ingest", None),
        *(("preprocess-part", part) for part in parts),
        *((name, None) for name in ("preprocess", "train", "export")),
        *(("embed-part", part) for part in parts),
        *((name, None) for name in ("embed", "evaluate", "promote", "report", "publish", "rollout")),
    ]
    assert {step["state"] for step in steps} == {"SUCCEEDED"}


def test_a_branch_that_was_not_taken_is_no_step(status: Command) -> None:
    steps = status(SKIPPED).json["steps"]
    assert [(step["step"], step["state"]) for step in steps] == [("plan", "SUCCEEDED"), ("changed", "SUCCEEDED")]


def test_records_of_the_cache_are_no_steps(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, failed: Command
) -> None:
    failed(ingest="CACHED", train="SUCCEEDED", embed=["CACHED", "SUCCEEDED"], report="FAILED")
    (run,) = kfp_server.runs.values()
    rows = run["run_details"]["task_details"]
    assert sum("display_name" not in row for row in rows) == 2
    steps = epilstm_pipeline("status", "r", "--host", kfp_server.url).json["steps"]
    assert [(step["step"], step["part"], step["cached"]) for step in steps] == [
        ("ingest", None, True),
        ("train", None, False),
        ("embed", "1 of 2", True),
        ("embed", "2 of 2", False),
        ("report", None, False),
    ]


def test_how_many_parts_there_are_is_reported_once_all_have_begun(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path
) -> None:
    kfp_server.script = [tasks("RUNNING", ingest_part=["SUCCEEDED", "RUNNING"])]
    options = ("--host", kfp_server.url)
    epilstm_pipeline("submit", *options, "--package", package, "-P", "data_root=/data", "--run-name", "r")
    steps = epilstm_pipeline("status", "r", *options).json["steps"]
    assert [(step["part"], step["state"]) for step in steps] == [("1", "SUCCEEDED"), ("2", "RUNNING")]
    assert steps[1]["seconds"] > 0
    assert steps[1]["ended"] is None


def test_a_terminal_shows_a_table_and_json_if_asked(status: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epilstm.pipelines.submit.answers.is_json", lambda as_json: as_json)
    monkeypatch.setenv("COLUMNS", "120")
    shown = status(CACHED).out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "step part state took" in lines
    assert "plan SUCCEEDED 0:00:02" in lines
    assert "ingest-part 2 of 4 SUCCEEDED, from the cache" in lines
    lines = [" ".join(line.split()) for line in status(FAILED).out.splitlines()]
    assert "step state took" in lines
    assert "plan FAILED 0:00:02" in lines
    assert "train not reached" in lines
    assert not any(name in "\n".join(lines) for name in ("executor", "root", "driver", "iteration", "None"))
    assert json.loads(status(CACHED, "--json").out)["state"] == "SUCCEEDED"


def test_on_a_terminal_the_parts_of_a_step_are_counted_while_it_is_waited_for(
    failed: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epilstm.pipelines.submit.watching.sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    outcome = failed(plan="SUCCEEDED", ingest_part=["CACHED", "FAILED", "SUCCEEDED"], ingest="NOT_REACHED")
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", outcome.err)
    lines = [" ".join(line.split()) for line in plain.splitlines()]
    assert "ingest-part 1 SUCCEEDED, from the cache; 1 FAILED; 1 SUCCEEDED 0:00:05" in lines
    assert "ingest not reached" in lines


# Why it failed


def test_the_last_attempt_s_log_reports_why_a_step_failed(status: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.logs = {pod: f"error: attempt {number}\n" for number, pod in enumerate(PLAN_PODS)}
    waited = status(FAILED, "--wait")
    assert waited.code == 1
    assert "run waited-fail failed at step plan: error: attempt 2; http" in waited.error
    assert status(FAILED).json["failures"] == [
        {"step": "plan", "part": None, "error": "error: attempt 2", "pod": PLAN_PODS[2]}
    ]


def test_the_failing_part_of_a_loop_is_named(failed: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.logs[pod_of("ingest-part", attempt=2, part=1)] = "error: tracks/a.bw: no such file"
    outcome = failed(ingest_part=["SUCCEEDED", "FAILED", "SUCCEEDED"], ingest="NOT_REACHED")
    assert "failed at step ingest-part, part 2 of 3: error: tracks/a.bw: no such file; http" in outcome.error


def test_of_several_that_failed_the_first_is_named_and_the_others_are_counted(
    failed: Command, kfp_server: FakeKfpServer
) -> None:
    for part in (0, 2):
        kfp_server.logs[pod_of("ingest-part", attempt=2, part=part)] = f"error: part {part}"
    outcome = failed(ingest_part=["FAILED", "SUCCEEDED", "FAILED"], ingest="NOT_REACHED")
    assert "failed at step ingest-part, part 1 of 3 (and 1 more): error: part 0; http" in outcome.error


def test_a_step_that_is_not_tried_again_has_its_log_in_a_pod_of_another_name(
    status: Command, kfp_server: FakeKfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = recorded_run(FAILED)["run_details"]["task_details"]
    executor = next(row for row in rows if row["display_name"] == "executor" and row["state"] == "FAILED")
    executor["child_tasks"] = []
    run = {**recorded_run(FAILED), "run_details": {"task_details": rows}}
    monkeypatch.setitem(globals(), "recorded_run", lambda name: run)
    # The hash of epilstm-training-13.root.plan.executor, as the row of `plan` has it.
    kfp_server.logs["epilstm-training-13-system-container-impl-88069445"] = "error: once"
    assert [failure["error"] for failure in status(FAILED).json["failures"]] == ["error: once"]


def test_a_driver_that_failed_is_distinguished_from_its_step(status: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run = recorded_run(FAILED)
    for row in run["run_details"]["task_details"]:
        if row["display_name"] == "train-driver":
            row["state"] = "FAILED"
        elif row["state"] == "FAILED" if "state" in row else False:
            row["state"] = "SUCCEEDED" if row["display_name"].startswith(("plan", "executor")) else "FAILED"
    monkeypatch.setitem(globals(), "recorded_run", lambda name: run)
    reason = "its log is not given; see kubectl describe workflow epilstm-training-13"
    assert f"failed at step train (its driver): {reason}" in status(FAILED, "--wait").error
    assert [step["step"] for step in status(FAILED).json["steps"]].count("train") == 1


def test_a_log_that_may_not_be_read_is_reported(failed: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("GET /runs/.*/log", status=403, message="PermissionDenied")
    outcome = failed(train="FAILED")
    assert "failed at step train: its log (pod small-x7k2p-" in outcome.error
    assert "cannot be read: " in outcome.error
    assert "not allowed (403): PermissionDenied" in outcome.error


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 404, "message": "Not Found"}, "its log is gone"),
        ({"status": 500, "message": "failed to read from the archive: NoSuchKey"}, "its log is gone"),
        ({"status": 500, "message": "too many open files"}, "cannot be read: "),
        ({"status": 200, "page": True, "times": 2}, "answers with a page"),
        ({"status": 302, "location": "https://login.example.org/"}, "redirects to https://login.example.org/"),
        ({"hang_up": True, "times": 99}, "cannot be read: "),
    ],
)
def test_what_keeps_a_log_from_being_read_is_reported_and_keeps_the_rest(
    failed: Command, kfp_server: FakeKfpServer, fault: dict[str, Any], reason: str
) -> None:
    kfp_server.logs[pod_of("train", attempt=2)] = "error: boom"
    kfp_server.fail("GET .*/logs?$", **fault)
    outcome = failed(train="FAILED")
    assert outcome.code == 1
    assert "run r failed at step train: " in outcome.error
    assert reason in outcome.error


def test_a_server_that_is_away_for_a_moment_is_asked_for_the_log_again(
    failed: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.logs[pod_of("train", attempt=2)] = "error: boom"
    kfp_server.fail("GET /runs/.*/log", times=2, status=503)
    assert "failed at step train: error: boom" in failed(train="FAILED").error


def test_logs_are_read_in_a_namespace_with_the_token(epilstm_pipeline: Command, tmp_path: Path, package: Path) -> None:
    (tmp_path / "token").write_text("secret-token")
    with FakeKfpServer(token="secret-token", namespaces=("team",)) as server:
        server.script = [tasks("FAILED", train="FAILED")]
        server.logs[pod_of("train", attempt=2)] = "error: boom"
        options = ("--host", server.url, "--namespace", "team", "--token-file", tmp_path / "token")
        submitted = epilstm_pipeline("submit", *options, "--package", package, "-P", "data_root=/d", "--wait")
        assert "failed at step train: error: boom" in submitted.error
        server.namespaces = ("others",)
        (run,) = server.runs
        assert "403" in epilstm_pipeline("status", run, *options).error


def test_logs_are_read_through_the_user_interface_where_the_api_is_behind_it(
    epilstm_pipeline: Command, package: Path
) -> None:
    with FakeKfpServer(namespaces=("team",), behind_ui=True) as server:
        options = ("--host", server.url, "--namespace", "team")
        submit = ("submit", *options, "--package", package, "-P", "data_root=/d", "--wait")
        server.script = [tasks("FAILED", train="FAILED")]
        assert "failed at step train: its log is gone" in epilstm_pipeline(*submit).error
        server.logs[pod_of("train", attempt=2)] = "error: boom"
        server.script = [tasks("FAILED", train="FAILED")]
        assert "failed at step train: error: boom" in epilstm_pipeline(*submit).error
        assert len(server.sent("GET /k8s/pod/logs")) == 2


def test_a_long_log_is_read_to_its_end(failed: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.logs[pod_of("train", attempt=2)] = "error: early\n" + "epoch done, loss 0.1\n" * 40_000 + "error: late\n"
    assert "failed at step train: error: late; http" in failed(train="FAILED").error


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "one\nerror: a.bw: no such file\nF1129 main.go:50] failed to execute component: exit status 1\n",
            "error: a.bw: no such file",
        ),
        ('{"level": "error", "message": "cannot be read"}\n{"level": "info", "message": "end"}\n', "cannot be read"),
        ("error: first\nTraceback (most recent call last):\n  x\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("epilstm.errors.DataError: broken\nlauncher ends\n", "epilstm.errors.DataError: broken"),
        ("epoch 3\nF1129 main.go:50] signal: killed\n\n", "F1129 main.go:50] signal: killed"),
        ("\x1b[31merror: \x1b[1mred\x1b[0m\x07\u202e\n", "error: red"),
        ("50%\r100%\rerror: at the end\r\n", "error: at the end"),
        ("error: " + "x" * 600, "error: " + "x" * 493 + "..."),
        ("\n \n", ""),
        ('{"level": "error", "message": \n', '{"level": "error", "message":'),
    ],
)
def test_the_last_line_of_error_is_found(log: str, line: str) -> None:
    from epilstm.pipelines.submit.log_lines import last_error_line

    assert last_error_line(log) == line


def test_a_run_of_many_parts_is_shown_at_once() -> None:
    from kfp_server_api import ApiClient

    from epilstm.pipelines.submit.run_steps import steps_of

    parts = 300
    run = {"run_id": "r"}
    tasks("SUCCEEDED", plan="SUCCEEDED", a=["SUCCEEDED"] * parts, b=["CACHED"] * parts, c="SUCCEEDED")(run)

    class Answer:
        data = json.dumps(run)

    rows = ApiClient().deserialize(Answer, "V2beta1Run").run_details.task_details
    steps = steps_of(rows, over=True)
    assert [step.part for step in steps if step.name == "a"] == [f"{number + 1} of {parts}" for number in range(parts)]
    assert {step.name for step in steps if step.cached} == {"b"}
