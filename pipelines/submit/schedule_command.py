"""``epilstm pipeline schedule``: recurring runs of a registered version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from epilstm.pipelines.submit import dry_run as dry
from epilstm.pipelines.submit.answers import InterruptedCommandError, is_json, json_option, print_result, print_table
from epilstm.pipelines.submit.options import (
    LONGEST_SCHEDULE,
    connect,
    connection_options,
    name_of,
    package_of,
    package_options,
    parameters_given,
    pinned,
    run_options,
    server_of,
)

if TYPE_CHECKING:
    from epilstm.pipelines.submit.connection import Connection


@click.command("schedule", short_help="Run a registered version again and again.")
@click.argument("name", required=False, callback=name_of("NAME", LONGEST_SCHEDULE))
@click.option("--cron", metavar="EXPRESSION", help="In UTC: minute hour day month weekday, or six with seconds first.")
@click.option("--interval", metavar="TIME", help="As 30m, 6h or 7d.")
@click.option("--list", "action", flag_value="list", help="List schedules.")
@click.option("--disable", "action", flag_value="disable", help="Keep the schedule, but start no runs.")
@click.option("--enable", "action", flag_value="enable", help="Start runs of a disabled schedule again.")
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


def _trigger(options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """When the schedule starts runs, as the server reads it and in words."""
    from epilstm.pipelines.submit import cron

    if bool(options["cron"]) == bool(options["interval"]):
        raise click.UsageError("give either --cron or --interval")
    if options["interval"]:
        seconds = cron.interval_seconds(options["interval"])
        return {"periodic_schedule": {"interval_second": str(seconds)}}, f"every {seconds} s"
    expression = cron.six_fields(options["cron"])
    same = expression == " ".join(options["cron"].split())
    note = "" if same else f" (from {options['cron'].strip()!r}; the first field is seconds)"
    return {"cron_schedule": {"cron": expression}}, f"cron {expression} UTC{note}"


def _set_schedule(connection: Connection, name: str, dry_run: bool, as_json: bool, options: Mapping[str, Any]) -> None:
    from epilstm.pipelines.submit import runs, schedules

    trigger, when = _trigger(options)
    package, version, experiment = package_of(options), options["version_name"], options["experiment"]
    arguments = {key: options[key] for key in ("max_concurrency", "no_catchup", "service_account", "pipeline_root")}
    if dry_run:
        reference = dry.version_placeholder(package.name, version or package.version_name)
        parameters = dry.parameters_of_version(package, version, options)
        experiment_id = f"<id of experiment {experiment}>"
        body = schedules.schedule_body(name, experiment_id, parameters, reference, trigger, **arguments)
        unless = f"schedule {name} is there, and the same"
        old = f"recurringruns/<id of the old schedule {name}>"
        dry.print_requests(
            [
                *dry.experiment_requests(experiment, connection),
                dry.request("POST", "recurringruns", unless=unless, body=body),
                dry.request("DELETE", old, unless="there is none"),
            ]
        )
        return
    if not version:  # checked before anything is sent
        parameters_given(package.spec, options, package.digest)
    server = server_of(connection)
    reference, parameters = pinned(server, package, version, options)
    experiment_id = runs.experiment_id(server, experiment)
    body = schedules.schedule_body(name, experiment_id, parameters, reference, trigger, **arguments)
    try:
        identifier, done = schedules.replace(server, body)
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
        dry.print_requests([dry.request("GET", "recurringruns")])
        return
    from epilstm.console import log
    from epilstm.pipelines.submit import schedules

    found = schedules.listed(server_of(connection), name)
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
        row = {
            "schedule": item.name,
            "schedule_id": item.id,
            "when": item.trigger,
            "enabled": item.enabled,
            "pipeline_id": item.pipeline_id,
            "pipeline_version_id": item.version_id,
            "made_by_epilstm": item.own,
        }
        click.echo(json.dumps(row))


def _switch_schedule(connection: Connection, name: str, action: str, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        method, suffix = ("DELETE", "") if action == "delete" else ("POST", f":{action}")
        dry.print_requests([dry.request(method, f"recurringruns/<id of schedule {name}>{suffix}")])
        return
    from epilstm.pipelines.submit import schedules

    server = server_of(connection)
    if action == "delete":
        identifiers = schedules.delete(server, name)
    else:
        identifiers = schedules.switch(server, name, on=action == "enable")
    done = f"{action}d"
    print_result({"schedule": name, "done": done, "schedule_ids": identifiers}, f"schedule {name} {done}", as_json)
