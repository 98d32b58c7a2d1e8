"""The encoder without its preamble: from the standardised matrix to the embedding, time-major.

The matrix is already what the encoder makes of raw signal first, so embed cuts that part off.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array, to_array

from epilstm.console import log
from epilstm.errors import ModelError
from epilstm.genome.frames import spread_codes
from epilstm.model.chosen_codes import ChosenCodes
from epilstm.model.encoder_folder import (
    ASSAY_COLUMNS,
    ASSAYS_PRESENT,
    BIN_CODE_BY_TIME,
    CONTEXT_CODES,
    EMBEDDING_BY_TIME,
    FRAME_TOKENS,
    STANDARDISED_BY_TIME,
)
from epilstm.model.frames import frame_tokens

Provider = Literal["cpu", "cuda"]
PROVIDER_NAMES: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

#: Input of the core: bins of the matrix, (time, batch, track) float16.
MATRIX_BY_TIME = "matrix_by_time"


def core_of(encoder: onnx.ModelProto, chosen: ChosenCodes | None = None) -> onnx.ModelProto:
    """The part of an encoder behind the standardised signal.

    Parameters
    ----------
    encoder : ModelProto
        As `epilstm.model.encoder_graph.build_encoder` makes it.
    chosen : ChosenCodes, optional
        Of a model that cell types share: only the cell types chosen are computed.

    Returns
    -------
    ModelProto
        ``matrix_by_time`` (time, batch, track) float16 in, ``embedding_by_time`` (time, batch, dim) float32 out; of an
        encoder with a context level, ``bin_code_by_time``.
    """
    code = BIN_CODE_BY_TIME if has_context(encoder) else EMBEDDING_BY_TIME
    core = onnx.utils.Extractor(encoder).extract_model([STANDARDISED_BY_TIME], [code])
    graph = core.graph
    tracks = graph.input[0].type.tensor_type.shape.dim[2].dim_value
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(MATRIX_BY_TIME, TensorProto.FLOAT16, ["time", "batch", tracks]))
    graph.node.insert(
        0,
        helper.make_node(
            "Cast", [MATRIX_BY_TIME], [STANDARDISED_BY_TIME], name=f"make_{STANDARDISED_BY_TIME}", to=TensorProto.FLOAT
        ),
    )
    if chosen is not None and chosen.places is not None:
        _cut_to(core, code, chosen.places, chosen.bin_code)
    return core


def _cut_to(core: onnx.ModelProto, code: str, places: Sequence[int], size: int) -> None:
    """Leave only some cell types of those that share the network in a core: before the recurrence, which costs most."""
    constants = {tensor.name: tensor for tensor in core.graph.initializer}
    shape = to_array(constants[f"{code}_shape"]).copy()
    cell_types = shape[-1] * len(places) // size
    changed = {f"{code}_shape": np.array([*shape[:-1], size], np.int64)}
    for name in (ASSAY_COLUMNS, ASSAYS_PRESENT):
        changed[name] = to_array(constants[name]).reshape(cell_types, -1)[list(places)].ravel()
    for name, values in changed.items():
        constants[name].CopyFrom(from_array(values, name))
    core.graph.output[0].type.tensor_type.shape.dim[2].dim_value = size
    # Shapes of what lies between were those of all cell types.
    del core.graph.value_info[:]


def has_context(encoder: onnx.ModelProto) -> bool:
    """Whether an encoder has a context level."""
    return any(CONTEXT_CODES in node.output for node in encoder.graph.node)


def context_core_of(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """The context level of an encoder: ``frame_tokens`` (frame, batch, column) in, ``context_codes`` out, float32."""
    return onnx.utils.Extractor(encoder).extract_model([FRAME_TOKENS], [CONTEXT_CODES])


class _CpuCall:
    """Calls on inputs of one shape: read where they lie, the output written to one place."""

    def __init__(self, session: Any, shape: tuple[int, ...]) -> None:
        self.session, self.shape, self.binding = session, shape, session.io_binding()
        self.embedding = np.empty((*shape[:2], session.get_outputs()[0].shape[2]), np.float32)
        output = session.get_outputs()[0].name
        self.binding.bind_output(output, "cpu", 0, np.float32, self.embedding.shape, self.embedding.ctypes.data)

    def __call__(self, matrix: NDArray[np.float16]) -> NDArray[np.float32]:
        self.binding.bind_input(MATRIX_BY_TIME, "cpu", 0, np.float16, matrix.shape, matrix.ctypes.data)
        self.session.run_with_iobinding(self.binding)
        return self.embedding


class _CudaCall:
    """Calls on inputs of one shape: copied to one place on the GPU, the output from one there."""

    def __init__(self, session: Any, shape: tuple[int, ...]) -> None:
        self.session, self.shape, self.binding = session, shape, session.io_binding()
        size = session.get_outputs()[0].shape[2]
        on_device = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        self.matrix = on_device(list(shape), np.float16, "cuda", 0)
        self.embedding = on_device([*shape[:2], size], np.float32, "cuda", 0)
        self.binding.bind_ortvalue_input(MATRIX_BY_TIME, self.matrix)
        self.binding.bind_ortvalue_output(session.get_outputs()[0].name, self.embedding)

    def __call__(self, matrix: NDArray[np.float16]) -> NDArray[np.float32]:
        self.matrix.update_inplace(matrix)
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        embedding: NDArray[np.float32] = self.embedding.numpy()
        return embedding


_CALLS: dict[Provider, type[_CpuCall | _CudaCall]] = {"cpu": _CpuCall, "cuda": _CudaCall}


@dataclass(frozen=True)
class CoreEncoder:
    """Runs the core of an encoder; may be called from several threads at once.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    provider : str
        Where it runs.
    """

    session: Any
    provider: Provider
    _thread: threading.local = field(default_factory=threading.local, init=False, repr=False, compare=False)

    def __call__(self, matrix: NDArray[np.float16]) -> NDArray[np.float32]:
        """Embedding (time, batch, dim), from a zero state, of bins of the matrix (time, batch, track).

        It is the thread's own buffer, which its next call overwrites.
        """
        matrix = np.ascontiguousarray(matrix, np.float16)
        call: _CpuCall | _CudaCall | None = getattr(self._thread, "call", None)
        if call is None or call.shape != matrix.shape:
            call = self._thread.call = _CALLS[self.provider](self.session, matrix.shape)
        return call(matrix)


@dataclass(frozen=True)
class ContextEncoder:
    """Runs the context level of an encoder; may be called from several threads at once.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    frame_bins : int
        Bins per frame.
    columns : list of int, or None
        Numbers of the code that are kept; None for all.
    """

    session: Any
    frame_bins: int
    columns: list[int] | None = None

    def __call__(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Code (frame, dim) of consecutive frames' tokens (frame, column)."""
        (codes,) = self.session.run([CONTEXT_CODES], {FRAME_TOKENS: tokens[:, None]})
        return np.asarray(codes[:, 0] if self.columns is None else codes[:, 0, self.columns])

    def of_bins(self, rows: NDArray[np.float16]) -> NDArray[np.float32]:
        """Code (bins, dim) of the context of each of consecutive bins of the matrix; the first is a frame's first."""
        return spread_codes(self(frame_tokens(rows, self.frame_bins)), len(rows), self.frame_bins)


