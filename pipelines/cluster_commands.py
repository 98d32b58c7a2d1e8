"""``epilstm pipeline upload|submit|schedule|status|runs|terminate``: the command-line side of talking to a cluster.

What a command found or did goes to standard output, as text on a terminal and as JSON otherwise; how it gets there
goes to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epilstm.cli import verbosity_options
from epilstm.errors import ParamsError, PipelineError

if TYPE_CHECKING:
    from pipelines.connection import Cluster, Connection
    from pipelines.packages import Package
    from pipelines.runs import Run

EXPERIMENT = "epilstm"
PATH = click.Path(path_type=Path)


class InterruptedCommandError(PipelineError):
    """Ctrl-C."""

    exit_code = 130


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which server to talk to, as whom."""
    for option in reversed(
        (
            click.option("--host", envvar="KFP_HOST", show_envvar=True, metavar="URL", help="Pipelines API."),
            click.option(
                "--namespace",
                "-n",
                envvar="KFP_NAMESPACE",
                show_envvar=True,
                metavar="NAME",
                help="Yours, if many share.",
            ),
            click.option(
                "--token-file",
                type=PATH,
                envvar=["KFP_TOKEN_FILE", "KF_PIPELINES_SA_TOKEN_PATH"],
                show_envvar=True,
                metavar="FILE",
                help="File with a bearer token, read again when needed; without it the variable KFP_TOKEN is.",
            ),
            click.option(
                "--cookies-file",
                type=PATH,
                envvar="KFP_COOKIES_FILE",
                show_envvar=True,
                metavar="FILE",
                help="Cookies of a signed-in session (cookies.txt, or one line name=value).",
            ),
            click.option(
                "--ssl-ca-cert",
                type=PATH,
                envvar="KFP_SSL_CA_CERT",
                show_envvar=True,
                metavar="FILE",
                help="Certificate of the authority that signed the server's.",
            ),
            click.option(
                "--ui-host", envvar="KFP_UI_HOST", show_envvar=True, metavar="URL", help="For links; else the host."
            ),
            click.option(
                "--timeout",
                type=click.FloatRange(0.1, 3600),
                default=30.0,
                show_default=True,
                metavar="SECONDS",
                help="Longest wait for an answer.",
            ),
            click.option("--dry-run", is_flag=True, help="Print what would be sent, as JSON, and send nothing."),
        )
    ):
        command = option(command)
    return verbosity_options(command)


def package_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which compiled pipeline."""
    for option in reversed(
        (
            click.option(
                "--pipeline", default="training", show_default=True, metavar="NAME", help="Compiled pipeline."
            ),
            click.option("--profile", default="cpu", show_default=True, metavar="NAME", help="Its profile."),
            click.option(
                "--package", type=PATH, metavar="FILE", help="A compiled pipeline anywhere, instead of those two."
            ),
        )
    ):
        command = option(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a run is given."""
    for option in reversed(
        (
            click.option(
                "--params",
                "params_file",
                type=PATH,
                metavar="FILE",
                help="Params file; without it params.yaml of the working directory, if there is one.",
            ),
            click.option(
                "-P",
                "assignments",
                multiple=True,
                metavar="KEY=VALUE",
                help="A parameter (data_root=s3://bucket/prefix) or a key of a section (train.epochs=3); repeatable.",
            ),
            click.option("--experiment", default=EXPERIMENT, show_default=True, metavar="NAME", help="Made if new."),
            click.option("--service-account", metavar="NAME", help="Kubernetes service account of the pods."),
            click.option(
                "--pipeline-root", metavar="URI", help="Where kfp keeps artifacts; else the server's default."
            ),
        )
    ):
        command = option(command)
    return command


@click.command("upload", short_help="Register a compiled pipeline as a version.")
@package_options
@click.option(
    "--version-name", metavar="NAME", help="Instead of <package version>+<git revision>-<hash of the compiled file>."
)
@connection_options
def upload(version_name: str | None, dry_run: bool, **options: Any) -> None:
    """Register a compiled pipeline as a version that never changes.

    A version that is there with the same content is left as it is; one with other content is an error.
    """
    connection = _connection(options)
    package = _package(options)
    name = _version_name(version_name or package.version_name)
    from pipelines import versions

    if dry_run:
        _print_requests(versions.upload_requests(package, name, connection.namespace))
        return
    cluster = _cluster(connection)
    uploaded = versions.upload(cluster, package, name)
    link = connection.link(f"pipelines/details/{uploaded.pipeline_id}/version/{uploaded.version_id}")
    _tell(
        {
            "pipeline": package.name,
            "version": uploaded.version_name,
            "pipeline_id": uploaded.pipeline_id,
            "version_id": uploaded.version_id,
            "created": uploaded.created,
            "link": link,
        },
        f"{package.name} {uploaded.version_name} "
        f"{'registered' if uploaded.created else 'is there already, with the same content'}\n{link}",
    )


