"""Runs of a pipeline: submitted once, watched, terminated."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from epilstm.console import log
from epilstm.pipelines.compile.packages import Package
from epilstm.pipelines.compile.sent_values import check_run
from epilstm.pipelines.submit.run_steps import Step, steps_of
from epilstm.pipelines.submit.server import NotFoundError, Server, ServerError, UnansweredError

FINISHED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
SUCCEEDED = frozenset({"SUCCEEDED", "SKIPPED"})
#: States of a run that was terminated; it has not ended in the first.
TERMINATED = frozenset({"CANCELING", "CANCELED"})
#: Seconds that a server may be away while a run is waited for.
LONGEST_ABSENCE = 600.0

IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class RunFailedError(ServerError):
    """A run failed or was terminated."""


@dataclass(frozen=True)
class Run:
    """A run as the server describes it.

    Parameters
    ----------
    id, name, state : str
        The state in capitals; ``PENDING`` before the server knows.
    created, finished : datetime, optional
        None if not yet.
    steps : tuple of Step
        The pipeline's own, in the order in which they began; empty where a run is listed or was just made.
    error : str
        What the server says about the run as a whole.
    """

    id: str
    name: str
    state: str
    created: datetime | None = None
    finished: datetime | None = None
    steps: tuple[Step, ...] = ()
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINISHED

    @property
    def failures(self) -> tuple[Step, ...]:
        """The steps that failed, in the order in which they did."""
        failed = [step for step in self.steps if step.state == "FAILED"]
        return tuple(sorted(failed, key=lambda step: step.ended or datetime.max.replace(tzinfo=UTC)))

    def check(self, link: str) -> None:
        """Raise if the run did not succeed.

        Raises
        ------
        RunFailedError
            Names the step and its last error line.
        """
        if self.state in SUCCEEDED:
            return
        if self.state == "CANCELED":
            raise RunFailedError(f"run {self.name} was terminated; {link}")
        for step in self.failures:
            reason = step.error or last_line(self.error) or "the server gives no reason; see its log"
            others = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
            raise RunFailedError(f"run {self.name} failed at step {step.label}{others}: {reason}; {link}")
        reason = last_line(self.error) or "the server names no step"
        raise RunFailedError(f"run {self.name} ended as {self.state}: {reason}; {link}")


def last_line(text: str, longest: int = 500) -> str:
    """The last line of a text that is not blank."""
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return line if len(line) <= longest else f"...{line[-longest:]}"


def new_name(package: Package) -> str:
    """A name for a run that no other run has: pipeline, time, a few random letters."""
    stem = package.name.removeprefix("epilstm-")
    return f"{stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def runtime_config(parameters: Mapping[str, Any], pipeline_root: str | None) -> dict[str, Any]:
    """Part of the request that creates a run or a schedule."""
    root = {"pipeline_root": pipeline_root} if pipeline_root else {}
    return {"parameters": dict(parameters), **root}


def run_body(
    name: str,
    experiment_id: str,
    parameters: Mapping[str, Any],
    source: Mapping[str, Any],
    service_account: str | None = None,
    pipeline_root: str | None = None,
) -> dict[str, Any]:
    """Body of the request that creates a run of a `source`: ``pipeline_spec`` or ``pipeline_version_reference``.

    Raises
    ------
    ParamsError
        A value would be changed on its way, or could only fail in a pod.
    """
    check_run(name, parameters, service_account, pipeline_root)
    body = {
        "display_name": name,
        "description": f"epilstm submission {secrets.token_hex(8)}",
        "experiment_id": experiment_id,
        **source,
        "runtime_config": runtime_config(parameters, pipeline_root),
        "service_account": service_account,
    }
    return {key: value for key, value in body.items() if value is not None}


def experiment_id(server: Server, name: str) -> str:
    """Identifier of an experiment, which is created if it is new."""
    body = {"display_name": name} | ({"namespace": server.namespace} if server.namespace else {})
    # Not `create_experiment`, which looks for the name with a filter that finds no name with a "+" in it.
    create = server.client.experiments.experiment_service_create_experiment
    found = find_experiment(server, name)
    if found is None:
        found, _ = server.once(lambda: create(experiment=body), lambda: find_experiment(server, name))
    return str(found.experiment_id)


def find_experiment(server: Server, name: str) -> Any:
    """The experiment of a name; None if there is none.

    Raises
    ------
    ServerError
        There are several.
    """
    found = server.named(server.client.list_experiments, "experiments", name, namespace=server.namespace)
    if len(found) > 1:
        raise ServerError(f"the server has {len(found)} experiments called {name}; delete all but one")
    return found[0] if found else None


def submit(server: Server, body: Mapping[str, Any]) -> Run:
    """Create the run of a `run_body`, once.

    If no answer says whether the server did, the run is looked up by its name and the mark in its description.

    Raises
    ------
    ServerError
        The server refused, or did not answer and has no such run.
    """
    name = body["display_name"]

    def find() -> Any:
        found = _runs_named(server, name, experiment_id=body["experiment_id"])
        return next((run for run in found if run.description == body["description"]), None)

    try:
        run, _ = server.once(lambda: server.client.runs.run_service_create_run(run=dict(body)), find)
    except UnansweredError as error:
        advice = f"run {name} is not there so far: look with epilstm pipeline status {name}"
        raise ServerError(f"{error}; {advice}") from None
    return _as_run(run)


def submit_unless_there(server: Server, body: Mapping[str, Any]) -> Run:
    """The run of the name in a `run_body`, which is created if there is none."""
    found = _runs_named(server, body["display_name"], experiment_id=body["experiment_id"])
    return _as_run(found[0]) if found else submit(server, body)


def get(server: Server, reference: str) -> Run:
    """A run by identifier or name.

    Raises
    ------
    ServerError
        There is none, or several of the name.
    """
    if IDENTIFIER.fullmatch(reference):
        return _as_run(server.client.get_run(reference), with_steps=True)
    found = _runs_named(server, reference, namespace=server.namespace or "")
    if not found:
        raise ServerError(f"there is no run {reference!r}; epilstm pipeline runs lists them")
    if len(found) > 1:
        ids = ", ".join(run.run_id for run in found[:5])
        raise ServerError(f"{len(found)} runs are called {reference!r}; give the identifier of one: {ids}")
    return _as_run(server.client.get_run(found[0].run_id), with_steps=True)


def latest(server: Server, count: int, experiment: str | None) -> list[Run]:
    """The latest runs, at most `count`, newest first; only those of an experiment if it is given."""
    options: dict[str, Any] = {"namespace": server.namespace or ""}
    if experiment is not None:
        found = find_experiment(server, experiment)
        if found is None:
            raise ServerError(f"there is no experiment {experiment!r}")
        options = {"experiment_id": found.experiment_id}
    runs = server.listed(server.client.list_runs, "runs", sort_by="created_at desc", **options)
    return [_as_run(run) for run in islice(runs, count)]


def terminate(server: Server, reference: str) -> Run:
    """Have the server end a run; one that is being terminated is left alone.

    Raises
    ------
    ServerError
        There is no such run, or it has ended.
    """
    run = get(server, reference)
    if run.ended:
        raise ServerError(f"run {run.name} has ended already: {run.state}")
    if run.state in TERMINATED:
        return run

    def terminated() -> Run | None:
        now = get(server, run.id)
        if now.ended and now.state not in TERMINATED:
            raise ServerError(f"run {run.name} has ended already: {now.state}")
        return now if now.state in TERMINATED else None

    try:
        server.once(lambda: server.client.terminate_run(run.id), terminated)
    except ServerError:
        # A second request is refused, also where the answer to the first was lost.
        if terminated() is None:
            raise
    return run


def watch(server: Server, run_id: str, interval: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[Run]:
    """A run every `interval` seconds, until it has ended.

    Raises
    ------
    ServerError
        The server refused, or was away for too long, and the run continues; or the run was deleted.
    """
    answered = time.monotonic()
    while True:
        try:
            run = _as_run(server.client.get_run(run_id), with_steps=True)
        except NotFoundError as error:
            raise ServerError(f"run {run_id} is not there any more, somebody deleted it ({error})") from None
        except ServerError as error:
            away = isinstance(error, UnansweredError) and time.monotonic() - answered <= LONGEST_ABSENCE
            if not away:
                raise ServerError(f"{error}; the run continues: epilstm pipeline status {run_id} --wait") from None
            log.warning(f"{error}; the run continues, still waiting")
        else:
            answered = time.monotonic()
            yield run
            if run.ended:
                return
        sleep(interval)


def _runs_named(server: Server, name: str, **where: str) -> list[Any]:
    return server.named(server.client.list_runs, "runs", name, **where)


def _as_run(run: Any, with_steps: bool = False) -> Run:
    state = str(run.state or "PENDING").upper()
    state = "PENDING" if state == "RUNTIME_STATE_UNSPECIFIED" else state
    rows = (run.run_details.task_details if with_steps and run.run_details else None) or []
    return Run(
        id=str(run.run_id),
        name=str(run.display_name),
        state=state,
        created=run.created_at,
        finished=run.finished_at if run.finished_at and run.finished_at.year > 1970 else None,
        steps=steps_of(rows, over=state in FINISHED),
        error=(run.error.message if run.error else "") or "",
    )
