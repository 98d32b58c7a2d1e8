"""``epilstm promote``: measure, decide, write the decision down.

``decision.json`` is a `epilstm.steps.promote.decision.Decision`; its key ``decision`` is ``promote`` or ``hold``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from epilstm.console import log, progress
from epilstm.errors import DataError
from epilstm.files.outputs import ENCODER, MANIFEST, fingerprint, sha256_file, to_json
from epilstm.model.encoder_folder import EncoderManifest, checked_file, read_encoder_manifest
from epilstm.model.encoder_session import cpu_session, median_milliseconds
from epilstm.params import EvaluateParams, PromoteParams, validate
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.scoring.prediction import predict_all
from epilstm.scoring.tasks import Task, given_tasks
from epilstm.scoring.trials import prepare_trials
from epilstm.steps.promote.champion import champion_representation, why_incomparable
from epilstm.steps.promote.comparison import challenger_scores, compare
from epilstm.steps.promote.decision import Champion, Comparison, Contender, Decision
from epilstm.steps.promote.gate import Evidence, decide, decision_record
from epilstm.store.arrays import available_cores
from epilstm.store.evaluation_results import EMBEDDING, EvaluationManifest, read_results
from epilstm.store.manifests import read_manifest, read_scaler
from epilstm.store.matrix import Matrix


def run(params: PromoteParams, context: StepContext) -> StepResult:
    """Assess the challenger by its evaluation, its encoder and the champion."""
    import torch

    from epilstm.model.folder import load_model

    inputs = context.inputs
    encoder = read_encoder_manifest(inputs["encoder"])
    network, model = load_model(inputs["model"])
    matrix = Matrix(inputs["matrix"])
    tasks, labels = given_tasks(inputs)
    evaluation = read_manifest(inputs["evaluation"], EvaluationManifest)
    _require_one_challenger(context, matrix, encoder, evaluation, tasks, labels)
    results = read_results(inputs["evaluation"])
    champion, state, note, comparisons = _champion(params, context, matrix, evaluation, tasks, labels)

    session = cpu_session(checked_file(inputs["encoder"], encoder, ENCODER))
    decision = decide(
        Evidence(
            challenger=_contender(inputs["encoder"], encoder),
            champion=champion,
            champion_state=state,
            champion_note=note,
            r2={name: fit.r2 for name, fit in results.reconstruction.models.items()},
            r2_left_out=results.reconstruction.left_out,
            baselines={name: task.differences for name, task in results.tasks.items()},
            comparisons=comparisons,
            parity=encoder.parity,
            encoder_bytes=(inputs["encoder"] / ENCODER).stat().st_size,
            milliseconds=median_milliseconds(session, len(encoder.tracks)),
            losses={"training loss": model.training.train_mse, "validation loss": model.training.validation_mse},
            weights_moved=model.training.weights_moved,
            weights_not_finite=sum(int((~torch.isfinite(each)).sum()) for each in network.state_dict().values()),
            confidence=results.confidence,
            matrix_fingerprint=matrix.fingerprint,
            evaluation_fingerprint=fingerprint(inputs["evaluation"]),
            left_out=results.left_out,
        ),
        params,
    )
    for reason in decision.reasons:
        log.info(reason)
    context.outputs["decision"].write_text(to_json(decision.model_dump(mode="json")), encoding="utf-8")
    if "reasons" in context.outputs:
        context.outputs["reasons"].write_text(decision_record(decision), encoding="utf-8")
    return StepResult(f"{decision.decision}: {decision.reasons[0]}", metrics(decision), tracks=matrix.tracks)


def metrics(decision: Decision) -> dict[str, Any]:
    """The numbers of a decision for the metrics file."""
    return {
        "promote": int(decision.decision == "promote"),
        "forced": int(decision.forced is not None),
        "checks_failed": sum(not check.passed for check in decision.checks),
        "checks_not_judged": sum(not check.judged for check in decision.checks),
        "champion": decision.champion_state,
        "tasks": {
            each.task: {"challenger": each.challenger, "champion": each.champion, "delta": each.delta}
            for each in decision.comparisons
        },
    }


def _contender(folder: Path, encoder: EncoderManifest) -> Contender:
    return Contender(
        encoder_fingerprint=fingerprint(folder),
        model_fingerprint=encoder.model_fingerprint,
        matrix_fingerprint=encoder.matrix_fingerprint,
    )


def _require_one_challenger(
    context: StepContext,
    matrix: Matrix,
    encoder: EncoderManifest,
    evaluation: EvaluationManifest,
    tasks: list[Task],
    labels_folder: Path,
) -> None:
    inputs = context.inputs
    if "tasks" in inputs and evaluation.tasks_sha256 is None:
        raise DataError(f"{inputs['evaluation']}: was made without tasks; leave --tasks and --labels out")
    if "tasks" not in inputs and evaluation.tasks_sha256 is not None:
        raise DataError(f"{inputs['evaluation']}: was made with tasks; give the same --tasks and --labels")
    labels = {path: labels_folder / path for task in tasks for path in task.label_paths}
    absent = [path for path in labels.values() if not path.is_file()]
    if absent:
        raise DataError(f"{absent[0]}: no such file; give the labels that evaluate was given")
    belongs: list[tuple[Path, str, str | None, str]] = [
        (inputs["encoder"], "model", encoder.model_fingerprint, fingerprint(inputs["model"])),
        (inputs["encoder"], "matrix", encoder.matrix_fingerprint, matrix.fingerprint),
        (inputs["evaluation"], "model", evaluation.model_fingerprint, fingerprint(inputs["model"])),
        (inputs["evaluation"], "matrix", evaluation.matrix_fingerprint, matrix.fingerprint),
    ]
    if "tasks" in inputs:
        belongs += [
            (inputs["evaluation"], "tasks", evaluation.tasks_sha256, sha256_file(inputs["tasks"])),
            (
                inputs["evaluation"],
                "labels",
                json.dumps(evaluation.labels_sha256, sort_keys=True),
                json.dumps({path: sha256_file(file) for path, file in labels.items()}, sort_keys=True),
            ),
        ]
    for made, source, named, found in belongs:
        if named != found:
            raise DataError(f"{made}: was made from another {source} than {inputs[source]}; give those of one run")


def _champion(
    params: PromoteParams,
    context: StepContext,
    matrix: Matrix,
    evaluation: EvaluationManifest,
    tasks: list[Task],
    labels: Path,
) -> tuple[Contender | None, Champion, str, list[Comparison]]:
    """Who the champion is, whether it can be compared, why not, and how the challenger compares with it."""
    folder = context.inputs.get("champion")
    if folder is None or not any(folder.iterdir()):
        return None, "absent", "", []
    encoder = read_encoder_manifest(folder)
    contender = _contender(folder, encoder)
    scaler = read_scaler(context.inputs["matrix"], matrix.manifest)
    reason = why_incomparable(matrix.manifest, scaler, encoder)
    if reason is not None:
        return contender, "stale", reason, []
    if not evaluation.params:
        raise DataError(
            f"{context.inputs['evaluation'] / MANIFEST}: does not say with which params it was made; run evaluate again"
        )
    same = validate(EvaluateParams, evaluation.params, f"{context.inputs['evaluation'] / MANIFEST}: params")
    # Levels have no average precision; the gate is about classes.
    of_classes = [task for task in tasks if not task.of_levels]
    if not of_classes:
        return contender, "comparable", "", []
    trials, windows = prepare_trials(of_classes, labels, matrix, same)
    challenger = challenger_scores(context.inputs["evaluation"], trials)
    representation = champion_representation(matrix, scaler, folder, encoder)
    fits = sum(len(trial.folds.splits()) for trial in trials)
    with progress("Champion's classifiers", fits) as bar:
        held_out = predict_all(
            {EMBEDDING: representation}, matrix, windows, trials, same, params.threads or available_cores(), bar
        )
    comparisons = compare(trials, challenger, [scores[EMBEDDING] for scores in held_out], same)
    if params.stale == "other_data" and encoder.matrix_fingerprint != matrix.fingerprint:
        return contender, "stale", "it was trained on other data than those there are now", comparisons
    return contender, "comparable", "", comparisons
