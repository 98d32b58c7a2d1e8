"""``epilstm pipeline upload|submit|status|runs|terminate``: the commands about versions and runs on a server.

Results go to standard output, as text on a terminal and as JSON otherwise; progress goes to standard error.
"""

from __future__ import annotations

import json
from typing import Any

import click

from epilstm.pipelines.submit import dry_run as dry
from epilstm.pipelines.submit.answers import (
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
from epilstm.pipelines.submit.options import (
    LONGEST_EXPERIMENT,
    LONGEST_RUN,
    LONGEST_VERSION,
    body_of_run,
    checked_name,
    connect,
    connection_options,
    name_of,
    options_of,
    package_of,
    package_options,
    parameters_given,
    run_options,
    server_of,
    version_option,
)

run_argument = click.argument("run", callback=name_of("RUN", LONGEST_RUN))

wait_options = options_of(
    click.option("--wait", is_flag=True, help="Wait until the run has ended; fail if it failed."),
    click.option(
        "--poll", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="Seconds between looks."
    ),
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
    from epilstm.pipelines.submit import versions

    connection = connect(options)
    package = package_of(options)
    name = checked_name("--version-name", version_name or package.version_name, LONGEST_VERSION)
    if dry_run:
        dry.print_requests(versions.upload_requests(package, name, connection.namespace))
        return
    uploaded = versions.upload(server_of(connection), package, name)
    link = connection.link(f"pipelines/details/{uploaded.pipeline_id}/version/{uploaded.version_id}")
    done = "registered" if uploaded.created else "is there already, with the same content"
    print_result(
        {
            "pipeline": package.name,
            "version": uploaded.version_name,
            "pipeline_id": uploaded.pipeline_id,
            "version_id": uploaded.version_id,
            "created": uploaded.created,
            "link": link,
        },
        f"{package.name} {uploaded.version_name} {done}\n{link}",
        as_json,
    )


@click.command("submit", short_help="Start a run.")
@package_options
@version_option
@click.option(
    "--run-name",
    metavar="NAME",
    callback=name_of("--run-name", LONGEST_RUN),
    help="Name of the run; without it pipeline, profile, time and a few letters.",
)
@run_options
@wait_options
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
    from epilstm.pipelines.submit import runs

    connection = connect(options)
    package = package_of(options)
    name = run_name or runs.new_name(package)
    if dry_run:
        dry.print_requests(dry.run_requests(connection, package, version_name, options, name))
        return
    if not version_name:  # checked before anything is sent
        parameters_given(package.spec, options, package.digest)
    server = server_of(connection)
    body = body_of_run(server, package, version_name, options, name)
    try:
        run = runs.submit(server, body)
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"interrupted; see whether run {name} was started: epilstm pipeline status {name}"
        ) from None
    link = connection.link(f"runs/details/{run.id}")
    print_result({"run": run.name, "run_id": run.id, "link": link}, f"run {run.name} ({run.id})\n{link}", as_json)
    if wait:
        wait_for(server, run.id, run.name, poll, as_json)


@click.command("status", short_help="Show a run and its steps.")
@run_argument
@wait_options
@json_option
@connection_options
def status(run: str, wait: bool, poll: float, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Show a RUN, by identifier or name: its steps, which part of the work, what came from the cache, what failed."""
    from epilstm.pipelines.submit import runs, step_errors

    connection = connect(options)
    if dry_run:
        dry.print_requests(dry.request_about_run(run, "GET"))
        return
    server = server_of(connection)
    found = runs.get(server, run)
    if wait:
        wait_for(server, found.id, found.name, poll, as_json)
        return
    found = step_errors.with_reasons(server, found)
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
    from epilstm.pipelines.submit import runs

    connection = connect(options)
    if dry_run:
        scope = {"experiment_id": f"<id of experiment {experiment}>"} if experiment else {}
        if connection.namespace and not experiment:
            scope = {"namespace": connection.namespace}
        query = {"page_size": 100, "sort_by": "created_at desc", **scope}
        dry.print_requests([dry.request("GET", "runs", query=query)])
        return
    found = runs.latest(server_of(connection), limit, experiment)
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
@run_argument
@json_option
@connection_options
def terminate(run: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """End a RUN, by identifier or name."""
    from epilstm.pipelines.submit import runs

    connection = connect(options)
    if dry_run:
        dry.print_requests(dry.request_about_run(run, "POST", ":terminate"))
        return
    ended = runs.terminate(server_of(connection), run)
    row = {"run": ended.name, "run_id": ended.id, "state": "CANCELING"}
    print_result(row, f"run {ended.name} is being terminated", as_json)
