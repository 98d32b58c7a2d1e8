"""Three rounds of retraining: promoted, held back, promoted; then rolled back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from epilstm.files.outputs import fingerprint, sha256_file
from epilstm.registry.rollout import read_rollout
from support.registry.finished_project import Place, run, set_params

PROVENANCE = "registry/encoder/provenance.json"

#: What the third model is better with, on so little data, by more than the noise of its tasks.
SHAPE = {"embedding_size": 2, "rotation": "none", "schedule": "cosine", "track_dropout": 0.0}
FIRST = {**SHAPE, "hidden_size": 32, "epochs": 20, "learning_rate": 1e-2, "streams": 4}
BAD = {**SHAPE, "hidden_size": 32, "epochs": 1, "learning_rate": 1e-7, "streams": 4}
BETTER = {**SHAPE, "hidden_size": 24, "epochs": 12, "learning_rate": 1e-2, "streams": 2}


def retrain(place: Place, *arguments: str) -> str:
    return run(place.root, "epilstm", "retrain", "--rollout", str(place.folder / "rollout.json"), *arguments)


def fetched(place: Place, *which: str) -> str:
    """Fingerprint of what plain DVC fetches, run in a fresh clone."""
    name = f"clone-{len(list(place.folder.iterdir()))}"
    clone = place.another_clone(name)
    run(clone, "dvc", "artifacts", "get", str(place.origin), "encoder", *which, "-o", "encoder")
    return fingerprint(clone / "encoder")


def served(place: Place) -> str:
    return read_rollout(place.folder / "rollout.json").stable.version


def test_a_good_model_is_promoted_a_bad_one_held_back_a_better_one_promoted_and_rolled_back(place: Place):
    encoder = place.root / "models" / "encoder"
    set_params(place.root, train=FIRST)
    assert retrain(place).endswith("encoder@v1.0.0 is champion\n")
    first = fingerprint(encoder)
    assert (fetched(place, "--stage", "champion"), served(place)) == (first, "v1.0.0")

    assert retrain(place).endswith("nothing new: data, params and code are those of encoder@v1.0.0\n")

    set_params(place.root, train=BAD)
    assert "encoder@v1.1.0 is held back: a: held-out reconstruction over" in retrain(place)
    bad = fingerprint(encoder)
    decision = json.loads(run(place.origin, "git", "show", "encoder@v1.1.0:registry/encoder/decision.json"))
    assert (decision["decision"], decision["champion_state"]) == ("hold", "comparable")
    assert decision["challenger"]["encoder_fingerprint"] == bad
    assert decision["champion"]["encoder_fingerprint"] == first
    assert {check["rule"] for check in decision["checks"]} == {"a", "b", "c", "d"}
    assert "**failed**" in run(place.origin, "git", "show", "encoder@v1.1.0:registry/encoder/decision.md")
    assert fetched(place, "--stage", "champion") == first
    assert (fetched(place, "--stage", "challenger"), served(place)) == (bad, "v1.0.0")

    set_params(place.root, train=BETTER)
    assert retrain(place).endswith("encoder@v1.2.0 is champion\n")
    better = fingerprint(encoder)
    assert fetched(place, "--stage", "champion") == better
    assert (fetched(place, "--stage", "archived"), served(place)) == (first, "v1.2.0")

    run(place.root, "epilstm", "model", "rollback", "--rollout", str(place.folder / "rollout.json"))
    assert (fetched(place, "--stage", "champion"), served(place)) == (first, "v1.0.0")
    versions = {"v1.0.0": first, "v1.1.0": bad, "v1.2.0": better}
    assert {version: fetched(place, "--rev", version) for version in versions} == versions
    assert run(place.root, "git", "status", "--porcelain") == ""
    assert Path(place.root / "registry/encoder/MODEL_CARD.md").read_text().startswith("# encoder v1.2.0\n")


def test_a_track_that_changes_at_its_source_is_brought_in_and_trained_on(place: Place):
    source = place.folder / "source"
    shutil.copytree(place.root / "data" / "simulated" / "bigwig", source)
    rows = [f"{path.stem.replace('-', ',', 1)},{path.name}" for path in sorted(source.iterdir())]
    (source / "sheet.csv").write_text("\n".join(["cell_type,assay,uri", *rows]))
    run(place.root, "epilstm", "data", "import", str(source / "sheet.csv"))
    run(place.root, "git", "add", "tracks.dvc", ".gitignore")
    set_params(place.root, ingest={"samplesheet": "tracks/samplesheet.csv"})
    assert retrain(place).startswith("encoder@v1.0.0 is")
    assert retrain(place).startswith("nothing new")
    os.utime(source / "C01-DNase.bigwig", ns=(1, 1))
    assert retrain(place).startswith("nothing new")
    shutil.copyfile(source / "C02-DNase.bigwig", source / "C01-DNase.bigwig")
    assert retrain(place).startswith("encoder@v1.1.0 is")
    [old, new] = [json.loads(run(place.origin, "git", "show", f"encoder@{version}:{PROVENANCE}"))["tracks"][0] for
                  version in ("v1.0.0", "v1.1.0")]  # fmt: skip
    assert (old["name"], old["origin"]) == ("C01-DNase", str(source / "C01-DNase.bigwig"))
    assert new["sha256"] == sha256_file(source / "C02-DNase.bigwig") != old["sha256"]
