"""The training curve."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np

from epilstm.plot.figure_file import Plot
from epilstm.report.inputs import read_curve
from epilstm.report.training_figure import training_figure


def plot_training(history: Path) -> Plot:
    """Loss on training and validation chromosomes over epochs."""
    curve = read_curve(history)
    best = int(curve.epoch[np.argmin(curve.validation_mse)])
    caption = (
        "Mean squared error of the standardised signal and R² on validation chromosomes after each of "
        f"{len(curve.epoch)} epochs; the training error is the average over the epoch, while weights still changed."
    )
    names = [field.name for field in fields(curve)]
    rows = [{name: getattr(curve, name)[at].item() for name in names} for at in range(len(curve.epoch))]
    return Plot(partial(training_figure, curve, best), caption, rows)
