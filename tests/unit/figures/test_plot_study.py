"""Figures of a study's table."""

import csv

import numpy as np
import pytest

from epilstm.errors import DataError, ParamsError
from epilstm.figures.drawing import NARROW, WIDE
from epilstm.figures.study import COLUMNS, Point, panels_of, places_of, plot_study, study_figure


def write(path, variants, studies=("hidden-size",), tasks=("gene_expression", "fire"), seeds=(1, 2)):
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for study in studies:
            for rank, variant in enumerate(variants):
                for seed in seeds:
                    for task in tasks:
                        score = 0.5 + 0.01 * rank + 0.001 * seed
                        writer.writerow([study, variant, seed, task, score, score - 0.1, score + 0.1, 0.9])
    return path


def rows(path):
    return list(csv.DictReader(path.open()))


def test_variants_that_are_numbers_have_places_on_an_axis_and_all_lies_beyond():
    assert places_of(["h24", "h6", "h110"]) == {"h6": 6, "h24": 24, "h110": 110}
    assert places_of(["all", "b10k", "b300k", "b1m"]) == {"b10k": 1e4, "b300k": 3e5, "b1m": 1e6, "all": 3e6}
    assert places_of(["none", "p10"]) is None
    assert places_of(["published", "bottleneck"]) is None
    assert places_of(["a6", "b6"]) is None
    assert places_of(["h24"]) is None


def test_panels_are_the_tasks_and_then_the_reconstruction_once_per_variant_and_seed(tmp_path):
    path = write(tmp_path / "study.csv", ["h6", "h24"])
    panels = panels_of(rows(path), path)
    assert list(panels) == ["gene_expression", "fire", "reconstruction"]
    assert panels["fire"][3] == Point("h24", 2, *(pytest.approx(each) for each in (0.512, 0.412, 0.612)))
    assert len(panels["reconstruction"]) == 4


def test_the_line_goes_through_the_mean_over_seeds(tmp_path):
    path = write(tmp_path / "study.csv", ["h24", "h6"])
    axes = study_figure(panels_of(rows(path), path), ["h24", "h6"], "hidden size", WIDE).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[6, 0.5115], [24, 0.5015]])
    assert axes.get_xlabel() == "hidden size"


@pytest.mark.parametrize("layout", [WIDE, NARROW])
@pytest.mark.parametrize("variants", [["h6", "h24", "h110"], ["all", "b10k"], ["without", "with"], ["one"]])
def test_any_study_is_drawn(tmp_path, layout, variants):
    plot = plot_study(write(tmp_path / "study.csv", variants), None, None)
    plot.draw(layout).canvas.draw()
    assert f"{len(variants)} variants, n = 2 training seeds" in plot.caption


def test_of_several_studies_one_is_chosen(tmp_path):
    path = write(tmp_path / "study.csv", ["h6", "h24"], studies=("hidden-size", "width"))
    with pytest.raises(ParamsError, match="it has 2 studies; choose one of hidden-size, width"):
        plot_study(path, None, None)
    with pytest.raises(ParamsError, match=r"--name depth: not in .*it has hidden-size, width"):
        plot_study(path, "depth", None)
    assert {row["study"] for row in plot_study(path, "width", None).rows} == {"width"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'study'"),
        (",".join(COLUMNS) + "\n", "no rows in it"),
        (",".join(COLUMNS) + "\ns,h6,1,fire,high,0,1,0.9\n", "h6, fire: could not convert"),
        (",".join(COLUMNS) + "\ns,h6,one,fire,0.5,0,1,0.9\n", "h6, fire: invalid literal"),
    ],
)
def test_what_is_no_studys_table_is_refused(tmp_path, text, message):
    path = tmp_path / "study.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        plot_study(path, None, None)
