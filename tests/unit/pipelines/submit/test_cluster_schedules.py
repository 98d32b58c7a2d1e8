"""``epilstm pipeline schedule``: one recurring run per name, bound to a version."""

import threading
from pathlib import Path
from signal import SIGINT, pthread_kill
from typing import Any

import pytest

from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer

DAILY = ("--cron", "0 3 * * *")


@pytest.fixture
def schedule(epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path) -> Command:
    """``schedule`` for a pipeline whose version is registered."""
    assert epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package).code == 0
    kfp_server.requests.clear()

    def run(*arguments: str) -> Any:
        options = ("--host", kfp_server.url, "--package", package, "-P", "data_root=/data")
        return epilstm_pipeline("schedule", *arguments, *options)

    return run


def only_schedule(server: FakeKfpServer) -> dict[str, Any]:
    (found,) = server.recurring_runs.values()
    return found


def test_a_schedule_is_bound_to_the_registered_version_and_carries_its_parameters(
    schedule: Command, kfp_server: FakeKfpServer
) -> None:
    result = schedule("nightly", *DAILY, "-P", "train.epochs=3", "--max-concurrency", "2", "--no-catchup")
    assert result.code == 0, result.err
    found, (version,) = only_schedule(kfp_server), kfp_server.versions.values()
    assert "pipeline_spec" not in found
    assert found["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert found["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert found["runtime_config"]["parameters"]["train"]["epochs"] == 3
    assert version["display_name"].endswith(f"-{found['runtime_config']['parameters']['ir_sha256'][:12]}")
    assert (found["max_concurrency"], found["no_catchup"], found["status"]) == ("2", True, "ENABLED")
    assert result.json["done"] == "created"
    assert "from '0 3 * * *'; the first field is seconds" in result.json["when"]


def test_an_interval_is_sent_in_seconds(schedule: Command, kfp_server: FakeKfpServer) -> None:
    assert schedule("often", "--interval", "6h").code == 0
    assert only_schedule(kfp_server)["trigger"] == {"periodic_schedule": {"interval_second": "21600"}}


def test_the_same_schedule_again_changes_nothing(schedule: Command, kfp_server: FakeKfpServer) -> None:
    first = schedule("nightly", *DAILY)
    again = schedule("nightly", *DAILY)
    assert again.json["done"] == "unchanged"
    assert again.json["schedule_id"] == first.json["schedule_id"]
    assert len(kfp_server.sent("POST /recurringruns")) == 1


def test_a_changed_schedule_replaces_the_old_one(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    result = schedule("nightly", "--cron", "0 4 * * *")
    assert result.json["done"] == "replaced"
    assert only_schedule(kfp_server)["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * *"}}


def test_the_new_one_is_there_before_the_old_one_goes(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    kfp_server.requests.clear()
    schedule("nightly", "--interval", "1d")
    changes = [request.method for request in kfp_server.sent(" /recurringruns") if request.method != "GET"]
    assert changes == ["POST", "DELETE"]


def test_a_disabled_schedule_that_is_set_again_fires_again(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    schedule("nightly", "--disable")
    assert only_schedule(kfp_server)["status"] == "DISABLED"
    assert schedule("nightly", *DAILY).json["done"] == "replaced"
    assert only_schedule(kfp_server)["status"] == "ENABLED"


def test_schedules_of_other_names_stay(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    schedule("weekly", "--interval", "1w")
    schedule("weekly", "--interval", "2w")
    assert sorted(item["display_name"] for item in kfp_server.recurring_runs.values()) == ["nightly", "weekly"]


def test_a_recurring_run_that_somebody_else_made_is_left_alone(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    only_schedule(kfp_server)["description"] = "made by hand"
    for command in (("nightly", "--interval", "1d"), ("nightly", "--delete"), ("nightly", "--disable")):
        assert schedule(*command).code == 1
    assert "was not made by epilstm" in schedule("nightly", "--interval", "1d").error
    assert only_schedule(kfp_server)["status"] == "ENABLED"


# What breaks in between


def test_a_new_one_that_is_refused_leaves_the_old_one(schedule: Command, kfp_server: FakeKfpServer) -> None:
    first = schedule("nightly", *DAILY)
    kfp_server.fail("POST /recurringruns", status=400, message="quota")
    assert "quota" in schedule("nightly", "--interval", "1d").error
    assert list(kfp_server.recurring_runs) == [first.json["schedule_id"]]


def test_an_old_one_that_cannot_be_deleted_stays_and_the_new_one_is_taken_back(
    schedule: Command, kfp_server: FakeKfpServer
) -> None:
    first = schedule("nightly", *DAILY)
    kfp_server.fail("DELETE", status=403, message="no")
    result = schedule("nightly", "--interval", "1d")
    assert result.code == 1
    assert "schedule nightly stays as it was" in result.error
    assert list(kfp_server.recurring_runs) == [first.json["schedule_id"]]


def test_two_that_cannot_be_undone_are_reported_and_swept_up_by_the_next_call(
    schedule: Command, kfp_server: FakeKfpServer
) -> None:
    first = schedule("nightly", *DAILY)
    kfp_server.fail("DELETE", times=2, status=403)
    result = schedule("nightly", "--interval", "1d")
    assert result.code == 1
    assert first.json["schedule_id"] in result.error
    assert "both fire until the same command is run again" in result.error
    assert len(kfp_server.recurring_runs) == 2
    assert "there more than once" in schedule("--list").err
    assert schedule("nightly", "--interval", "1d").code == 0
    assert "periodic_schedule" in only_schedule(kfp_server)["trigger"]


def test_a_deletion_whose_answer_was_lost_counts(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    kfp_server.fail("DELETE", carried_out=True, hang_up=True)
    assert schedule("nightly", "--interval", "1d").code == 0
    assert "periodic_schedule" in only_schedule(kfp_server)["trigger"]


@pytest.mark.parametrize("fault", [{"status": 502}, {"hang_up": True}])
def test_a_creation_whose_answer_was_lost_is_not_repeated(
    schedule: Command, kfp_server: FakeKfpServer, fault: dict[str, Any]
) -> None:
    schedule("nightly", *DAILY)
    kfp_server.fail("POST /recurringruns", carried_out=True, **fault)
    assert schedule("nightly", "--interval", "1d").code == 0
    assert "periodic_schedule" in only_schedule(kfp_server)["trigger"]


def test_server_errors_then_success_make_one(schedule: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("POST /recurringruns", times=2, status=503)
    kfp_server.fail("GET /recurringruns", times=2, status=503)
    assert schedule("nightly", *DAILY).code == 0
    only_schedule(kfp_server)


def test_ctrl_c_in_between_never_leaves_none(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    carry_out = kfp_server._carry_out

    def press(request: Any) -> Any:
        if request.method == "DELETE":
            pthread_kill(threading.main_thread().ident or 0, SIGINT)
        return carry_out(request)

    kfp_server._carry_out = press  # type: ignore[method-assign]
    result = schedule("nightly", "--interval", "1d")
    assert result.code in {0, 130}
    assert "nightly" in result.err
    kfp_server._carry_out = carry_out  # type: ignore[method-assign]
    assert kfp_server.recurring_runs
    assert schedule("nightly", "--interval", "1d").code == 0
    assert "periodic_schedule" in only_schedule(kfp_server)["trigger"]


# Refused before anything is sent


@pytest.mark.parametrize(
    ("arguments", "reason", "code"),
    [
        (("nightly", "--cron", "0 3 31 2 *"), "never fires", 2),
        (("nightly", "--cron", "TZ=Europe/Berlin 0 3 * * *"), "give the hour in UTC", 2),
        (("nightly", "--interval", "soon"), "--interval 'soon'", 2),
        (("nightly",), "either --cron or --interval", 2),
        (("nightly", *DAILY, "--interval", "1d"), "either --cron or --interval", 2),
        (("nightly", *DAILY, "--delete"), "takes neither", 2),
        (DAILY, "give the NAME", 2),
        (("nightly", *DAILY, "--max-concurrency", "11"), "11 is not in the range", 2),
        (("nightly", *DAILY, "-P", "nonsense=1"), "no such parameter", 2),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    schedule: Command, kfp_server: FakeKfpServer, arguments: tuple[str, ...], reason: str, code: int
) -> None:
    result = schedule(*arguments)
    assert result.code == code
    assert reason in result.error
    assert not kfp_server.requests


def test_an_expression_that_the_server_refuses_is_reported_in_its_words(
    schedule: Command, kfp_server: FakeKfpServer
) -> None:
    refused = schedule("nightly", "--cron", "99 3 * * *")
    assert refused.code == 1
    assert "400: Failed to create a recurring run due to conversion error" in refused.error
    assert "above maximum (59): 99" in refused.error
    assert not kfp_server.recurring_runs


def test_content_that_is_not_registered_is_refused(
    schedule: Command, epilstm_pipeline: Command, kfp_server: FakeKfpServer, other_package: Path
) -> None:
    result = epilstm_pipeline(
        "schedule", "n", *DAILY, "--host", kfp_server.url, "--package", other_package, "-P", "data_root=/data"
    )
    assert result.code == 1
    assert "is not on the server: run epilstm pipeline upload" in result.error
    assert not kfp_server.recurring_runs
    assert not kfp_server.experiments


def test_the_same_content_registered_from_another_commit_is_taken(schedule: Command, kfp_server: FakeKfpServer) -> None:
    (version,) = kfp_server.versions.values()
    version["display_name"] = "0.0.1+abcdef0-" + version["display_name"][-12:]
    assert schedule("nightly", *DAILY).code == 0


def test_a_dry_run_prints_the_schedule_and_sends_nothing(schedule: Command, kfp_server: FakeKfpServer) -> None:
    planned = schedule("nightly", *DAILY, "--dry-run")
    assert planned.code == 0
    assert not kfp_server.requests
    schedule("nightly", *DAILY)
    body = next(request["body"] for request in planned.json["requests"] if request["path"].endswith("/recurringruns"))
    sent = kfp_server.sent("POST /recurringruns")[0].body
    for content in (body, sent):
        del content["experiment_id"], content["pipeline_version_reference"], content["description"]
    assert body == sent


# The other actions


def test_schedules_are_listed(schedule: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.page_limit = 1
    schedule("weekly", "--interval", "1w")
    schedule("nightly", *DAILY)
    schedule("nightly", "--disable")
    listed = schedule("--list").lines
    assert [(item["schedule"], item["when"], item["enabled"]) for item in listed] == [
        ("nightly", "cron 0 0 3 * * * UTC", False),
        ("weekly", "every 604800 s", True),
    ]


def test_a_schedule_is_disabled_enabled_and_deleted(schedule: Command, kfp_server: FakeKfpServer) -> None:
    schedule("nightly", *DAILY)
    kfp_server.fail(":disable", status=503)
    assert schedule("nightly", "--disable").code == 0
    assert only_schedule(kfp_server)["status"] == "DISABLED"
    assert schedule("nightly", "--enable").code == 0
    assert only_schedule(kfp_server)["status"] == "ENABLED"
    assert schedule("nightly", "--delete").json["done"] == "deleted"
    assert not kfp_server.recurring_runs


@pytest.mark.parametrize("action", ["--disable", "--enable", "--delete"])
def test_a_schedule_that_does_not_exist_is_reported(schedule: Command, action: str) -> None:
    schedule("weekly", "--interval", "1w")
    result = schedule("nightly", action)
    assert result.code == 1
    assert "there is no schedule 'nightly'; there are weekly" in result.error


# Retraining


def test_retraining_is_scheduled_with_its_registry_and_its_canary(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    chosen = ("--host", kfp_server.url, "--pipeline", "retraining", "--profile", "cpu")
    assert epilstm_pipeline("upload", *chosen).code == 0
    given = ("-P", "registry=https://git.example.org/team/epilstm.git", "-P", "canary_percent=10")
    result = epilstm_pipeline("schedule", "weekly", "--cron", "0 3 * * 1", "--no-catchup", *chosen, *given)
    assert result.code == 0, result.err
    parameters = only_schedule(kfp_server)["runtime_config"]["parameters"]
    assert parameters["registry"] == "https://git.example.org/team/epilstm.git"
    assert parameters["canary_percent"] == 10
    assert "promote" in parameters


def test_retraining_without_a_registry_is_not_scheduled(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    chosen = ("--host", kfp_server.url, "--pipeline", "retraining", "--profile", "cpu")
    assert epilstm_pipeline("upload", *chosen).code == 0
    result = epilstm_pipeline("schedule", "weekly", "--cron", "0 3 * * 1", *chosen)
    assert result.code != 0
    assert "the pipeline needs registry (STRING): give it with -P registry=..." in result.err
    assert not kfp_server.recurring_runs
