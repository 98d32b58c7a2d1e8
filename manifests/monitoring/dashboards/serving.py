"""Dashboard of the server: traffic, errors, latency and where it comes from, saturation, models, inputs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from manifests.monitoring.dashboards.frame import MODEL, PROCESS, RELOADS, SERVER, choice, frame, namespace
from manifests.monitoring.dashboards.panels import (
    ORANGE,
    RED,
    AnyPanel,
    Query,
    Words,
    bars,
    density,
    number,
    over_time,
    rows,
)

#: Answers that count against the objective, and requests that are turned away; as in serving-rules.yaml.
ERRORS = 'code=~"5..|INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED"'
SHED = 'code=~"429|RESOURCE_EXHAUSTED"'

#: Probes, scrapes, and what is refused before its model is known.
NO_MODEL = f'{SERVER}, model=""'

#: Shares of the requests that may fail or be slower than half a second; as in serving-rules.yaml.
ERROR_BUDGET, SLOW_BUDGET = 0.001, 0.01

WINDOWS = ("5m", "1h", "6h", "3d")
RATE = "[$__rate_interval]"

#: Tracks that are shown one by one; a model may have a thousand.
MOST = 15


def build() -> Dashboard:
    """The dashboard."""
    return frame(
        "serving",
        "Epi-LSTM: serving",
        "The server of embeddings: how much is asked, what goes wrong, how long it takes and why, how full it is, "
        "which model answers, and whether its inputs change.",
        [
            namespace("epilstm_serve_ready"),
            # ".+" since requests for no model (probes, scrapes) have an empty label.
            choice("model", "Model", "epilstm_serve_model_info", SERVER, everything=".+"),
        ],
        [RELOADS],
        [
            ("At a glance", _glance()),
            ("Objectives", _objectives()),
            ("Traffic and errors", _traffic()),
            ("Latency", _latency()),
            ("Saturation", _saturation()),
            ("Models", _models()),
            ("Inputs", _inputs()),
        ],
        "now-6h",
    )


def _rate(name: str, selector: str = MODEL) -> str:
    return f"rate(epilstm_serve_{name}{{{selector}}}{RATE})"


def _share(selector: str) -> str:
    """Share of the requests with certain answers; 0 where there are none of these, nothing without requests."""
    every = f"sum({_rate('requests_total')}) > 0"
    return f"(sum({_rate('requests_total', f'{MODEL}, {selector}')}) or 0 * ({every})) / ({every})"


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share:g}, sum by (le) ({_rate(f'{name}_bucket')}))"


def _glance() -> list[AnyPanel]:
    return [
        number(
            Words("Ready", "Servers that answer requests.", "short", "EpilstmServerNotReady"),
            Query(f"sum(epilstm_serve_ready{{{SERVER}}})"),
            width=3,
        ),
        number(
            Words("Requests", "Inference requests per second.", "reqps"),
            Query(f"sum({_rate('requests_total')})"),
            width=3,
        ),
        number(
            Words(
                "Errors",
                "Share of the inference requests that the server failed to answer.",
                "percentunit",
                "EpilstmServingErrorBudgetBurnsFast",
            ),
            Query(_share(ERRORS)),
            width=3,
            none="no requests",
            thresholds=[(ERROR_BUDGET, ORANGE), (0.01, RED)],
        ),
        number(
            Words(
                "Turned away",
                "Share of the inference requests that were refused since too many waited.",
                "percentunit",
                "EpilstmServingShedding",
            ),
            Query(_share(SHED)),
            width=3,
            none="no requests",
            thresholds=[(0.001, ORANGE), (0.01, RED)],
        ),
        number(
            Words(
                "Latency, 99%",
                "99% of the requests are answered within this time.",
                "s",
                "EpilstmServingLatencyBudgetBurnsFast",
            ),
            Query(_quantile(0.99, "request_seconds")),
            width=3,
            none="no requests",
            thresholds=[(0.25, ORANGE), (0.5, RED)],
        ),
        number(
            Words("Bins", "Bins of 25 bp embedded per second.", "short"),
            Query(f"sum({_rate('bins_total')})"),
            width=3,
        ),
        number(
            Words(
                "Versions served",
                "Versions of the model among all servers; more than one only while a new one is rolled out or tried.",
                "short",
            ),
            Query(f"count(count by (version) (epilstm_serve_model_info{{{MODEL}}}))"),
            width=3,
            thresholds=[(2, ORANGE)],
        ),
        number(
            Words("Alerts", "Alerts about the server; the table below names them.", "short"),
            Query(f"count({_ALERTS})"),
            width=3,
            thresholds=[(1, RED)],
            none="0",
        ),
    ]


_ALERTS = 'ALERTS{alertstate="firing", alertname=~"Epilstm(Serv|Model).*"}'


def _objectives() -> list[AnyPanel]:
    def burn(what: str, budget: float) -> list[Query]:
        return [
            Query(
                f"max by (model) (epilstm:serve_{what}:ratio_rate{window}{{{MODEL}}}) / {budget:g}",
                f"{{{{model}}}} {window}",
            )
            for window in WINDOWS
        ]

    return [
        over_time(
            Words(
                "Error budget: rate of burning",
                f"Share of requests that fail, over several windows, as a multiple of the {ERROR_BUDGET:.1%} that may: "
                "at 1 the budget lasts 30 days, at 14.4 two. An alert needs a long and a short window beyond it.",
                "short",
                "EpilstmServingErrorBudgetBurnsFast",
            ),
            *burn("errors", ERROR_BUDGET),
            thresholds=[(1, ORANGE), (14.4, RED)],
        ),
        over_time(
            Words(
                "Latency budget: rate of burning",
                f"Share of requests slower than 0.5 s, likewise, as a multiple of the {SLOW_BUDGET:.0%} that may be.",
                "short",
                "EpilstmServingLatencyBudgetBurnsFast",
            ),
            *burn("slow", SLOW_BUDGET),
            thresholds=[(1, ORANGE), (14.4, RED)],
        ),
        rows(
            Words(
                "Alerts firing", "What each means and what to do is in the runbook, under the alert's name.", "short"
            ),
            {"": _ALERTS},
            {"alertname": "Alert", "severity": "Severity", "model": "Model", "instance": "Server"},
            width=8,
        ),
    ]


def _traffic() -> list[AnyPanel]:
    return [
        over_time(
            Words("Requests by protocol", "Inference requests per second.", "reqps"),
            Query(f"sum by (model, protocol) ({_rate('requests_total')})", "{{model}} {{protocol}}"),
        ),
        over_time(
            Words(
                "Answers by code",
                "HTTP status codes of REST, names of status codes of gRPC. 4xx: the client's error; 429 and "
                "RESOURCE_EXHAUSTED: turned away; 5xx, INTERNAL and UNAVAILABLE: the server's.",
                "reqps",
            ),
            Query(f"sum by (protocol, code) ({_rate('requests_total')})", "{{protocol}} {{code}}"),
            stacked=True,
        ),
        over_time(
            Words(
                "Errors and refusals",
                "Shares of the inference requests: failed by the server, and turned away.",
                "percentunit",
                "EpilstmServingErrorBudgetBurnsSlowly",
            ),
            Query(_share(ERRORS), "failed"),
            Query(_share(SHED), "turned away"),
            limits=(0, 0.01),
        ),
        over_time(
            Words(
                "Requests for no model",
                "Probes, scrapes, metadata of the server, and requests that were refused before their model was known: "
                "no token (401), an address or a model that is not there (404).",
                "reqps",
            ),
            Query(f"sum by (protocol, code) ({_rate('requests_total', NO_MODEL)})", "{{protocol}} {{code}}"),
        ),
        over_time(
            Words("Bins embedded", "Bins of 25 bp per second.", "short"),
            Query(f"sum by (model) ({_rate('bins_total')})", "{{model}}"),
        ),
        over_time(
            Words("Bytes received and sent", "Bodies of requests and of answers, per second.", "binBps"),
            Query(f"sum by (protocol) ({_rate('received_bytes_total', SERVER)})", "{{protocol}} received"),
            Query(f"sum by (protocol) ({_rate('sent_bytes_total', SERVER)})", "{{protocol}} sent"),
        ),
    ]


def _mean(name: str) -> str:
    return f"sum({_rate(f'{name}_sum')}) / (sum({_rate(f'{name}_count')}) > 0)"


def _latency() -> list[AnyPanel]:
    whole, queue, compute = (_mean(f"{part}_seconds") for part in ("request", "queue", "compute"))
    return [
        over_time(
            Words(
                "Latency quantiles",
                "From a whole request to its answer, refused ones included: where many are turned away it looks short.",
                "s",
                "EpilstmServingLatencyBudgetBurnsFast",
            ),
            *(Query(_quantile(share, "request_seconds"), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
            thresholds=[(0.5, RED)],
        ),
        over_time(
            Words(
                "Where the time goes",
                "Mean over requests: waiting for a worker, the encoder, and the rest (reading, checking, writing). "
                "Much waiting: more replicas; much of the encoder: larger requests, or slower processors.",
                "s",
                "EpilstmServingSaturated",
            ),
            Query(queue, "waiting"),
            Query(compute, "encoder"),
            Query(f"clamp_min({whole} - {queue} - {compute}, 0)", "rest"),
            stacked=True,
        ),
        density(
            Words("Latency, all requests", "How many requests took how long, over time.", "s"),
            Query(f"sum by (le) (increase(epilstm_serve_request_seconds_bucket{{{MODEL}}}{RATE}))", "{{le}}"),
            width=8,
        ),
        over_time(
            Words("Waiting for a worker", "Quantiles of the time in the queue.", "s", "EpilstmServingSaturated"),
            *(Query(_quantile(share, "queue_seconds"), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
        ),
        over_time(
            Words("Encoder", "Quantiles of the time from a request's first call of the encoder to its last.", "s"),
            *(Query(_quantile(share, "compute_seconds"), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
        ),
        over_time(
            Words("Latency by protocol", "95% of the requests are answered within this time.", "s"),
            Query(
                f"histogram_quantile(0.95, sum by (le, model, protocol) ({_rate('request_seconds_bucket')}))",
                "{{model}} {{protocol}}",
            ),
        ),
    ]


def _saturation() -> list[AnyPanel]:
    def process(value: str) -> str:
        return f"{value} and on ({PROCESS}) epilstm_serve_ready{{{SERVER}}}"

    return [
        over_time(
            Words(
                "Requests that wait",
                "Length of the queue, of the fullest server. More than its limit (64 unless set) are turned away.",
                "short",
                "EpilstmServingSaturated",
            ),
            Query(f"max(epilstm_serve_queue_length{{{SERVER}}})", "fullest server"),
            Query(f"avg(epilstm_serve_queue_length{{{SERVER}}})", "mean"),
        ),
        over_time(
            Words("Requests in flight", "Being answered, those that wait included, over all servers.", "short"),
            Query(f"sum by (protocol) (epilstm_serve_in_flight_requests{{{SERVER}}})", "{{protocol}}"),
        ),
        over_time(
            Words(
                "Requests turned away",
                "Requests per second that were refused since too many waited; clients are asked to retry.",
                "reqps",
                "EpilstmServingShedding",
            ),
            Query(f"sum by (protocol) ({_rate('requests_total', f'{SERVER}, {SHED}')})", "{{protocol}}"),
        ),
        over_time(
            Words(
                "Workers busy",
                "Seconds per second within calls of the encoder, of the busiest server; as many as it has workers "
                "(--threads) is all it can.",
                "short",
            ),
            Query(f"max(sum by ({PROCESS}) ({_rate('call_seconds_total')}))", "busiest server"),
        ),
        density(
            Words(
                "Sequences per call",
                "How many sequences the encoder gets at a time. Larger batches under load are what batching is for.",
                "short",
            ),
            Query(f"sum by (le) (increase(epilstm_serve_batch_sequences_bucket{{{MODEL}}}{RATE}))", "{{le}}"),
            width=8,
        ),
        over_time(
            Words("Calls of the encoder", "Per second, and the mean number of sequences in a call.", "short"),
            Query(f"sum by (model) ({_rate('batch_sequences_count')})", "{{model}} calls per second"),
            Query(_mean("batch_sequences"), "sequences per call"),
        ),
        over_time(
            Words("Processors in use", "Processor seconds per second of the busiest server.", "short"),
            Query(f"max({process(f'rate(process_cpu_seconds_total{{{SERVER}}}{RATE})')})", "busiest server"),
        ),
        over_time(
            Words("Memory in use", "Resident memory of the largest server.", "bytes"),
            Query(f"max({process(f'process_resident_memory_bytes{{{SERVER}}}')})", "largest server"),
        ),
        over_time(
            Words("Open connections", "HTTP connections over all servers.", "short"),
            Query(f"sum(epilstm_serve_open_connections{{{SERVER}}})", "connections"),
        ),
    ]


def _models() -> list[AnyPanel]:
    return [
        rows(
            Words("Models served", "Version (first digits of the fingerprint) by server, and since when.", "short"),
            {
                "Loaded": f"1000 * (epilstm_serve_model_info{{{MODEL}}} * on ({PROCESS}) group_left () "
                f"epilstm_serve_model_loaded_timestamp_seconds{{{SERVER}}})"
            },
            {
                "model": "Model",
                "version": "Version",
                "provider": "Runs on",
                "runtime": "onnxruntime",
                "instance": "Server",
            },
            {"Loaded": "dateTimeAsIso"},
            width=12,
        ),
        over_time(
            Words(
                "Servers by version",
                "How many servers have each version of the model; crossing lines are a roll-out.",
                "short",
            ),
            Query(f"count by (model, version) (epilstm_serve_model_info{{{MODEL}}})", "{{model}} {{version}}"),
            width=6,
            steps=True,
        ),
        over_time(
            Words(
                "New models",
                "Models that were taken or refused, per rate interval. A refused one leaves the old one in place.",
                "short",
                "EpilstmModelRefused",
            ),
            Query(
                f"sum by (result) (increase(epilstm_serve_model_reloads_total{{{SERVER}}}{RATE}))",
                "{{result}}",
            ),
            width=6,
        ),
    ]


def _inputs() -> list[AnyPanel]:
    def counted(name: str, window: str) -> str:
        return f"sum by (track) (rate(epilstm_serve_input_{name}_total{{{SERVER}}}[{window}]))"

    def present(window: str) -> str:
        return f"(({counted('values', window)} - {counted('missing_values', window)}) > 0)"

    def mean(window: str) -> str:
        return f"({counted('arcsinh_sum', window)} / {present(window)})"

    now, usual = "$__rate_interval", "$__range"
    deviation = f"sqrt(clamp_min({counted('arcsinh_squares', usual)} / {present(usual)} - {mean(usual)} ^ 2, 1e-6))"
    shift = f"abs({mean(now)} - {mean(usual)}) / {deviation}"
    missing = f"({counted('missing_values', now)} / ({counted('values', now)} > 0))"
    return [
        over_time(
            Words(
                "Missing values",
                "Share of the values of requests (a sample of them) that are NaN, by track.",
                "percentunit",
            ),
            Query(f"max({missing})", "worst track"),
            Query(f"quantile(0.5, {missing})", "median track"),
            limits=(0, 1),
        ),
        bars(
            Words("Tracks with the most missing values", "Share of values that are NaN.", "percentunit"),
            Query(f"topk({MOST}, {missing})", "{{track}}"),
            limits=(0, 1),
        ),
        over_time(
            Words(
                "Mean of the inputs",
                "Mean of arcsinh(signal) over the values of requests, over the tracks: a jump of all is another scale "
                "of the signal, such as arcsinh taken twice or never.",
                "short",
            ),
            Query(f"max({mean(now)})", "highest track"),
            Query(f"quantile(0.5, {mean(now)})", "median track"),
            Query(f"min({mean(now)})", "lowest track"),
        ),
        over_time(
            Words(
                "Shift of the inputs",
                "Distance of a track's mean from its mean over the whole time range shown, in standard deviations of "
                "its values.",
                "short",
                "EpilstmDrift",
            ),
            Query(f"max({shift})", "worst track"),
            Query(f"quantile(0.5, {shift})", "median track"),
            width=12,
            limits=(0, 1),
        ),
        bars(
            Words(
                "Tracks whose inputs shifted most",
                "As before, at the end of the time range. The step monitor compares with the training data.",
                "short",
                "EpilstmDrift",
            ),
            Query(f"topk({MOST}, {shift})", "{{track}}"),
            width=12,
            thresholds=[(0.5, ORANGE), (1, RED)],
        ),
    ]
