"""``epilstm pipeline submit|status|runs|terminate``: runs that are started once, watched and ended."""

import json
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.files.outputs import sha256_file
from epilstm.params import TrainParams
from support.nonempty import nonempty
from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer, pod_of, tasks

ROOT = ("-P", "data_root=/data")
MISSING_RUN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def submit(epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path) -> Command:
    def run(*arguments: str) -> Any:
        return epilstm_pipeline("submit", "--host", kfp_server.url, "--package", package, *ROOT, *arguments)

    return run


def only_run(server: FakeKfpServer) -> dict[str, Any]:
    (run,) = server.runs.values()
    return run


def test_a_run_of_the_local_file_carries_it_and_its_parameters(
    submit: Command, kfp_server: FakeKfpServer, package: Path
) -> None:
    result = submit("-P", "train.epochs=3", "-P", "shards=2")
    assert result.code == 0, result.err
    run = only_run(kfp_server)
    documents = list(yaml.safe_load_all(package.read_text()))
    assert run["pipeline_spec"] == {"pipeline_spec": documents[0], "platform_spec": documents[1]}
    parameters = run["runtime_config"]["parameters"]
    assert parameters["data_root"] == "/data"
    assert parameters["shards"] == 2
    assert parameters["train"] == TrainParams(epochs=3, seed=1).model_dump(mode="json")
    (experiment,) = kfp_server.experiments.values()
    assert experiment["display_name"] == "epilstm"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert result.json["run_id"] == run["run_id"]
    assert result.json["link"] == f"{kfp_server.url}/#/runs/details/{run['run_id']}"


def test_params_yaml_of_the_working_directory_is_taken(submit: Command, kfp_server: FakeKfpServer) -> None:
    Path("params.yaml").write_text("train: {epochs: 7}\ningest: {samplesheet: mine.csv}\n")
    assert submit().code == 0
    parameters = only_run(kfp_server)["runtime_config"]["parameters"]
    assert parameters["train"]["epochs"] == 7
    assert parameters["samplesheet"] == "mine.csv"


def test_an_experiment_is_made_once(submit: Command, kfp_server: FakeKfpServer) -> None:
    for _ in range(2):
        assert submit("--experiment", "mine").code == 0
    assert [item["display_name"] for item in kfp_server.experiments.values()] == ["mine"]
    assert len(kfp_server.runs) == 2


def test_account_and_root_are_passed_on(submit: Command, kfp_server: FakeKfpServer) -> None:
    submit("--service-account", "runner", "--pipeline-root", "s3://bucket/kfp")
    run = only_run(kfp_server)
    assert run["service_account"] == "runner"
    assert run["runtime_config"]["pipeline_root"] == "s3://bucket/kfp"


def test_a_run_can_be_bound_to_a_registered_version(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path
) -> None:
    epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package, "--version-name", "v1")
    assert submit("--version", "v1").code == 0
    run = only_run(kfp_server)
    (version,) = kfp_server.versions.values()
    assert "pipeline_spec" not in run
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]


def test_a_run_gets_the_hash_of_the_file_that_it_carries(
    submit: Command, kfp_server: FakeKfpServer, package: Path
) -> None:
    assert submit().code == 0
    assert only_run(kfp_server)["runtime_config"]["parameters"]["ir_sha256"] == sha256_file(package)


def test_a_run_of_a_registered_version_gets_the_hash_of_what_was_uploaded(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path, other_package: Path
) -> None:
    epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package, "--version-name", "v1")
    uploaded = sha256_file(package)
    package.write_bytes(other_package.read_bytes())
    assert submit("--version", "v1").code == 0
    assert only_run(kfp_server)["runtime_config"]["parameters"]["ir_sha256"] == uploaded


def test_a_version_that_someone_else_uploaded_has_a_hash_if_it_is_the_local_file(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path, other_package: Path
) -> None:
    epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package, "--version-name", "v1")
    (version,) = kfp_server.versions.values()
    version["description"] = "uploaded in the user interface"
    submit("--version", "v1")
    assert only_run(kfp_server)["runtime_config"]["parameters"]["ir_sha256"] == sha256_file(package)
    kfp_server.runs.clear()
    package.write_bytes(other_package.read_bytes())
    submit("--version", "v1")
    assert "ir_sha256" not in only_run(kfp_server)["runtime_config"]["parameters"]


