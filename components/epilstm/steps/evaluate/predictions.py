"""Out-of-fold predictions of every trial from every representation, which several analyses score."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log, progress
from epilstm.representation_names import OF_TWO_LEVELS, SIZED, RepresentationName, is_own, own_code_of
from epilstm.representations.features import Transform
from epilstm.representations.nmf import fit_nmf, offsets, training_sample
from epilstm.representations.pca import Pca, fit_pca
from epilstm.scoring.prediction import (
    MAJORITY,
    HeldOut,
    PooledWindows,
    View,
    predict_majority,
    predict_views,
    views_of,
)
from epilstm.scoring.probes import Probe, further_probes
from epilstm.scoring.trials import Trial
from epilstm.steps.evaluate.compared import (
    Ingredients,
    as_they_are,
    columns_by_cell_type,
    fit,
    fit_wide,
    make,
    ordered,
    resolve,
)
from epilstm.steps.evaluate.cross_cell import Encoders
from epilstm.steps.evaluate.inputs import Inputs
from epilstm.steps.evaluate.missing import hidden_tracks
from epilstm.steps.evaluate.reconstruction import READOUT_BINS, training_blocks, training_moments
from epilstm.store.evaluation_results import EMBEDDING
from epilstm.store.manifests import Split
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions.

    Parameters
    ----------
    sizes : dict of str to int
        Numbers per bin of all representations but the majority class, as tables list them, the embedding first.
    left_out : dict of str to str
        Representations that were asked for and are not compared, with the reason.
    held_out : list of mapping
        For each trial, representation -> out-of-fold predictions of its scored examples, with the majority class if it
        is asked for.
    hidden : list of (tracks,) bool array
        For each draw, the tracks that were hidden.
    without_hidden : list of list of mapping
        For each draw, predictions of the same classifiers from examples without the hidden tracks.
    further : dict of Probe to list of mapping
        Predictions by further probes, without the majority class.
    """

    sizes: dict[str, int]
    left_out: dict[str, str]
    held_out: HeldOut
    hidden: list[NDArray[np.bool_]]
    without_hidden: list[HeldOut]
    further: dict[Probe, HeldOut]


@dataclass(frozen=True)
class Round:
    """One fit of what is fitted: for one fold of cross-fitting, or for all folds without it."""

    fold: int | None
    ingredients: Ingredients
    encoders: Encoders


def predict(inputs: Inputs, moments: Moments, pca: Pca) -> Predictions:
    """Predict every trial from every representation, and with hidden tracks if the params ask for it.

    Parameters
    ----------
    inputs : Inputs
        With tasks.
    moments : Moments
        Of the training chromosomes' tracks.
    pca : Pca
        Of the same.
    """
    params, matrix, trials = inputs.params, inputs.matrix, inputs.trials
    resolved = resolve(params.representations, inputs.embedding.size, matrix.tracks, inputs.networks.distances)
    names = {str(name): name for name in ordered(resolved.names) if str(name) != MAJORITY}
    codes = inputs.networks.own_codes
    described = {text: _described_trials(name, trials, matrix, codes) for text, name in names.items()}
    left_out = resolved.left_out | {
        text: f"no task has {'codes' if own_code_of(names[text]) else 'tracks'} of its own cell types"
        for text, own in described.items()
        if not own
    }
    names = {text: name for text, name in names.items() if described[text]}
    for text, reason in left_out.items():
        log.info(f"{text} is left out: {reason}")
    rounds = [_round(inputs, list(names.values()), moments, pca, fold) for fold in _folds(inputs)]
    share, count = params.missing_tracks, params.missing_draws
    draws = hidden_tracks(matrix.tracks, share, params.seed, count) if share else []
    views = {
        text: [
            view
            for each in (rounds if _is_fitted(name, inputs) else [replace(rounds[0], fold=None)])
            for view in _views(name, each, described[text], trials, draws)
        ]
        for text, name in names.items()
    }
    pooled = PooledWindows(matrix, inputs.windows, params)
    probes = further_probes(params)
    fits = sum(
        (1 + len(probes)) * sum(len(trials[each].folds.splits()) if view.fold is None else 1 for each in view.trials)
        for own in views.values()
        for view in own
    )
    with progress("Classifiers", fits) as bar:
        predicted = predict_views(views, pooled, trials, params, inputs.threads, bar, probes)
    held_out, *without = predicted.shown
    further = predicted.further
    if inputs.also:
        with progress("Other embeddings", len(inputs.also) * (1 + len(probes)) * folds_of(trials)) as bar:
            others = predict_views(views_of(inputs.also, trials), pooled, trials, params, inputs.threads, bar, probes)
        for into, found in ((held_out, others.shown[0]), *((further[each], others.further[each]) for each in probes)):
            for scores, also in zip(into, found, strict=True):
                scores.update(also)
    order = [EMBEDDING, *inputs.also, *(text for text in names if text != EMBEDDING)]
    sizes = {text: max(view.shown[0].size for view in own) for text, own in views.items()}
    sizes |= {name: each.size for name, each in inputs.also.items()}
    if any(str(name) == MAJORITY for name in resolved.names):
        predict_majority(trials, held_out)
        order.append(MAJORITY)
    return Predictions(
        {name: sizes[name] for name in order if name != MAJORITY},
        left_out,
        _scored(trials, held_out, order),
        draws,
        [_scored(trials, each, order) for each in without],
        {probe: _scored(trials, scores, order) for probe, scores in further.items()},
    )


