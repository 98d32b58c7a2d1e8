"""The training curve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.figures.drawing import QUIET, Layout, Plot, legend_above, new_figure, round_ticks
from epilstm.figures.html import number
from epilstm.files.text import csv_records

TRAINING, VALIDATION = "#E69F00", "#0072B2"

#: More epochs than this are a line without points.
EPOCHS_MARKED = 25

HISTORY_COLUMNS = ("epoch", "steps", "learning_rate", "train_mse", "validation_mse", "validation_r2")


@dataclass(frozen=True)
class TrainingCurve:
    """The training curve: one entry per epoch in every array; errors are in the matrix's standardised units."""

    epoch: NDArray[np.int64]
    steps: NDArray[np.int64]
    learning_rate: NDArray[np.float64]
    train_mse: NDArray[np.float64]
    validation_mse: NDArray[np.float64]
    validation_r2: NDArray[np.float64]


def read_curve(path: Path) -> TrainingCurve:
    """Training curve of a CSV file.

    Raises
    ------
    DataError
        Not such a file, no epochs in it, or a value that is no number; the message names the line.
    """
    what = "the training curve that train wrote (CSV)"
    values = [_numbers_of(path, line, row) for line, row in csv_records(path, what, HISTORY_COLUMNS)]
    if not values:
        raise DataError(f"{path}: no epochs in it; give {what}")
    columns = np.array(values, dtype=np.float64).T
    whole = {"epoch", "steps"}
    return TrainingCurve(
        **{
            name: column.astype(np.int64) if name in whole else column
            for name, column in zip(HISTORY_COLUMNS, columns, strict=True)
        }
    )


def _numbers_of(path: Path, line: int, row: dict[str, str]) -> list[float]:
    numbers = []
    for name in HISTORY_COLUMNS:
        try:
            number = float(row[name])
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise DataError(f"{path}:{line}: {name}: expected a number, got {row[name]!r}; run train again")
        numbers.append(number)
    return numbers


def training_plot(
    curve: TrainingCurve,
    best_epoch: int,
    track_dropout: float | None,
    dropout: float | None,
    peak_weight: float | None,
) -> Plot:
    """Loss and fit over epochs; for the params see `error_note`."""
    epochs = len(curve.epoch)
    best = list(curve.epoch).index(best_epoch)
    error, fit = float(curve.validation_mse[best]), float(curve.validation_r2[best])
    return Plot(
        partial(training_figure, curve, best_epoch),
        f"Mean squared error of the standardised signal, and R² on validation data, after each of {epochs} "
        f"epochs. {error_note(track_dropout, dropout, peak_weight)}",
        f"Two line charts over {epochs} epochs: mean squared error on training and validation chromosomes, and R² on "
        f"validation chromosomes; epoch {best_epoch} is the best, with validation error {number(error)} and R² "
        f"{number(fit)}.",
        partial(_numbers, curve),
    )


def _numbers(curve: TrainingCurve) -> list[dict[str, Any]]:
    columns = [getattr(curve, name).tolist() for name in HISTORY_COLUMNS]
    return [dict(zip(HISTORY_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


def error_note(track_dropout: float | None, dropout: float | None, peak_weight: float | None) -> str:
    """How the training error differs from the validation error beside it, in a sentence.

    Parameters
    ----------
    track_dropout, dropout, peak_weight : float or None
        Of `epilstm.params.TrainParams`; None where they are not known.
    """
    parts = ["is the average over the epoch, while the weights were still changing"]
    if track_dropout is None:
        parts.append("is measured with tracks hidden where train.track_dropout hid some")
    elif track_dropout:
        parts.append(f"is measured with {track_dropout:.0%} of the tracks hidden at the input (train.track_dropout)")
    if dropout:
        parts.append(f"is measured with {dropout:.0%} of the hidden units dropped (train.dropout)")
    if peak_weight:
        parts.append(f"counts a bin with a peak {1 + peak_weight:g} times (train.peak_weight)")
    differs = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
    hidden = track_dropout is None or track_dropout or dropout
    above = ", so the training error can lie above it" if hidden or peak_weight else ""
    sees = "with every track shown, every unit in place and every bin counted once" if above else "of all bins"
    return (
        f"The training error {differs}; the validation error is that of the weights at the epoch's end, {sees}{above}."
    )


def training_figure(curve: TrainingCurve, best_epoch: int, layout: Layout) -> Figure:
    """Loss on training and validation data, and validation R2, over epochs; the best epoch is marked."""
    figure = new_figure(layout, 5.2 if layout.narrow else 3.2)
    loss, fit = figure.subplots(*((2, 1) if layout.narrow else (1, 2)))
    few = len(curve.epoch) <= EPOCHS_MARKED
    square, circle = ("s", "o") if few else ("", "")
    loss.plot(curve.epoch, curve.train_mse, color=TRAINING, marker=square, label="training")
    loss.plot(curve.epoch, curve.validation_mse, color=VALIDATION, marker=circle, label="validation")
    loss.set(title="Loss", xlabel="epoch", ylabel="mean squared error\n(standardised signal)")
    fit.plot(curve.epoch, curve.validation_r2, color=VALIDATION, marker=circle)
    fit.set(title="Fit on validation data", xlabel="epoch", ylabel="R²")
    for axes in (loss, fit):
        _mark_best(axes, best_epoch, len(curve.epoch))
    legend_above(figure, loss, layout)
    return figure


def _mark_best(axes: Axes, best_epoch: int, epochs: int) -> None:
    axes.axvline(best_epoch, color=QUIET, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    right = best_epoch > epochs / 2
    axes.annotate(
        f"best: epoch {best_epoch}",
        (best_epoch, 0.5),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        color=QUIET,
        fontsize=8.5,
    )
    axes.grid(axis="y")
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_locator(round_ticks(6))
