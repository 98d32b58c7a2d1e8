"""Training over several nodes: the step's line as a Kubeflow Trainer TrainJob, followed to its end.

``python -m epilstm.pipelines.task.trainjob OPTIONS -- epilstm train ...`` stands in for the line itself: it runs it
under torchrun in the job's pods, on the volume that they share, and puts the outputs where the line says.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epilstm import console
from epilstm.console import log
from epilstm.errors import EpilstmError, PipelineError
from epilstm.files.outputs import replacing, sha256_json
from epilstm.pipelines.task.kubernetes_api import api_errors, connect
from epilstm.runtime.runner import Interrupted, record_path
from epilstm.runtime.step_table import STEPS
from epilstm.runtime.telemetry.destinations import PUSHGATEWAY
from epilstm.runtime.telemetry.step_run import PIPELINE
from epilstm.trace_context import TRACEPARENT

if TYPE_CHECKING:
    from kubernetes import client

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"

#: Name that the Trainer's runtimes give the replicated job that trains, and its container.
NODE = "node"

#: Label by which the pods of a TrainJob are found; the Trainer makes a JobSet of the job's name.
POD_LABEL = "jobset.sigs.k8s.io/jobset-name"

#: Variables of the launcher that the nodes get: where they send metrics, and of which run.
TELEMETRY_VARIABLES = (PUSHGATEWAY, PIPELINE, TRACEPARENT)

#: Who asks for the job's patches of its runtime.
MANAGER = "epilstm.io/pipelines"

#: Answers of the Kubernetes API that may be others a moment later.
TRANSIENT = frozenset({0, 429, 500, 502, 503, 504})

#: Polls in a row that may fail before the job counts as lost.
PATIENCE = 10


@dataclass(frozen=True)
class JobSettings:
    """What a TrainJob asks of the cluster.

    Parameters
    ----------
    image, runtime : str
        Image of the step, and ClusterTrainingRuntime.
    nodes, accelerators : int
        Pods, and accelerators and processes in each.
    accelerator : str
        Resource name, and key of the taint.
    cpu, memory : str
        Of each pod.
    shared_memory, scratch : str
        Sizes of /dev/shm and /tmp.
    data_claim, data_path : str
        Volume claim, and where it is mounted.
    hours : int
        Time after which the job is stopped.
    node_labels : mapping of str to str
        Labels of the nodes.
    """

    image: str
    runtime: str
    nodes: int
    accelerator: str
    accelerators: int
    cpu: str
    memory: str
    shared_memory: str
    scratch: str
    data_claim: str
    data_path: str
    hours: int
    node_labels: Mapping[str, str]


def train_job(
    name: str,
    line: Sequence[str],
    settings: JobSettings,
    owner: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The manifest of a TrainJob.

    Parameters
    ----------
    name : str
        Name of the object.
    line : sequence of str
        The step's command line, ``epilstm train ...``; its paths are on the shared volume.
    settings : JobSettings
        What it asks for.
    owner : mapping of str to str, optional
        ``name`` and ``uid`` of the pod whose deletion deletes the job.
    environment : mapping of str to str, optional
        Variables of every process.
    """
    resources: dict[str, Any] = {"cpu": settings.cpu, "memory": settings.memory}
    if settings.accelerators:
        resources[settings.accelerator] = settings.accelerators
    container = {
        "name": NODE,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": settings.data_path},
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    pod: dict[str, Any] = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": settings.data_claim}},
            {"name": "scratch", "emptyDir": {"sizeLimit": settings.scratch}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
        ],
    }
    if settings.node_labels:
        pod["nodeSelector"] = dict(settings.node_labels)
    if settings.accelerators:
        pod["tolerations"] = [{"key": settings.accelerator, "operator": "Exists", "effect": "NoSchedule"}]
    job_template = {"spec": {"template": {"spec": pod}}}
    metadata: dict[str, Any] = {"name": name, "labels": {"app.kubernetes.io/name": "epilstm"}}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", **owner}]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": metadata,
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "ClusterTrainingRuntime", "name": settings.runtime},
            "activeDeadlineSeconds": settings.hours * 3600,
            "trainer": {
                "image": settings.image,
                # torchrun finds nodes, rank and meeting place in the environment that the Trainer gives it.
                "command": ["torchrun"],
                "args": ["-m", *line],
                "numNodes": settings.nodes,
                "numProcPerNode": max(1, settings.accelerators),
                "resourcesPerNode": {"requests": resources, "limits": resources},
                "env": [{"name": name, "value": value} for name, value in (environment or {}).items()],
            },
            "runtimePatches": [
                {
                    "manager": MANAGER,
                    "trainingRuntimeSpec": {
                        "template": {"spec": {"replicatedJobs": [{"name": NODE, "template": job_template}]}}
                    },
                }
            ],
        },
    }


