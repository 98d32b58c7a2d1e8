"""Doing an assignment: unless its dataset is there already, bring, run, put back."""

from __future__ import annotations

from contextlib import nullcontext

from epilstm.console import log
from epilstm.pipelines.task.assignment import Assignment
from epilstm.pipelines.task.step_process import StopSignals, command_of, run_process
from epilstm.runtime.telemetry.step_run import report_reuse


def do(assignment: Assignment, signals: StopSignals, processes: int, launcher: str, mirror_seconds: float) -> None:
    """Make the outputs of an assignment be there.

    Parameters
    ----------
    processes : int
        Under torchrun, where there are more than one.
    launcher : str
        Command that runs the step's line elsewhere; empty to run it here.
    mirror_seconds : float
        Between copies of the work folders to a bucket while the step runs.

    Raises
    ------
    EpilstmError
        The step failed, or the storage did. Work done so far is kept.
    """
    dataset = assignment.dataset
    with dataset.exclusive() if dataset else nullcontext():
        if dataset is not None and dataset.is_whole():
            log.info(f"{dataset.uri}: already there, made from the same inputs and params; used again")
            report_reuse(assignment.line.step.name, assignment.line.part)
            return
        assignment.bring()
        _run(assignment, signals, processes, launcher, mirror_seconds)
        if dataset is not None:
            dataset.publish()


def _run(assignment: Assignment, signals: StopSignals, processes: int, launcher: str, mirror_seconds: float) -> None:
    def put_if_possible() -> None:
        for folder in assignment.work:
            folder.put_if_possible()

    argv = command_of(assignment.line.step, assignment.argv(), processes, launcher)
    try:
        run_process(argv, assignment.root.folder, signals, mirror_seconds, put_if_possible)
    except BaseException:
        put_if_possible()
        raise
    for folder in assignment.work:
        folder.put()
        folder.remove_if_empty()
