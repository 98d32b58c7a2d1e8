"""``epilstm monitor``: hold new tracks, or what a server was given, against the data that the model was trained on.

``drift.json`` is a `epilstm.steps.monitor.drift.DriftReport`; its key ``verdict`` is ``ok``, ``warn`` or ``drift``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from epilstm.console import log, progress
from epilstm.errors import DataError, EpilstmError, ParamsError
from epilstm.files.outputs import fingerprint, to_json
from epilstm.params import MonitorParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.monitor.drift import SERVED_STATISTICS, STATISTICS, DriftReport, TrackDrift, judge_tracks
from epilstm.steps.monitor.limits import worst
from epilstm.steps.monitor.measurement import (
    Measurement,
    Reference,
    RunModel,
    add_elsewhere,
    measure_reference,
    measure_same_bins,
)
from epilstm.steps.monitor.model_drift import judge_model
from epilstm.steps.monitor.page import drift_page
from epilstm.steps.monitor.roster import Roster
from epilstm.steps.monitor.sample import blocks_of, overlap
from epilstm.steps.monitor.served import judge_served, read_served, usual_moments
from epilstm.steps.monitor.track_scores import distribution_scores, model_scores, similarity_scores
from epilstm.store.manifests import SCALER_FILE, read_reference_histograms, read_scaler, require_binned_alike
from epilstm.store.matrix import Matrix
from epilstm.store.signal import SignalReader

#: Tracks with a finding that are told in the log; the page has them all.
TOLD = 20


class DriftFound(EpilstmError):
    """The data have drifted, and ``--fail-on-drift`` makes that an error; the outputs are in place."""

    exit_code = 3


def run(params: MonitorParams, context: StepContext) -> StepResult:
    """Compare, judge, write the verdict down."""
    inputs = context.inputs
    if "signal" not in inputs and "served" not in inputs:
        raise ParamsError("--signal or --served is required: new tracks, or what a server's /metrics said")
    reference = read_reference(inputs["matrix"])
    model = load_network(inputs["model"], reference, params.threads) if "model" in inputs else None
    signal = SignalReader(inputs["signal"], reference.matrix.manifest.track_set) if "signal" in inputs else None
    report = compare(params, reference, signal, model, inputs)
    context.outputs["drift"].write_text(to_json(report.model_dump(mode="json")), encoding="utf-8")
    if "page" in context.outputs:
        context.outputs["page"].write_text(drift_page(report), encoding="utf-8")
    for track in [each for each in (*report.tracks, *report.served) if each.verdict != "ok"][:TOLD]:
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

    from epilstm.model.folder import load_model
    from epilstm.model.windows import context_bins, encode_bins, reconstruct_bins
    from epilstm.runtime.cores import available_cores

    network, manifest = load_model(folder)
    if manifest.scaler != reference.scaler:
        raise DataError(f"{folder}: was trained on other data than --matrix; give the matrix that it was trained on")
    torch.set_num_threads(threads or available_cores())
    return RunModel(
        lambda rows: encode_bins(network, rows),
        lambda rows: reconstruct_bins(network, rows),
        manifest.config.embedding_size,
        context_bins(manifest.config),
        manifest.frame_bins,
    )


def compare(
    params: MonitorParams,
    reference: Reference,
    signal: SignalReader | None,
    model: RunModel | None,
    inputs: Mapping[str, Path],
) -> DriftReport:
    """Measure and judge."""
    theirs = reference.ranges()
    everywhere = blocks_of(theirs, params.bins_per_chromosome)
    same, not_compared, blocks = False, [], []
    if signal is not None:
        require_same_genome(signal, reference)
        ours = signal.ranges()
        shared = {chrom: overlap(ranges, theirs.get(chrom, [])) for chrom, ranges in ours.items()}
        same = any(shared.values())
        not_compared = [chrom for chrom, ranges in shared.items() if same and not ranges]
        blocks = blocks_of(shared if same else ours, params.bins_per_chromosome)
    passes = ([] if same and "served" not in inputs else everywhere) + blocks
    done, known = Measurement(), Measurement()
    with progress("comparing bins", sum(block.bins for block in passes)) as bar:
        if not same or "served" in inputs:
            known = measure_reference(reference, everywhere, model if signal is not None else None, bar.advance)
        if signal is not None and same:
            done = measure_same_bins(reference, signal, blocks, model, bar.advance)
        elif signal is not None:
            done = known
            add_elsewhere(done, reference, signal, blocks, model, bar.advance)

    tracks: list[TrackDrift] = []
    whole_model = None
    absent: list[str] = []
    if signal is not None:
        if not any(tally.bins for tally in done.new.values()):
            raise DataError(f"{signal.folder}: no bin with data to compare; are these the regions you meant?")
        roster = Roster(signal.track_set, reference.matrix.manifest.track_set)
        absent = [name for name in roster.old if name not in roster.new]
        scores = {
            **distribution_scores(done, reference, roster, same, params.false_alarms),
            **similarity_scores(done, roster, same, params.false_alarms),
            **model_scores(done, roster, same, params.false_alarms),
        }
        tracks = judge_tracks(roster, scores, most_like(done, roster, same), params)
        whole_model = judge_model(done, roster, same, params)
    served: list[TrackDrift] = []
    if "served" in inputs:
        served = judge_served(
            read_served(inputs["served"]), reference.on_axis, *usual_moments(known, reference), params
        )
    verdicts = [track.verdict for track in (*tracks, *served)]
    return DriftReport(
        verdict=worst([*verdicts, *([whole_model.embedding.verdict] if whole_model else [])]),
        bins="none" if signal is None else "same" if same else "elsewhere",
        sampled_bins={chrom: tally.bins for chrom, tally in done.new.items()},
        not_compared=not_compared,
        tracks=tracks,
        absent_tracks=absent,
        model=whole_model,
        served=served,
        inputs={name: fingerprint(path) for name, path in inputs.items()},
        params=params.model_dump(mode="json"),
    )


def require_same_genome(signal: SignalReader, reference: Reference) -> None:
    """Refuse signal of another assembly, other bins, or bins of another kind of mean.

    Raises
    ------
    DataError
        They differ.
    """
    ours, theirs = signal.manifest, reference.matrix.manifest
    if ours.bin_size != theirs.bin_size:
        raise DataError(
            f"{signal.folder}: bins of {ours.bin_size} bp, the reference's are {theirs.bin_size}; ingest again"
        )
    for chrom, size in ours.chromosome_sizes.items():
        if theirs.chromosome_sizes.get(chrom, size) != size:
            raise DataError(
                f"{signal.folder}: {chrom} is {size:,} bp, in the reference {theirs.chromosome_sizes[chrom]:,}; "
                f"another assembly ({ours.assembly}, {theirs.assembly})? Ingest again with the reference's"
            )
    require_binned_alike(ours, reference.scaler)


def most_like(done: Measurement, roster: Roster, same_bins: bool) -> list[tuple[str, float] | None]:
    """The track that each new one correlates best with: of the reference, or of the others that are new."""
    columns = roster.old if same_bins else roster.new
    likes: list[tuple[str, float] | None] = []
    for row in range(len(roster.new)):
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
    if report.model is not None:
        text += f"; embeddings {report.model.embedding.verdict}"
    return text


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
    }
    if report.model is not None:
        content["embedding_distance"] = report.model.embedding.value
        content["reconstruction_mse"] = report.model.mse
    return content
