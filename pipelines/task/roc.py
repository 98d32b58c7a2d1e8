"""The ROC curve that kfp's UI draws of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from epilstm.store.evaluation_results import EMBEDDING

#: Points kept of the curve.
POINTS = 100


def confidence_metrics(predictions: Path) -> list[dict[str, float]]:
    """ROC of the embedding over the held-out predictions of all tasks together.

    Parameters
    ----------
    predictions : Path
        ``predictions.parquet`` of an evaluation.

    Returns
    -------
    list of dict
        At most `POINTS` points with falling, finite ``confidenceThreshold``, and rising ``falsePositiveRate`` and
        ``recall``; empty where the labels are all of one class.
    """
    import pyarrow.parquet
    from sklearn.metrics import roc_curve

    table = pyarrow.parquet.read_table(
        predictions, columns=["label", "score"], filters=[("representation", "=", EMBEDDING)]
    )
    labels = table["label"].to_numpy().astype(bool)
    if len(np.unique(labels)) < 2:
        return []
    rates, recalls, thresholds = roc_curve(labels, table["score"].to_numpy().astype(np.float64))
    # scikit-learn begins with an infinite threshold, at which nothing is called; JSON has no infinity.
    thresholds[0] = np.nextafter(thresholds[1], np.inf)
    kept = np.arange(len(rates))
    if len(kept) > POINTS:
        rising = rates + recalls
        places = np.searchsorted(rising, np.linspace(rising[0], rising[-1], POINTS - 1))
        kept = np.unique(np.append(places, len(rising) - 1))
    return [
        {"confidenceThreshold": float(threshold), "falsePositiveRate": float(rate), "recall": float(recall)}
        for threshold, rate, recall in zip(thresholds[kept], rates[kept], recalls[kept], strict=True)
    ]
