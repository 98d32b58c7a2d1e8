"""Inputs of an evaluation: data, model, tasks with their examples, and other models' embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.params import EvaluateParams
from epilstm.representations.features import Embedding
from epilstm.representations.pooling import WindowTable
from epilstm.runtime.cores import available_cores
from epilstm.scoring.gene_regions import GeneRegions, gene_regions
from epilstm.scoring.tasks import Task, given_tasks
from epilstm.scoring.trials import Trial, prepare_trials
from epilstm.steps.evaluate.compared import require_two_levels
from epilstm.steps.evaluate.networks import Networks
from epilstm.store.evaluation_results import require_one_run
from epilstm.store.matrix import Matrix


@dataclass(frozen=True)
class Inputs:
    """What an evaluation reads.

    Parameters
    ----------
    folder : Path
        Of the matrix.
    labels : Path
        Folder that the tasks' label files are relative to.
    trials : list of Trial
        Each task in each of its cell types.
    windows : WindowTable
        Windows of all trials; empty without tasks.
    also : dict of str to Embedding
        Other models' embeddings by name.
    """

    params: EvaluateParams
    matrix: Matrix
    folder: Path
    embedding: Embedding
    networks: Networks
    tasks: list[Task]
    labels: Path
    genes: GeneRegions
    trials: list[Trial]
    windows: WindowTable
    also: dict[str, Embedding]

    @property
    def threads(self) -> int:
        """Classifiers fitted at once."""
        return self.params.threads or available_cores()


def read_inputs(params: EvaluateParams, paths: Mapping[str, Path]) -> Inputs:
    """Read the inputs and check that they belong together.

    Parameters
    ----------
    params : EvaluateParams
    paths : mapping of str to Path
        By port name.

    Raises
    ------
    DataError, LabelsError, ModelError, ParamsError
        An input is unusable, does not follow from the others, or lacks what the params ask for.
    """
    tasks, labels = given_tasks(paths)
    matrix = Matrix(paths["matrix"])
    genes = gene_regions(tasks, labels, matrix.manifest.bin_size)
    embedding = Embedding(matrix, paths["embeddings"])
    networks = Networks(matrix, paths["model"])
    require_one_run(paths, networks.model.matrix_fingerprint, embedding.manifest)
    require_two_levels(params, networks.model.config.context_size)
    also = _other_embeddings(matrix, params)
    if params.missing_tracks and matrix.tracks < 2:
        raise ParamsError("evaluate.missing_tracks: of one track none can be hidden; set it to 0")
    if not tasks:
        _log_what_needs_tasks(params)
    trials, windows = prepare_trials(tasks, labels, matrix, params) if tasks else ([], _no_windows())
    for trial in trials:
        _log_examples(trial)
    return Inputs(params, matrix, paths["matrix"], embedding, networks, tasks, labels, genes, trials, windows, also)


def _other_embeddings(matrix: Matrix, params: EvaluateParams) -> dict[str, Embedding]:
    others = {}
    for name, folder in params.also.items():
        if not Path(folder).is_dir():
            raise DataError(f"evaluate.also.{name}: {folder}: no such folder; give one that embed wrote")
        others[name] = Embedding(matrix, Path(folder))
        if others[name].manifest.matrix_fingerprint != matrix.fingerprint:
            raise DataError(
                f"evaluate.also.{name}: {folder}: these embeddings were made from another matrix; embed this one with "
                "that model"
            )
    return others


def _log_what_needs_tasks(params: EvaluateParams) -> None:
    log.info("no tasks are given: only the reconstruction is evaluated")
    asked = [name for name in ("also", "leak", "missing_tracks", "cross_cell_type") if getattr(params, name)]
    if asked:
        log.warning(f"evaluate.{', evaluate.'.join(asked)}: left out, needs tasks; give --tasks and --labels")


def _log_examples(trial: Trial) -> None:
    n, positives = len(trial.examples), int(trial.examples.labels.sum())
    counts = {"n": n, "positives": positives, "n_outside": trial.n_outside, "n_unusable": trial.examples.unusable}
    kind = "with levels" if trial.task.of_levels else f"{positives:,} positive"
    log.info(
        f"{trial.task.name}, {trial.cell_type}: {n:,} examples, {kind}; left out: {trial.n_outside:,} "
        f"outside the covered regions, {trial.examples.unusable:,} without a value or a place",
        extra={"fields": counts},
    )


def _no_windows() -> WindowTable:
    return WindowTable(np.empty(0, dtype=np.str_), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