@click.command("submit", short_help="Start a run.")
@package_options
@click.option(
    "--version", "version_name", metavar="NAME", help="Run this registered version, not the local compiled file."
)
@click.option(
    "--run-name", metavar="NAME", help="Name of the run; without it pipeline, profile, time and a few letters."
)
@run_options
@click.option("--wait", is_flag=True, help="Wait until the run has ended; fail if it failed.")
@click.option("--poll", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="Seconds between looks.")
@connection_options
def submit(
    version_name: str | None, run_name: str | None, wait: bool, poll: float, dry_run: bool, **options: Any
) -> None:
    """Start a run of the local compiled pipeline, or of a registered version of it."""
    from pipelines import runs

    connection = _connection(options)
    package = _package(options)
    name = run_name or runs.new_name(package)
    experiment = options["experiment"]
    arguments = {"service_account": options["service_account"], "pipeline_root": options["pipeline_root"]}

    if dry_run:
        parameters = _parameters(package.spec, options, _placeholder_digest(package, version_name))
        source: dict[str, Any] = {"pipeline_spec": package.as_sent}
        if version_name:
            source = {"pipeline_version_reference": _placeholder_reference(package.name, version_name)}
        body = runs.run_body(name, f"<id of experiment {experiment}>", parameters, source, **arguments)
        _print_requests(
            [
                *_experiment_requests(experiment, connection),
                {"method": "POST", "path": "/apis/v2beta1/runs", "body": body},
            ]
        )
        return

    # Checked before the server is asked for anything; against the registered version again once it is known.
    parameters = _parameters(package.spec, options, package.digest) if not version_name else {}
    cluster = _cluster(connection)
    source = {"pipeline_spec": package.as_sent}
    if version_name:
        source, parameters = _pinned(cluster, package, version_name, options)
    body = runs.run_body(name, runs.experiment_id(cluster, experiment), parameters, source, **arguments)
    try:
        run = runs.submit(cluster, body)
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"interrupted; whether run {name} was started, epilstm pipeline status {name} tells"
        ) from None
    link = connection.link(f"runs/details/{run.id}")
    _tell({"run": run.name, "run_id": run.id, "link": link}, f"run {run.name} ({run.id})\n{link}")
    if wait:
        _wait(cluster, run.id, run.name, poll)


@click.command("schedule", short_help="Run a registered version again and again.")
@click.argument("name", required=False)
@click.option("--cron", metavar="EXPRESSION", help="In UTC: minute hour day month weekday, or six with seconds first.")
@click.option("--interval", metavar="TIME", help="As 30m, 6h or 7d.")
@click.option("--list", "action", flag_value="list", help="List schedules.")
@click.option("--disable", "action", flag_value="disable", help="Keep the schedule, but let it not fire.")
@click.option("--enable", "action", flag_value="enable", help="Let a disabled schedule fire again.")
@click.option("--delete", "action", flag_value="delete", help="Delete the schedule; its runs stay.")
@package_options
@click.option(
    "--version", "version_name", metavar="NAME", help="Registered version; without it the one with this content."
)
@click.option(
    "--max-concurrency", type=click.IntRange(1, 10), default=1, show_default=True, help="Runs at the same time."
)
@click.option("--no-catchup", is_flag=True, help="Do not make up for times that were missed.")
@run_options
@connection_options
def schedule(name: str | None, action: str | None, dry_run: bool, **options: Any) -> None:
    """Run a registered version at set times, under a NAME of its own.

    A schedule of the same name is replaced: the new one is made first, then the old one is deleted. The same line
    again changes nothing.
    """
    if action != "list" and not name:
        raise click.UsageError("give the NAME of the schedule, or --list")
    if action is not None and (options["cron"] or options["interval"]):
        raise click.UsageError(f"--{action} takes neither --cron nor --interval")
    connection = _connection(options)
    if action == "list":
        _list_schedules(connection, name, dry_run)
    elif action is not None:
        _switch_schedule(connection, str(name), action, dry_run)
    else:
        _set_schedule(connection, str(name), dry_run, options)


