"""Names with what URLs give a meaning to are found: the server decodes filters twice."""

from pathlib import Path

import pytest
import yaml

from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer

NAMES = [
    "0.1.0+0236b97-eea2263a912b",
    "50% of tracks",
    "100%41",
    'two "quoted" words\'',
    "µ-opioïde ✓",
    "a&b=c#d?e/f\\g",
]
ROOT = ("-P", "data_root=/data")

each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def on_server(epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path) -> Command:
    """A command about the small pipeline."""
    return lambda command, *arguments: epilstm_pipeline(
        command, *arguments, "--host", kfp_server.url, *(("--package", package) if command in TAKES_PACKAGE else ())
    )


TAKES_PACKAGE = {"upload", "submit", "schedule"}


@each_name
def test_a_pipeline_is_found(on_server: Command, kfp_server: FakeKfpServer, package: Path, name: str) -> None:
    spec, platform = yaml.safe_load_all(package.read_text())
    spec["pipelineInfo"]["name"] = name
    package.write_text(yaml.safe_dump_all([spec, platform]))
    assert on_server("upload").json["created"]
    again = on_server("upload")
    assert again.code == 0, again.err
    assert again.json["created"] is False
    assert [item["display_name"] for item in kfp_server.pipelines.values()] == [name]


@each_name
def test_a_version_is_found(on_server: Command, kfp_server: FakeKfpServer, name: str) -> None:
    assert on_server("upload", "--version-name", name).json["created"]
    again = on_server("upload", "--version-name", name)
    assert again.code == 0, again.err
    assert again.json["created"] is False
    (version,) = kfp_server.versions.values()
    assert version["name"] == name
    assert on_server("submit", "--version", name, *ROOT).code == 0
    assert on_server("schedule", "nightly", "--interval", "1d", "--version", name, *ROOT).code == 0
    for item in (*kfp_server.runs.values(), *kfp_server.recurring_runs.values()):
        assert item["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]


@each_name
def test_an_experiment_is_found(on_server: Command, kfp_server: FakeKfpServer, name: str) -> None:
    for _ in range(2):
        submitted = on_server("submit", "--experiment", name, "--run-name", "r", *ROOT)
        assert submitted.code == 0, submitted.err
    assert [item["display_name"] for item in kfp_server.experiments.values()] == [name]
    assert [line["run"] for line in on_server("runs", "--experiment", name).lines] == ["r", "r"]


@each_name
def test_a_run_is_found(on_server: Command, kfp_server: FakeKfpServer, name: str) -> None:
    kfp_server.fail("POST /runs", carried_out=True, status=500)
    submitted = on_server("submit", "--run-name", name, *ROOT)
    assert submitted.code == 0, submitted.err
    assert len(kfp_server.runs) == 1
    found = on_server("status", name)
    assert found.json["run_id"] == submitted.json["run_id"]
    assert on_server("terminate", name).code == 0


@each_name
def test_a_schedule_is_found(on_server: Command, kfp_server: FakeKfpServer, name: str) -> None:
    on_server("upload")
    arguments = (name, "--interval", "1d", *ROOT)
    assert [on_server("schedule", *arguments).json["done"] for _ in range(2)] == ["created", "unchanged"]
    for action in ("disable", "enable", "delete"):
        assert on_server("schedule", name, f"--{action}").json["done"] == f"{action}d"
    assert not kfp_server.recurring_runs


def test_names_that_differ_in_case_alone_are_two(on_server: Command) -> None:
    first, second = (on_server("submit", "--run-name", name, *ROOT).json["run_id"] for name in ("Night", "night"))
    assert [on_server("status", name).json["run_id"] for name in ("Night", "night")] == [first, second]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("upload", "--version-name", "x" * 128), "--version-name 'xxx"),
        (("upload", "--version-name", "µ" * 64), "128 bytes long; servers take 127 at most"),
        (("upload", "--version-name", " "), "--version-name ' ': expected printable characters"),
        (("submit", "--experiment", "x" * 129), "--experiment 'xxx"),
        (("submit", "--run-name", "a\nb"), "--run-name 'a\\nb': expected printable characters"),
        (("schedule", "", "--interval", "1d"), "NAME '': expected printable characters"),
        (("runs", "--experiment", ""), "--experiment '': expected printable characters"),
        (("status", ""), "RUN '': expected printable characters"),
    ],
)
def test_a_name_that_no_server_takes_is_refused_before_anything_is_sent(
    on_server: Command, kfp_server: FakeKfpServer, arguments: tuple[str, ...], reason: str
) -> None:
    refused = on_server(*arguments)
    assert refused.code == 2
    assert reason in refused.error
    assert not kfp_server.requests
