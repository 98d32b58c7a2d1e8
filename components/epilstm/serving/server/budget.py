"""A bound on the bytes of messages that are being received or worked on."""

from __future__ import annotations

import asyncio
from collections import deque

from epilstm.serving.server.refusal import Refusal, Status


class ByteBudget:
    """Shared out first come, first served, from one event loop.

    Parameters
    ----------
    total : int
        Bytes.
    message : int
        Bytes that a message may have: reserved while it is received, since its length is not known before.
    """

    def __init__(self, total: int, message: int) -> None:
        self.total, self.message = max(total, message), message
        self.held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, seconds: float) -> None:
        """Reserve the bytes of a message, as soon as they are free.

        Raises
        ------
        Refusal
            They are not free within so many seconds.
        """
        if not self._waiting and self.held + self.message <= self.total:
            self.held += self.message
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back(self.message)
            turn.cancel()
            if isinstance(error, TimeoutError):
                message = "too many messages are being received; retry in 1 s"
                raise Refusal(Status.TOO_MANY_REQUESTS, message, 1) from None
            raise

    def give_back(self, count: int) -> None:
        """Free bytes, which messages that wait then reserve."""
        self.held -= count
        while self._waiting and self.held + self.message <= self.total:
            turn = self._waiting.popleft()
            if not turn.done():
                self.held += self.message
                turn.set_result(None)
