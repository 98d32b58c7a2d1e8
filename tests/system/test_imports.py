"""What loads what: the command line answers at once, and the shared modules stay light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from epilstm.cli import OTHER_COMMANDS
from epilstm.runtime.step_table import STEPS

HEAVY = {
    "fsspec", "matplotlib", "numpy", "onnx", "onnxruntime", "pandas", "pyBigWig", "pyarrow", "s3fs",
    "safetensors", "scipy", "sklearn", "tensorboard", "torch", "xgboost", "zarr",
}  # fmt: skip

LIGHT_MODULES = [
    "cli", "console", "errors", "files.outputs", "genome.assembly", "params", "runtime.runner", "runtime.step_table",
    "store.manifests",
]  # fmt: skip


def modules_after(program: str) -> set[str]:
    """Top-level modules that are loaded in a fresh interpreter when a program has ended."""
    watch = (
        f"import atexit, json, sys\natexit.register(lambda: print(chr(0), json.dumps(list(sys.modules))))\n{program}"
    )
    completed = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, timeout=300, check=True)
    return {name.partition(".")[0] for name in json.loads(completed.stdout.rpartition(chr(0))[2])}


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_importing_a_shared_module_loads_no_scientific_library(module):
    assert not modules_after(f"import epilstm.{module}") & HEAVY


#: Libraries that a step does without until it computes with them, at a cost of 0.3 to 2 s of CPU time each.
SLOW = {
    "matplotlib", "numba", "onnx", "onnxruntime", "pandas", "pyarrow", "s3fs", "scipy", "sklearn", "tensorboard",
    "torch", "xgboost",
}  # fmt: skip

#: What the module of each step loads of these.
LOADED = {
    "simulate": set(),
    "ingest": set(),
    "preprocess": set(),
    "train": {"torch"},
    "export": {"torch", "onnx"},
    "embed": {"onnx", "onnxruntime"},
    "evaluate": {"torch"},
    "report": {"matplotlib"},
    "promote": {"onnx", "onnxruntime"},
    "monitor": {"torch", "matplotlib"},
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_loads_no_library_that_it_does_without(step):
    module = STEPS[step].target.partition(":")[0]
    assert modules_after(f"import epilstm.runtime.runner, {module}") & SLOW == LOADED[step]


@pytest.mark.parametrize("arguments", [[], *([name] for name in (*STEPS, *OTHER_COMMANDS))], ids=" ".join)
def test_help_loads_no_scientific_library(arguments):
    loaded = modules_after(f"from epilstm.cli import main\nmain({[*arguments, '--help']!r})")
    assert "click" in loaded
    assert not loaded & HEAVY
