"""Tables of the imputation field's measures: of the reconstruction, and of tracks that were hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from epilstm.figures.html import number, span
from epilstm.figures.looks import RECONSTRUCTION_LOOKS
from epilstm.genome.name_matching import listed
from epilstm.steps.report.further import Part, Row
from epilstm.store.evaluation_results import (
    IMPUTATION_MEASURES,
    IMPUTATION_METHODS,
    EvaluationResults,
    Imputation,
    MeasureDifference,
    MeasureTable,
    SignalMeasures,
    verdict_text,
)

#: Column headings, as the field writes them.
HEADINGS = {
    "mse_global": "MSEglobal",
    "mse_1obs": "MSE1obs",
    "mse_1imp": "MSE1imp",
    "mse_prom": "MSEprom",
    "mse_gene": "MSEgene",
    "r2": "R\N{SUPERSCRIPT TWO}",
    "correlation": "Correlation",
}
#: Measures that are shown for each track.
BY_TRACK = ("mse_global", "mse_1obs")
SPACE = (
    "Mean squared errors of the transformed signal (arcsinh, unless the samplesheet says otherwise; not standardised), "
    "mean over tracks: over all bins with data, the 1% of bins with the highest observed signal, the 1% with the "
    "highest predicted signal, bins within 2 kb of a transcription start, and gene bodies."
)


def imputation_parts(results: EvaluationResults) -> list[Part]:
    """The tables that an evaluation has numbers for."""
    return [*_reconstruction(results), *_imputation(results)]


def _cells(measures: SignalMeasures) -> list[str]:
    values = [getattr(measures, name) for name in HEADINGS]
    return ["\N{EN DASH}" if value is None else number(value) for value in values]


def _rows(tables: Mapping[str, MeasureTable], labels: Mapping[str, str]) -> list[Row]:
    names = [name for name in labels if name in tables]
    rows = [Row([f"All tracks: {labels[name]}", *_cells(tables[name].overall)], name == "model") for name in names]
    for assay in tables[names[0]].assays:
        rows += [
            Row([f"{assay}: {labels[name]}", *_cells(tables[name].assays[assay])], name == "model") for name in names
        ]
    return rows


def _reconstruction(results: EvaluationResults) -> list[Part]:
    fits = results.reconstruction
    if not fits.measures:
        return []
    labels = {name: look.label for name, look in RECONSTRUCTION_LOOKS.items()}
    return [
        Part(
            "Reconstruction in the imputation field\N{RIGHT SINGLE QUOTATION MARK}s measures",
            f"On the test data, {fits.bins:,} bins. {SPACE}",
            [],
            ["Tracks and representation", *HEADINGS.values()],
            _rows(fits.measures, labels),
        )
    ]


def _imputation(results: EvaluationResults) -> list[Part]:
    found = results.imputation
    if found is None:
        return []
    parts = [_methods(found), _compared(found, results)]
    by_track = _compared_by_track(found.differences)
    if by_track:
        parts.append(
            Part(
                "The network compared with the other methods of imputation, by track",
                "The same differences and intervals of each track.",
                [],
                ["Track, compared with", "Difference"],
                by_track,
            )
        )
    return parts


def _methods(found: Imputation) -> Part:
    """The measures of each method."""
    tracks = sum(map(len, found.folds))
    intervals = f"{found.bins:,} of {found.of_bins:,} bins in {found.stretches} intervals"
    return Part(
        "Imputation of hidden tracks",
        f"{tracks:,} tracks in {len(found.folds)} groups were hidden on {listed(found.chromosomes)}, which "
        f"training never saw, and imputed from all others there, on {intervals} spread over them. The network, "
        "PCA, the linear models, the trees and the second factorisation have seen these tracks on training data; "
        f"the mean of the assay and the first factorisation have not.{_left_out(found)} {SPACE}",
        [found.sentence],
        ["Tracks and method", *HEADINGS.values()],
        _rows(found.methods, {name: _label(name) for name in [*IMPUTATION_METHODS, *found.methods]}),
    )


def _left_out(found: Imputation) -> str:
    """Tracks and methods without numbers, in sentences."""
    text = ""
    if found.not_judged:
        text += f" Not evaluated, since no other cell type has the assay: {', '.join(found.not_judged)}."
    if found.left_out:
        reasons = "; ".join(f"{_label(name)} ({reason})" for name, reason in found.left_out.items())
        text += f" Left out: {reasons}."
    return text


def _compared(found: Imputation, results: EvaluationResults) -> Part:
    """The network minus each other method, mean over tracks."""
    resampled = f"{found.blocks} blocks of genome of {results.blocks_bp / 1e6:g} Mb" if found.blocks else "tracks"
    rows = [
        Row(
            [
                f"{_label(each.baseline)}, {IMPUTATION_MEASURES[each.measure]}",
                f"{each.won} of {each.tracks}",
                f"{number(each.delta)} ({span(each.ci)})",
                span(each.tracks_ci) if each.tracks_ci else "\N{EN DASH}",
                verdict_text(each.verdict, each.reason, "the network", "it"),
            ],
            False,
        )
        for each in found.differences
    ]
    return Part(
        "The network compared with the other methods of imputation",
        "Network minus the other in mean squared error (below zero the network is better), mean over tracks, with "
        f"a paired {results.confidence:.0%} bootstrap interval over {resampled}; the verdict follows from it. The "
        "interval over tracks says what other tracks of this kind may give.",
        [],
        ["Compared with", "Tracks won", "Difference", "Interval over tracks", "Verdict"],
        rows,
    )


def _compared_by_track(differences: Sequence[MeasureDifference]) -> list[Row]:
    return [
        Row(
            [
                f"{track}: {_label(each.baseline)}, {IMPUTATION_MEASURES[each.measure]}",
                f"{number(own.delta)} ({span(own.ci)})",
            ],
            False,
        )
        for each in differences
        if each.measure in BY_TRACK
        for track, own in each.by_track.items()
    ]


def _label(method: str) -> str:
    text = IMPUTATION_METHODS.get(method, method.replace("_", " "))
    return text[:1].upper() + text[1:]
