"""Errors a user can cause; each is shown as one line, without a traceback."""

from __future__ import annotations

import os


class EpilstmError(Exception):
    """Base of every error whose cause the user can remove.

    The message names the file, row or key, what is wrong with it, and what to do.
    """

    exit_code = 1

    #: False where the same input fails again, whatever the network, the disk and other programs do.
    retry_can_help = True


class ParamsError(EpilstmError):
    """A params file or a command-line value is unusable."""

    exit_code = 2
    retry_can_help = False


class GenomeError(EpilstmError):
    """Chromosome sizes, regions or splits are unusable or disagree."""

    retry_can_help = False


class SamplesheetError(EpilstmError):
    """The samplesheet is unusable."""

    retry_can_help = False


class TrackError(EpilstmError):
    """A signal track cannot be read or is not what the samplesheet says."""


class MissingTrackError(TrackError):
    """The samplesheet names a file that does not exist."""

    retry_can_help = False


class DataError(EpilstmError):
    """A dataset folder is missing, incomplete or does not fit the others."""


class MissingInputError(DataError):
    """An input that the user names does not exist, or is a file in the place of a folder."""

    retry_can_help = False


class DiskFullError(DataError):
    """A disk has no space left."""


class ModelError(EpilstmError):
    """A model or an encoder is unusable or does not fit the data."""

    retry_can_help = False


class TrainingError(EpilstmError):
    """Training cannot continue."""


class LossNotFiniteError(TrainingError):
    """The loss is infinite or not a number."""


class LabelsError(EpilstmError):
    """A tasks file or its labels are unusable."""

    retry_can_help = False


class PipelineError(EpilstmError):
    """A pipeline cannot be compiled, registered or run."""


class RegistryError(EpilstmError):
    """The model registry, its git repository or its DVC remote cannot do what is asked."""


#: Set for what runs in a pod that Argo starts again when it fails, whatever its exit code.
RETRIED = "EPILSTM_RETRIED"


def error_line(error: EpilstmError) -> str:
    """The line that a failure is reported in; in a pod that is retried, it says where a retry cannot help."""
    advice = "" if error.retry_can_help or not os.environ.get(RETRIED) else "; a retry cannot help"
    return f"error: {error}{advice}"
