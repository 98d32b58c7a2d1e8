"""What the roll-out does to the InferenceService, in git and through the Kubernetes API."""

from __future__ import annotations

import copy
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from epilstm.errors import PipelineError
from epilstm.pipelines.lifecycle import serving
from epilstm.pipelines.lifecycle.serving import Place, patch_service, service_patch
from epilstm.pipelines.task.data_root import DataRoot
from epilstm.registry.rollout import Rollout, Served
from support.manifests.rendered_manifests import MANIFESTS, kustomize, one
from support.strict_schemas import schema_errors

SERVICE = yaml.safe_load((MANIFESTS / "serving/base/inference-service.yaml").read_text())
TRITON = {
    "metadata": {"name": "epilstm-encoder"},
    "spec": {"predictor": {"minReplicas": 2, "model": {"storageUri": "pvc://epilstm-data/serving/encoder/triton"}}},
}

VOLUME = Place(DataRoot("/data", Path("/data"), Path("/tmp")), "epilstm-data")
BUCKET = Place(DataRoot("s3://bucket/epilstm", Path("/scratch"), Path("/tmp")), "")

ONE = Served(version="v1.0.0", revision="a" * 40, encoder_fingerprint="b" * 64)
TWO = Served(version="v1.1.0", revision="c" * 40, encoder_fingerprint="d" * 64)
STABLE = Rollout(artifact="encoder", stable=ONE)
CANARY = Rollout(artifact="encoder", stable=ONE, canary=TWO, canary_percent=10)


def patched(service: dict[str, Any], content: Rollout, place: Place = VOLUME) -> dict[str, Any]:
    return jsonpatch.apply_patch(service, service_patch(content, place, service))


def model_of(predictor: dict[str, Any]) -> str:
    [uri] = [entry["value"] for entry in predictor["containers"][0]["env"] if entry["name"] == "STORAGE_URI"]
    return uri


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        (VOLUME, "pvc://epilstm-data/serving/encoder-v1.0.0"),
        (Place(DataRoot("/data/team", Path("/data/team"), Path("/tmp")), "x"), "pvc://x/team/serving/encoder-v1.0.0"),
        (BUCKET, "s3://bucket/epilstm/serving/encoder-v1.0.0"),
    ],
    ids=["volume", "folder of a volume", "bucket"],
)
def test_the_service_takes_the_version_from_under_the_data_root(place, uri):
    assert model_of(patched(SERVICE, STABLE, place)["spec"]["predictor"]) == uri


def test_all_traffic_changes_the_model_and_nothing_else():
    after = patched(SERVICE, STABLE)
    after["spec"]["predictor"]["containers"][0]["env"] = SERVICE["spec"]["predictor"]["containers"][0]["env"]
    assert after == SERVICE


def test_a_canary_is_the_same_server_with_the_new_model_and_its_share():
    spec = patched(SERVICE, CANARY)["spec"]
    [canary] = spec["canary"]
    assert canary["trafficPercent"] == 10
    assert model_of(spec["predictor"]) == "pvc://epilstm-data/serving/encoder-v1.0.0"
    assert model_of(canary["predictor"]) == "pvc://epilstm-data/serving/encoder-v1.1.0"
    same = copy.deepcopy(canary["predictor"]["containers"])
    same[0]["env"] = spec["predictor"]["containers"][0]["env"]
    assert same == spec["predictor"]["containers"]
    assert spec["predictor"]["minReplicas"] - canary["predictor"]["minReplicas"] == 2


def test_a_canary_ends_where_all_traffic_is_to_go_to_one():
    ended = patched(patched(SERVICE, CANARY), STABLE)
    assert "canary" not in ended["spec"]
    assert ended == patched(SERVICE, STABLE)


@pytest.mark.parametrize("content", [STABLE, CANARY], ids=["stable", "canary"])
def test_the_same_patch_again_changes_nothing(content):
    once = patched(SERVICE, content)
    assert patched(once, content) == once


@pytest.mark.parametrize("content", [STABLE, CANARY], ids=["stable", "canary"])
def test_the_patched_service_is_one_that_kserve_takes(content):
    assert schema_errors(patched(SERVICE, content)) == []


