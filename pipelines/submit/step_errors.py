"""Why a step failed: the last line of error in its pod's log."""

from __future__ import annotations

from dataclasses import replace

from epilstm.pipelines.submit.log_lines import last_error_line
from epilstm.pipelines.submit.run_steps import Step
from epilstm.pipelines.submit.runs import Run
from epilstm.pipelines.submit.server import Server, ServerError

#: Failed steps of a run whose logs are read.
LOGS_READ = 5


def with_reasons(server: Server, run: Run) -> Run:
    """A run whose failed steps say why they failed, as far as the server knows."""
    reasons = {step.id: _reason(server, run.id, step) for step in run.failures[:LOGS_READ]}
    steps = (replace(step, error=reasons.get(step.id, step.error)) for step in run.steps)
    return replace(run, steps=tuple(steps))


def _reason(server: Server, run_id: str, step: Step) -> str:
    if step.error:
        return last_error_line(step.error)
    if not step.pod:
        return "the server does not name its pod, see the run's page"
    try:
        text = server.pod_log(run_id, step.pod)
    except ServerError as error:
        return f"its log (pod {step.pod}) cannot be read: {error}"
    if text is not None:
        return last_error_line(text) or f"its log (pod {step.pod}) is empty"
    if step.driver:
        # Some releases run drivers in a pod of the whole workflow, whose log is not given.
        return f"its log is not given; see kubectl describe workflow {step.pod.partition('-system-')[0]}"
    return f"its log is gone: the cluster has neither pod {step.pod} nor an archive of its log"
