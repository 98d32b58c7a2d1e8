"""onnxruntime reports nothing and keeps nothing at home, whichever part of the package loads it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_usage_reports_are_off_unless_asked_for(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
    # A module that every part imports before it imports onnxruntime: the package itself.
    program = "import sys, epilstm, os; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    completed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert completed.stdout.split() == ["False", expected]
