"""Scores, levels and imputation."""

import pytest

from epilstm.errors import ParamsError
from epilstm.figures.drawing import NARROW, WIDE
from epilstm.figures.imputation import imputation_figure, measures_drawn
from epilstm.figures.looks import look_of
from epilstm.figures.scores import LOWEST_SCORE, drawn_order, scores_figure
from epilstm.outputs.plot.plots import plot_curves, plot_imputation, plot_scores
from epilstm.store.evaluation_results import Imputation, Interval, MeasureTable, RegressionScores, SignalMeasures


def test_the_embedding_comes_first_then_other_embeddings_then_the_baselines():
    names = ["majority", "untrained", "pca", "wider", "nmf", "raw", "embedding"]
    assert drawn_order(names) == ["embedding", "wider", "raw", "pca", "nmf", "untrained"]


def test_what_has_no_usual_place_is_drawn_after_the_baselines_as_it_is_given():
    names = ["pca:12", "raw", "wider", "bin_code", "embedding", "nmf:3+context_code"]
    assert drawn_order(names) == ["embedding", "wider", "raw", "pca:12", "bin_code", "nmf:3+context_code"]


def test_sizes_and_sums_are_distinguished_by_marker_or_line():
    looks = {name: look_of(name) for name in ("pca", "pca:6", "pca:12", "pca_varimax:12", "pca:12+context_code")}
    assert [look.label for look in looks.values()] == [
        "PCA", "PCA 6", "PCA 12", "PCA, varimax 12", "PCA 12 + context code",
    ]  # fmt: skip
    assert looks["pca"].color == looks["pca:12"].color != looks["pca:12+context_code"].color
    assert len({(look.color, look.marker, look.line) for look in looks.values()}) == len(looks)


def test_captions_have_n_positives_and_what_folds_hold_out(finished):
    scores = plot_scores(finished["evaluation"], ["fire"])
    assert "5 folds hold out whole chromosomes. FIRE: n = 200 (" in scores.caption
    curves = plot_curves(finished["evaluation"], None)
    assert {row["task"] for row in curves.rows} == {"gene_expression", "fire"}
    assert {row["cell_type"] for row in curves.rows if row["task"] == "fire"} == {"E116"}
    by_cell = plot_curves(finished["evaluation"], "gene_expression")
    assert {row["cell_type"] for row in by_cell.rows} == {"E003", "E116"}


def test_the_caption_of_many_cell_types_has_their_range(finished, monkeypatch):
    found = plot_scores(finished["evaluation"], ["gene_expression"])
    positives = sorted({row["positives"] for row in found.rows})
    n = sorted({row["n"] for row in found.rows})
    monkeypatch.setattr("epilstm.figures.scores.ROWS", 1)
    expected = (
        f"Gene expression: n = {' to '.join(map(str, n))} ({' to '.join(map(str, positives))} positive) "
        "in 2 cell types, of which 1 are drawn."
    )
    assert expected in plot_scores(finished["evaluation"], ["gene_expression"]).caption


def test_an_evaluation_without_tasks_has_no_scores_and_no_curves_to_draw(tmp_path):
    from support.report.finished_run import write_evaluation, write_run

    run = write_run(tmp_path)
    write_evaluation(run["evaluation"], run, with_tasks=False)
    with pytest.raises(ParamsError, match="no tasks were evaluated, so there are no scores; give evaluate --tasks"):
        plot_scores(run["evaluation"], [])
    with pytest.raises(ParamsError, match=r"no task with classes, so no curves$"):
        plot_curves(run["evaluation"], None)


def test_an_evaluation_without_imputation_has_no_figure_of_it(finished):
    with pytest.raises(ParamsError, match="nothing was imputed"):
        plot_imputation(finished["evaluation"])


def imputed(genes):
    def table(error):
        measures = SignalMeasures(
            mse_global=error, mse_1obs=9 * error, mse_1imp=2 * error, mse_prom=error if genes else None,
            mse_gene=error if genes else None,
        )  # fmt: skip
        return MeasureTable(overall=measures, assays={}, tracks={"a-x": measures, "b-x": measures})

    return Imputation(
        chromosomes=["chr3"], bins=100, of_bins=200, stretches=2, folds=[["a-x"], ["b-x"]], not_judged=[],
        methods={"assay_mean": table(0.2), "model": table(0.1), "something_new": table(0.3)}, differences=[],
        sentence="",
    )  # fmt: skip


@pytest.mark.parametrize("layout", [WIDE, NARROW])
@pytest.mark.parametrize("genes", [True, False])
def test_imputation_is_drawn_in_the_measures_that_there_are(layout, genes):
    imputation = imputed(genes)
    assert ("mse_prom" in measures_drawn(imputation)) == genes
    figure = imputation_figure(imputation, layout)
    figure.canvas.draw()
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["LSTM, tracks hidden", "mean of the assay", "something new"]
    large = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert large == [0.1, 0.2, 0.3]


def test_levels_are_drawn_in_r2_and_spearman_whatever_is_far_below_zero():
    from epilstm.store.evaluation_results import RegressionCellType, RegressionResult, RegressionSummary

    def scores(r2):
        around = Interval(low=r2 - 0.1, high=r2 + 0.1)
        return {"r2": r2, "r2_ci": around, "spearman": 0.5, "spearman_ci": around}

    values = {"embedding": 0.4, "raw": -40.0, "majority": -0.01}
    cell = RegressionCellType(
        cell_type="E003", n=50, n_outside=0, n_unusable=0, groups=5, clusters=5, differences=[],
        representations={name: RegressionScores(n=50, **scores(r2)) for name, r2 in values.items()},
    )  # fmt: skip
    task = RegressionResult(
        name="level", kind="region", windows=["tss"], label_format="rpkm", unit="log RPKM", sentence="",
        cell_types={"E003": cell}, differences=[], spearman_differences=[],
        summary={name: RegressionSummary(**scores(r2)) for name, r2 in values.items()},
    )  # fmt: skip
    for layout in (WIDE, NARROW):
        figure = scores_figure([task], layout)
        figure.canvas.draw()
        assert [axes.get_xlabel() for axes in figure.axes] == ["R² of log RPKM", "Spearman's correlation"]
        points = {line.get_label(): line.get_xdata()[0] for line in figure.axes[0].lines}
        assert points["LSTM embedding"] == 0.4
        assert points["raw tracks"] == LOWEST_SCORE
