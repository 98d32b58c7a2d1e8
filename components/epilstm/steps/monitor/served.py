"""The inputs of a server, compared with the reference.

A server counts, for each track, the values of a sample of its requests, those missing, and the sum and sum of squares
of arcsinh of the others (`epilstm.serving.server.input_statistics`). It exports them as metrics, so ``/metrics`` is the
snapshot: counters since its start; the difference of two snapshots is what came between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.text import read_text
from epilstm.params import MonitorParams
from epilstm.steps.monitor.drift import SERVED_STATISTICS, Finding, TrackDrift, finding, reason
from epilstm.steps.monitor.limits import worst
from epilstm.steps.monitor.measurement import Measurement, Reference
from epilstm.steps.monitor.track_scores import long_enough
from epilstm.store.manifests import Scaler
from epilstm.store.standardisation import missing_where_uncovered

Floats = NDArray[np.float64]

#: Metric of each sum, in the order of `ServedInputs`.
METRICS = (
    "epilstm_serve_input_values_total",
    "epilstm_serve_input_missing_values_total",
    "epilstm_serve_input_arcsinh_sum_total",
    "epilstm_serve_input_arcsinh_squares_total",
)

#: Fewer values than this say nothing of a distribution.
LEAST_VALUES = 1_000


@dataclass(frozen=True)
class ServedInputs:
    """Sums over sampled values, per track.

    Parameters
    ----------
    values, missing, total, squares : (track,) float64 array
    """

    tracks: tuple[str, ...]
    values: Floats
    missing: Floats
    total: Floats
    squares: Floats

    @property
    def known(self) -> Floats:
        """Values that are not missing, 1 at least."""
        return np.maximum(self.values - self.missing, 1)

    def moments(self, left_out: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Mean and standard deviation of arcsinh(signal), (track,) each.

        As in the training data, no data is a signal of 0, or left out in the tracks where `left_out` says so.
        """
        count = np.where(left_out, self.known, np.maximum(self.values, 1))
        mean = self.total / count
        return mean, np.sqrt(np.maximum(self.squares / count - np.square(mean), 0))


def read_served(path: Path) -> ServedInputs:
    """Sums from a server's ``/metrics``.

    Raises
    ------
    DataError
        Not such a text, or no inputs in it.
    """
    from prometheus_client.parser import text_string_to_metric_families

    advice = "save what GET /metrics of an epilstm server says"
    found: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    text = read_text(path, "a server's metrics")
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in found:
                    found[sample.name][sample.labels["track"]] = float(sample.value)
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path}: not in Prometheus's text format ({error}); {advice}") from error
    tracks = tuple(found[METRICS[0]])
    if not tracks:
        raise DataError(f"{path}: no {METRICS[0]} in it; {advice}, once it has answered requests")
    missing = next((name for name in METRICS for track in tracks if track not in found[name]), None)
    if missing is not None:
        raise DataError(f"{path}: {missing} is not there for every track; {advice}")
    columns = [np.array([found[name][track] for track in tracks]) for name in METRICS]
    if not all(np.isfinite(column).all() and (column[:1] >= 0).all() for column in columns[:2]) or not all(
        np.isfinite(column).all() for column in columns
    ):
        raise DataError(f"{path}: a sum is not finite; {advice}")
    return ServedInputs(tracks, *columns)


def evaluate_served(
    inputs: ServedInputs,
    scaler: Scaler,
    reference_zeros: Mapping[str, float],
    usual: Mapping[str, tuple[Floats, Floats]],
    params: MonitorParams,
) -> list[TrackDrift]:
    """Verdict on each served track, from its mean, its spread and what is missing.

    Parameters
    ----------
    scaler : Scaler
        Mean and standard deviation of arcsinh(signal) of the training data.
    reference_zeros : mapping of str to float
        Share of bins that may be without data, by track.
    usual : mapping of str to (array, array)
        By track, the same two statistics of single chromosomes of the reference.

    Raises
    ------
    DataError
        The server's tracks are not the reference's, or too few values were looked at.
    """
    unknown = [track for track in inputs.tracks if track not in scaler.tracks]
    if unknown:
        raise DataError(f"--served: {unknown[0]} is no track of the reference; give the matrix of the served model")
    if inputs.values.min() < LEAST_VALUES:
        raise DataError(
            f"--served: {int(inputs.values.min())} values were looked at, of {LEAST_VALUES:,} needed; wait for requests"
        )
    # Bins without data in any track, which the training data leave out, are missing in all.
    everywhere = float((inputs.missing / inputs.values).min())
    evaluated = []
    places = [scaler.tracks.index(track) for track in inputs.tracks]
    mean, spread = inputs.moments(missing_where_uncovered(scaler.select(places)))
    known = None if scaler.identities is None else [scaler.identities[place] for place in places]
    for row, (track, place) in enumerate(zip(inputs.tracks, places, strict=True)):
        shift, factor = moment_differences(mean[row], spread[row], scaler.mean[place], scaler.scale[place])
        gone = max(inputs.missing[row] / inputs.values[row] - max(everywhere, reference_zeros[track]), 0.0)
        values = {
            "served_mean": (shift, params.served_mean, usual[track][0]),
            "served_spread": (factor, params.served_spread, usual[track][1]),
            "missing": (gone, params.missing, np.empty(0)),
        }
        each: dict[str, Finding] = {}
        for name, (value, stated, null) in values.items():
            one = finding(SERVED_STATISTICS[name], float(value), stated, null, params.false_alarms)
            if one is not None:
                each[name] = one
        reasons = [reason(SERVED_STATISTICS[name], one, "") for name, one in each.items() if one.verdict != "ok"]
        verdict = worst([one.verdict for one in each.values()])
        evaluated.append(
            TrackDrift(
                track=track,
                cell_type=known and known[row].cell_type,
                assay=known and known[row].assay,
                replicate=known and known[row].replicate,
                against="itself",
                verdict=verdict,
                reasons=reasons,
                statistics=each,
            )
        )
    return evaluated


def moment_differences(
    mean: float, spread: float, reference_mean: float, reference_scale: float
) -> tuple[float, float]:
    """Shift of a mean in standard deviations of the reference, and log2 of the ratio of the standard deviations."""
    factor = np.log2(max(spread, 1e-6 * reference_scale) / reference_scale)
    return (mean - reference_mean) / reference_scale, float(factor)


def usual_moments(
    known: Measurement, reference: Reference
) -> tuple[dict[str, float], dict[str, tuple[Floats, Floats]]]:
    """Share of bins that may be without data; how mean and spread of chromosomes differ from the training data's."""
    middles = (reference.edges[1:] + reference.edges[:-1]) / 2
    tallies = list(long_enough(known.old).values())
    bins = max(sum(tally.bins for tally in tallies), 1)
    zeros: dict[str, float] = {}
    on_axis = reference.on_axis
    usual: dict[str, tuple[Floats, Floats]] = {}
    for place, track in enumerate(reference.tracks):
        zeros[track] = float(sum(tally.maybe_missing[place] for tally in tallies) / bins)
        pairs = []
        for tally in tallies:
            share = tally.counts[place] / max(tally.counts[place].sum(), 1)
            mean = float(share @ middles)
            spread = float(np.sqrt(max(share @ np.square(middles) - mean**2, 0)))
            pairs.append(moment_differences(mean, spread, on_axis.mean[place], on_axis.scale[place]))
        shifts, factors = np.array(pairs).reshape(-1, 2).T
        usual[track] = shifts, factors
    return zeros, usual
