"""Runs of a pipeline: submitted once, watched, ended."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from epilstm.console import log
from pipelines.connection import Cluster, ClusterError, NotFoundError, UnansweredError
from pipelines.packages import Package
from pipelines.run_steps import Step, steps_of
from pipelines.sent_values import check_run

FINISHED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
SUCCEEDED = frozenset({"SUCCEEDED", "SKIPPED"})
#: State of a run that was terminated and has not ended yet.
CANCELING = "CANCELING"
#: Seconds that a server may be away while a run is waited for.
LONGEST_ABSENCE = 600.0

IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class RunFailedError(ClusterError):
    """A run ended otherwise than well."""


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
        """Nothing, if the run ended well.

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
    """The last line of a text that says something."""
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return line if len(line) <= longest else f"...{line[-longest:]}"


def new_name(package: Package) -> str:
    """A name for a run that no other run has: pipeline, time, a few random letters."""
    stem = package.name.removeprefix("epilstm-")
    return f"{stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def run_body(
    name: str,
    experiment_id: str,
    parameters: Mapping[str, Any],
    source: Mapping[str, Any],
    service_account: str | None = None,
    pipeline_root: str | None = None,
) -> dict[str, Any]:
    """Body of the request that creates a run.

    Parameters
    ----------
    source : mapping
        ``pipeline_spec`` or ``pipeline_version_reference``.

    Raises
    ------
    ParamsError
        Something in it would not arrive as it is, or could only fail in a pod.
    """
    check_run(name, parameters, service_account, pipeline_root)
    runtime: dict[str, Any] = {"parameters": dict(parameters)}
    if pipeline_root:
        runtime["pipeline_root"] = pipeline_root
    body = {
        "display_name": name,
        "description": f"epilstm submission {secrets.token_hex(8)}",
        "experiment_id": experiment_id,
        **source,
        "runtime_config": runtime,
        "service_account": service_account,
    }
    return {key: value for key, value in body.items() if value is not None}


def experiment_id(cluster: Cluster, name: str) -> str:
    """Identifier of an experiment, which is made if there is none of the name."""
    body = {"display_name": name} | ({"namespace": cluster.namespace} if cluster.namespace else {})
    # Not `create_experiment`, which looks for the name with a filter that finds no name with a "+" in it.
    create = cluster.client.experiments.experiment_service_create_experiment
    found = find_experiment(cluster, name)
    if found is None:
        found, _ = cluster.create_once(lambda: create(experiment=body), lambda: find_experiment(cluster, name))
    return str(found.experiment_id)  # type: ignore[union-attr]  # made or found


def find_experiment(cluster: Cluster, name: str) -> Any | None:
    """The experiment of a name; None if there is none.

    Raises
    ------
    ClusterError
        There are several.
    """
    found = cluster.find_named(cluster.client.list_experiments, "experiments", name, namespace=cluster.namespace)
    if len(found) > 1:
        raise ClusterError(f"the server has {len(found)} experiments called {name}; delete all but one")
    return found[0] if found else None


def submit(cluster: Cluster, body: Mapping[str, Any]) -> Run:
    """Create a run, once.

    When the server's answer does not say whether it did, the run is looked up by its name and the mark in its
    description before it is asked again.

    Parameters
    ----------
    body : mapping
        From `run_body`.

    Raises
    ------
    ClusterError
        The server refused, or did not answer and has no such run.
    """

    def find() -> Any | None:
        found = _runs_named(cluster, body["display_name"], experiment_id=body["experiment_id"])
        return next((run for run in found if run.description == body["description"]), None)

    try:
        run, _ = cluster.create_once(lambda: cluster.client.runs.run_service_create_run(run=dict(body)), find)
    except UnansweredError as error:
        name = body["display_name"]
        raise ClusterError(
            f"{error}; run {name} is not there so far: look with epilstm pipeline status {name}"
        ) from None
    return _as_run(run)


