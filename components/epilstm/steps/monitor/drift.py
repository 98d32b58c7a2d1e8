"""What ``drift.json`` holds, and the verdicts in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from epilstm.params import MonitorParams
from epilstm.steps.monitor.limits import Verdict, limits, milder, verdict_on, worst
from epilstm.steps.monitor.track_matching import TrackMatching
from epilstm.steps.monitor.track_scores import Score


@dataclass(frozen=True)
class Statistic:
    """Name, wording and limits of one statistic.

    Parameters
    ----------
    name : str
        Key in ``drift.json`` and, unless the reference alone decides, of its limits in the params.
    label : str
        In tables.
    finding : str
        What a value beyond its limit means; takes ``{value}``, ``{factor}`` (2 to its power) and ``{like}``.
    reading : {'size', 'upwards', 'downwards'}
        Whether a large size, a high or a low value is bad.
    """

    name: str
    label: str
    finding: str
    reading: Literal["size", "upwards", "downwards"] = "upwards"

    def badness(self, value: float) -> float:
        """The value with its sign such that more is worse."""
        return {"size": abs(value), "upwards": value, "downwards": -value}[self.reading]


STATISTICS = {
    statistic.name: statistic
    for statistic in (
        Statistic("psi", "PSI", "its values are distributed otherwise (PSI {value:.2f})"),
        Statistic("kolmogorov_smirnov", "KS", "its values are distributed otherwise (Kolmogorov-Smirnov {value:.2f})"),
        Statistic(
            "scale", "Scale (log2)", "its high values are {factor:.2f} times the reference's: another depth?", "size"
        ),
        Statistic(
            "signal_to_noise",
            "Signal to noise (log2)",
            "its peaks stand {factor:.2f} times as high above its mean as the reference's",
            "size",
        ),
        Statistic(
            "transformed",
            "Like transformed (log2)",
            "its high values fit the reference's after its transform: transformed before?",
        ),
        Statistic("zeros", "Zeros", "the share of bins without signal differs by {value:+.2f}", "size"),
        Statistic("missing", "Missing", "{value:.0%} of its bins have no data where the reference has signal"),
        Statistic(
            "correlation",
            "Correlation",
            "correlates with the reference track of its name by {value:.2f} only: shuffled, shifted or swapped?",
            "downwards",
        ),
        Statistic("other_track", "Other track ahead", "is more like {like} than like the track of its name: swapped?"),
        Statistic("other_assay", "Other assay ahead", "is more like {like} than like its own assay: mislabelled?"),
        Statistic(
            "same_assay",
            "Same-assay correlation lost",
            "has lost {value:.0%} of the correlation with its assay: shuffled?",
        ),
        Statistic(
            "reconstruction",
            "Unexplained (factor)",
            "the model leaves {value:.1f} times as much of it unexplained: not where other tracks say it should be",
        ),
        Statistic("embedding", "Embedding", "the embeddings lie {value:.2f} of their variance away"),
    )
}

#: Statistics of a server's sums of its inputs.
SERVED_STATISTICS = {
    statistic.name: statistic
    for statistic in (
        Statistic(
            "served_mean", "Mean (sd)", "its mean lies {value:+.2f} standard deviations from the reference's", "size"
        ),
        Statistic(
            "served_spread", "Spread (log2)", "its spread is {factor:.2f} times the reference's: another depth?", "size"
        ),
        Statistic("missing", "Missing", "{value:.0%} of its values are missing where the reference has signal"),
    )
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Model):
    """One statistic of one track.

    `value` is the median over chromosomes where there are values by chromosome. `warn` and `drift` are the limits as
    they were applied: from the params, or raised to what the reference itself does.
    """

    value: float
    warn: float
    drift: float
    verdict: Verdict
    by_chromosome: dict[str, float] = {}


class TrackDrift(_Model):
    """One new track, with its fields where they are known; `like` is what it is most like, with its correlation."""

    track: str
    cell_type: str | None = None
    assay: str | None = None
    replicate: str | None = None
    against: Literal["itself", "assay", "nothing"]
    verdict: Verdict
    reasons: list[str]
    statistics: dict[str, Finding]
    like: tuple[str, float] | None = None


class ModelDrift(_Model):
    """What the model makes of the new data as a whole.

    `mse` is the mean squared error of the reconstruction, by chromosome, in standard deviations of the tracks;
    `unexplained` and `reference_unexplained` are, likewise, the median over tracks of the share of a track's
    variation that the reconstruction misses; `embedding` is the Frechet distance of the embeddings to the reference's,
    as a share of their variance.
    """

    mse: dict[str, float]
    unexplained: dict[str, float]
    reference_unexplained: dict[str, float]
    embedding: Finding


class DriftReport(_Model):
    """All findings. `bins` says which were compared: the reference's own, others, or none (served inputs alone)."""

    format: Literal["epilstm.drift/1"] = "epilstm.drift/1"
    verdict: Verdict
    bins: Literal["same", "elsewhere", "none"]
    sampled_bins: dict[str, int]
    not_compared: list[str]
    tracks: list[TrackDrift]
    absent_tracks: list[str]
    model: ModelDrift | None
    served: list[TrackDrift]
    inputs: dict[str, str]
    params: dict[str, object]


