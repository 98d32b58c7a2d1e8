"""Registering: what becomes visible, in which order, and what does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from epilstm.console import log
from epilstm.errors import DataError, RegistryError
from epilstm.files.outputs import fingerprint, sha256_file
from epilstm.registry import publication
from epilstm.registry.publication import Origin, Request, register
from epilstm.registry.repository import RefsTaken, Repository
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.store.evaluation_results import read_results
from support.nonempty import nonempty
from support.registry.finished_project import Place, another_encoder, environment, rewrite_record, run, set_params


def at(place: Place, version: str, path: str) -> str:
    return run(place.origin, "git", "show", f"encoder@{version}:{path}")


def test_a_version_is_a_tag_on_a_commit_of_the_branch_with_all_that_makes_it_again(
    place: Place, repository: Repository
):
    done = register(repository)
    assert (done.version.tag, done.created, done.version.stage) == ("encoder@v1.0.0", True, "challenger")
    assert place.origin_refs() == {"refs/heads/main", "refs/tags/encoder@v1.0.0", "refs/tags/encoder#challenger#1"}
    assert run(place.origin, "git", "rev-parse", "main").strip() == done.version.commit
    for path in ("dvc.lock", "params.yaml", "metrics/evaluate.json", "metrics/history.csv"):
        assert at(place, "v1.0.0", path) == (place.root / path).read_text()


def test_the_work_tree_is_clean_afterwards_and_on_the_same_branch(place: Place, repository: Repository):
    done = register(repository)
    assert run(place.root, "git", "status", "--porcelain") == ""
    assert (repository.branch(), repository.head()) == ("main", done.version.commit)


def test_gto_reads_the_registry(place: Place, repository: Repository):
    from gto.api import show

    register(repository)
    [found] = show(str(place.root), "encoder")
    assert found["version"] == "v1.0.0"
    assert [event["stage"] for event in found["stages"]] == ["challenger"]


def test_registering_the_same_encoder_again_changes_nothing(place: Place, repository: Repository):
    first = register(repository)
    before = place.origin_refs()
    again = register(repository)
    assert (again.version, again.created) == (first.version, False)
    assert place.origin_refs() == before


def test_a_retrained_encoder_is_a_minor_version_and_one_of_another_size_a_major_one(
    place: Place, repository: Repository
):
    register(repository)
    another_encoder(place.root, 2)
    assert register(repository).version.name == "v1.1.0"
    config = json.loads((place.root / "models/encoder/manifest.json").read_text())["config"]
    another_encoder(place.root, 2, config=config | {"embedding_size": 3})
    assert register(repository).version.name == "v2.0.0"


def test_the_card_shows_the_evaluation_and_the_checksums(place: Place, repository: Repository):
    register(repository, Request(origin=Origin("ghcr.io/epilstm/train@sha256:1234", "ab" * 32)))
    card = at(place, "v1.0.0", "registry/encoder/MODEL_CARD.md")
    for name, task in nonempty(read_results(place.root / "evaluation").tasks.items()):
        ci = task.summary["embedding"].average_precision_ci
        row = next(line for line in card.splitlines() if line.startswith(f"| {name} |"))
        assert f"{task.summary['embedding'].average_precision:.3f} ({ci.low:.3f} to {ci.high:.3f})" in row
        assert f"{task.summary['pca'].average_precision:.3f}" in row
    assert sha256_file(place.root / "models/encoder/encoder.onnx") in card
    assert "ghcr.io/epilstm/train@sha256:1234" in card
    assert "ab" * 32 in card
    assert "hidden_size: 8" in card
    assert str(place.folder) not in card


def test_provenance_leads_to_the_sha256_of_each_bigwig(place: Place, repository: Repository):
    register(repository)
    given = json.loads(at(place, "v1.0.0", "registry/encoder/provenance.json"))
    bigwigs = sorted((place.root / "data/simulated/bigwig").iterdir())
    assert sorted(track["sha256"] for track in given["tracks"]) == sorted(map(sha256_file, bigwigs))
    for name, path in {"encoder": "models/encoder", "model": "models/autoencoder", "matrix": "data/matrix"}.items():
        assert given[f"{name}_fingerprint"] == fingerprint(place.root / path)


def test_provenance_is_that_of_production_not_of_registration(
    place: Place, repository: Repository, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log, "propagate", True)
    made_at = run(place.root, "git", "rev-parse", "HEAD~1").strip()  # "Start"; the remote was named after the run
    set_params(place.root, train={"patience": 3})  # after the run, and unused
    with caplog.at_level("WARNING", logger="epilstm"):
        register(repository)
    assert "params.yaml: train.patience changed after train ran; the provenance has what it ran with" in caplog.messages
    given = json.loads(at(place, "v1.0.0", "registry/encoder/provenance.json"))
    record = json.loads((place.root / "models/autoencoder.record.json").read_text())
    assert given["code_revision"] == made_at
    assert given["params"]["train"] == record["params"]
    assert record["params"]["patience"] != 3
    made = given["made"]["train"]
    assert made["code"] == step_fingerprint("train").sha256
    assert made["packages"]["torch"] == version("torch")
    assert (made["device"], made["threads"]) == ("cpu", record["threads"])
    assert set(given["made"]) == {"ingest", "preprocess", "train", "export", "embed", "evaluate"}
    card = at(place, "v1.0.0", "registry/encoder/MODEL_CARD.md")
    assert made_at in card
    assert "patience: 3" not in card
    output = run(place.root, "epilstm", "model", "lineage", "v1.0.0")
    assert f"commit {made_at}" in output


def test_a_record_of_an_earlier_package_is_what_the_card_quotes(place: Place, repository: Repository):
    packages = {"torch": "1.0.0", "numpy": "1.0.0"}
    rewrite_record(place.root / "models/autoencoder", "model", packages=packages, git_revision="ab" * 20)
    run(place.root, "dvc", "commit", "--force", "--quiet", "train")
    register(repository)
    given = json.loads(at(place, "v1.0.0", "registry/encoder/provenance.json"))
    assert given["code_revision"] == "ab" * 20
    assert given["made"]["train"]["packages"] == packages


def test_a_work_tree_that_was_dirty_when_it_trained_is_said(
    place: Place, repository: Repository, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log, "propagate", True)
    changed = ["components/epilstm/steps/train/loop.py"]
    dirty = {"git_revision": f"{'ab' * 20}-dirty", "git_changed": changed}
    rewrite_record(place.root / "models/autoencoder", "model", **dirty)
    run(place.root, "dvc", "commit", "--force", "--quiet", "train")
    with caplog.at_level("WARNING", logger="epilstm"):
        register(repository)
    # Whoever runs this may have changes to the package of their own, which are listed beside it.
    said = re.compile(r"train ran with changes that were not committed \([^)]*components/epilstm/steps/train/loop\.py")
    assert any(map(said.match, caplog.messages))
    given = json.loads(at(place, "v1.0.0", "registry/encoder/provenance.json"))
    assert given["code_revision"] == f"{'ab' * 20}-dirty"
    assert changed[0] in given["made"]["train"]["changed"]
    card = at(place, "v1.0.0", "registry/encoder/MODEL_CARD.md")
    listed = r"train ran with changes that were not committed\*\*: .*`components/epilstm/steps/train/loop\.py`"
    assert re.search(listed, card)


def test_a_model_that_its_record_does_not_fit_is_refused(place: Place, repository: Repository):
    record = place.root / "models/autoencoder.record.json"
    content = json.loads(record.read_text())
    content["outputs"]["model"]["fingerprint"] = "0" * 64
    record.unlink()
    record.write_text(json.dumps(content))
    run(place.root, "dvc", "commit", "--force", "--quiet", "train")
    with pytest.raises(DataError, match=r"autoencoder.record.json: is not the record of what lies in .*autoencoder"):
        register(repository)
    record.unlink()
    with pytest.raises(DataError, match=r"autoencoder.record.json: missing, so it is unknown what made autoencoder"):
        register(repository)


def test_weights_that_were_replaced_after_training_are_refused(place: Place, repository: Repository):
    weights = place.root / "models/autoencoder/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    run(place.root, "dvc", "commit", "--force", "--quiet", "train")
    with pytest.raises(DataError, match=r"weights.safetensors: was replaced or edited after it was made"):
        register(repository)


def test_a_record_that_says_less_than_it_must_is_refused(place: Place, repository: Repository):
    record = place.root / "models/encoder.record.json"
    content = json.loads(record.read_text())
    del content["code"]
    record.unlink()
    record.write_text(json.dumps(content))
    run(place.root, "dvc", "commit", "--force", "--quiet", "export")
    with pytest.raises(DataError, match=r"encoder.record.json: code: field required; an earlier version of epilstm"):
        register(repository)


def test_nothing_is_visible_when_the_remote_fails_half_way_and_a_rerun_completes(place: Place, repository: Repository):
    before = place.origin_refs()
    # One folder of the remote leads nowhere: other objects get there, this one does not.
    blocked = place.object_of("models/encoder/encoder.onnx").parent
    blocked.parent.mkdir(parents=True)
    blocked.symlink_to(place.folder / "unmounted" / "disk")
    with pytest.raises(RegistryError, match=r"DVC remote .*storage: the push did not finish.*nothing was registered"):
        register(repository)
    assert any(path.is_file() for path in place.storage.rglob("*"))
    assert place.origin_refs() == before
    blocked.unlink()
    assert register(repository).created


def test_a_missing_remote_is_reported(place: Place, repository: Repository):
    run(place.root, "dvc", "remote", "remove", "storage")
    run(place.root, "git", "commit", "-qam", "No remote")
    with pytest.raises(RegistryError, match=r"no usable DVC remote: .*dvc remote add"):
        register(repository)


def test_a_corrupted_object_in_the_remote_is_named_and_nothing_is_registered(place: Place, repository: Repository):
    run(place.root, "dvc", "push", "-q")
    damaged = place.object_of("models/encoder/encoder.onnx")
    content = bytearray(damaged.read_bytes())
    content[10] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(content)
    with pytest.raises(RegistryError, match=rf"{damaged.name} \(models/encoder/.*onnx\) is corrupted: its content"):
        register(repository)
    assert "refs/tags/encoder@v1.0.0" not in place.origin_refs()


def test_a_shortened_object_of_the_bulk_data_is_named(place: Place, repository: Repository):
    run(place.root, "dvc", "push", "-q")
    damaged = place.object_of("data/signal/manifest.json")
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(RegistryError, match=rf"{damaged.name} \(data/signal/manifest.json\) is corrupted: \d+ bytes"):
        register(repository)


def test_an_object_that_the_remote_has_lost_is_sent_again(place: Place, repository: Repository):
    run(place.root, "dvc", "push", "-q")
    lost = place.object_of("models/encoder/encoder.onnx")
    lost.unlink()
    register(repository)
    assert lost.is_file()


#: Where a process is killed: before (or after) a call.
KILLED = {
    "before the push": ("epilstm.registry.storage.Storage", "push", "before"),
    "after the push": ("epilstm.registry.storage.Storage", "verify", "before"),
    "before the commit": ("epilstm.registry.repository.Repository", "make_commit", "before"),
    "between the tags": ("epilstm.registry.repository.Repository", "make_tag", "after"),
    "before publishing": ("epilstm.registry.repository.Repository", "publish", "before"),
    "after publishing": ("epilstm.registry.repository.Repository", "publish", "after"),
    "before the branch follows": ("epilstm.registry.repository.Repository", "follow", "before"),
}

KILL = """
import os, signal, sys
from importlib import import_module
from pathlib import Path
module, _, name = sys.argv[2].rpartition(".")
owner = getattr(import_module(module), name)
real = getattr(owner, sys.argv[3])
def killed(*arguments, **options):
    if sys.argv[4] == "after":
        real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, sys.argv[3], killed)
