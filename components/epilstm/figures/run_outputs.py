"""What the page is about, read from the run's folders and compared with each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST, fingerprint, read_json
from epilstm.files.text import csv_records
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

HISTORY_COLUMNS = ("epoch", "steps", "learning_rate", "train_mse", "validation_mse", "validation_r2")


@dataclass(frozen=True)
class TrainingCurve:
    """The training curve: one entry per epoch in every array; errors are in the matrix's standardised units."""

    epoch: NDArray[np.int64]
    steps: NDArray[np.int64]
    learning_rate: NDArray[np.float64]
    train_mse: NDArray[np.float64]
    validation_mse: NDArray[np.float64]
    validation_r2: NDArray[np.float64]


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
    matrix = read_manifest(inputs["matrix"], MatrixManifest)
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
    for name in ("matrix", "model", "embeddings"):
        if getattr(evaluation, f"{name}_fingerprint") != fingerprints[name]:
            raise DataError(f"{folder}: this evaluation is not of --{name} {inputs[name]}; run evaluate again")
    return evaluation


def read_curve(path: Path) -> TrainingCurve:
    """Training curve of a CSV file.

    Raises
    ------
    DataError
        Not such a file, no epochs in it, or a value that is no number; the message names the line.
    """
    what = "the training curve that train wrote (CSV)"
    values = [_numbers(path, line, row) for line, row in csv_records(path, what, HISTORY_COLUMNS)]
    if not values:
        raise DataError(f"{path}: no epochs in it; give {what}")
    columns = np.array(values, dtype=np.float64).T
    whole = {"epoch", "steps"}
    return TrainingCurve(
        **{
            name: column.astype(np.int64) if name in whole else column
            for name, column in zip(HISTORY_COLUMNS, columns, strict=True)
        }
    )


def _numbers(path: Path, line: int, row: dict[str, str]) -> list[float]:
    numbers = []
    for name in HISTORY_COLUMNS:
        try:
            number = float(row[name])
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise DataError(f"{path}:{line}: {name}: expected a number, got {row[name]!r}; run train again")
        numbers.append(number)
    return numbers
