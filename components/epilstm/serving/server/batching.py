"""Requests become calls of an encoder: small ones together, large ones in parts, too many not at all.

Workers, one thread each, take what waits as soon as they are free. So a request that finds a free worker is answered
at once, and requests that wait for one are gathered while they wait: no delay is needed for batches to form, though
one may be set for a GPU.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epilstm.console import log
from epilstm.model.encoder_folder import SIGNAL
from epilstm.serving.server.encoder import Encoder
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.tensors import Tensor, Tensors, refuse_infinite


@dataclass(frozen=True)
class BatchingLimits:
    """How much is gathered, and how much may wait.

    Parameters
    ----------
    workers : int
        Calls of encoders at the same time.
    queue : int
        Requests that may wait for a worker.
    max_batch : int
        Sequences of one call at most.
    max_delay : float
        Seconds that a worker waits for more sequences before it makes a call that could take more.
    """

    workers: int
    queue: int = 64
    max_batch: int = 64
    max_delay: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds from the request to its first call, and from there to its answer."""

    queue: float
    compute: float


@dataclass(eq=False)
class _Job:
    """One request."""

    encoder: Encoder
    inputs: Tensors
    deadline: float
    future: asyncio.Future[dict[str, Tensor]]
    parts: int
    submitted: float
    started: float = 0.0
    outputs: dict[str, Tensor] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        return len(self.inputs[SIGNAL])


@dataclass(eq=False)
class _Part:
    """Sequences `first` to `last` of a request, which go into one call."""

    job: _Job
    first: int
    last: int

    @property
    def sequences(self) -> int:
        return self.last - self.first

    def share_of(self, values: Tensor, batch_axis: int) -> Tensor:
        """Its sequences of an input."""
        if self.sequences == values.shape[batch_axis]:
            return values
        share: Tensor = values[_along(batch_axis, self.first, self.last)]
        return share

    def fits(self, other: _Part) -> bool:
        """Whether both can be in one call."""
        mine, others = self.job, other.job
        return mine.encoder is others.encoder and mine.inputs[SIGNAL].shape[1] == others.inputs[SIGNAL].shape[1]


