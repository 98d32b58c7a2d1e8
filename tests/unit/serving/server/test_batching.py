"""Batching: whoever shares a call with whom, everyone gets their own."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from epilstm.serving.server.batching import Batcher, BatchingLimits, _is_finite
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.tensors import ModelSpec, TensorSpec

TRACKS = 3


class Doubler:
    """An encoder that doubles, and keeps count of its calls; waits for `gate` if it is closed."""

    def __init__(self, call_values: int = 10**9, stateful: bool = False, name: str = "encoder") -> None:
        state = [TensorSpec(name, (2, "batch", 4)) for name in ("h0", "c0")] if stateful else []
        given = [TensorSpec(name, (2, "batch", 4)) for name in ("h", "c")] if stateful else []
        axes = ("batch", "time", TRACKS)
        self.spec = ModelSpec(
            name, "1", (TensorSpec("signal", axes), *state), (TensorSpec("embedding", axes), *given)
        )  # fmt: skip
        self.call_values, self.stateful = call_values, stateful
        self.calls: list[int] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self, inputs):
        self.entered.set()
        self.gate.wait(20)
        self.calls.append(len(inputs["signal"]))
        assert all(array.flags.c_contiguous and array.flags.aligned for array in inputs.values())
        if np.nanmax(inputs["signal"]) == 666:
            raise RuntimeError("no")
        outputs = {"embedding": inputs["signal"] * 2}
        return {**outputs, "h": inputs["h0"] * 3, "c": inputs["c0"] * 5} if self.stateful else outputs


def requests(count: int, batch: int = 1, time: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.standard_normal((batch, time, TRACKS)).astype(np.float32) for _ in range(count)]


def with_batcher(limits: BatchingLimits, act):
    """Run `act(batcher, ask)` in an event loop; `ask(encoder, signal)` answers with the outputs."""

    async def run():
        batcher = Batcher(limits)
        batcher.start()

        async def ask(encoder, signal, seconds=10.0, **state):
            deadline = asyncio.get_running_loop().time() + seconds
            return (await batcher.infer(encoder, {"signal": signal, **state}, deadline))[0]

        try:
            return await act(batcher, ask)
        finally:
            await asyncio.to_thread(batcher.stop)

    return asyncio.run(run())


async def hold_the_worker(encoder: Doubler, ask, **each) -> asyncio.Task:
    """Have the only worker wait at the gate, with a request of its own."""
    encoder.gate.clear()
    held = asyncio.create_task(ask(encoder, requests(1)[0], **each))
    async with asyncio.timeout(10):
        while not encoder.entered.is_set():
            await asyncio.sleep(0.001)
    return held


async def waiting(batcher: Batcher, count: int) -> None:
    async with asyncio.timeout(10):
        while batcher.queue_length != count:
            await asyncio.sleep(0.001)


def answers_of_waiting(encoder, signals, limits):
    """Send all signals while the only worker is held up, then let it go."""

    async def act(batcher, ask):
        held = await hold_the_worker(encoder, ask)
        tasks = [asyncio.create_task(ask(encoder, signal)) for signal in signals]
        await waiting(batcher, len(signals))
        encoder.gate.set()
        await held
        return await asyncio.gather(*tasks)

    return with_batcher(limits, act)


def test_requests_that_wait_share_calls_and_get_their_own_answers():
    encoder, signals = Doubler(), requests(10)
    answers = answers_of_waiting(encoder, signals, BatchingLimits(1, max_batch=4))
    assert encoder.calls == [1, 4, 4, 2]
    for signal, answer in zip(signals, answers, strict=True):
        np.testing.assert_array_equal(answer["embedding"], signal * 2)


def test_requests_of_different_length_do_not_share_a_call():
    encoder = Doubler()
    signals = [*requests(2, time=4), *requests(2, time=5), *requests(1, time=4)]
    answers = answers_of_waiting(encoder, signals, BatchingLimits(1))
    assert encoder.calls == [1, 3, 2]
    for signal, answer in zip(signals, answers, strict=True):
        np.testing.assert_array_equal(answer["embedding"], signal * 2)


def test_a_call_has_no_more_values_than_a_core_likes():
    encoder = Doubler(call_values=3 * 4 * TRACKS)
    answers_of_waiting(encoder, requests(7), BatchingLimits(1))
    assert encoder.calls == [1, 3, 3, 1]


def test_states_are_shared_out_along_their_own_batch_axis():
    encoder = Doubler(stateful=True)
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((2, batch, 4)).astype(np.float32) for batch in (1, 2)]

    async def act(batcher, ask):
        state = np.zeros((2, 1, 4), np.float32)
        held = await hold_the_worker(encoder, ask, h0=state, c0=state)
        signals = [requests(1, batch)[0] for batch in (1, 2)]
        tasks = [
            asyncio.create_task(ask(encoder, signal, h0=each, c0=each))
            for signal, each in zip(signals, states, strict=True)
        ]
        await waiting(batcher, 2)
        encoder.gate.set()
        await held
        return await asyncio.gather(*tasks)

    for answer, state in zip(with_batcher(BatchingLimits(1), act), states, strict=True):
        np.testing.assert_array_equal(answer["h"], state * 3)
        np.testing.assert_array_equal(answer["c"], state * 5)


@pytest.mark.parametrize("stateful", [False, True])
def test_a_large_request_is_done_in_parts_and_put_together(stateful):
    encoder, signal = Doubler(stateful=stateful), requests(1, batch=23)[0]
    state = np.random.default_rng(1).standard_normal((2, 23, 4)).astype(np.float32)
    given = {"h0": state, "c0": state} if stateful else {}
    answer = with_batcher(BatchingLimits(2, max_batch=5), lambda batcher, ask: ask(encoder, signal, **given))
    assert sorted(encoder.calls) == [3, 5, 5, 5, 5]
    np.testing.assert_array_equal(answer["embedding"], signal * 2)
    if stateful:
        np.testing.assert_array_equal(answer["c"], state * 5)


def test_a_worker_waits_for_more_where_a_delay_is_set():
    encoder = Doubler()

    async def act(batcher, ask):
        first, second = requests(2)
        task = asyncio.create_task(ask(encoder, first))
        await asyncio.sleep(0.05)
        await asyncio.gather(task, ask(encoder, second))

    with_batcher(BatchingLimits(1, max_batch=2, max_delay=20), act)
    assert encoder.calls == [2]


def test_what_the_queue_does_not_hold_is_refused_with_a_time_to_retry():
    encoder = Doubler()

    async def act(batcher, ask):
        tasks = [await hold_the_worker(encoder, ask)]
        tasks += [asyncio.create_task(ask(encoder, signal)) for signal in requests(2)]
        await waiting(batcher, 2)
        with pytest.raises(Refusal, match="too many requests") as refused:
            await ask(encoder, requests(1)[0])
        encoder.gate.set()
        await asyncio.gather(*tasks)
        assert batcher.queue_length == 0
        await ask(encoder, requests(1)[0])
        return refused.value

    refusal = with_batcher(BatchingLimits(1, queue=2), act)
    assert refusal.status == Status.TOO_MANY_REQUESTS
    assert refusal.retry_after == 1


def test_a_request_that_waits_too_long_is_refused_and_never_run():
    encoder = Doubler()

    async def act(batcher, ask):
        held = await hold_the_worker(encoder, ask)
        with pytest.raises(Refusal) as refused:
            await ask(encoder, requests(1, time=9)[0], seconds=0.02)
        encoder.gate.set()
        await held
        await ask(encoder, requests(1)[0])
        return refused.value

    assert with_batcher(BatchingLimits(1), act).status == Status.TIMEOUT
    assert len(encoder.calls) == 2


def test_a_request_that_nobody_waits_for_any_more_is_not_run():
    encoder = Doubler()

    async def act(batcher, ask):
        held = await hold_the_worker(encoder, ask)
        left = asyncio.create_task(ask(encoder, requests(1, time=9)[0]))
        await waiting(batcher, 1)
        left.cancel()
        encoder.gate.set()
        await held
        await ask(encoder, requests(1)[0])

    with_batcher(BatchingLimits(1), act)
    assert len(encoder.calls) == 2


def test_a_call_that_fails_fails_its_own_requests_only():
    encoder = Doubler()

    async def act(batcher, ask):
        bad = np.full((1, 4, TRACKS), 666, np.float32)
        with pytest.raises(RuntimeError, match="no"):
            await ask(encoder, bad)
        return await ask(encoder, requests(1)[0])

    np.testing.assert_array_equal(with_batcher(BatchingLimits(1), act)["embedding"], requests(1)[0] * 2)


def test_an_infinite_signal_is_the_clients_error():
    signal = requests(1)[0]
    signal[0, 2, 1] = np.inf
    with pytest.raises(Refusal, match=r"inf at \[0, 2, 1\]") as refused:
        with_batcher(BatchingLimits(1), lambda batcher, ask: ask(Doubler(), signal))
    assert refused.value.status == Status.BAD_REQUEST


def test_stopping_refuses_what_waits():
    encoder = Doubler()

    async def act(batcher, ask):
        held = await hold_the_worker(encoder, ask)
        left = asyncio.create_task(ask(encoder, requests(1)[0]))
        await waiting(batcher, 1)
        threading.Thread(target=lambda: (time.sleep(0.05), encoder.gate.set())).start()
        await asyncio.to_thread(batcher.stop)
        await asyncio.gather(held, return_exceptions=True)
        with pytest.raises(Refusal, match="shutting down"):
            await left

    with_batcher(BatchingLimits(1), act)


@pytest.mark.parametrize(
    ("values", "finite"),
    [([1.0, -2.0], True), ([3e38, -3e38], True), ([1.0, np.nan], False), ([np.inf, 1.0], False), ([-np.inf], False)],
)
@pytest.mark.filterwarnings("error")
def test_outputs_are_known_to_be_finite_though_their_squares_overflow(values, finite):
    assert _is_finite(np.array([values], np.float32)) is finite
