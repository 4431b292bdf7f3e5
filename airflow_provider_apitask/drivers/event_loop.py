"""The event-loop driver: a triggerer's loop, aiohttp underneath."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from asgiref.sync import sync_to_async
from multidict import CIMultiDict
from yarl import URL

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Exclusive, Lookup
from airflow_provider_apitask.core.errors import ConnectionFieldError
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.exchange import conversation
from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response
from airflow_provider_apitask.core.operation import Done, Effort, Inbound, Operation, Wait
from airflow_provider_apitask.core.retry import may_resend, may_reuse_connection
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.uploads import Upload
from airflow_provider_apitask.drivers.body import Body
from airflow_provider_apitask.drivers.event_loop_connector import Connector, current
from airflow_provider_apitask.drivers.failures import Library, Progress, network_failure
from airflow_provider_apitask.drivers.memory import leased
from airflow_provider_apitask.drivers.off_loop import off_loop
from airflow_provider_apitask.drivers.transport import RateLimit, TransportOptions, tls_context
from airflow_provider_apitask.drivers.upload import OpenUpload, open_upload
from airflow_provider_apitask.drivers.watching import Observe, Watched, body_length
from airflow_provider_apitask.drivers.wire import UnusableError, total_seconds, wire_headers

__all__ = ["EventLoopTransport", "drive"]

#: Small, because a piece is decoded at once and can be a thousand times larger then.
_CHUNK = 16 * 1024
#: Bytes of a file that are read at a time, each in a thread.
_UPLOAD_CHUNK = 256 * 1024


async def drive(
    operation: Operation,
    send: Callable[[Request], Awaitable[Inbound]],
    *,
    until: Callable[[State], bool] = lambda state: False,
    on_event: Callable[[Event], None] = lambda event: None,
    clock: Callable[[], float] = time.time,
    ticks: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Done | None:
    """Run an operation until it ends.

    :param until: stops the run, which then returns None, before the next step.
    :param clock: gives Unix time, which deadlines are compared with.
    :param ticks: gives monotonic time, by which waits last.
    """
    while not until(operation.state):
        now = clock()
        step = operation.step(now, ticks())
        if isinstance(step, Done):
            return step
        if isinstance(step, Wait):
            await sleep(max(0.0, step.until - now))
        elif event := await _exchanged(operation, step.request, send, clock, ticks):
            on_event(event)
    return None


async def _exchanged(
    operation: Operation,
    request: Request,
    send: Callable[[Request], Awaitable[Inbound]],
    clock: Callable[[], float],
    ticks: Callable[[], float],
) -> Event | None:
    """Send a request and read what comes; what takes long is read in a thread."""
    with leased():
        inbound, now = await send(request), clock()
        judge, effort = operation.judging(inbound, now, ticks()), operation.effort(inbound)
        move = judge() if effort is Effort.LITTLE else await off_loop(judge, effort)
        return operation.settle(move, inbound, now)


class EventLoopTransport:
    """Sends requests with aiohttp; to be made on its event loop.

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
        context = tls_context(api, self._options) or True
        #: Requests whose outcome would be unknown if an idle connection closes have connections of their own:
        #: a cancel request does not wait for polls either.
        self._fresh_session = _session(Connector(pooled=False, ssl=context))
        self._session = _session(Connector(pooled=True, ssl=context))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sessions and their connections."""
        await self._session.close()
        await self._fresh_session.close()

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
        resent = False
        while True:
            await asyncio.sleep(self._limit.reserve(request, time.monotonic()))
            fresh = resent or not may_reuse_connection(request)
            with Watched(request, observe, resent=resent) as watched:
                session = self._fresh_session if fresh else self._session
                inbound = watched.inbound = await self._opened(request, watched, session)
            lost = watched.progress is not None and watched.progress.lost_in_silence
            if resent or not may_resend(request, inbound, lost_in_silence=lost):
                return inbound
            resent = True

    async def _opened(
        self, request: Request, watched: Watched, session: aiohttp.ClientSession
    ) -> Response | NetworkFailure:
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
            current.set((request, progress))
            return await self._sent(request, upload, progress, watched, session)

    async def _sent(
        self,
        request: Request,
        upload: OpenUpload | None,
        progress: Progress,
        watched: Watched,
        session: aiohttp.ClientSession,
    ) -> Response | NetworkFailure:
        connect, read = request.timeout
        progress.upload_size = upload.size if upload else 0
        watched.size = upload.size if upload else body_length(request)
        try:
            async with session.request(
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
            ) as answer:
                if progress.framing is None or progress.framing.head is None:
                    raise RuntimeError("aiohttp returned a response that was not received")
                head = progress.framing.head
                body = Body(request, head.status, head.headers)
                with leased() as lease:
                    while piece := await answer.content.read(_CHUNK):
                        watched.bytes_received += len(piece)
                        body.feed(piece)
                        await lease.cover(body.size, body.most, read)
                        await asyncio.sleep(0)
                    response = Response(head.status, request.url, head.headers, body.finish())
            self._limit.learn(request, response, time.monotonic(), time.time())
            return response
        except Exception as error:  # noqa: BLE001 - after bytes were sent, any error is an unknown outcome
            progress.expired = type(error) is TimeoutError
            return network_failure(error, request, progress, _LIBRARY)


def _session(connector: Connector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        # What the core does not set is not sent: no default of the library goes along.
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
        trust_env=False,
        auto_decompress=False,
    )


def _data(request: Request, upload: OpenUpload | None) -> Any:
    if upload is not None:
        return _pieces(upload)
    # Not bytes: aiohttp warns of long ones, which it writes in one go.
    return io.BytesIO(request.body) if isinstance(request.body, bytes) and request.body else request.body


async def _pieces(upload: OpenUpload) -> AsyncIterator[bytes]:
    """The body; its files are read in a thread, as a disk or a storage may take its time."""
    while piece := await asyncio.to_thread(upload.read, _UPLOAD_CHUNK):
        yield piece


_LIBRARY = Library(
    errors=(aiohttp.ClientError, HttpProcessingError),
    timeouts=(TimeoutError,),
    names=(aiohttp.InvalidURL,),
    proxy=(aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError),
)
