"""Name lookups of a triggerer that do not wait for each other.

asyncio looks names up in the loop's few default threads. Slow lookups fill them, and then a healthy host
waits for hosts that it has nothing to do with.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, cast
from weakref import WeakKeyDictionary

from aiohttp import ThreadedResolver

__all__ = ["new_resolver"]

#: Lookups at a time in one event loop. One more fails at once, and its request can be repeated.
MAX_LOOKUPS = 100


class _Lookups:
    """Stands in for the loop of a resolver: each lookup has a thread, and each name one lookup at a time."""

    def __init__(self) -> None:
        self._pending: dict[Hashable, asyncio.Future[Any]] = {}

    async def getaddrinfo(self, host: str, port: int, **kwargs: int) -> Any:
        """Return the addresses of a name.

        :raises OSError: if it has none.
        """
        key = (host, port, *kwargs.items())
        # A caller that gives up does not end the lookup, because others may wait for it.
        return await asyncio.shield(
            self._pending.get(key)
            or self._start(key, functools.partial(socket.getaddrinfo, host, port, **kwargs))
        )

    async def getnameinfo(self, address: tuple[Any, ...], flags: int) -> Any:
        """Return an address as text; a number needs no lookup."""
        return socket.getnameinfo(address, flags)

    def _start(self, key: Hashable, look_up: Callable[[], Any]) -> asyncio.Future[Any]:
        if len(self._pending) >= MAX_LOOKUPS:
            raise socket.gaierror(socket.EAI_AGAIN, f"{MAX_LOOKUPS} other names are being looked up")
        loop = asyncio.get_running_loop()
        lookup = self._pending[key] = loop.create_future()
        lookup.add_done_callback(functools.partial(self._forget, key))

        def run() -> None:
            settle: Callable[[], None]
            try:
                settle = functools.partial(lookup.set_result, look_up())
            except Exception as error:  # noqa: BLE001 - also a name that cannot be encoded
                settle = functools.partial(lookup.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle)

        # Not one of a pool: the process must not wait for it at its end.
        threading.Thread(target=run, name="apitask-lookup", daemon=True).start()
        return lookup

    def _forget(self, key: Hashable, lookup: asyncio.Future[Any]) -> None:
        del self._pending[key]
        lookup.exception()  # marks it as seen, if every caller has given up


_lookups: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookups] = WeakKeyDictionary()


def new_resolver() -> ThreadedResolver:
    """Return a resolver that looks names up as a worker does, also if aiodns is installed."""
    lookups = _lookups.setdefault(asyncio.get_running_loop(), _Lookups())
    return ThreadedResolver(loop=cast("asyncio.AbstractEventLoop", lookups))
