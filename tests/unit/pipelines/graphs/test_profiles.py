"""What profiles ask of the cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from epilstm.errors import ParamsError, PipelineError
from epilstm.pipelines.compile.compilation import PIPELINES, Settings, compile_pipeline
from epilstm.pipelines.graphs.profiles import REGISTRY_VARIABLES, SPOT_NODES, Cluster
from epilstm.pipelines.task.secret_variables import FOLDER
from support.nonempty import nonempty
from support.paths import PROJECT
from support.pipelines.compiled_ir import CompiledPipeline, compiled

MONITORING = PROJECT / "manifests" / "monitoring"
S3 = Cluster(data_root="s3://bucket/epilstm", data_claim="")
ACCELERATED = {"train", "embed", "embed-part"}


def training(profile: str, settings: Settings | None = None) -> CompiledPipeline:
    return compiled("training", profile, settings)


def accelerators(pipeline: CompiledPipeline) -> dict[str, tuple[str, str]]:
    found = {name: container["resources"].get("accelerator") for name, container in pipeline.executors.items()}
    return {name: (result["resourceType"], result["resourceCount"]) for name, result in found.items() if result}


def mounts(pipeline: CompiledPipeline, component: str) -> dict[str, dict]:
    return {mount["mountPath"]: mount for mount in pipeline.kubernetes(component).get("emptyDirMounts", [])}


@pytest.mark.parametrize("profile", PIPELINES["training"])
def test_every_container_says_what_it_needs_and_runs_as_no_root(profile):
    pipeline = training(profile)
    for name, container in nonempty(pipeline.executors.items()):
        resources, pod = container["resources"], pipeline.kubernetes(name)
        assert resources["resourceCpuRequest"] == resources["resourceCpuLimit"]
        assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"]
        assert pod["securityContext"] == {"runAsNonRoot": True}
        assert int(pod["activeDeadlineSeconds"]) >= 3600
        assert mounts(pipeline, name)["/tmp"]["sizeLimit"]


def test_cpu_asks_for_no_accelerator_and_no_special_node():
    pipeline = training("cpu")
    assert accelerators(pipeline) == {}
    assert not any("gpu" in container["image"] for container in pipeline.executors.values())
    assert not any({"tolerations", "nodeSelector"} & set(pipeline.kubernetes(name)) for name in pipeline.executors)


def test_gpu_trains_and_embeds_on_an_accelerator():
    pipeline = training("gpu")
    assert accelerators(pipeline) == dict.fromkeys(ACCELERATED, ("nvidia.com/gpu", "1"))
    for name, container in nonempty(pipeline.executors.items()):
        assert ("epilstm-train-gpu" in container["image"]) == (name in ACCELERATED)
        assert ("/dev/shm" in mounts(pipeline, name)) == (name in ACCELERATED)
    assert mounts(pipeline, "train")["/dev/shm"]["medium"] == "Memory"
    assert pipeline.kubernetes("train")["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert pipeline.kubernetes("train")["nodeSelector"]["labels"] == {"nvidia.com/gpu.present": "true"}


def test_several_accelerators_train_in_as_many_processes_of_one_pod():
    cluster = Cluster(accelerator="amd.com/gpu", node_labels={"pool": "large"})
    pipeline = training("gpu", Settings(cluster=cluster, accelerators=4))
    assert accelerators(pipeline)["train"] == ("amd.com/gpu", "4")
    assert accelerators(pipeline)["embed-part"] == ("amd.com/gpu", "1")
    arguments = pipeline.executors["train"]["args"]
    assert arguments[arguments.index("--processes") + 1] == "4"
    assert pipeline.kubernetes("train")["nodeSelector"]["labels"] == {"pool": "large"}


@pytest.mark.parametrize("provider", SPOT_NODES)
def test_spot_runs_on_preemptible_nodes_and_is_tried_again_more_often(provider):
    label, value, taint = SPOT_NODES[provider]
    pipeline, gpu = training("spot", Settings(cluster=Cluster(spot_nodes=provider))), training("gpu")
    for name, task in nonempty(pipeline.tasks().items()):
        pod = pipeline.kubernetes(name)
        assert pod["nodeSelector"]["labels"][label] == value
        assert taint is None or taint in {toleration["key"] for toleration in pod["tolerations"]}
        assert task["retryPolicy"]["maxRetryCount"] > gpu.tasks()[name]["retryPolicy"]["maxRetryCount"]


def test_a_stopped_training_resumes_from_the_checkpoint_in_the_data_root():
    line = training("spot").executors["train"]["args"]
    assert line[line.index("--checkpoint") + 1] == "cache/train"
    assert line[-1] == "--resume"


def test_spot_nodes_may_have_no_accelerators():
    pipeline = training("spot", Settings(accelerators=0))
    assert accelerators(pipeline) == {}
    assert not any("gpu" in container["image"] for container in pipeline.executors.values())


def test_the_data_root_is_mounted_from_its_claim_in_every_pod():
    pipeline = training("cpu", Settings(cluster=Cluster(data_claim="epigenomes")))
    for name in nonempty(pipeline.executors):
        [mount] = pipeline.kubernetes(name)["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("epigenomes", "/data")


def test_an_object_store_needs_no_claim_but_its_secret():
    pipeline = training("cpu", Settings(cluster=S3))
    assert pipeline.parameters["data_root"]["defaultValue"] == "s3://bucket/epilstm"
    for name in nonempty(pipeline.executors):
        pod = pipeline.kubernetes(name)
        assert "pvcMount" not in pod
        [secret] = [each for each in pod["secretAsVolume"] if each["secretName"] == "epilstm-s3"]
        assert secret["optional"]
        assert secret["mountPath"] == str(FOLDER)


def test_only_tasks_that_ask_the_registry_get_its_credentials():
    pipeline = compiled("retraining", "cpu", Settings(cluster=Cluster(registry_secret="git")))
    found = {
        name: secret
        for name in pipeline.executors
        for secret in pipeline.kubernetes(name).get("secretAsEnv", [])
        if secret["secretName"] == "git"
    }
    assert set(found) == {"changed", "champion", "publish", "rollout"}
    for secret in nonempty(found.values()):
        assert secret["optional"]
        assert {pair["envVar"] for pair in secret["keyToEnv"]} == set(REGISTRY_VARIABLES)


def test_distributed_training_is_started_by_a_small_pod_of_the_pipeline_image():
    pipeline = training("gpu-distributed")
    container = pipeline.executors["train"]
    assert "epilstm-pipeline" in container["image"]
    assert set(accelerators(pipeline)) == {"embed", "embed-part"}
    launcher = container["args"][container["args"].index("--launcher") + 1]
    assert launcher.startswith("python -m epilstm.pipelines.task.trainjob ")
    assert "--image=ghcr.io/epilstm/epilstm-train-gpu:" in launcher
    fields = {field["fieldPath"] for field in pipeline.kubernetes("train")["fieldPathAsEnv"]}
    assert fields >= {"metadata.name", "metadata.uid"}


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"spot_nodes": "azure"}, "spot nodes 'azure': unknown; they are gke"),
        ({"data_root": "/elsewhere"}, "data root '/elsewhere': expected /data"),
        ({"data_root": "gs://bucket"}, "data root 'gs://bucket': expected"),
        ({"data_root": "s3://"}, "data root 's3://': expected"),
        ({"data_claim": "My_Claim"}, "volume claim 'My_Claim': not a name that Kubernetes takes"),
        ({"s3_secret": "a/b"}, "secret 'a/b': not a name"),
        ({"runtime": ""}, "runtime '': name a ClusterTrainingRuntime"),
        ({"scratch": "50 GB"}, "scratch '50 GB': not a size that Kubernetes takes"),
        ({"shared_memory": "0"}, "shared memory '0': not a size"),
        ({"accelerator": "gpu please"}, "accelerator 'gpu please': not a name"),
        ({"node_labels": {"a b": "c"}}, "node label 'a b': not a name"),
        ({"data_claim": ""}, "data root /data: needs a volume claim"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(changes, result):
    with pytest.raises(ParamsError, match=result):
        replace(Cluster(), **changes)


def test_nodes_that_train_together_need_a_volume():
    with pytest.raises(PipelineError, match="profile gpu-distributed needs its data root on a volume"):
        compile_pipeline("training", "gpu-distributed", Settings(cluster=S3))


def test_tasks_know_where_to_send_metrics_and_of_which_run():
    manifest = yaml.safe_load((MONITORING / "base" / "telemetry.yaml").read_text())
    for profile in PIPELINES["training"]:
        pipeline = training(profile)
        for name, container in nonempty(pipeline.executors.items()):
            assert {"name": "EPILSTM_PIPELINE", "value": "training"} in container["env"]
            [config] = pipeline.kubernetes(name)["configMapAsEnv"]
            assert config["configMapName"] == manifest["metadata"]["name"]
            assert config["optional"]
            result = {each["envVar"]: each["configMapKey"] for each in config["keyToEnv"]}
            assert result == {variable: variable for variable in manifest["data"]}
            paths = {each["name"]: each["fieldPath"] for each in pipeline.kubernetes(name)["fieldPathAsEnv"]}
            assert paths["EPILSTM_RUN_ID"] == "metadata.labels['pipeline/runid']"
