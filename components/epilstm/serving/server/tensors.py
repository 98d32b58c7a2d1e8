"""What a model takes and gives, and whether a request's tensors are that."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.model.encoder_folder import EMBEDDING
from epilstm.serving.server.refusal import Refusal, bad_request
from epilstm.store.manifests import dimension_names
from epilstm.tracks.identity import TrackSet, tracks_of_properties

Tensor = NDArray[np.float32]
Tensors = Mapping[str, Tensor]

#: The only datatype of encoders: name in the protocol, little-endian in binary contents.
DATATYPE, DTYPE = "FP32", np.dtype("<f4")

#: Axes that a request chooses the length of, as the exported graphs name them.
BATCH_AXIS, TIME_AXIS = "batch", "time"

#: Datatypes of the protocol, so that a message can name a wrong one and an unknown one apart.
DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
)  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Parameters
    ----------
    shape : tuple of int or str
        Length of each axis, or the name of one that is free: ``batch`` or ``time``.
    """

    name: str
    shape: tuple[int | str, ...]

    @property
    def protocol_shape(self) -> list[int]:
        """The shape with -1 for a free axis."""
        return [-1 if isinstance(length, str) else length for length in self.shape]

    @property
    def batch_axis(self) -> int:
        """Which axis is the batch."""
        return self.shape.index(BATCH_AXIS)

    def lengths(self, **free: int) -> tuple[int, ...]:
        """The shape, given the length of each free axis by name."""
        return tuple(free[length] if isinstance(length, str) else length for length in self.shape)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class ModelSpec:
    """What the protocol says of a model.

    Parameters
    ----------
    inputs, outputs : tuple of TensorSpec
        In the graph's order.
    properties : mapping of str to str
        Metadata of the encoder, such as the bin size.
    tracks : tuple of str
        Names in the order of the signal's last axis; empty where the model does not say.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    tracks: tuple[str, ...] = ()

    @property
    def track_set(self) -> TrackSet:
        """The tracks with their fields; of an encoder of an older version, by their names alone."""
        return tracks_of_properties(self.tracks, self.properties)

    @property
    def dimensions(self) -> list[str]:
        """Names of the embedding's numbers."""
        names = self.properties.get("dimensions")
        return dimension_names(int(self.output(EMBEDDING).shape[-1])) if names is None else list(json.loads(names))

    def input(self, name: str) -> TensorSpec:
        """Spec of an input.

        Raises
        ------
        Refusal
            There is none of that name.
        """
        return _named(self.inputs, name, f"model {self.name} has no input")

    def output(self, name: str) -> TensorSpec:
        """Spec of an output.

        Raises
        ------
        Refusal
            There is none of that name.
        """
        return _named(self.outputs, name, f"model {self.name} has no output")


