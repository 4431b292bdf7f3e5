"""Answers that no client should get, and a server that gives them."""

from __future__ import annotations

import gzip
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

__all__ = ["ANSWERS", "LIMIT", "Answer", "serving"]

#: The default of ``max_response_bytes``.
LIMIT = 32 * 2**20
_OK = b"HTTP/1.1 200 OK\r\n"
_PIECE = b"x" * 2**16

#: Makes the pieces of an answer, one after the other: nothing large is kept, here either.
Pieces: TypeAlias = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One hostile answer.

    :param pieces: its bytes, header and all.
    :param cause: words that its error has to have; empty for an answer that is taken.
    :param path: what is read from it.
    :param patience: seconds to connect and to read, where waiting is the point.
    :param seconds: how long it may take at most.
    :param growth: how much memory it may take at most, in multiples of ``LIMIT``.
    :param slow: whether it takes too long to be tested each time.
    """

    pieces: Pieces
    cause: str
    path: str = "a"
    patience: tuple[float, float] | None = None
    seconds: float = 10.0
    #: Two for the body, in the pieces that came and joined; one each for its text, for what is made of that,
    #: for the answer before and to spare.
    growth: float = 6.0
    slow: bool = False


def _body(content: Callable[[], bytes], *fields: str, kind: str = "application/json") -> Pieces:
    def pieces() -> Iterator[bytes]:
        body = content()
        yield _head(f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields)
        yield body

    return pieces


def _head(*fields: str) -> bytes:
    return _OK + "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n"


def _stream(*fields: str, chunked: bool = False) -> Iterator[bytes]:
    """A body that goes on for as long as it is read."""
    yield _head(*fields)
    piece = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE) if chunked else _PIECE
    while True:
        yield piece


def _silence() -> Iterator[bytes]:
    yield _head("Content-Length: 100") + b'{"a"'
    time.sleep(30)  # longer than any client waits here; its thread ends with the server's process


def _drip() -> Iterator[bytes]:
    yield _head("Content-Type: application/json", "Content-Length: 100000")
    while True:
        yield b" "
        time.sleep(0.02)


def _headers() -> Iterator[bytes]:
    yield _OK + b"X-A: "
    for _ in range(32):
        yield _PIECE
    yield b"\r\nContent-Length: 2\r\n\r\n{}"


def _nested_codings() -> bytes:
    return gzip.compress(_bomb())


def _bomb() -> bytes:
    # RFC 1952 §2.2: members follow each other. Made in no time, as one of 1 GB would not be.
    return gzip.compress(bytes(2**20)) * 1024


def _laughs() -> bytes:
    entities = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
    return f"<!DOCTYPE a [<!ENTITY l0 'lol'>{entities}]><a>&l9;</a>".encode()


def _quadratic() -> bytes:
    return b"<!DOCTYPE a [<!ENTITY x '%b'>]><a>%b</a>" % (b"x" * 100_000, b"&x;" * 100_000)


def _full(start: bytes, piece: bytes, end: bytes) -> bytes:
    """As much as fits."""
    return start + piece * ((LIMIT - len(start) - len(end)) // len(piece)) + end


_xml = partial(_body, kind="application/xml")
_text = partial(_body, kind="text/plain; charset=utf-8")
_DTD = "a DTD of its own"
_TOO_LARGE = "larger than max_response_bytes"
_DROPPED = "the connection broke"
_HASTY = (0.5, 0.2)
_NAMESPACES = 50_000

ANSWERS: dict[str, Answer] = {
    "10 GB, announced": Answer(partial(_stream, f"Content-Length: {10**10}"), _TOO_LARGE),
    "10 GB, chunked": Answer(partial(_stream, "Transfer-Encoding: chunked", chunked=True), _TOO_LARGE),
    "10 GB, until the connection closes": Answer(
        partial(_stream, "Connection: close"), _TOO_LARGE, slow=True
    ),
    "never-ending: silence within the body": Answer(_silence, "within the timeout", patience=_HASTY),
    "slow drip": Answer(_drip, "within the timeout", patience=_HASTY),
    "Content-Length too long": Answer(lambda: [_head("Content-Length: 100"), b'{"a": 1}'], _DROPPED),
    "Content-Length too short": Answer(
        lambda: [_head("Content-Type: application/json", "Content-Length: 5"), b'{"a": "not all of it"}'],
        "not JSON",
    ),
    "Content-Length twice": Answer(
        lambda: [_head("Content-Length: 2", "Content-Length: 3"), b"{} "], "not valid HTTP"
    ),
    "truncated JSON": Answer(_body(lambda: b'{"a": [1, 2'), "not JSON"),
    "JSON nested a million deep": Answer(_body(lambda: b"[" * 10**6 + b"]" * 10**6), "not JSON"),
    "JSON of 11 million lists": Answer(
        _body(lambda: _full(b'{"a": [', b"[],", b"1]}")), "more than 2000000 lists"
    ),
    "JSON: a name twice": Answer(_body(lambda: b'{"a": 1, "a": 2}'), "stands twice"),
    "JSON: NaN": Answer(_body(lambda: b'{"a": NaN}'), "NaN is no JSON number"),
    "JSON: Infinity": Answer(_body(lambda: b'{"a": -Infinity}'), "-Infinity is no JSON number"),
    "JSON: 1e9999": Answer(_body(lambda: b'{"a": 1e9999}'), "out of range"),
    "JSON: a number of 32 million digits": Answer(_body(lambda: _full(b'{"a": ', b"9", b"}")), "not JSON"),
    "JSON: invalid UTF-8": Answer(_body(lambda: b'{"a": "\xff"}'), "0xff at position 7 is no utf-8"),
    "32 MiB of text with one emoji": Answer(
        # Python takes four bytes for each character of such a text.
        _text(lambda: _full("😀".encode(), b"x", b"")),
        "",
        path="",
        growth=15.0,
        slow=True,
    ),
    "XML: billion laughs": Answer(_xml(_laughs), _DTD, path="/a"),
    "XML: quadratic entities": Answer(_xml(_quadratic), _DTD, path="/a"),
    "XML: external entity": Answer(
        _xml(lambda: b"<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a>&f;</a>"), _DTD, path="/a"
    ),
    "XML: external DTD": Answer(
        _xml(lambda: b"<!DOCTYPE a SYSTEM 'http://127.0.0.1:1/a.dtd'><a>&f;</a>"), "the entity &f;", path="/a"
    ),
    "XML: a DOCTYPE of 32 MiB": Answer(_xml(lambda: _full(b"<!DOCTYPE ", b"a", b"><a/>")), _DTD, path="/a"),
    "XML: 32 MiB of spaces": Answer(
        _xml(lambda: _full(b"<a> <b>", b" ", b"</b></a>")), "not XML", path="/a/b", growth=8.0
    ),
    "XML nested a million deep": Answer(_xml(lambda: b"<a>" * 10**6), "Excessive depth", path="/a"),
    "XML of 8 million elements": Answer(
        _xml(lambda: _full(b"<a>", b"<b/>", b"</a>")), "more than 1000000 elements", path="/a", slow=True
    ),
    "XML of 50,000 namespaces": Answer(
        _xml(
            lambda: (
                b"<a %b>%b</a>"
                % (
                    b" ".join(b"xmlns:p%d='u%d'" % (n, n) for n in range(_NAMESPACES)),
                    b"".join(b"<p%d:b p1:c=''/>" % n for n in range(_NAMESPACES)),
                )
            )
        ),
        "",
        path="/a",
        growth=8.0,
    ),
    "header of 2 MB": Answer(_headers, "its header is too long"),
    "gzip bomb: 1 GB in 1 MB": Answer(_body(_bomb, "Content-Encoding: gzip"), _TOO_LARGE),
    "gzip in gzip": Answer(_body(_nested_codings, "Content-Encoding: gzip, gzip"), "was not asked for"),
    "gzip that is none": Answer(_body(lambda: b"no gzip", "Content-Encoding: gzip"), "not valid gzip"),
}


class _Handler(socketserver.StreamRequestHandler):
    """Says one thing to a good request, another to one for ``/hostile``; ``/once`` is that and then good."""

    def handle(self) -> None:
        with suppress(OSError):  # the client went away
            while line := self.rfile.readline(2**16):
                length = 0
                while (field := self.rfile.readline(2**16).lower()) not in (b"\r\n", b""):
                    if field.startswith(b"content-length:"):
                        length = int(field.partition(b":")[2])
                self.rfile.read(length)
                self._answer(line.split()[1].decode())

    def _answer(self, target: str) -> None:
        server: Any = self.server
        if target == "/jobs":
            self.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            return
        hostile = target == "/hostile" or (target == "/once" and not server.said.is_set())
        if target == "/once":
            server.said.set()
        answer = server.answer
        good = _xml(lambda: b"<a><b>done</b></a>" if answer.path == "/a/b" else b"<a>done</a>")
        if not answer.path.startswith("/"):
            good = _body(lambda: b'{"a": "done"}')
        for piece in answer.pieces() if hostile else good():
            self.wfile.write(piece)
        if hostile and answer.cause == _DROPPED:
            self.connection.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.said = threading.Event()


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server of one hostile answer; gives its URL."""
    with _Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
