"""What each step's own numbers (its metrics file) are called in Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

from epilstm.runtime.telemetry.series import Series, finite

Numbers = Mapping[str, Any]


def set_numbers(step: str, numbers: Numbers, series: Series, now: float) -> None:
    """Add the numbers of a step to its series; steps without any add nothing.

    Parameters
    ----------
    numbers : mapping
        Content of the step's metrics file.
    now : float
        Seconds since 1970.
    """
    if step in _TELL:
        _TELL[step](numbers, series, now)


def _data(numbers: Numbers, series: Series, now: float) -> None:
    series.set("epilstm_data_bins_with_data_ratio", finite(numbers.get("fraction_with_data")))
    series.set("epilstm_data_covered_min_ratio", finite(numbers.get("covered_fraction_min")))
    series.set("epilstm_data_covered_median_ratio", finite(numbers.get("covered_fraction_median")))


def _train(numbers: Numbers, series: Series, now: float) -> None:
    for name, key in {
        "train_mse": "train_mse",
        "validation_mse": "validation_mse",
        "validation_r2_ratio": "validation_r2",
        "epochs": "epochs",
        "best_epoch": "best_epoch",
        "weights_moved_ratio": "weights_moved",
    }.items():
        series.set(f"epilstm_training_{name}", finite(numbers.get(key)))
    if "device" in numbers:
        series.set("epilstm_training_device_info", 1, device=str(numbers["device"]))


def _export(numbers: Numbers, series: Series, now: float) -> None:
    from epilstm.files.outputs import ENCODER

    series.set("epilstm_encoder_difference_ratio", finite(numbers.get("largest_difference")))
    series.set("epilstm_encoder_bytes", finite(numbers.get("bytes", {}).get(ENCODER)))


def _evaluate(numbers: Numbers, series: Series, now: float) -> None:
    for task, cell_types in numbers.get("tasks", {}).items():
        cells = list(cell_types.values())
        for name, key in (("examples", "n"), ("positives", "positives")):
            series.set(f"epilstm_evaluation_{name}", sum(cell[key] for cell in cells), task=task)
        representations = sorted({name for cell in cells for name, value in cell.items() if isinstance(value, Mapping)})
        for representation in representations:
            labels = {"task": task, "representation": representation}
            for name, key in (("average_precision", "average_precision"), ("auroc", "auroc")):
                values = [finite(cell[representation].get(key)) for cell in cells if representation in cell]
                series.set(f"epilstm_evaluation_{name}_ratio", _mean(values), **labels)
    for task, cell_types in numbers.get("regression", {}).items():
        cells = list(cell_types.values())
        series.set("epilstm_evaluation_examples", sum(cell["n"] for cell in cells), task=task)
        for name in sorted({name for cell in cells for name, value in cell.items() if isinstance(value, Mapping)}):
            r2 = _mean([finite(cell[name].get("r2")) for cell in cells if name in cell])
            series.set("epilstm_evaluation_regression_r2_ratio", r2, task=task, representation=name)
    for name, fit in numbers.get("reconstruction", {}).items():
        series.set("epilstm_evaluation_reconstruction_r2_ratio", finite(fit.get("r2")), representation=name)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _promote(numbers: Numbers, series: Series, now: float) -> None:
    promoted = int(numbers["promote"])
    for decision, value in (("promote", promoted), ("hold", 1 - promoted)):
        series.set("epilstm_promotion_decision", value, decision=decision)
    series.set("epilstm_promotion_forced", finite(numbers.get("forced")))
    series.set("epilstm_promotion_failed_checks", finite(numbers.get("checks_failed")))
    for task, compared in numbers.get("tasks", {}).items():
        for contender in ("challenger", "champion"):
            precision = finite(compared.get(contender))
            series.set("epilstm_promotion_average_precision_ratio", precision, task=task, contender=contender)
    if promoted:
        series.set("epilstm_promotion_last_promoted_timestamp_seconds", now)


def _monitor(numbers: Numbers, series: Series, now: float) -> None:
    series.set("epilstm_drift_detected", finite(numbers.get("drift")))
    series.set("epilstm_drift_tracks", finite(numbers.get("tracks_drifted")))
    series.set("epilstm_drift_warned_tracks", finite(numbers.get("tracks_warned")))
    series.set("epilstm_drift_embedding_distance_ratio", finite(numbers.get("embedding_distance")))
    for track, scores in numbers.get("tracks", {}).items():
        series.set("epilstm_drift_psi_ratio", finite(scores.get("psi")), track=track)
        series.set("epilstm_drift_ks_ratio", finite(scores.get("ks")), track=track)
    for chromosome, value in numbers.get("reconstruction_mse", {}).items():
        series.set("epilstm_drift_reconstruction_mse", finite(value), chromosome=chromosome)


_TELL: dict[str, Callable[[Numbers, Series, float], None]] = {
    "ingest": _data,
    "preprocess": _data,
    "train": _train,
    "export": _export,
    "evaluate": _evaluate,
    "promote": _promote,
    "monitor": _monitor,
}
