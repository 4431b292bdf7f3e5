"""Threads for what would keep an event loop busy for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from airflow_provider_apitask.core.operation import Effort

__all__ = ["off_loop"]

_T = TypeVar("_T")


@cache
def _thread(effort: Effort) -> ThreadPoolExecutor:
    # One for each effort: the event loop would wait until two that parse release the interpreter, and a
    # search that takes seconds must not hold up parsing. The threads of the loop resolve host names.
    return ThreadPoolExecutor(1, thread_name_prefix=f"apitask-{effort.value}")


async def off_loop(work: Callable[[], _T], effort: Effort) -> _T:
    """Call a function in a thread and return its value; it runs to its end even if this is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(_thread(effort), work)
