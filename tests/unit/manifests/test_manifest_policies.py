"""What the manifests must hold to beyond their schemas: pinned images, confined pods, few rights, names that agree."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from epilstm import __version__
from epilstm.pipelines.graphs.images import DEFAULT_REGISTRY, NAMES
from epilstm.pipelines.graphs.profiles import DATA_PATH, REGISTRY_VARIABLES, Cluster
from epilstm.pipelines.lifecycle import serving as rollout
from epilstm.pipelines.task import trainjob
from epilstm.pipelines.task.secret_variables import NAME
from support.manifests.rendered_manifests import CLUSTER, LOOSE, OVERLAYS, Document, one, pods, rendered
from support.nonempty import nonempty

ALL = [*OVERLAYS, *CLUSTER, *LOOSE]
PIPELINES = [overlay for overlay in OVERLAYS if overlay.startswith("pipelines/")]
SERVING = [overlay for overlay in OVERLAYS if overlay.startswith("serving/")]

OWN_IMAGES = {f"{DEFAULT_REGISTRY}/epilstm-{name}:{__version__}" for name in NAMES}

#: What a run's account may do, and the launcher's and the submitter's: (group, resource, name or None, verb).
RUN_MAY = {
    ("argoproj.io", "workflowtaskresults", None, "create"),
    ("argoproj.io", "workflowtaskresults", None, "patch"),
    ("argoproj.io", "workflowtasksets", None, "get"),
    ("argoproj.io", "workflowtasksets", None, "list"),
    ("argoproj.io", "workflowtasksets", None, "watch"),
    ("argoproj.io", "workflowtasksets/status", None, "patch"),
    ("", "pods", None, "get"),
    ("", "pods", None, "list"),
    ("", "configmaps", "kfp-launcher", "get"),
    ("", "secrets", "mlpipeline-minio-artifact", "get"),
}
LAUNCHER_MAY = {
    *((trainjob.GROUP, trainjob.PLURAL, None, verb) for verb in ("create", "get", "delete")),
    ("", "pods", None, "list"),
    ("", "pods/log", None, "get"),
}

ROLLOUT_MAY = {(rollout.GROUP, rollout.PLURAL, "epilstm-encoder", verb) for verb in ("get", "patch")}


def image_faults(pod: Document) -> list[str]:
    """Images that mean something else tomorrow."""
    images = [container["image"] for container in pod["containers"] if "image" in container]
    images += [f"triton:{container['runtimeVersion']}" for container in pod["containers"] if "image" not in container]
    return [image for image in images if re.search(r":latest$|^[^:@]*$|:$", image.rpartition("/")[2])]


def confinement_faults(pod: Document) -> list[str]:
    """What a pod may do to its node."""
    faults = []
    account = pod.get("securityContext", {})
    if account.get("runAsNonRoot") is not True or not account.get("runAsUser"):
        faults.append("may run as root")
    if account.get("seccompProfile") != {"type": "RuntimeDefault"}:
        faults.append("has no seccomp profile")
    if pod.get("automountServiceAccountToken") is not False:
        faults.append("carries a token")
    faults += [f"shares the host's {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    faults += [f"mounts {volume['name']} of the host" for volume in pod.get("volumes", []) if "hostPath" in volume]
    for container in pod["containers"]:
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            faults.append("may gain privileges")
        if context.get("readOnlyRootFilesystem") is not True:
            faults.append("may write to its image")
        if context.get("capabilities") != {"drop": ["ALL"]}:
            faults.append("has capabilities")
    return faults


def resource_faults(pod: Document) -> list[str]:
    """What a pod may take without having asked."""
    faults = []
    for container in pod["containers"]:
        resources = container.get("resources", {})
        faults += [f"requests no {name}" for name in ("cpu", "memory") if name not in resources.get("requests", {})]
        faults += ["limits no memory"] * ("memory" not in resources.get("limits", {}))
    return faults + [
        f"{volume['name']} may fill the node"
        for volume in pod.get("volumes", [])
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]
    ]


CHECKS = {"image": image_faults, "confinement": confinement_faults, "resources": resource_faults}


def all_pods(source: str) -> list[Document]:
    return [pod for document in rendered(source) for pod in pods(document)]


@pytest.mark.parametrize("source", ALL)
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_pods_are_pinned_confined_and_bounded(source, check):
    assert [check(pod) for pod in all_pods(source)] == [[] for _ in all_pods(source)]


VIOLATIONS: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "latest": (image_faults, ("containers", 0, "image"), "ghcr.io/epilstm/epilstm-serve:latest"),
    "no tag": (image_faults, ("containers", 0, "image"), "registry.example.org:5000/epilstm-serve"),
    "root": (confinement_faults, ("securityContext", "runAsNonRoot"), False),
    "uid 0": (confinement_faults, ("securityContext", "runAsUser"), 0),
    "seccomp": (confinement_faults, ("securityContext", "seccompProfile"), {"type": "Unconfined"}),
    "token": (confinement_faults, ("automountServiceAccountToken",), True),
    "host network": (confinement_faults, ("hostNetwork",), True),
    "host path": (confinement_faults, ("volumes", 0), {"name": "host", "hostPath": {"path": "/"}}),
    "privileged": (confinement_faults, ("containers", 0, "securityContext", "privileged"), True),
    "escalation": (confinement_faults, ("containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
    "writable": (confinement_faults, ("containers", 0, "securityContext", "readOnlyRootFilesystem"), False),
    "capability": (confinement_faults, ("containers", 0, "securityContext", "capabilities"), {"add": ["SYS_ADMIN"]}),
    "no request": (resource_faults, ("containers", 0, "resources"), {"limits": {"memory": "1Gi"}}),
    "no limit": (resource_faults, ("containers", 0, "resources"), {"requests": {"cpu": "1", "memory": "1Gi"}}),
    "endless scratch": (resource_faults, ("volumes", 0), {"name": "scratch", "emptyDir": {}}),
}


@pytest.mark.parametrize(("check", "path", "value"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_is_found(check, path, value):
    [pod] = copy.deepcopy(all_pods("serving/overlays/pvc"))
    part: Any = pod
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert check(pod) != []


@pytest.mark.parametrize("source", ALL)
def test_our_images_are_those_that_the_project_builds_in_its_version(source):
    images = {container.get("image", "") for pod in all_pods(source) for container in pod["containers"]}
    assert {image for image in images if "epilstm" in image} <= OWN_IMAGES


def granted(documents: list[Document], account: str) -> set[tuple[str, str, str | None, str]]:
    """What an account may do, over all its bindings."""
    rights = set()
    for binding in (document for document in documents if document["kind"] == "RoleBinding"):
        if account in {subject["name"] for subject in binding["subjects"]}:
            for rule in one(documents, "Role", binding["roleRef"]["name"])["rules"]:
                rights |= {
                    (group, resource, name, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for name in rule.get("resourceNames", [None])
                    for verb in rule["verbs"]
                }
    return rights


@pytest.mark.parametrize("overlay", PIPELINES)
def test_a_run_may_do_what_kfp_asks_of_it_and_no_more(overlay):
    extra = {"gpu": LAUNCHER_MAY, "retraining": ROLLOUT_MAY}.get(overlay.rpartition("/")[2], set())
    assert granted(rendered(overlay), "epilstm-pipeline") == RUN_MAY | extra


def test_a_submitter_touches_nothing_but_the_pipelines_api():
    rights = granted(rendered("pipelines/overlays/profile"), "epilstm-submitter")
    assert {group for group, *_ in rights} == {"pipelines.kubeflow.org"}
    for needed in ("pipelines/versions", "runs", "jobs", "experiments"):
        assert ("pipelines.kubeflow.org", needed, None, "create") in rights


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_is_given_everything(overlay):
    for document in nonempty(rendered(overlay)):
        assert not document["kind"].startswith("ClusterRole")
        for rule in document.get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert "secrets" not in rule["resources"] or rule.get("resourceNames")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_account_that_is_named_exists(overlay):
    documents = rendered(overlay)
    accounts = {document["metadata"]["name"] for document in documents if document["kind"] == "ServiceAccount"}
    named = {subject["name"] for document in documents for subject in document.get("subjects", [])}
    named |= {pod["serviceAccountName"] for pod in all_pods(overlay)}
    assert named == accounts


def test_only_what_the_administrator_applies_lies_outside_of_the_namespace():
    assert {document["kind"] for source in CLUSTER for document in rendered(source)} == {"ClusterTrainingRuntime"}
    kinds = {document["kind"] for overlay in OVERLAYS for document in rendered(overlay)}
    assert not {kind for kind in kinds if kind.startswith("Cluster")}


@pytest.mark.parametrize("overlay", PIPELINES)
def test_no_secret_comes_with_values(overlay):
    assert all(document["kind"] != "Secret" for document in nonempty(rendered(overlay)))
    [example] = rendered("pipelines/overlays/s3/secret.example.yaml")
    assert set(example["stringData"].values()) == {""}


def test_the_claim_and_the_secret_are_those_that_compiled_pipelines_mount():
    for overlay in ("pvc", "gpu", "profile", "retraining"):
        claim = one(rendered(f"pipelines/overlays/{overlay}"), "PersistentVolumeClaim")
        assert claim["metadata"]["name"] == Cluster().data_claim
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    [secret] = rendered("pipelines/overlays/s3/secret.example.yaml")
    assert secret["metadata"]["name"] == Cluster().s3_secret
    assert all(NAME.fullmatch(key) for key in secret["stringData"])
    [secret] = rendered("pipelines/overlays/retraining/secret.example.yaml")
    assert secret["metadata"]["name"] == Cluster().registry_secret
    assert set(secret["stringData"]) == set(REGISTRY_VARIABLES)


def test_the_shell_sees_the_data_where_tasks_do():
    [shell] = rendered("pipelines/data-shell.yaml")
    [container] = shell["spec"]["containers"]
    assert {"name": "data", "mountPath": DATA_PATH} in container["volumeMounts"]
    assert shell["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": Cluster().data_claim}


def test_our_runtime_has_what_train_jobs_patch():
    runtime = one(rendered("pipelines/cluster"), "ClusterTrainingRuntime")
    [job] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert job["name"] == trainjob.NODE
    assert job["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert [container["name"] for pod in pods(runtime) for container in pod["containers"]] == [trainjob.NODE]


def test_the_processes_of_a_train_job_reach_one_another():
    policy = one(rendered("pipelines/overlays/gpu"), "NetworkPolicy", "epilstm-training-among-itself")["spec"]
    assert policy["podSelector"] == {"matchExpressions": [{"key": trainjob.POD_LABEL, "operator": "Exists"}]}
    assert policy["ingress"] == [{"from": [{"podSelector": policy["podSelector"]}]}]


def service(overlay: str) -> Document:
    return one(rendered(f"serving/overlays/{overlay}"), "InferenceService")


def storage_uri(container: Document) -> str:
    [value] = [entry["value"] for entry in container["env"] if entry["name"] == "STORAGE_URI"]
    return value


def test_a_canary_is_the_stable_server_with_another_model():
    spec = service("canary")["spec"]
    [canary] = spec["canary"]
    [stable], [challenger] = spec["predictor"]["containers"], copy.deepcopy(canary["predictor"]["containers"])
    assert storage_uri(challenger) != storage_uri(stable)
    challenger["env"] = stable["env"]
    assert challenger == stable
    assert 0 < canary["trafficPercent"] < 50
    # KServe's webhook refuses autoscaling of a canary, and a canary without a name.
    assert set(canary["predictor"]) == {"name", "minReplicas", "containers"}
    assert spec["predictor"]["minReplicas"] - canary["predictor"]["minReplicas"] >= 2


@pytest.mark.parametrize("overlay", SERVING)
def test_the_server_stays_up_while_it_changes(overlay):
    documents = rendered(overlay)
    predictor = one(documents, "InferenceService")["spec"]["predictor"]
    assert predictor["minReplicas"] >= 2
    assert predictor["deploymentStrategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = one(documents, "PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"] == {"serving.kserve.io/inferenceservice": "epilstm-encoder"}
    assert budget["maxUnavailable"] < predictor["minReplicas"]


@pytest.mark.parametrize("overlay", SERVING)
def test_rest_comes_first_and_the_network_lets_in_what_the_server_listens_on(overlay):
    documents = rendered(overlay)
    predictor = one(documents, "InferenceService")["spec"]["predictor"]
    container = predictor.get("model") or predictor["containers"][0]
    assert container["ports"][0] == {"name": "http1", "containerPort": 8080, "protocol": "TCP"}
    [rule] = one(documents, "NetworkPolicy")["spec"]["ingress"]
    assert {port["containerPort"] for port in container["ports"]} <= {port["port"] for port in rule["ports"]}


def test_replicas_follow_the_requests_in_flight():
    predictor = service("autoscaling")["spec"]["predictor"]
    assert service("autoscaling")["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
    [metric] = predictor["autoScaling"]["metrics"]
    [name] = re.findall(r"epilstm_\w+", metric["external"]["metric"]["query"])
    assert predictor["minReplicas"] < predictor["maxReplicas"]
    metrics = pytest.importorskip("epilstm.serving.server.metrics", reason="the server is not there yet")
    assert f"# TYPE {name} gauge" in metrics.ServerMetrics().text().decode()


def test_triton_serves_the_exported_repository():
    model = service("triton")["spec"]["predictor"]["model"]
    assert model["storageUri"].endswith("/triton")
    assert "containers" not in service("triton")["spec"]["predictor"]
