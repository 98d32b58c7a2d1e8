"""What steps measure, under Prometheus's names."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from epilstm.runtime.telemetry.series import Series, finite
from epilstm.runtime.telemetry.step_numbers import set_numbers


def metrics_of(step: str, numbers: dict) -> dict[str, float]:
    """Value of each series, read by Prometheus's own parser."""
    series = Series({})
    set_numbers(step, numbers, series, 1e9)
    found = {}
    for family in text_string_to_metric_families(series.text().decode()):
        for sample in family.samples:
            labels = " ".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('epilstm_')} {labels}".strip()] = sample.value
    return found


def test_training():
    numbers = {"train_mse": 0.5, "validation_mse": 0.6, "validation_r2": -0.1, "epochs": 3, "best_epoch": 2}
    numbers |= {"weights_moved": 0.4, "device": "cuda", "parameters": 10, "validation_mse_per_track": {"a": 1.0}}
    assert metrics_of("train", numbers) == {
        "training_train_mse": 0.5,
        "training_validation_mse": 0.6,
        "training_validation_r2_ratio": -0.1,
        "training_epochs": 3,
        "training_best_epoch": 2,
        "training_weights_moved_ratio": 0.4,
        "training_device_info device=cuda": 1,
    }


def test_average_precision_is_the_mean_over_cell_types_for_each_representation():
    def cell(n: int, embedding: float, raw: float | None) -> dict:
        scores = {"embedding": {"average_precision": embedding, "auroc": 0.9}}
        if raw is not None:
            scores["raw"] = {"average_precision": raw, "auroc": None}
        return {"n": n, "positives": 1, "base_rate": 0.1, **scores}

    numbers = {
        "tasks": {"fire": {"K562": cell(10, 0.2, 0.4), "GM12878": cell(20, 0.6, None)}},
        "reconstruction": {"model": {"r2": 0.8, "mse": 0.1}, "pca": {"r2": None, "mse": 0.1}},
    }
    assert metrics_of("evaluate", numbers) == {
        "evaluation_average_precision_ratio representation=embedding task=fire": 0.4,
        "evaluation_average_precision_ratio representation=raw task=fire": 0.4,
        "evaluation_auroc_ratio representation=embedding task=fire": 0.9,
        "evaluation_examples task=fire": 30,
        "evaluation_positives task=fire": 2,
        "evaluation_reconstruction_r2_ratio representation=model": 0.8,
    }


def test_r2_of_levels_is_the_mean_over_cell_types_for_each_representation():
    scores = {"A": {"n": 7, "embedding": {"r2": 0.5}, "raw": {"r2": 0.1}}, "B": {"n": 5, "embedding": {"r2": -0.1}}}
    assert metrics_of("evaluate", {"regression": {"level": scores}}) == {
        "evaluation_regression_r2_ratio representation=embedding task=level": 0.2,
        "evaluation_regression_r2_ratio representation=raw task=level": 0.1,
        "evaluation_examples task=level": 12,
    }


PROMOTION = {"forced": 0, "checks_failed": 2, "champion": "comparable"}
COMPARED = {"tasks": {"mean": {"challenger": 0.5, "champion": 0.6, "delta": -0.1}}}


def test_a_challenger_that_is_held_leaves_the_date_of_the_last_promotion_alone():
    assert metrics_of("promote", {"promote": 0, **PROMOTION, **COMPARED}) == {
        "promotion_decision decision=promote": 0,
        "promotion_decision decision=hold": 1,
        "promotion_forced": 0,
        "promotion_failed_checks": 2,
        "promotion_average_precision_ratio contender=challenger task=mean": 0.5,
        "promotion_average_precision_ratio contender=champion task=mean": 0.6,
    }


def test_a_promotion_has_its_date():
    numbers = metrics_of("promote", {"promote": 1, **PROMOTION, "tasks": {}})
    assert numbers["promotion_decision decision=promote"] == 1
    assert numbers["promotion_last_promoted_timestamp_seconds"] == 1e9


def test_drift():
    numbers = {"drift": 1, "tracks_drifted": 1, "tracks": {"K562-DNase": {"psi": 0.3, "ks": 0.2}}}
    numbers |= {"tracks_warned": 3, "embedding_distance": 0.1}
    assert metrics_of("monitor", {**numbers, "reconstruction_mse": {"chr5": 0.7}}) == {
        "drift_detected": 1,
        "drift_tracks": 1,
        "drift_warned_tracks": 3,
        "drift_embedding_distance_ratio": 0.1,
        "drift_psi_ratio track=K562-DNase": 0.3,
        "drift_ks_ratio track=K562-DNase": 0.2,
        "drift_reconstruction_mse chromosome=chr5": 0.7,
    }


def test_data_and_encoder():
    assert metrics_of(
        "ingest", {"fraction_with_data": 0.9, "covered_fraction_min": 0.1, "covered_fraction_median": 0.5}
    ) == {
        "data_bins_with_data_ratio": 0.9,
        "data_covered_min_ratio": 0.1,
        "data_covered_median_ratio": 0.5,
    }
    assert metrics_of("preprocess", {"fraction_with_data": 0.9}) == {"data_bins_with_data_ratio": 0.9}
    assert metrics_of(
        "export", {"largest_difference": 1e-6, "bytes": {"encoder.onnx": 7, "encoder_stateful.onnx": 9}}
    ) == {
        "encoder_difference_ratio": 1e-6,
        "encoder_bytes": 7,
    }


def test_a_step_without_numbers_of_its_own_has_no_metrics():
    assert metrics_of("simulate", {"anything": 1}) == {}


def test_only_finite_numbers_are_exported():
    assert [finite(value) for value in (1, 0.5, None, True, "1", math.nan, math.inf)] == [1.0, 0.5, *[None] * 5]


def test_names_with_quotes_and_line_breaks_are_kept():
    name = 'a "b"\\\nc'
    assert list(metrics_of("monitor", {"drift": 0, "tracks": {name: {"psi": 1.0}}})) == [
        "drift_detected",
        f"drift_psi_ratio track={name}",
    ]
