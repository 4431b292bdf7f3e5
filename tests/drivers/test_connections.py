"""Which connection a request goes over, and what happens if the server closes it or talks on it unasked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import Auth, Flow
from airflow_provider_apitask.core.ledger import Ledger
from airflow_provider_apitask.core.messages import (
    Failure,
    NetworkFailure,
    Purpose,
    Request,
    Response,
    Transmission,
)
from airflow_provider_apitask.core.records import Owner
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.drivers import event_loop_resolver
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.drivers.transport import TransportOptions
from tests.drivers.contract import contract, make_api, sync
from tests.drivers.wire_support import Send, both, request
from tests.support import Answer, Recorded
from tests.support.raw_server import RawServer
from tests.support.scripted_server import ScriptedServer

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"


@both
def test_a_response_that_no_request_asked_for(send: Send) -> None:
    """It comes on the idle connection and would be taken for the response to the next poll."""
    idle = threading.Event()

    def conversation(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(NEXT)
            if server.connections == 1:
                assert idle.wait(10)
                connection.sendall(STRAY)
                stray_sent.set()

    stray_sent = threading.Event()

    def observe(sent: Transmission) -> None:
        if not idle.is_set():
            idle.set()
            # The event loop is not told of the bytes: they are in the socket when the next request begins.
            assert stray_sent.wait(10)

    with RawServer(conversation) as server:
        came = send([request(server.url)] * 2, observe=observe)
        assert server.connections == 2
    assert [one.body for one in came if isinstance(one, Response)] == [b"next", b"next"]


@both
@pytest.mark.parametrize(
    ("purpose", "method", "connections"),
    [
        (Purpose.SUBMIT, "POST", 3), (Purpose.CANCEL, "GET", 3), (Purpose.CANCEL, "DELETE", 3),
        (Purpose.LOGIN, "POST", 3), (Purpose.SUBMIT, "GET", 1), (Purpose.POLL, "POST", 1),
        (Purpose.RESULT, "GET", 1),
    ],
)  # fmt: skip
def test_unsafe_requests_have_fresh_connections(
    send: Send, purpose: Purpose, method: str, connections: int
) -> None:
    """Three of a kind: if an idle connection closes, the outcome of the request on it is unknown."""
    with ScriptedServer() as server:
        server.on(method, "/", Answer(json=1))
        send([Request(purpose, method, f"{server.url}/", timeout=(5.0, 10.0))] * 3)
        assert server.connections == connections


def _closing(*said: bytes) -> Callable[[RawServer, socket.socket], None]:
    """A server that serves one request per connection well, and says these bytes to the next and closes."""
    left = list(said)

    def conversation(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            if len(server.requests) > 1 and left:
                connection.sendall(left.pop(0))
                return
            connection.sendall(NEXT)

    return conversation


@both
def test_a_get_is_resent_once(send: Send) -> None:
    """The server closed the idle connection while the request was on its way."""
    observed: list[Transmission] = []
    with RawServer(_closing(b"")) as server:
        came = send([request(server.url)] * 2, observe=observed.append)
        assert (len(server.requests), server.connections) == (3, 2)
    assert [one.body for one in came if isinstance(one, Response)] == [b"next", b"next"]
    assert [(type(one.inbound), one.resent) for one in observed] == [
        (Response, False), (NetworkFailure, False), (Response, True),
    ]  # fmt: skip
    ledger = Ledger(Owner(), lambda: "id")
    for one in observed:
        ledger.observe(one, State(), Redactor())
    (record,) = ledger.take()
    assert (record.requests, record.retries) == (3, 1), "counted and reported"


@both
@pytest.mark.parametrize(
    ("method", "said", "requests"),
    [("POST", [b""], 2), ("GET", [b"HTTP"], 2), ("GET", [b"", b""], 3)],
    ids=["a POST", "a byte has come", "once"],
)
def test_what_is_not_resent(send: Send, method: str, said: list[bytes], requests: int) -> None:
    with RawServer(_closing(*said)) as server:
        _, second = send([request(server.url, method)] * 2)
        assert len(server.requests) == requests
    assert isinstance(second, NetworkFailure)
    assert (second.failure, second.possibly_received) == (Failure.DROPPED, True)


@both
def test_a_first_request_is_not_resent(send: Send) -> None:
    def conversation(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)

    with RawServer(conversation) as server:
        (came,) = send([request(server.url)])
        assert len(server.requests) == 1
    assert isinstance(came, NetworkFailure)


# -- what a response makes of those who read it ----------------------------------------------------


class Clumsy(Auth):
    """Reads a response as HTTP libraries do: any error can come out."""

    def flow(self, request: Request) -> Flow:
        response = yield request
        response.body.decode("ascii")
        return response


def test_an_error_in_reading_a_response_is_an_unknown_outcome() -> None:
    seen = contract(
        lambda s: s.on("POST", "/a", Answer(text="ü")),
        sync("POST", retry=RetryPolicy(count=3)),
        api=lambda s: make_api(s.url, Clumsy()),
    )
    assert (seen.failed[0], seen.targets) == ("submit_unknown", ["POST /a"])
    assert "UnicodeDecodeError" in seen.error.message


def test_an_error_of_an_authentication_class_is_an_unknown_outcome() -> None:
    """Those of requests answer a challenge in a hook, after the request was sent."""

    def fails(*_: Any, **__: Any) -> None:
        raise IndexError("a challenge without a scheme")

    def auth(prepared: Any) -> Any:
        prepared.register_hook("response", fails)
        return prepared

    with ScriptedServer() as server:
        options = TransportOptions(worker_auth=auth)
        with BlockingTransport(make_api(server.url), options) as transport:
            came = transport.send(Request(Purpose.SUBMIT, "POST", f"{server.url}/a"))
    assert isinstance(came, NetworkFailure)
    assert (came.failure, came.possibly_received) == (Failure.UNREADABLE, True)
    assert "IndexError at test_connections.py" in came.detail


def test_requests_of_an_authentication_share_the_connection_of_their_attempt() -> None:
    """NTLM authenticates a connection: its second request must not go over another one."""

    def answers(response: Any, **kwargs: Any) -> Any:
        response.content  # noqa: B018 - read, so that the connection is free
        response.close()
        prepared = response.request.copy()
        prepared.hooks, prepared.headers["Authorization"] = {}, "second"
        return response.connection.send(prepared, **kwargs)

    def auth(prepared: Any) -> Any:
        prepared.register_hook("response", answers)
        return prepared

    with ScriptedServer() as server:
        server.on("POST", "/a", Answer(401, text="challenge"), Answer(json=1), Answer(401), Answer(json=2))
        with BlockingTransport(make_api(server.url), TransportOptions(worker_auth=auth)) as transport:
            one = Request(Purpose.SUBMIT, "POST", f"{server.url}/a")
            came = [transport.send(one) for _ in range(2)]
        assert [r.connection for r in server.history] == [1, 1, 2, 2]
    assert [one.body for one in came if isinstance(one, Response)] == [b"1", b"2"]


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-1"}])
def test_a_part_is_not_the_whole(asked: dict[str, str]) -> None:
    part = Answer(206, json=1, headers={"Content-Range": "bytes 0-1/10"})
    seen = contract(lambda s: s.on("GET", "/a", part), sync(headers=asked))
    if asked:
        assert seen.value == 1
    else:
        assert "206 Partial Content, not requested" in seen.error.message


# -- threads and the event loop --------------------------------------------------------------------


def test_a_request_of_a_worker_starts_no_thread() -> None:
    during: list[int] = []

    def look(request: Recorded) -> Answer:
        during.append(sum(isinstance(one, threading.Timer) for one in threading.enumerate()))
        return Answer(json=1)

    with ScriptedServer() as server, BlockingTransport(make_api(server.url)) as transport:
        server.on("GET", "/", look)
        transport.send(request(server.url))
    assert during == [0]


async def test_a_cancel_request_does_not_wait_for_polls() -> None:
    with ScriptedServer() as server:
        server.on("GET", "/", Answer(hang=True))
        server.on("DELETE", "/job", Answer(204))
        async with EventLoopTransport(make_api(server.url)) as transport:
            polls = [asyncio.create_task(transport.send(request(server.url))) for _ in range(120)]
            await asyncio.to_thread(server.wait_for, 100)
            came = await transport.send(Request(Purpose.CANCEL, "DELETE", f"{server.url}/job"))
            assert not any(poll.done() for poll in polls)
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
    assert isinstance(came, Response)
    assert came.status == 204


async def test_slow_names_do_not_delay_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real, all_begun, found = socket.getaddrinfo, threading.Event(), threading.Event()
    looked_up: list[str] = []

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        looked_up.append(host)
        if len(looked_up) == 40:
            all_begun.set()
        if str(host).startswith("slow"):
            found.wait(30)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with ScriptedServer() as server:
        server.on("GET", "/", Answer(json=1))
        port = server.url.rpartition(":")[2]
        async with EventLoopTransport(make_api(server.url)) as transport:

            async def ask(host: str) -> Any:
                return await transport._transmit(request(f"http://{host}:{port}"))

            slow = [asyncio.create_task(ask(f"slow{n % 40}.example")) for n in range(80)]
            assert await asyncio.to_thread(all_begun.wait, 10)
            came = await ask("healthy.example")
            assert not any(one.done() for one in slow)
            found.set()
            await asyncio.gather(*slow)
    assert isinstance(came, Response)
    assert len(looked_up) == 41, "one lookup for each name"


async def test_too_many_lookups_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started, found = threading.Event(), threading.Event()
    monkeypatch.setattr(event_loop_resolver, "MAX_LOOKUPS", 1)

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        started.set()
        found.wait(30)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with EventLoopTransport(make_api("http://a.example")) as transport:
        first = asyncio.create_task(transport.send(request("http://a.example")))
        await asyncio.to_thread(started.wait, 10)
        came = await transport._transmit(request("http://b.example"))
        found.set()
        await first
    assert came == NetworkFailure(
        Failure.RESOLVE, "1 other names are being looked up", possibly_received=False
    )
