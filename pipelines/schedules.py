"""Recurring runs: one per name, bound to a pinned version, replaced rather than changed.

The server knows no way to change a recurring run and lets any number have one name. A schedule is replaced by making
the new one first and deleting the old one then: whatever breaks in between, at least one is there. If the old one
cannot be deleted, the new one is taken back; if that fails too, the error names both. A process that is killed in
between leaves two, which the listing reports and the next replacement sweeps up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from epilstm.console import log
from pipelines.connection import Cluster, ClusterError, NotFoundError
from pipelines.sent_values import check_run

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
        Whether it fires.
    pipeline_id, version_id : str
        What it runs.
    description : str
        Holds the mark of those made here.
    """

    id: str
    name: str
    trigger: str
    enabled: bool
    pipeline_id: str
    version_id: str
    description: str

    @property
    def ours(self) -> bool:
        """Whether it was made here."""
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
        Something in it would not arrive as it is, or could only fail in a pod.
    """
    check_run(name, parameters, service_account, pipeline_root)
    runtime: dict[str, Any] = {"parameters": dict(parameters)}
    if pipeline_root:
        runtime["pipeline_root"] = pipeline_root
    body: dict[str, Any] = {
        "display_name": name,
        "experiment_id": experiment_id,
        "mode": "ENABLE",
        "max_concurrency": str(max_concurrency),
        "no_catchup": no_catchup,
        "trigger": dict(trigger),
        "pipeline_version_reference": dict(version),
        "runtime_config": runtime,
    }
    if service_account:
        body["service_account"] = service_account
    # Tells a later replacement that nothing would change.
    digest = sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {**body, "description": f"{MARK}{digest[:16]}"}


def listed(cluster: Cluster, name: str | None = None) -> list[Schedule]:
    """Schedules of the namespace, by name; only those of one name if it is given."""
    listing, items, namespace = cluster.client.list_recurring_runs, "recurring_runs", cluster.namespace or ""
    if name is None:
        found = cluster.list_all(listing, items, namespace=namespace)
    else:
        found = cluster.find_named(listing, items, name, namespace=namespace)
    return sorted((_as_schedule(item) for item in found), key=lambda schedule: (schedule.name, schedule.id))


def doubled(schedules: list[Schedule]) -> list[str]:
    """Names that more than one schedule made here has: replacements that did not end."""
    names = [schedule.name for schedule in schedules if schedule.ours]
    return sorted({name for name in names if names.count(name) > 1})


def replace(cluster: Cluster, body: Mapping[str, Any]) -> tuple[str, str]:
    """Make a schedule the only one of its name.

    Parameters
    ----------
    body : mapping
        From `schedule_body`.

    Returns
    -------
    tuple of str
        Identifier, and ``created``, ``replaced`` or ``unchanged``.

    Raises
    ------
    ClusterError
        A recurring run of the name was not made here, or the server refused; the message says what is there.
    """
    name, description = str(body["display_name"]), str(body["description"])
    before = listed(cluster, name)
    foreign = [schedule.id for schedule in before if not schedule.ours]
    if foreign:
        raise ClusterError(
            f"recurring run {name} ({foreign[0]}) was not made by epilstm and stays as it is; choose another name"
        )
    same = [schedule for schedule in before if schedule.description == description and schedule.enabled]
    if same:
        for extra in before:
            if extra.id != same[0].id:
                _delete(cluster, extra.id)
        return same[0].id, "unchanged" if len(before) == 1 else "replaced"

    known = {schedule.id for schedule in before}

    def find() -> Schedule | None:
        return next(
            (
                schedule
                for schedule in listed(cluster, name)
                if schedule.description == description and schedule.id not in known
            ),
            None,
        )

    create = cluster.client.recurring_runs.recurring_run_service_create_recurring_run
    made, _ = cluster.create_once(lambda: _as_schedule(create(recurring_run=dict(body))), find)
    deleted: list[str] = []
    try:
        for old in before:
            _delete(cluster, old.id)
            deleted.append(old.id)
    except (ClusterError, KeyboardInterrupt) as error:
        _take_back(cluster, name, made.id, [old.id for old in before if old.id not in deleted], bool(deleted), error)
    return made.id, "replaced" if before else "created"


def delete(cluster: Cluster, name: str) -> list[str]:
    """Delete the schedule of a name; identifiers of what was deleted.

    Raises
    ------
    ClusterError
        There is none.
    """
    found = _mine(cluster, name)
    for schedule in found:
        _delete(cluster, schedule.id)
    return [schedule.id for schedule in found]


def switch(cluster: Cluster, name: str, on: bool) -> list[str]:
    """Let the schedule of a name fire, or not; identifiers of what was switched.

    Raises
    ------
    ClusterError
        There is none, or there are two to choose from.
    """
    found = _mine(cluster, name)
    if on and len(found) > 1:
        raise ClusterError(f"there are {len(found)} schedules {name}, a replacement did not end: run it again")
    for schedule in found:
        if on:
            cluster.client.enable_recurring_run(schedule.id)
        else:
            cluster.client.disable_recurring_run(schedule.id)
    return [schedule.id for schedule in found]


def _mine(cluster: Cluster, name: str) -> list[Schedule]:
    found = [schedule for schedule in listed(cluster, name) if schedule.ours]
    if not found:
        names = sorted({schedule.name for schedule in listed(cluster) if schedule.ours})
        raise ClusterError(f"there is no schedule {name!r}; there are {', '.join(names) or 'none'}")
    return found


def _delete(cluster: Cluster, identifier: str) -> None:
    try:
        cluster.client.delete_recurring_run(identifier)
    except NotFoundError:
        log.debug(f"recurring run {identifier} was gone already")


def _take_back(cluster: Cluster, name: str, new: str, old: list[str], some_deleted: bool, error: BaseException) -> None:
    """Undo a replacement that could not delete what it replaces; never without telling, never to none."""
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    try:
        there = {schedule.id for schedule in listed(cluster, name)}
        remaining = [identifier for identifier in old if identifier in there]
        if not remaining:
            log.warning(f"schedule {name} is replaced, though deleting the old one was not confirmed ({reason})")
            return
        if not some_deleted:
            _delete(cluster, new)
    except ClusterError:
        some_deleted = True
    if some_deleted:
        raise ClusterError(
            f"schedule {name} was replaced by {new}, but {', '.join(old)} could not be deleted: both fire until the "
            f"same command is run again ({reason})"
        ) from None
    raise ClusterError(f"schedule {name} stays as it was, {remaining[0]} could not be deleted: {reason}") from None


def _as_schedule(item: Any) -> Schedule:
    trigger = item.trigger
    cron = trigger.cron_schedule if trigger else None
    periodic = trigger.periodic_schedule if trigger else None
    when = f"cron {cron.cron} UTC" if cron else f"every {periodic.interval_second} s" if periodic else "unknown"
    version = item.pipeline_version_reference
    return Schedule(
        id=str(item.recurring_run_id),
        name=str(item.display_name),
        trigger=when,
        enabled=item.status == "ENABLED" or (item.status is None and item.mode == "ENABLE"),
        pipeline_id=str(version.pipeline_id) if version else "",
        version_id=str(version.pipeline_version_id) if version else "",
        description=str(item.description or ""),
    )
