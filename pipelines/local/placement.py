"""What a compiled pipeline asks of a cluster that one machine does not have, and what it takes from secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from epilstm.errors import PipelineError
from epilstm.pipelines.compile.packages import Package

#: Module of the task that starts a TrainJob.
LAUNCHER = "epilstm.pipelines.task.trainjob"


def refuse_cluster_only(package: Package) -> None:
    """Refuse a pipeline that needs what only a cluster has.

    Raises
    ------
    PipelineError
        Names the task and what it asks for.
    """
    for name, container in _containers(package):
        words = [word for word in container.get("args", ()) if isinstance(word, str)]
        reason = ""
        if any(LAUNCHER in word for word in words):
            reason = "starts a TrainJob, which Kubeflow Trainer runs"
        elif "accelerator" in container.get("resources", {}):
            reason = "asks for an accelerator of a node"
        elif "nodeSelector" in _placed(package, name):
            reason = "asks for nodes with a label"
        if reason:
            raise PipelineError(
                f"{package.file_name}: task {name} {reason}; a local run takes profile cpu, which "
                "uses what this machine has"
            )


def secret_variables(package: Package) -> tuple[str, ...]:
    """Variables that tasks get from secrets on a cluster: those of the registry, and those of object stores."""
    named = {
        each["envVar"]
        for name, _ in _containers(package)
        for secret in _placed(package, name).get("secretAsEnv", ())
        for each in secret.get("keyToEnv", ())
    }
    stores = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")
    return (*sorted(named), *stores)


def _containers(package: Package) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for label, executor in package.spec["deploymentSpec"]["executors"].items():
        if "container" in executor:
            yield label.removeprefix("exec-"), executor["container"]


def _placed(package: Package, name: str) -> Mapping[str, Any]:
    """What is particular to Kubernetes about a task's pod."""
    kubernetes = package.platform_spec.get("platforms", {}).get("kubernetes", {})
    placed: Mapping[str, Any] = kubernetes.get("deploymentSpec", {}).get("executors", {}).get(f"exec-{name}", {})
    return placed
