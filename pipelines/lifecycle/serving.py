"""The roll-out: encoders copied to where they are served from, the InferenceService, and the same in git.

A patch (RFC 6902) of the InferenceService says which model it takes and how much of the traffic a new one gets. It is
sent to the cluster, and committed beside a kustomization that applies it, so that `kubectl apply -k` and tools that
follow a git repository apply the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from epilstm.console import log
from epilstm.errors import PipelineError
from epilstm.files.outputs import MANIFEST, fingerprint, to_json
from epilstm.pipelines.graphs.profiles import DATA_PATH
from epilstm.pipelines.lifecycle.clone import fresh_clone, in_new_clones
from epilstm.pipelines.task import storage
from epilstm.pipelines.task.data_root import DataRoot
from epilstm.pipelines.task.kubernetes_api import api_errors, connect
from epilstm.registry import fetching, publication
from epilstm.registry.repository import NO_OBJECT, Repository
from epilstm.registry.rollout import Rollout, rollout
from epilstm.registry.versions import Registered

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"

#: Folder of the repository that the roll-out commits to.
FOLDER = f"{publication.FOLDER}/serving"

#: The service's manifest, and overlays over it, in the repository.
SERVICE_FILE = "manifests/serving/base/inference-service.yaml"
OVERLAYS = "manifests/serving/overlays"

#: Replicas of a canary, beside the stable ones.
CANARY_REPLICAS = 1


@dataclass(frozen=True)
class Place:
    """Where encoders are served from.

    Parameters
    ----------
    claim : str
        Volume claim that the data root is on; empty in a bucket.
    """

    root: DataRoot
    claim: str

    def name(self, artifact: str, version: str) -> str:
        """Folder of a version, under the data root."""
        return f"serving/{artifact}-{version}"

    def uri(self, artifact: str, version: str) -> str:
        """What KServe takes as ``STORAGE_URI``."""
        path = self.root.absolute(self.name(artifact, version))
        if self.root.remote:
            return path
        inside = re.sub(rf"^{re.escape(DATA_PATH)}/", "", path).lstrip("/")
        return f"pvc://{self.claim}/{inside}"

    @property
    def overlay(self) -> str:
        """Overlay of manifests/serving that fits."""
        return f"{OVERLAYS}/{'s3' if self.root.remote else 'pvc'}"


@dataclass(frozen=True)
class Order:
    """What to roll out.

    Parameters
    ----------
    canary_percent : int
        Share of the traffic for the champion, the one before serving the rest; 100 for all.
    rollback : str
        Reason to make the champion before champion again; empty to leave it.
    run : str
        Identifier of the run: a task of it that is tried again does not go back twice.
    """

    canary_percent: int = 100
    rollback: str = ""
    run: str = ""


def roll_out(url: str, branch: str, place: Place, service: str, order: Order) -> Rollout:
    """Let serving follow the registry. Doing it again changes nothing.

    Parameters
    ----------
    url, branch : str
        Git repository of the registry, and the branch that says what is served.
    service : str
        InferenceService to patch; empty if serving follows the branch.

    Returns
    -------
    Rollout
        What is served then.

    Raises
    ------
    RegistryError
        There is no champion, or none to go back to; the registry or the DVC remote cannot be reached.
    RefsTaken
        Others changed the branch each time.
    PipelineError
        The cluster refuses the patch.
    """

    def attempt() -> Rollout:
        with fresh_clone(url, branch) as repository:
            registered = publication.current(repository)
            if order.rollback and not _went_back(registered, order):
                registered = publication.rollback(repository, reason=_reason(order))
            content = rollout(repository, registered, 100 if order.rollback else order.canary_percent)
            for served in (content.stable, content.canary):
                if served is not None:
                    bring(repository, content.artifact, served.version, served.encoder_fingerprint, place)
            commit(repository, branch, content, place)
            return content

    content = in_new_clones(f"rolling out from {url}", attempt)
    if service:
        patch_service(service, content, place)
    share = f", {content.canary.version} with {content.canary_percent} % of the traffic" if content.canary else ""
    log.info(f"served: {content.stable.version}{share}")
    return content


def _reason(order: Order) -> str:
    return f"{order.rollback} (run {order.run})" if order.run else order.rollback


def _went_back(registered: Registered, order: Order) -> bool:
    messages = [each.tag.message for each in registered.assignments]
    return bool(order.run) and any(f"(run {order.run})" in message for message in messages)


def bring(repository: Repository, artifact: str, version: str, identity: str, place: Place) -> None:
    """Put a version's encoder where it is served from; a complete one stays.

    Raises
    ------
    RegistryError, DataError
        It cannot be fetched, or not be written there.
    """
    root, name = place.root, place.name(artifact, version)
    root.check_writable()
    target = root.folder / name
    if root.remote:
        there = storage.sizes(root.absolute(name))
        manifest = storage.read(storage.join(root.absolute(name), MANIFEST)) if there else None
        fetching.fetch(str(repository.root), version, target)
        sizes = storage.sizes(str(target))
        if there == sizes and manifest == (target / MANIFEST).read_bytes():
            return
        storage.upload(target, [each for each in sizes if each != MANIFEST], root.absolute(name))
        storage.upload(target, [MANIFEST], root.absolute(name))
    else:
        fetching.fetch(str(repository.root), version, target)
    if fingerprint(target) != identity:
        raise PipelineError(f"{root.absolute(name)}: is not encoder {version}; delete that folder and run it again")


def commit(repository: Repository, branch: str, content: Rollout, place: Place) -> None:
    """Say in git what is served, for those who follow the branch.

    Raises
    ------
    RefsTaken
        Another one was faster.
    """
    tip = repository.commit_of(f"refs/remotes/{repository.remote}/{branch}")
    parent = tip or repository.head()
    files: dict[str, bytes | None] = {
        f"{FOLDER}/rollout.json": to_json(content.model_dump(mode="json")).encode(),
    }
    manifest = repository.read(parent, SERVICE_FILE)
    if manifest is not None:
        service = yaml.safe_load(manifest)
        files[f"{FOLDER}/rollout.yaml"] = yaml.safe_dump(
            service_patch(content, place, service), sort_keys=False, width=120
        ).encode()
        files[f"{FOLDER}/kustomization.yaml"] = _kustomization(service["metadata"]["name"], place).encode()
    made = repository.make_commit(parent, files, f"Serve {content.artifact} {_named(content)}")
    if made != tip:
        repository.publish({f"refs/heads/{branch}": made}, {f"refs/heads/{branch}": tip or NO_OBJECT})


def _named(content: Rollout) -> str:
    return content.stable.version if content.canary is None else f"{content.stable.version}, {content.canary.version}"


def _kustomization(service: str, place: Place) -> str:
    resource: dict[str, Any] = {"resources": [f"../../{place.overlay}"]}
    target: dict[str, Any] = {
        "patches": [{"target": {"kind": "InferenceService", "name": service}, "path": "rollout.yaml"}]
    }
    head: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return (
        "# What is served; the roll-out writes it. Put other settings into the overlay below it.\n"
        f"{yaml.safe_dump({**head, **resource, **target}, sort_keys=False)}"
    )


def service_patch(content: Rollout, place: Place, service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The patch (RFC 6902) that makes an InferenceService serve a roll-out.

    Parameters
    ----------
    service : mapping
        The InferenceService as it is.

    Raises
    ------
    PipelineError
        It says nowhere which model it takes.
    """
    predictor = service["spec"]["predictor"]
    model = _model_path(predictor, str(service["metadata"]["name"]))
    stable = place.uri(content.artifact, content.stable.version)
    operations: list[dict[str, Any]] = [
        *([{"op": "test", "path": f"/spec/predictor{model.guard}", "value": "STORAGE_URI"}] if model.guard else []),
        {"op": "replace", "path": f"/spec/predictor{model.uri}", "value": f"{stable}{model.suffix}"},
    ]
    before = service["spec"].get("canary") or []
    replicas = predictor.get("minReplicas", 1) - sum(each["predictor"].get("minReplicas", 1) for each in before)
    if content.canary is not None:
        canary = place.uri(content.artifact, content.canary.version)
        own = {"name": "canary", "minReplicas": CANARY_REPLICAS}
        operations += [
            # KServe takes the canary's replicas out of these.
            {"op": "add", "path": "/spec/predictor/minReplicas", "value": replicas + CANARY_REPLICAS},
            {
                "op": "add",
                "path": "/spec/canary",
                "value": [{"trafficPercent": content.canary_percent, "predictor": own}],
            },
            {"op": "copy", "from": f"/spec/predictor{model.whole}", "path": f"/spec/canary/0/predictor{model.whole}"},
            {"op": "replace", "path": f"/spec/canary/0/predictor{model.uri}", "value": f"{canary}{model.suffix}"},
        ]
    elif before:
        operations += [
            {"op": "replace", "path": "/spec/predictor/minReplicas", "value": replicas},
            {"op": "remove", "path": "/spec/canary"},
        ]
    return operations


