"""The compiled retraining pipeline, run on this machine against a real registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.files.outputs import fingerprint
from epilstm.pipelines.graphs.defaults import default_parameters
from epilstm.registry.rollout import read_rollout
from support.pipelines.local_runs import Ran, run_pipeline
from support.pipelines.registry_places import IDENTITY, PROJECT, Registry, make_registry, run

pytestmark = [pytest.mark.timeout(1800)]

COMPILED = PROJECT / "pipelines" / "compiled"

SMALL: dict[str, dict[str, Any]] = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3", "H3K27ac"],
    },
    "train": {
        "embedding_size": 2,
        "context_size": 0,
        "hidden_size": 32,
        "epochs": 20,
        "learning_rate": 1e-2,
        "streams": 4,
        "warmup_steps": 20,
        "threads": 1,
    },
    "evaluate": {"bootstrap": 50, "folds": {"by": "chromosome", "count": 2}, "classifier": {"trees": 10}, "threads": 1},
}
BAD = {"epochs": 1, "learning_rate": 1e-7}


@dataclass
class Cluster:
    """A data root with simulated tracks, a registry, and pipelines that run between the two."""

    folder: Path
    registry: Registry
    parameters: dict[str, Any]

    @property
    def data_root(self) -> Path:
        return self.folder / "data-root"

    def run(self, pipeline: str, **changes: Any) -> Ran:
        """Run a pipeline; `changes` are its parameters, or keys of a section."""
        text = (COMPILED / f"{pipeline}-cpu.yaml").read_text()
        taken = next(yaml.safe_load_all(text))["root"]["inputDefinitions"]["parameters"]
        given = {**self.parameters, "registry": self.registry.url, "data_root": str(self.data_root)}
        for name, value in changes.items():
            given[name] = {**given[name], **value} if isinstance(value, dict) else value
        arguments = {name: value for name, value in given.items() if name in taken}
        return run_pipeline(COMPILED / f"{pipeline}-cpu.yaml", self.folder / "runs", arguments, IDENTITY)

    def served(self) -> Any:
        """The roll-out that the registry's branch says."""
        path = self.folder / "rollout.json"
        path.write_text(self.registry.file("registry/serving/rollout.json"))
        return read_rollout(path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    folder = tmp_path_factory.mktemp("cluster")
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for section, values in SMALL.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "data-root" / "data").mkdir(parents=True)
    run(
        folder,
        *("epilstm", "simulate", "--params", "params.yaml", "--simulated", "data-root/data/simulated"),
    )
    parameters = {**default_parameters(folder / "params.yaml"), "ingest_shards": 1}
    return Cluster(folder, make_registry(folder / "git"), parameters)


def test_retraining_promotes_then_finds_nothing_new_then_holds_a_bad_model_and_goes_back(cluster: Cluster):
    registry = cluster.registry

    first = cluster.run("retraining", ir_sha256="ab" * 32)
    assert {"changed", "champion", "promote", "publish", "rollout"} <= set(first.tasks)
    assert "there is no champion yet" in first.log("changed")
    assert {"encoder@v1.0.0", "encoder#champion#1"} <= registry.tags()
    encoder = cluster.data_root / "serving" / "encoder-v1.0.0"
    decision = json.loads(registry.file("registry/encoder/decision.json", "encoder@v1.0.0"))
    assert fingerprint(encoder) == decision["challenger"]["encoder_fingerprint"]
    assert f"| pipeline IR | `{'ab' * 32}` |" in registry.file("registry/encoder/MODEL_CARD.md", "encoder@v1.0.0")
    assert cluster.served().stable.version == "v1.0.0"
    assert cluster.served().canary is None

    second = cluster.run("retraining")
    assert second.tasks == ["plan", "changed"]
    assert "nothing new" in second.log("changed")

    before = registry.tags()
    third = cluster.run("retraining", train=BAD)
    assert "params of train: epochs, learning_rate" in third.log("changed")
    assert "promote" in third.tasks
    assert not {"publish", "rollout"} & set(third.tasks)
    assert "hold: a: held-out reconstruction" in third.log("promote")
    assert registry.tags() == before

    forced = cluster.run("retraining", train=BAD, promote={"force": "a test"}, canary_percent=10)
    assert {"publish", "rollout"} <= set(forced.tasks)
    served = cluster.served()
    assert (served.stable.version, served.canary.version, served.canary_percent) == ("v1.0.0", "v1.1.0", 10)
    patch = yaml.safe_load(registry.file("registry/serving/rollout.yaml"))
    assert {"trafficPercent": 10, "predictor": {"name": "canary", "minReplicas": 1}} in patch[3]["value"]

    cluster.run("rollout", rollback="worse", data_root=str(cluster.data_root))
    assert cluster.served().stable.version == "v1.0.0"
    assert cluster.served().canary is None
    again = cluster.run("retraining", train=BAD)
    assert again.tasks == ["plan", "changed"]
    assert "encoder@v1.1.0 was made from the same, and was rolled back" in again.log("changed")
    clone = registry.clone("elsewhere")
    run(clone, "epilstm", "model", "get", "champion", "-o", "served", "--repo", registry.url)
    assert fingerprint(clone / "served") == fingerprint(encoder)