def submit_unless_there(cluster: Cluster, body: Mapping[str, Any]) -> Run:
    """Create a run, unless there is one of its name; that one is returned then.

    Parameters
    ----------
    body : mapping
        From `run_body`.

    Raises
    ------
    ClusterError
    """
    found = _runs_named(cluster, body["display_name"], experiment_id=body["experiment_id"])
    return _as_run(found[0]) if found else submit(cluster, body)


def get(cluster: Cluster, reference: str) -> Run:
    """A run by identifier or name.

    Raises
    ------
    ClusterError
        There is none, or several of the name.
    """
    if IDENTIFIER.fullmatch(reference):
        return _as_run(cluster.client.get_run(reference), with_steps=True)
    found = _runs_named(cluster, reference, namespace=cluster.namespace or "")
    if not found:
        raise ClusterError(f"there is no run {reference!r}; epilstm pipeline runs lists them")
    if len(found) > 1:
        ids = ", ".join(run.run_id for run in found[:5])
        raise ClusterError(f"{len(found)} runs are called {reference!r}; give the identifier of one: {ids}")
    return _as_run(cluster.client.get_run(found[0].run_id), with_steps=True)


def _runs_named(cluster: Cluster, name: str, **where: str) -> list[Any]:
    return cluster.find_named(cluster.client.list_runs, "runs", name, **where)


def latest(cluster: Cluster, count: int, experiment: str | None) -> list[Run]:
    """The latest runs, newest first.

    Parameters
    ----------
    count : int
        At most.
    experiment : str, optional
        Only those of an experiment.
    """
    options: dict[str, Any] = {"namespace": cluster.namespace or ""}
    if experiment is not None:
        found = find_experiment(cluster, experiment)
        if found is None:
            raise ClusterError(f"there is no experiment {experiment!r}")
        options = {"experiment_id": found.experiment_id}
    runs: list[Any] = []
    token = ""
    while len(runs) < count:
        page = cluster.client.list_runs(
            page_token=token, page_size=min(count - len(runs), 100), sort_by="created_at desc", **options
        )
        runs += page.runs or []
        token = page.next_page_token
        if not token:
            break
    return [_as_run(run) for run in runs[:count]]


def terminate(cluster: Cluster, reference: str) -> Run:
    """Ask the server to end a run.

    Raises
    ------
    ClusterError
        There is no such run, or it has ended; one that is being terminated already is no error.
    """
    run = get(cluster, reference)
    if run.ended:
        raise ClusterError(f"run {run.name} has ended already: {run.state}")
    if run.state == CANCELING:
        return run
    try:
        cluster.client.terminate_run(run.id)
    except ClusterError:
        # A second request is refused, also where the answer to the first was lost.
        now = get(cluster, run.id)
        if now.state in {CANCELING, "CANCELED"}:
            return run
        if now.ended:
            raise ClusterError(f"run {run.name} has ended already: {now.state}") from None
        raise
    return run


def watch(cluster: Cluster, run_id: str, interval: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[Run]:
    """A run again and again, until it has ended.

    Parameters
    ----------
    interval : float
        Seconds between two looks.
    sleep : callable
        Waits.

    Raises
    ------
    ClusterError
        The server refused, or was away for too long, and the run continues; or the run is not there any more.
    """
    answered = time.monotonic()
    while True:
        try:
            run = _as_run(cluster.client.get_run(run_id), with_steps=True)
        except NotFoundError as error:
            raise ClusterError(f"run {run_id} is not there any more, somebody deleted it ({error})") from None
        except UnansweredError as error:
            if time.monotonic() - answered > LONGEST_ABSENCE:
                raise ClusterError(f"{error}; the run continues: epilstm pipeline status {run_id} --wait") from None
            log.warning(f"{error}; the run continues, still waiting")
        except ClusterError as error:
            raise ClusterError(f"{error}; the run continues: epilstm pipeline status {run_id} --wait") from None
        else:
            answered = time.monotonic()
            yield run
            if run.ended:
                return
        sleep(interval)


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
