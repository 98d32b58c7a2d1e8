"""The promote step end to end on a tiny epigenome."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from epilstm.errors import DataError, ModelError
from epilstm.files.outputs import MANIFEST, fingerprint, read_json, sha256_file, write_json
from epilstm.model.config import ModelConfig
from epilstm.model.encoder_folder import EncoderManifest, read_encoder_manifest
from epilstm.model.folder import ModelManifest, read_model_manifest, save_model, save_weights
from epilstm.model.networks import build
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.steps.export.parity import random_signal
from epilstm.steps.promote.champion import Restandardised, champion_representation, why_incomparable
from epilstm.steps.promote.decision import Decision, read_decision
from epilstm.store.manifests import Scaler, read_manifest, write_manifest
from epilstm.store.matrix import Matrix
from epilstm.store.standardisation import standardise
from support.evaluate import tiny_evaluation
from support.nonempty import nonempty

EVALUATE = {"folds": {"by": "chromosome", "count": 4}, "bootstrap": 50, "classifier": {"trees": 10}, "threads": 1}


def step(name: str, folder: Path, params: dict, **paths: Path) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({name: params}))
    run_step(STEPS[name], file, paths, frozenset())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A challenger with its encoder, embeddings and evaluation."""
    folder = tmp_path_factory.mktemp("challenger")
    tiny_evaluation.make(folder)
    shutil.rmtree(folder / "embeddings")
    step("export", folder, {"triton": False}, model=folder / "model", encoder=folder / "encoder")
    step(
        "embed", folder, {"threads": 1},
        matrix=folder / "matrix", encoder=folder / "encoder", embeddings=folder / "embeddings",
    )  # fmt: skip
    step(
        "evaluate", folder, EVALUATE,
        matrix=folder / "matrix", model=folder / "model", embeddings=folder / "embeddings",
        tasks=folder / "tasks.yaml", labels=folder / "labels", evaluation=folder / "evaluation",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def champion(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of four of the tracks in another order, of another scaler and from another matrix."""
    folder = tmp_path_factory.mktemp("champion")
    old = read_model_manifest(run_folder / "model")
    tracks = [old.tracks[number] for number in (4, 0, 3, 1)]
    config = ModelConfig(architecture="bottleneck", tracks=4, embedding_size=2, hidden_size=5, layers=1)
    scaler = Scaler(tracks=tracks, mean=[0.1, -0.2, 0.3, 0.4], scale=[0.5, 1.5, 2.0, 0.8])
    digest = save_weights(folder / "model", build(config, 3))
    changes = {"config": config, "scaler": scaler, "weights_sha256": digest, "matrix_fingerprint": "another"}
    save_model(folder / "model", ModelManifest(**{**dict(old), **changes}))
    step("export", folder, {"triton": False}, model=folder / "model", encoder=folder / "encoder")
    return folder / "encoder"


Promote = Callable[..., Decision]


@pytest.fixture
def promote(run_folder: Path, tmp_path: Path) -> Promote:
    def call(champion: Path | None = None, params: dict | None = None, **paths: Path) -> Decision:
        inputs = {name: run_folder / name for name in ("matrix", "model", "encoder", "evaluation", "labels")}
        inputs |= {"tasks": run_folder / "tasks.yaml"} | ({"champion": champion} if champion else {}) | paths
        outputs = {name: tmp_path / name for name in ("decision", "reasons", "metrics")}
        step("promote", tmp_path, {"threads": 1} | (params or {}), **inputs, **outputs)
        return read_decision(outputs["decision"])

    return call


def test_a_model_that_was_not_trained_is_held_back_and_the_record_says_why(promote: Promote, tmp_path: Path):
    decision = promote()
    assert (decision.decision, decision.champion_state, decision.comparisons) == ("hold", "absent", [])
    assert any(reason.startswith("a: held-out reconstruction") for reason in decision.reasons)
    assert (tmp_path / "reasons").read_text().startswith("# Hold\n")
    assert json.loads((tmp_path / "metrics").read_text())["promote"] == 0


def test_a_challenger_evaluated_without_tasks_is_decided_on_reconstruction_and_the_record_says_so(
    promote: Promote, run_folder: Path, tmp_path: Path
):
    step(
        "evaluate", tmp_path / "alone", EVALUATE,
        matrix=run_folder / "matrix", model=run_folder / "model", embeddings=run_folder / "embeddings",
        evaluation=tmp_path / "alone" / "evaluation",
    )  # fmt: skip
    inputs = {name: run_folder / name for name in ("matrix", "model", "encoder")}
    inputs["evaluation"] = tmp_path / "alone" / "evaluation"
    step("promote", tmp_path, {"threads": 1}, **inputs, decision=tmp_path / "decision")
    decision = read_decision(tmp_path / "decision")
    assert {check.name for check in decision.checks if check.rule == "a"} == {
        "held-out reconstruction over untrained",
        "held-out reconstruction over pca",
    }
    assert decision.reasons[-1].startswith("no tasks of classes were evaluated")
    step("promote", tmp_path, {"threads": 1}, **inputs, champion=run_folder / "encoder", decision=tmp_path / "second")
    against = read_decision(tmp_path / "second")
    assert any("mean over tasks of classes against the champion" in reason for reason in against.reasons)
    with pytest.raises(DataError, match="was made without tasks; leave --tasks and --labels out"):
        promote(evaluation=inputs["evaluation"])


def test_an_empty_folder_is_no_champion(promote: Promote, tmp_path: Path):
    (tmp_path / "none").mkdir()
    assert promote(tmp_path / "none").champion_state == "absent"


def test_a_challenger_equals_itself_as_champion(promote: Promote, run_folder: Path):
    decision = promote(run_folder / "encoder")
    assert decision.champion_state == "comparable"
    assert [each.name for each in decision.comparisons] == [
        "expression", "contacts", "fire", "timing", "expression in A", "expression in B", "mean",
    ]  # fmt: skip
    for each in nonempty(decision.comparisons):
        assert each.delta == pytest.approx(0, abs=0.02)  # both in float16, in windows of their own
        assert each.verdict == "is indistinguishable from"


def test_a_champion_of_fewer_tracks_and_another_scaler_is_compared_on_the_same_examples(
    promote: Promote, champion: Path, run_folder: Path
):
    decision = promote(champion)
    assert decision.champion is not None
    assert decision.champion.encoder_fingerprint == fingerprint(champion)
    evaluated = json.loads((run_folder / "evaluation" / "scores.json").read_text())["tasks"]
    *tasks, mean = [each for each in decision.comparisons if not each.cell_type]
    for each in nonempty(decision.comparisons[:-1]):
        task = evaluated[each.task]
        of = task["cell_types"][each.cell_type]["representations"] if each.cell_type else task["summary"]
        summary = of["embedding"]
        assert each.challenger == pytest.approx(summary["average_precision"], abs=1e-12)
        assert each.ci.low <= each.delta <= each.ci.high
    assert mean.delta == pytest.approx(np.mean([each.delta for each in tasks]))
    within = [each.delta for each in decision.comparisons if each.cell_type]
    assert tasks[0].delta == pytest.approx(np.mean(within))


def test_a_champion_trained_on_other_data_is_stale_where_the_params_say_so(promote: Promote, champion: Path):
    decision = promote(champion, {"stale": "other_data"})
    assert (decision.champion_state, len(decision.comparisons)) == ("stale", 7)


def test_a_champion_that_needs_a_track_that_the_data_lack_is_stale(promote: Promote, champion: Path, tmp_path: Path):
    lacking = tmp_path / "lacking"
    shutil.copytree(champion, lacking)
    manifest = read_encoder_manifest(lacking)
    scaler = manifest.scaler.model_copy(update={"tracks": ["C-DNase", *manifest.scaler.tracks[1:]]})
    write_manifest(lacking, manifest.model_copy(update={"scaler": scaler}))
    decision = promote(lacking)
    assert (decision.champion_state, decision.comparisons) == ("stale", [])
    assert "it needs the track C-DNase, which the data lack" in decision.champion_note


def test_a_champion_of_another_bin_size_or_assembly_is_incomparable(run_folder: Path):
    encoder = read_encoder_manifest(run_folder / "encoder")
    matrix = Matrix(run_folder / "matrix").manifest
    scaler = Scaler.model_validate_json((run_folder / "matrix" / "scaler.json").read_text())
    assert why_incomparable(matrix, scaler, encoder) is None
    assert "bins of 50 bp" in str(why_incomparable(matrix, scaler, encoder.model_copy(update={"bin_size": 50})))
    other = scaler.model_copy(update={"uncovered": "missing"})
    assert "are zero to it, missing in the data" in str(why_incomparable(matrix, other, encoder))
    assert "assembly hg38" in str(why_incomparable(matrix, scaler, encoder.model_copy(update={"assembly": "hg38"})))


def test_restandardising_is_standardising_the_raw_signal_with_the_other_scaler():
    have = Scaler(tracks=["a", "b", "c"], mean=[0.5, 1.0, -1.0], scale=[1.0, 2.0, 0.5])
    wanted = Scaler(tracks=["c", "a"], mean=[0.2, 0.3], scale=[1.5, 0.7])
    signal = random_signal(np.random.default_rng(1), 1, 500, have)[0]
    rows = standardise(signal, have).astype(np.float32)
    expected = standardise(signal[:, [2, 0]], wanted)
    np.testing.assert_allclose(Restandardised(have, wanted)(rows), expected, rtol=2e-3, atol=2e-3)


def test_restandardising_changes_transforms_and_keeps_what_had_no_data():
    tracks, treated = ["a", "b"], {"uncovered": ["zero", "missing"], "mean": [0.5, 0.6], "scale": [1.0, 0.2]}
    have = Scaler(tracks=tracks, transform=["arcsinh", "none"], **treated)
    wanted = Scaler(tracks=tracks, transform=["log1p", "none"], **{**treated, "mean": [0.1, 0.7]})
    signal = np.array([[0.0, 0.3], [5.0, np.nan], [200.0, 1.0]])
    got = Restandardised(have, wanted)(standardise(signal, have).astype(np.float32))
    np.testing.assert_allclose(got, standardise(signal, wanted), rtol=2e-3, atol=2e-3)


def test_the_champions_embedding_is_its_own_encoders_on_one_pass(run_folder: Path, champion: Path):
    import onnxruntime

    matrix = Matrix(run_folder / "matrix")
    encoder = read_manifest(champion, EncoderManifest)
    have = Scaler.model_validate_json((run_folder / "matrix" / "scaler.json").read_text())
    block = next(block for block in matrix.blocks() if block.first == 0)
    signal = np.sinh(matrix.rows(block)[:, [have.tracks.index(track) for track in encoder.tracks]])
    session = onnxruntime.InferenceSession(str(champion / "encoder.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"signal": signal[None]})
    got = champion_representation(matrix, have, champion, encoder).block(block)
    np.testing.assert_allclose(got, expected[0], atol=5e-3 * expected.std())


def test_force_promotes_with_its_reason(promote: Promote):
    decision = promote(params={"force": "first model of this assembly"})
    assert (decision.decision, decision.verdict) == ("promote", "hold")


def test_parts_of_different_runs_are_refused(promote: Promote, champion: Path, run_folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="was made from another model than"):
        promote(encoder=champion)
    other = tmp_path / "tasks.yaml"
    other.write_text((run_folder / "tasks.yaml").read_text() + "\n")
    with pytest.raises(DataError, match="was made from another tasks than"):
        promote(tasks=other)


def test_predictions_that_do_not_fit_the_examples_are_refused(
    promote: Promote, champion: Path, run_folder: Path, tmp_path: Path
):
    import pyarrow.parquet

    shutil.copytree(run_folder / "evaluation", tmp_path / "evaluation")
    path = tmp_path / "evaluation" / "predictions.parquet"
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.take(list(reversed(range(table.num_rows)))), path)
    with pytest.raises(DataError, match=r"predictions\.parquet: missing, damaged or replaced"):
        promote(champion, evaluation=tmp_path / "evaluation")
    manifest = read_json(tmp_path / "evaluation" / MANIFEST)
    write_json(tmp_path / "evaluation" / MANIFEST, {**manifest, "predictions_sha256": sha256_file(path)})
    with pytest.raises(DataError, match="not the examples and folds"):
        promote(champion, evaluation=tmp_path / "evaluation")


def test_a_damaged_champion_is_reported(promote: Promote, champion: Path, tmp_path: Path):
    shutil.copytree(champion, tmp_path / "champion")
    (tmp_path / "champion" / "encoder.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"encoder.onnx: damaged or replaced"):
        promote(tmp_path / "champion")
