"""``epilstm pipeline retrain-on-alert``: from Alertmanager's notifications to runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from epilstm.pipelines.submit import dry_run as dry
from epilstm.pipelines.submit.options import (
    PATH,
    body_of_run,
    connect,
    connection_options,
    package_of,
    package_options,
    parameters_given,
    run_options,
    server_of,
    version_option,
)


@click.command("retrain-on-alert", short_help="Start a run when an alert requests it.")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=9095, show_default=True, help="0 takes a free one.")
@click.option(
    "--webhook-token-file",
    required=True,
    type=PATH,
    metavar="FILE",
    help="Bearer token that Alertmanager must send (http_config.authorization); read again each time.",
)
@click.option(
    "--journal",
    required=True,
    type=PATH,
    metavar="FILE",
    help="File of the runs that were started; kept over restarts.",
)
@click.option("--cooldown", default="24h", show_default=True, metavar="TIME", help="Least time between two runs.")
@package_options
@version_option
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
    from epilstm.pipelines.submit import alert_webhook, cron, runs
    from epilstm.serving.protocol.bearer import read_token

    connection = connect(options)
    package = package_of(options)
    if dry_run:
        name, unless = f"{options['pipeline']}-<alert>", "it is there"
        dry.print_requests(dry.run_requests(connection, package, version_name, options, name, unless))
        return
    if not version_name:  # checked before an alert asks for it
        parameters_given(package.spec, options, package.digest)

    def start(name: str) -> str:
        server = server_of(connection)
        return runs.submit_unless_there(server, body_of_run(server, package, version_name, options, name)).id

    def token() -> str:
        return read_token(webhook_token_file, "--webhook-token-file")

    token()
    receiver = alert_webhook.Receiver(start, journal, cron.interval_seconds(cooldown, "--cooldown"))
    listener = alert_webhook.listen(receiver, listen, port, token)

    def stop(number: int, frame: object) -> None:
        # From a thread: shutting down waits for the loop that this handler interrupts.
        threading.Thread(target=listener.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log.info(
        f"waiting for alerts on {listen}, port {listener.server_port}", extra={"fields": {"port": listener.server_port}}
    )
    with listener:
        listener.serve_forever(poll_interval=0.2)
