"""The report's tables of the imputation field's measures."""

from epilstm.steps.report.imputation_tables import imputation_parts
from epilstm.store.evaluation_results import (
    IMPUTATION_MEASURES,
    EvaluationResults,
    FoldsUsed,
    Imputation,
    Interval,
    MeasureDifference,
    MeasureTable,
    SignalMeasures,
)
from support.report.finished_run import TRACKS, reconstruction


def table(value: float) -> MeasureTable:
    measures = SignalMeasures(mse_global=value, mse_1obs=value + 1, mse_1imp=value + 2, r2=-0.25)
    return MeasureTable(overall=measures, assays={"H3K4me3": measures}, tracks=dict.fromkeys(TRACKS, measures))


def results(**more: object) -> EvaluationResults:
    return EvaluationResults(
        embedding_size=3,
        representation_sizes={},
        pooling=["mean"],
        folds=FoldsUsed(by="chromosome", count=5, leaky=False),
        confidence=0.9,
        bootstrap=100,
        task_order=[],
        tasks={},
        **more,
    )


def imputation() -> Imputation:
    differences = [
        MeasureDifference(
            baseline="assay_mean",
            measure=measure,
            tracks=6,
            won=5,
            delta=-0.125,
            ci=Interval(low=-0.25, high=0.0625),
            verdict="is indistinguishable from",
        )
        for measure in IMPUTATION_MEASURES
    ]
    return Imputation(
        chromosomes=["chr3"],
        bins=1_500,
        of_bins=12_000,
        stretches=2,
        folds=[TRACKS[:1], TRACKS[1:2]],
        not_judged=["A-rare"],
        methods={"assay_mean": table(0.5), "model": table(0.25)},
        differences=differences,
        sentence="All is said.",
    )


def test_an_evaluation_of_before_there_were_measures_has_no_tables() -> None:
    assert imputation_parts(results(reconstruction=reconstruction(TRACKS))) == []


def test_the_reconstruction_is_reported_over_all_tracks_and_by_assay() -> None:
    fits = reconstruction(TRACKS).model_copy(update={"measures": {"pca": table(0.5), "model": table(0.25)}})
    (part,) = imputation_parts(results(reconstruction=fits))
    assert part.columns[1:4] == ["MSEglobal", "MSE1obs", "MSE1imp"]
    assert [row.own for row in part.rows] == [True, False, True, False]
    assert part.rows[0].cells[1:] == [
        "0.250",
        "1.250",
        "2.250",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "\N{MINUS SIGN}0.250",
        "\N{EN DASH}",
    ]
    assert part.rows[2].cells[0].startswith("H3K4me3: ")


def test_imputation_is_reported_with_what_was_scored_and_what_it_is_compared_with() -> None:
    methods, against = imputation_parts(results(reconstruction=reconstruction(TRACKS), imputation=imputation()))
    assert "2 tracks in 2 groups" in methods.text
    assert "1,500 of 12,000 bins" in methods.text
    assert "A-rare" in methods.text
    assert methods.sentences == ["All is said."]
    assert [row.own for row in methods.rows] == [True, False, True, False]
    assert "90% bootstrap" in against.text
    assert against.rows[0].cells == [
        "Mean of the assay in the other cell types, genome-wide",
        "5 of 6",
        "\N{MINUS SIGN}0.125 (\N{MINUS SIGN}0.250 to 0.062)",
        "the network is indistinguishable from it",
    ]
