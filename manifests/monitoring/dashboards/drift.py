"""Dashboard of data drift: new tracks against the training data, as the step monitor compares them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from manifests.monitoring.dashboards.frame import PIPELINE, PROMOTIONS, choice, frame, namespace
from manifests.monitoring.dashboards.panels import (
    GREEN,
    ORANGE,
    RED,
    AnyPanel,
    Query,
    Words,
    bars,
    number,
    over_time,
    rows,
    states,
)

BY_PIPELINE = "namespace, pipeline"

#: Tracks that are shown one by one; a data set may have a thousand.
MOST = 15


def build() -> Dashboard:
    """The dashboard."""
    return frame(
        "drift",
        "Epi-LSTM: data drift",
        "Whether new data look like those the model was trained on, as the step monitor last found. What the server is "
        "sent is on the serving dashboard.",
        [
            namespace("epilstm_drift_detected"),
            choice("pipeline", "Pipeline", "epilstm_drift_detected", 'namespace=~"$namespace"'),
        ],
        [PROMOTIONS],
        [
            ("At a glance", _glance()),
            ("Tracks", _tracks()),
            ("Model", _model()),
        ],
        "now-30d",
    )


def _glance() -> list[AnyPanel]:
    def last(metric: str) -> str:
        return f"max by ({BY_PIPELINE}) ({metric}{{{PIPELINE}}})"

    return [
        number(
            Words(
                "Drift",
                "Whether the last comparison went beyond a limit (params.yaml, section monitor). It looks at more than "
                "is shown here, such as correlations: why is in the step's page and drift.json.",
                "short",
                "EpilstmDrift",
            ),
            Query(last("epilstm_drift_detected"), "{{pipeline}}"),
            values={"1": ("found", RED), "0": ("none", GREEN)},
            width=3,
        ),
        number(
            Words("Tracks that differ", "Tracks beyond a limit, whichever it is.", "short", "EpilstmDrift"),
            Query(last("epilstm_drift_tracks"), "{{pipeline}}"),
            thresholds=[(1, RED)],
            width=3,
        ),
        number(
            Words("Tracks that may differ", "Tracks between the limit to warn and the limit of drift.", "short"),
            Query(last("epilstm_drift_warned_tracks"), "{{pipeline}}"),
            thresholds=[(1, ORANGE)],
            width=3,
        ),
        number(
            Words(
                "Since the last comparison",
                "Time since monitor last compared; what is shown here is that old.",
                "s",
            ),
            Query(
                f"time() - max by ({BY_PIPELINE}) "
                f'(epilstm_step_last_success_timestamp_seconds{{{PIPELINE}, step="monitor"}})',
                "{{pipeline}}",
            ),
            thresholds=[(8 * 86400, ORANGE)],
            width=3,
        ),
        states(
            Words("Drift over time", "Red after a comparison that found drift.", "short", "EpilstmDrift"),
            Query(last("epilstm_drift_detected"), "{{pipeline}}"),
            {"1": ("drift", RED), "0": ("no drift", GREEN)},
            width=12,
            height=4,
        ),
    ]


def _quantiles(metric: str) -> list[Query]:
    series = f"{metric}{{{PIPELINE}}}"
    return [
        Query(f"max by ({BY_PIPELINE}) ({series})", "{{pipeline}} worst track"),
        Query(f"quantile by ({BY_PIPELINE}) (0.9, {series})", "{{pipeline}} 90% of the tracks are below"),
        Query(f"quantile by ({BY_PIPELINE}) (0.5, {series})", "{{pipeline}} median track"),
    ]


def _tracks() -> list[AnyPanel]:
    psi = f"max by ({BY_PIPELINE}, track) (epilstm_drift_psi_ratio{{{PIPELINE}}})"
    ks = f"max by ({BY_PIPELINE}, track) (epilstm_drift_ks_ratio{{{PIPELINE}}})"
    return [
        over_time(
            Words(
                "Population stability index",
                "How far the histograms of new tracks are from those of the training data. All tracks up: the data are "
                "processed in another way; one track: a bad sample. Swapped and shuffled tracks show below.",
                "short",
                "EpilstmDrift",
            ),
            *_quantiles("epilstm_drift_psi_ratio"),
            width=12,
            steps=True,
        ),
        over_time(
            Words(
                "Kolmogorov-Smirnov distance",
                "Largest distance, 0 to 1, of the cumulative distributions of a new track and of the training data.",
                "short",
                "EpilstmDrift",
            ),
            *_quantiles("epilstm_drift_ks_ratio"),
            width=12,
            steps=True,
            limits=(0, 1),
        ),
        bars(
            Words(
                "Tracks that differ most",
                f"The {MOST} tracks with the largest population stability index.",
                "short",
                "EpilstmDrift",
            ),
            Query(f"topk({MOST}, {psi})", "{{track}}"),
            width=12,
            height=12,
        ),
        rows(
            Words("The same tracks in numbers", "Population stability index and Kolmogorov-Smirnov distance.", "short"),
            {"PSI": f"topk({MOST}, {psi})", "KS": f"{ks} and on ({BY_PIPELINE}, track) topk({MOST}, {psi})"},
            {"pipeline": "Pipeline", "track": "Track"},
            width=12,
            height=12,
            first="PSI",
        ),
    ]


def _model() -> list[AnyPanel]:
    chromosomes = f"max by ({BY_PIPELINE}, chromosome) (epilstm_drift_reconstruction_mse{{{PIPELINE}}})"
    return [
        over_time(
            Words(
                "Error of the reconstruction over time",
                "Mean squared error of the model on the new data, by chromosome. It sees what histograms miss: signal "
                "in the wrong places.",
                "short",
                "EpilstmDrift",
            ),
            Query(chromosomes, "{{chromosome}}"),
            width=8,
            height=9,
            steps=True,
        ),
        over_time(
            Words(
                "Distance of the embeddings",
                "Frechet distance of the embeddings of new data from those of the training data, as a share of their "
                "variance.",
                "percentunit",
                "EpilstmDrift",
            ),
            Query(f"max by ({BY_PIPELINE}) (epilstm_drift_embedding_distance_ratio{{{PIPELINE}}})", "{{pipeline}}"),
            width=8,
            height=9,
            steps=True,
        ),
        bars(
            Words(
                "Error of the reconstruction by chromosome",
                "As it was last. One chromosome far above the others: its data are cut off, shifted or shuffled.",
                "short",
                "EpilstmDrift",
            ),
            Query(f"sort_desc({chromosomes})", "{{chromosome}}"),
            width=8,
            height=9,
        ),
    ]
