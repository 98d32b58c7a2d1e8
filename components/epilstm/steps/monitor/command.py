"""``epilstm monitor``: compare new tracks, or the inputs of a server, with the data that the model was trained on.

``drift.json`` is a `epilstm.steps.monitor.drift.DriftReport`; its key ``verdict`` is ``ok``, ``warn`` or ``drift``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epilstm.console import log, progress
from epilstm.errors import DataError, EpilstmError, ParamsError
from epilstm.files.outputs import fingerprint, to_json
from epilstm.params import MonitorParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.monitor.drift import (
    SERVED_STATISTICS,
    STATISTICS,
    DriftReport,
    ModelDrift,
    TrackDrift,
    evaluate_tracks,
)
from epilstm.steps.monitor.limits import worst
from epilstm.steps.monitor.measurement import (
    Groups,
    Measurement,
    Reference,
    RunModel,
    add_elsewhere,
    measure_reference,
    measure_same_bins,
)
from epilstm.steps.monitor.model_drift import evaluate_model
from epilstm.steps.monitor.page import drift_page
from epilstm.steps.monitor.sample import Ranges, named_blocks, overlap
from epilstm.steps.monitor.served import evaluate_served, read_served, usual_moments
from epilstm.steps.monitor.track_matching import TrackMatching
from epilstm.steps.monitor.track_scores import distribution_scores, model_scores, similarity_scores
from epilstm.store.manifests import SCALER_FILE, read_reference_histograms, read_scaler, require_binned_alike
from epilstm.store.matrix import Matrix
from epilstm.store.signal import SignalReader

#: Tracks with a finding that are logged; the page has them all.
LOGGED = 20


class DriftFound(EpilstmError):
    """The data have drifted, and ``--fail-on-drift`` makes that an error; the outputs are in place."""

    exit_code = 3


def run(params: MonitorParams, context: StepContext) -> StepResult:
    """Compare, and write the report."""
    inputs = context.inputs
    if "signal" not in inputs and "served" not in inputs:
        raise ParamsError("--signal or --served is required: new tracks, or a server's /metrics")
    reference = read_reference(inputs["matrix"])
    model = load_network(inputs["model"], reference, params.threads) if "model" in inputs else None
    signal = SignalReader(inputs["signal"], reference.matrix.manifest.track_set) if "signal" in inputs else None
    report = compare(params, reference, signal, model, inputs)
    context.outputs["drift"].write_text(to_json(report.model_dump(mode="json")), encoding="utf-8")
    if "page" in context.outputs:
        context.outputs["page"].write_text(drift_page(report), encoding="utf-8")
    for track in [each for each in (*report.tracks, *report.served) if each.verdict != "ok"][:LOGGED]:
        log.warning(f"{track.track}: {track.verdict}: {'; '.join(track.reasons)}")
    summary = summary_of(report)

    stops = report.verdict == "drift" and "fail-on-drift" in context.flags
    bins = sum(report.sampled_bins.values())
    return StepResult(
        summary,
        metrics(report),
        bins=bins,
        tracks=len(report.tracks or report.served),
        ending=DriftFound(f"monitor: {summary}; the outputs say which and why") if stops else None,
    )


def read_reference(folder: Path) -> Reference:
    """The matrix that a model was trained on, with its scaler and histograms.

    Raises
    ------
    DataError
        Something is missing or does not fit.
    """
    matrix = Matrix(folder)
    scaler, histograms = read_scaler(folder, matrix.manifest), read_reference_histograms(folder, matrix.manifest)
    if matrix.manifest.tracks != scaler.tracks:
        raise DataError(f"{folder}: its {SCALER_FILE} is of other tracks; run preprocess again")
    if not matrix.manifest.split.train:
        raise DataError(f"{folder}: was made with an encoder's scaler; give the matrix that the model was trained on")
    return Reference(matrix, scaler, histograms)


def load_network(folder: Path, reference: Reference, threads: int) -> RunModel:
    """The model, as functions of standardised bins.

    Raises
    ------
    DataError, ModelError
        The folder is unusable, or the model was trained on another matrix.
    """
    import torch

    from epilstm.model.chunks import context_bins
    from epilstm.model.folder import load_model
    from epilstm.model.windows import encode_bins, reconstruct_bins, side_by_side
    from epilstm.runtime.cores import available_cores

    network, manifest = load_model(folder)
    if manifest.scaler != reference.scaler:
        raise DataError(f"{folder}: was trained on other data than --matrix; give the matrix that it was trained on")
    torch.set_num_threads(1)
    run = side_by_side(threads or available_cores())
    return RunModel(
        lambda rows: encode_bins(network, rows, run),
        lambda rows: reconstruct_bins(network, rows, run),
        manifest.config.embedding_size,
        context_bins(manifest.config),
        manifest.frame_bins,
    )


@dataclass(frozen=True)
class Sample:
    """Bins that are compared.

    Parameters
    ----------
    everywhere : mapping of str to sequence of BinRange
        Of the reference, by chromosome or group of short chromosomes.
    new : mapping of str to sequence of BinRange
        Of the new tracks; empty without any.
    same : bool
        Whether these are bins of the reference, too.
    not_compared : list of str
        Chromosomes of the new tracks without bins of the reference, where others have some.
    """

    everywhere: Groups
    new: Groups
    same: bool
    not_compared: list[str]

    @classmethod
    def of(cls, reference: Reference, signal: SignalReader | None, bins_per_chromosome: int) -> Sample:
        """Bins that both have, or else those that each has."""
        reference_ranges = reference.ranges()
        everywhere = _sampled(reference_ranges, "the reference", bins_per_chromosome)
        if signal is None:
            return cls(everywhere, {}, False, [])
        ranges = signal.ranges()
        shared = {chrom: overlap(own, reference_ranges.get(chrom, [])) for chrom, own in ranges.items()}
        same = any(shared.values())
        not_compared = [chrom for chrom, own in shared.items() if same and not own]
        compared = {chrom: own for chrom, own in (shared if same else ranges).items() if own}
        return cls(everywhere, _sampled(compared, "the new data", bins_per_chromosome), same, not_compared)


def _sampled(ranges: Mapping[str, Ranges], what: str, bins_per_chromosome: int) -> Groups:
    groups = named_blocks(ranges, bins_per_chromosome)
    compared = len({block.chrom for blocks in groups.values() for block in blocks})
    if len(groups) < len(ranges):
        log.info(
            f"{compared:,} of {len(ranges):,} chromosomes of {what} are compared, short ones together: {len(groups):,} "
            "chromosomes and groups"
        )
    return groups


def compare(
    params: MonitorParams,
    reference: Reference,
    signal: SignalReader | None,
    model: RunModel | None,
    inputs: Mapping[str, Path],
) -> DriftReport:
    """Measure new tracks, served inputs or both, and give the verdict on each.

    Raises
    ------
    DataError
        The new tracks are of another genome or have no data to compare, or the served inputs are unusable.
    """
    if signal is not None:
        require_same_genome(signal, reference)
    sample = Sample.of(reference, signal, params.bins_per_chromosome)
    with_served = "served" in inputs
    done, known = measure(sample, reference, signal, model, with_served)
    tracks = NO_TRACKS if signal is None else compare_tracks(done, reference, signal, sample.same, params)
    served: list[TrackDrift] = []
    if with_served:
        moments = usual_moments(known, reference)
        served = evaluate_served(read_served(inputs["served"]), reference.on_axis, *moments, params)
    verdicts = [track.verdict for track in (*tracks.tracks, *served)]
    if tracks.model is not None:
        verdicts.append(tracks.model.embedding.verdict)
    return DriftReport(
        verdict=worst(verdicts),
        bins="none" if signal is None else "same" if sample.same else "elsewhere",
        sampled_bins={chrom: tally.bins for chrom, tally in done.new.items()},
        not_compared=sample.not_compared,
        tracks=tracks.tracks,
        absent_tracks=tracks.absent,
        model=tracks.model,
        served=served,
        inputs={name: fingerprint(path) for name, path in inputs.items()},
        params=params.model_dump(mode="json"),
    )


def measure(
    sample: Sample, reference: Reference, signal: SignalReader | None, model: RunModel | None, with_served: bool
) -> tuple[Measurement, Measurement]:
    """Measurements for the new tracks (empty without any), and of the reference alone.

    The latter is empty where it is not needed: new tracks on the reference's own bins are compared bin by bin.
    """
    reference_alone = with_served or not sample.same
    groups = [*(sample.everywhere.values() if reference_alone else ()), *sample.new.values()]
    done, known = Measurement(), Measurement()
    with progress("comparing bins", sum(block.bins for blocks in groups for block in blocks)) as bar:
        if reference_alone:
            known = measure_reference(reference, sample.everywhere, model if signal is not None else None, bar.advance)
        if signal is not None and sample.same:
            done = measure_same_bins(reference, signal, sample.new, model, bar.advance)
        elif signal is not None:
            done = known
            add_elsewhere(done, reference, signal, sample.new, model, bar.advance)
    return done, known


@dataclass(frozen=True)
class TrackComparison:
    """Verdicts on new tracks, tracks of the reference that are absent, and the model's view of all together."""

    tracks: list[TrackDrift]
    absent: list[str]
    model: ModelDrift | None