@dataclass(frozen=True)
class SharedLine:
    """A step's line, brought onto the shared volume.

    Parameters
    ----------
    name : str
        Name of the job; the same for the same line, so that a second attempt finds the first one's job.
    words : tuple of str
        The line with absolute paths, params and outputs in `folder`.
    folder : Path
        What the job reads and writes besides its inputs and work folders.
    params : str
        Content of the params file.
    outputs : mapping of Path to Path
        Path of each output in `folder` -> its path in the line.
    """

    name: str
    words: tuple[str, ...]
    folder: Path
    params: str
    outputs: Mapping[Path, Path]

    @classmethod
    def of(cls, words: Sequence[str], root: Path) -> SharedLine:
        """Rewrite a line ``epilstm STEP --params FILE --port PATH ... --flag ...``; `root` is on the volume.

        Raises
        ------
        PipelineError
            The line is none of a step that may run in several processes, or a path is not on the volume.
        """
        step = STEPS.get(words[1]) if len(words) > 1 and words[0] == "epilstm" else None
        if step is None or not step.distributed:
            raise PipelineError(f"{' '.join(words[:2]) or 'no line'}: not a step that runs over several nodes")
        paths: dict[str, str] = {}
        flags = [f"--{name}" for name, _ in step.flags]
        rest = list(words[2:])
        while rest:
            word = rest.pop(0)
            if word not in flags:
                if not rest:
                    raise PipelineError(f"{word} needs a value")
                paths[word.removeprefix("--")] = rest.pop(0)
        params = Path(paths.pop("params")).read_text(encoding="utf-8")
        # The params file has another path at each attempt, with the same content.
        content = [sorted(paths.items()), [word for word in words[2:] if word in flags], params, str(root)]
        name = f"epilstm-{step.name}-{sha256_json(content)[:16]}"
        folder = root / "trainjobs" / name
        outputs: dict[Path, Path] = {}
        shared: dict[str, str] = {}
        for port in (*step.inputs, *step.outputs, *step.work):
            if port.name not in paths:
                continue
            path = root / paths[port.name]
            if port in step.outputs:
                outputs[folder / port.name] = path
                path = folder / port.name
            elif not path.is_relative_to(root):
                raise PipelineError(f"--{port.name} {path}: not under the data root {root}, which the nodes share")
            shared[port.name] = str(path)
        set_flags = tuple(name for name, _ in step.flags if f"--{name}" in words)
        line = step.argv(str(folder / "params.yaml"), shared, set_flags)
        return cls(name, tuple(line), folder, params, outputs)

    def prepare(self) -> None:
        """Put the params on the volume."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "params.yaml").write_text(self.params, encoding="utf-8")

    def fetch(self) -> None:
        """Put the outputs, and the records beside them, where the line names them.

        Raises
        ------
        PipelineError
            The job wrote none.
        """
        for made, wanted in self.outputs.items():
            if not made.exists():
                raise PipelineError(
                    f"{self.name}: complete, but it left no {made}; is the data root on a shared volume?"
                )
            for source, target in ((made, wanted), (record_path(made), record_path(wanted))):
                if source.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(target) as successor:
                        (shutil.copytree if source.is_dir() else shutil.copy2)(source, successor)
        shutil.rmtree(self.folder)


class TrainJobs:
    """The TrainJobs of a namespace."""

    def __init__(self, api_client: client.ApiClient, namespace: str, poll_seconds: float) -> None:
        from kubernetes import client

        self.objects = client.CustomObjectsApi(api_client)
        self.pods = client.CoreV1Api(api_client)
        self.namespace = namespace
        self.poll_seconds = poll_seconds

    def start(self, manifest: Mapping[str, Any]) -> None:
        """Create a job; one of the same name that still runs is followed, one that has ended replaced.

        Raises
        ------
        PipelineError
            The cluster refuses it.
        """
        name = manifest["metadata"]["name"]
        found = self.find(name)
        if found is not None and verdict(found) is None and "deletionTimestamp" not in found["metadata"]:
            log.info(f"train job {name} runs already; following it")
            return
        if found is not None:
            self.delete(name)
            self._wait_gone(name)
        with api_errors(f"train job {name} cannot be started"):
            self.objects.create_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, manifest)
        log.info(
            f"train job {name} started; its output: kubectl logs -n {self.namespace} -f -l {POD_LABEL}={name} --prefix"
        )

    def find(self, name: str) -> dict[str, Any] | None:
        """A job, or None where there is none.

        Raises
        ------
        PipelineError
            The cluster does not answer, or refuses to.
        """
        from kubernetes.client import ApiException

        failures = 0
        while True:
            try:
                with api_errors(f"train job {name} cannot be read"):
                    found: dict[str, Any] = self.objects.get_namespaced_custom_object(
                        GROUP, VERSION, self.namespace, PLURAL, name
                    )
                return found
            except PipelineError as error:
                status = error.__cause__.status if isinstance(error.__cause__, ApiException) else 0
                if status == 404:
                    return None
                failures += 1
                if status not in TRANSIENT or failures >= PATIENCE:
                    raise
            time.sleep(self.poll_seconds)

    def follow(self, name: str) -> None:
        """Wait for the end of a job.

        Raises
        ------
        PipelineError
            It failed, with the last error line of its pods; or someone deleted it.
        """
        reported = ""
        while True:
            found = self.find(name)
            if found is None:
                raise PipelineError(f"train job {name} was deleted while it ran")
            end = verdict(found)
            if end is not None:
                break
            state = _state(found)
            if state != reported:
                log.info(f"train job {name}: {state}")
                reported = state
            time.sleep(self.poll_seconds)
        if end:
            raise PipelineError(f"train job {name} failed: {self.last_error(name) or end}")
        log.info(f"train job {name}: complete")

    def last_error(self, name: str) -> str:
        """Last error line of a job's pods, those that failed first; empty if none has one."""
        from kubernetes.client import ApiException

        last = ""
        try:
            pods = self.pods.list_namespaced_pod(self.namespace, label_selector=f"{POD_LABEL}={name}").items
            for pod in sorted(pods, key=lambda pod: (pod.status.phase != "Failed", pod.metadata.name)):
                text = self.pods.read_namespaced_pod_log(
                    pod.metadata.name, self.namespace, container=NODE, tail_lines=200
                )
                lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
                errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
                if errors:
                    return errors[-1]
                last = last or (lines[-1] if lines else "")
        except ApiException as error:
            log.warning(f"train job {name}: its output cannot be read: {error.reason}")
        return last

    def delete(self, name: str) -> None:
        """Delete a job and its pods; nothing happens where there is none.

        Raises
        ------
        PipelineError
            The cluster refuses.
        """
        from kubernetes.client import ApiException

        try:
            with api_errors(f"train job {name} cannot be deleted"):
                self.objects.delete_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, propagation_policy="Foreground"
                )
        except PipelineError as error:
            if not isinstance(error.__cause__, ApiException) or error.__cause__.status != 404:
                raise

    def _wait_gone(self, name: str) -> None:
        for _ in range(60):
            if self.find(name) is None:
                return
            time.sleep(self.poll_seconds)
        raise PipelineError(f"train job {name} of an earlier attempt does not go away; delete it")


