"""Out-of-fold predictions of every trial from every representation, which several analyses score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log, progress
from epilstm.representations.features import Representation, Transform
from epilstm.representations.nmf import fit_nmf, offsets, training_sample
from epilstm.representations.pca import Pca
from epilstm.scoring.prediction import MAJORITY, HeldOut, predict_majority, predict_shown
from epilstm.scoring.trials import Trial
from epilstm.steps.evaluate.compared import Ingredients, as_they_are, fit, fit_wide, make, ordered, resolve
from epilstm.steps.evaluate.inputs import Inputs
from epilstm.steps.evaluate.missing import hidden_tracks
from epilstm.steps.evaluate.reconstruction import readout_blocks
from epilstm.store.evaluation_results import EMBEDDING
from epilstm.store.moments import Moments


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions.

    Parameters
    ----------
    representations : dict of str to Representation
        All but the majority class, as tables list them, the embedding first.
    left_out : dict of str to str
        Representations that were asked for and are not compared, with the reason.
    held_out : list of mapping
        For each trial, representation -> out-of-fold predictions, with the majority class if it is asked for.
    hidden : list of (tracks,) bool array
        For each draw, the tracks that were hidden.
    without_hidden : list of list of mapping
        For each draw, predictions of the same classifiers from examples without the hidden tracks.
    """

    representations: dict[str, Representation]
    left_out: dict[str, str]
    held_out: HeldOut
    hidden: list[NDArray[np.bool_]]
    without_hidden: list[HeldOut]


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
    params, matrix = inputs.params, inputs.matrix
    embedding, encoders = inputs.embedding, inputs.networks.encoders()
    sample = cache(lambda: training_sample(matrix))
    resolved = resolve(params.representations, embedding.size, matrix.tracks, inputs.networks.distances)
    for name, reason in resolved.left_out.items():
        log.info(f"{name} is left out: {reason}")
    fitted = fit(
        resolved.names,
        moments,
        pca,
        lambda size: fit_nmf(sample(), offsets(inputs.folder, matrix.manifest), size, params.seed),
        embedding.size,
    )
    fitted = replace(fitted, wide=fit_wide(resolved.names, matrix, readout_blocks(matrix)))
    untrained = encoders.untrained(as_they_are)
    ingredients = Ingredients(matrix, as_they_are, matrix.tracks, embedding, untrained, encoders.bin_code, fitted)
    names = {str(name): name for name in ordered(resolved.names)}
    order = [EMBEDDING, *inputs.also, *(name for name in names if name != EMBEDDING)]
    own = {text: make(name, ingredients) for text, name in names.items() if text != MAJORITY}

    def hiding(hidden: NDArray[np.bool_]) -> dict[str, Representation]:
        """The same representations of the tracks that are left."""
        shown = _hiding(hidden)
        left = replace(
            ingredients, tracks=shown, embedding=encoders.trained(shown), untrained=encoders.untrained(shown)
        )
        return {text: make(names[text], left) for text in own}

    draws = hidden_tracks(matrix.tracks, params.missing_tracks, params.seed) if params.missing_tracks else []
    held_out, *without = held_out_shown(inputs, own, [own, *(hiding(each) for each in draws)], "Classifiers")
    if inputs.also:
        for scores, further in zip(held_out, held_out_of(inputs, inputs.also, "Other embeddings"), strict=True):
            scores.update(further)
    if MAJORITY in order:
        predict_majority(inputs.trials, held_out)
    made: dict[str, Representation] = {**own, **inputs.also}
    return Predictions(
        {name: made[name] for name in order if name != MAJORITY},
        resolved.left_out,
        [{name: scores[name] for name in order} for scores in held_out],
        draws,
        without,
    )


def held_out_of(
    inputs: Inputs, representations: Mapping[str, Representation], what: str, trials: Sequence[Trial] | None = None
) -> HeldOut:
    """Out-of-fold predictions of examples as they are, with a progress bar named `what`.

    `trials` are the inputs' own if not given.
    """
    (held_out,) = held_out_shown(inputs, representations, [representations], what, trials)
    return held_out


def held_out_shown(
    inputs: Inputs,
    representations: Mapping[str, Representation],
    shown: Sequence[Mapping[str, Representation]],
    what: str,
    trials: Sequence[Trial] | None = None,
) -> list[HeldOut]:
    """The same of examples shown in several ways (`epilstm.scoring.prediction.predict_shown`)."""
    chosen = inputs.trials if trials is None else trials
    folds = sum(len(trial.folds.splits()) for trial in chosen)
    with progress(what, len(representations) * folds) as bar:
        return predict_shown(
            representations, shown, inputs.matrix, inputs.windows, chosen, inputs.params, inputs.threads, bar
        )


def _hiding(hidden: NDArray[np.bool_]) -> Transform:
    """Rows with some tracks at their mean."""
    kept = (~hidden).astype(np.float32)
    return lambda rows: rows * kept
