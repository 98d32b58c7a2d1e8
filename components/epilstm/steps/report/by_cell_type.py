"""Scores of a model that cell types share, by cell type."""

from __future__ import annotations

import numpy as np

from epilstm.figures.drawing import words
from epilstm.figures.html import number
from epilstm.steps.report.further import Part, Row
from epilstm.store.evaluation_results import EMBEDDING, EvaluationResults
from epilstm.tracks.identity import TrackSet


def by_cell_type(results: EvaluationResults, tracks: TrackSet) -> Part | None:
    """Reconstruction and tasks by cell type; None where there is one cell type.

    Parameters
    ----------
    tracks : TrackSet
        Of the matrix.
    """
    cells = list(dict.fromkeys(tracks.cell_types))
    if len(cells) < 2:
        return None
    r2 = results.reconstruction.models["model"].track_r2
    tasks = {
        f"{words(task.name)}, average precision": {
            cell: each.representations[EMBEDDING].average_precision
            for cell, each in task.cell_types.items()
            if EMBEDDING in each.representations
        }
        for task in results.tasks.values()
    } | {
        f"{words(task.name)}, R\N{SUPERSCRIPT TWO}": {
            cell: each.representations[EMBEDDING].r2
            for cell, each in task.cell_types.items()
            if EMBEDDING in each.representations
        }
        for task in results.regression.values()
    }
    # A task may be of a cell type that has no tracks.
    cells += [cell for cell in dict.fromkeys(cell for each in tasks.values() for cell in each) if cell not in cells]
    rows = []
    for cell in cells:
        own = [name for name, of in zip(tracks.names, tracks.cell_types, strict=True) if of == cell]
        known = [value for name in own if (value := r2.get(name)) is not None]
        scores = [number(each[cell]) if cell in each else "" for each in tasks.values()]
        rows.append(Row([cell, str(len(own)), number(float(np.mean(known))) if known else "", *scores], own=False))
    return Part(
        "By cell type",
        "One network for all cell types. Reconstruction is the mean R\N{SUPERSCRIPT TWO} of the cell type's tracks on "
        "test data; scores of tasks are those of the embedding, in the cell types that have labels.",
        [],
        ["Cell type", "Tracks", "Reconstruction, R\N{SUPERSCRIPT TWO}", *tasks],
        rows,
    )