def verdict(job: Mapping[str, Any]) -> str | None:
    """How a job ended: why it failed, the empty string if it did not, None while it runs."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            if condition["type"] == "Complete":
                return ""
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return None


def _state(job: Mapping[str, Any]) -> str:
    counts = {status["name"]: status for status in job.get("status", {}).get("jobsStatus", [])}.get(NODE)
    if not counts:
        return "waits for its pods"
    return f"{counts['active']} nodes active, {counts['ready']} ready, {counts['failed']} failed"


def launch(words: Sequence[str], root: Path, settings: JobSettings, poll_seconds: float) -> None:
    """Run a step's line as a TrainJob, to its end.

    Raises
    ------
    PipelineError
        It cannot be started, or it failed.
    Interrupted
        SIGTERM or Ctrl-C; the job is deleted.
    """
    if not root.is_relative_to(settings.data_path):
        raise PipelineError(f"data root {root}: not on the volume at {settings.data_path}, which the nodes share")
    line = SharedLine.of(words, root)
    pod = {"name": os.environ.get("POD_NAME", ""), "uid": os.environ.get("POD_UID", "")}
    environment = {name: os.environ[name] for name in TELEMETRY_VARIABLES if os.environ.get(name)}
    manifest = train_job(line.name, line.words, settings, pod if all(pod.values()) else None, environment)
    jobs = TrainJobs(*connect(), poll_seconds)
    with _interrupted(line.name):
        line.prepare()
        try:
            jobs.start(manifest)
            jobs.follow(line.name)
        except BaseException:
            try:
                jobs.delete(line.name)
            except PipelineError as error:
                log.warning(f"{error}; delete it")
            raise
        jobs.delete(line.name)
        line.fetch()


@contextmanager
def _interrupted(name: str) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"train job {name}: stopped and deleted; run it again to resume from its checkpoint"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


@click.command(context_settings={"show_default": True})
@click.option("--image", required=True)
@click.option("--runtime", default="torch-distributed")
@click.option("--nodes", type=click.IntRange(min=1), default=2)
@click.option("--accelerator", default="nvidia.com/gpu")
@click.option("--accelerators", type=click.IntRange(min=0), default=1)
@click.option("--cpu", default="8")
@click.option("--memory", default="32Gi")
@click.option("--shared-memory", default="8Gi")
@click.option("--scratch", default="50Gi")
@click.option("--data-claim", required=True)
@click.option("--data-path", default="/data")
@click.option("--hours", type=click.IntRange(min=1), default=96)
@click.option("--node-label", "node_labels", multiple=True, metavar="KEY=VALUE")
@click.option("--poll-seconds", type=click.FloatRange(min=0.01), default=10.0)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(words: tuple[str, ...], node_labels: tuple[str, ...], poll_seconds: float, **settings: Any) -> None:
    """Run the step's line WORDS as a Kubeflow Trainer TrainJob; the working directory is the data root."""
    console.set_up("trainjob", 0)
    labels = dict(label.split("=", 1) for label in node_labels)
    launch(words, Path.cwd(), JobSettings(node_labels=labels, **settings), poll_seconds)


def main() -> None:
    """Run the command; a user's error is one line."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except EpilstmError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