@click.command("status", short_help="Show a run and its tasks.")
@click.argument("run")
@click.option("--wait", is_flag=True, help="Wait until the run has ended; fail if it failed.")
@click.option("--poll", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="Seconds between looks.")
@connection_options
def status(run: str, wait: bool, poll: float, dry_run: bool, **options: Any) -> None:
    """Show a RUN, by identifier or name, and its tasks."""
    connection = _connection(options)
    if dry_run:
        _print_requests([_run_request(run, "GET", "")])
        return
    from pipelines import runs

    cluster = _cluster(connection)
    found = runs.get(cluster, run)
    if wait:
        _wait(cluster, found.id, found.name, poll)
        return
    link = connection.link(f"runs/details/{found.id}")
    failures = [{"step": task.name, "error": runs.last_line(task.error)} for task in found.failures]
    _tell(
        {
            **_run_row(found),
            "tasks": [
                {"task": task.name, "state": task.state, **_times(task.started, task.ended)} for task in found.tasks
            ],
            "failures": failures,
            "link": link,
        },
        lambda: _print_run(found, link),
    )


@click.command("runs", short_help="List the latest runs.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Runs at most.")
@click.option("--experiment", metavar="NAME", help="Only those of an experiment.")
@connection_options
def runs_command(limit: int, experiment: str | None, dry_run: bool, **options: Any) -> None:
    """List the latest runs, newest first."""
    connection = _connection(options)
    if dry_run:
        query = {"page_size": min(limit, 100), "sort_by": "created_at desc", "namespace": connection.namespace}
        if experiment:
            query = {**query, "namespace": None, "experiment_id": f"<id of experiment {experiment}>"}
        given = {key: value for key, value in query.items() if value is not None}
        _print_requests([{"method": "GET", "path": "/apis/v2beta1/runs", "query": given}])
        return
    from pipelines import runs

    found = runs.latest(_cluster(connection), limit, experiment)
    if not sys.stdout.isatty():
        for run in found:
            click.echo(json.dumps(_run_row(run)))
        return
    rows = [
        (run.name, run.state, _moment(run.created), _lasted(run.created, run.finished, run.ended), run.id)
        for run in found
    ]
    _print_table(("run", "state", "created", "took", "id"), rows)


