"""Tables of levels, leaks, missing tracks and other cell types have the results' numbers, the model's row first."""

from epilstm.steps.report.further import further_comparisons
from epilstm.store.evaluation_results import (
    Comparison,
    CrossCellTask,
    CrossCellTypes,
    Difference,
    EvaluationResults,
    Fall,
    FoldsUsed,
    Interval,
    Leak,
    LeakResult,
    MissingTask,
    MissingTracks,
    RegressionCellType,
    RegressionResult,
    RegressionScores,
    RegressionSummary,
    ScoreWithInterval,
    Transfer,
)
from support.nonempty import nonempty
from support.report.finished_run import TRACKS, reconstruction, task_result

CI = Interval(low=-0.25, high=0.75)
NAMES = ["embedding", "raw"]


def results(**more: object) -> EvaluationResults:
    return EvaluationResults(
        embedding_size=4, representation_sizes={}, pooling=["mean"], confidence=0.95, bootstrap=10, task_order=["fire"],
        folds=FoldsUsed(by="region", count=5, leaky=False), tasks={"fire": task_result("fire", ["E116"])},
        reconstruction=reconstruction(TRACKS), **more,
    )  # fmt: skip


def levels() -> RegressionResult:
    scores = {"r2": -0.125, "r2_ci": CI, "spearman": 0.5, "spearman_ci": CI}
    cell = RegressionCellType(
        cell_type="E116", n=9, n_outside=0, n_unusable=0, groups=5, clusters=5, differences=[],
        representations={name: RegressionScores(n=9, **scores) for name in NAMES},
    )  # fmt: skip
    return RegressionResult(
        name="expression_level", kind="region", windows=["tss"], label_format="rpkm", unit="log2(RPKM + 1)",
        cell_types={"E116": cell}, summary={name: RegressionSummary(**scores) for name in NAMES}, differences=[],
        spearman_differences=[], sentence="levels <said>",
    )  # fmt: skip


def test_an_evaluation_of_classes_alone_has_none() -> None:
    assert further_comparisons(results()) == []


def test_each_comparison_has_its_sentences_and_a_row_per_task_and_representation() -> None:
    leak = Leak(grouped=0.125, random=0.875, delta=0.75, ci=CI)
    fall = Fall(full=0.875, hidden=0.75, fall=0.125, ci=CI)
    transfer = Transfer(across=0.5, across_ci=CI, within=0.75, loss=0.25, loss_ci=CI)
    difference = Difference(baseline="raw", delta=0, ci=CI, verdict="is indistinguishable from")
    parts = further_comparisons(
        results(
            representation_order=NAMES,
            regression={"expression_level": levels()},
            leak={"fire": LeakResult(measure="average precision", representations={"raw": leak}, sentence="leak said")},
            missing_tracks=MissingTracks(
                share=0.25,
                draws=[["a", "b"], ["c", "d"]],
                tasks={
                    "fire": MissingTask(
                        measure="average precision", sentence="missing said", differences=[difference],
                        representations={"raw": fall, "embedding": fall},
                    )
                },
            ),
            cross_cell_type=CrossCellTypes(
                assays=["DNase"], cell_types=["E003", "E116"], view_sizes={},
                tasks={
                    "fire": CrossCellTask(
                        measure="average precision", n=9, clusters=5, cell_types={}, differences={},
                        sentence="across said",
                        summary={"embedding_masked": transfer, "raw": transfer, "embedding": transfer},
                    )
                },
            ),
        )
    )  # fmt: skip
    assert [part.sentences for part in parts] == [["levels <said>"], ["leak said"], ["missing said"], ["across said"]]
    for part in nonempty(parts):
        assert all(len(row.cells) == len(part.columns) for row in nonempty(part.rows))
    shown = [[row.cells for row in part.rows] for part in parts]
    interval = "(\N{MINUS SIGN}0.250 to 0.750)"
    assert shown[0][0] == [
        "Expression level: LSTM embedding", f"\N{MINUS SIGN}0.125 {interval}", f"0.500 {interval}"
    ]  # fmt: skip
    assert shown[1] == [["FIRE: raw tracks", "0.125", "0.875", f"0.750 {interval}", "average precision"]]
    assert [row[0] for row in shown[2]] == ["FIRE: LSTM embedding", "FIRE: raw tracks"]
    assert "2 of them (25%)" in parts[2].text
    assert [row[0].partition(": ")[2] for row in shown[3]] == [
        "LSTM embedding", "raw tracks", "LSTM embedding, other cell types hidden"
    ]  # fmt: skip
    assert [row.own for row in parts[3].rows] == [True, False, False]


def test_probes_budgets_and_measures_are_a_table_with_a_column_each() -> None:
    def compared(
        measure: str, probe: str, labels: int | None, value: float, between: float | None = None
    ) -> Comparison:
        return Comparison(
            task="timing", measure=measure, probe=probe, labels=labels, draws=1 if labels is None else 5, n=9,
            clusters=6, between_blocks=between, differences=[],
            representations={name: ScoreWithInterval(value=value, ci=CI) for name in NAMES},
        )  # fmt: skip

    found = [
        compared(measure, probe, labels, 0.125, 0.875 if "blocks" in measure else None)
        for measure in ("R2", "R2 within blocks")
        for probe, labels in (("xgboost", None), ("logistic", 100))
    ]
    [part] = further_comparisons(results(comparisons=found, blocks_bp=1_000_000))
    assert part.columns[1:] == ["XGBoost, all labels", "linear, 100 labels"]
    assert [row.cells[0] for row in part.rows] == [
        "Timing, R2: LSTM embedding", "Timing, R2: raw tracks", "Timing, R2 within blocks: LSTM embedding",
        "Timing, R2 within blocks: raw tracks",
    ]  # fmt: skip
    assert part.rows[0].cells[1].startswith("0.125 (")
    assert part.sentences == ["Timing: 88% of the variance lies between blocks."]
    assert "blocks of 1 Mb" in part.text
    assert "5 draws" in part.text