def test_triton_is_pointed_to_its_repository_within_the_encoder():
    spec = patched(TRITON, CANARY)["spec"]
    assert spec["predictor"]["model"]["storageUri"] == "pvc://epilstm-data/serving/encoder-v1.0.0/triton"
    assert spec["canary"][0]["predictor"]["model"]["storageUri"] == "pvc://epilstm-data/serving/encoder-v1.1.0/triton"


def test_a_service_that_names_no_model_is_reported():
    service = {"metadata": {"name": "other"}, "spec": {"predictor": {"containers": [{"name": "x"}]}}}
    with pytest.raises(PipelineError, match="InferenceService other: names no model"):
        service_patch(STABLE, VOLUME, service)


@pytest.mark.parametrize("place", [VOLUME, BUCKET], ids=["pvc", "s3"])
def test_the_kustomization_in_git_renders_to_the_patched_service(place, tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    folder = tmp_path / serving.FOLDER
    folder.mkdir(parents=True)
    (folder / "rollout.yaml").write_text(yaml.safe_dump(service_patch(CANARY, place, SERVICE)))
    (folder / "kustomization.yaml").write_text(serving._kustomization("epilstm-encoder", place))
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    service = one(list(yaml.safe_load_all(done.stdout)), "InferenceService")
    assert model_of(service["spec"]["predictor"]) == place.uri("encoder", "v1.0.0")
    assert model_of(service["spec"]["canary"][0]["predictor"]) == place.uri("encoder", "v1.1.0")
    assert schema_errors(service) == []


# Through the API

PATH = "/apis/serving.kserve.io/v1beta1/namespaces/team/inferenceservices/epilstm-encoder"


class FakeKServe:
    """A Kubernetes API server with one InferenceService; `refuse` is an answer given to a patch."""

    def __init__(self) -> None:
        self.service = copy.deepcopy(SERVICE)
        self.requests: list[str] = []
        self.refuse: tuple[int, str] | None = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
                status, content = fake.respond(self.command, self.path, self.headers.get("Content-Type"), body)
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PATCH = answer

            def log_message(self, *arguments: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def respond(self, method: str, path: str, kind: str | None, body: Any) -> tuple[int, Any]:
        self.requests.append(f"{method} {path}")
        if path != PATH:
            return 404, {"message": f"inferenceservices {path.rpartition('/')[2]} not found"}
        if method == "PATCH":
            if self.refuse:
                return self.refuse[0], {"message": self.refuse[1]}
            assert kind == "application/json-patch+json"
            self.service = jsonpatch.apply_patch(self.service, body)
        return 200, self.service


@pytest.fixture
def kserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKServe]:
    fake = FakeKServe()
    url = f"http://127.0.0.1:{fake.server.server_address[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "team"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"), raising=True
    )
    yield fake
    fake.server.shutdown()


def test_the_service_in_the_cluster_is_patched_with_two_requests(kserve):
    patch_service("epilstm-encoder", CANARY, VOLUME)
    assert kserve.service == patched(SERVICE, CANARY)
    assert kserve.requests == [f"GET {PATH}", f"PATCH {PATH}"]


def test_a_canary_is_ended_in_the_cluster(kserve):
    patch_service("epilstm-encoder", CANARY, VOLUME)
    patch_service("epilstm-encoder", STABLE, VOLUME)
    assert kserve.service == patched(SERVICE, STABLE)


def test_a_service_that_is_not_there_is_reported_in_one_line(kserve):
    with pytest.raises(PipelineError, match=r"InferenceService team/absent cannot be read: 404: .*absent not found"):
        patch_service("absent", STABLE, VOLUME)


def test_what_the_cluster_refuses_is_reported_in_one_line(kserve):
    kserve.refuse = (403, "inferenceservices is forbidden")
    with pytest.raises(PipelineError, match="team/epilstm-encoder cannot be changed: 403: inferenceservices is forb"):
        patch_service("epilstm-encoder", STABLE, VOLUME)
    assert kserve.service == SERVICE
