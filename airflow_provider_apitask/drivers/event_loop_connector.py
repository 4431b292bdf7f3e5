"""Connections of a triggerer: aiohttp opens and pools them, and never reads a response by itself."""

from __future__ import annotations

import asyncio
import functools
import socket
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from urllib3.util import wait_for_read

from airflow_provider_apitask.core.framing import FramingError, ResponseFraming
from airflow_provider_apitask.core.messages import Request
from airflow_provider_apitask.drivers.event_loop_resolver import new_resolver
from airflow_provider_apitask.drivers.failures import Progress
from airflow_provider_apitask.drivers.wire import IDLE_SECONDS, KEEP_ALIVE

__all__ = ["Connector", "current"]

#: Connections to one host at a time, for all triggers of a process together.
MAX_CONNECTIONS_PER_HOST = 100

#: The request that the running task sends, and how far it has come.
current: ContextVar[tuple[Request, Progress]] = ContextVar("airflow_provider_apitask_request")


class Connector(aiohttp.TCPConnector):
    """Opens connections, and hands out an idle one only if nothing on it is unread.

    :param pooled: whether connections serve more than one request.
    """

    def __init__(self, *, pooled: bool, **kwargs: Any) -> None:
        super().__init__(
            limit=0,
            limit_per_host=MAX_CONNECTIONS_PER_HOST,
            keepalive_timeout=IDLE_SECONDS,
            resolver=new_resolver(),
            socket_factory=_kept_alive,
            **kwargs,
        )
        self._pooled = pooled
        make: Any = functools.partial(_Protocol, loop=asyncio.get_running_loop())
        self._factory = make

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - the base class's
        """Return a connection for one request, which from then on may be received.

        aiohttp sends an idempotent request again by itself if a reused connection breaks. The core alone
        decides what is sent again, so a second connection for the same request is refused.
        """
        request, progress = current.get()
        if progress.sent:
            raise aiohttp.ServerDisconnectedError
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol: Any = connection.protocol
            progress.reused = protocol.framing is not None
            if progress.reused and protocol.has_unread():
                connection.close()
                continue
            if not self._pooled:
                protocol.force_close()
            progress.framing = protocol.expect(request)
            progress.sent = True
            return connection


class _Protocol(ResponseHandler):
    """Reads each response by :class:`ResponseFraming` and gives aiohttp the plainest form of it.

    aiohttp then sees a status line without header fields and a body in chunks, whatever the server sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        #: Of the last request; None before the first one, when a proxy may answer.
        self.framing: ResponseFraming | None = None
        self._announced = False

    def expect(self, request: Request) -> ResponseFraming:
        """Prepare for the response to a request."""
        self.framing, self._announced = ResponseFraming(request.method), False
        self.framing.limit(request.max_bytes)
        return self.framing

    def has_unread(self) -> bool:
        """Whether the server has sent something that no request asked for, or has closed the connection.

        The event loop may not have heard of it, so the socket itself is asked.
        """
        transport = self.transport
        if transport is None or not transport.is_reading() or self.should_close:
            return True
        return bool(wait_for_read(transport.get_extra_info("socket"), timeout=0.0))

    def data_received(self, data: bytes) -> None:
        """Take bytes of the connection."""
        framing = self.framing
        if framing is None or not data:
            super().data_received(data)
        elif framing.done:
            self._drop()  # no request asked for these bytes
        else:
            self.start_timeout()
            try:
                pieces = framing.feed(data)
            except FramingError:
                self._drop()
            else:
                self._pass_on(framing, pieces)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take the end of the connection, which can be the end of the response."""
        framing = self.framing
        if exc is None and framing is not None and not framing.done and framing.feed_eof():
            self._pass_on(framing, [])
        super().connection_lost(exc)

    def _pass_on(self, framing: ResponseFraming, pieces: list[bytes]) -> None:
        if framing.head is None:
            return
        if framing.closes:
            self.force_close()
        body = b"".join(pieces)
        text = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        if not self._announced:
            self._announced = True
            status = b"HTTP/1.1 %d \r\n" % framing.head.status
            if framing.done and not body:
                super().data_received(status + b"Content-Length: 0\r\n\r\n")
                return
            text = status + b"Transfer-Encoding: chunked\r\n\r\n" + text
        if framing.done:
            text += b"0\r\n\r\n"
        if text:
            super().data_received(text)

    def close(self) -> None:
        """Close the connection at once; by default TLS waits for the server to close it too."""
        if self.transport is not None:
            self.transport.abort()
        super().close()

    def _drop(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()


def _kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket whose idle connections are probed."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    for option in KEEP_ALIVE:
        made.setsockopt(*option)
    return made