def test_a_version_that_is_not_registered_is_refused(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path
) -> None:
    assert "run epilstm pipeline upload" in submit("--version", "v1").error
    epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package, "--version-name", "v1")
    result = submit("--version", "v2")
    assert result.code == 1
    assert "has no version 'v2' on the server; the latest are v1" in result.error
    assert not kfp_server.runs


@pytest.mark.parametrize("assignment", ["nonsense=1", "train.epochs=x", "shards=many"])
def test_a_bad_parameter_is_refused_before_anything_is_sent(
    submit: Command, kfp_server: FakeKfpServer, assignment: str
) -> None:
    result = submit("-P", assignment)
    assert result.code == 2
    assert assignment.partition("=")[0] in result.error
    assert not kfp_server.requests


def test_a_dry_run_prints_the_run_and_sends_nothing(submit: Command, kfp_server: FakeKfpServer) -> None:
    planned = submit("--dry-run", "--run-name", "r")
    assert planned.code == 0
    assert not kfp_server.requests
    submit("--run-name", "r")
    experiment, run = planned.json["requests"]
    made = kfp_server.sent("POST /experiments")[0].body
    assert experiment["body"] == {key: value for key, value in made.items() if value}
    sent = kfp_server.sent("POST /runs")[0].body
    # What only the server or the moment knows.
    for body in (run["body"], sent):
        del body["experiment_id"], body["description"]
    assert run["body"] == sent


def test_an_alert_starts_the_run_that_submit_starts(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path
) -> None:
    chosen = ("--version", "v1", "-P", "train.epochs=3", "--dry-run")
    submitted = submit(*chosen, "--run-name", "r").json["requests"]
    receiver = ("--webhook-token-file", "token", "--journal", "journal.json")
    options = ("--host", kfp_server.url, "--package", package, *ROOT)
    alerted = epilstm_pipeline("retrain-on-alert", *receiver, *options, *chosen).json["requests"]
    for requests in (submitted, alerted):
        del requests[-1]["body"]["display_name"], requests[-1]["body"]["description"]
    assert alerted[-1]["body"] == submitted[-1]["body"]
    assert alerted[-1]["body"]["runtime_config"]["parameters"]["train"]["epochs"] == 3
    assert not kfp_server.requests


def test_every_command_has_a_dry_run_that_sends_nothing(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    for command in (("status", "x"), ("runs",), ("terminate", "x"), ("schedule", "--list")):
        result = epilstm_pipeline(*command, "--host", kfp_server.url, "--dry-run")
        assert result.code == 0
        assert result.json["requests"]
    assert not kfp_server.requests


# Submitted once


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 504}, {"hang_up": True}])
def test_a_run_whose_answer_was_lost_is_looked_up_and_not_started_twice(
    submit: Command, kfp_server: FakeKfpServer, fault: dict[str, Any]
) -> None:
    kfp_server.fail("POST /runs", carried_out=True, **fault)
    result = submit()
    assert result.code == 0, result.err
    assert len(kfp_server.sent("POST /runs")) == 1
    assert result.json["run_id"] == only_run(kfp_server)["run_id"]


