"""Errors a user can cause; each is shown as one line, without a traceback."""

from __future__ import annotations


class EpilstmError(Exception):
    """Base of every error whose cause the user can remove.

    The message names the file, row or key, what is wrong with it, and what to do.
    """

    exit_code = 1


class ParamsError(EpilstmError):
    """A params file or a command-line value is unusable."""

    exit_code = 2


class GenomeError(EpilstmError):
    """Chromosome sizes, regions or splits are unusable or disagree."""


class SamplesheetError(EpilstmError):
    """The samplesheet is unusable."""


class TrackError(EpilstmError):
    """A signal track cannot be read or is not what the samplesheet says."""


class DataError(EpilstmError):
    """A dataset folder is missing, incomplete or does not fit the others."""


class DiskFullError(DataError):
    """A disk has no space left."""


class ModelError(EpilstmError):
    """A model or an encoder is unusable or does not fit the data."""


class TrainingError(EpilstmError):
    """Training cannot go on."""


class LossNotFiniteError(TrainingError):
    """The loss is infinite or not a number."""


class LabelsError(EpilstmError):
    """A tasks file or its labels are unusable."""


class PipelineError(EpilstmError):
    """A pipeline cannot be compiled, registered or run."""


class RegistryError(EpilstmError):
    """The model registry, its git repository or its DVC remote cannot do what is asked."""
