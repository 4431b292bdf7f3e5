"""The rate limit: requests spread evenly, of all who share a transport."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.drivers.transport import RateLimit, TransportOptions
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer

RATE, COUNT = 20.0, 5


def test_places_are_given_in_turn() -> None:
    limit = RateLimit(4.0)
    assert [limit.reserve(100.0) for _ in range(3)] == [0.0, 0.25, 0.5]
    assert limit.reserve(100.5) == 0.25
    assert limit.reserve(200.0) == 0.0, "what was not used is not saved up"
    assert limit.reserve(200.0) == 0.25


@pytest.mark.parametrize("rate", [None, 0.0])
def test_no_limit(rate: float | None) -> None:
    limit = RateLimit(rate)
    assert [limit.reserve(now) for now in (0.0, 0.0, 5.0)] == [0.0, 0.0, 0.0]


def test_slower_than_one_a_second() -> None:
    limit = RateLimit(0.1)
    assert [limit.reserve(0.0), limit.reserve(0.0)] == [0.0, 10.0]


def _check(server: ScriptedServer) -> None:
    at = sorted(request.at for request in server.history)
    assert len(at) == COUNT
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert at[-1] - at[0] >= (COUNT - 1) / RATE * 0.9
    assert min(gaps) > 0.2 / RATE, gaps


@pytest.fixture
def request_and_server() -> tuple[ScriptedServer, TransportOptions]:
    return ScriptedServer(), TransportOptions(rate_limit=RATE)


def test_blocking(request_and_server: tuple[ScriptedServer, TransportOptions]) -> None:
    made, options = request_and_server
    with made as server:
        server.on("GET", "/x", Answer())
        api = Api(conn_id="c", base_url=server.url, allow_http=True)
        request = Request(Purpose.POLL, "GET", f"{server.url}/x")
        with BlockingTransport(api, options) as transport, ThreadPoolExecutor(COUNT) as pool:
            list(pool.map(transport.send, [request] * COUNT))
        _check(server)


def test_event_loop(request_and_server: tuple[ScriptedServer, TransportOptions]) -> None:
    made, options = request_and_server

    async def all_at_once(server: ScriptedServer) -> None:
        api = Api(conn_id="c", base_url=server.url, allow_http=True)
        request = Request(Purpose.POLL, "GET", f"{server.url}/x")
        async with EventLoopTransport(api, options) as transport:
            await asyncio.gather(*(transport.send(request) for _ in range(COUNT)))

    with made as server:
        server.on("GET", "/x", Answer())
        asyncio.run(all_at_once(server))
        _check(server)
