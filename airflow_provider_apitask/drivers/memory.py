"""One budget for the bodies of all responses that an event loop has in memory.

A short response needs no budget, so it never waits. A longer one takes what it can need in one step: because
none holds a part while it waits for another part, they cannot block each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary

from airflow_provider_apitask.core.messages import Failure
from airflow_provider_apitask.drivers.wire import UnusableError

__all__ = ["Budget", "Lease", "leased"]

#: Bytes of all bodies together, without those of short ones.
BUDGET_BYTES = 64 * 1024 * 1024
#: A body up to this length needs no budget, bytes.
FREE_BYTES = 64 * 1024


class Budget:
    """Bytes that are given out in the order in which they were asked for.

    :param size: bytes in all.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Take bytes, when all who asked before have theirs."""
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        ready = asyncio.get_running_loop().create_future()
        self._waiting.append((size, ready))
        try:
            await ready
        except asyncio.CancelledError:
            self.give(0 if ready.cancelled() else size)
            raise

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, ready = self._waiting[0]
            if not ready.cancelled():
                if size > self.free:
                    return
                self.free -= size
                ready.set_result(None)
            self._waiting.popleft()


class Lease:
    """What one request has of the budget: enough for its longest response."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    async def cover(self, length: int, most: int, seconds: float) -> None:
        """Wait until a body of this length can be kept.

        :param length: of the body so far, bytes.
        :param most: of the whole body, bytes.
        :param seconds: to wait.
        :raises UnusableError: if other responses hold the budget for longer.
        """
        most = min(most, self._budget.size)
        if length <= FREE_BYTES or most <= self._size:
            return
        self.release()  # of an earlier body: it would be held while this one waits
        try:
            async with asyncio.timeout(seconds):
                await self._budget.take(most)
        except TimeoutError:
            used = self._budget.size - self._budget.free
            raise UnusableError(
                Failure.MEMORY, f"{used} of {self._budget.size} bytes in use after {seconds:g} s"
            ) from None
        self._size = most

    def release(self) -> None:
        """Give everything back."""
        size, self._size = self._size, 0
        if size:
            self._budget.give(size)


_budgets: WeakKeyDictionary[asyncio.AbstractEventLoop, Budget] = WeakKeyDictionary()
_lease: ContextVar[Lease | None] = ContextVar("apitask_lease", default=None)


@contextmanager
def leased() -> Iterator[Lease]:
    """Hold what the responses of this block need of the budget until its end.

    A block within another one shares its lease.
    """
    if (outer := _lease.get()) is not None:
        yield outer
        return
    lease = Lease(_budgets.setdefault(asyncio.get_running_loop(), Budget(BUDGET_BYTES)))
    token = _lease.set(lease)
    try:
        yield lease
    finally:
        _lease.reset(token)
        lease.release()
