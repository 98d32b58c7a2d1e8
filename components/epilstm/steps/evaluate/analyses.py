"""The analyses that an evaluation consists of: one small object each, independent of the others.

A new one is a class here and an entry of `ANALYSES`; its results are fields of `EvaluationResults`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from epilstm.console import log, progress
from epilstm.params import EvaluateParams
from epilstm.representations.features import RawTracks
from epilstm.representations.pca import Pca, fit_pca
from epilstm.scoring.comparisons import compare_probes
from epilstm.scoring.prediction import HeldOut, predict_all
from epilstm.scoring.probes import Probe
from epilstm.scoring.task_results import score_classes, score_levels
from epilstm.scoring.tasks import Task
from epilstm.scoring.trials import Trial, scored_trials
from epilstm.steps.evaluate.cross_cell import cell_tracks, fits, labelled_cell_types, score_cross_cell, views_of
from epilstm.steps.evaluate.imputation import score_imputation, scored_ranges
from epilstm.steps.evaluate.inputs import Inputs
from epilstm.steps.evaluate.leak import LEAKING, score_leak, with_random_folds
from epilstm.steps.evaluate.missing import score_missing
from epilstm.steps.evaluate.predictions import Predictions, folds_of, predict
from epilstm.steps.evaluate.reconstruction import (
    READOUT_BINS,
    score_reconstruction,
    scored_blocks,
    training_blocks,
    training_moments,
)
from epilstm.store.evaluation_results import EMBEDDING, MissingTracks
from epilstm.store.moments import Moments


class Evaluation:
    """Inputs of an evaluation, and what its analyses share: computed when the first of them needs it."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.trials = scored_trials(inputs.trials)

    @cached_property
    def moments(self) -> Moments:
        """Moments of the training chromosomes' tracks."""
        matrix = self.inputs.matrix
        blocks = training_blocks(matrix, self.inputs.params.reconstruction_bins)
        with progress("Moments of the tracks", sum(block.bins for block in blocks)) as bar:
            return training_moments(matrix, blocks, bar.advance)

    @cached_property
    def pca(self) -> Pca:
        """PCA of the training chromosomes' tracks."""
        return fit_pca(self.moments)

    @cached_property
    def predictions(self) -> Predictions:
        """Out-of-fold predictions of all tasks; the inputs have tasks."""
        return predict(self.inputs, self.moments, self.pca)

    @property
    def tasks(self) -> list[Task]:
        """Tasks that have usable labels."""
        usable = {trial.task.name for trial in self.inputs.trials}
        return [task for task in self.inputs.tasks if task.name in usable]

    def of_task(self, task: Task) -> tuple[list[Trial], HeldOut]:
        """Trials of a task and their out-of-fold predictions."""
        trials, own = self.trials, self._numbers(task)
        return [trials[number] for number in own], [self.predictions.held_out[number] for number in own]

    def by_probe(self, task: Task) -> dict[Probe, HeldOut]:
        """Out-of-fold predictions of a task's trials by every probe, the main one first."""
        predictions, own = self.predictions, self._numbers(task)
        main = Probe(self.inputs.params.classifier.kinds[0])
        all_probes = {main: predictions.held_out} | predictions.further
        return {probe: [scores[number] for number in own] for probe, scores in all_probes.items()}

    def _numbers(self, task: Task) -> list[int]:
        return [number for number, trial in enumerate(self.inputs.trials) if trial.task is task]


class Analysis(Protocol):
    """One part of an evaluation.

    Parameters
    ----------
    name : str
    needs_tasks : bool
        Without tasks it is left out.
    """

    name: str
    needs_tasks: bool

    def wanted(self, params: EvaluateParams) -> bool:
        """Whether the params ask for it."""

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Fields of `EvaluationResults` by name."""


class Reconstruction:
    """How well the network reconstructs the tracks of the test chromosomes, beside PCA and an untrained network."""

    name = "reconstruction"
    needs_tasks = False

    def wanted(self, params: EvaluateParams) -> bool:
        """Always."""
        return True

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Score it."""
        inputs, networks, pca = evaluation.inputs, evaluation.inputs.networks, evaluation.pca
        matrix = inputs.matrix
        scored = scored_blocks(matrix, inputs.params.reconstruction_bins)
        passes = [training_blocks(matrix, READOUT_BINS), scored]
        with progress("Reconstruction", sum(block.bins for blocks in passes for block in blocks)) as bar:
            found = score_reconstruction(
                matrix,
                networks.reconstructed(),
                networks.untrained_code(),
                pca,
                networks.bin_code,
                scored,
                bar.advance,
                networks.model.scaler,
                inputs.genes,
            )
        return {"reconstruction": found}


