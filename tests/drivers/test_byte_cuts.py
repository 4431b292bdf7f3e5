"""Connections that are cut at every byte, of the request and of the response: no wrong value, no duplicate.

Everyday a part of the bytes; all of them with ``APITASK_FUZZ_EXAMPLES``, see ``tests/core/test_fuzz.py``.
"""

from __future__ import annotations

import os
import socket
import struct

import pytest

from airflow_provider_apitask.core.messages import NetworkFailure
from airflow_provider_apitask.core.state import Phase
from tests.drivers.contract import asynchronous, nothing, run
from tests.drivers.wire_support import Send, both, receive, request
from tests.support.raw_server import RawServer

pytestmark = pytest.mark.once

EVERY = 1 if "APITASK_FUZZ_EXAMPLES" in os.environ else 5
PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"n": 1}'
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"n":\r\n3;x=y\r\n 1}\r\n0\r\nT: 1\r\n\r\n'
)


@both
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("said", [PLAIN, CHUNKED], ids=["length", "chunks"])
def test_a_response_that_is_cut(send: Send, method: str, said: bytes) -> None:
    for at in range(0, len(said), EVERY):
        seen = receive(send, said[:at], method)
        assert (seen.first, seen.sent) == ("DROPPED", 1), at
    assert receive(send, said, method).first == (200, b'{"n": 1}')


@both
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_request_that_is_cut(send: Send, how: str) -> None:
    def conversation(server: RawServer, connection: socket.socket) -> None:
        left = server.cut_at  # type: ignore[attr-defined]
        while left and (piece := connection.recv(left)):
            left -= len(piece)
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    for at in range(0, 180, EVERY):
        with RawServer(conversation) as server:
            server.cut_at = at  # type: ignore[attr-defined]
            (came,) = send([request(server.url, "POST", body=b"x" * 50)])
            assert isinstance(came, NetworkFailure), at
            # A connection that is reset at once may end before the first byte is written to it.
            assert came.possibly_received or at == 0, at
            assert came.failure.name == "DROPPED" if came.possibly_received else "CONNECT", at
            assert server.connections == 1, at


def _job(target: bytes) -> bytes:
    if target.startswith(b"POST"):
        return b"HTTP/1.1 202 Accepted\r\nLocation: /jobs/1\r\nContent-Length: 0\r\n\r\n"
    said = b'{"n": 7}' if b"/result" in target else b'{"status": "done", "result": "/result"}'
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(said),
        said,
    )


@pytest.mark.parametrize("way", ["blocking", "event loop"])
@pytest.mark.parametrize("cut", ["POST /jobs", "GET /jobs/1", "GET /result"])
def test_a_job_whose_responses_are_cut(way: str, cut: str) -> None:
    """Each request once at each byte: the submission is never repeated, all others are."""
    start = cut.encode() + b" "
    for at in range(0, len(_job(start)), EVERY * 2):
        to_cut = [at]

        def conversation(server: RawServer, connection: socket.socket, to_cut: list[int] = to_cut) -> None:
            while asked := server.read_request(connection):
                if asked.startswith(start) and to_cut:
                    connection.sendall(_job(asked)[: to_cut.pop()])
                    return
                connection.sendall(_job(asked))

        call = asynchronous(status_request="{status_url}", result_request="/result", poll_interval=1)
        seen = run(way, nothing, call, server=lambda: RawServer(conversation))
        assert [r.startswith(b"POST") for r in seen.server.requests].count(True) == 1, at
        if start.startswith(b"POST"):
            assert seen.phase is Phase.SUBMIT_UNKNOWN, at
        else:
            assert seen.value == {"n": 7}, at
