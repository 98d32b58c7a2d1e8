"""What an evaluation folder holds: the models of ``scores.json`` and ``manifest.json``, and predictions' columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST, fingerprint, read_json, sha256_file
from epilstm.store.manifests import EmbeddingsManifest, parse_manifest

SCORES_FILE = "scores.json"
PREDICTIONS_FILE = "predictions.parquet"
LEVELS_FILE = "levels.parquet"

#: What is evaluated, and what it is compared with, in the order of tables and figures.
EMBEDDING = "embedding"
BASELINES = ("raw", "pca", "nmf", "untrained", "majority")
#: The code of the task's own cell type, of a model that cell types share.
OWN_EMBEDDING = "own(embedding)"
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

#: Columns of ``levels.parquet``: the same for tasks that predict a level, with the level and what was predicted.
LEVEL_COLUMNS = {
    **{name: kind for name, kind in PREDICTION_COLUMNS.items() if name not in ("label", "score")},
    "level": "float64",
    "predicted": "float32",
}

#: Below this many clusters there is no verdict: a bootstrap of so few says next to nothing of the spread.
MIN_CLUSTERS = 5

#: What an interval says of a difference; where there is no verdict, a reason says why.
Verdict = Literal["beats", "is beaten by", "is indistinguishable from", "not judged"]
NO_VERDICT: Verdict = "not judged"

#: Why no verdict is given.
FEW_REGIONS = f"fewer than {MIN_CLUSTERS} independent regions"
NO_SPREAD = "the same in every resample"


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

    The verdict follows from whether `ci` leaves out zero. With fewer than `MIN_CLUSTERS` clusters, or where a
    difference does not vary over the resamples, the interval says nothing: there is no verdict, for the `reason` given.
    """

    baseline: str
    delta: float
    ci: Interval
    verdict: Verdict
    reason: str = ""

    def said(self, subject: str, other: str) -> str:
        """The verdict in words, such as "the embedding beats it" or "no verdict: ..."."""
        return verdict_text(self.verdict, self.reason, subject, other)


def verdict_text(verdict: Verdict, reason: str, subject: str, other: str) -> str:
    """A verdict in words: ``subject beats other``, or that there is none and why."""
    return f"no verdict: {reason}" if verdict == NO_VERDICT else f"{subject} {verdict} {other}"


class CellTypeResult(_Model):
    """One task in one cell type.

    `n_outside` examples were left out because a window of theirs leaves the covered regions or has no bin with
    data, `n_unusable` entries of the label files because they have no value, no place or no length. `groups` counts
    what folds hold out whole, `clusters` what the bootstrap resamples (regions, or intervals of long ones).
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
    """One task: each cell type, the mean over them, and what follows in plain sentences."""

    name: str
    kind: Literal["region", "pair"]
    windows: list[str]
    label_format: str
    cell_types: dict[str, CellTypeResult]
    summary: dict[str, Summary]
    differences: list[Difference]
    sentence: str


class RegressionScores(_Model):
    """How well one representation predicts held-out levels.

    `r2` is ``1 - SSE / SST`` over the held-out predictions of all folds together (SST about the mean of all levels);
    `spearman` the rank correlation within a fold, mean over the folds whose levels vary, by their size; predictions
    that do not vary rank nothing and count as 0.
    """

    r2: float
    r2_ci: Interval
    spearman: float
    spearman_ci: Interval
    n: int


class RegressionCellType(_Model):
    """One task of levels in one cell type; counts as in `CellTypeResult`, `differences` are in R2."""

    cell_type: str
    n: int
    n_outside: int
    n_unusable: int
    groups: int
    clusters: int
    representations: dict[str, RegressionScores]
    differences: list[Difference]


class RegressionSummary(_Model):
    """Scores of one representation, mean over a task's cell types."""

    r2: float
    r2_ci: Interval
    spearman: float
    spearman_ci: Interval


class RegressionResult(_Model):
    """One task of levels (such as gene expression); `unit` is what a level is counted in.

    `differences` are in R2, `spearman_differences` in Spearman's correlation. The majority class is here the mean of
    the training levels.
    """

    name: str
    kind: Literal["region", "pair"]
    windows: list[str]
    label_format: str
    unit: str
    cell_types: dict[str, RegressionCellType]
    summary: dict[str, RegressionSummary]
    differences: list[Difference]
    spearman_differences: list[Difference]
    sentence: str


Measure = Literal["average precision", "R2"]


class Leak(_Model):
    """A score under random folds minus that under the evaluation's folds, on the same resamples."""

    grouped: float
    random: float
    delta: float
    ci: Interval


