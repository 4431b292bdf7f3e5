"""What cannot be seen from outside: memory, the event loop, cancelling, and faults of the options."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ConnectionFieldError
from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.core.operation import Inbound
from airflow_provider_apitask.drivers import blocking_adapter, event_loop_connector
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.drivers.transport import TransportOptions, tls_context
from tests.drivers.contract import make_api
from tests.support import Answer, Tls
from tests.support.raw_server import RawServer, say, silent
from tests.support.scripted_server import ScriptedServer

MEGABYTE = 1_000_000


def request(url: str, method: str = "GET", **kwargs: Any) -> Request:
    return Request(Purpose.SUBMIT, method, url, **{"timeout": (5.0, 10.0), **kwargs})


def send_blocking(*requests: Request, options: TransportOptions | None = None) -> list[Inbound]:
    with BlockingTransport(make_api(requests[0].url), options) as transport:
        return [transport.send(one) for one in requests]


def send_on_loop(*requests: Request, options: TransportOptions | None = None) -> list[Inbound]:
    async def main() -> list[Inbound]:
        async with EventLoopTransport(make_api(requests[0].url), options) as transport:
            return [await transport.send(one) for one in requests]

    return asyncio.run(main())


both = pytest.mark.parametrize("send", [send_blocking, send_on_loop])
Send = Callable[..., list[Inbound]]


@both
@pytest.mark.parametrize("kind", ["bomb", "endless"])
def test_memory_stays_small(send: Send, kind: str) -> None:
    """A body is measured while it is decoded, and no more of it is read than was allowed."""
    bomb = gzip.compress(b"\0" * 100 * MEGABYTE, compresslevel=1)
    answer = (
        Answer(body=bomb, headers={"Content-Encoding": "gzip"})
        if kind == "bomb"
        else Answer(size=10**12, chunked=True)
    )
    with ScriptedServer() as server:
        server.on("GET", "/a", answer)
        tracemalloc.start()
        try:
            (came,) = send(request(f"{server.url}/a", max_bytes=2 * MEGABYTE))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert came == NetworkFailure(Failure.TOO_LARGE, f"over {2 * MEGABYTE} bytes", possibly_received=True)
    assert peak < 8 * MEGABYTE


@both
def test_a_body_that_is_announced_as_too_large_is_not_read(send: Send) -> None:
    # The rest of the body never comes: waiting for it would be a timeout.
    with RawServer(say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx", b"", pause=30)) as server:
        (came,) = send(request(server.url, max_bytes=999_999))
    assert isinstance(came, NetworkFailure)
    assert came.failure is Failure.TOO_LARGE


@both
def test_informational_answers_come_before_the_real_one(send: Send) -> None:
    early = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with RawServer(say(early + b"HTTP/1.1 201 Created\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok")) as server:
        (came,) = send(request(server.url))
    assert isinstance(came, Response)
    assert (came.status, came.body, list(came.headers)) == (
        201,
        b"ok",
        [("X-A", "1"), ("Content-Length", "2")],
    )


@both
def test_an_answer_of_http_1_0_ends_with_its_connection(send: Send) -> None:
    with RawServer(say(b"HTTP/1.0 200 OK\r\n\r\none ", b"two", pause=0.02)) as server:
        came = send(request(server.url), request(server.url))
        assert server.connections == 2
    assert [one.body for one in came if isinstance(one, Response)] == [b"one two"] * 2


@both
@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\0b"])
def test_a_header_that_would_be_two(send: Send, value: str) -> None:
    """The core refuses these; should one get here, then neither sent nor quoted in an error."""
    with ScriptedServer() as server:
        (came,) = send(request(f"{server.url}/a", headers=Headers({"X-A": value + "s3cr3t"})))
        assert server.history == []
    detail = "a line break or control character in the header field X-A"
    assert came == NetworkFailure(Failure.CONNECT, detail, possibly_received=False)


@both
def test_a_session_serves_many_requests_over_one_connection(send: Send) -> None:
    with ScriptedServer() as server:
        server.on(
            "GET", "/a", Answer(json=1), Answer(text="x" * 99, chunked=True), Answer(204), Answer(500, 1)
        )
        send(*[request(f"{server.url}/a")] * 6)
        assert server.connections == 1


async def test_a_connection_that_rested_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the server still holds it; elsewhere something in between may have forgotten it."""
    monkeypatch.setattr(blocking_adapter, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(event_loop_connector, "IDLE_SECONDS", 0.05)
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(json=1))
        one = request(f"{server.url}/a")
        with BlockingTransport(make_api(server.url)) as blocking:
            async with EventLoopTransport(make_api(server.url)) as on_loop:
                for rest, connections in ((0.0, 2), (0.0, 2), (0.1, 4)):
                    await asyncio.sleep(rest)
                    blocking.send(one)
                    await on_loop.send(one)
                    assert server.connections == connections