@click.command("terminate", short_help="End a run.")
@click.argument("run")
@connection_options
def terminate(run: str, dry_run: bool, **options: Any) -> None:
    """End a RUN, by identifier or name."""
    connection = _connection(options)
    if dry_run:
        _print_requests([_run_request(run, "POST", ":terminate")])
        return
    from pipelines import runs

    ended = runs.terminate(_cluster(connection), run)
    _tell({"run": ended.name, "run_id": ended.id, "state": "CANCELING"}, f"run {ended.name} is being ended")


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

    An alert starts one run however often it is told, and none within the cooldown after another. Metrics are at
    /metrics, health at /healthz.
    """
    import signal
    import threading

    from epilstm.console import log
    from epilstm.serve.bearer import read_token
    from pipelines import alert_webhook, cron, runs

    connection = _connection(options)
    package = _package(options)
    parameters = _parameters(package.spec, options, package.digest) if not version_name else {}
    arguments = {"service_account": options["service_account"], "pipeline_root": options["pipeline_root"]}

    def body(name: str, experiment: str, source: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        return runs.run_body(name, experiment, given, source, **arguments)

    if dry_run:
        source = {"pipeline_spec": package.as_sent}
        if version_name:
            source = {"pipeline_version_reference": _placeholder_reference(package.name, version_name)}
        experiment = options["experiment"]
        sent = body("retraining-<alert>", f"<id of experiment {experiment}>", source, parameters)
        _print_requests(
            [
                *_experiment_requests(experiment, connection),
                {"method": "POST", "path": "/apis/v2beta1/runs", "unless": "it is there", "body": sent},
            ]
        )
        return

    def start(name: str) -> str:
        cluster = _cluster(connection)
        source, given = {"pipeline_spec": package.as_sent}, parameters
        if version_name:
            source, given = _pinned(cluster, package, version_name, options)
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


def _set_schedule(connection: Connection, name: str, dry_run: bool, options: Mapping[str, Any]) -> None:
    from pipelines import cron, runs, schedules

    if bool(options["cron"]) == bool(options["interval"]):
        raise click.UsageError("give either --cron or --interval")
    trigger: dict[str, Any]
    if options["cron"]:
        expression = cron.six_fields(options["cron"])
        trigger = {"cron_schedule": {"cron": expression}}
        when = f"cron {expression} UTC"
        if expression != " ".join(options["cron"].split()):
            when += f" (from {options['cron'].strip()!r}; the first field is seconds)"
    else:
        seconds = cron.interval_seconds(options["interval"])
        trigger = {"periodic_schedule": {"interval_second": str(seconds)}}
        when = f"every {seconds} s"
    package = _package(options)
    arguments = {key: options[key] for key in ("max_concurrency", "no_catchup", "service_account", "pipeline_root")}
    experiment = options["experiment"]
    if dry_run:
        reference = _placeholder_reference(package.name, options["version_name"] or package.version_name)
        parameters = _parameters(package.spec, options, _placeholder_digest(package, options["version_name"]))
        body = schedules.schedule_body(
            name, f"<id of experiment {experiment}>", parameters, reference, trigger, **arguments
        )
        path = "/apis/v2beta1/recurringruns"
        _print_requests(
            [
                *_experiment_requests(experiment, connection),
                {"method": "POST", "path": path, "unless": f"schedule {name} is there, and the same", "body": body},
                {"method": "DELETE", "path": f"{path}/<id of the old schedule {name}>", "unless": "there is none"},
            ]
        )
        return
    if not options["version_name"]:
        _parameters(package.spec, options, package.digest)
    cluster = _cluster(connection)
    source, parameters = _pinned(cluster, package, options["version_name"], options)
    reference = source["pipeline_version_reference"]
    body = schedules.schedule_body(
        name, runs.experiment_id(cluster, experiment), parameters, reference, trigger, **arguments
    )
    try:
        identifier, done = schedules.replace(cluster, body)
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"interrupted; run the same command again to settle schedule {name}, which may be there twice"
        ) from None
    link = connection.link(f"recurringrun/details/{identifier}")
    _tell(
        {"schedule": name, "schedule_id": identifier, "done": done, "when": when, **reference, "link": link},
        f"schedule {name} {done}: {when}\n{link}",
    )


def _list_schedules(connection: Connection, name: str | None, dry_run: bool) -> None:
    if dry_run:
        _print_requests([{"method": "GET", "path": "/apis/v2beta1/recurringruns"}])
        return
    from epilstm.console import log
    from pipelines import schedules

    found = schedules.listed(_cluster(connection), name)
    for twice in schedules.doubled(found):
        log.warning(f"schedule {twice} is there more than once: a replacement did not end; run it again")
    if sys.stdout.isatty():
        rows = [
            (item.name, item.trigger, "enabled" if item.enabled else "disabled", item.version_id, item.id)
            for item in found
        ]
        _print_table(("schedule", "when", "state", "version id", "id"), rows)
        return
    for item in found:
        click.echo(
            json.dumps(
                {
                    "schedule": item.name,
                    "schedule_id": item.id,
                    "when": item.trigger,
                    "enabled": item.enabled,
                    "pipeline_id": item.pipeline_id,
                    "pipeline_version_id": item.version_id,
                    "made_by_epilstm": item.ours,
                }
            )
        )


def _switch_schedule(connection: Connection, name: str, action: str, dry_run: bool) -> None:
    if dry_run:
        path = f"/apis/v2beta1/recurringruns/<id of schedule {name}>"
        method, suffix = ("DELETE", "") if action == "delete" else ("POST", f":{action}")
        _print_requests([{"method": method, "path": f"{path}{suffix}"}])
        return
    from pipelines import schedules

    cluster = _cluster(connection)
    if action == "delete":
        identifiers = schedules.delete(cluster, name)
    else:
        identifiers = schedules.switch(cluster, name, on=action == "enable")
    done = f"{action}d"
    _tell({"schedule": name, "done": done, "schedule_ids": identifiers}, f"schedule {name} {done}")


def _connection(options: Mapping[str, Any]) -> Connection:
    from epilstm import console

    console.set_up("pipeline", int(options["verbose"]) - int(options["quiet"]))
    if not options["host"]:
        raise ParamsError(
            "no server: give --host or set KFP_HOST (inside a cluster usually http://ml-pipeline.kubeflow.svc:8888)"
        )
    from pipelines.connection import Connection, Patience
    from pipelines.credentials import credentials_given

    return Connection(
        host=str(options["host"]).rstrip("/"),
        namespace=options["namespace"] or None,
        credentials=credentials_given(options["token_file"], options["cookies_file"]),
        ssl_ca_cert=options["ssl_ca_cert"],
        ui_host=options["ui_host"],
        patience=Patience(read_timeout=options["timeout"]),
    ).checked()


def _cluster(connection: Connection) -> Cluster:
    from pipelines.connection import Cluster

    return Cluster(connection)


def _package(options: Mapping[str, Any]) -> Package:
    from pipelines.packages import read_package, read_package_file

    if options["package"] is not None:
        return read_package_file(options["package"])
    return read_package(options["pipeline"], options["profile"])


def _version_name(name: str) -> str:
    if not name.strip() or len(name) > 127 or not name.isprintable():
        raise ParamsError(f"--version-name {name!r}: expected from 1 to 127 printable characters")
    return name


def _parameters(spec: Mapping[str, Any], options: Mapping[str, Any], digest: str) -> dict[str, Any]:
    from pipelines.packages import parameters_of
    from pipelines.parameters import run_parameters

    file = options["params_file"]
    if file is None and Path("params.yaml").is_file():
        file = Path("params.yaml")
    return run_parameters(parameters_of(spec), file, options["assignments"], digest)


def _pinned(
    cluster: Cluster, package: Package, version_name: str | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reference to a registered version, and parameters checked against it."""
    from pipelines.versions import digest_of, pinned_version, spec_of

    version = pinned_version(cluster, package, version_name)
    content = spec_of(cluster, version) or {}
    digest = digest_of(version, content, package)
    parameters = _parameters(content.get("pipeline_spec", content), options, digest)
    reference = {
        "pipeline_id": str(version.pipeline_id),
        "pipeline_version_id": str(version.pipeline_version_id),
    }
    return {"pipeline_version_reference": reference}, parameters


