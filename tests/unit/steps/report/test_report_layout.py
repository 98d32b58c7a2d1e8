"""Nothing on the page overlaps, is cut off, or looks like something else."""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation

from epilstm.figures.drawing import NARROW, STYLE, WIDE, legend_above, new_figure
from epilstm.figures.landscape import window_figure
from epilstm.figures.loadings import loadings_figure
from epilstm.figures.looks import looks_of
from epilstm.figures.window import Window
from epilstm.genome.assembly import Region, assembly_name
from epilstm.genome.name_matching import listed
from epilstm.steps.report.data_quality import regions_by_use, used_for
from epilstm.steps.report.page import task_note
from epilstm.store.evaluation_results import NO_VERDICT, Interval, read_results
from epilstm.store.manifests import MatrixManifest, Split
from epilstm.tracks.identity import TrackSet
from support.report.finished_run import TRACKS

#: What evaluate compares unless asked for something else, of a model with a context code.
COMPARED = ("embedding", "raw", "raw+means:5k,20k,100k", "pca", "pca:7(raw+means:5k,20k,100k)", "nmf", "untrained")


def heat_maps(size: int, context_size: int):
    random = np.random.default_rng(0)
    signal, values = np.ones((200, 1), np.float32), random.normal(size=(200, size)).astype(np.float32)
    edges = np.arange(201) * 25.0
    window = Window(Region("chr1", 0, 5_000), edges, signal, signal, signal, signal, values, ["E003-DNase"])
    loadings = random.uniform(-1, 1, (size, len(TRACKS)))
    return {
        "embedding": partial(window_figure, window, tracks=False, context_size=context_size),
        "loadings": partial(loadings_figure, loadings, TrackSet.of_names(TRACKS), context_size=context_size),
    }


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize(("size", "context_size"), [(7, 3), (24, 12), (120, 60)])
@pytest.mark.parametrize("name", ["embedding", "loadings"])
def test_the_names_of_levels_stand_beside_that_of_the_axis(name, size, context_size, layout):
    figure = heat_maps(size, context_size)[name](layout)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    levels = [text for text in axes.texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in levels] == ["bin code", "context"]
    axis, ticks = axes.yaxis.label.get_window_extent(), axes.get_yticklabels()
    for level in levels:
        box = level.get_window_extent()
        assert axis.x1 <= box.x0 or not axes.get_ylabel()
        assert all(box.x1 <= tick.get_window_extent().x0 for tick in ticks if tick.get_text())


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_legend_of_long_names_is_as_wide_as_the_figure_at_most(layout):
    with mpl.rc_context(STYLE):
        figure = new_figure(layout, 3)
        axes = figure.subplots()
        for look in looks_of((*COMPARED, "majority")).values():
            axes.plot([0, 1], [0, 1], label=look.label)
        legend_above(figure, axes, layout, handle=1.2)
        FigureCanvasAgg(figure).draw()
    [legend] = figure.legends
    assert len(legend.get_texts()) == 8
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_representations_compared_unless_asked_otherwise_have_a_colour_each():
    colors = [look.color for look in looks_of(COMPARED).values()]
    assert len(set(colors)) == len(COMPARED)


def test_no_threshold_is_derived_from_intervals_that_say_nothing(finished_run):
    results = read_results(finished_run["evaluation"])
    task = results.tasks["fire"]
    assert "cannot be distinguished from zero" in task_note(task, results)
    raw = next(each for each in task.differences if each.baseline == "raw")
    unknown = raw.model_copy(update={"verdict": NO_VERDICT, "ci": Interval(low=-0.1, high=0.1)})
    assert task_note(task.model_copy(update={"differences": [unknown]}), results) == ""


def test_what_a_window_is_used_for_is_known_of_a_split_by_region_too():
    matrix = MatrixManifest.model_construct(
        chromosome_sizes={"chr1": 10_000, "chr2": 5_000},
        regions=[("chr1", 0, 9_000), ("chr2", 0, 5_000)],
        split=Split(train=["chr1:0-5000"], validation=["chr1:5000-7000"], test=["chr1:7000-9000"]),
    )
    uses = regions_by_use(matrix)
    assert used_for(uses, Region("chr1", 1_000, 5_000)) == "training"
    assert used_for(uses, Region("chr1", 0, 10_000)) == "training, validation and test"
    assert used_for(uses, Region("chr1", 6_999, 7_001)) == "validation and test"
    assert used_for(uses, Region("chr2", 0, 5_000)) == ""


def test_of_many_places_the_first_are_named():
    assert listed(["chr1", "chr2"]) == "chr1, chr2"
    assert listed([f"chr1:{start}-{start + 5}" for start in range(0, 100, 10)], most=2) == (
        "chr1:0-5, chr1:10-15 and 8 more"
    )


def test_a_sizes_file_is_called_by_its_name():
    assert (assembly_name("hg38"), assembly_name("/data/my genomes/rice.chrom.sizes")) == ("hg38", "rice.chrom.sizes")
