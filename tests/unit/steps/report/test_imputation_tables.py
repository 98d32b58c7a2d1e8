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
    TrackDifference,
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
        "\N{EN DASH}",
        "the network is indistinguishable from it",
    ]


def test_blocks_tracks_and_what_is_left_out_are_shown() -> None:
    found = imputation()
    own = TrackDifference(delta=0.5, ci=Interval(low=0.25, high=0.75))
    differences = [
        each.model_copy(
            update={"baseline": "trees", "tracks_ci": Interval(low=-0.5, high=0.5), "by_track": {TRACKS[0]: own}}
        )
        for each in found.differences
    ]
    found = found.model_copy(
        update={
            "methods": {"model": table(0.25), "trees": table(0.2), "of_tomorrow": table(0.3)},
            "differences": differences,
            "blocks": 12,
            "left_out": {"pca": "too large"},
        }
    )
    reported = results(reconstruction=reconstruction(TRACKS), imputation=found)
    methods, against, by_track = imputation_parts(reported)
    assert "Probabilistic PCA of the bin code's size (too large)" in methods.text
    assert [row.cells[0] for row in methods.rows[:3]] == [
        "All tracks: Network, the tracks hidden at its input",
        "All tracks: Boosted trees per track on the other tracks and their neighbouring bins",
        "All tracks: Of tomorrow",
    ]
    assert "12 blocks of genome of 0.5 Mb" in against.text
    assert against.rows[0].cells[3] == "\N{MINUS SIGN}0.500 to 0.500"
    assert len(by_track.rows) == 2
    assert by_track.rows[0].cells == [
        f"{TRACKS[0]}: Boosted trees per track on the other tracks and their neighbouring bins, genome-wide",
        "0.500 (0.250 to 0.750)",
    ]
