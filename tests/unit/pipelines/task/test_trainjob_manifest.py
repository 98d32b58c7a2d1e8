"""The TrainJob that trains over several nodes, compared with its definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from epilstm.errors import PipelineError
from epilstm.pipelines.task.trainjob import JobSettings, SharedLine, train_job
from epilstm.runtime.step_table import STEPS
from support.strict_schemas import schema_errors

SETTINGS = JobSettings(
    image="ghcr.io/epilstm/epilstm-train-gpu:0.1.0",
    runtime="torch-distributed",
    nodes=3,
    accelerator="nvidia.com/gpu",
    accelerators=4,
    cpu="8",
    memory="32Gi",
    shared_memory="8Gi",
    scratch="50Gi",
    data_claim="epilstm-data",
    data_path="/data",
    hours=96,
    node_labels={"nvidia.com/gpu.present": "true"},
)

LINE = STEPS["train"].argv(
    "/data/p.yaml", {"matrix": "/data/m", "model": "/data/o", "checkpoint": "/data/cache/train"}, ("resume",)
)


def pod(job: dict) -> dict:
    [patch] = job["spec"]["runtimePatches"]
    [replicated] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == "node"
    return replicated["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "settings", [SETTINGS, replace(SETTINGS, accelerators=0, node_labels={})], ids=["accelerators", "processors"]
)
@pytest.mark.parametrize("owner", [None, {"name": "launcher", "uid": "0-1"}], ids=["alone", "owned"])
def test_the_manifest_is_a_train_job(settings, owner):
    assert schema_errors(train_job("epilstm-train-1", LINE, settings, owner)) == []


def test_every_node_runs_the_line_under_torchrun_in_a_process_per_accelerator():
    trainer = train_job("epilstm-train-1", LINE, SETTINGS)["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 4)
    assert [*trainer["command"], *trainer["args"]] == ["torchrun", "-m", *LINE]
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == 4


def test_every_node_has_the_data_root_shared_memory_and_scratch():
    spec = pod(train_job("epilstm-train-1", LINE, SETTINGS))
    [container] = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    at = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert at["/data"]["persistentVolumeClaim"] == {"claimName": "epilstm-data"}
    assert at["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert at["/tmp"]["emptyDir"] == {"sizeLimit": "50Gi"}


def test_nodes_run_as_no_root_where_accelerators_are():
    spec = pod(train_job("epilstm-train-1", LINE, SETTINGS))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"


def test_the_job_goes_with_the_pod_that_started_it():
    [owner] = train_job("epilstm-train-1", LINE, SETTINGS, {"name": "launcher", "uid": "0-1"})["metadata"][
        "ownerReferences"
    ]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "launcher", "uid": "0-1"}


@pytest.fixture
def words(tmp_path):
    """A resolved line as the wrapper starts it, outputs outside of the data root."""
    (tmp_path / "params.yaml").write_text("train: {epochs: 1}\n")
    outputs = {name: str(tmp_path / "kfp" / name) for name in ("model", "history", "metrics")}
    paths = {"matrix": "datasets/matrix/0123", "checkpoint": "cache/train", **outputs}
    return STEPS["train"].argv(str(tmp_path / "params.yaml"), paths, ("resume",))


def test_a_shared_line_is_the_same_step_with_every_path_on_the_volume(words, tmp_path):
    root = tmp_path / "root"
    line = SharedLine.of(words, root)
    folder = str(line.folder)
    assert line.folder.parent == root / "trainjobs"
    assert list(line.words) == STEPS["train"].argv(
        f"{folder}/params.yaml",
        {
            "matrix": str(root / "datasets/matrix/0123"),
            "model": f"{folder}/model",
            "history": f"{folder}/history",
            "metrics": f"{folder}/metrics",
            "checkpoint": str(root / "cache/train"),
        },
        ("resume",),
    )


def test_the_same_line_has_the_same_name_and_another_another(words, tmp_path):
    first = SharedLine.of(words, tmp_path).name
    assert SharedLine.of(words, tmp_path).name == first
    moved = tmp_path / "second-attempt.yaml"
    moved.write_text(Path(words[words.index("--params") + 1]).read_text())
    again = list(words)
    again[words.index("--params") + 1] = str(moved)
    assert SharedLine.of(again, tmp_path).name == first
    assert SharedLine.of([*words[:-1], "--resume", "--resume"], tmp_path).name != first
    (tmp_path / "params.yaml").write_text("train: {epochs: 2}\n")
    assert SharedLine.of(words, tmp_path).name != first


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (lambda words: [], "no line"),
        (lambda words: ["epilstm", "export", *words[2:]], "epilstm export: not a step that runs over several nodes"),
        (lambda words: ["python", "train", *words[2:]], "python train: not a step"),
        (lambda words: [*words, "--matrix"], "--matrix needs a value"),
        (lambda words: [*words, "--matrix", "/elsewhere/m"], "--matrix /elsewhere/m: not under the data root"),
    ],
)
def test_a_line_that_cannot_be_shared_is_refused(change, result, words, tmp_path):
    with pytest.raises(PipelineError, match=result):
        SharedLine.of(change(words), tmp_path)


def test_every_node_knows_where_to_push_metrics_and_of_which_run():
    result = {"EPILSTM_PUSHGATEWAY": "http://gateway:9091", "EPILSTM_PIPELINE": "training"}
    job = train_job("epilstm-train-1", LINE, SETTINGS, environment=result)
    assert {entry["name"]: entry["value"] for entry in job["spec"]["trainer"]["env"]} == result
    assert schema_errors(job) == []
