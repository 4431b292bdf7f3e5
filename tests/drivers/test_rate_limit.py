"""The rate limit: requests spread evenly, of all who share a transport."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.drivers.transport import RateLimit, TransportOptions
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer

RATE, COUNT = 20.0, 5
POLL = Request(Purpose.POLL, "GET", "https://api.example.com/x")
CANCEL = Request(Purpose.CANCEL, "DELETE", "https://api.example.com/x")


def test_places_are_given_in_turn() -> None:
    limit = RateLimit(4.0)
    assert [limit.reserve(POLL, 100.0) for _ in range(3)] == [0.0, 0.25, 0.5]
    assert limit.reserve(POLL, 100.5) == 0.25
    assert limit.reserve(POLL, 200.0) == 0.0, "what was not used is not saved up"
    assert limit.reserve(POLL, 200.0) == 0.25


@pytest.mark.parametrize("rate", [None, 0.0])
def test_no_limit(rate: float | None) -> None:
    limit = RateLimit(rate)
    assert [limit.reserve(POLL, now) for now in (0.0, 0.0, 5.0)] == [0.0, 0.0, 0.0]


def test_slower_than_one_a_second() -> None:
    limit = RateLimit(0.1)
    assert [limit.reserve(POLL, 0.0), limit.reserve(POLL, 0.0)] == [0.0, 10.0]


def _busy(status: int = 429, wait: str | None = "7") -> Response:
    return Response(status, POLL.url, Headers({"Retry-After": wait} if wait else {}))


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_one_is_asked_for_holds_for_all(status: int) -> None:
    limit = RateLimit(None)
    limit.learn(POLL, _busy(status), now=100.0, clock=0.0)
    assert limit.reserve(CANCEL, 100.0) == 0.0, "nobody waits to cancel a job"
    waits = [limit.reserve(POLL, 100.0) for _ in range(3)]
    assert waits == pytest.approx([7.0, 7.01, 7.02]), "not all at once when it is over"
    assert limit.reserve(POLL, 200.0) == 0.0


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (POLL, _busy(wait=None)),
        (POLL, _busy(wait="0")),
        (POLL, _busy(200)),
        (POLL, _busy(500)),
        (replace(POLL, credentials=False), _busy()),
    ],
)
def test_what_is_no_pause_for_all(request_: Request, response: Response) -> None:
    limit = RateLimit(None)
    limit.learn(request_, response, now=100.0, clock=0.0)
    assert limit.reserve(POLL, 100.0) == 0.0


def test_a_pause_is_bounded_and_never_shortened() -> None:
    limit = RateLimit(None)
    limit.learn(POLL, _busy(wait="99999"), now=0.0, clock=0.0)
    limit.learn(POLL, _busy(wait="2"), now=0.0, clock=0.0)
    assert limit.reserve(POLL, 0.0) == 300.0


def test_a_rate_limit_goes_on_after_a_pause() -> None:
    limit = RateLimit(4.0)
    limit.learn(POLL, _busy(), now=0.0, clock=0.0)
    assert [limit.reserve(POLL, 0.0) for _ in range(3)] == [7.0, 7.25, 7.5]


def test_a_pause_through_both_transports() -> None:
    with ScriptedServer() as server:
        api = Api(conn_id="c", base_url=server.url, allow_http=True)
        request = replace(POLL, url=f"{server.url}/x")

        def script() -> None:
            server.once("GET", "/x", Answer(503, headers=[("Retry-After", "1")]))
            server.on("GET", "/x", Answer())

        script()
        with BlockingTransport(api) as transport, ThreadPoolExecutor(3) as pool:
            transport.send(request)
            list(pool.map(transport.send, [request] * 3))

        async def on_loop() -> None:
            async with EventLoopTransport(api) as transport:
                await transport.send(request)
                await asyncio.gather(*(transport.send(request) for _ in range(3)))

        script()
        asyncio.run(on_loop())
        at = [request.at for request in server.history]
        assert len(at) == 8
        for first, *others in (at[:4], at[4:]):
            assert all(other - first > 0.9 for other in others), at


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record when each request may be sent, as the rate limit says, in monotonic time."""
    times: list[float] = []
    reserve = RateLimit.reserve

    def recorded(self: RateLimit, request: Request, now: float) -> float:
        times.append(now + (wait := reserve(self, request, now)))
        return wait

    monkeypatch.setattr(RateLimit, "reserve", recorded)
    return times


def _check(server: ScriptedServer, due: list[float]) -> None:
    """No request arrives before its turn; on a busy machine any of them may arrive later."""
    arrivals = sorted(request.at for request in server.history)
    assert len(arrivals) == len(due) == COUNT
    assert all(at >= turn for at, turn in zip(arrivals, sorted(due), strict=True)), (arrivals, due)


def test_blocking(due: list[float]) -> None:
    options = TransportOptions(rate_limit=RATE)
    with ScriptedServer() as server:
        server.on("GET", "/x", Answer())
        api = Api(conn_id="c", base_url=server.url, allow_http=True)
        request = Request(Purpose.POLL, "GET", f"{server.url}/x")
        with BlockingTransport(api, options) as transport, ThreadPoolExecutor(COUNT) as pool:
            list(pool.map(transport.send, [request] * COUNT))
        _check(server, due)


def test_event_loop(due: list[float]) -> None:
    options = TransportOptions(rate_limit=RATE)

    async def all_at_once(server: ScriptedServer) -> None:
        api = Api(conn_id="c", base_url=server.url, allow_http=True)
        request = Request(Purpose.POLL, "GET", f"{server.url}/x")
        async with EventLoopTransport(api, options) as transport:
            await asyncio.gather(*(transport.send(request) for _ in range(COUNT)))

    with ScriptedServer() as server:
        server.on("GET", "/x", Answer())
        asyncio.run(all_at_once(server))
        _check(server, due)