from epilstm.registry.publication import register
from epilstm.registry.repository import Repository
register(Repository(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("point", KILLED)
def test_a_publish_killed_at_any_point_shows_nothing_half_and_a_rerun_completes(
    place: Place, repository: Repository, point: str
):
    arguments = [str(place.root), *KILLED[point]]
    done = subprocess.run([sys.executable, "-c", KILL, *arguments], env=environment(), capture_output=True)
    assert done.returncode == -9, done.stderr
    visible = {ref for ref in place.origin_refs() if ref.startswith("refs/tags/")}
    both = {"refs/tags/encoder@v1.0.0", "refs/tags/encoder#challenger#1"}
    assert visible == (both if point in ("after publishing", "before the branch follows") else set())
    assert register(repository).version.name == "v1.0.0"
    assert {ref for ref in place.origin_refs() if ref.startswith("refs/tags/")} == both
    assert run(place.root, "git", "status", "--porcelain", "--untracked-files=no") == ""
    run(place.folder, "dvc", "artifacts", "get", str(place.origin), "encoder", "--rev", "v1.0.0", "-o", "got")
    assert fingerprint(place.folder / "got") == fingerprint(place.root / "models/encoder")


def test_of_two_publishers_at_once_one_wins_and_the_other_says_so(
    place: Place, repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    slow = place.folder / "slow"
    shutil.copytree(place.root, slow, symlinks=True)
    another_encoder(slow, 5)
    publish = Repository.publish

    def overtaken(self: Repository, refs: dict, expected: dict) -> None:
        if self.root == slow:
            register(repository)
        publish(self, refs, expected)

    monkeypatch.setattr(Repository, "publish", overtaken)
    with pytest.raises(RefsTaken, match=r"another publisher was faster: it has registered encoder v1.0.0; nothing of"):
        register(Repository(slow))
    tags = {ref for ref in place.origin_refs() if ref.startswith("refs/tags/")}
    assert tags == {"refs/tags/encoder@v1.0.0", "refs/tags/encoder#challenger#1"}
    monkeypatch.undo()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    again = register(Repository(slow))
    assert again.version.name == "v1.1.0"
    assert run(place.origin, "git", "rev-parse", "main~1").strip() == register(repository).version.commit
    assert run(slow, "git", "status", "--porcelain") == ""


def test_registering_on_other_code_than_the_branch_has_now_is_refused(place: Place, repository: Repository):
    other = place.another_clone()
    (other / "regions" / "no-blacklist.bed").write_text("chr1\t0\t100\n")
    run(other, "git", "commit", "-qam", "Mask a piece")
    run(other, "git", "push", "-q")
    with pytest.raises(RegistryError, match=r"main: has moved on to other code .*regions/no-blacklist.bed"):
        register(repository)
    done = register(repository, Request(branch="retraining"))
    assert run(place.origin, "git", "rev-parse", "retraining").strip() == done.version.commit


def test_a_detached_head_needs_a_branch(place: Place, repository: Repository):
    run(place.root, "git", "checkout", "-q", "--detach")
    with pytest.raises(RegistryError, match=r"HEAD is detached: say which branch"):
        register(repository)
    done = register(repository, Request(branch="main"))
    assert run(place.origin, "git", "rev-parse", "main").strip() == done.version.commit


def test_uncommitted_code_is_named(place: Place, repository: Repository):
    path = place.root / "components" / "epilstm" / "store/arrays.py"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(RegistryError, match=r"^components/epilstm/store/arrays.py: changed but not committed"):
        register(repository)


def test_a_dependency_that_neither_git_nor_dvc_has_is_named(place: Place, repository: Repository):
    run(place.root, "git", "rm", "-q", "--cached", "regions/no-blacklist.bed")
    run(place.root, "git", "commit", "-qm", "Forget it")
    run(place.root, "git", "push", "-q", "origin", "main")
    with pytest.raises(
        RegistryError, match=r"regions/no-blacklist.bed: a stage depends on it, but neither git nor DVC"
    ):
        register(repository)


def test_an_encoder_that_is_not_what_dvc_lock_says_is_refused(place: Place, repository: Repository):
    path = place.root / "models/encoder/manifest.json"
    content = path.read_text()
    path.unlink()
    path.write_text(content + "\n")
    with pytest.raises(RegistryError, match=r"models/encoder: differs from what dvc.lock says"):
        register(repository)


def test_an_encoder_that_does_not_follow_from_the_model_is_refused(place: Place, repository: Repository):
    another_encoder(place.root, 2, model_fingerprint="0" * 64)
    with pytest.raises(Exception, match=r"models/encoder: was made from another model than models/autoencoder"):
        register(repository)


def test_a_local_tag_that_is_not_the_shared_one_is_refused(place: Place, repository: Repository):
    run(place.root, "git", "tag", "-am", "mine", "encoder@v1.0.0")
    with pytest.raises(RegistryError, match=r"tag encoder@v1.0.0: .*delete it here"):
        register(repository)


def test_a_shared_tag_that_the_registry_did_not_make_is_refused(place: Place, repository: Repository):
    run(place.root, "git", "tag", "-am", "by hand", "encoder@v1.0.0")
    run(place.root, "git", "push", "-q", "origin", "encoder@v1.0.0")
    with pytest.raises(RegistryError, match=r"encoder@v1.0.0: its commit .* has no registry/encoder/provenance.json"):
        register(repository)


def test_an_origin_that_cannot_be_reached_is_reported(place: Place, repository: Repository):
    place.origin.rename(place.folder / "moved.git")
    with pytest.raises(RegistryError, match=r"origin.git: cannot be reached"):
        register(repository)


def test_without_a_shared_repository_the_clone_is_the_registry(place: Place, repository: Repository):
    run(place.root, "git", "remote", "remove", "origin")
    assert register(repository).version.name == "v1.0.0"
    assert run(place.root, "git", "tag").split() == ["encoder#challenger#1", "encoder@v1.0.0"]
    assert run(place.root, "git", "status", "--porcelain") == ""
    another_encoder(place.root, 2)
    assert register(repository).version.name == "v1.1.0"


def test_git_without_a_name_is_reported_before_anything_is_pushed(
    place: Place, repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(place.folder))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(RegistryError, match=r"git has no name and address"):
        register(repository)
    assert not place.storage.exists()


def test_a_decision_about_another_encoder_is_refused(place: Place, repository: Repository):
    from support.registry.small_decision import decision

    path = place.folder / "decision.json"
    path.write_text(decision(challenger="0" * 64).model_dump_json())
    with pytest.raises(RegistryError, match=r"decision.json: a decision about another encoder"):
        register(repository, Request(decision=path))


def test_another_machine_pulls_everything_and_has_nothing_to_run(place: Place, repository: Repository):
    register(repository)
    other = place.another_clone()
    run(other, "dvc", "pull", "-q")
    output = run(other, "dvc", "repro")
    assert re.findall(r"Running stage '(\w+)'", output) == ["fingerprint"]
    assert fingerprint(other / "data/matrix") == fingerprint(place.root / "data/matrix")


def test_what_a_cluster_made_is_registered_from_a_fresh_clone(place: Place, repository: Repository):
    clone = place.another_clone()
    params = place.folder / "params.yaml"
    params.write_text((place.root / "params.yaml").read_text())
    set_params(place.folder, train={"patience": 3})
    manifests = place.folder / "manifests"
    for name in ("signal", "matrix"):
        (manifests / name).mkdir(parents=True)
        shutil.copy(place.root / "data" / name / "manifest.json", manifests / name)
    given = {
        "encoder": place.root / "models/encoder",
        "model": place.root / "models/autoencoder",
        "evaluation": place.root / "evaluation",
        "params": params,
        "samplesheet": place.root / "data/simulated/samplesheet.csv",
        "signal": manifests / "signal",
        "matrix": manifests / "matrix",
        "metrics/train.json": place.root / "metrics/train.json",
    }
    adopted = [word for name, path in given.items() for word in ("--adopt", f"{name}={path}")]
    assert run(clone, "epilstm", "model", "register", *adopted, "--branch", "retraining") == "encoder@v1.0.0\n"
    run(place.folder, "dvc", "artifacts", "get", str(place.origin), "encoder", "--rev", "v1.0.0", "-o", "got")
    assert fingerprint(place.folder / "got") == fingerprint(place.root / "models/encoder")
    assert yaml.safe_load(at(place, "v1.0.0", "params.yaml"))["train"]["patience"] == 3
    given_tracks = json.loads(at(place, "v1.0.0", "registry/encoder/provenance.json"))["tracks"]
    assert len(given_tracks) == 6
    assert not (clone / "metrics" / "evaluate.json").exists()


def test_what_cannot_be_taken_over_is_reported(place: Place):
    from epilstm.registry.adoption import adopt

    with pytest.raises(RegistryError, match=r"history: cannot be taken over"):
        adopt(place.root, {"history": Path("x")})
    with pytest.raises(RegistryError, match=r"encoder: missing"):
        adopt(place.root, {"model": place.root / "models/autoencoder"})
    paths = {"model": "models/autoencoder", "encoder": "models/encoder", "signal": "data/signal"}
    paths |= {"matrix": "data/matrix", "params": "params.yaml", "samplesheet": "data/simulated/samplesheet.csv"}
    paths |= {"metrics/../../elsewhere.json": "params.yaml"}
    with pytest.raises(RegistryError, match=r"metrics/../../elsewhere.json: no stage of dvc.yaml writes it"):
        adopt(place.root, {name: place.root / path for name, path in paths.items()})


def test_reading_an_unusable_provenance_is_one_line(place: Place, repository: Repository):
    version = register(repository).version
    broken = repository.make_commit(version.commit, {"registry/encoder/provenance.json": b"{}"}, "Break it")
    with pytest.raises(RegistryError, match=r"encoder@v1.0.0: registry/encoder/provenance.json is unusable"):
        publication.provenance_at(repository, type(version)("v1.0.0", version.tag, broken, 0, None))
