"""What an evaluation folder holds: the models of ``scores.json`` and ``manifest.json``, and predictions' columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from epilstm.artifacts import fingerprint, read_json
from epilstm.datasets import EmbeddingsManifest, parse_manifest
from epilstm.errors import DataError

SCORES_FILE = "scores.json"
PREDICTIONS_FILE = "predictions.parquet"

#: What is judged, and what it is judged against, in the order of tables and figures.
EMBEDDING = "embedding"
BASELINES = ("raw", "pca", "untrained", "majority")
REPRESENTATIONS = (EMBEDDING, *BASELINES)

#: Columns of ``predictions.parquet``: one row per example and representation, from the fold that held the example out.
PREDICTION_COLUMNS = {
    "task": "string",
    "cell_type": "string",
    "representation": "string",
    "example": "string",
    "chrom": "string",
    "start": "int64",
    "end": "int64",
    "group": "string",
    "fold": "int16",
    "label": "bool",
    "score": "float32",
}

#: Below this many clusters no difference is called real: a bootstrap of so few says next to nothing of the spread.
MIN_CLUSTERS = 5

Verdict = Literal["beats", "is beaten by", "is indistinguishable from"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Model):
    """A bootstrap confidence interval (percentiles)."""

    low: float
    high: float


class Scores(_Model):
    """How well one representation predicts held-out labels.

    `average_precision` is the mean over the folds that hold a positive (`folds_scored`), as scikit-learn defines it
    within each; `auroc` is the mean over the folds that hold both classes, None where none does. (Folds have
    classifiers of their own: pooled, even constants, one per fold, would rank examples, so a constant is 0.5 only so.)
    `average_precision_pooled`, `f1` and `accuracy` (threshold 0.5) take all held-out predictions together.
    """

    average_precision: float
    average_precision_ci: Interval
    average_precision_pooled: float
    auroc: float | None
    f1: float
    accuracy: float
    n: int
    positives: int
    folds_scored: int


class Difference(_Model):
    """Embedding minus baseline in average precision, on the same bootstrap resamples.

    The verdict follows from whether `ci` leaves out zero; fewer than `MIN_CLUSTERS` clusters cannot tell.
    """

    baseline: str
    delta: float
    ci: Interval
    verdict: Verdict


class CellTypeResult(_Model):
    """One task in one cell type.

    `n_outside` examples were left out because a window of theirs leaves the covered regions or has no bin with
    data, `n_unusable` entries of the label files because they have no value, no place or no length. `groups` counts
    what folds hold out whole, `clusters` what the bootstrap resamples (regions, or stretches of long ones).
    """

    cell_type: str
    n: int
    positives: int
    base_rate: float
    n_outside: int
    n_unusable: int
    groups: int
    clusters: int
    representations: dict[str, Scores]
    differences: list[Difference]


class Summary(_Model):
    """Average precision of one representation, mean over a task's cell types."""

    average_precision: float
    average_precision_ci: Interval


class TaskResult(_Model):
    """One task: each cell type, the mean over them, and what follows in one sentence."""

    name: str
    kind: Literal["region", "pair"]
    windows: list[str]
    label_format: str
    cell_types: dict[str, CellTypeResult]
    summary: dict[str, Summary]
    differences: list[Difference]
    sentence: str


class ReconstructionScore(_Model):
    """Fit of reconstructed to true tracks: ``r2 = 1 - SSE / SST`` over tracks and bins; None for a constant track."""

    r2: float | None
    mse: float
    track_r2: dict[str, float | None]


class PcaPoint(_Model):
    """Reconstruction by PCA of one size."""

    size: int
    r2: float | None


class Reconstruction(_Model):
    """Reconstruction on chromosomes that training never saw, in the matrix's standardised space.

    `models` maps ``model`` (its own decoder), ``pca`` (of the embedding's size) and ``untrained`` (the untrained
    encoder with the best linear read-out) to their scores.
    """

    chromosomes: list[str]
    bins: int
    size: int
    models: dict[str, ReconstructionScore]
    pca_curve: list[PcaPoint]


class FoldsUsed(_Model):
    """How examples were held out; `leaky` folds put neighbours on both sides and flatter every score."""

    by: Literal["chromosome", "region", "random"]
    count: int
    leaky: bool


class EvaluationResults(_Model):
    """``scores.json``; `task_order` is that of the tasks file, which JSON with sorted keys does not keep."""

    format: Literal["epilstm.evaluation/1"] = "epilstm.evaluation/1"
    embedding_size: int
    representation_sizes: dict[str, int]
    pooling: list[str]
    folds: FoldsUsed
    confidence: float
    bootstrap: int
    task_order: list[str]
    tasks: dict[str, TaskResult]
    reconstruction: Reconstruction

    @field_validator("tasks")
    @classmethod
    def _in_order(cls, tasks: dict[str, TaskResult], info: ValidationInfo) -> dict[str, TaskResult]:
        order = info.data.get("task_order", [])
        if sorted(order) != sorted(tasks):
            raise ValueError("task_order and tasks name different tasks")
        return {name: tasks[name] for name in order}


class EvaluationManifest(_Model):
    """``manifest.json``, written last: what the evaluation follows from, and what its files must be.

    `params` are the evaluate section's that the scores depend on, so that another representation can be judged alike.
    """

    format: Literal["epilstm.evaluation-manifest/1"] = "epilstm.evaluation-manifest/1"
    matrix_fingerprint: str
    model_fingerprint: str
    embeddings_fingerprint: str
    tasks_sha256: str
    labels_sha256: dict[str, str]
    params_sha256: str
    params: dict[str, Any] = {}
    scores_sha256: str
    predictions_sha256: str


def require_one_run(inputs: Mapping[str, Path], model_matrix: str, embeddings: EmbeddingsManifest) -> None:
    """Refuse a model and embeddings that do not follow from the matrix and from each other.

    Parameters
    ----------
    inputs : mapping of str to Path
        ``matrix``, ``model`` and ``embeddings``.
    model_matrix : str
        Fingerprint of the matrix that the model was trained on.
    embeddings : EmbeddingsManifest

    Raises
    ------
    DataError
        Two of them do not belong together; the message names both, and what to run again.
    """
    matrix, model = inputs["matrix"], inputs["model"]
    if model_matrix != fingerprint(matrix):
        raise DataError(
            f"{model}: this model was trained on another matrix than {matrix}; give its own matrix, or run train, "
            "export and embed again"
        )
    if embeddings.matrix_fingerprint != fingerprint(matrix):
        raise DataError(
            f"{inputs['embeddings']}: these embeddings were made from another matrix than {matrix}; run embed again"
        )
    if embeddings.model_fingerprint != fingerprint(model):
        raise DataError(
            f"{inputs['embeddings']}: these embeddings were made by another model than {model}; run export and embed "
            "again"
        )


def read_results(folder: Path) -> EvaluationResults:
    """Scores of an evaluation folder.

    Raises
    ------
    DataError
        The folder is missing, incomplete or of another kind.
    """
    return parse_manifest(read_json(folder / SCORES_FILE), EvaluationResults, folder / SCORES_FILE)
