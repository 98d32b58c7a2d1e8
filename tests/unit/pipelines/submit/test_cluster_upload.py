"""``epilstm pipeline upload``: versions that never change."""

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from epilstm import __version__
from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer


def test_a_new_pipeline_is_registered_with_one_version_named_after_its_content(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path
) -> None:
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert result.code == 0, result.err
    (pipeline,), (version,) = kfp_server.pipelines.values(), kfp_server.versions.values()
    assert pipeline["display_name"] == "small"
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert re.fullmatch(rf"{re.escape(__version__)}\+(\w+)(\.dirty)?-{digest[:12]}", version["display_name"])
    assert digest in version["description"]
    documents = list(yaml.safe_load_all(package.read_text()))
    assert version["pipeline_spec"] == {"pipeline_spec": documents[0], "platform_spec": documents[1]}
    assert result.json["created"]
    assert result.json["version_id"] == version["pipeline_version_id"]
    assert result.json["link"].endswith(
        f"/#/pipelines/details/{pipeline['pipeline_id']}/version/{version['pipeline_version_id']}"
    )


def test_the_same_content_again_changes_nothing_and_says_so(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path
) -> None:
    first = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    again = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert again.code == 0
    assert again.json == {**first.json, "created": False}
    assert len(kfp_server.versions) == 1


def test_other_content_becomes_another_version_of_the_same_pipeline(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path, other_package: Path
) -> None:
    for file in (package, other_package):
        assert epilstm_pipeline("upload", "--host", kfp_server.url, "--package", file).code == 0
    assert len(kfp_server.pipelines) == 1
    assert len({version["display_name"] for version in kfp_server.versions.values()}) == 2


def test_a_version_that_exists_with_other_content_is_refused(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path, other_package: Path
) -> None:
    name = ("--version-name", "v1")
    epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package, *name)
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", other_package, *name)
    assert result.code == 1
    assert "version v1 of pipeline small is on the server with other content" in result.error
    assert len(kfp_server.versions) == 1


def test_the_version_is_found_behind_other_pages(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path, other_package: Path
) -> None:
    kfp_server.page_limit = 1
    for file in (package, other_package):
        epilstm_pipeline("upload", "--host", kfp_server.url, "--package", file)
    again = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", other_package)
    assert again.json["created"] is False


def test_a_pipeline_whose_version_is_refused_is_taken_away_again(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path
) -> None:
    kfp_server.fail("POST /pipelines/upload_version", status=400, message="the pipeline is not valid")
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert result.code == 1
    assert "the pipeline is not valid" in result.error
    assert not kfp_server.pipelines


def test_a_pipeline_left_without_a_version_is_completed_by_the_next_upload(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path
) -> None:
    kfp_server.fail("POST /pipelines/upload_version", status=400)
    kfp_server.fail("DELETE /pipelines", status=403)
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert result.code == 1
    assert "run the same command again" in result.err
    assert len(kfp_server.pipelines) == 1
    assert epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package).code == 0
    assert len(kfp_server.pipelines) == len(kfp_server.versions) == 1


@pytest.mark.parametrize("request_", ["POST /pipelines$", "POST /pipelines/upload_version"])
def test_a_server_error_then_success_registers_once(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path, request_: str
) -> None:
    kfp_server.fail(request_, times=2, status=503)
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert result.code == 0, result.err
    assert len(kfp_server.pipelines) == len(kfp_server.versions) == 1


@pytest.mark.parametrize("request_", ["POST /pipelines$", "POST /pipelines/upload_version"])
@pytest.mark.parametrize("fault", [{"status": 500}, {"hang_up": True}])
def test_what_was_done_though_the_answer_was_lost_is_not_done_twice(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path, request_: str, fault: dict
) -> None:
    kfp_server.fail(request_, carried_out=True, **fault)
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert result.code == 0, result.err
    assert len(kfp_server.sent(request_)) == 1
    assert len(kfp_server.pipelines) == len(kfp_server.versions) == 1


def test_a_pipeline_goes_into_the_namespace(epilstm_pipeline: Command, package: Path) -> None:
    with FakeKfpServer(namespaces=("team",)) as server:
        result = epilstm_pipeline("upload", "--host", server.url, "--package", package, "--namespace", "team")
        assert result.code == 0, result.err
        (pipeline,) = server.pipelines.values()
        assert pipeline["namespace"] == "team"


def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, package: Path
) -> None:
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package, "--dry-run")
    assert result.code == 0
    assert not kfp_server.requests
    planned = result.json["requests"]
    epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    posted = kfp_server.sent("POST")
    assert [request["path"] for request in planned] == [request.path for request in posted]
    assert planned[0]["body"] == posted[0].body
    assert planned[1]["query"]["name"] == posted[1].query["name"]
    assert planned[1]["file"]["sha256"] == hashlib.sha256(posted[1].body["uploadfile"]).hexdigest()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "expected one YAML mapping"),
        ("- a list", "expected one YAML mapping"),
        ("a: [", "not YAML"),
        ("schemaVersion: 2.1.0\nroot: {}", "has no pipelineInfo"),
    ],
)
def test_a_file_that_is_no_compiled_pipeline_is_refused_before_anything_is_sent(
    kfp_server: FakeKfpServer, epilstm_pipeline: Command, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", tmp_path / "bad.yaml")
    assert result.code == 1
    assert reason in result.error
    assert not kfp_server.requests


def test_an_unknown_pipeline_is_refused(kfp_server: FakeKfpServer, epilstm_pipeline: Command) -> None:
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--pipeline", "nonsense")
    assert result.code == 1
    assert "no compiled pipeline 'nonsense'" in result.error


def test_an_unknown_profile_is_refused_and_those_compiled_are_named(tmp_path: Path) -> None:
    from epilstm.errors import PipelineError
    from epilstm.pipelines.compile.packages import read_package

    for profile in ("cpu", "spot"):
        (tmp_path / f"training-{profile}.yaml").write_text("")
    with pytest.raises(PipelineError, match="no compiled profile 'tpu'; it has cpu, spot"):
        read_package("training", "tpu", tmp_path)
