"""Bodies of answers: bounded, and decoded the same."""

from __future__ import annotations

import gzip
import zlib

import pytest

from tests.drivers.contract import Seen, check, contract, sync
from tests.support import Answer

LIMIT = 100_000


def deflate(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


def coded(coding: str, body: bytes, *, chunked: bool = False, limit: int | None = LIMIT) -> Seen:
    answer = Answer(
        body=body, headers={"Content-Encoding": coding, "Content-Type": "text/plain"}, chunked=chunked
    )
    return contract(lambda s: s.on("GET", "/a", answer), sync(max_response_bytes=limit))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 200_000_000])
def test_size(size: int, *, chunked: bool) -> None:
    answer = Answer(size=size, chunked=chunked)
    seen = contract(lambda s: s.on("POST", "/a", answer), sync("POST", max_response_bytes=LIMIT))
    if size == LIMIT:
        assert len(seen.value) == LIMIT
    else:
        check(seen, "POST", f"over {LIMIT} bytes", received=True)
        assert "max_response_bytes" in seen.error.message


TEXT = "text é " * 9_000
RAW = TEXT.encode()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(RAW)),
        ("X-GZIP", gzip.compress(RAW[:99]) + gzip.compress(RAW[99:])),
        ("gzip", gzip.compress(RAW) + b"\0" * 9),
        ("deflate", deflate(RAW, 15)),
        ("deflate", deflate(RAW, -15)),
        ("identity", RAW),
        ("", RAW),
    ],
)
def test_content_codings(coding: str, body: bytes, *, chunked: bool) -> None:
    assert coded(coding, body, chunked=chunked).value == TEXT


@pytest.mark.parametrize(
    ("coding", "body", "text"),
    [
        ("gzip", b"no gzip", "its body is not valid gzip"),
        ("gzip", gzip.compress(RAW)[:-9], "its body is not valid gzip"),
        ("deflate", b"\x78\x9c no zlib", "its body is not valid deflate"),
        ("br", b"\x0b\x02\x80hello\x03", "its content coding 'br' was not asked for"),
        ("gzip, deflate", b"x", "its content coding 'gzip, deflate' was not asked for"),
    ],
)
def test_content_codings_that_cannot_be_read(coding: str, body: bytes, text: str) -> None:
    check(coded(coding, body), "GET", text, received=True)


@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_coding_without_a_body(body: bytes) -> None:
    seen = contract(
        lambda s: s.on("GET", "/a", Answer(204, body=body, headers={"Content-Encoding": "gzip"})), sync()
    )
    assert seen.value is None


def test_a_gzip_bomb() -> None:
    """50 MB in 50 kB; that memory stays small is tested with the transports."""
    bomb = gzip.compress(b"\0" * 50_000_000, compresslevel=1)
    assert len(bomb) < 400_000
    check(coded("gzip", bomb), "GET", f"over {LIMIT} bytes", received=True)
