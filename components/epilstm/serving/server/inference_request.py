"""An inference request, whichever protocol brought it: what it asks for, and whether the model can answer it.

The REST and the gRPC form read their bytes into `InputTensor` and `OutputTensor`; `read_request` is the one place that
checks them, so that both protocols accept and refuse the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epilstm.model.encoder_folder import EMBEDDING
from epilstm.serving.protocol.dimensions import DIMENSIONS, chosen_dimensions
from epilstm.serving.server.refusal import bad_request
from epilstm.serving.server.tensors import (
    DTYPE,
    ModelSpec,
    Tensor,
    Tensors,
    check_declared,
    check_together,
    from_binary,
    from_list,
    shown,
)


@dataclass(frozen=True)
class InputTensor:
    """An input as the client describes it, unchecked.

    Parameters
    ----------
    contents : memoryview, bytes, list or None
        Little-endian binary data, or numbers; None where there are none.
    """

    name: str
    datatype: object
    shape: object
    contents: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputTensor:
    """An output that the client asks for, unchecked.

    Parameters
    ----------
    binary : bool
        Wanted as binary data.
    """

    name: str
    binary: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """Parameters that a form of the protocol has, by the object that they belong to."""

    request: frozenset[str] = frozenset()
    input: frozenset[str] = frozenset()
    output: frozenset[str] = frozenset()


@dataclass(frozen=True)
class InferenceRequest:
    """A request that the model can answer.

    Parameters
    ----------
    inputs : mapping of str to array
        Views of the request's bytes where those are binary.
    outputs : tuple of str
        Wanted, in the order of the answer.
    id : str
        Returned in the answer; may be empty.
    binary : frozenset of str
        Outputs wanted as binary data.
    columns : list of int, optional
        Numbers of the embedding that are wanted; all if not given.
    """

    inputs: Tensors
    outputs: tuple[str, ...]
    id: str = ""
    binary: frozenset[str] = field(default_factory=frozenset)
    columns: list[int] | None = None

    def wanted(self, computed: Tensors) -> dict[str, Tensor]:
        """The outputs that are returned, C-contiguous, in their order."""
        chosen = {name: computed[name] for name in self.outputs}
        if self.columns is not None and EMBEDDING in chosen:
            chosen[EMBEDDING] = chosen[EMBEDDING][..., self.columns]
        return {name: np.ascontiguousarray(values, DTYPE) for name, values in chosen.items()}


def read_request(
    model: ModelSpec,
    protocol: Protocol,
    max_bins: int,
    inputs: Sequence[InputTensor],
    outputs: Sequence[OutputTensor],
    *,
    parameters: Mapping[str, Any],
    request_id: str,
    binary: bool,
) -> InferenceRequest:
    """Check a request against the model.

    Parameters
    ----------
    protocol : Protocol
        Parameters that it has.
    max_bins : int
        Bins (batch x time) of a request at most.
    inputs, outputs : sequence of InputTensor and OutputTensor
        Without outputs, all of the model's are returned.
    parameters : mapping of str to Any
        Of the request as a whole.
    binary : bool
        Whether outputs that are not named are wanted as binary data.

    Raises
    ------
    Refusal
        The model cannot answer it, or it asks for what this server does not do; the message names the first fault.
    """
    check_parameters(parameters, protocol.request, "the request")
    tensors: dict[str, Tensor] = {}
    for given in inputs:
        spec = model.input(given.name)
        if spec.name in tensors:
            raise bad_request(f"input {spec.name} is given twice")
        check_parameters(given.parameters, protocol.input, f"input {spec.name}")
        if given.contents is None:
            raise bad_request(f"input {spec.name}: has no data; send data, or binary data with its binary_data_size")
        shape = check_declared(spec, given.datatype, given.shape)
        read = from_binary if isinstance(given.contents, memoryview | bytes) else from_list
        tensors[spec.name] = read(spec, shape, given.contents)
    check_together(model, tensors, max_bins)
    wanted: dict[str, bool] = {}
    for asked in outputs:
        name = model.output(asked.name).name
        if name in wanted:
            raise bad_request(f"output {name} is asked for twice")
        check_parameters(asked.parameters, protocol.output, f"output {name}")
        wanted[name] = asked.binary
    if not wanted:
        wanted = {spec.name: binary for spec in model.outputs}
    in_binary = frozenset(name for name in wanted if wanted[name])
    return InferenceRequest(tensors, tuple(wanted), request_id, in_binary, _columns(model, parameters.get(DIMENSIONS)))


def _columns(model: ModelSpec, wanted: object) -> list[int] | None:
    if wanted in (None, ""):
        return None
    if not isinstance(wanted, str):
        raise bad_request(f"the request: {DIMENSIONS} is {shown(wanted)}, expected names separated by commas")
    try:
        return chosen_dimensions(model.dimensions, wanted)
    except ValueError as error:
        raise bad_request(f"the request: {DIMENSIONS}: {error}") from error


def check_parameters(parameters: Mapping[str, Any], supported: Collection[str], where: str) -> None:
    """Refuse parameters that would have no effect.

    One with an empty value, such as ``sequence_id`` 0, asks for nothing and is accepted.

    Raises
    ------
    Refusal
        Such as shared memory, sequences, classification, priority or a timeout.
    """
    for name, value in parameters.items():
        if name not in supported and value not in (None, False, 0, ""):
            known = f"; here there is {', '.join(sorted(supported))}" if supported else ""
            raise bad_request(f"{where}: parameter {shown(name)} is not supported{known}")
