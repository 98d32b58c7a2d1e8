"""Inputs of an evaluation: data, model, tasks with their examples, and other models' embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.model.compatibility import input_difference
from epilstm.model.folder import ModelManifest
from epilstm.params import EvaluateParams
from epilstm.representation_names import Part
from epilstm.representations.features import Embedding, Representation, Transform
from epilstm.representations.pooling import WindowTable
from epilstm.runtime.cores import available_cores
from epilstm.scoring.folds import cross_fit_groups
from epilstm.scoring.gene_regions import GeneRegions, gene_regions
from epilstm.scoring.tasks import Task, given_tasks
from epilstm.scoring.trials import Trial, UsableTrials, usable_trials
from epilstm.steps.evaluate.compared import as_they_are, require_own_codes, require_two_levels
from epilstm.steps.evaluate.networks import Networks
from epilstm.store.evaluation_results import HeldOutPlaces, require_embeddings
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, Split, read_manifest, read_scaler
from epilstm.store.matrix import Matrix


@dataclass(frozen=True)
class Inputs:
    """What an evaluation reads.

    Parameters
    ----------
    matrix : Matrix
        Its split says what is fitted on and what reconstruction is scored on.
    folder : Path
        Of the matrix.
    embedding : Representation
        As stored, or the model run over the matrix.
    groups : list of list of str
        Chromosomes that cross-fitting leaves out in turn; none without it.
    group_networks : list of Networks
        The model of each group, where each has its own.
    group_embeddings : list of Embedding
        What the model of each group made of the matrix, where that is stored.
    labels : Path
        Folder that the tasks' label files are relative to.
    usable : UsableTrials
        Each task in each of its cell types, and their windows; none without tasks.
    also : dict of str to Embedding
        Other models' embeddings by name.
    held_out : HeldOutPlaces
    made : dict
        Tracks and means that representations share.
    """

    params: EvaluateParams
    matrix: Matrix
    folder: Path
    embedding: Representation
    networks: Networks
    groups: list[list[str]]
    group_networks: list[Networks]
    group_embeddings: list[Embedding]
    tasks: list[Task]
    labels: Path
    genes: GeneRegions
    usable: UsableTrials
    also: dict[str, Embedding]
    held_out: HeldOutPlaces
    made: dict[tuple[Part, Transform], Representation] = field(default_factory=dict)

    @property
    def trials(self) -> list[Trial]:
        """Each task in each of its cell types."""
        return self.usable.trials

    @property
    def windows(self) -> WindowTable:
        """Windows of all trials."""
        return self.usable.windows

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
    stored = Embedding(matrix, paths["embeddings"]) if "embeddings" in paths else None
    networks = Networks(matrix, paths["model"], _embedded_cell_types(params, stored))
    model = networks.model
    require_taken(paths["matrix"], matrix, paths["model"], model)
    if stored is not None:
        require_embeddings(paths, stored.manifest)
    require_two_levels(params, model.config.context_size)
    require_own_codes(params, model.config.cell_types is not None)
    own_matrix = model.matrix_fingerprint == matrix.fingerprint
    matrix = matrix.with_split(model.split if own_matrix else split_of_another(matrix.manifest, model.split))
    if not own_matrix:
        log.info(f"the model was trained on another matrix; reconstruction: {', '.join(matrix.manifest.split.test)}")
    also = _other_embeddings(matrix, params)
    if params.missing_tracks and matrix.tracks < 2:
        raise ParamsError("evaluate.missing_tracks: of one track none can be hidden; set it to 0")
    if not tasks:
        _log_what_needs_tasks(params)
    groups = cross_fit_groups(params.cross_fit, matrix.manifest) if tasks else []
    group_networks = _group_networks(params, matrix, paths, groups) if groups else []
    group_embeddings = _group_embeddings(params, matrix, paths, groups, networks) if groups else []
    usable = usable_trials(tasks, labels, matrix, params) if tasks else UsableTrials([], _no_windows(), {})
    for trial in usable.trials:
        _log_examples(trial)
    places = _held_out_places(matrix, model.split, own_matrix, usable.trials)
    held_out = places.model_copy(
        update={"cross_fit": groups, "models_by_group": bool(group_networks or group_embeddings)}
    )
    if groups and not held_out.models_by_group and held_out.labels_seen:
        log.warning(
            f"evaluate.cross_fit: the model was trained on {', '.join(held_out.labels_seen)}, which are also scored; "
            "give one model per group (evaluate.cross_fit.models or embeddings), or one that was trained without them"
        )
    return Inputs(
        params=params,
        matrix=matrix,
        folder=paths["matrix"],
        embedding=_embedding(networks, stored, group_embeddings),
        networks=networks,
        groups=groups,
        group_networks=group_networks,
        group_embeddings=group_embeddings,
        tasks=tasks,
        labels=labels,
        genes=genes,
        usable=usable,
        also=also,
        held_out=held_out,
    )


def _embedded_cell_types(params: EvaluateParams, stored: Embedding | None) -> list[str] | None:
    """Cell types that stored embeddings have codes of; None where that is all, or one code of all tracks."""
    if stored is not None:
        return stored.manifest.cell_types
    first = params.cross_fit.embeddings[:1]
    return read_manifest(Path(first[0]), EmbeddingsManifest).cell_types if first and Path(first[0]).is_dir() else None


def require_taken(folder: Path, matrix: Matrix, model_folder: Path, model: ModelManifest) -> None:
    """Refuse a matrix that a model does not take: of other tracks, bins or frames, or standardised otherwise.

    Raises
    ------
    DataError
        Names the first difference, and what to do.
    """
    scaler = read_scaler(folder, matrix.manifest)
    frame_bins = model.frame_bins if model.config.context_size else None
    reason = input_difference(matrix.manifest, scaler, model.scaler, model.bin_size, frame_bins, "model")
    if reason is not None:
        raise DataError(
            f"{model_folder}: the model does not take the matrix {folder}: {reason}; make the matrix with the model's "
            "tracks and scaler (epilstm preprocess --encoder, with the encoder that epilstm export writes)"
        )


def split_of_another(manifest: MatrixManifest, trained: Split) -> Split:
    """What is fitted and scored on in a matrix that the model was not trained on.

    Scored are the chromosomes that the model has not seen, or else its test data; PCA and NMF are fitted on those that
    it was trained on, or else on all.
    """
    seen = {place.partition(":")[0] for place in (*trained.train, *trained.validation)}
    unseen = [chrom for chrom in manifest.chromosomes if chrom not in seen]
    test = unseen or manifest.places_with_regions(trained.test) or manifest.chromosomes
    fitted = manifest.places_with_regions(trained.train) or manifest.chromosomes
    return Split(train=fitted, validation=[], test=test)


def _held_out_places(matrix: Matrix, trained: Split, own: bool, trials: Sequence[Trial]) -> HeldOutPlaces:
    labelled = {chrom for trial in trials for chrom in np.unique(trial.examples.chroms).tolist()}
    seen = {place.partition(":")[0] for place in (*trained.train, *trained.validation)}
    split = matrix.manifest.split
    order = [chrom for chrom in matrix.manifest.chromosomes if chrom in labelled]
    return HeldOutPlaces(
        own_matrix=own,
        trained_on=trained.train,
        validated_on=trained.validation,
        fitted_on=split.train,
        reconstructed_on=split.test,
        labels_on=order,
        labels_seen=[chrom for chrom in order if chrom in seen],
    )


def _group_networks(
    params: EvaluateParams, matrix: Matrix, paths: Mapping[str, Path], groups: Sequence[Sequence[str]]
) -> list[Networks]:
    """The model of each group of cross-fitting, trained without its chromosomes; none where no models are listed."""
    models = params.cross_fit.models
    if models and "embeddings" in paths:
        raise ParamsError("evaluate.cross_fit.models: each group is embedded by its own model; leave --embeddings out")
    found, size = [], None
    for number, (name, group) in enumerate(zip(models, groups, strict=False)):
        key, folder = f"evaluate.cross_fit.models[{number}]", Path(name)
        if not folder.is_dir():
            raise DataError(f"{key}: {folder}: no such folder; give one that train wrote")
        networks = Networks(matrix, folder)
        require_taken(paths["matrix"], matrix, folder, networks.model)
        split = networks.model.split
        seen = {place.partition(":")[0] for place in (*split.train, *split.validation)}
        both = [chrom for chrom in group if chrom in seen]
        if both:
            raise DataError(f"{key}: {folder}: was trained on {', '.join(both)}, which its group leaves out")
        size = size or networks.model.config.embedding_size
        if networks.model.config.embedding_size != size:
            raise DataError(
                f"{key}: {folder}: has {networks.model.config.embedding_size} numbers, the first one {size}"
            )
        require_two_levels(params, networks.model.config.context_size)
        found.append(networks)
    return found


def _embedding(networks: Networks, stored: Embedding | None, of_groups: Sequence[Embedding]) -> Representation:
    """What is compared outside of groups, and has the size of what is compared within them."""
    if of_groups:
        return of_groups[0]
    return networks.encoders().trained(as_they_are) if stored is None else stored


def _group_embeddings(
    params: EvaluateParams,
    matrix: Matrix,
    paths: Mapping[str, Path],
    groups: Sequence[Sequence[str]],
    networks: Networks,
) -> list[Embedding]:
    """What each group's model, trained without its chromosomes, made of the matrix; none where none are listed."""
    folders = params.cross_fit.embeddings
    if folders and "embeddings" in paths:
        raise ParamsError("evaluate.cross_fit.embeddings: each group has its own; leave --embeddings out")
    found: list[Embedding] = []
    for number, (name, group) in enumerate(zip(folders, groups, strict=False)):
        key, folder = f"evaluate.cross_fit.embeddings[{number}]", Path(name)
        if not folder.is_dir():
            raise DataError(f"{key}: {folder}: no such folder; give one that embed wrote")
        embedding = Embedding(matrix, folder)
        manifest = embedding.manifest
        if manifest.matrix_fingerprint != matrix.fingerprint:
            raise DataError(f"{key}: {folder}: these embeddings were made from another matrix; embed this one")
        if manifest.split is None:
            raise DataError(f"{key}: {folder}: the manifest does not say what its model was trained on; embed again")
        seen = {place.partition(":")[0] for place in (*manifest.split.train, *manifest.split.validation)}
        both = [chrom for chrom in group if chrom in seen]
        if both:
            raise DataError(f"{key}: {folder}: was trained on {', '.join(both)}, which its group leaves out")
        chosen = networks.chosen
        if (embedding.size, manifest.code_columns) != (chosen.size, chosen.code_columns):
            raise DataError(
                f"{key}: {folder}: has {embedding.size} numbers of {_cells(manifest.code_columns)}, the model of "
                f"--model {chosen.size} of {_cells(chosen.code_columns)}"
            )
        found.append(embedding)
    return found


def _cells(code_columns: Mapping[str, Sequence[int]] | None) -> str:
    return "all tracks" if code_columns is None else ", ".join(code_columns)


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
