"""An answer that goes to a sink: the same content as in memory, in any pieces, and never much at a time."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.drivers import body as bodies
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.wire import UnusableError
from tests.drivers.contract import make_api
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer

REQUEST = Request(Purpose.RESULT, "GET", "http://127.0.0.1/", max_bytes=10)


@dataclass
class Pieces:
    """A sink that remembers."""

    limit: int | None = None
    pieces: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


_CODINGS = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "x-gzip": lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]),
    "deflate": zlib.compress,
    "Deflate": _raw_deflate,
}


@given(
    st.one_of(
        st.binary(max_size=300),
        st.integers(0, 40_000).map(bytes),
        st.integers(0, 99).map(lambda seed: Random(seed).randbytes(9000)),
    ),
    st.sampled_from(sorted(_CODINGS)),
    st.lists(st.integers(0, 5000), max_size=5),
    st.integers(1, 700),
)
def test_any_pieces(data: bytes, coding: str, cuts: list[int], at_a_time: int) -> None:
    sent = _CODINGS[coding](data)
    sink = Pieces()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "_PIECE", at_a_time)
        body = bodies.Body(REQUEST, 200, Headers({"Content-Encoding": coding}), sink)
        at = [0, *sorted(cuts), len(sent)]
        for start, end in pairwise(at):
            body.feed(sent[start:end])
        beginning = body.finish()
    assert sink.content == data
    assert body.size == len(data)
    assert beginning == data[:1024]
    assert not coding or all(len(piece) <= at_a_time for piece in sink.pieces)


@pytest.mark.parametrize("at_a_time", [1, 2, 50, 257])
def test_what_is_decoded_after_the_last_byte_came(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    """The end of bare deflate may be read before all that it stands for was taken."""
    monkeypatch.setattr(bodies, "_PIECE", at_a_time)
    for size in range(1, 1500, 7):
        sink = Pieces()
        body = bodies.Body(REQUEST, 200, Headers({"Content-Encoding": "deflate"}), sink)
        body.feed(_raw_deflate(bytes(size)))
        body.finish()
        assert sink.content == bytes(size)


def test_a_bomb_is_decoded_a_piece_at_a_time() -> None:
    sink = Pieces()
    body = bodies.Body(REQUEST, 200, Headers({"Content-Encoding": "gzip"}), sink)
    body.feed(gzip.compress(bytes(30_000_000)))
    body.finish()
    assert max(map(len, sink.pieces)) <= 1024 * 1024
    assert body.size == 30_000_000


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_the_limit_is_that_of_the_sink(coding: str) -> None:
    for limit, fits in ((100, True), (99, False)):
        body = bodies.Body(REQUEST, 200, Headers({"Content-Encoding": coding}), Pieces(limit))
        if fits:
            body.feed(_CODINGS[coding](bytes(100)))
            continue
        with pytest.raises(UnusableError, match="over 99 bytes"):
            body.feed(_CODINGS[coding](bytes(100)))


# -- over the wire -------------------------------------------------------------------------------


def fetch(server: ScriptedServer, open_sink: Any, **fields: Any) -> Any:
    request = Request(Purpose.RESULT, "GET", f"{server.url}/a", timeout=(5, 5), **fields)
    with BlockingTransport(make_api(server.url)) as transport:
        return transport.send(request, None, open_sink)


@pytest.mark.parametrize("chunked", [False, True])
def test_the_content_goes_to_the_sink(*, chunked: bool) -> None:
    sink, seen = Pieces(), []

    def open_sink(answer: Response) -> Pieces:
        seen.append((answer.status, answer.media_type, answer.body))
        return sink

    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(size=3_000_000, chunked=chunked, headers={"Content-Type": "text/csv"}))
        answer = fetch(server, open_sink)
    assert seen == [(200, "text/csv", b"")]
    assert (answer.stored, answer.size, answer.body) == (3_000_000, 3_000_000, b"x" * 1024)
    assert sink.content == b"x" * 3_000_000
    assert len(sink.pieces) > 5


def test_what_no_sink_wants_is_kept() -> None:
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(500, {"detail": "no"}))
        answer = fetch(server, lambda answer: Pieces() if answer.ok else None)
    assert (answer.stored, answer.body) == (None, b'{"detail": "no"}')


def test_a_redirect_is_followed_first() -> None:
    sink = Pieces()
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(302, text="moved", headers={"Location": "/b"}))
        server.on("GET", "/b", Answer(text="here"))
        answer = fetch(server, lambda answer: sink if answer.ok else None)
    assert (answer.url, sink.content) == (f"{server.url}/b", b"here")


def test_one_that_breaks_off_is_a_failure() -> None:
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(size=500_000, truncate=300_000))
        outcome = fetch(server, lambda answer: Pieces())
    assert isinstance(outcome, NetworkFailure)
    assert outcome.failure is Failure.DROPPED


def test_what_a_sink_raises_comes_out() -> None:
    class Full(Pieces):
        def write(self, data: bytes) -> None:
            raise RuntimeError("full")

    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(text="here"))
        with pytest.raises(RuntimeError, match="full"):
            fetch(server, lambda answer: Full())
