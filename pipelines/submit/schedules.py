"""Schedules: recurring runs, one per name, bound to a pinned version, replaced rather than changed.

The server cannot change a recurring run and lets any number have one name. A schedule is replaced by creating the new
one first and deleting the old one then: whatever breaks in between, at least one exists. If the old one cannot be
deleted, the new one is removed again; if that fails too, the error names both. A process that is killed in between
leaves two, which the listing reports and the next replacement cleans up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from epilstm.console import log
from epilstm.pipelines.compile.sent_values import check_run
from epilstm.pipelines.submit.runs import runtime_config
from epilstm.pipelines.submit.server import NotFoundError, Server, ServerError

MARK = "epilstm schedule "


@dataclass(frozen=True)
class Schedule:
    """A recurring run as the server describes it.

    Parameters
    ----------
    id, name : str
        The name is not unique for the server.
    trigger : str
        Cron expression or interval.
    enabled : bool
        Whether it starts runs.
    pipeline_id, version_id : str
        The version that it runs.
    description : str
        Starts with `MARK` if this command created it.
    """

    id: str
    name: str
    trigger: str
    enabled: bool
    pipeline_id: str
    version_id: str
    description: str

    @property
    def own(self) -> bool:
        """Whether this command created it."""
        return self.description.startswith(MARK)


def schedule_body(
    name: str,
    experiment_id: str,
    parameters: Mapping[str, Any],
    version: Mapping[str, str],
    trigger: Mapping[str, Any],
    max_concurrency: int = 1,
    no_catchup: bool = False,
    service_account: str | None = None,
    pipeline_root: str | None = None,
) -> dict[str, Any]:
    """Body of the request that creates a recurring run.

    Parameters
    ----------
    version : mapping
        ``pipeline_id`` and ``pipeline_version_id``.
    trigger : mapping
        ``cron_schedule`` or ``periodic_schedule``.

    Raises
    ------
    ParamsError
        A value would be changed on its way, or could only fail in a pod.
    """
    check_run(name, parameters, service_account, pipeline_root)
    body: dict[str, Any] = {
        "display_name": name,
        "experiment_id": experiment_id,
        "mode": "ENABLE",
        "max_concurrency": str(max_concurrency),
        "no_catchup": no_catchup,
        "trigger": dict(trigger),
        "pipeline_version_reference": dict(version),
        "runtime_config": runtime_config(parameters, pipeline_root),
    }
    if service_account:
        body["service_account"] = service_account
    # A later replacement sees by it that nothing would change.
    digest = sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {**body, "description": f"{MARK}{digest[:16]}"}


def listed(server: Server, name: str | None = None) -> list[Schedule]:
    """Schedules of the namespace, by name; only those of one name if it is given."""
    listing, items, namespace = server.client.list_recurring_runs, "recurring_runs", server.namespace or ""
    if name is None:
        found = list(server.listed(listing, items, namespace=namespace))
    else:
        found = server.named(listing, items, name, namespace=namespace)
    return sorted((_as_schedule(item) for item in found), key=lambda schedule: (schedule.name, schedule.id))


def doubled(schedules: list[Schedule]) -> list[str]:
    """Names of more than one own schedule: their replacement was interrupted."""
    names = [schedule.name for schedule in schedules if schedule.own]
    return sorted({name for name in names if names.count(name) > 1})


def replace(server: Server, body: Mapping[str, Any]) -> tuple[str, str]:
    """Make the schedule of a `schedule_body` the only one of its name.

    Returns
    -------
    tuple of str
        Identifier, and ``created``, ``replaced`` or ``unchanged``.

    Raises
    ------
    ServerError
        Somebody else created a recurring run of the name, or the server refused; the message says what exists.
    """
    name, description = str(body["display_name"]), str(body["description"])
    before = listed(server, name)
    foreign = [schedule.id for schedule in before if not schedule.own]
    if foreign:
        raise ServerError(
            f"recurring run {name} ({foreign[0]}) was not made by epilstm and stays as it is; choose another name"
        )
    same = [schedule for schedule in before if schedule.description == description and schedule.enabled]
    if same:
        for extra in before:
            if extra.id != same[0].id:
                _delete(server, extra.id)
        return same[0].id, "unchanged" if len(before) == 1 else "replaced"

    known = {schedule.id for schedule in before}

    def find() -> Schedule | None:
        new = (schedule for schedule in listed(server, name) if schedule.id not in known)
        return next((schedule for schedule in new if schedule.description == description), None)

    create = server.client.recurring_runs.recurring_run_service_create_recurring_run
    made, _ = server.once(lambda: _as_schedule(create(recurring_run=dict(body))), find)
    deleted: list[str] = []
    try:
        for old in before:
            _delete(server, old.id)
            deleted.append(old.id)
    except (ServerError, KeyboardInterrupt) as error:
        _undo(server, name, made.id, [old.id for old in before if old.id not in deleted], bool(deleted), error)
    return made.id, "replaced" if before else "created"


def delete(server: Server, name: str) -> list[str]:
    """Delete the schedule of a name; identifiers of what was deleted."""
    found = _own(server, name)
    for schedule in found:
        _delete(server, schedule.id)
    return [schedule.id for schedule in found]


def switch(server: Server, name: str, on: bool) -> list[str]:
    """Enable or disable the schedule of a name; identifiers of what was switched.

    Raises
    ------
    ServerError
        There is none, or there are two to enable.
    """
    found = _own(server, name)
    if on and len(found) > 1:
        raise ServerError(f"there are {len(found)} schedules {name}, a replacement did not end: run it again")
    for schedule in found:
        _switch(server, schedule, on)
    return [schedule.id for schedule in found]


def _switch(server: Server, schedule: Schedule, on: bool) -> None:
    send = server.client.enable_recurring_run if on else server.client.disable_recurring_run

    def switched() -> Schedule | None:
        same = (now for now in listed(server, schedule.name) if now.id == schedule.id)
        return next((now for now in same if now.enabled == on), None)

    server.once(lambda: send(schedule.id), switched)


def _own(server: Server, name: str) -> list[Schedule]:
    found = [schedule for schedule in listed(server, name) if schedule.own]
    if not found:
        names = sorted({schedule.name for schedule in listed(server) if schedule.own})
        raise ServerError(f"there is no schedule {name!r}; there are {', '.join(names) or 'none'}")
    return found


def _delete(server: Server, identifier: str) -> None:
    try:
        server.client.delete_recurring_run(identifier)
    except NotFoundError:
        log.debug(f"recurring run {identifier} was gone already")


def _undo(server: Server, name: str, new: str, old: list[str], some_deleted: bool, error: BaseException) -> None:
    """Remove what should have replaced `old`, which could not be deleted; keep both where that is uncertain."""
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    try:
        existing = {schedule.id for schedule in listed(server, name)}
        remaining = [identifier for identifier in old if identifier in existing]
        if not remaining:
            log.warning(f"schedule {name} is replaced, though deleting the old one was not confirmed ({reason})")
            return
        if not some_deleted:
            _delete(server, new)
    except ServerError:
        some_deleted = True
    if some_deleted:
        raise ServerError(
            f"schedule {name} was replaced by {new}, but {', '.join(old)} could not be deleted: both fire until the "
            f"same command is run again ({reason})"
        ) from None
    raise ServerError(f"schedule {name} stays as it was, {remaining[0]} could not be deleted: {reason}") from None


def _as_schedule(item: Any) -> Schedule:
    trigger = item.trigger
    cron = trigger.cron_schedule if trigger else None
    periodic = trigger.periodic_schedule if trigger else None
    version = item.pipeline_version_reference
    return Schedule(
        id=str(item.recurring_run_id),
        name=str(item.display_name),
        trigger=f"cron {cron.cron} UTC" if cron else f"every {periodic.interval_second} s" if periodic else "unknown",
        enabled=item.status == "ENABLED" or (item.status is None and item.mode == "ENABLE"),
        pipeline_id=str(version.pipeline_id) if version else "",
        version_id=str(version.pipeline_version_id) if version else "",
        description=str(item.description or ""),
    )
