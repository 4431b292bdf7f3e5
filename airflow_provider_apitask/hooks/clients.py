"""One session and one connection lookup for all triggers of a connection in a triggerer.

A lookup takes tens of milliseconds and is answered one at a time by the triggerer's supervisor; a
session of its own would mean a TCP and TLS handshake for each poll. Both are shared here, by event
loop, and looked up anew after a while, so that a changed credential is picked up by jobs that
already run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_provider_apitask.hooks.connection import ApiConnection, read_connection
from airflow_provider_apitask.hooks.fields import ConnectionLike, fingerprint
from airflow_provider_apitask.hooks.masking import mask_on_triggerer

if TYPE_CHECKING:
    from airflow_provider_apitask.core.api import Api
    from airflow_provider_apitask.drivers.event_loop import EventLoopTransport

__all__ = ["Client", "ClientPool", "pool_of_this_loop"]

log = logging.getLogger(__name__)

#: Seconds after which a connection is looked up anew.
LOOKUP_AFTER = 300.0
#: Seconds after which it is tried again where that failed, and the fields of before are used on.
LOOKUP_RETRY = 30.0
#: Seconds from one lookup to the next after a refused credential: a thousand jobs may find out one by one.
LOOKUP_SPACING = 5.0
#: Seconds that one lookup is waited for.
LOOKUP_TIMEOUT = 60.0
#: Seconds that sessions stay open after the last trigger has gone.
LINGER = 60.0

#: What kinds of authentication import when they are first used.
_LIBRARIES = {"OAuth2Auth": "oauthlib.oauth2", "OAuth1Auth": "oauthlib.oauth1", "DigestAuth": "httpx"}

Lookup = Callable[[str], Awaitable[ConnectionLike]]


@dataclass(slots=True, eq=False)
class Client:
    """An API with its open session.

    :param fingerprint: the fields of the connection; where they have changed, so has the client.
    :param looked_up: monotonic time of the last lookup.
    :param fresh_until: monotonic time until which no new lookup is made.
    :param in_use: requests under way.
    :param retired: another client has taken its place, or nobody needs one any more.
    """

    api: Api
    transport: EventLoopTransport
    fingerprint: tuple[object, ...] = field(repr=False)
    fresh_until: float
    looked_up: float = 0.0
    in_use: int = 0
    retired: bool = False


class ClientPool:
    """The clients of one event loop, by connection id.

    :param lookup: finds a connection without blocking.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._clients: dict[str, Client] = {}
        self._pending: dict[str, asyncio.Task[Client]] = {}
        self._holders = 0
        self._closing: asyncio.Task[None] | None = None
        self._gate = asyncio.Lock()

    @property
    def holders(self) -> int:
        """How many hold the sessions open."""
        return self._holders

    async def turn(self) -> None:
        """Wait for one's turn: one trigger in each round of the loop.

        A thousand of them may begin or be told of a connection at once, and what each of them computes
        then adds up to more than others can be kept waiting for.
        """
        async with self._gate:
            await asyncio.sleep(0)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Keep the sessions open; they close some time after the last holder has gone."""
        self._holders += 1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        linger = True
        try:
            yield
        except asyncio.CancelledError as error:
            # Maybe the end of the loop: a task that is started now would never run. Airflow says why it
            # cancels a single trigger, and its job may have to be cancelled with this session.
            linger = bool(error.args)
            raise
        finally:
            self._holders -= 1
            if not self._holders:
                if linger:
                    self._closing = asyncio.create_task(self._close_later())
                else:
                    await self.close()

    @asynccontextmanager
    async def use(self, conn_id: str) -> AsyncIterator[Client]:
        """A client for one request; the first user of a connection looks it up, the others wait for it.

        A client that is known goes on being used while Airflow cannot look its connection up.

        :raises ConnectionFieldError: where the connection cannot be used.
        :raises AirflowNotFoundException: where there is none of this id, or Airflow cannot say.
        :raises TimeoutError: where the lookup is not answered.
        """
        client = self._clients.get(conn_id)
        if client is None or client.fresh_until < time.monotonic():
            client = await self._refreshed(conn_id, client)
        client.in_use += 1
        try:
            yield client
        finally:
            client.in_use -= 1
            if client.retired and not client.in_use:
                await client.transport.close()

    async def close(self) -> None:
        """Close all sessions, those in use after their last request."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await _retire(client)

    async def _look_up_again(self, conn_id: str, refused: Api) -> Api | None:
        """Return the API by the fields that the connection has now; None if it cannot be looked up."""
        client = self._clients.get(conn_id)
        if client is not None and client.api is refused:
            await asyncio.sleep(client.looked_up + LOOKUP_SPACING - time.monotonic())
            try:
                client = await self._refreshed(conn_id, client)
            except Exception as error:  # noqa: BLE001 - the refusal is what the job fails with
                log.warning("The connection %r could not be looked up again: %r", conn_id, error)
                return None
        return None if client is None else client.api

    async def _refreshed(self, conn_id: str, old: Client | None) -> Client:
        task = self._pending.get(conn_id)
        if task is None:
            task = asyncio.create_task(self._look_up(conn_id))
            self._pending[conn_id] = task
            task.add_done_callback(lambda done: self._looked_up(conn_id, done))
        # Neither a caller that is cancelled nor the timeout ends the lookup: others wait for it too, and
        # the triggerer's channel to its supervisor must not lose an answer half-way.
        await asyncio.wait({task}, timeout=LOOKUP_TIMEOUT)
        if task.done():
            return task.result()
        if old is None or old.retired:
            raise TimeoutError(f"no answer for {LOOKUP_TIMEOUT:.0f} s")
        return _kept(old, conn_id, "no answer")

    def _looked_up(self, conn_id: str, task: asyncio.Task[Client]) -> None:
        self._pending.pop(conn_id, None)
        if not task.cancelled():
            task.exception()  # seen, also where everybody who waited for it has gone

    async def _look_up(self, conn_id: str) -> Client:
        old = self._clients.get(conn_id)
        try:
            return await self._found(conn_id, old)
        except Exception as error:
            if old is None or old.retired:
                raise
            return _kept(old, conn_id, repr(error))

    async def _found(self, conn_id: str, old: Client | None) -> Client:
        from airflow_provider_apitask.drivers.event_loop import EventLoopTransport

        conn = await self._lookup(conn_id)
        now = time.monotonic()
        mark = fingerprint(conn)
        if old is not None and not old.retired and old.fingerprint == mark:
            old.looked_up, old.fresh_until = now, now + LOOKUP_AFTER
            return old
        # Reading may import libraries: not on the event loop. In a thread that Airflow knows of, as reading
        # Extra tells the supervisor what to mask, which kills the triggerer of 3.2 from any other.
        read = await sync_to_async(_read, thread_sensitive=False)(conn, mask_on_triggerer)
        if old is not None:
            read.api.redactor.inherit(old.api.redactor)
        transport = EventLoopTransport(
            read.api, read.options, partial(self._look_up_again, conn_id, read.api)
        )
        client = Client(read.api, transport, mark, now + LOOKUP_AFTER, now)
        if not self._holders and self._closing is None:
            # Everybody has gone meanwhile: nobody would close it.
            await _retire(client)
            return client
        self._clients[conn_id] = client
        if old is not None:
            log.info("The connection %r has changed; its new fields are used from now on.", conn_id)
            await _retire(old)
        return client

    async def _close_later(self) -> None:
        try:
            await asyncio.sleep(LINGER)
        except asyncio.CancelledError:
            # Either a new holder has come, or the loop ends and nobody else closes the sessions.
            if self._closing is asyncio.current_task():
                await self.close()
            raise
        self._closing = None  # from here on a new holder must not stop it half-way
        await self.close()


def _read(conn: ConnectionLike, learned: Callable[[str], None]) -> ApiConnection:
    """Read a connection and import what its authentication needs, which takes too long on an event loop."""
    read = read_connection(conn, learned)
    library = _LIBRARIES.get(type(read.api.auth).__name__)
    if library is not None:
        import_module(library)
    return read


async def _retire(client: Client) -> None:
    client.retired = True
    if not client.in_use:
        await client.transport.close()


def _kept(client: Client, conn_id: str, why: str) -> Client:
    client.looked_up = time.monotonic()
    client.fresh_until = client.looked_up + LOOKUP_RETRY
    log.warning(
        "The connection %r could not be looked up anew (%s); its fields as of before are used.", conn_id, why
    )
    return client


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, ClientPool] = WeakKeyDictionary()


def pool_of_this_loop() -> ClientPool:
    """The pool of the running event loop, made at its first use."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = _pools[loop] = ClientPool(_airflow_lookup)
    return pool


async def _airflow_lookup(conn_id: str) -> ConnectionLike:
    from airflow.providers.common.compat.sdk import BaseHook

    found: ConnectionLike = await BaseHook.aget_connection(conn_id)
    return found
