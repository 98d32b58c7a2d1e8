"""Why a run failed, as one of a few words."""

from __future__ import annotations

from epilstm import errors
from epilstm.runtime.processes import WorkerDied

#: By the error's class; the first of its ancestors that is here counts.
REASONS: dict[type[BaseException], str] = {
    errors.ParamsError: "params",
    errors.GenomeError: "genome",
    errors.SamplesheetError: "samplesheet",
    errors.TrackError: "track",
    errors.DiskFullError: "disk_full",
    errors.DataError: "data",
    errors.ModelError: "model",
    errors.LossNotFiniteError: "loss_not_finite",
    errors.TrainingError: "training",
    errors.LabelsError: "labels",
    errors.PipelineError: "pipeline",
    errors.RegistryError: "registry",
    WorkerDied: "worker_died",
    MemoryError: "out_of_memory",
    KeyboardInterrupt: "interrupted",
}

#: Ended by a signal, as by the kernel for want of memory; and a bug.
KILLED, INTERNAL = "killed", "internal"

ALL_REASONS = (*dict.fromkeys(REASONS.values()), KILLED, INTERNAL)


def reason_of(error: BaseException) -> str:
    """One of `ALL_REASONS`."""
    for kind in type(error).__mro__:
        if kind in REASONS:
            return REASONS[kind]
        if kind.__name__ == "OutOfMemoryError":  # torch's
            return "out_of_memory"
    if isinstance(error, errors.EpilstmError) and error.exit_code == 130:
        return "interrupted"
    return INTERNAL
