"""requests and urllib3, told to send what the core wrote and nothing else."""

from __future__ import annotations

import functools
import http.client
import ssl
import time
from contextvars import ContextVar
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from airflow_provider_apitask.core.framing import ResponseFraming
from airflow_provider_apitask.core.messages import Request
from airflow_provider_apitask.drivers.failures import Progress
from airflow_provider_apitask.drivers.wire import IDLE_SECONDS, KEEP_ALIVE, total_seconds

__all__ = ["Adapter", "Attempt"]

#: Bytes that are read at a time.
_READ_BYTES = 64 * 1024


class Attempt(Progress):
    """One request on its way: a context manager that its connections ask how long they may wait.

    Timeouts of sockets hold for each piece. A response that drips, in its header or its body, ends when the
    whole request has taken too long, because each read waits no longer than what is left of that.

    :param fresh: whether it shares its connection with no other request.
    """

    __slots__ = ("_begun", "_token", "fresh", "mark", "request")

    def __init__(self, request: Request, upload_size: int = 0, *, fresh: bool = True) -> None:
        super().__init__(upload_size=upload_size)
        self.request = request
        self.fresh = fresh
        #: By which a connection knows the attempt again without keeping its request in memory.
        self.mark = object()
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _current.reset(self._token)

    @property
    def seconds_left(self) -> float:
        """Seconds that the request may still take; a response to a sink may take longer the more has come."""
        moved = self.upload_size + self.received
        return self._begun + total_seconds(self.request.timeout, moved) - time.monotonic()

    def target(self, url: str) -> str:
        """The request target as the core wrote it, in the form (RFC 9112 §3.2) that ``url`` has."""
        if not url.startswith("/"):
            return self.request.url
        parts = urlsplit(self.request.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def sending(self, *, reused: bool) -> None:
        """Note that from now on the server may get the request.

        :param reused: whether an earlier request has used the connection.
        """
        if self.seconds_left <= 0:
            raise TimeoutError
        self.sent, self.reused, self.framing = True, reused, None

    def bound(self, connection: Any) -> None:
        """Let the next operation of a socket take no longer than the request may."""
        left = self.seconds_left
        if left <= 0:
            raise TimeoutError
        connection.settimeout(min(self.request.timeout[1], left))


_current: ContextVar[Attempt] = ContextVar("airflow_provider_apitask_attempt")


#: Small packets at once, as is the default of urllib3, and probes on idle connections.
_SOCKETS = {"socket_options": [*HTTPConnection.default_socket_options, *KEEP_ALIVE]}


class Adapter(HTTPAdapter):
    """Opens connections with one TLS context, and sends over them without rewriting anything."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool for a request, its connections of our kind; by default each would read a CA bundle."""
        parts = urlsplit(str(request.url))
        proxy = (proxies or {}).get("all")
        manager = self.proxy_manager_for(proxy, **_SOCKETS) if proxy else self.poolmanager
        tls = {"ssl_context": self._context} if self._context else {}
        pool: Any = manager.connection_from_host(parts.hostname, parts.port, parts.scheme, pool_kwargs=tls)
        pool.ConnectionCls = _exact(pool.ConnectionCls)
        return pool

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool of connections, whose sockets are kept alive."""
        super().init_poolmanager(*args, **{**kwargs, **_SOCKETS})

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context has it all."""


class _Response(http.client.HTTPResponse):
    """A response that :class:`ResponseFraming` reads; http.client and urllib3 see what it found."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self._content = b""

    def begin(self) -> None:
        """Read the status line and the header."""
        attempt, method = _current.get(), str(self._method)  # type: ignore[attr-defined]
        framing = self._framing = attempt.framing = ResponseFraming(method)
        while (head := framing.head) is None:
            self._receive()
        self.status = self.code = head.status
        self.reason, self.version = head.reason, 11
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in head.headers:
            if name.lower() != "transfer-encoding":  # the content is read without its chunks
                self.msg[name] = value
        self.chunked, self.length = False, None
        self.will_close = framing.closes

    def read(self, amt: int | None = None) -> bytes:
        """Return at most ``amt`` bytes of the content, all of it without; empty at its end."""
        while not self._framing.done and (amt is None or not self._content):
            self._receive()
        data, self._content = self._content[:amt], self._content[len(self._content[:amt]) :]
        if self._framing.done and not self._content and not self.isclosed():
            self._close_conn()  # type: ignore[attr-defined]
        return data

    def _receive(self) -> None:
        _current.get().bound(self._sock)
        data = self.fp.read1(_READ_BYTES)
        if data:
            self._content += b"".join(self._framing.feed(data))
        elif not self._framing.feed_eof():
            raise http.client.RemoteDisconnected("before the end of the response")


class _Exact(HTTPConnection):
    """A connection that sends the target as the core wrote it, and is reused only if that is safe."""

    response_class = _Response
    _used_at = 0.0
    _opened_for: object = None
    _is_shared = False
    _framing: ResponseFraming | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the next request may go over this connection: it is open, and nothing on it is unread.

        Unread bytes would be taken for the response to that request. Requests of an authentication that
        belong together, as those of NTLM do, share the connection that was opened for them.
        """
        if not super().is_connected or (self._framing is not None and self._framing.closes):
            return False
        if getattr(self.sock, "pending", int)():  # decrypted already, so the socket is not readable
            return False
        attempt = _current.get()
        rested = time.monotonic() - self._used_at
        if self._opened_for is attempt.mark:
            return True
        return self._is_shared and not attempt.fresh and rested < IDLE_SECONDS

    def connect(self) -> None:
        """Connect, without a warning for each connection that is not to be verified."""
        attempt = _current.get()
        self._opened_for, self._is_shared, self._framing = attempt.mark, not attempt.fresh, None
        super().connect()
        context = getattr(self, "ssl_context", None)
        if context is not None and context.verify_mode is ssl.CERT_NONE:
            self.is_verified = True

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send: urllib3 would have changed the percent-encoding of the target."""
        attempt = _current.get()
        if self.sock is None:
            self.connect()
        attempt.sending(reused=self._opened_for is not attempt.mark)
        self._used_at = time.monotonic()
        super().request(method, attempt.target(url), *args, **kwargs)

    def send(self, data: Any) -> None:
        """Send a piece of the request within its time."""
        attempt = _current.get()
        if attempt.sent:  # the request to a proxy for a tunnel comes before
            attempt.bound(self.sock)
        super().send(data)

    def getresponse(self) -> Any:
        """Receive the header of the response; its framing decides on the reuse of the connection."""
        response = super().getresponse()
        self._framing = _current.get().framing
        return response


@functools.cache
def _exact(kind: type[HTTPConnection]) -> type[HTTPConnection]:
    """A kind of connection (plain, TLS, SOCKS) made exact."""
    return kind if issubclass(kind, _Exact) else type(f"Exact{kind.__name__}", (_Exact, kind), {})
