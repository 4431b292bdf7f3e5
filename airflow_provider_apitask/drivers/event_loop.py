"""The event-loop driver: a triggerer's loop, aiohttp underneath."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from asgiref.sync import sync_to_async
from multidict import CIMultiDict
from yarl import URL

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Exclusive, Lookup
from airflow_provider_apitask.core.errors import ConnectionFieldError
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.exchange import conversation
from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response
from airflow_provider_apitask.core.operation import Done, Inbound, Operation, Wait
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.uploads import Upload
from airflow_provider_apitask.drivers.body import Body
from airflow_provider_apitask.drivers.failures import Library, Progress, network_failure
from airflow_provider_apitask.drivers.transport import RateLimit, TransportOptions, tls_context
from airflow_provider_apitask.drivers.upload import OpenUpload, open_upload
from airflow_provider_apitask.drivers.watching import Observe, Watched, body_length
from airflow_provider_apitask.drivers.wire import (
    IDLE_SECONDS,
    KEEP_ALIVE,
    MAX_FIELD_SIZE,
    UnusableError,
    checked_headers,
    total_seconds,
    wire_headers,
)

__all__ = ["EventLoopTransport", "drive"]

#: Small, because a piece is decoded at once and can be a thousand times larger then.
_CHUNK = 16 * 1024
#: Bytes of a file that are read at a time, each in a thread.
_UPLOAD_CHUNK = 256 * 1024
#: How often the loop goes round before a request until it knows which idle connections the server has
#: closed: twice for plain ones, three times with TLS, and one to spare. On such a one a POST is lost, and
#: nobody could tell that it was not received.
_LOOKS = 4
#: Connections to one API at a time, for all triggers of a process together.
_MAX_CONNECTIONS = 100


async def drive(
    operation: Operation,
    send: Callable[[Request], Awaitable[Inbound]],
    *,
    until: Callable[[State], bool] = lambda state: False,
    on_event: Callable[[Event], None] = lambda event: None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Done | None:
    """Run an operation until it ends.

    :param until: stops the run, which then returns None, before the next step.
    """
    while not until(operation.state):
        step = operation.step(clock())
        if isinstance(step, Done):
            return step
        if isinstance(step, Wait):
            await sleep(max(0.0, step.until - clock()))
        elif event := operation.receive(await send(step.request), clock()):
            on_event(event)
    return None


class EventLoopTransport:
    """Sends requests over one :class:`aiohttp.ClientSession`; to be made on its event loop.

    :param look_up: gives the API by the fields that the connection has now, see ``core.auth.Lookup``.
    :raises ConnectionFieldError: where a certificate of the options cannot be read.
    """

    def __init__(
        self,
        api: Api,
        options: TransportOptions | None = None,
        look_up: Callable[[], Awaitable[Api | None]] | None = None,
    ) -> None:
        self._api = api
        self._look_up = look_up
        self._options = options or TransportOptions()
        # Who renews a credential; the others wait for it rather than get one each.
        self._renewing = asyncio.Lock()
        if self._options.worker_auth is not None:
            raise ConnectionFieldError(
                f"The connection {api.conn_id!r} authenticates by a class of the requests library, which "
                "works on a worker alone: set deferrable=False on the task, or use another auth_type.",
                conn_id=api.conn_id,
                field="auth_type",
            )
        self._limit = RateLimit(self._options.rate_limit)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_MAX_CONNECTIONS,
                ssl=tls_context(api, self._options) or True,
                keepalive_timeout=IDLE_SECONDS,
                # Names resolve as on a worker, also where aiodns is installed.
                resolver=aiohttp.ThreadedResolver(),
                socket_factory=_kept_alive,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # What the core does not set is not sent: no default of the library goes along.
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            trust_env=False,
            auto_decompress=False,
            max_line_size=MAX_FIELD_SIZE,
            max_field_size=MAX_FIELD_SIZE,
            trace_configs=[_watching()],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session and its connections."""
        await self._session.close()

    async def send(self, request: Request, observe: Observe | None = None) -> Inbound:
        """Send one request with all that belongs to it; never raises what the core can judge.

        :param observe: is told of each request that goes out, also of logins and redirects.
        """
        flow = conversation(request, self._api)
        renewing = False
        try:
            step = next(flow)
            while True:
                if isinstance(step, Request):
                    step = flow.send(await self._transmit(step, observe))
                    continue
                if step is Lookup.CONNECTION:
                    step = flow.send(None if self._look_up is None else await self._look_up())
                    continue
                if step is Exclusive.ENTER and not renewing:
                    renewing = bool(await self._renewing.acquire())
                elif step is Exclusive.LEAVE and renewing:
                    self._renewing.release()
                    renewing = False
                step = flow.send(None)
        except StopIteration as stop:
            outcome: Inbound = stop.value
            return outcome
        finally:
            if renewing:
                self._renewing.release()
            flow.close()

    async def _transmit(self, request: Request, observe: Observe | None = None) -> Response | NetworkFailure:
        await asyncio.sleep(self._limit.reserve(request, time.monotonic()))
        with Watched(request, observe) as watched:
            inbound = watched.inbound = await self._opened(request, watched)
            return inbound

    async def _opened(self, request: Request, watched: Watched) -> Response | NetworkFailure:
        progress = watched.progress = Progress()
        try:
            # A storage may look up its connection: in a thread that Airflow knows of.
            upload = (
                await sync_to_async(open_upload, thread_sensitive=False)(request, self._options.open_file)
                if isinstance(request.body, Upload)
                else None
            )
        except UnusableError as error:
            return network_failure(error, request, progress, _LIBRARY)
        with upload or nullcontext():
            return await self._sent(request, upload, progress, watched)

    async def _sent(
        self, request: Request, upload: OpenUpload | None, progress: Progress, watched: Watched
    ) -> Response | NetworkFailure:
        connect, read = request.timeout
        progress.upload_size = upload.size if upload else 0
        watched.size = upload.size if upload else body_length(request)
        for _ in range(_LOOKS):
            await asyncio.sleep(0)
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=CIMultiDict(upload.headers(request) if upload else wire_headers(request)),
                data=_data(request, upload),
                allow_redirects=False,
                proxy=self._options.proxy_for(request.url),
                timeout=aiohttp.ClientTimeout(
                    total=total_seconds(request.timeout, progress.upload_size),
                    sock_connect=connect,
                    sock_read=read,
                ),
                trace_request_ctx=progress,
            ) as answer:
                progress.answered = True
                headers = checked_headers([(_text(n), _text(v)) for n, v in answer.raw_headers])
                body = Body(request, answer.status, headers)
                while piece := await _piece(answer, read):
                    watched.bytes_received += len(piece)
                    body.feed(piece)
                    await asyncio.sleep(0)
                response = Response(answer.status, request.url, headers, body.finish())
            self._limit.learn(request, response, time.monotonic(), time.time())
            return response
        except (aiohttp.ClientError, HttpProcessingError, OSError, UnusableError) as error:
            progress.expired = type(error) is TimeoutError
            return network_failure(error, request, progress, _LIBRARY)
        except ValueError as error:
            if progress.sent:
                raise  # a defect in here, and not what the request says
            return network_failure(error, request, progress, _LIBRARY)


