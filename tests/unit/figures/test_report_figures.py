"""Figures: they hold what they should, whatever the data."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.figure import Figure

from epilstm.figures.drawing import NARROW, STYLE, WIDE, picture, runs_of
from epilstm.figures.landscape import averaged, standard_scores, window_figure
from epilstm.figures.loadings import loadings_figure
from epilstm.figures.reconstruction import size_figure, track_figure
from epilstm.figures.scores import ROWS, scores_figure
from epilstm.figures.training import TrainingCurve, training_figure
from epilstm.figures.window import Window
from epilstm.genome.assembly import Region
from epilstm.store.evaluation_results import ReconstructionScore
from epilstm.tracks.identity import TrackSet
from support.report.finished_run import TRACKS, reconstruction, task_result


def labels_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def window(bins=60, tracks=3, size=2, missing=slice(0, 0)):
    rng = np.random.default_rng(0)
    values = rng.random((bins, tracks)).astype(np.float32)
    embedding = rng.normal(size=(bins, size)).astype(np.float32)
    for array in (values, embedding):
        array[missing] = np.nan
    region = Region("chr7", 1000 * 25, (1000 + bins) * 25)
    edges = np.arange(1000, 1001 + bins) * 25.0
    names = [f"E{number:03}-DNase" for number in range(tracks)]
    return Window(region, edges, values, values, values, values, embedding, names)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
@pytest.mark.parametrize("missing", [slice(0, 0), slice(10, 30), slice(0, 60)], ids=["all", "gap", "nothing"])
def test_windows_with_any_interval_of_missing_data_are_drawn(layout, missing):
    for shown in ({"tracks": False}, {"embedding": False}, {}):
        figure = window_figure(window(missing=missing), layout, **shown)
        figure.canvas.draw()
        panels = [axes for axes in figure.axes if axes.get_subplotspec()]
        assert len(panels) == (3 if shown.get("tracks", True) else 0) + shown.get("embedding", True)
        assert panels[-1].get_xlabel() == "position on chr7 (Mb)"


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_the_context_code_is_marked_apart_from_the_bin_code(layout):
    correlation = np.zeros((4, 2))
    for figure in (
        window_figure(window(size=4), layout, tracks=False, context_size=1),
        loadings_figure(correlation, TrackSet.of_names(["a-DNase", "b-DNase"]), layout, context_size=1),
    ):
        figure.canvas.draw()
        assert [text.get_text() for text in figure.axes[0].texts] == ["bin code", "context"]
        assert 2.5 in [line.get_ydata()[0] for line in figure.axes[0].lines]
    assert not window_figure(window(size=4), layout, tracks=False).axes[0].texts


def test_a_window_has_one_panel_per_track():
    panels = window_figure(window(tracks=5), WIDE, embedding=False).axes
    assert [axes.get_title(loc="left") for axes in panels] == [f"E{number:03}-DNase" for number in range(5)]


def test_a_wild_reconstruction_does_not_hide_the_signal():
    wild = window(tracks=1)
    wild.reconstructed_signal.flags.writeable = True
    made = wild.reconstructed_signal.copy()
    made[7] = 5e12
    drawn = Window(**{**vars(wild), "reconstructed_signal": made})
    assert window_figure(drawn, WIDE).axes[0].get_ylim()[1] < 2


def test_few_tracks_have_a_row_each_grouped_by_assay():
    figure = track_figure(reconstruction(TRACKS), TrackSet.of_names(TRACKS), WIDE)
    assert labels_of(figure) == [f"{cell}-{a}" for a in ("H3K4me1", "H3K4me3", "DNase") for cell in ("E003", "E116")]


def test_a_thousand_tracks_are_a_distribution_per_assay():
    tracks = [f"E{cell:03}-A{assay:02}" for cell in range(39) for assay in range(26)]
    figure = track_figure(reconstruction(tracks), TrackSet.of_names(tracks), NARROW)
    figure.canvas.draw()
    assert labels_of(figure) == [f"A{assay:02} (39)" for assay in range(26)]


def test_a_hundred_assays_are_one_distribution():
    tracks = [f"K562-A{assay:03}" for assay in range(100)]
    assert labels_of(track_figure(reconstruction(tracks), TrackSet.of_names(tracks), WIDE)) == ["all tracks (100)"]


def test_r2_far_below_zero_or_undefined_is_drawn_at_the_edge_or_not_at_all():
    scores = reconstruction(TRACKS, r2=-40.0)
    for figure in (track_figure(scores, TrackSet.of_names(TRACKS), WIDE), size_figure(scores, WIDE)):
        figure.canvas.draw()
    assert track_figure(scores, TrackSet.of_names(TRACKS), WIDE).axes[0].get_xlim() == (-0.25, 1)
    nothing = {name: ReconstructionScore(r2=None, mse=0.0, track_r2=dict.fromkeys(TRACKS)) for name in scores.models}
    undefined = scores.model_copy(update={"models": nothing, "pca_curve": []})
    for figure in (track_figure(undefined, TrackSet.of_names(TRACKS), WIDE), size_figure(undefined, NARROW)):
        figure.canvas.draw()


def test_a_pca_that_was_left_out_is_in_no_figure():
    scores = reconstruction(TRACKS)
    without = {name: score for name, score in scores.models.items() if name != "pca"}
    shown = scores.model_copy(update={"models": without, "left_out": {"pca": "that is the raw tracks, turned"}})
    many = [f"K562-A{assay:03}" for assay in range(100)]
    of_many = reconstruction(many)
    models = {name: score for name, score in of_many.models.items() if name != "pca"}
    for figure in (
        track_figure(shown, TrackSet.of_names(TRACKS), WIDE),
        track_figure(of_many.model_copy(update={"models": models}), TrackSet.of_names(many), NARROW),
    ):
        entries = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert len(entries) >= 2
        assert not any("PCA" in entry for entry in entries)


def test_a_single_epoch_is_drawn():
    one = np.array([1])
    curve = TrainingCurve(one, one, *(np.array([0.5]) for _ in range(4)))
    for layout in (WIDE, NARROW):
        training_figure(curve, 1, layout).canvas.draw()


def test_scores_of_several_cell_types_start_with_their_mean():
    assert labels_of(scores_figure([task_result("fire", ["E003", "E116"])], WIDE)) == ["mean of 2", "E003", "E116"]
    assert labels_of(scores_figure([task_result("fire", ["E116"])], WIDE)) == ["E116"]


def test_many_cell_types_are_cut_short():
    cells = [f"E{number:03}" for number in range(40)]
    labels = labels_of(scores_figure([task_result("fire", cells)], NARROW))
    assert labels == ["mean of 40", *cells[:ROWS]]


def test_a_point_of_the_scores_lies_at_its_average_precision():
    task = task_result("fire", ["E116"])
    lines = {line.get_label(): line.get_xdata() for line in scores_figure([task], WIDE).axes[0].lines}
    scores = task.cell_types["E116"].representations
    assert lines["LSTM embedding"][0] == scores["embedding"].average_precision
    assert lines["majority class"][0] == scores["majority"].average_precision


def test_a_picture_is_the_same_whatever_the_readers_settings():
    def draw(layout):
        figure = Figure(figsize=(layout.width, 1))
        figure.subplots().set_title("title")
        return figure

    before = picture(draw, "alt")
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None}):
        assert picture(draw, "alt") == before
        assert matplotlib.rcParams["font.size"] == 30
    assert matplotlib.rcParams["svg.hashsalt"] != STYLE["svg.hashsalt"]


@given(flags=st.lists(st.booleans(), max_size=40))
def test_runs_are_the_intervals_of_true(flags):
    runs = runs_of(np.array(flags, dtype=bool))
    assert [place for first, last in runs for place in range(first, last)] == [i for i, on in enumerate(flags) if on]
    assert all(last < first for (_, last), (first, _) in pairwise(runs))


@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 50), st.just(2)), elements=st.floats(-9, 9, width=32)),
    columns=st.integers(1, 60),
    missing=st.sets(st.integers(0, 49)),
)
@settings(max_examples=60, deadline=None)
def test_averaging_takes_the_mean_of_known_bins_or_nan_if_half_are_missing(values, columns, missing):
    values[[row for row in missing if row < len(values)]] = np.nan
    length = next(n for n in range(1, 60) if len(values) <= n * columns)
    got = averaged(values, columns)
    runs = [values[start : start + length] for start in range(0, len(values), length)]
    assert len(got) == len(runs) <= columns
    for mean, run in zip(got, runs, strict=True):
        known = run[np.isfinite(run[:, 0])]
        if 2 * len(known) > len(run):
            np.testing.assert_allclose(mean, known.mean(axis=0, dtype=np.float64), atol=1e-5)
        else:
            assert np.isnan(mean).all()


def test_standard_scores_leave_nan_and_take_a_constant_as_zero():
    values = np.array([[1, 5, np.nan], [3, 5, np.nan], [np.nan, np.nan, np.nan]], np.float32)
    expected = [[-1, 0, np.nan], [1, 0, np.nan], [np.nan] * 3]
    np.testing.assert_allclose(standard_scores(values), expected)
