"""One numbering of dimensions in every figure, and what the training error is an error of."""

import json
from functools import partial

import numpy as np
import pytest

from epilstm.figures.density import density_figure
from epilstm.figures.drawing import NARROW, WIDE
from epilstm.figures.landscape import window_figure
from epilstm.figures.loadings import loadings_figure
from epilstm.figures.training import error_note
from epilstm.figures.window import Window
from epilstm.outputs.plot.plots import plot_training
from epilstm.store.manifests import dimension_names
from epilstm.tracks.identity import TrackSet
from support.nonempty import nonempty
from support.report.finished_run import TRACKS


def window(size):
    from epilstm.genome.assembly import Region

    values = np.random.default_rng(0).normal(size=(200, size)).astype(np.float32)
    signal = np.ones((200, 1), np.float32)
    edges = np.arange(201) * 25.0
    return Window(Region("chr1", 0, 5_000), edges, signal, signal, signal, signal, values, ["E003-DNase"])


def figures(size):
    values = np.random.default_rng(1).normal(size=(500, size)).astype(np.float32)
    loadings = np.random.default_rng(2).uniform(-1, 1, size=(size, len(TRACKS)))
    return {
        "density": partial(density_figure, values),
        "loadings": partial(loadings_figure, loadings, TrackSet.of_names(TRACKS), context_size=size // 2),
        "embedding": partial(window_figure, window(size), tracks=False, context_size=size // 2),
    }


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("size", [1, 4, 24, 40])
@pytest.mark.parametrize("name", ["density", "loadings", "embedding"])
def test_rows_are_named_as_in_files_and_stand_where_their_values_do(name, size, layout):
    axes = figures(size)[name](layout).axes[0]
    names = dimension_names(size)
    places = [
        (round(place), text.get_text()) for place, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    ]
    assert places[0] == (0, "e0")
    assert all(names[place] == text for place, text in nonempty(places))
    assert len(places) >= min(size, 8)
    low, high = axes.get_ylim()
    assert high < -0.4 < size - 0.8 < low
    if axes.images:
        assert axes.images[0].get_extent()[2:] == [size - 0.5, -0.5]


def test_the_training_error_is_explained_by_the_params():
    assert error_note(0.0, 0.0, 0.0) == (
        "The training error is the average over the epoch, while the weights were still changing; the validation "
        "error is that of the weights at the epoch's end, of all bins."
    )
    hidden = error_note(0.3, 0.0, 0.0)
    assert "is measured with 30% of the tracks hidden at the input (train.track_dropout)" in hidden
    assert hidden.endswith(
        "with every track shown, every unit in place and every bin counted once, so the training "
        "error can lie above it."
    )
    assert "counts a bin with a peak 5 times (train.peak_weight)" in error_note(0.0, 0.0, 4.0)
    assert "is measured with 20% of the hidden units dropped (train.dropout)" in error_note(0.0, 0.2, 0.0)
    assert "where train.track_dropout hid some" in error_note(None, None, None)


def test_the_figure_of_a_training_curve_reads_its_params_from_the_record_beside_it(finished_run, tmp_path):
    history = tmp_path / "history.csv"
    history.write_text(finished_run["history"].read_text())
    assert "where train.track_dropout hid some" in plot_training(history).caption
    record = {"params": {"track_dropout": 0.05, "dropout": 0.0, "peak_weight": 0.0}}
    (tmp_path / "history.csv.record.json").write_text(json.dumps(record))
    assert "with 5% of the tracks hidden at the input" in plot_training(history).caption
