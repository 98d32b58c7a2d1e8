"""The stand-in answers recorded requests as the server did."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from support.pipelines.fake_kfp_server import FakeKfpServer
from support.pipelines.recordings_of import NAMES, recorded_run, recording

PIPELINE = "670cd165-7e27-4bb1-9cba-8f7c072b92d9"
SPEC = {
    "pipelineInfo": {"name": "small"},
    "root": {
        "inputDefinitions": {
            "parameters": {"simulate": {"parameterType": "STRUCT"}, "data_root": {"parameterType": "STRING"}}
        }
    },
}
#: What the recorded requests sent, which is not kept.
FILES = {"upload_not_a_pipeline": b"just: text"}


@pytest.fixture
def recorded_server(kfp_server: FakeKfpServer) -> FakeKfpServer:
    """With what the recorded server held."""
    for item in recording("pipelines_all")["answer"]["pipelines"]:
        kfp_server.pipelines[item["pipeline_id"]] = item
    for item in recording("versions")["answer"]["pipeline_versions"]:
        kfp_server.versions[item["pipeline_version_id"]] = {**item, "pipeline_spec": SPEC}
    for item in recording("recurring_runs")["answer"]["recurringRuns"]:
        kfp_server.recurring_runs[item["recurring_run_id"]] = item
    for name in NAMES:
        if name.startswith("run_") and recording(name)["status"] == 200:
            kfp_server.runs[recorded_run(name)["run_id"]] = recorded_run(name)
    return kfp_server


def ask(server: FakeKfpServer, name: str) -> tuple[int, Any]:
    """Send a recorded request; status and answer."""
    asked = recording(name)["request"]
    headers, body = {}, asked["body"] and json.dumps(asked["body"]).encode()
    if "/upload" in asked["path"]:
        content = FILES.get(name, json.dumps(SPEC).encode())
        headers = {"Content-Type": "multipart/form-data; boundary=xx"}
        body = (
            b'--xx\r\nContent-Disposition: form-data; name="uploadfile"; filename="p"\r\n\r\n%b\r\n--xx--\r\n' % content
        )
    request = urllib.request.Request(server.url + asked["path"], body, headers, method=asked["method"])
    try:
        with urllib.request.urlopen(request) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def without_specs(answer: Any) -> Any:
    """An answer without the compiled pipelines, which are not recorded."""
    if isinstance(answer, dict):
        return {key: without_specs(value) for key, value in answer.items() if key != "pipeline_spec"}
    return [without_specs(item) for item in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("name", [name for name in NAMES if recording(name)["request"]["method"] == "GET"])
def test_what_is_read_is_what_was_recorded(recorded_server: FakeKfpServer, name: str) -> None:
    status, answer = ask(recorded_server, name)
    recorded = recording(name)
    assert status == recorded["status"]
    if name == "healthz":
        answer, recorded["answer"] = answer["multi_user"], recorded["answer"]["multi_user"]
    if status == 404:
        answer, recorded["answer"] = refusal(answer), refusal(recorded["answer"])
    if name.startswith("pipelines") or name == "recurring_runs":
        for items in (answer, recorded["answer"]):
            for item in items.get("pipelines", []):
                item.pop("created_at")
    assert without_specs(answer) == without_specs(recorded["answer"])


@pytest.mark.parametrize("name", [name for name in NAMES if recording(name)["request"]["method"] != "GET"])
def test_what_is_written_is_answered_in_the_recorded_form(recorded_server: FakeKfpServer, name: str) -> None:
    status, answer = ask(recorded_server, name)
    recorded = recording(name)
    assert status == recorded["status"]
    if status != 200:
        assert refusal(answer) == refusal(recorded["answer"])
    else:
        assert answer["display_name"] == recorded["answer"]["display_name"]
        assert set(recorded["answer"]) - set(answer) <= {"experiment_id", "pipeline_version_reference"}


def refusal(answer: Any) -> Any:
    """The form of a refusal, with its reason but without the words around it."""
    if isinstance(answer, str):
        return answer
    if "error_message" in answer:
        return sorted(answer), answer["error_message"]
    return sorted(answer), answer["code"], [(about["code"], about["message"]) for about in answer.get("details", [])]