NO_TRACKS = TrackComparison([], [], None)


def compare_tracks(
    done: Measurement, reference: Reference, signal: SignalReader, same_bins: bool, params: MonitorParams
) -> TrackComparison:
    """Match new tracks with the reference's, and score and evaluate each."""
    if not any(tally.bins for tally in done.new.values()):
        raise DataError(f"{signal.folder}: no bin with data to compare; are these the regions you meant?")
    matching = TrackMatching(signal.track_set, reference.matrix.manifest.track_set)
    scores = {
        **distribution_scores(done, reference, matching, same_bins, params.false_alarms),
        **similarity_scores(done, matching, same_bins, params.false_alarms),
        **model_scores(done, matching, same_bins, params.false_alarms),
    }
    return TrackComparison(
        evaluate_tracks(matching, scores, most_like(done, matching, same_bins), params),
        [name for name in matching.old if name not in matching.new],
        evaluate_model(done, matching, same_bins, params),
    )


def require_same_genome(signal: SignalReader, reference: Reference) -> None:
    """Refuse signal of another assembly, other bins, or bins of another kind of mean.

    Raises
    ------
    DataError
        They differ.
    """
    new, known = signal.manifest, reference.matrix.manifest
    if new.bin_size != known.bin_size:
        raise DataError(
            f"{signal.folder}: bins of {new.bin_size} bp, the reference's are {known.bin_size}; ingest again"
        )
    for chrom, size in new.chromosome_sizes.items():
        if known.chromosome_sizes.get(chrom, size) != size:
            raise DataError(
                f"{signal.folder}: {chrom} is {size:,} bp, in the reference {known.chromosome_sizes[chrom]:,}; "
                f"another assembly ({new.assembly}, {known.assembly})? Ingest again with the reference's"
            )
    require_binned_alike(new, reference.scaler)


