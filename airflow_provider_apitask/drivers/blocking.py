"""The blocking driver: a worker's thread, requests underneath."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Self

import requests
import urllib3
from requests.hooks import dispatch_hook
from urllib3 import exceptions as uexc
from urllib3.util import Timeout as SocketTimeout

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Exclusive, Lookup
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.exchange import conversation
from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response
from airflow_provider_apitask.core.operation import Done, Inbound, Operation, Wait
from airflow_provider_apitask.core.retry import may_resend, may_reuse_connection
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.drivers.blocking_adapter import Adapter, Attempt
from airflow_provider_apitask.drivers.body import Body, Sink
from airflow_provider_apitask.drivers.failures import Library, Progress, network_failure
from airflow_provider_apitask.drivers.transport import RateLimit, TransportOptions, tls_context
from airflow_provider_apitask.drivers.upload import OpenUpload, open_upload
from airflow_provider_apitask.drivers.watching import Observe, Watched, body_length
from airflow_provider_apitask.drivers.wire import UnusableError, wire_headers

__all__ = ["BlockingTransport", "BriefWait", "OpenSink", "drive"]

_CHUNK = 64 * 1024
#: The same for an answer that goes to a sink: fewer pieces cost less.
_SINK_CHUNK = 256 * 1024
#: Says who takes the content of an answer, of which status and header fields are known; None for nobody.
OpenSink = Callable[[Response], Sink | None]


def drive(
    operation: Operation,
    send: Callable[[Request], Inbound],
    *,
    until: Callable[[State], bool] = lambda state: False,
    on_event: Callable[[Event], None] = lambda event: None,
    clock: Callable[[], float] = time.time,
    ticks: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
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
            sleep(max(0.0, step.until - now))
        elif event := operation.receive(send(step.request), clock(), ticks()):
            on_event(event)
    return None


class BriefWait:
    """A sleep for a worker that polls for a while before it defers.

    :param seconds: after which it is over; earlier if the next poll is due later than that.
    :param sleep: one that can end early, such as by a callback, is not cut short by a later poll.
    """

    def __init__(self, seconds: float, sleep: Callable[[float], None] | None = None) -> None:
        self._ends = time.monotonic() + seconds
        self._sleep = sleep
        self.over = seconds <= 0

    def sleep(self, seconds: float) -> None:
        """Sleep, or note that it is over."""
        left = self._ends - time.monotonic()
        self.over = left <= 0 or (seconds > left and self._sleep is None)
        if not self.over:
            (self._sleep or time.sleep)(min(seconds, left))


class BlockingTransport:
    """Sends requests with :mod:`requests`, a context manager that closes its connections.

    :param look_up: gives the API by the fields that the connection has now, see ``core.auth.Lookup``.
    :raises ConnectionFieldError: where a certificate of the options cannot be read.
    """

    def __init__(
        self,
        api: Api,
        options: TransportOptions | None = None,
        look_up: Callable[[], Api | None] = lambda: None,
    ) -> None:
        self._api = api
        self._look_up = look_up
        self._options = options or TransportOptions()
        # Who renews a credential; the others wait for it rather than get one each.
        self._renewing = threading.Lock()
        # Without a session around it: that reads .netrc and the environment, keeps cookies, and reads
        # the whole body of a redirect.
        self._limit = RateLimit(self._options.rate_limit)
        self._adapter = Adapter(tls_context(api, self._options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._adapter.close()

    def send(
        self,
        request: Request,
        sending: Callable[[], None] | None = None,
        open_sink: OpenSink | None = None,
        observe: Observe | None = None,
    ) -> Inbound:
        """Send one request with all that belongs to it; never raises what the core can judge.

        :param sending: called right before the request itself goes out, after the login and whatever
            else it needs.
        :param open_sink: says who takes the content of the answer; by default it is kept in memory. What
            a sink raises comes out of here.
        :param observe: is told of each request that goes out, also of logins and redirects.
        """
        flow = conversation(request, self._api)
        renewing = False
        try:
            step = next(flow)
            while True:
                if isinstance(step, Request):
                    own = step.purpose is request.purpose
                    if sending is not None and own:
                        sending()
                    step = flow.send(self._transmit(step, open_sink if own else None, observe))
                    continue
                if step is Lookup.CONNECTION:
                    step = flow.send(self._look_up())
                    continue
                if step is Exclusive.ENTER and not renewing:
                    renewing = bool(self._renewing.acquire())
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

    def send_as_is(self, request: Request) -> Response | NetworkFailure:
        """Send one request without credentials, redirects or any judgement."""
        return self._transmit(request)

    def _transmit(
        self, request: Request, open_sink: OpenSink | None = None, observe: Observe | None = None
    ) -> Response | NetworkFailure:
        resent = False
        while True:
            time.sleep(self._limit.reserve(request, time.monotonic()))
            with Watched(request, observe, resent=resent) as watched:
                inbound = watched.inbound = self._sent(request, open_sink, watched, fresh=resent)
            lost = watched.progress is not None and watched.progress.lost_in_silence
            if resent or not may_resend(request, inbound, lost_in_silence=lost):
                return inbound
            resent = True

    def _sent(
        self, request: Request, open_sink: OpenSink | None, watched: Watched, *, fresh: bool
    ) -> Response | NetworkFailure:
        try:
            upload = open_upload(request, self._options.open_file)
        except UnusableError as error:
            return network_failure(error, request, Progress(), _LIBRARY)
        size, fresh = upload.size if upload else 0, fresh or not may_reuse_connection(request)
        with upload or nullcontext(), Attempt(request, size, fresh=fresh) as attempt:
            watched.progress, watched.size = attempt, size or body_length(request)
            try:
                with self._answer(request, upload) as answer:
                    response = self._received(request, answer, attempt, open_sink, watched)
                self._limit.learn(request, response, time.monotonic(), time.time())
                return response
            except _SinkError as error:
                raise error.reason from None
            except Exception as error:  # noqa: BLE001 - after bytes were sent, any error is an unknown outcome
                attempt.expired = attempt.seconds_left <= 0
                return network_failure(error, request, attempt, _LIBRARY)

    def _received(
        self,
        request: Request,
        answer: requests.Response,
        attempt: Attempt,
        open_sink: OpenSink | None,
        watched: Watched,
    ) -> Response:
        framing = attempt.framing
        if framing is None or framing.head is None:
            raise RuntimeError("the authentication returned a response that was not received")
        head = framing.head
        response = Response(head.status, request.url, head.headers)
        sink = _Guarded.of(open_sink, response)
        framing.limit(request.max_bytes if sink is None else sink.limit or sys.maxsize)
        body = Body(request, head.status, head.headers, sink)
        for piece in answer.raw.stream(_CHUNK if sink is None else _SINK_CHUNK, decode_content=False):
            watched.bytes_received += len(piece)
            body.feed(piece)
            if sink is not None:
                attempt.received += len(piece)
        stored = body.size if sink is not None else None
        return replace(response, body=body.finish(), stored=stored)

    def _answer(self, request: Request, upload: OpenUpload | None) -> requests.Response:
        """Send; the classes of requests answer a challenge by a hook that sends once more."""
        connect, read = request.timeout
        proxy = self._options.proxy_for(request.url)
        prepared = _prepared(request, upload)
        if self._options.worker_auth is not None and request.credentials:
            prepared.prepare_cookies({})  # those of a challenge are kept there
            prepared = self._options.worker_auth(prepared)
        how: dict[str, Any] = {
            "stream": True,
            "timeout": SocketTimeout(connect=connect, read=read),
            "proxies": {"all": proxy} if proxy else {},
        }
        answer = self._adapter.send(prepared, **how)
        last: requests.Response = dispatch_hook("response", prepared.hooks, answer, **how)
        return last


def _prepared(request: Request, upload: OpenUpload | None) -> requests.PreparedRequest:
    """The request as it stands: preparing would quote the URL anew and merge header fields."""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url = request.method, request.url
    prepared.body = upload or request.body  # type: ignore[assignment]  # whatever can be read
    # urllib3's own type, as a dict cannot repeat a field.
    headers = urllib3.HTTPHeaderDict()
    for name, value in upload.headers(request) if upload else wire_headers(request):
        # http.client writes Latin-1, so these are the bytes of UTF-8.
        headers.add(name, value.encode("utf-8").decode("latin-1"))
    prepared.headers = headers  # type: ignore[assignment]
    return prepared


class _SinkError(Exception):
    """What the receiver of a response's content raised, on its way past the errors of the network."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


class _Guarded:
    """A sink whose errors are those of the caller."""

    def __init__(self, sink: Sink) -> None:
        self.limit = sink.limit
        self._sink = sink

    @classmethod
    def of(cls, open_sink: OpenSink | None, response: Response) -> Self | None:
        """Open the sink of a response, if it has one."""
        try:
            sink = open_sink(response) if open_sink is not None else None
        except Exception as error:
            raise _SinkError(error) from error
        return cls(sink) if sink is not None else None

    def write(self, data: bytes) -> None:
        """Hand on the next piece."""
        try:
            self._sink.write(data)
        except Exception as error:
            raise _SinkError(error) from error


_LIBRARY = Library(
    errors=(requests.RequestException, uexc.HTTPError, http.client.HTTPException),
    timeouts=(TimeoutError, uexc.TimeoutError),
    names=(uexc.LocationParseError,),
    proxy=(uexc.ProxyError,),
)
