"""The steps of the pipeline, called as the command line calls them but without its records and renaming."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from epilstm.files.outputs import remove
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.runtime.step_table import STEPS


def run_step(name: str, params: Any, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> StepResult:
    """Run one step; what stood at its outputs is removed.

    Parameters
    ----------
    name : str
        In the step table.
    params : Section
        Its parameters.
    inputs, outputs : mapping of str to Path
    """
    for path in outputs.values():
        remove(path)
    module, _, function = STEPS[name].target.partition(":")
    result: StepResult = getattr(import_module(module), function)(params, StepContext(inputs, outputs, {}))
    return result