def load_context(
    path: Path, provider: Provider, frame_bins: int, chosen: ChosenCodes | None = None
) -> ContextEncoder | None:
    """Load the context level of an encoder file onto a processor; None where it has none.

    Of a model that cell types share, all of them are computed, since each depends on the means of the others; there is
    one frame for hundreds of bins.

    Raises
    ------
    ModelError
        As `load_core`.
    """
    return context_encoder(onnx.load(path), provider, frame_bins, chosen)


def context_encoder(
    encoder: onnx.ModelProto, provider: Provider, frame_bins: int, chosen: ChosenCodes | None = None
) -> ContextEncoder | None:
    """The context level of an encoder, as `load_context` loads it from a file."""
    if not has_context(encoder):
        return None
    columns = None if chosen is None else chosen.context_columns
    return ContextEncoder(_session(context_core_of(encoder).SerializeToString(), provider), frame_bins, columns)


def load_core(path: Path, wanted: Literal["auto", "cpu", "cuda"], chosen: ChosenCodes | None = None) -> CoreEncoder:
    """Load the core of an encoder file, its bin level, onto a processor.

    onnxruntime falls back to the CPU without a word, for the whole graph or for single nodes, so that is switched off
    for a GPU.

    Parameters
    ----------
    path : Path
        ``encoder.onnx``.
    wanted : {'auto', 'cpu', 'cuda'}
        `auto` takes a GPU that can run every node, else the CPU.
    chosen : ChosenCodes, optional
        As for `core_of`.

    Raises
    ------
    ModelError
        CUDA was asked for and is unavailable, or a node of the encoder cannot run on it.
    """
    return core_encoder(onnx.load(path), wanted, chosen)


def core_encoder(
    encoder: onnx.ModelProto, wanted: Literal["auto", "cpu", "cuda"], chosen: ChosenCodes | None = None
) -> CoreEncoder:
    """The core of an encoder, as `load_core` loads it from a file."""
    core = core_of(encoder, chosen).SerializeToString()
    name = PROVIDER_NAMES["cuda"]
    if wanted == "cuda" or (wanted == "auto" and name in onnxruntime.get_available_providers()):
        try:
            return CoreEncoder(_session(core, "cuda"), "cuda")
        except ModelError as error:
            if wanted == "cuda":
                raise
            log.warning(f"{error}; the CPU is used")
    return CoreEncoder(_session(core, "cpu"), "cpu")


def _session(core: bytes, provider: Provider) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # One thread per call: calls run side by side, and a result does not depend on the number of cores.
    options.intra_op_num_threads = 1
    name = PROVIDER_NAMES[provider]
    if provider == "cpu":
        return onnxruntime.InferenceSession(core, options, providers=[name])
    if name not in onnxruntime.get_available_providers():
        raise ModelError(
            "embed.provider: cuda was asked for, but this onnxruntime has no CUDA; install onnxruntime-gpu in place of "
            "onnxruntime (extra gpu in place of cpu) or set cpu"
        )
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        # Without TF32, whose embeddings are off by some thousandths of a standard deviation (measured).
        session = onnxruntime.InferenceSession(core, options, providers=[(name, {"use_tf32": "0"})])
    except Exception as error:  # onnxruntime's own exceptions share no base but this
        reason = _first_line(str(error))
        raise ModelError(f"embed.provider: the encoder cannot run wholly on the GPU: {reason}; set cpu") from error
    if session.get_providers()[:1] != [name]:
        raise ModelError("embed.provider: no usable CUDA device or driver (onnxruntime fell back to the CPU); set cpu")
    return session


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "no reason given").rstrip(".")


def windows_by_time(rows: Sequence[NDArray[np.float16]]) -> NDArray[np.float16]:
    """Stack windows (time, track) of one length to (time, batch, track)."""
    out = np.empty((len(rows[0]), len(rows), rows[0].shape[1]), np.float16)
    for column, window in enumerate(rows):
        out[:, column] = window
    return out
