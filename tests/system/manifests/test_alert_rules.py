"""Each alert fires when it should and at no other time, by Prometheus's own promtool."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from support.monitoring.alert_rules import WINDOW, alerts, faster, rule_groups
from support.nonempty import nonempty

RUN = 'pipeline="training", step="train"'
OF_RUN = {"pipeline": "training", "step": "train"}
TASK = 'pipeline="training", step="evaluate", task="fire"'
SERVED = 'model="encoder", protocol="rest"'
DAY, HOUR = 86400, 3600


@dataclass(frozen=True)
class Case:
    """What Prometheus sees, and what it makes of it at one moment.

    Parameters
    ----------
    alert, when : str
    series : dict of str to str
        Values, one per `interval`, in promtool's notation.
    at : str
        Time since the first value.
    interval : str
    labels : dict of str to str or None
        Of the alert that fires, without name; None where none does.
    summary : str
        Its annotation.
    """

    alert: str
    when: str
    series: dict[str, str]
    at: str
    interval: str = "1m"
    labels: dict[str, str] | None = None
    summary: str = ""


def failed(reason: str) -> dict[str, str]:
    return {
        f"epilstm_step_success{{{RUN}}}": "0x10",
        f'epilstm_step_failure_info{{{RUN}, reason="{reason}", run_id="ab"}}': "1x10",
    }


def requests(good: str, bad: str, code: str = "500") -> dict[str, str]:
    return {
        f'epilstm_serve_requests_total{{{SERVED}, code="200"}}': good,
        f'epilstm_serve_requests_total{{{SERVED}, code="{code}"}}': bad,
    }


def latencies(all_of_them: str, within: str) -> dict[str, str]:
    return {
        f"epilstm_serve_request_seconds_count{{{SERVED}}}": all_of_them,
        f'epilstm_serve_request_seconds_bucket{{{SERVED}, le="0.5"}}': within,
        f'epilstm_serve_request_seconds_bucket{{{SERVED}, le="+Inf"}}': all_of_them,
    }


def waits(within_50_ms: str) -> dict[str, str]:
    buckets = {"0.05": within_50_ms, "0.1": within_50_ms, "0.2": "0+100x20", "+Inf": "0+100x20"}
    return {
        f'epilstm_serve_queue_seconds_bucket{{model="encoder", le="{edge}"}}': value for edge, value in buckets.items()
    }


def gpu(utilization: str) -> dict[str, str]:
    return {
        f'epilstm_gpu_utilization_ratio{{{RUN}, instance="pod", gpu="0"}}': utilization,
        f'epilstm_run_start_timestamp_seconds{{{RUN}, instance="pod"}}': "0x60",
    }


CASES = (
    Case(
        "EpilstmStepFailed",
        "a step failed",
        failed("track"),
        "1m",
        labels={**OF_RUN, "reason": "track", "run_id": "ab", "severity": "ticket"},
        summary="Step train of pipeline training failed: track (run ab)",
    ),
    Case(
        "EpilstmStepFailed",
        "it has ended well since",
        {**failed("track"), f"epilstm_step_success{{{RUN}}}": "0x4 1x6"},
        "6m",
    ),
    Case("EpilstmStepFailed", "it was interrupted", failed("interrupted"), "1m"),
    Case(
        "EpilstmStepNotResumed",
        "nothing happened for two hours after an interruption",
        {key: f"{value[0]}x200" for key, value in failed("interrupted").items()},
        "2h1m",
        labels={**OF_RUN, "reason": "interrupted", "run_id": "ab", "severity": "ticket"},
        summary="Step train of pipeline training was interrupted and has not been run again",
    ),
    Case("EpilstmStepNotResumed", "it was interrupted a moment ago", failed("interrupted"), "10m"),
    Case(
        "EpilstmNoSuccessfulRun",
        "no step has ended well for nine days",
        {
            'epilstm_step_last_success_timestamp_seconds{pipeline="training", step="ingest"}': "0x220",
            'epilstm_step_last_success_timestamp_seconds{pipeline="training", step="train"}': "3600x220",
        },
        "217h",
        interval="1h",
        labels={"pipeline": "training", "severity": "ticket"},
        summary="No step of pipeline training has ended well for 9d 0h 0m 0s",
    ),
    Case(
        "EpilstmNoSuccessfulRun",
        "one step has ended well this week, the others were taken from the cache",
        {
            'epilstm_step_last_success_timestamp_seconds{pipeline="training", step="ingest"}': f"{3 * DAY}x220",
            'epilstm_step_last_success_timestamp_seconds{pipeline="training", step="train"}': "0x220",
        },
        "217h",
        interval="1h",
    ),
    Case(
        "EpilstmLossNotFinite",
        "training ended so",
        failed("loss_not_finite"),
        "1m",
        labels={**OF_RUN, "reason": "loss_not_finite", "run_id": "ab", "severity": "ticket"},
        summary="Training of pipeline training ended: the loss is not finite (run ab)",
    ),
    Case("EpilstmLossNotFinite", "training failed otherwise", failed("out_of_memory"), "1m"),
    Case(
        "EpilstmGpuUnused",
        "the GPU idles for half an hour",
        gpu("0.02x60"),
        "30m",
        labels={**OF_RUN, "instance": "pod", "gpu": "0", "severity": "ticket"},
        summary="GPU 0 is 2% busy while pipeline training trains",
    ),
    Case("EpilstmGpuUnused", "the GPU computes", gpu("0.8x60"), "30m"),
    Case("EpilstmGpuUnused", "the run began ten minutes ago", gpu("0x60"), "10m"),
    Case(
        "EpilstmAveragePrecisionFell",
        "the latest model is worse than one of two weeks ago",
        {f'epilstm_evaluation_average_precision_ratio{{{TASK}, representation="embedding"}}': "0.4x40 0.3x40"},
        "240h",
        interval="4h",
        labels={"pipeline": "training", "step": "evaluate", "task": "fire", "representation": "embedding"}
        | {"severity": "ticket"},
        summary="mAP of task fire in pipeline training is 0.100 below its best of 30 days",
    ),
    Case(
        "EpilstmAveragePrecisionFell",
        "it is worse by less than chance",
        {f'epilstm_evaluation_average_precision_ratio{{{TASK}, representation="embedding"}}': "0.4x40 0.37x40"},
        "240h",
        interval="4h",
    ),
    Case(
        "EpilstmAveragePrecisionFell",
        "a baseline is worse",
        {f'epilstm_evaluation_average_precision_ratio{{{TASK}, representation="pca"}}': "0.4x40 0.3x40"},
        "240h",
        interval="4h",
    ),
    Case(
        "EpilstmDrift",
        "the monitor found drift",
        {'epilstm_drift_detected{pipeline="training", step="monitor"}': "1x5"},
        "1m",
        labels={"pipeline": "training", "step": "monitor", "severity": "ticket", "action": "retrain"},
        summary="New data of pipeline training differ from the training data",
    ),
    Case(
        "EpilstmDrift",
        "the monitor found none",
        {'epilstm_drift_detected{pipeline="training", step="monitor"}': "0x5"},
        "1m",
    ),
    Case(
        "EpilstmChampionStale",
        "the champion is 91 days old",
        {'epilstm_promotion_last_promoted_timestamp_seconds{pipeline="training", step="promote"}': "0x100"},
        "2184h",
        interval="1d",
        labels={"pipeline": "training", "step": "promote", "severity": "ticket", "action": "retrain"},
        summary="The champion of pipeline training was promoted 91d 0h 0m 0s ago",
    ),
    Case(
        "EpilstmChampionStale",
        "it was replaced on the 50th day",
        {
            'epilstm_promotion_last_promoted_timestamp_seconds{pipeline="training", step="promote"}': (
                f"0x49 {50 * DAY}x50"
            )
        },
        "2184h",
        interval="1d",
    ),
    Case(
        "EpilstmGatewayDown",
        "it does not answer",
        {'up{job="epilstm-pushgateway", instance="gateway"}': "1x2 0x20"},
        "10m",
        labels={"job": "epilstm-pushgateway", "instance": "gateway", "severity": "ticket"},
        summary="The Pushgateway gateway does not answer: runs are not seen",
    ),
    Case(
        "EpilstmGatewayDown",
        "it was restarted",
        {'up{job="epilstm-pushgateway", instance="gateway"}': "1x2 0x2 1x20"},
        "10m",
    ),
    Case(
        "EpilstmGatewayRefusedPush",
        "the last push was refused",
        {
            f'push_time_seconds{{job="epilstm-steps", {RUN}}}': "60x5",
            f'push_failure_time_seconds{{job="epilstm-steps", {RUN}}}': "120x5",
        },
        "3m",
        labels={**OF_RUN, "job": "epilstm-steps", "severity": "ticket"},
        summary="The Pushgateway refused the metrics of step train of pipeline training",
    ),
    Case(
        "EpilstmGatewayRefusedPush",
        "a later push was taken",
        {
            f'push_time_seconds{{job="epilstm-steps", {RUN}}}': "180x5",
            f'push_failure_time_seconds{{job="epilstm-steps", {RUN}}}': "120x5",
        },
        "4m",
    ),
    Case(
        "EpilstmGatewayMetricsStale",
        "a group has not been pushed for 31 days",
        {f'push_time_seconds{{job="epilstm-steps", {RUN}}}': "0x40"},
        "744h",
        interval="1d",
        labels={**OF_RUN, "job": "epilstm-steps", "severity": "ticket"},
        summary="Metrics of step train of pipeline training are 31d 0h 0m 0s old",
    ),
    Case(
        "EpilstmGatewayMetricsStale",
        "it was pushed last week; another job's metrics are old",
        {
            f'push_time_seconds{{job="epilstm-steps", {RUN}}}': f"{25 * DAY}x40",
            'push_time_seconds{job="backup"}': "0x40",
        },
        "744h",
        interval="1d",
    ),
    Case(
        "EpilstmRetrainingNotStarted",
        "submitting fails again and again",
        {'epilstm_alert_receiver_notifications_total{outcome="failed"}': "0+1x20"},
        "15m",
        labels={"outcome": "failed", "severity": "ticket"},
        summary="Alerts ask for retraining and no run can be started",
    ),
    Case(
        "EpilstmRetrainingNotStarted",
        "it failed long ago",
        {'epilstm_alert_receiver_notifications_total{outcome="failed"}': "3x20"},
        "15m",
    ),
    Case(
        "EpilstmServingErrorBudgetBurnsFast",
        "2% of the requests fail for more than an hour",
        requests("0+98x80", "0+2x80"),
        "70m",
        labels={"model": "encoder", "severity": "page"},
        summary="2% of the requests for encoder fail: the error budget of 30 days is gone within days",
    ),
    Case("EpilstmServingErrorBudgetBurnsFast", "a burst of errors", requests("0+98x80", "0x65 0+10x15"), "71m"),
    Case("EpilstmServingErrorBudgetBurnsFast", "errors have ended", requests("0+98x100", "0+2x60 120x40"), "95m"),
    Case(
        "EpilstmServingErrorBudgetBurnsFast",
        "clients are wrong or turned away",
        requests("0+98x80", "0+2x80", code="429"),
        "70m",
    ),
    Case(
        "EpilstmServingErrorBudgetBurnsSlowly",
        "0.2% of the requests fail for days",
        requests("0+998x900", "0+2x900"),
        "73h",
        interval="5m",
        labels={"model": "encoder", "severity": "ticket"},
        summary="0.2% of the requests for encoder fail: the error budget of 30 days will not last",
    ),
    Case(
        "EpilstmServingErrorBudgetBurnsSlowly",
        "0.05% fail, which the objective allows",
        requests("0+9995x900", "0+5x900"),
        "73h",
        interval="5m",
    ),
    Case(
        "EpilstmServingLatencyBudgetBurnsFast",
        "a fifth of the requests are slow for more than an hour",
        latencies("0+100x80", "0+80x80"),
        "70m",
        labels={"model": "encoder", "severity": "page"},
        summary="20% of the requests for encoder take longer than 0.5 s: the budget of 30 days is gone within days",
    ),
    Case("EpilstmServingLatencyBudgetBurnsFast", "2% are slow", latencies("0+100x80", "0+98x80"), "70m"),
    Case("EpilstmServingLatencyBudgetBurnsFast", "nobody asks", latencies("5x80", "0x80"), "70m"),
    Case(
        "EpilstmServingLatencyBudgetBurnsSlowly",
        "2% are slow for days",
        latencies("0+100x900", "0+98x900"),
        "73h",
        interval="5m",
        labels={"model": "encoder", "severity": "ticket"},
        summary="2% of the requests for encoder take longer than 0.5 s: the budget of 30 days will not last",
    ),
    Case(
        "EpilstmServingLatencyBudgetBurnsSlowly",
        "half a percent is slow, which the objective allows",
        latencies("0+1000x900", "0+995x900"),
        "73h",
        interval="5m",
    ),
    Case(
        "EpilstmServingSaturated",
        "a tenth of the requests wait for more than 100 ms",
        waits("0+90x20"),
        "12m",
        labels={"model": "encoder", "severity": "ticket"},
        summary="Requests for encoder wait 150ms for a worker (95th percentile)",
    ),
    Case("EpilstmServingSaturated", "nearly all begin at once", waits("0+99x20"), "12m"),
    Case(
        "EpilstmServingShedding",
        "a tenth is turned away",
        requests("0+90x20", "0+10x20", code="429"),
        "10m",
        labels={"severity": "page"},
        summary="10% of all requests are turned away: the queue is full",
    ),
    Case(
        "EpilstmServingShedding",
        "gRPC requests are turned away",
        requests("0+90x20", "0+10x20", code="RESOURCE_EXHAUSTED"),
        "10m",
        labels={"severity": "page"},
        summary="10% of all requests are turned away: the queue is full",
    ),
    Case("EpilstmServingShedding", "one in a thousand is", requests("0+999x20", "0+1x20", code="429"), "10m"),
    Case(
        "EpilstmServerNotReady",
        "it has no model",
        {'epilstm_serve_ready{instance="pod"}': "0x20"},
        "6m",
        labels={"instance": "pod", "severity": "page"},
        summary="Server pod has no model to answer with",
    ),
    Case("EpilstmServerNotReady", "it starts", {'epilstm_serve_ready{instance="pod"}': "0x2 1x20"}, "6m"),
    Case(
        "EpilstmModelRefused",
        "a new model is refused",
        {'epilstm_serve_model_reloads_total{instance="pod", result="refused"}': "0x5 1x20"},
        "10m",
        labels={"instance": "pod", "result": "refused", "severity": "ticket"},
        summary="Server pod refuses the new model and keeps the old one",
    ),
    Case(
        "EpilstmModelRefused",
        "a new model is taken",
        {
            'epilstm_serve_model_reloads_total{instance="pod", result="taken"}': "0x5 1x20",
            'epilstm_serve_model_reloads_total{instance="pod", result="refused"}': "0x25",
        },
        "10m",
    ),
)


def promtool_test(case: Case) -> dict[str, Any]:
    expected = []
    if case.labels is not None:
        annotations = {"summary": case.summary, "runbook": f"docs/runbook.md#{case.alert.lower()}"}
        expected.append({"exp_labels": case.labels, "exp_annotations": annotations})
    return {
        "rule_files": ["rules.yml"],
        "evaluation_interval": case.interval,
        "tests": [
            {
                "interval": case.interval,
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
            }
        ],
    }


@pytest.fixture(scope="session")
def rules_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.yml").write_text(yaml.safe_dump(rule_groups()))
    return folder


def test_promtool_takes_the_rules(programs, rules_folder):
    completed = subprocess.run(
        [programs["promtool"], "check", "rules", "--lint=all", "--lint-fatal", "rules.yml"],
        cwd=rules_folder,
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.alert}: {'' if case.labels else 'not when '}{case.when}"
)
def test_an_alert_fires_when_it_should_and_at_no_other_time(case, programs, rules_folder, tmp_path):
    (tmp_path / "rules.yml").symlink_to(rules_folder / "rules.yml")
    (tmp_path / "test.yml").write_text(yaml.safe_dump(promtool_test(case)))
    completed = subprocess.run(
        [programs["promtool"], "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_every_alert_is_seen_to_fire_and_not_to_fire():
    for fires in (True, False):
        assert {case.alert for case in CASES if (case.labels is not None) == fires} == set(alerts())


def test_faster_rules_differ_in_windows_and_patience_only():
    before, after = rule_groups(), faster(rule_groups(), 60)
    changed = 0
    for slow, fast in nonempty(zip(before["groups"], after["groups"], strict=True)):
        for one, other in nonempty(zip(slow["rules"], fast["rules"], strict=True)):
            assert WINDOW.sub("[]", one["expr"]) == WINDOW.sub("[]", other["expr"])
            assert {key: one[key] for key in one if key not in ("expr", "for")} == {
                key: other[key] for key in other if key not in ("expr", "for")
            }
            changed += one != other
    assert changed
    assert faster({"groups": [{"rules": [{"expr": "rate(x[1h])", "for": "5m"}]}]}, 60)["groups"][0]["rules"] == [
        {"expr": "rate(x[60000ms])", "for": "5000ms"}
    ]
