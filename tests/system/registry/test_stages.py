"""Stages: champion, challenger, archived; and what is fetched by them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from epilstm.errors import RegistryError
from epilstm.files.outputs import fingerprint, sha256_file
from epilstm.registry import publication
from epilstm.registry.fetching import fetch
from epilstm.registry.publication import Request, promote, register, rollback
from epilstm.registry.repository import RefsTaken, Repository
from epilstm.registry.rollout import read_rollout, rollout
from support.nonempty import nonempty
from support.registry.finished_project import Place, another_encoder, run
from support.registry.small_decision import decision


def decided(place: Place, **options: str) -> Path:
    """A decision about the work tree's encoder."""
    path = place.folder / "decision.json"
    given = decision(fingerprint(place.root / "models/encoder"), **options)  # type: ignore[arg-type]
    path.write_text(given.model_dump_json())
    return path


def got(place: Place, *stage: str) -> str:
    """Fingerprint of what plain DVC fetches."""
    shutil.rmtree(place.folder / "plain", ignore_errors=True)
    run(place.folder, "dvc", "artifacts", "get", str(place.origin), "encoder", *stage, "-o", "plain")
    return fingerprint(place.folder / "plain")


def test_a_version_that_the_gate_did_not_pass_is_not_promoted_without_a_reason(place: Place, repository: Repository):
    register(repository)
    with pytest.raises(RegistryError, match=r"encoder@v1.0.0: has no decision of the gate"):
        promote(repository, "challenger")
    another_encoder(place.root, 2)
    register(repository, Request(decision=decided(place, outcome="hold")))
    with pytest.raises(RegistryError, match=r"encoder@v1.1.0: the gate decided to hold it \(b: timing fell\)"):
        promote(repository, "challenger")
    with pytest.raises(RegistryError, match="--force needs a reason"):
        promote(repository, "challenger", force=" ")
    registered, changed = promote(repository, "challenger", force="the champion's data were retracted")
    assert changed
    message = run(place.origin, "git", "tag", "-l", "--format=%(contents)", registered.assignments[-1].tag.name)
    assert "forced: the champion's data were retracted" in message


def test_a_decision_against_another_champion_than_the_present_one_is_stale(place: Place, repository: Repository):
    register(repository, Request(decision=decided(place)))
    promote(repository, "challenger")
    another_encoder(place.root, 2)
    register(repository, Request(decision=decided(place)))
    with pytest.raises(RegistryError, match=r"encoder@v1.1.0: was compared with another champion .*\(v1.0.0\)"):
        promote(repository, "challenger")


def test_promotion_archives_and_rollback_returns_each_reachable_by_plain_dvc(place: Place, repository: Repository):
    encoders = []
    for number in (1, 2, 3):
        another_encoder(place.root, number)
        encoders.append(fingerprint(place.root / "models/encoder"))
        register(repository)
        promote(repository, "latest", force="test")
    assert got(place, "--stage", "champion") == encoders[2]
    registered = rollback(repository)
    assert [version.stage for version in registered.versions] == ["archived", "champion", "archived"]
    assert got(place, "--stage", "champion") == encoders[1]
    assert rollback(repository).version("champion").name == "v1.0.0"
    assert got(place, "--stage", "champion") == encoders[0]
    with pytest.raises(RegistryError, match=r"no earlier champion to go back to; v1.0.0 is the first one"):
        rollback(repository)
    assert got(place, "--rev", "v1.2.0") == encoders[2]


def test_what_was_rolled_back_is_not_promoted_again_without_a_reason(place: Place, repository: Repository):
    register(repository, Request(decision=decided(place)))
    promote(repository, "challenger")
    before = fingerprint(place.root / "models/encoder")
    another_encoder(place.root, 2)
    register(repository, Request(decision=decided(place, champion=before)))
    promote(repository, "challenger")
    rollback(repository)
    with pytest.raises(RegistryError, match=r"encoder@v1.1.0: was champion and was rolled back"):
        promote(repository, "challenger")
    assert promote(repository, "challenger", force="the alarm was false")[0].version("champion").name == "v1.1.0"