class LeakResult(_Model):
    """By how much random folds flatter one task (mean over its cell types), by representation."""

    measure: Measure
    representations: dict[str, Leak]
    sentence: str


class Fall(_Model):
    """A score with all tracks minus that with some hidden, on the same resamples."""

    full: float
    hidden: float
    fall: float
    ci: Interval


class MissingTask(_Model):
    """What hidden tracks cost one task; `differences` are a baseline's fall minus the embedding's (above 0: better)."""

    measure: Measure
    representations: dict[str, Fall]
    differences: list[Difference]
    sentence: str


class MissingTracks(_Model):
    """Classifiers trained with all tracks, given features of which a share of the tracks is hidden.

    Hidden tracks are at their mean (0 in the standardised space); scores are means over the `draws`.
    """

    share: float
    draws: list[list[str]]
    tasks: dict[str, MissingTask]


class Transfer(_Model):
    """A score on a cell type that the classifier was not trained on, and with it trained on that cell type alone."""

    across: float
    across_ci: Interval
    within: float
    loss: float
    loss_ci: Interval


class CrossCellTask(_Model):
    """Transfer of one task: by held-out cell type, and the mean over them.

    `differences` are, by view, its score across cell types minus that of the raw tracks.
    """

    measure: Measure
    n: int
    clusters: int
    cell_types: dict[str, dict[str, float]]
    summary: dict[str, Transfer]
    differences: dict[str, Difference]
    sentence: str


class CrossCellTypes(_Model):
    """Classifiers that learn from all labelled cell types but one and predict that one.

    A view is a representation made of one cell type's `assays` only; `view_sizes` is its numbers per bin.
    """

    assays: list[str]
    cell_types: list[str]
    view_sizes: dict[str, int]
    tasks: dict[str, CrossCellTask]


class ReconstructionScore(_Model):
    """Fit of reconstructed to true tracks: ``r2 = 1 - SSE / SST`` over tracks and bins; None for a constant track."""

    r2: float | None
    mse: float
    track_r2: dict[str, float | None]


class PcaPoint(_Model):
    """Reconstruction by PCA of one size."""

    size: int
    r2: float | None


#: What imputes a hidden track, in the order of tables, and what each is. The network, PCA, the linear model and the
#: second factorisation have seen the track on the training chromosomes; the mean and the first factorisation never do.
IMPUTATION_METHODS = {
    "model": "network, the tracks hidden at its input",
    "assay_mean": "mean of the assay in the other cell types",
    "avocado": "Avocado-style factorisation",
    "avocado_seen": "Avocado-style factorisation that saw the tracks on the training chromosomes",
    "pca": "probabilistic PCA of the bin code's size",
    "linear": "best linear prediction from the other tracks",
    "ridge": "ridge regression on the other tracks and their neighbouring bins",
    "trees": "boosted trees per track on the other tracks and their neighbouring bins",
}

#: Measures in which they are compared; in all of them less is better.
IMPUTATION_MEASURES = {
    "mse_global": "genome-wide",
    "mse_1obs": "in the top 1% observed",
    "mse_1imp": "in the top 1% imputed",
    "mse_prom": "at promoters",
    "mse_gene": "in gene bodies",
}


class SignalMeasures(_Model):
    """The imputation field's measures of predicted against observed signal (`epilstm.steps.evaluate.measures`).

    In the space of the track's transform (arcsinh of the signal), not standardised: mean squared error over all bins
    with data, the 1% with the highest observed signal, the 1% with the highest predicted signal, promoters (2 kb to
    either side of a transcription start) and gene bodies (None without a gene annotation), with R2 and Pearson's
    correlation over all bins with data (None for a constant track). Of several tracks, the mean over them.
    """

    mse_global: float
    mse_1obs: float
    mse_1imp: float
    mse_prom: float | None = None
    mse_gene: float | None = None
    r2: float | None = None
    correlation: float | None = None


class MeasureTable(_Model):
    """Measures over all tracks, by assay and by track."""

    overall: SignalMeasures
    assays: dict[str, SignalMeasures]
    tracks: dict[str, SignalMeasures]


class TrackDifference(_Model):
    """The model's error minus a baseline's in one track, with an interval over blocks of genome."""

    delta: float
    ci: Interval


