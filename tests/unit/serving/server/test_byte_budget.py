"""Messages are received one after the other where they would not fit into memory together."""

from __future__ import annotations

import asyncio

import pytest

from epilstm.serving.server.budget import ByteBudget
from epilstm.serving.server.refusal import Refusal, Status


def run(scenario):
    return asyncio.run(scenario)


def test_no_more_is_held_than_the_total_and_who_came_first_is_first():
    async def scenario():
        budget, order = ByteBudget(100, 40), []

        async def message(number: int) -> None:
            await budget.reserve(10)
            order.append(number)
            assert budget.held <= budget.total
            await asyncio.sleep(0)
            budget.give_back(40 - 10)
            await asyncio.sleep(0)
            budget.give_back(10)

        await asyncio.gather(*(message(number) for number in range(20)))
        return budget.held, order

    assert run(scenario()) == (0, list(range(20)))


def test_without_a_free_budget_in_time_a_request_is_refused_with_when_to_retry():
    async def scenario():
        budget = ByteBudget(40, 40)
        await budget.reserve(1)
        with pytest.raises(Refusal) as caught:
            await budget.reserve(0.01)
        assert (caught.value.status, caught.value.retry_after) == (Status.TOO_MANY_REQUESTS, 1)
        budget.give_back(40)
        await budget.reserve(1)
        return budget.held

    assert run(scenario()) == 40


def test_who_leaves_the_queue_leaves_nothing_behind():
    async def scenario():
        budget = ByteBudget(40, 40)
        await budget.reserve(1)
        waiting = [asyncio.create_task(budget.reserve(10)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        budget.give_back(40)  # granted to the second
        waiting[1].cancel()  # before it could take it
        await asyncio.gather(*waiting, return_exceptions=True)
        assert [task.cancelled() for task in waiting] == [True, True, False]
        return budget.held

    assert run(scenario()) == 40


def test_a_message_may_be_as_large_as_the_total():
    assert ByteBudget(10, 40).total == 40
