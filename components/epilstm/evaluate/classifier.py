"""XGBoost, the same for every representation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from epilstm.config import ClassifierParams

#: Part of a training fold, in whole groups, that early stopping watches.
HELD_BACK = 0.2


def predict_held_out(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    test: NDArray[np.bool_],
    params: ClassifierParams,
    seed: int,
) -> NDArray[np.float32]:
    """Train on the examples outside a fold and score those inside.

    Parameters
    ----------
    features : (n, size) float32 array
        NaN counts as missing.
    labels : (n,) bool array
    groups : (n,) int64 array
        Early stopping, where it is on, watches the log loss of whole groups taken from the training part.
    test : (n,) bool array
        Examples of the fold.
    params : ClassifierParams
    seed : int

    Returns
    -------
    (test examples,) float32 array
        Probability of the positive class. Runs on one thread, so that the bytes do not depend on their number.
    """
    import xgboost

    train = ~test
    if labels[train].all() or not labels[train].any():
        return base_rate(labels, test)
    watched = held_back(labels, groups, train, seed) if params.early_stopping_rounds else np.zeros_like(train)
    fitted = train & ~watched
    settings = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "max_bin": params.histogram_bins,
        "max_depth": params.depth,
        "learning_rate": params.learning_rate,
        "seed": seed,
        "nthread": 1,
    }
    data = xgboost.QuantileDMatrix(features[fitted], label=labels[fitted], max_bin=params.histogram_bins, nthread=1)
    stopping = {}
    if watched.any():
        watch = xgboost.QuantileDMatrix(
            features[watched], label=labels[watched], max_bin=params.histogram_bins, ref=data, nthread=1
        )
        stopping = {
            "evals": [(watch, "held_back")],
            "early_stopping_rounds": params.early_stopping_rounds,
            "verbose_eval": False,
        }
    booster = xgboost.train(settings, data, num_boost_round=params.trees, **stopping)
    trees = booster.best_iteration + 1 if watched.any() else params.trees
    scores = booster.inplace_predict(features[test], iteration_range=(0, trees))
    return np.asarray(scores, dtype=np.float32)


def base_rate(labels: NDArray[np.bool_], test: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The majority baseline: every example of a fold gets the share of positives outside it."""
    return np.full(int(test.sum()), labels[~test].mean(), dtype=np.float32)


def held_back(
    labels: NDArray[np.bool_], groups: NDArray[np.int64], train: NDArray[np.bool_], seed: int
) -> NDArray[np.bool_]:
    """About `HELD_BACK` of the training examples, in whole groups, with both classes on both sides.

    Returns
    -------
    (n,) bool array
        All false where no set of groups tried will do; early stopping is then off.
    """
    names = np.unique(groups[train])
    random = np.random.default_rng(seed)
    for _ in range(20):
        taken = np.zeros_like(train)
        for name in random.permutation(names):
            taken |= train & (groups == name)
            if taken.sum() >= HELD_BACK * train.sum():
                break
        rest = train & ~taken
        if all(len(np.unique(labels[part])) == 2 for part in (taken, rest)):
            return taken
    return np.zeros_like(train)
