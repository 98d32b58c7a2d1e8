"""An encoder in memory: what it takes and gives, and its call."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epilstm.errors import ModelError
from epilstm.model.encoder_folder import EMBEDDING, SIGNAL, STATE_INPUTS, STATE_OUTPUTS
from epilstm.serving.server.providers import Provider
from epilstm.serving.server.tensors import BATCH_AXIS, ModelSpec, Tensors, TensorSpec

#: Names under which the two kinds of encoder are served.
ENCODER_NAME, STATEFUL_NAME = "encoder", "encoder_stateful"

#: Signal values (batch x time x track) of one call: as many as keep a call in a core's cache, or fill a GPU.
#: With 1,014 tracks on a CPU, a call of 100 bins takes 1.15 ms and one of 6,400 bins 2.3 ms per 100.
CALL_VALUES: dict[Provider, int] = {"cpu": 200_000, "cuda": 64_000_000, "tensorrt": 64_000_000}

#: (batch, time) of the calls that warm an encoder up.
WARM_UP_SHAPES = ((1, 1), (1, 100), (2, 10))


@dataclass(frozen=True, eq=False)
class Encoder:
    """One graph in one session; may be called from several threads at once.

    Parameters
    ----------
    provider : str
        Where it runs.
    streaming : Encoder, optional
        The same encoder with its state in and out, for signals too long for one call.
    """

    spec: ModelSpec
    session: Any
    provider: Provider
    streaming: Encoder | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def call_values(self) -> int:
        """Signal values of one call, as far as a request can be divided."""
        return CALL_VALUES[self.provider]

    def __call__(self, inputs: Tensors) -> dict[str, Any]:
        """Outputs by name.

        Parameters
        ----------
        inputs : mapping of str to array
            C-contiguous and aligned float32 arrays of the spec's shapes.
        """
        signal = inputs[SIGNAL]
        if self.streaming is not None and len(signal) == 1 and signal.size > self.call_values and signal.shape[1] > 1:
            return {EMBEDDING: self._in_pieces(self.streaming, signal)}
        names = [spec.name for spec in self.spec.outputs]
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))

    def _in_pieces(self, streaming: Encoder, signal: Any) -> Any:
        """The embedding of one long signal (1, time, track), piece by piece with the state carried on."""
        _, time, tracks = signal.shape
        bins = max(1, self.call_values // tracks)
        state = {
            spec.name: np.zeros(spec.lengths(batch=1), np.float32)
            for spec in streaming.spec.inputs
            if spec.name != SIGNAL
        }
        size = self.spec.output(EMBEDDING).lengths(batch=1, time=time)
        embedding = np.empty(size, np.float32)
        for first in range(0, time, bins):
            outputs = streaming({SIGNAL: signal[:, first : first + bins], **state})
            embedding[:, first : first + bins] = outputs[EMBEDDING]
            state = {name: outputs[carried] for name, carried in zip(STATE_INPUTS, STATE_OUTPUTS, strict=True)}
        return embedding

    def warm_up(self) -> None:
        """Call it on a few small signals.

        Raises
        ------
        ModelError
            It fails, or what it gives is not finite or not of the shape that it declares.
        """
        for batch, time in WARM_UP_SHAPES:
            inputs = {
                spec.name: np.zeros(spec.lengths(batch=batch, time=time), np.float32) for spec in self.spec.inputs
            }
            inputs[SIGNAL][:, ::2] = np.nan
            try:
                outputs = self(inputs)
            except Exception as error:  # onnxruntime's own exceptions share no base but this
                reason = next(iter(str(error).strip().splitlines()), "no reason given")
                raise ModelError(f"{self.spec.name}: the first call failed: {reason}; run export again") from error
            for spec in self.spec.outputs:
                expected = spec.lengths(batch=batch, time=time)
                if outputs[spec.name].shape != expected or not np.isfinite(outputs[spec.name]).all():
                    raise ModelError(f"{self.spec.name}: {spec.name} of an empty signal is unusable; run export again")


def spec_of(session: Any, version: str, properties: Mapping[str, str], source: str) -> ModelSpec:
    """What the protocol says of a graph, if it is an encoder's.

    Parameters
    ----------
    properties : mapping of str to str
        Said of it besides what the file says of itself.
    source : str
        Where it comes from, for messages.

    Raises
    ------
    ModelError
        Its inputs and outputs are not those of an encoder.
    """
    inputs, outputs = ({each.name: each for each in found} for found in (session.get_inputs(), session.get_outputs()))
    stateful = bool(set(STATE_INPUTS) & set(inputs))
    wanted_inputs = {SIGNAL, *STATE_INPUTS} if stateful else {SIGNAL}
    wanted_outputs = {EMBEDDING, *STATE_OUTPUTS} if stateful else {EMBEDDING}
    floats = all(each.type == "tensor(float)" for each in (*inputs.values(), *outputs.values()))
    if set(inputs) != wanted_inputs or set(outputs) != wanted_outputs or not floats:
        raise ModelError(
            f"{source}: not an encoder: it takes {', '.join(inputs)} and gives {', '.join(outputs)}; "
            "give one that 'epilstm export' wrote"
        )
    specs = [tuple(TensorSpec(each.name, tuple(each.shape)) for each in found.values()) for found in (inputs, outputs)]
    for spec in (*specs[0], *specs[1]):
        last = spec.shape[-1] if spec.shape else None
        if len(spec.shape) != 3 or not isinstance(last, int) or BATCH_AXIS not in spec.shape:
            raise ModelError(f"{source}: {spec.name} has shape {spec}; give an encoder that 'epilstm export' wrote")
    said = dict(session.get_modelmeta().custom_metadata_map)
    tracks = _tracks(said.pop("tracks", "[]"), source)
    if tracks and len(tracks) != inputs[SIGNAL].shape[-1]:
        raise ModelError(f"{source}: names {len(tracks)} tracks, takes {inputs[SIGNAL].shape[-1]}; run export again")
    name = STATEFUL_NAME if stateful else ENCODER_NAME
    model = ModelSpec(name, version, specs[0], specs[1], {**said, **properties}, tracks)
    try:
        _ = model.track_set
    except (ValueError, TypeError) as error:
        raise ModelError(f"{source}: the fields of its tracks are unreadable: {error}; run export again") from error
    return model


def _tracks(text: str, source: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, json.loads(text)))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{source}: its list of tracks is unreadable; run export again") from error
