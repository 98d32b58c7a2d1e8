"""What each step requests from the cluster: resources, storage, nodes, retries and time, by profile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kfp import kubernetes
from kfp.dsl import PipelineTask

from epilstm.errors import ParamsError
from epilstm.pipelines.task.secret_variables import FOLDER as SECRET_FOLDER
from epilstm.runtime.step_table import STEPS

#: Where the data root's volume is in every pod.
DATA_PATH = "/data"

HOUR = 3600

_OBJECT_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_QUALIFIED_NAME = re.compile(r"^([a-z0-9][-a-z0-9.]{0,251}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_SIZE = re.compile(r"^[1-9][0-9]*(Ki|Mi|Gi|Ti|k|M|G|T)?$")


@dataclass(frozen=True)
class Resources:
    """What one pod asks for; requests are limits, so that a pod gets what it was planned with.

    Parameters
    ----------
    cpu : str
        Cores.
    memory : str
        Memory, with what is written to /dev/shm.
    hours : int
        Time after which an attempt is stopped.
    """

    cpu: str
    memory: str
    hours: int = 4


@dataclass(frozen=True)
class TaskKind:
    """What a task is called, and what it needs.

    Parameters
    ----------
    title : str
        Its name in the user interface.
    accelerated : bool
        Computes on an accelerator where the profile has one.
    cached : bool
        Kubeflow may reuse its outputs; what it reads or changes is all among its inputs.
    registry : bool
        Gets the credentials of the registry.
    """

    title: str
    resources: Resources
    accelerated: bool = False
    cached: bool = False
    registry: bool = False


def _step(name: str, title: str, resources: Resources, accelerated: bool = False) -> TaskKind:
    return TaskKind(title, resources, accelerated, STEPS[name].cached)


#: By step, ``-part`` for one part of it; and the tasks beside the steps.
TASKS: dict[str, TaskKind] = {
    "plan": TaskKind("Look at the data", Resources("1", "1Gi", 1)),
    "simulate": _step("simulate", "Simulate an epigenome", Resources("2", "4Gi")),
    "ingest-part": _step("ingest", "Ingest a shard of the tracks", Resources("4", "8Gi", 24)),
    "ingest": _step("ingest", "Ingest", Resources("4", "16Gi", 24)),
    "preprocess-part": _step("preprocess", "Preprocess a group of chromosomes", Resources("2", "8Gi", 12)),
    "preprocess": _step("preprocess", "Preprocess", Resources("4", "16Gi", 24)),
    "train": _step("train", "Train", Resources("8", "32Gi", 96), accelerated=True),
    "export": _step("export", "Export to ONNX", Resources("2", "8Gi", 2)),
    "embed-part": _step("embed", "Embed a group of chromosomes", Resources("4", "8Gi", 12), accelerated=True),
    "embed": _step("embed", "Embed", Resources("4", "16Gi", 24), accelerated=True),
    "evaluate": _step("evaluate", "Evaluate", Resources("8", "32Gi", 24)),
    "report": _step("report", "Report", Resources("2", "8Gi", 2)),
    "promote": _step("promote", "Compare with the champion", Resources("8", "32Gi", 24)),
    "monitor": _step("monitor", "Look for drift", Resources("2", "8Gi", 4)),
    "changed": TaskKind("Ask whether anything is new", Resources("1", "2Gi", 1), registry=True),
    "champion": TaskKind("Fetch the champion", Resources("1", "2Gi", 2), registry=True),
    "publish": TaskKind("Publish", Resources("1", "4Gi", 4), registry=True),
    "rollout": TaskKind("Roll out", Resources("1", "2Gi", 2), registry=True),
}

#: The pod that starts a TrainJob and waits for it does nothing else.
LAUNCHER = Resources("500m", "1Gi", 100)

#: Label, its value, and taint of preemptible nodes, by who runs the cluster; None: untainted.
SPOT_NODES: dict[str, tuple[str, str, str | None]] = {
    "gke": ("cloud.google.com/gke-spot", "true", "cloud.google.com/gke-spot"),
    "eks": ("eks.amazonaws.com/capacityType", "SPOT", None),
    "aks": ("kubernetes.azure.com/scalesetpriority", "spot", "kubernetes.azure.com/scalesetpriority"),
    "karpenter": ("karpenter.sh/capacity-type", "spot", None),
}

#: ConfigMap of manifests/monitoring that says where steps send their metrics, used if it exists, and its keys.
TELEMETRY, TELEMETRY_VARIABLES = "epilstm-telemetry", ("EPILSTM_PUSHGATEWAY", "EPILSTM_METRICS_PORT")

#: Label by which Kubeflow Pipelines marks the pods of a run with its identifier.
RUN_LABEL = "pipeline/runid"

#: Keys of the secret that holds credentials of the registry's git repository: the variables that they become.
REGISTRY_VARIABLES = ("GIT_USERNAME", "GIT_PASSWORD", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")


@dataclass(frozen=True)
class Retry:
    """How often a failed pod is tried again, and how long it waits; the wait doubles each time."""

    times: int = 2
    seconds: int = 30


@dataclass(frozen=True)
class Profile:
    """What a compiled pipeline asks of the cluster.

    Parameters
    ----------
    name, summary : str
        How it is chosen, and what it is for.
    accelerators : int
        Accelerators of each pod that trains; 0 leaves all on the CPU. A pod that embeds takes one.
    spot : bool
        Steps run on preemptible nodes.
    distributed : bool
        Training is a TrainJob of several nodes.
    retry : Retry
        Further attempts.
    """

    name: str
    summary: str
    accelerators: int = 0
    spot: bool = False
    distributed: bool = False
    retry: Retry = field(default_factory=Retry)


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("cpu", "no accelerators"),
        Profile("gpu", "training and embedding on a GPU", accelerators=1),
        Profile(
            "spot",
            "like gpu, on preemptible nodes; a stopped training resumes from its checkpoint",
            accelerators=1,
            spot=True,
            retry=Retry(times=5, seconds=60),
        ),
        Profile(
            "gpu-distributed",
            "like gpu; training is a Kubeflow Trainer job over several nodes",
            accelerators=4,
            distributed=True,
        ),
    )
}


@dataclass(frozen=True)
class Cluster:
    """What differs from cluster to cluster.

    Parameters
    ----------
    data_root : str
        Default of the pipelines' parameter: under `DATA_PATH`, or ``s3://bucket/prefix``.
    data_claim : str
        Volume claim mounted at `DATA_PATH`; empty where the data root is an object store.
    s3_secret : str
        Secret of the object store: its ``AWS_*`` keys become variables. Used if it is there; empty for none.
    registry_secret : str
        Secret with `REGISTRY_VARIABLES`, used if it is there; empty for none.
    accelerator : str
        Resource name of the accelerator; also its taint's key.
    node_labels : mapping of str to str
        Labels of the nodes that have accelerators.
    spot_nodes : str
        Key of `SPOT_NODES`.
    shared_memory, scratch : str
        Size of /dev/shm of an accelerated step, and of /tmp of every step.
    nodes : int
        Nodes of a distributed training.
    runtime : str
        ClusterTrainingRuntime of a distributed training.

    Raises
    ------
    ParamsError
        A name or a size is none that Kubernetes takes, `spot_nodes` is unknown, or `data_root` is on no volume and in
        no object store.
    """

    data_root: str = DATA_PATH
    data_claim: str = "epilstm-data"
    s3_secret: str = "epilstm-s3"
    registry_secret: str = "epilstm-registry"
    accelerator: str = "nvidia.com/gpu"
    node_labels: Mapping[str, str] = field(default_factory=lambda: {"nvidia.com/gpu.present": "true"})
    spot_nodes: str = "gke"
    shared_memory: str = "8Gi"
    scratch: str = "50Gi"
    nodes: int = 2
    runtime: str = "torch-distributed"

    def __post_init__(self) -> None:
        names = (
            ("volume claim", self.data_claim),
            ("secret", self.s3_secret),
            ("secret", self.registry_secret),
            ("runtime", self.runtime),
        )
        for what, name in names:
            if name and not _OBJECT_NAME.match(name):
                raise ParamsError(f"{what} {name!r}: not a name that Kubernetes takes, such as epilstm-data")
        for what, size in (("shared memory", self.shared_memory), ("scratch", self.scratch)):
            if not _SIZE.match(size):
                raise ParamsError(f"{what} {size!r}: not a size that Kubernetes takes, such as 8Gi")
        for what, name in (("accelerator", self.accelerator), *(("node label", key) for key in self.node_labels)):
            if not _QUALIFIED_NAME.match(name):
                raise ParamsError(f"{what} {name!r}: not a name that Kubernetes takes, such as nvidia.com/gpu")
        if not self.runtime:
            raise ParamsError("runtime '': name a ClusterTrainingRuntime, such as torch-distributed")
        if self.spot_nodes not in SPOT_NODES:
            raise ParamsError(f"spot nodes {self.spot_nodes!r}: unknown; they are {', '.join(SPOT_NODES)}")
        on_volume = self.data_root == DATA_PATH or self.data_root.startswith(f"{DATA_PATH}/")
        if not on_volume and not re.match(r"^s3://[^/]+", self.data_root):
            raise ParamsError(
                f"data root {self.data_root!r}: expected {DATA_PATH}, a folder in it, or s3://bucket/prefix"
            )
        if on_volume and not self.data_claim:
            raise ParamsError(f"data root {self.data_root}: needs a volume claim; name one, or give s3://bucket/prefix")


def profile_named(name: str) -> Profile:
    """A profile.

    Raises
    ------
    ParamsError
        There is none of that name.
    """
    if name not in PROFILES:
        raise ParamsError(f"profile {name!r}: unknown; profiles are {', '.join(PROFILES)}")
    return PROFILES[name]


def place(task: PipelineTask, step: str, profile: Profile, cluster: Cluster, *, launched: bool = False) -> PipelineTask:
    """Say how a task's pod runs.

    Parameters
    ----------
    task : PipelineTask
        Task of a step's component.
    step : str
        Key of `TASKS`.
    profile : Profile
        What the pipeline asks for.
    cluster : Cluster
        Where it runs.
    launched : bool
        The step runs elsewhere; this pod starts it and waits.

    Returns
    -------
    PipelineTask
        The same task.
    """
    kind = TASKS[step]
    resources = LAUNCHER if launched else kind.resources
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    task.set_retry(
        num_retries=profile.retry.times,
        backoff_duration=f"{profile.retry.seconds}s",
        backoff_factor=2.0,
        # Argo counts it from the start of the first attempt, and stops an attempt that reaches it: time for them all.
        backoff_max_duration=f"{resources.hours * HOUR * (profile.retry.times + 1)}s",
    )
    kubernetes.set_timeout(task, resources.hours * HOUR)
    # Caching is set for each task: left open, it would follow the environment of who compiles.
    task.set_caching_options(kind.cached)
    # Without a uid of its own, so that clusters which give each namespace its range can choose one.
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, "scratch", "/tmp", size_limit=cluster.scratch)
    variables = {name: name for name in TELEMETRY_VARIABLES}
    kubernetes.use_config_map_as_env(task, TELEMETRY, variables, optional=True)
    kubernetes.use_field_path_as_env(task, "EPILSTM_RUN_ID", f"metadata.labels['{RUN_LABEL}']")
    if cluster.data_claim:
        kubernetes.mount_pvc(task, pvc_name=cluster.data_claim, mount_path=DATA_PATH)
    if cluster.s3_secret:
        # As files, since variables would have to be listed here one by one.
        kubernetes.use_secret_as_volume(task, cluster.s3_secret, str(SECRET_FOLDER), optional=True)
    if cluster.registry_secret and kind.registry:
        variables = {name: name for name in REGISTRY_VARIABLES}
        kubernetes.use_secret_as_env(task, cluster.registry_secret, variables, optional=True)
    if kind.accelerated and profile.accelerators and not launched:
        task.set_accelerator_type(cluster.accelerator).set_accelerator_limit(
            profile.accelerators if step == "train" else 1
        )
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=cluster.shared_memory)
        kubernetes.add_toleration(task, key=cluster.accelerator, operator="Exists", effect="NoSchedule")
        for label, value in cluster.node_labels.items():
            kubernetes.add_node_selector(task, label, value)
    if profile.spot:
        label, value, taint = SPOT_NODES[cluster.spot_nodes]
        kubernetes.add_node_selector(task, label, value)
        if taint:
            kubernetes.add_toleration(task, key=taint, operator="Equal", value=value, effect="NoSchedule")
    return task
