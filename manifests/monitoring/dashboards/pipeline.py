"""Dashboard of the pipeline's runs: what ran, what failed and why, how long it took and what it used."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from manifests.monitoring.dashboards.frame import (
    FAILURES,
    PIPELINE,
    PROCESS,
    PROMOTIONS,
    STEP,
    choice,
    frame,
    namespace,
)
from manifests.monitoring.dashboards.panels import (
    GREEN,
    ORANGE,
    RED,
    AnyPanel,
    Query,
    Words,
    number,
    over_time,
    rows,
    states,
)

BY_STEP = "namespace, pipeline, step"
BY_PART = f"{BY_STEP}, part"
NAMED = "{{pipeline}} {{step}}"


def build() -> Dashboard:
    """The dashboard."""
    return frame(
        "pipeline",
        "Epi-LSTM: pipeline",
        "Runs of the pipeline's steps: which failed and why, how long they took, what they read, wrote and used.",
        [
            namespace("epilstm_step_success"),
            choice("pipeline", "Pipeline", "epilstm_step_success", 'namespace=~"$namespace"'),
            choice("step", "Step", "epilstm_step_success", PIPELINE),
        ],
        [FAILURES, PROMOTIONS],
        [
            ("At a glance", _glance()),
            ("Failures", _failures()),
            ("Time and size", _sizes()),
            ("Data", _data()),
            ("Under way (runs with --metrics-port)", _live()),
        ],
        "now-7d",
    )


def _runs(metric: str) -> str:
    """How many runs a timestamp has seen in the time range: its changes, and the run that is there at its start."""
    moments = f"max by ({BY_PART}) ({metric}{{{STEP}}})"
    inside = f"min_over_time({moments}[$__range:]) > bool (time() - $__range_s)"
    return f"sum(changes({moments}[$__range:]) + ({inside}))"


def _glance() -> list[AnyPanel]:
    alerts = 'ALERTS{alertstate="firing", alertname=~"Epilstm.*", alertname!~"Epilstm(Serv|Model).*"}'
    return [
        number(
            Words(
                "Steps whose last run failed",
                "Steps, or parts of a step, whose last run ended with an error and that no later run has made good.",
                "short",
                "EpilstmStepFailed",
            ),
            Query(f"sum(1 - max by ({BY_PART}) (epilstm_step_success{{{STEP}}}))"),
            thresholds=[(1, RED)],
        ),
        number(
            Words(
                "Runs that ended well",
                "Runs of single steps in the time range. Counted from the times that the Pushgateway was scraped with: "
                "of runs of one step within one scrape interval, one is seen.",
                "short",
            ),
            Query(_runs("epilstm_step_last_success_timestamp_seconds")),
            decimals=0,
        ),
        number(
            Words("Runs that failed", "Runs of single steps in the time range, counted likewise.", "short"),
            Query(_runs("epilstm_step_last_failure_timestamp_seconds")),
            thresholds=[(1, ORANGE)],
            none="0",
            decimals=0,
        ),
        number(
            Words(
                "Since anything ended well",
                "Time since the last run of any step of the pipeline that ended well.",
                "s",
                "EpilstmNoSuccessfulRun",
            ),
            Query(
                f"time() - max by (namespace, pipeline) (epilstm_step_last_success_timestamp_seconds{{{PIPELINE}}})",
                "{{pipeline}}",
            ),
            thresholds=[(7 * 86400, ORANGE), (8 * 86400, RED)],
        ),
        number(
            Words(
                "Since metrics were pushed",
                "Age of the newest metrics that the Pushgateway holds. It keeps what was pushed until it is deleted: "
                "old numbers look like present ones.",
                "s",
                "EpilstmGatewayMetricsStale",
            ),
            Query(f'time() - max(push_time_seconds{{job="epilstm-steps", {STEP}}})'),
            thresholds=[(30 * 86400, ORANGE)],
        ),
        number(
            Words(
                "Alerts",
                "Alerts of the pipeline and its models; the table below names them.",
                "short",
            ),
            Query(f"count({alerts})"),
            thresholds=[(1, RED)],
            none="0",
        ),
        states(
            Words(
                "Outcome of the last run of each step",
                "Green after a run that ended well, red after one that failed.",
                "short",
                "EpilstmStepFailed",
            ),
            Query(f"min by ({BY_STEP}) (epilstm_step_success{{{STEP}}})", NAMED),
            {"1": ("ended well", GREEN), "0": ("failed", RED)},
            width=14,
            height=10,
        ),
        rows(
            Words(
                "Alerts firing", "What each means and what to do is in the runbook, under the alert's name.", "short"
            ),
            {"": alerts},
            {
                "alertname": "Alert",
                "severity": "Severity",
                "pipeline": "Pipeline",
                "step": "Step",
                "reason": "Reason",
                "task": "Task",
            },
            width=10,
            height=10,
        ),
    ]


def _last(moment: str, info: str, *values: str) -> list[str]:
    """When (milliseconds), and other values of the last run, each with the labels of an info metric."""

    def value_of(metric: str) -> str:
        return (
            f"epilstm_step_{info}{{{STEP}}} * on (namespace, pipeline, step, part) group_left () "
            f"max by ({BY_PART}) ({metric}{{{STEP}}})"
        )

    return [f"1000 * {value_of(moment)}", *map(value_of, values)]


def _failures() -> list[AnyPanel]:
    run = {"pipeline": "Pipeline", "step": "Step", "part": "Part"}
    [failed] = _last("epilstm_step_last_failure_timestamp_seconds", "failure_info")
    succeeded, took = _last("epilstm_step_last_success_timestamp_seconds", "info", "epilstm_step_duration_seconds")
    return [
        rows(
            Words(
                "Last failure of each step",
                "Also of steps that have ended well since. The reason is one of a few words (docs/metrics.md); the "
                "run's log lines carry the same run id as trace_id.",
                "short",
                "EpilstmStepFailed",
            ),
            {"When": failed},
            {**run, "reason": "Reason", "run_id": "Run"},
            {"When": "dateTimeAsIso"},
            width=10,
            height=9,
            first="When",
        ),
        rows(
            Words(
                "Last run of each step that ended well",
                "With versions (first digits of fingerprints) of the data it read and of the model it made or used.",
                "short",
            ),
            {"When": succeeded, "Took": took},
            {
                **run,
                "version": "Package",
                "data_version": "Data",
                "model_version": "Model",
                "run_id": "Run",
            },
            {"When": "dateTimeAsIso", "Took": "s"},
            width=14,
            height=9,
            first="When",
        ),
    ]


def _whole(metric: str) -> Query:
    return Query(f'max by ({BY_STEP}) ({metric}{{{STEP}, part=""}})', NAMED)


def _part(metric: str, word: str) -> Query:
    return Query(f'max by ({BY_STEP}) ({metric}{{{STEP}, part!=""}})', f"{NAMED}, {word} part")


def _sizes() -> list[AnyPanel]:
    return [
        over_time(
            Words(
                "Duration",
                "Wall time of each step's last run that ended well; where a step is fanned out, also of its slowest "
                "part. The run after the parts only puts them together.",
                "s",
            ),
            _whole("epilstm_step_duration_seconds"),
            _part("epilstm_step_duration_seconds", "slowest"),
            steps=True,
        ),
        over_time(
            Words(
                "Throughput",
                "Bins of 25 bp worked on, per second of wall time. A fall at the same size of data is a slower disk, "
                "network or machine.",
                "short",
            ),
            _whole("epilstm_step_throughput_bins_per_second"),
            steps=True,
        ),
        over_time(
            Words(
                "Peak memory",
                "Largest resident memory of the process or of one of its workers. Compare it with the memory limit of "
                "the step's pod: beyond it the run ends as killed.",
                "bytes",
                "EpilstmStepFailed",
            ),
            _whole("epilstm_step_peak_memory_bytes"),
            _part("epilstm_step_peak_memory_bytes", "largest"),
            steps=True,
        ),
        over_time(
            Words("Bins", "Bins of 25 bp that the last run worked on.", "short"),
            _whole("epilstm_step_bins"),
            steps=True,
        ),
        over_time(
            Words("Tracks", "Tracks (cell type and assay) that the last run worked on.", "short"),
            _whole("epilstm_step_tracks"),
            steps=True,
        ),
        over_time(
            Words(
                "Retries",
                "Further attempts at remote reads that failed, in the last run; more than a few: look at the source.",
                "short",
            ),
            _whole("epilstm_step_retries"),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words("Read", "Size on disk of the last run's inputs.", "bytes"),
            _whole("epilstm_step_input_bytes"),
            width=12,
            steps=True,
        ),
        over_time(
            Words("Written", "Size on disk of the last run's outputs.", "bytes"),
            _whole("epilstm_step_output_bytes"),
            width=12,
            steps=True,
        ),
    ]


def _data() -> list[AnyPanel]:
    def share(metric: str) -> Query:
        return Query(f"min by ({BY_STEP}) ({metric}{{{STEP}}})", NAMED)

    return [
        over_time(
            Words(
                "Bins with data",
                "Share of the bins in which at least one track has data. A fall means that tracks are cut off or that "
                "the regions changed.",
                "percentunit",
            ),
            share("epilstm_data_bins_with_data_ratio"),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words(
                "Coverage of the sparsest track",
                "Share of the bins that the track with the fewest covers; near 0 it is all but empty.",
                "percentunit",
            ),
            share("epilstm_data_covered_min_ratio"),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words("Coverage of the median track", "Share of the bins that half of the tracks cover.", "percentunit"),
            share("epilstm_data_covered_median_ratio"),
            steps=True,
            limits=(0, 1),
        ),
    ]


def _live() -> list[AnyPanel]:
    under_way = f"and on ({PROCESS}, step) epilstm_run_info{{{STEP}}}"

    def process(value: str) -> Query:
        run = f"max by ({PROCESS}, pipeline, step) (epilstm_run_info{{{STEP}}})"
        return Query(f"{value} * on ({PROCESS}) group_left (pipeline, step) {run}", NAMED)

    def loss(metric: str, legend: str) -> Query:
        return Query(f"max by ({BY_STEP}) ({metric}{{{STEP}}} {under_way})", f"{{{{pipeline}}}} {legend}")

    def gpu(metric: str, legend: str) -> Query:
        return Query(
            f"max by (namespace, instance, gpu) ({metric}{{{STEP}}})", f"{{{{instance}}}} GPU {{{{gpu}}}}{legend}"
        )

    return [
        over_time(
            Words(
                "Progress",
                "Share of each stage that is done. A line that stays level for long is a run that hangs.",
                "percentunit",
            ),
            Query(f"max by ({BY_STEP}, part, stage) (epilstm_progress_ratio{{{STEP}}})", "{{step}} {{part}} {{stage}}"),
            limits=(0, 1),
        ),
        over_time(
            Words(
                "Work per second",
                "In the unit of the stage: tracks, bins, optimiser steps or classifiers.",
                "short",
            ),
            Query(
                f"sum by ({BY_STEP}, stage) (rate(epilstm_progress_work_total{{{STEP}}}[$__rate_interval]))",
                "{{step}} {{stage}}",
            ),
        ),
        over_time(
            Words(
                "Loss of the training under way",
                "Mean squared error by epoch, on the training and on the validation chromosomes. Validation that rises "
                "while training falls: it no longer gets better.",
                "short",
                "EpilstmLossNotFinite",
            ),
            loss("epilstm_training_train_mse", "training"),
            loss("epilstm_training_validation_mse", "validation"),
            limits=(None, None),
        ),
        over_time(
            Words("Learning rate", "Of the last optimiser step of the last epoch.", "sci"),
            Query(f"max by ({BY_STEP}) (epilstm_training_learning_rate{{{STEP}}})", NAMED),
        ),
        over_time(
            Words("Processors in use", "Processor seconds per second, of the step's own process.", "short"),
            process("rate(process_cpu_seconds_total[$__rate_interval])"),
        ),
        over_time(
            Words("Memory in use", "Resident memory of the step's own process.", "bytes"),
            process("process_resident_memory_bytes"),
        ),
        over_time(
            Words(
                "GPU busy",
                "Share of the time in which the GPU computes. Low while training: the data do not come fast enough, or "
                "the run does not use it.",
                "percentunit",
                "EpilstmGpuUnused",
            ),
            gpu("epilstm_gpu_utilization_ratio", ""),
            width=12,
            limits=(0, 1),
        ),
        over_time(
            Words("GPU memory", "In use, and what there is.", "bytes"),
            gpu("epilstm_gpu_memory_used_bytes", ", used"),
            gpu("epilstm_gpu_memory_size_bytes", ", size"),
            width=12,
        ),
    ]