def _placeholder_reference(pipeline: str, version: str) -> dict[str, str]:
    return {"pipeline_id": f"<id of pipeline {pipeline}>", "pipeline_version_id": f"<id of version {version}>"}


def _placeholder_digest(package: Package, version: str | None) -> str:
    return f"<SHA-256 of version {version}>" if version else package.digest


def _experiment_requests(name: str, connection: Connection) -> list[dict[str, Any]]:
    body = {"display_name": name, "namespace": connection.namespace}
    given = {key: value for key, value in body.items() if value}
    path = "/apis/v2beta1/experiments"
    return [{"method": "POST", "path": path, "unless": f"experiment {name} is there", "body": given}]


def _run_request(reference: str, method: str, suffix: str) -> dict[str, Any]:
    from pipelines.runs import IDENTIFIER

    place = reference if IDENTIFIER.fullmatch(reference) else f"<id of run {reference}>"
    return {"method": method, "path": f"/apis/v2beta1/runs/{place}{suffix}"}


def _print_requests(requests: Sequence[Mapping[str, Any]]) -> None:
    click.echo(json.dumps({"requests": requests}, indent=2))


def _wait(cluster: Cluster, run_id: str, name: str, poll: float) -> None:
    from pipelines import runs
    from pipelines.watching import shown

    link = cluster.connection.link(f"runs/details/{run_id}")
    try:
        ended = shown(runs.watch(cluster, run_id, poll))
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"stopped waiting; run {name} goes on. Wait again: epilstm pipeline status {run_id} --wait. "
            f"End it: epilstm pipeline terminate {run_id}"
        ) from None
    ended.check(link)
    _tell({**_run_row(ended), "link": link}, f"run {ended.name} {ended.state.lower()}")


def _tell(content: Mapping[str, Any], text: str | Callable[[], None]) -> None:
    if not sys.stdout.isatty():
        click.echo(json.dumps(content))
    elif isinstance(text, str):
        click.echo(text)
    else:
        text()


def _run_row(run: Run) -> dict[str, Any]:
    return {"run": run.name, "run_id": run.id, "state": run.state, **_times(run.created, run.finished)}


def _times(started: datetime | None, ended: datetime | None) -> dict[str, Any]:
    return {
        "started": started.isoformat(timespec="seconds") if started else None,
        "ended": ended.isoformat(timespec="seconds") if ended else None,
    }


def _print_run(run: Run, link: str) -> None:
    from pipelines.runs import last_line

    click.echo(f"run {run.name} ({run.id}): {run.state}\n{link}")
    rows = [
        (task.name, task.state, _moment(task.started), _lasted(task.started, task.ended, run.ended))
        for task in run.tasks
    ]
    _print_table(("task", "state", "started", "took"), rows)
    for task in run.failures:
        click.echo(f"failed: {task.name}: {last_line(task.error) or 'the server gives no reason'}")


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    # Folded, not cut: identifiers are there to be copied.
    table = Table(*(Column(name, overflow="fold") for name in header), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table, markup=False)


def _moment(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}" if time else ""


def _lasted(started: datetime | None, ended: datetime | None, over: bool) -> str:
    if started is None or (over and ended is None):
        return ""
    seconds = int(((ended or datetime.now(UTC)) - started).total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
