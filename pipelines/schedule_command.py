"""``epilstm pipeline schedule``: recurring runs of a registered version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pipelines.answers import InterruptedCommandError, is_json, json_option, print_result, print_table
from pipelines.cluster_options import (
    LONGEST_SCHEDULE,
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
from pipelines.dry_run import experiment_requests, placeholder_digest, placeholder_reference, print_requests

if TYPE_CHECKING:
    from pipelines.connection import Connection


@click.command("schedule", short_help="Run a registered version again and again.")
@click.argument("name", required=False, callback=name_of("NAME", LONGEST_SCHEDULE))
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
@json_option
@connection_options
def schedule(name: str | None, action: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run a registered version at set times, under a NAME of its own.

    A schedule of the same name is replaced: the new one is made first, then the old one is deleted. The same line
    again changes nothing.
    """
    if action != "list" and not name:
        raise click.UsageError("give the NAME of the schedule, or --list")
    if action is not None and (options["cron"] or options["interval"]):
        raise click.UsageError(f"--{action} takes neither --cron nor --interval")
    connection = connect(options)
    if action == "list":
        _list_schedules(connection, name, dry_run, as_json)
    elif action is not None:
        _switch_schedule(connection, str(name), action, dry_run, as_json)
    else:
        _set_schedule(connection, str(name), dry_run, as_json, options)


def _set_schedule(connection: Connection, name: str, dry_run: bool, as_json: bool, options: Mapping[str, Any]) -> None:
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
    package = package_of(options)
    arguments = {key: options[key] for key in ("max_concurrency", "no_catchup", "service_account", "pipeline_root")}
    experiment = options["experiment"]
    if dry_run:
        reference = placeholder_reference(package.name, options["version_name"] or package.version_name)
        parameters = parameters_given(package.spec, options, placeholder_digest(package, options["version_name"]))
        body = schedules.schedule_body(
            name, f"<id of experiment {experiment}>", parameters, reference, trigger, **arguments
        )
        path = "/apis/v2beta1/recurringruns"
        print_requests(
            [
                *experiment_requests(experiment, connection),
                {"method": "POST", "path": path, "unless": f"schedule {name} is there, and the same", "body": body},
                {"method": "DELETE", "path": f"{path}/<id of the old schedule {name}>", "unless": "there is none"},
            ]
        )
        return
    if not options["version_name"]:
        parameters_given(package.spec, options, package.digest)
    cluster = cluster_of(connection)
    source, parameters = pinned(cluster, package, options["version_name"], options)
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
    print_result(
        {"schedule": name, "schedule_id": identifier, "done": done, "when": when, **reference, "link": link},
        f"schedule {name} {done}: {when}\n{link}",
        as_json,
    )


def _list_schedules(connection: Connection, name: str | None, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        print_requests([{"method": "GET", "path": "/apis/v2beta1/recurringruns"}])
        return
    from epilstm.console import log
    from pipelines import schedules

    found = schedules.listed(cluster_of(connection), name)
    for twice in schedules.doubled(found):
        log.warning(f"schedule {twice} is there more than once: a replacement did not end; run it again")
    if not is_json(as_json):
        rows = [
            (item.name, item.trigger, "enabled" if item.enabled else "disabled", item.version_id, item.id)
            for item in found
        ]
        print_table(("schedule", "when", "state", "version id", "id"), rows)
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


def _switch_schedule(connection: Connection, name: str, action: str, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        path = f"/apis/v2beta1/recurringruns/<id of schedule {name}>"
        method, suffix = ("DELETE", "") if action == "delete" else ("POST", f":{action}")
        print_requests([{"method": method, "path": f"{path}{suffix}"}])
        return
    from pipelines import schedules

    cluster = cluster_of(connection)
    if action == "delete":
        identifiers = schedules.delete(cluster, name)
    else:
        identifiers = schedules.switch(cluster, name, on=action == "enable")
    done = f"{action}d"
    print_result({"schedule": name, "done": done, "schedule_ids": identifiers}, f"schedule {name} {done}", as_json)