def _data(request: Request, upload: OpenUpload | None) -> Any:
    if upload is not None:
        return _pieces(upload)
    # Not bytes: aiohttp warns of long ones, which it writes in one go.
    return io.BytesIO(request.body) if isinstance(request.body, bytes) and request.body else request.body


async def _pieces(upload: OpenUpload) -> AsyncIterator[bytes]:
    """The body; its files are read in a thread, as a disk or a storage may take its time."""
    while piece := await asyncio.to_thread(upload.read, _UPLOAD_CHUNK):
        yield piece


async def _piece(answer: aiohttp.ClientResponse, seconds: float) -> bytes:
    """The next piece of the body, empty at its end.

    Of a malformed chunk aiohttp tells its protocol alone: whoever reads the body would wait in vain.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await answer.content.read(_CHUNK)
    except TimeoutError as error:
        if not limit.expired():
            raise
        # None is asked for by name: an empty protocol is false.
        protocol = answer.connection.protocol if answer.connection is not None else None
        known = protocol.exception() if protocol is not None else None
        raise known or aiohttp.SocketTimeoutError from error


def _kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket whose idle connections are probed."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    for option in KEEP_ALIVE:
        made.setsockopt(*option)
    return made


def _watching() -> aiohttp.TraceConfig:
    """Hooks that note when a request is sent, and refuse to send it twice.

    aiohttp sends an idempotent request again where the server has closed a reused connection. Here the core
    alone decides what is sent again, and knows of each sending.
    """
    trace = aiohttp.TraceConfig()

    async def sending(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
        context.trace_request_ctx.sent = True

    async def connecting(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
        if context.trace_request_ctx.sent:
            raise aiohttp.ServerDisconnectedError

    trace.on_request_headers_sent.append(sending)
    trace.on_connection_create_start.append(connecting)
    trace.on_connection_reuseconn.append(connecting)
    return trace


def _text(field: bytes) -> str:
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError:
        return field.decode("latin-1")


def _is_invalid(error: BaseException) -> bool:
    """Whether what came is not HTTP; a body that breaks off is an error of its encoding to aiohttp."""
    if isinstance(error, PayloadEncodingError):
        return False
    return isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError))


_LIBRARY = Library(
    timeouts=(TimeoutError,),
    names=(aiohttp.InvalidURL,),
    proxy=(aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError),
    is_invalid=_is_invalid,
)