class MeasureDifference(_Model):
    """The model's measure minus a baseline's, mean over tracks; below zero the model is better.

    `won` of `tracks` tracks have the smaller error with the model. `ci` is a paired bootstrap over blocks of genome
    (over tracks in an evaluation without `tracks_ci`), from which the verdict follows; `tracks_ci` is one over tracks:
    what other tracks of this kind may give. `reason` as in `Difference`.
    """

    baseline: str
    measure: str
    tracks: int
    won: int
    delta: float
    ci: Interval
    tracks_ci: Interval | None = None
    by_track: dict[str, TrackDifference] = {}
    verdict: Verdict
    reason: str = ""


class Imputation(_Model):
    """Imputation of tracks that were hidden, on chromosomes that training never saw.

    `folds` are the groups of tracks that were hidden together; every method saw all other tracks there. `methods` maps
    ``model`` and each baseline (`IMPUTATION_METHODS` describes them) to its measures. `not_judged`
    tracks are of assays in one cell type only. `bins` of the `chromosomes` were scored, in `stretches` evenly
    spaced, which lie in so many `blocks` of genome; `of_bins` there are in all. `left_out` are baselines that would
    repeat another one, with the reason.
    """

    chromosomes: list[str]
    bins: int
    of_bins: int
    stretches: int
    blocks: int = 0
    folds: list[list[str]]
    not_judged: list[str]
    left_out: dict[str, str] = {}
    methods: dict[str, MeasureTable]
    differences: list[MeasureDifference]
    sentence: str


class Reconstruction(_Model):
    """Reconstruction on chromosomes that training never saw, in the matrix's standardised space.

    `models` maps ``model`` (its own decoder), ``pca`` and ``untrained`` (the untrained encoder with the best linear
    read-out) to their scores; `measures` are the imputation field's, of the same three. `size` is how many numbers per
    bin each of them has: those of the bin code, which is the whole embedding where it has no context code. PCA with as
    many components as there are tracks is the raw tracks, and is left out of all; `left_out` has the reason. `bins` of
    the `of_bins` bins with data there were scored, in blocks spread over the chromosomes.
    """

    chromosomes: list[str]
    bins: int
    of_bins: int = 0
    size: int
    models: dict[str, ReconstructionScore]
    pca_curve: list[PcaPoint]
    measures: dict[str, MeasureTable] = {}
    left_out: dict[str, str] = {}


class HeldOutPlaces(_Model):
    """What was held out of what, by places: chromosomes, or intervals of them.

    `own_matrix` says whether the model was trained on the matrix that is evaluated; it was trained on `trained_on` and
    stopped by `validated_on`. PCA and NMF were fitted on
    `fitted_on`, reconstruction was scored on `reconstructed_on`; `labels_on` are the chromosomes with labelled
    examples, `labels_seen` those of them that the model was trained or stopped on, without their labels. With
    `cross_fit` groups, PCA, NMF and probes that score a group were fitted on the others; `models_by_group` says whether
    each group has a model of its own, trained without it.
    """

    own_matrix: bool
    trained_on: list[str]
    validated_on: list[str]
    fitted_on: list[str]
    reconstructed_on: list[str]
    labels_on: list[str] = []
    labels_seen: list[str] = []
    cross_fit: list[list[str]] = []
    models_by_group: bool = False


#: What is measured of a task, by probe and number of labels.
ComparedMeasure = Literal[
    "average precision", "R2", "R2 within blocks", "R2 of the deviation from the mean over cell types"
]


class ScoreWithInterval(_Model):
    """A score and its interval."""

    value: float
    ci: Interval


class Comparison(_Model):
    """One measure of a task, mean over its cell types, by one kind of probe that learns from so many labels.

    `labels` is None for all. With fewer, the score is the mean over `draws` of them, and the intervals vary the draw
    with the resample. Within blocks, levels and predictions are taken as deviations from their mean in each block of
    genome; `between_blocks` is the share of the levels' variance that this leaves out. Deviations from the mean over
    cell types are of the levels, and of the predictions, of one example in all cell types. `differences` are `minuend`
    minus each other representation: the code of the task's own cell type where that is compared, else the embedding.
    """

    task: str
    measure: ComparedMeasure
    probe: str
    labels: int | None = None
    draws: int = 1
    n: int
    clusters: int
    between_blocks: float | None = None
    representations: dict[str, ScoreWithInterval]
    minuend: str = EMBEDDING
    differences: list[Difference]


class FoldsUsed(_Model):
    """How examples were held out; `leaky` folds put neighbours on both sides and flatter every score."""

    by: Literal["chromosome", "region", "random"]
    count: int
    leaky: bool


