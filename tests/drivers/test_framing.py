"""Responses of any shape: one verdict from both drivers, and the next request gets its own response.

The named cases are those in which requests and aiohttp disagree, or agree on something dangerous.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.drivers.wire_support import EXAMPLES, NEXT, Send, both, receive, send_blocking, send_on_loop

pytestmark = pytest.mark.once

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: 2\r\n"
PLAIN = OK + LENGTH + b"\r\nok"

TAKEN: dict[str, tuple[bytes, int, bytes]] = {
    "204 with a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 204, b""),
    "204 in chunks": (b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 204, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 304, b""),
    "304 with a body": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", 304, b""),
    "bytes after the end": (PLAIN + b"EXTRA", 200, b"ok"),
    "a response after the end": (PLAIN + OK + b"Content-Length: 5\r\n\r\nwrong", 200, b"ok"),
    "a response after the last chunk": (
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nwrong", 200, b"ok"),
    "a line end after the end": (PLAIN + b"\r\n", 200, b"ok"),
    "informational responses": (
        b"HTTP/1.1 102 A\r\n\r\nHTTP/1.1 103 B\r\nLink: x\r\n\r\n" + PLAIN, 200, b"ok"),
    "an informational response with a length": (b"HTTP/1.1 103 B\r\n" + LENGTH + b"\r\n" + PLAIN, 200, b"ok"),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok"),
    "a folded field": (OK + b"X: a\r\n b\r\n" + LENGTH + b"\r\nok", 200, b"ok"),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH + b"\r\nok", 200, b"ok"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok"),
    "the end of the connection": (OK + b"Connection: keep-alive\r\n\r\nok", 200, b"ok"),
    "a trailer": (CHUNKED + b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n", 200, b"ok"),
    "a chunk extension": (CHUNKED + b'2;a=b;c="d e"\r\nok\r\n000\r\n\r\n', 200, b"ok"),
    "spaces after a chunk size": (CHUNKED + b"2 \t\r\nok\r\n0\r\n\r\n", 200, b"ok"),
    "a name with @ in a value": (OK + b"X: a@\x01\x1b[31m\r\n" + LENGTH + b"\r\nok", 200, b"ok"),
    "an early final response": (
        b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n" + LENGTH + b"\r\nok", 413, b"ok"),
}  # fmt: skip

_TRANSFER = OK + b"Transfer-Encoding: "
_IN_CHUNKS = b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"
REFUSED: dict[str, bytes] = {
    "two equal lengths": OK + LENGTH * 2 + b"\r\nok",
    "two lengths": OK + LENGTH + b"Content-Length: 3\r\n\r\nok",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\nok",
    "a length with an underscore": OK + b"Content-Length: 0_2\r\n\r\nok",
    "an empty length": OK + b"Content-Length:\r\n\r\nok",
    "a length of other digits": OK + "Content-Length: ٢\r\n\r\nok".encode(),
    "a folded length": OK + b"Content-Length:\r\n 2\r\n\r\nok",
    "a length with a space before its colon": OK + b"Content-Length : 2\r\n\r\nok",
    "a length and chunks": OK + LENGTH + b"Transfer-Encoding: chunked" + _IN_CHUNKS,
    "chunks and a length": _TRANSFER + b"chunked\r\nContent-Length: 2" + _IN_CHUNKS,
    "chunks twice": _TRANSFER + b"chunked\r\nTransfer-Encoding: chunked" + _IN_CHUNKS,
    "chunks of chunks": _TRANSFER + b"chunked, chunked" + _IN_CHUNKS,
    "gzip and chunks": _TRANSFER + b"gzip, chunked" + _IN_CHUNKS,
    "chunks, then identity": _TRANSFER + b"chunked, identity" + _IN_CHUNKS,
    "almost chunked": _TRANSFER + b"xchunked" + _IN_CHUNKS,
    "quoted chunked": _TRANSFER + b'"chunked"' + _IN_CHUNKS,
    "chunked with a vertical tab": _TRANSFER + b"\x0bchunked" + _IN_CHUNKS,
    "chunked with a space before its colon": OK + b"Transfer-Encoding : chunked" + _IN_CHUNKS,
    "chunks of HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked" + _IN_CHUNKS,
    "gzip as transfer coding": _TRANSFER + b"gzip\r\n\r\nok",
    "identity as transfer coding": _TRANSFER + b"identity\r\n" + LENGTH + b"\r\nok",
    **{
        f"a chunk size of {size!r}": CHUNKED + size + b"\r\nok\r\n0\r\n\r\n"
        for size in (b"-1", b"-2", b"+2", b"0x2", b"0_2", b" 2", b"", b"2 ; a=b", b"2;", b"2;a=\x01", b"2\rx",
                     b"ffffffffffffffff", b"0" * 40 + b"2", b"2\n")
    },
    "a chunk longer than its size": CHUNKED + b"2\r\nokx\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"2\r\nok0\r\n\r\n",
    "a chunk that ends with a line feed": CHUNKED + b"2\r\nok\n0\r\n\r\n",
    "a chunk size that ends with a line feed": CHUNKED + b"2\nok\r\n0\r\n\r\n",
    "a length in a trailer": CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n",
    "a trailer without a colon": CHUNKED + b"2\r\nok\r\n0\r\nno colon\r\n\r\n",
    "a long trailer": CHUNKED + b"2\r\nok\r\n0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    "a line end before the status line": b"\r\n" + PLAIN,
    "a space before the status line": b" " + PLAIN,
    "two spaces in the status line": b"HTTP/1.1  200 OK\r\n" + LENGTH + b"\r\nok",
    "a status of 000": b"HTTP/1.1 000 OK\r\n" + LENGTH + b"\r\nok",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n" + LENGTH + b"\r\nok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + LENGTH + b"\r\nok",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + LENGTH + b"\r\nok",
    "RTSP": b"RTSP/1.0 200 OK\r\n" + LENGTH + b"\r\nok",
    "a null byte in the reason": b"HTTP/1.1 200 O\0K\r\n" + LENGTH + b"\r\nok",
    "a carriage return in the reason": b"HTTP/1.1 200 O\rK\r\n" + LENGTH + b"\r\nok",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nxx",
    "a null byte in a field": OK + b"X: a\0b\r\n" + LENGTH + b"\r\nok",
    "a carriage return in a field": OK + b"X: a\rb\r\n" + LENGTH + b"\r\nok",
    "two carriage returns": OK + b"X: a\r\r\n" + LENGTH + b"\r\nok",
    "a fold before the first field": OK + b" X: a\r\n" + LENGTH + b"\r\nok",
    "a field name with @": OK + b"X@Y: a\r\n" + LENGTH + b"\r\nok",
    "an unknown content coding": OK + b"Content-Encoding: br\r\n" + LENGTH + b"\r\nok",
    "a content coding in another charset": OK + b"Content-Encoding: \xe9\r\n" + LENGTH + b"\r\nok",
    "a broken content coding": OK + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\nok",
}  # fmt: skip


@both
@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name: str, send: Send) -> None:
    said, status, body = TAKEN[name]
    assert receive(send, said).comparable() == ((status, body), NEXT, 1)


@both
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, send: Send) -> None:
    seen = receive(send, REFUSED[name])
    assert seen.comparable() == ("INVALID", NEXT, 1)


@both
@pytest.mark.parametrize("name", [*TAKEN, *REFUSED])
def test_the_next_request_gets_its_own_response(name: str, send: Send) -> None:
    """Also if the server leaves the connection open, with bytes on it that no request asked for."""
    said = TAKEN[name][0] if name in TAKEN else REFUSED[name]
    assert receive(send, said, hold=True, timeout=(5.0, 0.1)).second == NEXT


@both
@pytest.mark.parametrize("size", [b"-1", b"fffffffff"])
def test_chunk_sizes_do_not_switch_the_limit_off(send: Send, size: bytes) -> None:
    endless = CHUNKED + size + b"\r\n" + b"x" * 300_000
    seen = receive(send, endless, max_bytes=100_000)
    assert seen.first == ("INVALID" if size == b"-1" else "TOO_LARGE")
    assert all(one.bytes_received <= 100_000 for one in seen.observed)


@both
def test_the_framing_of_chunks_counts_against_the_limit(send: Send) -> None:
    """A chunk of one byte takes six and more, and its extension as many as the server likes."""
    chunk = b"1;a=" + b"b" * 1000 + b"\r\nx\r\n"
    assert receive(send, CHUNKED + chunk * 500 + b"0\r\n\r\n", max_bytes=100_000).first == "TOO_LARGE"


# -- seeded random responses ---------------------------------------------------------------------

_STATUS = [b"HTTP/1.1 200 OK\r\n"] * 6 + [
    b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 200\r\n",
    b"HTTP/1.1 404 X\n", b"HTTP/1.1  200 OK\r\n", b"HTTP/1.1 2OO OK\r\n", b"HTTP/1.1 503 \xff\r\n",
    b"HTTP/1.3 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 103 X\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 X\r\n",
]  # fmt: skip
_FIELDS = [
    b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"Content-Length: 3\r\n", b"Content-Length: 2, 2\r\n",
    b"Content-Length: -2\r\n", b"content-length:2\r\n", b"Content-Length: 2\n", b"Content-Length : 2\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: Chunked \r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Connection: Upgrade, close\r\n", b"X: a\r\n b\r\n", b" folded\r\n", b"X: \xff\xfe\r\n", b"X:\r\n",
    b"X\r\n",
    b"X: a\rb\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: x\xff\r\n",
    b"Set-Cookie: a=b; ;;=\r\n",
    b"Sec-WebSocket-Key1: x\r\n", b"Upgrade: h2c\r\n", b": x\r\n",
]  # fmt: skip
_BODIES = [
    b"ok", b"ok", b"", b"o", b"okk", b"2\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n",
    b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    b"2;a=b\r\nok\r\n0\r\nT: 1\r\n\r\n", b"2\nok\n0\n\n", b"-1\r\nok\r\n0\r\n\r\n",
    b"0x2\r\nok\r\n0\r\n\r\n", b"2\r\nok0\r\n\r\n",
    b"2 \r\nok\r\n00\r\n\r\n", b"2\r\nok\r\n0\r\nContent-Length: 1\r\n\r\n", b"0\r\n\r\n", b"2\r\nok\r\n",
    b"\r\n",
]  # fmt: skip


def _random_response(chance: random.Random) -> bytes:
    fields = chance.sample(_FIELDS, chance.choice([0, 1, 1, 1, 2, 2, 3]))
    said = (
        chance.choice(_STATUS)
        + b"".join(fields)
        + chance.choice([b"\r\n"] * 9 + [b"\n"])
        + chance.choice(_BODIES)
    )
    how = chance.randrange(10)
    if how == 0:
        return said[: chance.randrange(len(said) + 1)]
    if how == 1:
        at = chance.randrange(len(said))
        return said[:at] + bytes([chance.randrange(256)]) + said[at + 1 :]
    if how == 2:
        return said + said
    return said


@pytest.mark.parametrize("seed", range(0, EXAMPLES, 25))
def test_random_responses(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        said, method = _random_response(chance), chance.choice(["GET", "GET", "POST", "HEAD"])
        seen: list[Any] = [receive(send, said, method) for send in (send_blocking, send_on_loop)]
        assert seen[0].comparable() == seen[1].comparable(), (seed, method, said)
        assert (seen[0].second, seen[0].sent) == (NEXT, 1), (seed, method, said)