class Batcher:
    """Gathers requests and runs them.

    Parameters
    ----------
    on_call : callable
        Called with the encoder, the sequences and the seconds of every call, in the event loop.

    `infer` is called from the event loop that `start` was called from.
    """

    def __init__(
        self, limits: BatchingLimits, on_call: Callable[[Encoder, int, float], None] = lambda *ignored: None
    ) -> None:
        self.limits, self.on_call = limits, on_call
        self._parts: deque[_Part] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._waiting_jobs = 0
        self._waiting_values = 0
        self._values_per_second = 0.0
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the workers."""
        self._loop = asyncio.get_running_loop()
        for number in range(self.limits.workers):
            thread = threading.Thread(target=self._work, name=f"encoder-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop the workers after what they are at; what waits is refused."""
        with self._changed:
            self._stopped = True
            left = {part.job for part in self._parts}
            self._parts.clear()
            self._changed.notify_all()
        for job in left:
            _fail(job, Refusal(Status.UNAVAILABLE, "the server is shutting down"))
        for thread in self._threads:
            thread.join()

    @property
    def queue_length(self) -> int:
        """Requests that wait for a worker."""
        return self._waiting_jobs

    def expected_wait(self) -> float:
        """Seconds until what waits now is done, by the speed of the latest calls."""
        speed = self._values_per_second * self.limits.workers
        return self._waiting_values / speed if speed else 0.0

    async def infer(self, encoder: Encoder, inputs: Tensors, deadline: float) -> tuple[dict[str, Tensor], Timing]:
        """Outputs for a request's inputs.

        Parameters
        ----------
        inputs : mapping of str to array
            Checked (`epilstm.serving.server.tensors.check_together`).
        deadline : float
            Of the event loop's clock; the request is dropped if it has not begun by then.

        Raises
        ------
        Refusal
            Too many wait already, the deadline has passed, or the input is infinite.
        """
        now = self._loop.time()
        wait = self.expected_wait()
        if self._waiting_jobs >= self.limits.queue or wait > deadline - now:
            seconds = max(1, math.ceil(wait))
            raise Refusal(Status.TOO_MANY_REQUESTS, f"too many requests are waiting; retry in {seconds} s", seconds)
        job = self._submit(encoder, inputs, deadline, now)
        # A third of what asyncio.timeout costs.
        expiry = self._loop.call_at(deadline, _expire, job)
        try:
            outputs = await job.future
        finally:
            expiry.cancel()
        if not all(map(_is_finite, outputs.values())):
            problem = refuse_infinite(encoder.spec, inputs)
            if problem is not None:
                raise problem
        return outputs, Timing(job.started - now, self._loop.time() - job.started)

    def _submit(self, encoder: Encoder, inputs: Tensors, deadline: float, now: float) -> _Job:
        signal = inputs[SIGNAL]
        batch = len(signal)
        size = max(1, min(self.limits.max_batch, encoder.call_values // (signal.size // batch)))
        edges = [*range(0, batch, size), batch]
        job = _Job(encoder, inputs, deadline, self._loop.create_future(), len(edges) - 1, now)
        with self._changed:
            self._parts.extend(_Part(job, first, last) for first, last in itertools.pairwise(edges))
            self._waiting_jobs += 1
            self._waiting_values += signal.size
            self._changed.notify(min(job.parts, self.limits.workers))
        return job

    def _work(self) -> None:
        while True:
            parts = self._take()
            if parts is None:
                return
            started = time.perf_counter()
            try:
                results = _call(parts)
            except Exception as error:  # a bug or a full memory: this call's requests fail, the worker continues
                log.error("a call failed", exc_info=error)
                self._loop.call_soon_threadsafe(self._failed, parts, error)
                continue
            seconds = time.perf_counter() - started
            self._loop.call_soon_threadsafe(self._finished, parts, results, seconds)

    def _take(self) -> list[_Part] | None:
        """The next call's parts; waits for them. None when the batcher has stopped."""
        with self._changed:
            while True:
                while not self._parts and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return None
                first = self._next()
                if first is not None:
                    break
            parts = [first]
            encoder, signal = first.job.encoder, first.job.inputs[SIGNAL]
            free = max(1, min(self.limits.max_batch, encoder.call_values // (signal.size // len(signal))))
            free -= first.sequences
            until = time.monotonic() + self.limits.max_delay
            while free > 0 and not self._stopped:
                more = self._gather(first, free)
                parts += more
                free -= sum(part.sequences for part in more)
                left = until - time.monotonic()
                if free <= 0 or left <= 0:
                    break
                self._changed.wait(left)
            return parts

    def _next(self) -> _Part | None:
        """The oldest part that someone still waits for."""
        while self._parts:
            part = self._parts.popleft()
            if self._begin(part):
                return part
        return None

    def _gather(self, first: _Part, free: int) -> list[_Part]:
        """Parts that fit into one call with the first, oldest first."""
        found: list[_Part] = []
        if not self._parts:
            return found
        kept: deque[_Part] = deque()
        while self._parts and free > 0:
            part = self._parts.popleft()
            if not first.fits(part) or part.sequences > free:
                kept.append(part)
            elif self._begin(part):
                found.append(part)
                free -= part.sequences
        kept.extend(self._parts)
        self._parts = kept
        return found

    def _begin(self, part: _Part) -> bool:
        """Whether a part is still wanted; the first of a request's parts ends its waiting."""
        job = part.job
        now = self._loop.time()
        self._waiting_values -= part.sequences * job.inputs[SIGNAL][0].size
        if not job.started:
            job.started = now
            self._waiting_jobs -= 1
        return not job.future.done() and now < job.deadline

    def _finished(self, parts: Sequence[_Part], results: Sequence[dict[str, Tensor]], seconds: float) -> None:
        sequences = sum([part.sequences for part in parts])
        signal = parts[0].job.inputs[SIGNAL]
        speed = sequences * (signal.size // len(signal)) / max(seconds, 1e-9)
        self._values_per_second += (speed - self._values_per_second) * (0.1 if self._values_per_second else 1)
        self.on_call(parts[0].job.encoder, sequences, seconds)
        for part, outputs in zip(parts, results, strict=True):
            job = part.job
            if job.future.done():
                continue
            if part.sequences == job.batch:
                job.future.set_result(outputs)
                continue
            _put(job, part, outputs)
            job.parts -= 1
            if job.parts == 0:
                job.future.set_result(job.outputs)

    def _failed(self, parts: Sequence[_Part], error: Exception) -> None:
        for part in parts:
            _fail(part.job, error)


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)


def _expire(job: _Job) -> None:
    _fail(job, Refusal(Status.TIMEOUT, "not answered in time; send fewer bins or retry later", 1))


def _is_finite(values: Tensor) -> bool:
    flat = values.ravel()
    # One pass that makes no array, and vdot does not warn; a sum of squares that overflows is looked at again.
    return math.isfinite(np.vdot(flat, flat)) or bool(np.isfinite(flat).all())


def _put(job: _Job, part: _Part, outputs: dict[str, Tensor]) -> None:
    """Put a part's outputs in their place among the request's."""
    for spec in job.encoder.spec.outputs:
        values = outputs[spec.name]
        if spec.name not in job.outputs:
            shape = list(values.shape)
            shape[spec.batch_axis] = job.batch
            job.outputs[spec.name] = np.empty(shape, np.float32)
        job.outputs[spec.name][_along(spec.batch_axis, part.first, part.last)] = values


def _call(parts: Sequence[_Part]) -> list[dict[str, Tensor]]:
    """One call of an encoder, and each part's share of what it gives."""
    encoder = parts[0].job.encoder
    inputs: dict[str, Tensor] = {}
    for spec in encoder.spec.inputs:
        pieces = [part.share_of(part.job.inputs[spec.name], spec.batch_axis) for part in parts]
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=spec.batch_axis)
        usable = joined.flags.c_contiguous and joined.flags.aligned and joined.dtype == np.float32
        inputs[spec.name] = joined if usable else np.require(joined, np.float32, ["C", "A"])
    outputs = encoder(inputs)
    if len(parts) == 1:
        return [outputs]
    shares: list[dict[str, Tensor]] = []
    first = 0
    for part in parts:
        last = first + part.sequences
        shares.append(
            {spec.name: outputs[spec.name][_along(spec.batch_axis, first, last)] for spec in encoder.spec.outputs}
        )
        first = last
    return shares


def _along(axis: int, first: int, last: int) -> tuple[Any, ...]:
    return (slice(None),) * axis + (slice(first, last),)