@dataclass(frozen=True)
class _ModelPath:
    """Where a predictor names its model: pointers under the predictor."""

    whole: str
    uri: str
    guard: str = ""
    suffix: str = ""


def _model_path(predictor: Mapping[str, Any], service: str) -> _ModelPath:
    if "model" in predictor:
        # The exported encoder folder holds a Triton repository.
        suffix = "/triton" if str(predictor["model"].get("storageUri", "")).endswith("/triton") else ""
        return _ModelPath("/model", "/model/storageUri", suffix=suffix)
    for container, content in enumerate(predictor.get("containers") or []):
        for number, entry in enumerate(content.get("env") or []):
            if entry["name"] == "STORAGE_URI":
                entry_path = f"/containers/{container}/env/{number}"
                return _ModelPath("/containers", f"{entry_path}/value", f"{entry_path}/name")
    raise PipelineError(f"InferenceService {service}: names no model; give its container STORAGE_URI")


def patch_service(name: str, content: Rollout, place: Place) -> None:
    """Send the patch to the cluster, in the namespace of this pod.

    Raises
    ------
    PipelineError
        There is no such service, or the cluster refuses.
    """
    from kubernetes import client

    api_client, namespace = connect()
    services = client.CustomObjectsApi(api_client)
    where = (GROUP, VERSION, namespace, PLURAL, name)
    with api_errors(f"InferenceService {namespace}/{name} cannot be read"):
        service: dict[str, Any] = services.get_namespaced_custom_object(*where)
    with api_errors(f"InferenceService {namespace}/{name} cannot be changed"):
        # The client's own method says that every patch of a custom object is a merge patch.
        api_client.call_api(
            f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}",
            "PATCH",
            header_params={"Content-Type": "application/json-patch+json", "Accept": "application/json"},
            body=service_patch(content, place, service),
            response_type="object",
            auth_settings=["BearerToken"],
        )
    log.info(f"InferenceService {namespace}/{name}: changed")
