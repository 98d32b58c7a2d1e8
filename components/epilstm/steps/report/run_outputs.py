"""The run that the page reports, read from its folders and checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import DataError
from epilstm.figures.training import TrainingCurve, read_curve
from epilstm.files.outputs import MANIFEST, fingerprint, read_json
from epilstm.model.folder import ModelManifest
from epilstm.store.evaluation_results import (
    PREDICTIONS_FILE,
    EvaluationManifest,
    EvaluationResults,
    checked_file,
    read_results,
    require_one_run,
)
from epilstm.store.manifests import (
    EmbeddingsManifest,
    MatrixManifest,
    ReferenceHistograms,
    Scaler,
    parse_manifest,
    read_manifest,
    read_reference_histograms,
    read_scaler,
)


@dataclass(frozen=True)
class Run:
    """Everything that the page reports, apart from arrays.

    `fingerprints` maps the name of each input to its fingerprint; `predictions` is the file of held-out scores.
    `results`, `evaluation` and `predictions` are None where the run was not evaluated.
    """

    matrix: MatrixManifest
    scaler: Scaler
    histograms: ReferenceHistograms
    model: ModelManifest
    parameters: int
    curve: TrainingCurve
    embeddings: EmbeddingsManifest
    results: EvaluationResults | None
    evaluation: EvaluationManifest | None
    predictions: Path | None
    fingerprints: dict[str, str]


def read_run(inputs: dict[str, Path], model: ModelManifest, parameters: int) -> Run:
    """Read and check the inputs of the page.

    Parameters
    ----------
    inputs : dict of str to Path
        By port name: ``matrix``, ``model``, ``history``, ``embeddings`` and, where there is one, ``evaluation``.
    model : ModelManifest
        Manifest of the model.
    parameters : int
        Trained numbers in it.

    Raises
    ------
    DataError
        An input is missing, incomplete or damaged, or belongs to another run than the others.
    """
    fingerprints = {name: fingerprint(path) for name, path in inputs.items()}
    embeddings = read_manifest(inputs["embeddings"], EmbeddingsManifest)
    require_one_run(inputs, model.matrix_fingerprint, embeddings)
    folder = inputs.get("evaluation")
    evaluation = None if folder is None else _read_evaluation(folder, inputs, fingerprints)
    curve = read_curve(inputs["history"])
    if len(curve.epoch) != model.training.epochs or model.training.best_epoch not in curve.epoch:
        raise DataError(
            f"{inputs['history']}: {len(curve.epoch)} epochs up to epoch {curve.epoch[-1]}, but the model was trained "
            f"for {model.training.epochs}; give the training curve of this model"
        )
    matrix = read_manifest(inputs["matrix"], MatrixManifest).with_split(model.split)
    return Run(
        matrix=matrix,
        scaler=read_scaler(inputs["matrix"], matrix),
        histograms=read_reference_histograms(inputs["matrix"], matrix),
        model=model,
        parameters=parameters,
        curve=curve,
        embeddings=embeddings,
        results=None if folder is None else read_results(folder),
        evaluation=evaluation,
        predictions=None if folder is None else checked_file(folder, PREDICTIONS_FILE),
        fingerprints=fingerprints,
    )


def _read_evaluation(folder: Path, inputs: dict[str, Path], fingerprints: dict[str, str]) -> EvaluationManifest:
    evaluation = parse_manifest(read_json(folder / MANIFEST), EvaluationManifest, folder / MANIFEST)
    # A model may be evaluated on other data than its own, or embed them while it is evaluated.
    elsewhere = evaluation.matrix_fingerprint != fingerprints["matrix"]
    compared = ["model"] if elsewhere or evaluation.embeddings_fingerprint is None else ["model", "embeddings"]
    for name in compared:
        if getattr(evaluation, f"{name}_fingerprint") != fingerprints[name]:
            raise DataError(f"{folder}: this evaluation is not of --{name} {inputs[name]}; run evaluate again")
    if elsewhere and not read_results(folder).evaluated_elsewhere:
        raise DataError(f"{folder}: this evaluation is not of --matrix {inputs['matrix']}; run evaluate again")
    return evaluation