@both
@pytest.mark.parametrize(
    "options", [{"verify": "/no/such.pem"}, {"cert": "/no/such.pem"}, {"cert": __file__}]
)
def test_files_that_cannot_be_read(options: dict[str, str], send: Send) -> None:
    with pytest.raises(ConnectionFieldError) as raised:
        send(request("https://127.0.0.1:1/"), options=TransportOptions(**options))  # type: ignore[arg-type]
    (name,) = options
    assert raised.value.data == {"field": name, "conn_id": "the_api"}
    assert options[name] in raised.value.message


def test_a_directory_of_authorities(tls: Tls, tmp_path: Path) -> None:
    context = tls_context(make_api("https://h"), TransportOptions(verify=str(tmp_path)))
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_no_bundle_is_read_for_plain_http() -> None:
    assert tls_context(make_api("http://h"), TransportOptions()) is None
    assert tls_context(make_api("http://h"), TransportOptions(proxies={"http": "https://proxy"})) is not None


def test_the_options_do_not_show_the_password_of_a_proxy() -> None:
    assert "s3cr3t" not in repr(TransportOptions(proxies={"http": "http://me:s3cr3t@proxy"}))


def test_no_timer_is_left_behind() -> None:
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(json=1))
        before = threading.active_count()
        send_blocking(*[request(f"{server.url}/a")] * 3)
        deadline = time.monotonic() + 2
        while (
            threading.active_count() > before + 1 and time.monotonic() < deadline
        ):  # one serves the connection
            time.sleep(0.01)
        assert threading.active_count() <= before + 1


def test_two_threads_share_a_transport() -> None:
    """A kill cancels the job from another thread while the task's own waits for an answer."""
    with ScriptedServer() as server, BlockingTransport(make_api(server.url)) as transport:
        server.on("GET", "/slow%2f", Answer(delay=0.3))
        server.on("DELETE", "/job%2f", Answer(204))
        slow = threading.Thread(target=transport.send, args=(request(f"{server.url}/slow%2f"),))
        slow.start()
        server.wait_for(1)
        came = transport.send(request(f"{server.url}/job%2f", "DELETE"))
        assert isinstance(came, Response)
        assert came.status == 204
        slow.join()
        assert [r.target for r in server.history] == ["/slow%2f", "/job%2f"]


# -- the event loop ----------------------------------------------------------------------------


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
async def test_a_cancelled_request_closes_its_connection(head: bytes) -> None:
    closed = threading.Event()

    def conversation(server: RawServer, connection: Any) -> None:
        server.read_request(connection)
        connection.sendall(head)
        if connection.recv(1) == b"":
            closed.set()

    with RawServer(conversation) as server:
        async with EventLoopTransport(make_api(server.url)) as transport:
            task = asyncio.create_task(transport.send(request(server.url)))
            await asyncio.sleep(0.1)
            assert len(server.requests) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(closed.wait, 2)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_connection_that_was_closed_while_the_loop_was_busy(tls: Tls, scheme: str) -> None:
    """The loop has not heard of it yet, and the request must not be lost on it."""
    answer = say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", pause=0.05)

    def secured(server: RawServer, connection: socket.socket) -> None:
        with tls.context.wrap_socket(connection, server_side=True) as inner:
            answer(server, inner)

    with RawServer(answer if scheme == "http" else secured) as server:
        url = f"{scheme}://{server.address}"
        async with EventLoopTransport(make_api(url), TransportOptions(verify=tls.ca_file)) as transport:
            await transport.send(request(url, "POST"))
            time.sleep(0.1)  # noqa: ASYNC251 - that is the point
            came = await transport.send(request(url, "POST"))
        assert (len(server.requests), server.connections) == (2, 2)
    assert isinstance(came, Response)


async def test_a_cancelled_connect_leaves_nothing() -> None:
    with RawServer(silent) as server:
        async with EventLoopTransport(make_api(f"https://{server.address}")) as transport:
            task = asyncio.create_task(transport.send(request(f"https://{server.address}/")))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_the_loop_goes_on_while_an_answer_is_decoded() -> None:
    body = gzip.compress(b"\0" * 16 * MEGABYTE)
    longest, last = 0.0, time.monotonic()

    async def beat() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(body=body, headers={"Content-Encoding": "gzip"}))
        async with EventLoopTransport(make_api(server.url)) as transport:
            last = time.monotonic()
            pulse = asyncio.create_task(beat())
            came = await transport.send(request(f"{server.url}/a"))
            pulse.cancel()
    assert isinstance(came, Response)
    assert len(came.body) == 16 * MEGABYTE
    assert longest < 0.25


async def test_many_requests_at_once_share_a_session() -> None:
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(json=1, delay=0.02))
        async with EventLoopTransport(make_api(server.url)) as transport:
            came = await asyncio.gather(*[transport.send(request(f"{server.url}/a")) for _ in range(150)])
        assert {one.status for one in came if isinstance(one, Response)} == {200}
        assert server.connections <= 100