def _scored(trials: Sequence[Trial], held_out: HeldOut, order: Sequence[str]) -> HeldOut:
    """Predictions of scored examples, by representation in order."""
    masks = [slice(None) if trial.folds.scored is None else trial.folds.scored for trial in trials]
    return [
        {name: scores[name][mask] for name in order if name in scores}
        for mask, scores in zip(masks, held_out, strict=True)
    ]


def _folds(inputs: Inputs) -> list[int | None]:
    return list(range(len(inputs.groups))) or [None]


def _is_fitted(name: RepresentationName, inputs: Inputs) -> bool:
    """Whether a representation differs between the folds of cross-fitting."""
    kinds = {each.kind for part in name.parts for each in (part, *(part.of.parts if part.of else ()))}
    by_group = inputs.group_networks or inputs.group_embeddings
    return bool(kinds & {*SIZED, *((EMBEDDING, *OF_TWO_LEVELS) if by_group else ())})


def _described_trials(
    name: RepresentationName, trials: Sequence[Trial], matrix: Matrix, codes: Collection[str]
) -> list[int]:
    """Numbers of the trials that a name can describe: all, or those of tasks whose cell types have tracks.

    `codes` are the cell types that have a code of their own; a name with such a code describes no others.
    """
    if not is_own(name):
        return list(range(len(trials)))
    tracks = set(matrix.manifest.track_set.cell_types)
    cells = tracks & set(codes) if own_code_of(name) else tracks
    without = {trial.task.name: trial.cell_type for trial in trials if trial.cell_type not in cells}
    for task, cell in without.items():
        lacks = "is not embedded (embed.cell_types)" if cell in tracks else "has no tracks in the data"
        log.warning(f"{name}: left out of task {task}, {cell} {lacks}")
    return [number for number, trial in enumerate(trials) if trial.task.name not in without]


def _round(inputs: Inputs, names: Sequence[RepresentationName], moments: Moments, pca: Pca, fold: int | None) -> Round:
    """Fit what the names need: on the training chromosomes, or on all but a fold's."""
    params, matrix, networks = inputs.params, inputs.matrix, inputs.networks
    embedding = inputs.embedding
    if fold is not None:
        rest = [chrom for number, group in enumerate(inputs.groups) for chrom in group if number != fold]
        matrix = matrix.with_split(Split(train=rest, validation=[], test=inputs.groups[fold]))
        moments = training_moments(matrix, training_blocks(matrix, params.reconstruction_bins), lambda bins: None)
        pca = fit_pca(moments)
    encoders = networks.encoders()
    if fold is not None and inputs.group_networks:
        encoders = replace(encoders, trained=inputs.group_networks[fold].encoders().trained)
        embedding = encoders.trained(as_they_are)
    if fold is not None and inputs.group_embeddings:
        embedding = inputs.group_embeddings[fold]
    sample = cache(lambda: training_sample(matrix))
    offset = offsets(inputs.folder, inputs.matrix.manifest)
    fitted = fit(names, moments, pca, lambda size: fit_nmf(sample(), offset, size, params.seed), embedding.size)
    ingredients = Ingredients(
        matrix,
        as_they_are,
        matrix.tracks,
        embedding,
        encoders.untrained(as_they_are),
        encoders.bin_code,
        fitted,
        columns_by_cell_type(matrix.manifest.track_set),
        inputs.made,
        networks.own_codes,
    )
    cells = dict.fromkeys(trial.cell_type for trial in inputs.trials if trial.cell_type in ingredients.columns)
    wide = fit_wide(
        names,
        ingredients,
        training_blocks(matrix, READOUT_BINS),
        lambda rows, tracks, size: fit_nmf(rows, offset[tracks], size, params.seed),
        cells,
    )
    return Round(fold, replace(ingredients, fitted=replace(fitted, wide=wide)), encoders)


def _views(
    name: RepresentationName,
    of: Round,
    numbers: Sequence[int],
    trials: Sequence[Trial],
    draws: Sequence[NDArray[np.bool_]],
) -> list[View]:
    """Views of a name in one round: of all its trials, or by cell type; with each draw's tracks hidden, too."""
    encoders, shown = of.encoders, [of.ingredients]
    for hidden in draws:
        tracks = _hiding(hidden)
        shown.append(
            replace(
                of.ingredients,
                tracks=tracks,
                embedding=encoders.trained(_hiding(hidden, encoders.hidden_value)),
                untrained=encoders.untrained(_hiding(hidden, encoders.hidden_value)),
                made={},
            )
        )
    if not is_own(name):
        return [View([make(name, each) for each in shown], numbers, of.fold)]
    by_cell: dict[str, list[int]] = {}
    for number in numbers:
        by_cell.setdefault(trials[number].cell_type, []).append(number)
    return [View([make(name, each, cell) for each in shown], own, of.fold) for cell, own in by_cell.items()]


def folds_of(trials: Sequence[Trial]) -> int:
    """Folds of all trials together."""
    return sum(len(trial.folds.splits()) for trial in trials)


def _hiding(hidden: NDArray[np.bool_], value: float = 0.0) -> Transform:
    """Rows with some tracks at their mean, 0, or at what stands for a hidden track."""
    return lambda rows: np.where(hidden, np.float32(value), rows)
