"""The serving image has onnxruntime and little else."""

from __future__ import annotations

import subprocess
import sys

NOT_IN_THE_IMAGE = {"fsspec", "isal", "numcodecs", "onnx", "pandas", "pyarrow", "scipy", "torch", "zarr"}


def test_the_server_loads_nothing_that_its_extra_does_not_bring():
    program = "import sys, epilstm.serving.server.server; print(*{name.partition('.')[0] for name in sys.modules})"
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(completed.stdout.split())
    assert {"onnxruntime", "grpc", "httptools"} <= loaded
    assert not loaded & NOT_IN_THE_IMAGE
