"""The training curve."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from epilstm.figures.figure_file import Plot
from epilstm.figures.run_outputs import read_curve
from epilstm.figures.training import error_note, training_figure
from epilstm.files.outputs import read_json
from epilstm.runtime.runner import record_path


def plot_training(history: Path) -> Plot:
    """Loss on training and validation data over epochs."""
    curve = read_curve(history)
    best = int(curve.epoch[np.argmin(curve.validation_mse)])
    params = params_of(history)
    note = error_note(*(params.get(name) for name in ("track_dropout", "dropout", "peak_weight")))
    caption = (
        "Mean squared error of the standardised signal and R² on validation data after each of "
        f"{len(curve.epoch)} epochs. {note}"
    )
    names = [field.name for field in fields(curve)]
    rows = [{name: getattr(curve, name)[at].item() for name in names} for at in range(len(curve.epoch))]
    return Plot(partial(training_figure, curve, best), caption, rows)


def params_of(history: Path) -> dict[str, Any]:
    """Params of the training whose curve it is, from the record beside it; empty where there is none."""
    record = record_path(history)
    content = read_json(record) if record.is_file() else {}
    params = content.get("params") if isinstance(content, dict) else None
    return params if isinstance(params, dict) else {}
