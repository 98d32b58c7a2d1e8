"""What learns from features, the same for every representation: classes by a classifier, levels by its regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.params import ClassifierParams

#: Part of a training fold, in whole groups, that early stopping watches.
HELD_BACK = 0.2
#: Strength of the penalty of linear models on standardised features (1 / C of logistic regression, alpha of ridge).
PENALTY = 1.0


def predict_held_out(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    test: NDArray[np.bool_],
    params: ClassifierParams,
    seed: int,
    *,
    levels: NDArray[np.float64] | None = None,
    train: NDArray[np.bool_] | None = None,
    shown: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Train on the examples outside a fold and score those inside.

    Parameters
    ----------
    features : (n, size) float32 array
        NaN counts as missing.
    labels : (n,) bool array
    groups : (n,) int64 array
        Early stopping, where it is on, watches the loss of whole groups taken from the training part.
    test : (n,) bool array
        Examples of the fold.
    params : ClassifierParams
    seed : int
    levels : (n,) float64 array, optional
        Learnt in place of the labels.
    train : (n,) bool array, optional
        Examples to learn from; without it, all outside the fold.
    shown : (..., n, size) float32 array, optional
        Features of the examples as they are when scored, where these differ from those learnt from; several of them
        are scored by what is learnt once.

    Returns
    -------
    (..., test examples) float32 array
        Probability of the positive class, or the level. Runs on one thread, so that the bytes do not depend on their
        number.
    """
    train = ~test if train is None else train
    asked = (features if shown is None else shown)[..., test, :]
    if levels is None and (labels[train].all() or not labels[train].any()):
        return np.full(asked.shape[:-1], labels[train].mean(), dtype=np.float32)
    tested: NDArray[np.floating] = asked.reshape(-1, features.shape[1])
    if params.kind == "xgboost":
        return _boosted(features, labels, groups, train, tested, params, seed, levels).reshape(asked.shape[:-1])
    learnt: NDArray[np.floating] = features[train]
    if params.kind == "logistic":
        learnt, tested = _standardised(learnt, tested)
    model = _estimator(params, seed, levels is not None)
    if levels is not None:
        scores = model.fit(learnt, levels[train]).predict(tested)
    else:
        scores = model.fit(learnt, labels[train]).predict_proba(tested)[:, 1]
    return np.asarray(scores, dtype=np.float32).reshape(asked.shape[:-1])


def _boosted(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    train: NDArray[np.bool_],
    tested: NDArray[np.floating],
    params: ClassifierParams,
    seed: int,
    levels: NDArray[np.float64] | None,
) -> NDArray[np.float32]:
    import xgboost

    target: NDArray = labels if levels is None else levels
    watched = held_back(labels, groups, train, seed) if params.early_stopping_rounds else np.zeros_like(train)
    fitted = train & ~watched
    settings = {
        "objective": "binary:logistic" if levels is None else "reg:squarederror",
        "eval_metric": "logloss" if levels is None else "rmse",
        "tree_method": "hist",
        "max_bin": params.histogram_bins,
        "max_depth": params.depth,
        "learning_rate": params.learning_rate,
        "seed": seed,
        "nthread": 1,
    }
    data = xgboost.QuantileDMatrix(features[fitted], label=target[fitted], max_bin=params.histogram_bins, nthread=1)
    stopping = {}
    if watched.any():
        watch = xgboost.QuantileDMatrix(
            features[watched], label=target[watched], max_bin=params.histogram_bins, ref=data, nthread=1
        )
        stopping = {
            "evals": [(watch, "held_back")],
            "early_stopping_rounds": params.early_stopping_rounds,
            "verbose_eval": False,
        }
    booster = xgboost.train(settings, data, num_boost_round=params.trees, **stopping)
    trees = booster.best_iteration + 1 if watched.any() else params.trees
    scores = booster.inplace_predict(tested, iteration_range=(0, trees))
    return np.asarray(scores, dtype=np.float32)


def _estimator(params: ClassifierParams, seed: int, of_levels: bool) -> Any:
    if params.kind == "logistic":
        from sklearn.linear_model import LogisticRegression, Ridge

        return Ridge(alpha=PENALTY) if of_levels else LogisticRegression(C=1 / PENALTY, max_iter=2_000)
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    forest = RandomForestRegressor if of_levels else RandomForestClassifier
    return forest(n_estimators=params.trees, random_state=seed, n_jobs=1)


def _standardised(
    learnt: NDArray[np.float32], tested: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in standard deviations from the mean of what is learnt from; missing values are at the mean."""
    known = np.isfinite(learnt)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, learnt, 0).sum(axis=0, dtype=np.float64) / count
    spread = np.sqrt(np.where(known, (learnt - mean) ** 2, 0).sum(axis=0) / count)
    scale = np.where(spread > 0, spread, 1)
    both = [np.where(np.isfinite(each), (each - mean) / scale, 0) for each in (learnt, tested)]
    return both[0], both[1]


def base_rate(labels: NDArray[np.bool_], test: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The majority baseline: every example of a fold gets the share of positives outside it."""
    return np.full(int(test.sum()), labels[~test].mean(), dtype=np.float32)


def base_level(levels: NDArray[np.float64], test: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The same for levels: their mean outside the fold."""
    return np.full(int(test.sum()), levels[~test].mean(), dtype=np.float32)


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
