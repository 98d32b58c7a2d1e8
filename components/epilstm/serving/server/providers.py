"""Where onnxruntime runs an encoder, and a session there or none at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import onnxruntime

from epilstm.console import log
from epilstm.errors import ModelError

Provider = Literal["cpu", "cuda", "tensorrt"]
Wanted = Literal["auto", "cpu", "cuda", "tensorrt"]

#: onnxruntime's names, best first; TensorRT leaves to CUDA what it cannot do.
PROVIDER_NAMES: dict[Provider, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
}

#: TF32, onnxruntime's default on a GPU, is off by some thousandths of a standard deviation (measured).
PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}


def choose_provider(path: Path, wanted: Wanted, allow_cpu_fallback: bool) -> Provider:
    """The provider that runs every node of an encoder.

    Parameters
    ----------
    path : Path
        Encoder to try.
    wanted : {'auto', 'cpu', 'cuda', 'tensorrt'}
        `auto` takes CUDA if this machine has it and it runs every node, else the CPU.
    allow_cpu_fallback : bool
        Take the CPU where the wanted one is unavailable.

    Raises
    ------
    ModelError
        The wanted provider is unavailable, or not for every node.
    """
    if wanted == "cpu" or (wanted == "auto" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers()):
        return "cpu"
    provider: Provider = "cuda" if wanted == "auto" else wanted
    try:
        open_session(path, provider)
    except ModelError as error:
        if wanted != "auto" and not allow_cpu_fallback:
            raise
        log.warning(f"{error}; the CPU is used")
        return "cpu"
    return provider


def open_session(path: Path, provider: Provider) -> Any:
    """A session that runs every node of an encoder on one provider, each call on one CPU thread.

    Calls are made side by side from as many threads as there are cores: no thread of onnxruntime's own spins while
    the server reads sockets, and a result does not depend on the number of cores.

    Raises
    ------
    ModelError
        The file is no model, or the provider is unavailable, or not for every node; onnxruntime itself would fall back
        to the CPU without a word.
    """
    names = PROVIDER_NAMES[provider]
    wanted = [(name, PROVIDER_OPTIONS.get(name, {})) for name in names]
    missing = [name for name in names if name not in onnxruntime.get_available_providers()]
    if missing:
        raise ModelError(
            f"--provider {provider}: this onnxruntime has no {missing[0]}; install onnxruntime-gpu in place of "
            "onnxruntime (extra gpu in place of cpu), give --provider cpu or add --allow-cpu-fallback"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # onnxruntime's own exceptions share no base but this
        reason = next(iter(str(error).strip().splitlines()), "no reason given").rstrip(".")
        if provider == "cpu":
            raise ModelError(f"{path}: onnxruntime cannot load it: {reason}; run export again") from error
        raise ModelError(
            f"--provider {provider}: {path.name} cannot run wholly there: {reason}; give --provider cpu or add "
            "--allow-cpu-fallback"
        ) from error
    if session.get_providers()[0] != names[0]:
        raise ModelError(
            f"--provider {provider}: no usable device or driver (onnxruntime fell back to the CPU); give "
            "--provider cpu or add --allow-cpu-fallback"
        )
    return session