class Imputation:
    """How well the network imputes hidden tracks, beside the field's baselines."""

    name = "imputation"
    needs_tasks = False

    def wanted(self, params: EvaluateParams) -> bool:
        """Where it is enabled."""
        return params.imputation.enabled

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Score it."""
        inputs, params, moments = evaluation.inputs, evaluation.inputs.params, evaluation.moments
        networks = inputs.networks
        with progress("Imputation", sum(block.bins for block in scored_ranges(inputs.matrix, params))) as bar:
            found = score_imputation(
                inputs.matrix,
                networks.imputer(),
                moments,
                networks.bin_code,
                inputs.genes,
                params,
                bar.advance,
                inputs.threads,
            )
        return {"imputation": found}


class ClassTasks:
    """Average precision of every representation in the tasks that predict a class."""

    name = "tasks"
    needs_tasks = True

    def wanted(self, params: EvaluateParams) -> bool:
        """Always."""
        return True

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Score them."""
        params = evaluation.inputs.params
        tasks = [task for task in evaluation.tasks if not task.of_levels]
        return {
            "task_order": [task.name for task in tasks],
            "tasks": {task.name: score_classes(*evaluation.of_task(task), params) for task in tasks},
        }


class LevelTasks:
    """R2 and rank correlation of every representation in the tasks that predict a level."""

    name = "regression"
    needs_tasks = True

    def wanted(self, params: EvaluateParams) -> bool:
        """Always."""
        return True

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Score them."""
        params = evaluation.inputs.params
        tasks = [task for task in evaluation.tasks if task.of_levels]
        return {"regression": {task.name: score_levels(*evaluation.of_task(task), params) for task in tasks}}


class Comparisons:
    """Every task by kind of probe, number of labels and measure."""

    name = "comparisons"
    needs_tasks = True

    def wanted(self, params: EvaluateParams) -> bool:
        """Always."""
        return True

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Score them."""
        params = evaluation.inputs.params
        found = [
            each
            for task in evaluation.tasks
            for each in compare_probes(evaluation.of_task(task)[0], evaluation.by_probe(task), params)
        ]
        return {"comparisons": found}


class RandomFolds:
    """By how much random folds, which leak, would flatter the scores."""

    name = "leak"
    needs_tasks = True

    def wanted(self, params: EvaluateParams) -> bool:
        """Where it is asked for."""
        return params.leak

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Predict the same trials with random folds, and compare."""
        inputs, predictions = evaluation.inputs, evaluation.predictions
        trials = with_random_folds(inputs.trials, inputs.params)
        own = {EMBEDDING: inputs.embedding, "raw": RawTracks(inputs.matrix)}
        leaking = {name: own[name] for name in LEAKING if name in predictions.sizes}
        with progress("Random folds", len(leaking) * folds_of(trials)) as bar:
            leaky = predict_all(leaking, inputs.matrix, inputs.windows, trials, inputs.params, inputs.threads, bar)
        return {"leak": score_leak(inputs.trials, predictions.held_out, trials, leaky, list(leaking), inputs.params)}


class HiddenTracks:
    """By how much scores fall where the classifiers are shown examples without some of the tracks."""

    name = "missing_tracks"
    needs_tasks = True

    def wanted(self, params: EvaluateParams) -> bool:
        """Where a share of the tracks is to be hidden."""
        return bool(params.missing_tracks)

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Compare predictions with and without the hidden tracks."""
        inputs, predictions = evaluation.inputs, evaluation.predictions
        tracks = inputs.matrix.manifest.tracks
        found = MissingTracks(
            share=inputs.params.missing_tracks,
            draws=[[tracks[place] for place in hidden.nonzero()[0]] for hidden in predictions.hidden],
            tasks=score_missing(evaluation.trials, predictions.held_out, predictions.without_hidden, inputs.params),
        )
        return {"missing_tracks": found}


class CrossCellTypes:
    """How classifiers of all cell types but one predict that one."""

    name = "cross_cell_type"
    needs_tasks = True

    def wanted(self, params: EvaluateParams) -> bool:
        """Where it is asked for."""
        return params.cross_cell_type

    def run(self, evaluation: Evaluation) -> dict[str, Any]:
        """Score it; None where no two cell types share labels and an assay."""
        inputs, params = evaluation.inputs, evaluation.inputs.params
        labelled = labelled_cell_types(inputs.trials)
        tracks = cell_tracks(inputs.matrix.manifest.track_set, labelled)
        if tracks is None:
            log.warning(
                f"evaluate.cross_cell_type: left out, no two cell types ({', '.join(labelled) or 'none'}) have labels "
                "of one task and tracks of one assay"
            )
            return {"cross_cell_type": None}
        views = views_of(inputs.matrix, inputs.folder, tracks, inputs.networks.encoders(), params)
        with progress("Across cell types", fits(inputs.trials, tracks, views, params)) as bar:
            found = score_cross_cell(
                inputs.trials, inputs.windows, inputs.matrix, tracks, views, params, inputs.threads, bar
            )
        return {"cross_cell_type": found}


#: In the order in which they run.
ANALYSES: Sequence[Analysis] = (
    Reconstruction(),
    Imputation(),
    ClassTasks(),
    LevelTasks(),
    Comparisons(),
    RandomFolds(),
    HiddenTracks(),
    CrossCellTypes(),
)
