"""requests and urllib3, told to send what the core wrote and nothing else."""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from email import errors as header_defects
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from airflow_provider_apitask.core.messages import Request
from airflow_provider_apitask.drivers.failures import Progress
from airflow_provider_apitask.drivers.wire import IDLE_SECONDS, KEEP_ALIVE, total_seconds

__all__ = ["Adapter", "Attempt"]

_MALFORMED = (
    header_defects.MissingHeaderBodySeparatorDefect,
    header_defects.FirstHeaderLineIsContinuationDefect,
    header_defects.InvalidHeaderDefect,
)


class Attempt(Progress):
    """One request on its way: a context manager that ends it when its time is over.

    Timeouts of sockets hold for each piece. So that an answer cannot drip for ever, in its header or
    its body, a timer shuts the socket down, which ends whatever the thread waits for.
    """

    __slots__ = ("_begun", "_lock", "_over", "_socket", "_timer", "_token", "request")

    def __init__(self, request: Request, upload_size: int = 0) -> None:
        super().__init__(upload_size=upload_size)
        self.request = request
        self._lock = threading.Lock()
        self._over = False
        self._socket: socket.socket | None = None
        self._begun = time.monotonic()
        self._timer = self._new_timer(total_seconds(request.timeout, upload_size))

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        self._timer.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()
        _current.reset(self._token)

    def target(self, url: str) -> str:
        """The request target as the core wrote it, in the form (RFC 9112 §3.2) that ``url`` has."""
        if not url.startswith("/"):
            return self.request.url
        parts = urlsplit(self.request.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def sending(self, connection: Any) -> None:
        """Note that from now on the server may get the request."""
        with self._lock:
            if self.expired:
                raise TimeoutError
            self.sent = True
            # TLS within TLS, to a proxy, is no socket but has one.
            self._socket = getattr(connection, "socket", connection)

    def _new_timer(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        return timer

    def _expire(self) -> None:
        with self._lock:
            if self._over:
                return
            moved = self.upload_size + self.received
            left = self._begun + total_seconds(self.request.timeout, moved) - time.monotonic()
            if left > 0.01:  # a long answer that keeps coming
                self._timer = self._new_timer(left)
                self._timer.start()
                return
            self.expired = True
            if self._socket is not None:
                with suppress(OSError):  # closed meanwhile
                    # Not SSLSocket.shutdown: that drops TLS state which the other thread is using.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


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


class _Lines:
    """Remembers the last line that was read of a header."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self._stream.readline(limit)
        return self.last

    def close(self) -> None:
        self._stream.close()


class _Answer(http.client.HTTPResponse):
    """An answer whose header is read as strictly as aiohttp does.

    http.client takes a connection that breaks within the header for the end of it: an error of the
    network would be a 200 without a body. It also leaves out all fields after a malformed one.
    """

    def begin(self) -> None:
        """Read status and header; informational answers (RFC 9110 §15.2) come before the real one."""
        self._begin_strictly()
        while self.status < 200 and self.status != http.client.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]
            self._begin_strictly()

    def _begin_strictly(self) -> None:
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:  # it is None where http.client gave up
                self.fp = stream
        if not lines.last:
            raise http.client.RemoteDisconnected("within the header")
        if any(isinstance(defect, _MALFORMED) for defect in self.msg.defects):
            raise http.client.HTTPException("malformed header")


class _Exact(HTTPConnection):
    """A connection that sends the target as the core wrote it, and is not used after a long rest."""

    response_class = _Answer
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used once more."""
        return super().is_connected and time.monotonic() - self._used_at < IDLE_SECONDS

    def connect(self) -> None:
        """Connect, without a warning for each connection that is not to be verified."""
        super().connect()
        context = getattr(self, "ssl_context", None)
        if context is not None and context.verify_mode is ssl.CERT_NONE:
            self.is_verified = True

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Send: urllib3 would have changed the percent-encoding of the target."""
        attempt = _current.get()
        if self.sock is None:
            self.connect()
        attempt.sending(self.sock)
        self._used_at = time.monotonic()
        super().request(method, attempt.target(url), *args, **kwargs)


@functools.cache
def _exact(kind: type[HTTPConnection]) -> type[HTTPConnection]:
    """A kind of connection (plain, TLS, SOCKS) made exact."""
    return kind if issubclass(kind, _Exact) else type(f"Exact{kind.__name__}", (_Exact, kind), {})
