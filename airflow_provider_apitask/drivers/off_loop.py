"""Threads for what would keep an event loop busy for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

__all__ = ["off_loop"]

_T = TypeVar("_T")

#: Two, so that a slow response holds up no other one. More would take the interpreter from the event loop
#: more often, and hold more parsed documents in memory. The loop's own threads resolve host names.
_THREADS = 2


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="apitask-read")


async def off_loop(work: Callable[[], _T]) -> _T:
    """Call a function in a thread and return its value; it runs to its end even if this is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)