def test_a_run_that_was_not_started_is_started_again(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("POST /runs", times=2, status=503)
    assert submit().code == 0
    assert len(kfp_server.runs) == 1
    assert len(kfp_server.sent("POST /runs")) == 3


def test_between_two_attempts_the_run_is_looked_up(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("POST /runs", status=503)
    submit()
    about_runs = [request.method for request in kfp_server.sent(" /runs")]
    assert about_runs == ["POST", "GET", "POST"]


def test_a_run_of_which_nobody_knows_is_reported_with_its_name(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("POST /runs", status=504)
    result = submit("--run-name", "lost")
    assert result.code == 1
    assert "look with epilstm pipeline status lost" in result.error
    assert len(kfp_server.sent("POST /runs")) == 1


def test_a_run_that_appears_after_the_time_out_is_found(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("POST /runs", carried_out=True, status=504)
    kfp_server.fail("GET /runs", status=200)  # answers that there is none
    assert submit().code == 0
    assert len(kfp_server.sent("POST /runs")) == 1


def test_a_run_of_the_same_name_from_another_submission_is_not_taken_for_this_one(
    submit: Command, kfp_server: FakeKfpServer
) -> None:
    submit("--run-name", "r")
    kfp_server.fail("POST /runs", status=503)
    assert submit("--run-name", "r").code == 0
    assert len(kfp_server.runs) == 2


# Waiting


def test_waiting_reports_each_change_of_a_task_as_a_line_of_json(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.script = [
        tasks("RUNNING", ingest="RUNNING"),
        tasks("RUNNING", ingest="SUCCEEDED", train="RUNNING"),
        tasks("SUCCEEDED", ingest="SUCCEEDED", train="SUCCEEDED"),
    ]
    result = submit("--wait", "--poll", "0.1", "--run-name", "r")
    assert result.code == 0, result.err
    changes = [json.loads(line) for line in result.err.splitlines()]
    assert [line["message"] for line in changes] == [
        "ingest: RUNNING",
        "run r: RUNNING",
        "ingest: SUCCEEDED",
        "train: RUNNING",
        "train: SUCCEEDED",
        "run r: SUCCEEDED",
    ]
    assert result.lines[-1]["state"] == "SUCCEEDED"


def test_a_run_that_fails_fails_the_command_with_its_step_and_last_error_line(
    submit: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.script = [
        tasks("RUNNING", ingest="SUCCEEDED", train="RUNNING"),
        tasks("FAILED", ingest="SUCCEEDED", train="FAILED", embed="NOT_REACHED"),
    ]
    kfp_server.logs[pod_of("train", attempt=2)] = "loading\nerror: --matrix: no such folder\n\n"
    result = submit("--wait", "--poll", "0.1", "--run-name", "r")
    assert result.code == 1
    assert "run r failed at step train: error: --matrix: no such folder; http" in result.error


def test_a_failure_whose_log_is_gone_still_names_the_step(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.script = [tasks("FAILED", train="FAILED")]
    failed = submit("--wait", "--poll", "0.1").error
    assert "failed at step train: its log is gone: the cluster has neither pod " + pod_of("train", attempt=2) in failed


def test_a_run_that_is_terminated_fails_the_command(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.script = [tasks("CANCELED", train="CANCELED")]
    result = submit("--wait", "--poll", "0.1")
    assert result.code == 1
    assert "was terminated" in result.error


def test_a_server_that_is_away_for_a_while_does_not_end_the_wait(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.script = [tasks("RUNNING", train="RUNNING"), tasks("SUCCEEDED", train="SUCCEEDED")]
    kfp_server.fail(r"GET /runs/\w", times=12, status=503)
    result = submit("--wait", "--poll", "0.1")
    assert result.code == 0
    assert "still waiting" in result.err


def test_an_expired_token_while_waiting_says_that_the_run_continues(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail(r"GET /runs/\w", status=401)
    result = submit("--wait", "--poll", "0.1")
    assert result.code == 1
    assert "the run continues: epilstm pipeline status" in result.error


def test_a_run_that_is_deleted_while_it_is_waited_for_is_reported(submit: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.script = [tasks("RUNNING", train="RUNNING"), lambda run: kfp_server.runs.clear()]
    deleted = submit("--wait", "--poll", "0.1")
    assert deleted.code == 1
    assert "is not there any more, somebody deleted it" in deleted.error


def test_ctrl_c_while_waiting_leaves_the_run_and_says_how_to_end_it(submit: Command, kfp_server: FakeKfpServer) -> None:
    def press(_: dict[str, Any]) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    kfp_server.script = [tasks("RUNNING", train="RUNNING"), press, press]
    result = submit("--wait", "--poll", "0.1")
    run = only_run(kfp_server)
    assert result.code == 130
    assert f"epilstm pipeline terminate {run['run_id']}" in result.error
    assert f"epilstm pipeline status {run['run_id']} --wait" in result.error
    assert run["state"] == "RUNNING"
    assert not kfp_server.sent("terminate")


# Looking and ending


def test_a_run_is_found_by_its_identifier_and_by_its_name(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.script = [tasks("FAILED", ingest="SUCCEEDED", train="FAILED")]
    kfp_server.logs[pod_of("train", attempt=2)] = "boom"
    submit("--run-name", "r")
    for reference in ("r", only_run(kfp_server)["run_id"]):
        result = epilstm_pipeline("status", reference, "--host", kfp_server.url)
        assert result.code == 0
        assert result.json["state"] == "FAILED"
        assert [(step["step"], step["state"]) for step in result.json["steps"]] == [
            ("ingest", "SUCCEEDED"),
            ("train", "FAILED"),
        ]
        assert [(failure["step"], failure["error"]) for failure in result.json["failures"]] == [("train", "boom")]


def test_status_can_wait_and_fails_with_the_run(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.script = [tasks("RUNNING", train="RUNNING"), tasks("FAILED", train="FAILED")]
    kfp_server.logs[pod_of("train", attempt=2)] = "boom"
    submit("--run-name", "r")
    result = epilstm_pipeline("status", "r", "--wait", "--poll", "0.1", "--host", kfp_server.url)
    assert result.code == 1
    assert "failed at step train: boom" in result.error


def test_a_name_that_two_runs_have_is_refused_with_their_identifiers(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    for _ in range(2):
        submit("--run-name", "r")
    result = epilstm_pipeline("terminate", "r", "--host", kfp_server.url)
    assert result.code == 1
    assert all(run_id in result.error for run_id in nonempty(kfp_server.runs))
    assert not kfp_server.sent("terminate")


@pytest.mark.parametrize(("reference", "reason"), [("nobody", "there is no run 'nobody'"), (MISSING_RUN, "not found")])
def test_a_run_that_does_not_exist_is_reported(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, reference: str, reason: str
) -> None:
    for command in ("status", "terminate"):
        result = epilstm_pipeline(command, reference, "--host", kfp_server.url)
        assert result.code == 1
        assert reason in result.error


def test_a_run_is_ended(submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    submit("--run-name", "r")
    kfp_server.fail("terminate", status=503)
    assert epilstm_pipeline("terminate", "r", "--host", kfp_server.url).code == 0
    assert only_run(kfp_server)["state"] == "CANCELING"
    only_run(kfp_server)["state"] = "CANCELED"
    assert "has ended already: CANCELED" in epilstm_pipeline("terminate", "r", "--host", kfp_server.url).error


def test_a_run_that_is_being_ended_can_be_ended_again(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    submit("--run-name", "r")
    for _ in range(2):
        ended = epilstm_pipeline("terminate", "r", "--host", kfp_server.url)
        assert ended.code == 0, ended.err
        assert ended.json["state"] == "CANCELING"


@pytest.mark.parametrize("fault", [{"status": 503}, {"hang_up": True}])
def test_a_termination_whose_answer_was_lost_counts(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, fault: dict[str, Any]
) -> None:
    submit("--run-name", "r")
    kfp_server.fail("terminate", carried_out=True, **fault)
    ended = epilstm_pipeline("terminate", "r", "--host", kfp_server.url)
    assert ended.code == 0, ended.err


def test_the_latest_runs_come_first_from_as_many_pages_as_it_takes(
    submit: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.page_limit = 2
    for number in range(5):
        submit("--run-name", f"r{number}", "--experiment", "odd" if number % 2 else "even")
    result = epilstm_pipeline("runs", "--limit", "4", "--host", kfp_server.url)
    assert [line["run"] for line in result.lines] == ["r4", "r3", "r2", "r1"]
    result = epilstm_pipeline("runs", "--experiment", "odd", "--host", kfp_server.url)
    assert [line["run"] for line in result.lines] == ["r3", "r1"]
    assert "no experiment 'none'" in epilstm_pipeline("runs", "--experiment", "none", "--host", kfp_server.url).error


def test_names_of_runs_are_not_given_twice(submit: Command, kfp_server: FakeKfpServer) -> None:
    for _ in range(3):
        submit()
    names = {run["display_name"] for run in kfp_server.runs.values()}
    assert len(names) == 3
    assert all(re.fullmatch(r"small-\d{8}-\d{6}-[0-9a-f]{6}", name) for name in nonempty(names))
