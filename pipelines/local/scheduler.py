"""A run of a compiled pipeline on this machine: starts each task when those that it waits for have ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from epilstm.errors import EpilstmError, PipelineError
from epilstm.pipelines.local.command_lines import with_parameters
from epilstm.pipelines.local.conditions import is_met
from epilstm.pipelines.local.executions import Execution, Retry, TaskFolder, imported
from epilstm.pipelines.local.resolution import (
    Spec,
    Values,
    check_supported,
    collected,
    component_of,
    dag_outputs,
    executor_of,
    iterations,
    root_inputs,
    task_inputs,
    title_of,
    waits_for,
)
from epilstm.pipelines.local.worker import HOPELESS, Worker
from epilstm.pipelines.submit.run_steps import Step
from epilstm.runtime.runner import Interrupted


class Ended(Enum):
    """How a task ended that has no outputs."""

    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


Result = Values | Ended


class LocalRun:
    """Runs the tasks of a pipeline, each once what it waits for has ended.

    Parameters
    ----------
    spec : mapping
        The pipeline's IR.
    folder : Path
        Of the run; tasks work in ``tasks`` under it.
    worker : Worker
        Makes attempts at tasks.
    tasks : int
        Tasks at the same time, at most.
    changed : callable
        Called when a step has changed.
    """

    def __init__(
        self, spec: Spec, folder: Path, worker: Worker, tasks: int = 1, changed: Callable[[], None] = lambda: None
    ) -> None:
        check_supported(spec)
        self.spec, self.folder, self.worker, self.changed = spec, folder, worker, changed
        self.state = "PENDING"
        #: Of each task that was resolved, in the order in which they were.
        self.steps: dict[str, Step] = {}
        self.executions: dict[str, tuple[Execution, TaskFolder, Values | None]] = {}
        #: Inputs of every task, condition, loop and iteration, by its place.
        self.inputs: dict[str, Values] = {}
        self.interrupted = False
        self._slots = asyncio.Semaphore(tasks)
        self._stop = asyncio.Event()
        self._keys: dict[str, asyncio.Lock] = {}

    async def run(self, parameters: Mapping[str, Any]) -> Values:
        """Run all tasks; returns the pipeline's outputs.

        Raises
        ------
        PipelineError
            A task failed; tasks that had started were waited for.
        Interrupted
            SIGINT, SIGTERM or SIGHUP; running tasks were stopped.
        """
        inputs = root_inputs(self.spec, parameters)
        self._set_state("RUNNING")
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, self.interrupt)
        try:
            result = await self._dag(self.spec["root"], inputs, ())
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
        if self.interrupted:
            self._set_state("CANCELED")
            raise Interrupted("interrupted; tasks that had ended are kept, give the same command again to resume")
        if not isinstance(result, Values):
            self._set_state("FAILED")
            raise self._failure()
        self._set_state("SUCCEEDED")
        return result

    def interrupt(self) -> None:
        """Stop the tasks that run, and start no other."""
        self.interrupted = True
        self._stop.set()
        self.worker.stop()

    async def _dag(self, component: Spec, inputs: Values, place: tuple[str, ...]) -> Result:
        results: dict[str, asyncio.Task[Result]] = {}
        tasks = component["dag"]["tasks"]
        for name, task in tasks.items():
            results[name] = asyncio.create_task(self._task(name, task, inputs, results, place))
        ended = dict(zip(results, await asyncio.gather(*results.values()), strict=True))
        if Ended.FAILED in ended.values():
            return Ended.FAILED
        return dag_outputs(component, {name: made for name, made in ended.items() if isinstance(made, Values)})

    async def _task(
        self,
        name: str,
        task: Spec,
        around: Values,
        results: Mapping[str, asyncio.Task[Result]],
        place: tuple[str, ...],
    ) -> Result:
        before = {each: await results[each] for each in sorted(waits_for(task))}
        policy = task.get("triggerPolicy", {})
        always = policy.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
        if not always:
            if self._stop.is_set() or Ended.FAILED in before.values():
                return Ended.FAILED
            if Ended.SKIPPED in before.values():
                return Ended.SKIPPED
        component = component_of(self.spec, task)
        here = (*place, name)
        try:
            made = {each: result for each, result in before.items() if isinstance(result, Values)}
            inputs = self.inputs["/".join(here)] = task_inputs(name, task, component, around, made)
            if "condition" in policy and not is_met(policy["condition"], inputs.parameters):
                return Ended.SKIPPED
            loop = iterations(name, task, inputs)
            if loop is None:
                return await self._component(name, task, component, inputs, here, always)
            limit = asyncio.Semaphore(task.get("iteratorPolicy", {}).get("parallelismLimit") or max(1, len(loop)))

            async def iteration(number: int, each: Values) -> Result:
                async with limit:
                    counted = (*here, f"{number + 1} of {len(loop)}")
                    self.inputs["/".join(counted)] = each
                    return await self._component(name, task, component, each, counted, always)

            each = await asyncio.gather(*(iteration(number, values) for number, values in enumerate(loop)))
        except EpilstmError as error:
            self._failed_before(here, task, str(error))
            return Ended.FAILED
        values = [result for result in each if isinstance(result, Values)]
        return collected(values) if len(values) == len(each) else Ended.FAILED

    async def _component(
        self, name: str, task: Spec, component: Spec, inputs: Values, place: tuple[str, ...], always: bool
    ) -> Result:
        executor = executor_of(self.spec, component)
        if executor is None:
            return await self._dag(component, inputs, place)
        if "importer" in executor:
            return imported(executor, inputs, component)
        container = executor["container"]
        words = [*container.get("command", ()), *container.get("args", ())]
        step = Step("/".join(place), title_of(name, task), "PENDING", _part(place))
        self.steps[step.id] = step
        execution = Execution(
            step.id,
            name,
            step.label,
            component,
            component["executorLabel"].removeprefix("exec-"),
            container,
            with_parameters(words, inputs.parameters, f"task {name}"),
            inputs,
            bool(task.get("cachingOptions", {}).get("enableCache")),
            Retry.of(task),
        )
        return await self._execute(execution, always)

    async def _execute(self, execution: Execution, always: bool) -> Result:
        """Take what an earlier execution left, or run the task."""
        folder = self._folder_of(execution)
        # Two tasks with the same inputs share an execution, whichever comes first.
        async with self._keys.setdefault(str(folder.path), asyncio.Lock()):
            kept = folder.outputs() if execution.cached else None
            if kept is not None:
                self._ended(execution, folder, kept, cached=True)
                return kept
            async with self._slots:
                if self.interrupted or (self._stop.is_set() and not always):
                    self._change(execution.name, state="CANCELED")
                    return Ended.FAILED
                self._change(execution.name, state="RUNNING", started=datetime.now(UTC))
                return await self._attempts(execution, folder)

    async def _attempts(self, execution: Execution, folder: TaskFolder) -> Result:
        folder.log.unlink(missing_ok=True)
        reason = ""
        for attempt in range(1, execution.retry.times + 2):
            made = await self.worker.attempt(execution, folder)
            if isinstance(made, Values):
                self._ended(execution, folder, made)
                return made
            reason = made
            folder.clear()
            self.executions[execution.name] = (execution, folder, None)
            if self.interrupted:
                self._change(execution.name, state="CANCELED", ended=datetime.now(UTC))
                return Ended.FAILED
            if reason.endswith(HOPELESS) or attempt > execution.retry.times:
                break
            wait = execution.retry.wait(attempt)
            self._change(execution.name, state="RETRYING", error=reason)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)
            if self._stop.is_set():
                break
            self._change(execution.name, state="RUNNING")
        self._stop.set()
        state = "CANCELED" if self.interrupted else "FAILED"
        self._change(execution.name, state=state, ended=datetime.now(UTC), error=reason.removesuffix(HOPELESS))
        return Ended.FAILED

    def _folder_of(self, execution: Execution) -> TaskFolder:
        """By content where it may be taken again; else of this run alone."""
        place = execution.name.replace("/", ".").replace(" of ", "-")
        name = execution.key if execution.cached else f"{self.worker.token}.{place}"
        return TaskFolder(self.folder / "tasks" / execution.executor / name)

    def _ended(self, execution: Execution, folder: TaskFolder, outputs: Values, cached: bool = False) -> None:
        self.executions[execution.name] = (execution, folder, outputs)
        now = datetime.now(UTC)
        started = now if cached else self.steps[execution.name].started
        self._change(execution.name, state="SUCCEEDED", cached=cached, started=started, ended=now, error="")

    def _failed_before(self, place: tuple[str, ...], task: Spec, reason: str) -> None:
        """A task could not be resolved."""
        self._stop.set()
        name = "/".join(place)
        self.steps.setdefault(name, Step(name, title_of(place[-1], task), "PENDING", _part(place)))
        self._change(name, state="FAILED", error=reason)

    def _change(self, name: str, **changes: Any) -> None:
        self.steps[name] = replace(self.steps[name], **changes)
        self.changed()

    def _set_state(self, state: str) -> None:
        self.state = state
        self.changed()

    def _failure(self) -> PipelineError:
        failed = [step for step in self.steps.values() if step.state == "FAILED"]
        step = failed[0]
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        found = self.executions.get(step.id)
        log = f"; its log: {found[1].log}" if found else ""
        return PipelineError(f"task {step.label}{others} failed: {step.error.removeprefix('error: ')}{log}")


def _part(place: tuple[str, ...]) -> str:
    """Which iterations a place is in, such as ``2 of 4``."""
    return ", ".join(each for each in place if " of " in each)
