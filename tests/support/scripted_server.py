"""A real HTTP/1.1 server on localhost that answers what a test scripted, faults included.

Contract tests drive it with the blocking and the event-loop driver and compare what arrived::

    with ScriptedServer() as server:
        server.on("POST", "/runs", Answer(202, {"id": 7}))
        server.on("GET", "/runs/7", Answer(503), Answer(json={"status": "done"}))
        ...
        assert [(r.method, r.target) for r in server.history] == [...]

One thread per connection. A request is recorded once it was read in full and before its answer is made, so
what a dropped or never answered request looked like can be asserted as well.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl

from tests.support import Answer, Recorded, Scripted, refused_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Answer", "Recorded", "Scripted", "ScriptedServer", "Traced", "refused_url"]

_FILLER: Final = b"x" * 65536
_DRIPS_PER_SECOND: Final = 20
# Two drivers may differ in these without sending a different request.
_CLIENT_HEADERS: Final = frozenset({"user-agent", "host", "connection", "accept-encoding"})

Traced: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...], bytes]
"""Method, target, sorted headers with lower-case names, body."""


class ScriptedServer:
    """Scripted answers by method and path; see the module's head. Use it as a context manager.

    ``hang_limit`` bounds, in seconds, how long a ``hang`` keeps its connection. An exception raised by a
    scripted callable is answered with 500, kept in ``errors`` and raised at the end of the ``with`` block.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, hang_limit: float = 30.0) -> None:
        self.ssl_context = ssl_context
        self.hang_limit = hang_limit
        self.history: list[Recorded] = []
        self.errors: list[Exception] = []
        self.stopping = threading.Event()
        self._arrived = threading.Condition()
        self._once: dict[tuple[str, str], deque[Scripted]] = {}
        self._always: dict[tuple[str, str], deque[Scripted]] = {}
        self._httpd: _Httpd | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None and self.errors:
            raise self.errors[0]

    def start(self) -> None:
        """Listen on a free port; a server starts once."""
        if self._httpd is not None:
            raise RuntimeError("this server was started before")
        self._httpd = _Httpd(self)
        self._httpd.start()

    def stop(self) -> None:
        """Close every connection, wake what waits, and join the threads."""
        self.stopping.set()
        self._running.stop()

    @property
    def _running(self) -> _Httpd:
        if self._httpd is None:
            raise RuntimeError("the server was not started")
        return self._httpd

    @property
    def url(self) -> str:
        """Scheme, address and port, without a slash at the end."""
        return f"{'https' if self.ssl_context else 'http'}://127.0.0.1:{self._running.server_address[1]}"

    @property
    def connections(self) -> int:
        """TCP connections accepted so far."""
        return self._running.accepted

    def on(self, method: str, path: str, *answers: Scripted) -> None:
        """Answer ``path`` (as sent, without query) with these in turn, the last one for ever.

        Replaces what an earlier ``on`` left for the same method and path.
        """
        if not answers:
            raise ValueError("on() needs at least one answer")
        with self._arrived:
            self._always[method, path] = deque(answers)

    def once(self, method: str, path: str, *answers: Scripted) -> None:
        """Queue answers that are used up before anything else: faults in front of the normal behaviour."""
        with self._arrived:
            self._once.setdefault((method, path), deque()).extend(answers)

    def requests(self, method: str | None = None, path: str | None = None) -> list[Recorded]:
        """The history, narrowed to a method and a path."""
        with self._arrived:
            return [r for r in self.history if method in (None, r.method) and path in (None, r.path)]

    def wait_for(
        self, count: int, method: str | None = None, path: str | None = None, timeout: float = 60.0
    ) -> None:
        """Block until ``count`` such requests arrived; TimeoutError after ``timeout`` seconds."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests(method, path)) >= count, timeout):
                arrived = len(self.requests(method, path))
                raise TimeoutError(f"{arrived} of {count} requests after {timeout} s")

    def trace(self) -> list[Traced]:
        """The history without what may differ between two clients: for comparing drivers."""
        traced: list[Traced] = []
        for r in self.requests():
            headers = sorted((k.lower(), v) for k, v in r.headers if k.lower() not in _CLIENT_HEADERS)
            traced.append((r.method, r.target, tuple(headers), r.body))
        return traced

    def unscripted(self, request: Recorded) -> Answer:
        """The answer to a request nothing was scripted for; a subclass puts its behaviour here."""
        return Answer(404, {"detail": f"nothing scripted for {request.method} {request.path}"})

    def answer(self, request: Recorded) -> Answer:
        """Record a request and produce its answer. Called by connection threads."""
        key = request.method, request.path
        with self._arrived:
            self.history.append(request)
            self._arrived.notify_all()
            if queue := self._once.get(key):
                scripted: Scripted = queue.popleft()
            elif queue := self._always.get(key):
                scripted = queue.popleft() if len(queue) > 1 else queue[0]
            else:
                scripted = self.unscripted
        if isinstance(scripted, Answer):
            return scripted
        try:
            return scripted(request)
        except Exception as error:  # noqa: BLE001 - raised again by __exit__
            self.errors.append(error)
            return Answer(500, {"detail": f"the script failed: {error!r}"})


class _Httpd(ThreadingHTTPServer):
    """The accept loop; it keeps hold of sockets and threads so that stopping leaves none behind."""

    daemon_threads = True
    block_on_close = False  # stop() joins
    request_queue_size = 128

    def __init__(self, script: ScriptedServer) -> None:
        self.script = script
        self.accepted = 0
        self._lock = threading.Lock()
        self._open: dict[socket.socket, int] = {}
        self._workers: list[threading.Thread] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self._loop = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would ask DNS for a name

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self.shutdown()
        self._loop.join()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # the client may have been faster
                    # Not SSLSocket.shutdown: that drops TLS state which the connection's thread may be using.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for worker in self._workers:
            worker.join(5.0)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.script.ssl_context is not None:
            # The handshake waits for the connection's thread: a silent client must not stop the accept loop.
            wrap = self.script.ssl_context.wrap_socket
            connection = wrap(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        task, args = self.process_request_thread, (request, client_address)
        worker = threading.Thread(target=task, args=args, daemon=True)
        with self._lock:
            self.accepted += 1
            self._open[request] = self.accepted
            self._workers = [*(w for w in self._workers if w.is_alive()), worker]
            worker.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep errors of this module; a client that went away (OSError, ssl.SSLError) is none."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.script.errors.append(error)

    def number(self, connection: socket.socket) -> int:
        with self._lock:
            return self._open[connection]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Httpd

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # any method
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class named it
        """Nothing on stderr: the history is the log."""

    def _handle(self) -> None:
        body = self._read_body()
        target = self.requestline.split()[1]  # self.path has doubled slashes removed
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        number = self.server.number(self.connection)
        at = time.monotonic()
        headers, peer = self.headers.items(), self.client_address[1]
        request = Recorded(self.command, target, path, pairs, headers, body, at, number, peer=peer)
        answer = self.server.script.answer(request)
        if not self._waited(self.server.script.hang_limit if answer.hang else answer.delay):
            return
        if answer.hang or answer.drop == "before":
            self.close_connection = True
        elif answer.drop == "reset":
            self._reset()
        else:
            self._send(answer)
            self.close_connection = self.close_connection or answer.drop == "after"

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self._read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("the client closed in the middle of a body")
        return data

    def _waited(self, seconds: float) -> bool:
        """Wait; False, and the connection is to be closed, when the server stops meanwhile."""
        if seconds > 0 and self.server.script.stopping.wait(seconds):
            self.close_connection = True
            return False
        return True

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()  # the socket really closes with its last file
        self.connection.close()

    def _send(self, answer: Answer) -> None:
        content = answer.content
        length = len(content) if content is not None else answer.size or 0
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.header_list(length):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or answer.status < 200 or answer.status in (204, 304):
            return
        end = length if answer.truncate is None else min(length, answer.truncate)
        rate = answer.bytes_per_second
        step = len(_FILLER) if rate is None else max(1, int(rate / _DRIPS_PER_SECOND))
        for start in range(0, end, step):
            size = min(step, end - start)
            piece = _FILLER[:size] if content is None else content[start : start + size]
            if rate is not None and not self._waited(size / rate):
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (size, piece) if answer.chunked else piece)
        if end < length:
            self.close_connection = True
        elif answer.chunked:
            self.wfile.write(b"0\r\n\r\n")