def most_like(done: Measurement, matching: TrackMatching, same_bins: bool) -> list[tuple[str, float] | None]:
    """The track that each new one correlates best with: of the reference, or of the others that are new."""
    columns = matching.old if same_bins else matching.new
    likes: list[tuple[str, float] | None] = []
    for row in range(len(matching.new)):
        values = done.like[row].copy()
        if not same_bins:
            values[row] = -np.inf
        place = int(values.argmax())
        likes.append((columns[place], float(values[place])) if len(values) > 1 and np.isfinite(values[place]) else None)
    return likes


def summary_of(report: DriftReport) -> str:
    """The verdict in one line."""
    counted = report.tracks or report.served
    tally = {verdict: sum(track.verdict == verdict for track in counted) for verdict in ("drift", "warn")}
    what = "tracks" if report.tracks else "served tracks"
    text = f"{report.verdict}: {tally['drift']} of {len(counted)} {what} drifted, {tally['warn']} to be looked at"
    drifted = {cell: each for cell, each in by_cell_type(report).items() if each["drifted"]}
    if drifted:
        listed = ", ".join(f"{cell} {each['drifted']} of {each['tracks']}" for cell, each in drifted.items())
        text += f"; drifted by cell type: {listed}"
    if report.model is not None:
        text += f"; embeddings {report.model.embedding.verdict}"
    return text


def by_cell_type(report: DriftReport) -> dict[str, dict[str, int]]:
    """Tracks of each cell type: how many there are, and how many warned and drifted; empty where there is only one."""
    cells = list(dict.fromkeys(track.cell_type for track in report.tracks if track.cell_type))
    if len(cells) < 2:
        return {}
    found = {}
    for cell in cells:
        verdicts = [track.verdict for track in report.tracks if track.cell_type == cell]
        found[cell] = {"tracks": len(verdicts), "warned": verdicts.count("warn"), "drifted": verdicts.count("drift")}
    return found


def metrics(report: DriftReport) -> dict[str, Any]:
    """The numbers for the metrics file."""
    counted = [*report.tracks, *report.served]
    worst_values: dict[str, float] = {}
    for name, statistic in {**STATISTICS, **SERVED_STATISTICS}.items():
        values = [track.statistics[name].value for track in counted if name in track.statistics]
        if values:
            worst_values[name] = max(values, key=statistic.badness)
    content: dict[str, Any] = {
        "verdict": report.verdict,
        "drift": int(report.verdict == "drift"),
        "tracks_compared": len(counted),
        "tracks_warned": sum(track.verdict == "warn" for track in counted),
        "tracks_drifted": sum(track.verdict == "drift" for track in counted),
        "worst": worst_values,
        "tracks": {
            track.track: {
                key: track.statistics[name].value
                for key, name in (("psi", "psi"), ("ks", "kolmogorov_smirnov"))
                if name in track.statistics
            }
            for track in report.tracks
        },
        **({"cell_types": cells} if (cells := by_cell_type(report)) else {}),
    }
    if report.model is not None:
        content["embedding_distance"] = report.model.embedding.value
        content["reconstruction_mse"] = report.model.mse
    return content