def _named(specs: Sequence[TensorSpec], name: str, problem: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    raise bad_request(f"{problem} {shown(name)}; it has {', '.join(spec.name for spec in specs)}")


def shown(value: object, limit: int = 60) -> str:
    """A value of a request as it may stand in a message: quoted, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def check_declared(spec: TensorSpec, datatype: object, shape: object) -> tuple[int, ...]:
    """The shape that a request declares for an input, if it is one that the input can have.

    Raises
    ------
    Refusal
        Wrong datatype, not a shape, wrong number of axes, an empty or a wrong axis.
    """
    if datatype != DATATYPE:
        known = "is not a datatype" if datatype not in DATATYPES else f"is {datatype}"
        raise bad_request(f"input {spec.name}: {shown(datatype)} {known}; send {DATATYPE}")
    if not isinstance(shape, list) or not all(type(length) is int for length in shape):
        raise bad_request(f"input {spec.name}: shape {shown(shape)} is not a list of integers")
    if len(shape) != len(spec.shape):
        raise bad_request(f"input {spec.name}: shape {shown(shape)} has {len(shape)} axes, expected {spec}")
    if any(length < 1 or length >= 2**40 for length in shape):
        raise bad_request(f"input {spec.name}: shape {shown(shape)} is empty or impossible, expected {spec}")
    for length, expected in zip(shape, spec.shape, strict=True):
        if isinstance(expected, int) and length != expected:
            is_tracks = TIME_AXIS in spec.shape
            problem = f"has {length} tracks, the model {expected}" if is_tracks else f"has {length} for {expected}"
            raise bad_request(f"input {spec.name}: shape {shown(shape)} {problem}; expected {spec}")
    return tuple(shape)


def check_together(model: ModelSpec, inputs: Tensors, max_bins: int) -> None:
    """Whether the inputs of a request make one call of the model.

    Raises
    ------
    Refusal
        One is missing, their batches differ, or there are more bins than `max_bins`.
    """
    batch: int | None = None
    for spec in model.inputs:
        if spec.name not in inputs:
            wanted = ", ".join(f"{each.name} {each}" for each in model.inputs)
            raise bad_request(f"input {spec.name} is missing; model {model.name} takes {wanted}")
        shape = inputs[spec.name].shape
        length = shape[spec.batch_axis]
        if batch is not None and length != batch:
            raise bad_request(f"input {spec.name}: batch is {length}, that of {model.inputs[0].name} is {batch}")
        batch = length
        if TIME_AXIS in spec.shape:
            bins = length * shape[spec.shape.index(TIME_AXIS)]
            if bins > max_bins:
                raise bad_request(
                    f"input {spec.name}: {bins:,} bins, more than the {max_bins:,} of a request; send it in parts"
                )


def from_binary(spec: TensorSpec, shape: tuple[int, ...], contents: memoryview | bytes) -> Tensor:
    """View binary contents as a tensor, without copying.

    Raises
    ------
    Refusal
        Their length is not that of the shape.
    """
    expected = math.prod(shape) * DTYPE.itemsize
    if len(contents) != expected:
        raise bad_request(
            f"input {spec.name}: {len(contents):,} bytes of binary data, its shape {list(shape)} takes {expected:,}"
        )
    return np.frombuffer(contents, DTYPE).reshape(shape)


def from_list(spec: TensorSpec, shape: tuple[int, ...], data: object) -> Tensor:
    """Make a tensor of a JSON list, flat or nested as the shape; null stands for NaN.

    Raises
    ------
    Refusal
        Not numbers, or not as many as the shape takes.
    """
    if not isinstance(data, list):
        raise bad_request(f"input {spec.name}: data is {shown(data)}, expected a list of numbers")
    flat = _flatten(spec, shape, data)
    if len(flat) != math.prod(shape):
        raise bad_request(f"input {spec.name}: data has {len(flat):,} numbers, its shape takes {math.prod(shape):,}")
    # NumPy alone would take strings and truth values for numbers.
    if not set(map(type, flat)) <= {float, int, type(None)}:
        raise bad_request(f"input {spec.name}: data holds other than numbers; send numbers, and null for no data")
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, np.float64).astype(np.float32).reshape(shape)
    except OverflowError as error:
        raise bad_request(f"input {spec.name}: data holds a number beyond float32") from error


def _flatten(spec: TensorSpec, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    """Values of a list that is flat or nested as the shape."""
    if not data or not isinstance(data[0], list):
        return data
    for axis, length in enumerate(shape):
        if axis and not all(type(row) is list and len(row) == length for row in data):
            raise bad_request(f"input {spec.name}: data is not nested as its shape {list(shape)}")
        if axis:
            data = list(chain.from_iterable(data))
        elif len(data) != length:
            raise bad_request(f"input {spec.name}: data has {len(data):,} rows, its shape {length:,}")
    return data


def refuse_infinite(model: ModelSpec, inputs: Tensors) -> Refusal | None:
    """Why a result is not finite, if that is the request's fault."""
    for spec in model.inputs:
        values = inputs[spec.name]
        bad = np.isinf(values) if TIME_AXIS in spec.shape else ~np.isfinite(values)
        if bad.any():
            place = [int(index) for index in np.argwhere(bad)[0]]
            is_signal = TIME_AXIS in spec.shape
            rule = "a signal is finite, or NaN where there is no data" if is_signal else "a state is finite"
            return bad_request(f"input {spec.name}: {values[tuple(place)]} at {place}; {rule}")
    return None
