"""Every metric of the steps: name, kind, labels and meaning; ``docs/metrics.md`` holds the same table (a test)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: When a metric is reported: at a step's end, while it runs, or both.
When = Literal["at the end", "while it runs", "both"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Parameters
    ----------
    name : str
        As Prometheus knows it; a counter's ends in ``_total``.
    kind : str
        ``gauge`` or ``counter``.
    when : str
        When it is reported.
    text : str
        Meaning, in one line.
    labels : tuple of str
        Beside `COMMON_LABELS`.
    """

    name: str
    kind: Literal["gauge", "counter"]
    when: When
    text: str
    labels: tuple[str, ...] = ()


#: Labels of every series of a step; `part` only where a step did one part of its work.
COMMON_LABELS = ("pipeline", "step", "part")


def _gauge(name: str, text: str, *labels: str, when: When = "at the end") -> Metric:
    return Metric(f"epilstm_{name}", "gauge", when, text, labels)


_METRICS = (
    # Every step.
    _gauge("step_success", "1 if the last run ended well, 0 if it failed"),
    _gauge("step_last_success_timestamp_seconds", "When a run last ended well"),
    _gauge("step_last_failure_timestamp_seconds", "When a run last failed"),
    _gauge("step_failure_info", "Why it last failed; always 1", "reason", "run_id"),
    _gauge(
        "step_info",
        "What the last run that ended well was made of; always 1",
        *("version", "data_version", "model_version", "run_id"),
    ),
    _gauge("step_duration_seconds", "Wall time"),
    _gauge("step_bins", "Bins worked on"),
    _gauge("step_tracks", "Tracks worked on"),
    _gauge("step_input_bytes", "Size of the inputs on disk"),
    _gauge("step_output_bytes", "Size of the outputs on disk"),
    _gauge("step_throughput_bins_per_second", "Bins per second of wall time"),
    _gauge("step_peak_memory_bytes", "Largest resident memory of the process or of one of its workers"),
    _gauge("step_retries", "Further attempts at remote reads that failed"),
    # Data.
    _gauge("data_bins_with_data_ratio", "Share of the bins that have data"),
    _gauge("data_covered_min_ratio", "Share of the bins that the sparsest track covers"),
    _gauge("data_covered_median_ratio", "Share of the bins that the median track covers"),
    # Training.
    _gauge(
        "training_train_mse", "Mean squared error in training: of the last epoch, at the end of the best", when="both"
    ),
    _gauge("training_validation_mse", "The same on the validation chromosomes", when="both"),
    _gauge("training_validation_r2_ratio", "R2 on the validation chromosomes", when="both"),
    _gauge("training_epochs", "Epochs done", when="both"),
    _gauge("training_best_epoch", "Epoch with the lowest validation error"),
    _gauge("training_weights_moved_ratio", "Distance of the weights from where they started, relative to their norm"),
    _gauge("training_device_info", "Where the network is trained, cpu or cuda; always 1", "device", when="both"),
    _gauge("training_learning_rate", "Learning rate of the last step of the last epoch", when="while it runs"),
    _gauge("training_bins_per_step", "Bins that one optimiser step takes", when="while it runs"),
    # Encoder.
    _gauge("encoder_difference_ratio", "Largest difference of the ONNX encoder to the model, in standard deviations"),
    _gauge("encoder_bytes", "Size of encoder.onnx"),
    # Evaluation.
    _gauge(
        "evaluation_average_precision_ratio",
        "Mean average precision (mAP) over held-out folds, mean over cell types",
        *("task", "representation"),
    ),
    _gauge("evaluation_auroc_ratio", "Area under the ROC curve, likewise", "task", "representation"),
    _gauge(
        "evaluation_regression_r2_ratio",
        "R2 of held-out predictions of a task's levels, mean over cell types",
        *("task", "representation"),
    ),
    _gauge("evaluation_examples", "Labelled examples, over all cell types", "task"),
    _gauge("evaluation_positives", "Positive ones among them", "task"),
    _gauge("evaluation_reconstruction_r2_ratio", "R2 of the reconstruction on the test chromosomes", "representation"),
    # Promotion.
    _gauge("promotion_decision", "1 for the decision that was taken, 0 for the other (promote, hold)", "decision"),
    _gauge("promotion_forced", "1 if the decision was forced"),
    _gauge("promotion_failed_checks", "Checks of the gate that failed"),
    _gauge(
        "promotion_average_precision_ratio",
        "mAP of challenger and champion on the same examples; task mean is the mean over tasks",
        *("task", "contender"),
    ),
    _gauge("promotion_last_promoted_timestamp_seconds", "When the decision was last to promote"),
    # Drift.
    _gauge("drift_detected", "1 if new data differ from the training data beyond the thresholds"),
    _gauge("drift_tracks", "Tracks that differ"),
    _gauge("drift_warned_tracks", "Tracks that may differ"),
    _gauge("drift_embedding_distance_ratio", "Distance of the new bins' embedding from that of the training data"),
    _gauge("drift_psi_ratio", "Population stability index against the training data", "track"),
    _gauge("drift_ks_ratio", "Kolmogorov-Smirnov distance from the training data", "track"),
    _gauge("drift_reconstruction_mse", "Mean squared error of the model's reconstruction", "chromosome"),
    # While it runs.
    _gauge("run_info", "The run under way; always 1", "version", "run_id", when="while it runs"),
    _gauge("run_start_timestamp_seconds", "When it began", when="while it runs"),
    Metric(
        "epilstm_progress_work_total",
        "counter",
        "while it runs",
        "Work done, in the unit of the stage: tracks, bins, optimiser steps or classifiers",
        ("stage",),
    ),
    _gauge("progress_ratio", "Share of the stage that is done", "stage", when="while it runs"),
    _gauge(
        "gpu_utilization_ratio", "Share of the last second or so in which the GPU computed", "gpu", when="while it runs"
    ),
    _gauge("gpu_memory_used_bytes", "GPU memory in use", "gpu", when="while it runs"),
    _gauge("gpu_memory_size_bytes", "GPU memory", "gpu", when="while it runs"),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