def test_of_two_promotions_one_wins_though_a_version_was_registered_meanwhile(
    place: Place, repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    register(repository)
    another_encoder(place.root, 2)
    register(repository)
    other = Repository(place.another_clone())
    publish = Repository.publish

    def overtaken(self: Repository, refs: dict, expected: dict) -> None:
        if self.root == other.root:
            another_encoder(place.root, 3)
            register(repository)
            promote(repository, "latest", force="first")
        publish(self, refs, expected)

    monkeypatch.setattr(Repository, "publish", overtaken)
    with pytest.raises(RefsTaken, match=r"another publisher was faster"):
        promote(other, "v1.1.0", force="second")
    assert publication.current(repository).version("champion").name == "v1.2.0"


def test_promoting_the_champion_again_changes_nothing(place: Place, repository: Repository):
    register(repository)
    promote(repository, "latest", force="first")
    before = place.origin_refs()
    assert promote(repository, "latest", force="first")[1] is False
    assert place.origin_refs() == before


def test_of_two_promotions_at_once_one_wins(place: Place, repository: Repository, monkeypatch: pytest.MonkeyPatch):
    register(repository)
    another_encoder(place.root, 2)
    register(repository)
    other = Repository(place.another_clone())
    publish = Repository.publish

    def overtaken(self: Repository, refs: dict, expected: dict) -> None:
        if self.root == other.root:
            promote(repository, "v1.1.0", force="first")
        publish(self, refs, expected)

    monkeypatch.setattr(Repository, "publish", overtaken)
    with pytest.raises(RefsTaken, match=r"another publisher was faster: it has made v1.1.0 champion"):
        promote(other, "v1.0.0", force="second")
    assert publication.current(repository).version("champion").name == "v1.1.0"


def test_the_roll_out_gives_a_new_champion_its_share_and_a_rollback_gives_all_to_the_old(
    place: Place, repository: Repository
):
    for number in (1, 2):
        another_encoder(place.root, number)
        registered, _ = promote(repository, register(repository).version.name, force="test")
    shared = rollout(repository, registered, 10)
    assert (shared.stable.version, shared.canary and shared.canary.version, shared.canary_percent) == (
        "v1.0.0", "v1.1.0", 10,
    )  # fmt: skip
    whole = rollout(repository, registered, 100)
    assert (whole.stable.version, whole.canary) == ("v1.1.0", None)
    file = place.folder / "rollout.json"
    run(place.root, "epilstm", "model", "rollback", "--rollout", str(file))
    assert (read_rollout(file).stable.version, read_rollout(file).canary) == ("v1.0.0", None)
    assert read_rollout(file).stable.encoder_fingerprint == got(place, "--stage", "champion")


def test_an_encoder_is_fetched_by_stage_from_anywhere_and_left_alone_when_it_is_there(
    place: Place, repository: Repository
):
    register(repository)
    promote(repository, "latest", force="first")
    target = place.folder / "served"
    first = fetch(str(place.origin), "champion", target)
    assert (first.version.name, first.downloaded) == ("v1.0.0", True)
    assert fingerprint(target) == fingerprint(place.root / "models/encoder")
    assert fetch(str(place.origin), "champion", target).downloaded is False
    (target / "encoder.onnx").unlink()
    with pytest.raises(RegistryError, match=r"encoder.onnx: missing"):
        fetch(str(place.origin), "champion", target)


def test_what_the_remote_has_corrupted_since_is_named_and_never_put_in_place(place: Place, repository: Repository):
    register(repository)
    damaged = place.object_of("models/encoder/encoder_stateful.onnx")
    content = bytearray(damaged.read_bytes())
    content[10] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(content)
    target = place.folder / "served"
    with pytest.raises(RegistryError, match=r"encoder@v1.0.0: .*encoder_stateful.onnx.* corrupted"):
        fetch(str(place.origin), "latest", target)
    assert not target.exists()


def test_no_champion_is_an_error_or_on_request_an_empty_folder(place: Place):
    command = ("epilstm", "model", "get", "champion", "--repo", str(place.origin), "-o", "none")
    output = run(place.folder, *command, check=False)
    assert "error: encoder: no version is champion; nothing is registered yet" in output
    run(place.folder, *command, "--allow-none")
    assert list((place.folder / "none").iterdir()) == []


def test_lineage_leads_from_a_served_encoder_to_each_bigwig(place: Place, repository: Repository):
    register(repository)
    fetch(str(place.origin), "latest", place.folder / "served")
    by_version = run(place.root, "epilstm", "model", "lineage", "v1.0.0")
    by_folder = run(place.root, "epilstm", "model", "lineage", str(place.folder / "served"))
    assert by_version == by_folder
    for bigwig in nonempty((place.root / "data/simulated/bigwig").iterdir()):
        assert sha256_file(bigwig) in by_version
    for dataset in ("models/encoder", "models/autoencoder", "data/matrix", "data/signal"):
        assert fingerprint(place.root / dataset) in by_version


def test_list_and_show_read_a_url(place: Place, repository: Repository):
    register(repository)
    output = run(place.folder, "epilstm", "model", "list", "--repo", str(place.origin))
    assert output.split()[:2] == ["v1.0.0", "challenger"]
    card = run(place.folder, "epilstm", "model", "show", "v1.0.0", "--repo", f"file://{place.origin}")
    assert card.startswith("# encoder v1.0.0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--repo", "absent"), "error: absent: no repository there, or it cannot be reached"),
        (("register", "--repo", "absent"), "error: --repo absent: not a folder"),
        (("register", "--repo", "."), "not in a git repository"),
        (("show", "v7.0.0", "--repo", "clone"), "no version v7.0.0; nothing is registered yet"),
        (("rollback", "--repo", "clone"), "no earlier champion to go back to; there has been none"),
        (("register", "--repo", "clone", "--artifact", "decoder"), "dvc.yaml: no artifact 'decoder'"),
        (("register", "--repo", "clone", "--branch", "a..b"), "--branch a..b: not a usable branch name"),
        (("register", "--repo", "clone", "--adopt", "encoder"), "--adopt encoder: write it as PORT=PATH"),
    ],
)
def test_what_cannot_be_done_is_one_line(place: Place, arguments: tuple[str, ...], message: str):
    output = run(place.folder, "epilstm", "model", *arguments, check=False)
    assert message in output
    assert "Traceback" not in output
    assert len([line for line in output.splitlines() if not line.startswith("{")]) == 1
