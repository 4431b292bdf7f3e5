"""The framing of responses by hand: how the bytes are cut into pieces changes nothing."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.framing import FramingError, ResponseFraming
from airflow_provider_apitask.core.messages import Failure
from tests.drivers.test_framing import CHUNKED, OK, PLAIN, REFUSED, TAKEN

SAID = {**{name: said for name, (said, _, _) in TAKEN.items()}, **REFUSED}


def outcome(pieces: list[bytes], method: str = "GET") -> tuple[bytes, bool, bool]:
    """Content, whether the response is complete, and whether it was refused."""
    framing, content = ResponseFraming(method), b""
    try:
        for piece in pieces:
            content += b"".join(framing.feed(piece))
    except FramingError:
        return b"", False, True
    return content, framing.feed_eof(), False


@pytest.mark.parametrize("name", SAID)
def test_the_pieces_do_not_matter(name: str) -> None:
    said = SAID[name]
    whole = outcome([said])
    assert outcome([said[at : at + 1] for at in range(len(said))]) == whole
    for at in range(len(said)):
        assert outcome([said[:at], said[at:]]) == whole


@pytest.mark.parametrize("said", [PLAIN, CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\nT: 1\r\n\r\n"])
def test_a_response_that_is_cut_is_never_complete(said: bytes) -> None:
    for at in range(len(said)):
        assert outcome([said[:at]])[1] is False
    assert outcome([said]) == (b"ok", True, False)


def test_a_response_to_head_has_no_body() -> None:
    assert outcome([OK + b"Content-Length: 2\r\n\r\n"], "HEAD") == (b"", True, False)


@pytest.mark.parametrize(
    "said", [OK + b"X: x\r\n" * 100, OK + b"X: " + b"x" * 70_000, b"x" * 9, b"HTTP/1.1 2" + b"0" * 70_000]
)
def test_a_header_is_bounded(said: bytes) -> None:
    """As soon as it is too much, before its end has come."""
    framing = ResponseFraming("GET")
    with pytest.raises(FramingError):
        framing.feed(said)
    assert (framing.done, framing.feed_eof(), framing.closes) == (False, False, True)


def test_a_limit_that_is_set_late() -> None:
    framing = ResponseFraming("GET")
    framing.feed(OK + b"\r\n" + b"x" * 11)
    with pytest.raises(FramingError, match="over 10 bytes") as raised:
        framing.limit(10)
    assert raised.value.failure is Failure.TOO_LARGE
