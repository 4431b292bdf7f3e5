"""A TCP server on localhost that says exactly the bytes a test gives it, HTTP or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias

__all__ = ["Conversation", "RawServer", "close", "say", "silent"]

Conversation: TypeAlias = Callable[["RawServer", socket.socket], None]


class RawServer:
    """Gives each connection to ``conversation`` in a thread of its own, then closes it; a context manager."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.requests: list[bytes] = []
        """Head and body of each request that was read."""
        self.connections = 0
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5.0)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """``http``, address and port, without a slash at the end."""
        return f"http://{self.address}"

    def read_request(self, connection: socket.socket) -> bytes:
        """Read and record one request that has a Content-Length or no body; empty at the end."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.partition(b":")[2]):
                    body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def _start(self, task: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=task, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self.connections += 1
                    self._open.add(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client went away
            self._conversation(self, connection)
        with self._lock:
            self._open.discard(connection)


def say(*pieces: bytes, pause: float = 0.0) -> Conversation:
    """Read a request and answer these bytes, with a pause in seconds after each piece; then close."""

    def conversation(server: RawServer, connection: socket.socket) -> None:
        if server.read_request(connection):
            for piece in pieces:
                connection.sendall(piece)
                if pause and server.stopping.wait(pause):
                    return

    return conversation


def close(server: RawServer, connection: socket.socket) -> None:
    """Take the first bytes, whatever they are, and close."""
    connection.recv(65536)


def silent(server: RawServer, connection: socket.socket) -> None:
    """Never say a thing."""
    server.stopping.wait(30)
