"""``epilstm pipeline retrain-on-alert``: from Alertmanager's notifications to runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cluster_options import (
    PATH,
    cluster_of,
    connect,
    connection_options,
    package_of,
    package_options,
    parameters_given,
    pinned,
    run_options,
)
from pipelines.dry_run import experiment_requests, placeholder_reference, print_requests

if TYPE_CHECKING:
    pass


@click.command("retrain-on-alert", short_help="Start a run when an alert asks for it.")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="0.0.0.0 is every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=9095, show_default=True, help="0 takes a free one.")
@click.option(
    "--webhook-token-file",
    required=True,
    type=PATH,
    metavar="FILE",
    help="Bearer token that Alertmanager must send (http_config.authorization); read again each time.",
)
@click.option("--journal", required=True, type=PATH, metavar="FILE", help="What was started when; kept over restarts.")
@click.option("--cooldown", default="24h", show_default=True, metavar="TIME", help="Between two runs at least.")
@package_options
@click.option(
    "--version", "version_name", metavar="NAME", help="Run this registered version, not the local compiled file."
)
@run_options
@connection_options
def retrain_on_alert(
    listen: str,
    port: int,
    webhook_token_file: Path,
    journal: Path,
    cooldown: str,
    version_name: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Receive Alertmanager's notifications at /alerts, and start a run for each alert with the label action=retrain.

    An alert starts one run however often it is sent, and none within the cooldown after another. Metrics are at
    /metrics, health at /healthz.
    """
    import signal
    import threading

    from epilstm.console import log
    from epilstm.serve.bearer import read_token
    from pipelines import alert_webhook, cron, runs

    connection = connect(options)
    package = package_of(options)
    parameters = parameters_given(package.spec, options, package.digest) if not version_name else {}
    arguments = {"service_account": options["service_account"], "pipeline_root": options["pipeline_root"]}

    def body(name: str, experiment: str, source: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        return runs.run_body(name, experiment, given, source, **arguments)

    if dry_run:
        source = {"pipeline_spec": package.as_sent}
        if version_name:
            source = {"pipeline_version_reference": placeholder_reference(package.name, version_name)}
        experiment = options["experiment"]
        sent = body("retraining-<alert>", f"<id of experiment {experiment}>", source, parameters)
        print_requests(
            [
                *experiment_requests(experiment, connection),
                {"method": "POST", "path": "/apis/v2beta1/runs", "unless": "it is there", "body": sent},
            ]
        )
        return

    def start(name: str) -> str:
        cluster = cluster_of(connection)
        source, given = {"pipeline_spec": package.as_sent}, parameters
        if version_name:
            source, given = pinned(cluster, package, version_name, options)
        experiment = runs.experiment_id(cluster, options["experiment"])
        return runs.submit_unless_there(cluster, body(name, experiment, source, given)).id

    def token() -> str:
        return read_token(webhook_token_file, "--webhook-token-file")

    token()
    receiver = alert_webhook.Receiver(start, journal, cron.interval_seconds(cooldown, "--cooldown"))
    server = alert_webhook.listen(receiver, listen, port, token)

    def stop(number: int, frame: object) -> None:
        # From a thread: shutting down waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log.info(
        f"waiting for alerts on {listen}, port {server.server_port}", extra={"fields": {"port": server.server_port}}
    )
    with server:
        server.serve_forever(poll_interval=0.2)