class EvaluationResults(_Model):
    """``scores.json``; `task_order` is that of the tasks file, which JSON with sorted keys does not keep.

    `tasks` have classes, `regression` levels; `representation_order` is that of tables, the embedding first; `left_out`
    is what was asked for and not compared, `left_out_tasks` tasks (in a cell type) without usable labels, both with the
    reason. `comparisons` has every task by probe, number of labels and measure. What was not asked for is None or
    empty.
    """

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
    representation_order: list[str] = [EMBEDDING, "raw", "pca", "untrained", "majority"]
    left_out: dict[str, str] = {}
    classifier: str = "xgboost"
    context_bp: int = 10_000
    pair_distance: bool = False
    imputation: Imputation | None = None
    regression: dict[str, RegressionResult] = {}
    leak: dict[str, LeakResult] = {}
    missing_tracks: MissingTracks | None = None
    cross_cell_type: CrossCellTypes | None = None
    held_out: HeldOutPlaces | None = None
    left_out_tasks: dict[str, str] = {}
    blocks_bp: int = 500_000
    comparisons: list[Comparison] = []

    @property
    def evaluated_elsewhere(self) -> bool:
        """Whether the matrix that was evaluated is another than the model's own."""
        return self.held_out is not None and not self.held_out.own_matrix

    @field_validator("tasks")
    @classmethod
    def _in_order(cls, tasks: dict[str, TaskResult], info: ValidationInfo) -> dict[str, TaskResult]:
        order = info.data.get("task_order", [])
        if sorted(order) != sorted(tasks):
            raise ValueError("task_order and tasks name different tasks")
        return {name: tasks[name] for name in order}


class EvaluationManifest(_Model):
    """``manifest.json``, written last: what the evaluation follows from, and what its files must be.

    `embeddings_fingerprint` is None where evaluate embedded the matrix itself, `tasks_sha256` where no tasks file was
    given, `levels_sha256` where no task predicts a level; `also_fingerprints` are those of further embeddings.
    `params` are the evaluate section's that the scores depend on, so that another representation can be scored alike.
    """

    format: Literal["epilstm.evaluation-manifest/1"] = "epilstm.evaluation-manifest/1"
    matrix_fingerprint: str
    model_fingerprint: str
    embeddings_fingerprint: str | None = None
    tasks_sha256: str | None = None
    labels_sha256: dict[str, str] = {}
    params_sha256: str
    params: dict[str, Any] = {}
    scores_sha256: str
    predictions_sha256: str
    levels_sha256: str | None = None
    also_fingerprints: dict[str, str] = {}


def require_one_run(inputs: Mapping[str, Path], model_matrix: str, embeddings: EmbeddingsManifest) -> None:
    """Refuse a model and embeddings that do not follow from the matrix and from each other.

    Parameters
    ----------
    inputs : mapping of str to Path
        ``matrix``, ``model`` and ``embeddings``.
    model_matrix : str
        Fingerprint of the matrix that the model was trained on.

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
    require_embeddings(inputs, embeddings)


def require_embeddings(inputs: Mapping[str, Path], embeddings: EmbeddingsManifest) -> None:
    """Refuse embeddings that are not the model's of the matrix; parameters and errors as of `require_one_run`."""
    matrix, model = inputs["matrix"], inputs["model"]
    if embeddings.matrix_fingerprint != fingerprint(matrix):
        raise DataError(
            f"{inputs['embeddings']}: these embeddings were made from another matrix than {matrix}; run embed again"
        )
    if embeddings.model_fingerprint != fingerprint(model):
        raise DataError(
            f"{inputs['embeddings']}: these embeddings were made by another model than {model}; run export and embed "
            "again"
        )


def checked_file(folder: Path, name: str) -> Path:
    """Path of a file of an evaluation folder, compared with the checksum in its manifest.

    Raises
    ------
    DataError
        The file is missing, damaged or replaced, or the folder is no evaluation.
    """
    manifest = parse_manifest(read_json(folder / MANIFEST), EvaluationManifest, folder / MANIFEST)
    expected = {SCORES_FILE: manifest.scores_sha256, PREDICTIONS_FILE: manifest.predictions_sha256}[name]
    if not (folder / name).is_file() or sha256_file(folder / name) != expected:
        raise DataError(f"{folder / name}: missing, damaged or replaced; run evaluate again")
    return folder / name


def read_results(folder: Path) -> EvaluationResults:
    """Scores of an evaluation folder.

    Raises
    ------
    DataError
        The folder is missing, incomplete, damaged or of another kind.
    """
    path = checked_file(folder, SCORES_FILE)
    return parse_manifest(read_json(path), EvaluationResults, path)
