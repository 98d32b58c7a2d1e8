"""Representations differ in colour, legends fit into the figure, and white segments are visible."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from epilstm.figures.annotation import Segment
from epilstm.figures.drawing import NARROW, WIDE, Layout, legend_of, new_figure, render, text_width, wrapped
from epilstm.figures.landscape import window_figure
from epilstm.figures.looks import LOOKS, looks_of
from epilstm.figures.window import Window
from epilstm.genome.assembly import Region

COMPARED = [
    "embedding", "raw", "raw+means:5k,20k,100k", "pca", "pca(raw+means:5k,20k,100k)", "nmf", "untrained", "majority",
]  # fmt: skip


@pytest.mark.parametrize("names", [COMPARED, [*COMPARED, "pca:12+context_code", "bin_code", "context_code", "wider"]])
def test_representations_in_one_figure_have_colours_of_their_own_whatever_their_order(names):
    looks = looks_of(names)
    assert len({look.color for look in looks.values()}) == len(names)
    assert looks_of(reversed(names)) == looks
    assert looks["pca"] == LOOKS["pca"]
    assert looks["pca(raw+means:5k,20k,100k)"].label == "PCA of (raw tracks + means ±5k, 20k, 100k)"


def test_sizes_of_one_kind_share_its_colour_and_differ_in_marker_and_line():
    looks = looks_of(["raw", "pca", *(f"pca:{size}" for size in range(2, 7))])
    sizes = [look for name, look in looks.items() if name.startswith("pca")]
    assert {look.color for look in sizes} == {LOOKS["pca"].color}
    assert len({look.marker for look in sizes}) == len({look.line for look in sizes}) == len(sizes)


@pytest.mark.parametrize("width", [3.0, 4.1, 8.0, 9.6, 30.0])
def test_a_legend_lies_inside_the_figure_with_every_label_whole(width):
    layout = Layout(width, width < 6)

    def draw(layout):
        figure = new_figure(layout, 3)
        axes = figure.subplots()
        lines = [axes.plot([0, 1], label=look.label)[0] for look in looks_of(COMPARED).values()]
        legend_of(figure, lines, layout, handle=1.2)
        figure.draw_without_rendering()
        legend, axes_top = figure.legends[0], axes.get_window_extent().y1
        box, dpi = legend.get_window_extent(), figure.dpi
        assert box.x0 >= 0
        assert box.x1 <= width * dpi
        assert box.y0 >= axes_top
        labels = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
        assert labels == [look.label for look in looks_of(COMPARED).values()]
        return figure

    render(draw, layout, "svg", 72)


def test_lines_of_a_wrapped_text_fit_and_keep_every_word():
    text = "a caption of several words, of which incomprehensibilities is the longest"
    lines = wrapped(text, 1.0, 8)
    assert " ".join(lines) == text
    assert [line for line in lines if text_width(line, 8) > 1.0] == ["incomprehensibilities"]


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_each_run_of_segments_has_a_frame_so_that_white_ones_are_seen(layout):
    values = np.ones((40, 1), np.float32)
    window = Window(Region("chr1", 0, 1000), np.arange(41) * 25.0, values, values, values, values, values, ["a-b"])
    segments = [Segment(0, 200, "quiet", "#ffffff"), Segment(200, 300, "active", "#ff0000"),
                Segment(600, 800, "quiet", "#ffffff")]  # fmt: skip
    strip = window_figure(window, layout, segments=segments).axes[-1]
    boxes = [patch for patch in strip.patches if isinstance(patch, Rectangle)]
    frames = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in boxes if not patch.get_fill()]
    assert frames == [pytest.approx((0, 300e-6)), pytest.approx((600e-6, 800e-6))]
    assert len(boxes) == len(segments) + len(frames)
