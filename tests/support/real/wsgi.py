"""Any WSGI application on a real server, waitress, with a log of what arrived.

::

    with WsgiServer(app) as server:
        requests.get(f"{server.url}/a?b=1")
    assert [(r.method, r.target, r.status) for r in server.history] == [("GET", "/a?b=1", 200)]
"""

from __future__ import annotations

import io
import logging
import threading
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl

from waitress import create_server, wasyncore
from waitress.task import ThreadedTaskDispatcher

from tests.support import Recorded
from tests.support.real.tls import tls_front

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Handled", "RequestLog", "WsgiServer"]

_STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Handled(Recorded):
    """A request and the status it was answered with.

    Header names are in Title-Case and a header sent twice is one, joined by a comma: WSGI keeps no more.
    """

    status: int


class RequestLog(ABC):
    """Questions to a log of requests."""

    @property
    @abstractmethod
    def history(self) -> list[Handled]:
        """The requests so far, each there before its client sees the answer."""

    def requests(self, method: str | None = None, path: str | None = None) -> list[Handled]:
        """The history, narrowed to a method and a path."""
        return [r for r in self.history if method in (None, r.method) and path in (None, r.path)]

    def wait_for(
        self, count: int, method: str | None = None, path: str | None = None, timeout: float = 5.0
    ) -> None:
        """Block until ``count`` such requests were answered; TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (answered := len(self.requests(method, path))) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{answered} of {count} requests after {timeout} s")
            time.sleep(0.01)


class WsgiServer(RequestLog):
    """waitress on a free port of 127.0.0.1, in threads; a context manager that leaves none behind.

    An exception of the application is answered with 500, kept in ``errors`` and raised at the end of the
    ``with`` block.

    :param ssl_context: speak TLS. waitress does not, so a ``tls_front`` stands before it.
    :param url_scheme: what the application is told instead of the truth.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        ssl_context: ssl.SSLContext | None = None,
        url_scheme: str | None = None,
        threads: int = 16,
    ) -> None:
        self.errors: list[BaseException] = []
        self._app = app
        self._ssl_context = ssl_context
        self._scheme = "https" if ssl_context else "http"
        self._told = url_scheme or self._scheme
        self._threads = threads
        self._log: list[Handled] = []
        self._peers: dict[tuple[str, str], int] = {}
        self._log_lock = threading.Lock()
        self._stack = ExitStack()
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None and self.errors:
            raise self.errors[0]

    @property
    def port(self) -> int:
        """The port that clients use."""
        if not self._port:
            raise RuntimeError("the server was not started")
        return self._port

    @property
    def url(self) -> str:
        """Scheme, address and port, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def history(self) -> list[Handled]:
        with self._log_lock:
            return list(self._log)

    @property
    def connections(self) -> int:
        """TCP connections that carried a request so far."""
        with self._log_lock:
            return len(self._peers)

    def start(self) -> None:
        """Listen on a free port; a server starts once."""
        if self._port:
            raise RuntimeError("this server was started before")
        # Requests that wait for a thread, or still do when the server stops, are no news here.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        waitress = _Waitress(self._record, self._threads, self._told)
        self._stack.callback(waitress.stop)
        waitress.start()
        port = waitress.port
        if self._ssl_context is not None:
            port = self._stack.enter_context(tls_front(self._ssl_context, port))
        self._port = port

    def stop(self) -> None:
        """Let what runs finish, close every connection and join the threads."""
        self._stack.close()

    def _record(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        status = 0

        def started(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, *exc_info)

        try:
            return self._app(environ, started)
        except Exception as error:  # noqa: BLE001 - raised again by __exit__
            self.errors.append(error)
            started("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [f"the application failed: {error!r}".encode()]
        finally:
            self._append(environ, body, status)

    def _append(self, environ: WSGIEnvironment, body: bytes, status: int) -> None:
        target: str = environ["REQUEST_URI"]
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        peer = environ["REMOTE_ADDR"], environ["REMOTE_PORT"]
        with self._log_lock:
            number = self._peers.setdefault(peer, len(self._peers) + 1)
            at, method = time.monotonic(), environ["REQUEST_METHOD"]
            handled = Handled(method, target, path, pairs, _headers(environ), body, at, number, status=status)
            self._log.append(handled)


def _headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    pairs = []
    for key, value in environ.items():
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH") or key.startswith("HTTP_"):
            pairs.append((key.removeprefix("HTTP_").replace("_", "-").title(), value))
    return pairs


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Keeps hold of its threads, so that they can be joined."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[threading.Thread] = []

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        thread = threading.Thread(target=target, name=f"waitress-{thread_no}", args=(thread_no,), daemon=True)
        self.started.append(thread)
        thread.start()


class _Waitress:
    """One waitress server with its loop and its worker threads."""

    def __init__(self, app: WSGIApplication, threads: int, url_scheme: str) -> None:
        self._dispatcher = _Dispatcher()
        self._dispatcher.set_thread_count(threads)
        self._map: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._map,
            _dispatcher=self._dispatcher,
            listen="127.0.0.1:0",
            threads=threads,
            url_scheme=url_scheme,
            connection_limit=4000,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=False,  # the log shows what was sent
            log_socket_errors=False,
        )
        self.port: int = self._server.effective_port
        self._loop = threading.Thread(target=self._server.run, name="waitress-loop", daemon=True)

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        # Workers first: they wake the loop through a pipe that is closed with the connections.
        self._dispatcher.shutdown(timeout=_STOP_SECONDS)
        # A loop that is awake already may close the pipe before it is written to.
        with suppress(OSError):
            self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._map))
        for thread in (self._loop, *self._dispatcher.started):
            thread.join(_STOP_SECONDS)
