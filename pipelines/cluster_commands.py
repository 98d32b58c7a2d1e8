"""``epilstm pipeline upload|submit|status|runs|terminate``: the command-line side of talking to a cluster.

What a command found or did goes to standard output, as text on a terminal and as JSON otherwise; how it gets there
goes to standard error.
"""

from __future__ import annotations

import json
from typing import Any

import click

from pipelines.answers import (
    InterruptedCommandError,
    failure_row,
    is_json,
    json_option,
    lasted,
    moment,
    print_result,
    print_run,
    print_table,
    run_row,
    step_row,
    wait_for,
)
from pipelines.cluster_options import (
    LONGEST_EXPERIMENT,
    LONGEST_RUN,
    LONGEST_VERSION,
    checked_name,
    cluster_of,
    connect,
    connection_options,
    name_of,
    package_of,
    package_options,
    parameters_given,
    pinned,
    run_options,
)
from pipelines.dry_run import (
    experiment_requests,
    placeholder_digest,
    placeholder_reference,
    print_requests,
    run_request,
)


@click.command("upload", short_help="Register a compiled pipeline as a version.")
@package_options
@click.option(
    "--version-name", metavar="NAME", help="Instead of <package version>+<git revision>-<hash of the compiled file>."
)
@json_option
@connection_options
def upload(version_name: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Register a compiled pipeline as a version that never changes.

    A version that is there with the same content is left as it is; one with other content is an error.
    """
    connection = connect(options)
    package = package_of(options)
    name = checked_name("--version-name", version_name or package.version_name, LONGEST_VERSION)
    from pipelines import versions

    if dry_run:
        print_requests(versions.upload_requests(package, name, connection.namespace))
        return
    cluster = cluster_of(connection)
    uploaded = versions.upload(cluster, package, name)
    link = connection.link(f"pipelines/details/{uploaded.pipeline_id}/version/{uploaded.version_id}")
    print_result(
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
        as_json,
    )


@click.command("submit", short_help="Start a run.")
@package_options
@click.option(
    "--version", "version_name", metavar="NAME", help="Run this registered version, not the local compiled file."
)
@click.option(
    "--run-name",
    metavar="NAME",
    callback=name_of("--run-name", LONGEST_RUN),
    help="Name of the run; without it pipeline, profile, time and a few letters.",
)
@run_options
@click.option("--wait", is_flag=True, help="Wait until the run has ended; fail if it failed.")
@click.option("--poll", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="Seconds between looks.")
@json_option
@connection_options
def submit(
    version_name: str | None,
    run_name: str | None,
    wait: bool,
    poll: float,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Start a run of the local compiled pipeline, or of a registered version of it."""
    from pipelines import runs

    connection = connect(options)
    package = package_of(options)
    name = run_name or runs.new_name(package)
    experiment = options["experiment"]
    arguments = {"service_account": options["service_account"], "pipeline_root": options["pipeline_root"]}

    if dry_run:
        parameters = parameters_given(package.spec, options, placeholder_digest(package, version_name))
        source: dict[str, Any] = {"pipeline_spec": package.as_sent}
        if version_name:
            source = {"pipeline_version_reference": placeholder_reference(package.name, version_name)}
        body = runs.run_body(name, f"<id of experiment {experiment}>", parameters, source, **arguments)
        print_requests(
            [
                *experiment_requests(experiment, connection),
                {"method": "POST", "path": "/apis/v2beta1/runs", "body": body},
            ]
        )
        return

    # Checked before the server is asked for anything; against the registered version again once it is known.
    parameters = parameters_given(package.spec, options, package.digest) if not version_name else {}
    cluster = cluster_of(connection)
    source = {"pipeline_spec": package.as_sent}
    if version_name:
        source, parameters = pinned(cluster, package, version_name, options)
    body = runs.run_body(name, runs.experiment_id(cluster, experiment), parameters, source, **arguments)
    try:
        run = runs.submit(cluster, body)
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"interrupted; see whether run {name} was started: epilstm pipeline status {name}"
        ) from None
    link = connection.link(f"runs/details/{run.id}")
    print_result({"run": run.name, "run_id": run.id, "link": link}, f"run {run.name} ({run.id})\n{link}", as_json)
    if wait:
        wait_for(cluster, run.id, run.name, poll, as_json)


@click.command("status", short_help="Show a run and its steps.")
@click.argument("run", callback=name_of("RUN", LONGEST_RUN))
@click.option("--wait", is_flag=True, help="Wait until the run has ended; fail if it failed.")
@click.option("--poll", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="Seconds between looks.")
@json_option
@connection_options
def status(run: str, wait: bool, poll: float, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Show a RUN, by identifier or name: its steps, which part of the work, what came from the cache, what failed."""
    connection = connect(options)
    if dry_run:
        print_requests([run_request(run, "GET", "")])
        return
    from pipelines import runs, step_errors

    cluster = cluster_of(connection)
    found = runs.get(cluster, run)
    if wait:
        wait_for(cluster, found.id, found.name, poll, as_json)
        return
    found = step_errors.with_reasons(cluster, found)
    link = connection.link(f"runs/details/{found.id}")
    print_result(
        {
            **run_row(found),
            "steps": [step_row(step, found.ended) for step in found.steps],
            "failures": [failure_row(step) for step in found.failures],
            "link": link,
        },
        lambda: print_run(found, link),
        as_json,
    )


@click.command("runs", short_help="List the latest runs.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Runs at most.")
@click.option(
    "--experiment",
    metavar="NAME",
    callback=name_of("--experiment", LONGEST_EXPERIMENT),
    help="Only those of an experiment.",
)
@json_option
@connection_options
def runs_command(limit: int, experiment: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """List the latest runs, newest first."""
    connection = connect(options)
    if dry_run:
        query = {"page_size": min(limit, 100), "sort_by": "created_at desc", "namespace": connection.namespace}
        if experiment:
            query = {**query, "namespace": None, "experiment_id": f"<id of experiment {experiment}>"}
        given = {key: value for key, value in query.items() if value is not None}
        print_requests([{"method": "GET", "path": "/apis/v2beta1/runs", "query": given}])
        return
    from pipelines import runs

    found = runs.latest(cluster_of(connection), limit, experiment)
    if is_json(as_json):
        for run in found:
            click.echo(json.dumps(run_row(run)))
        return
    rows = [
        (run.name, run.state, moment(run.created), lasted(run.created, run.finished, run.ended), run.id)
        for run in found
    ]
    print_table(("run", "state", "created", "took", "id"), rows)


@click.command("terminate", short_help="End a run.")
@click.argument("run", callback=name_of("RUN", LONGEST_RUN))
@json_option
@connection_options
def terminate(run: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """End a RUN, by identifier or name."""
    connection = connect(options)
    if dry_run:
        print_requests([run_request(run, "POST", ":terminate")])
        return
    from pipelines import runs

    ended = runs.terminate(cluster_of(connection), run)
    row = {"run": ended.name, "run_id": ended.id, "state": "CANCELING"}
    print_result(row, f"run {ended.name} is being terminated", as_json)
