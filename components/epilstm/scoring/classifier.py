"""What learns from features, the same for every representation: classes by a classifier, levels by its regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.params import ClassifierParams

#: Part of a training fold, in whole groups, that early stopping watches.
HELD_BACK = 0.2
#: Penalties of linear models on standardised features (1 / C of logistic regression, alpha of ridge) that are tried,
#: the strongest first, and the one where there are too few groups to choose by.
PENALTIES = (10_000.0, 1_000.0, 100.0, 10.0, 1.0)
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
        Of several kinds, the first learns.
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
    kind = params.kinds[0]
    if kind == "xgboost":
        return _boosted(features, labels, groups, train, tested, params, seed, levels).reshape(asked.shape[:-1])
    learnt: NDArray[np.floating] = features[train]
    target: NDArray = labels if levels is None else levels
    if kind == "logistic":
        penalty = (
            _chosen_penalty(features, target, labels, groups, train, seed)
            if params.penalty == "auto"
            else params.penalty
        )
        learnt, tested = _standardised(learnt, tested)
        model = _linear(penalty, levels is not None)
    else:
        model = _forest(params, seed, levels is not None)
    scores = _predicted(model.fit(learnt, target[train]), tested)
    return np.asarray(scores, dtype=np.float32).reshape(asked.shape[:-1])


def _predicted(model: Any, features: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probability of the positive class, or the level."""
    found: NDArray[np.floating]
    found = model.predict_proba(features)[:, 1] if hasattr(model, "predict_proba") else model.predict(features)
    return found


def _chosen_penalty(
    features: NDArray[np.float32],
    target: NDArray,
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    train: NDArray[np.bool_],
    seed: int,
) -> float:
    """The penalty with the least loss (log loss, or squared error) on whole groups held back from training."""
    watched = held_back(labels, groups, train, seed)
    if not watched.any():
        return PENALTY
    fitted, of_levels = train & ~watched, target.dtype != np.bool_
    learnt, tested = _standardised(features[fitted], features[watched])
    losses = []
    model: Any = None
    for penalty in PENALTIES:
        start = model
        model = _linear(penalty, of_levels)
        if start is not None and not of_levels:
            # From the solution under the stronger penalty, few steps are left.
            model.warm_start, model.coef_, model.intercept_ = True, start.coef_, start.intercept_
        scores = _predicted(model.fit(learnt, target[fitted]), tested)
        if of_levels:
            losses.append(float(np.square(scores - target[watched]).mean()))
        else:
            likely = np.clip(np.where(target[watched], scores, 1 - scores), 1e-7, None)
            losses.append(float(-np.log(likely).mean()))
    return PENALTIES[int(np.argmin(losses))]


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


def _linear(penalty: float, of_levels: bool) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge(alpha=penalty) if of_levels else LogisticRegression(C=1 / penalty, max_iter=2_000)


def _forest(params: ClassifierParams, seed: int, of_levels: bool) -> Any:
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