def rounded(value: float) -> float:
    """To six significant digits: the rest is noise, and makes files long."""
    return float(f"{value:.6g}")


def finding(
    statistic: Statistic,
    value: float,
    stated: Sequence[float],
    null: NDArray[np.float64],
    false_alarms: float,
    by_chromosome: Mapping[str, float] | None = None,
) -> Finding | None:
    """Verdict on one value; None where it is no number.

    Parameters
    ----------
    stated : (float, float)
        Limits of the params, as the statistic reads.
    null : array
        Values where nothing is wrong.
    """
    if not math.isfinite(value):
        return None
    null_badness = np.array([statistic.badness(each) for each in null])
    warn, drift = limits([statistic.badness(each) for each in stated], null_badness, false_alarms)
    verdict = verdict_on(statistic.badness(value), warn, drift)
    sign = -1 if statistic.reading == "downwards" else 1
    return Finding(
        value=rounded(value),
        warn=rounded(sign * warn),
        drift=rounded(sign * drift),
        verdict=verdict,
        by_chromosome={chrom: rounded(each) for chrom, each in (by_chromosome or {}).items() if math.isfinite(each)},
    )


def reason(statistic: Statistic, found: Finding, like: str) -> str:
    """A finding in words."""
    factor = 2.0 ** min(max(found.value, -99), 99)
    return statistic.finding.format(value=found.value, factor=factor, like=like)


def evaluate_tracks(
    matching: TrackMatching,
    scores: Mapping[str, Score],
    likes: Sequence[tuple[str, float] | None],
    params: MonitorParams,
) -> list[TrackDrift]:
    """Verdict on each new track.

    Another cell type may be of another depth or quality: of a track that the reference lacks, the distribution alone
    is no drift, only something to be looked at.

    A wrong track spoils the reconstruction of the others. So as soon as any track drifts by another statistic,
    reconstruction counts only for tracks that another statistic speaks against.

    Parameters
    ----------
    scores : mapping of str to Score
        By statistic.
    likes : sequence
        What each track is most like.
    """
    found: list[dict[str, Finding]] = []
    certain = {"other_assay", "same_assay"}
    for row in range(len(matching.new)):
        findings = {
            name: finding(
                STATISTICS[name],
                float(score.value[row]),
                getattr(params, name),
                score.null[row],
                params.false_alarms,
                {chrom: float(values[row]) for chrom, values in score.by_chromosome.items()},
            )
            for name, score in scores.items()
        }
        if matching.against(row) == "assay":
            findings = {
                name: one if one is None or name in certain else one.model_copy(update={"verdict": milder(one.verdict)})
                for name, one in findings.items()
            }
        found.append({name: one for name, one in findings.items() if one is not None})
    by_others = [worst([one.verdict for name, one in each.items() if name != "reconstruction"]) for each in found]
    spoilt = "drift" in by_others
    evaluated = []
    for row, each in enumerate(found):
        against = matching.against(row)
        if spoilt and by_others[row] == "ok" and "reconstruction" in each:
            each["reconstruction"] = each["reconstruction"].model_copy(update={"verdict": "ok"})
        like = likes[row]
        bad = [name for name, one in each.items() if one.verdict != "ok"]
        reasons = [reason(STATISTICS[name], each[name], like[0] if like else "another") for name in bad]
        if against == "nothing":
            reasons.append("no track of its name or assay in the reference: nothing to compare it with")
        verdict = worst([one.verdict for one in each.values()])
        evaluated.append(
            TrackDrift(
                track=matching.new[row],
                cell_type=matching.tracks.cell_types[row],
                assay=matching.tracks.assays[row],
                replicate=matching.tracks.replicates[row],
                against=against,
                verdict=worst([verdict, "warn"]) if against == "nothing" else verdict,
                reasons=reasons,
                statistics=each,
                like=like and (like[0], rounded(like[1])),
            )
        )
    return evaluated
