"""A triggerer full of jobs of one connection: what they share is got once, and the event loop stays free."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pytest
from airflow.sdk import BaseHook

from airflow_provider_apitask import ApiStatusTrigger
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.drivers import event_loop
from tests.airflow.helpers import Connect
from tests.support.real import Jobs
from tests.support.real.oauth2_server import BASIC, OAuth2Server, Token

MANY = 1000
CHECKS = 3
#: Longest turn of the event loop, seconds. A triggerer picks up 50 triggers at a time and warns above 0.2 s;
#: here all thousand begin at once, and wake at once when the token that they share has come.
BLOCKED = 0.2


@dataclass(frozen=True)
class Stats:
    """What the server has seen."""

    token_requests: list[int]
    """The status that each was answered with."""
    checks: list[int]
    """The same for status checks."""
    connections: int
    by_token: list[int]
    """How many checks came with each token, in the order that they were issued."""


class Server(OAuth2Server):
    """Its first token lives as long as it is told, later ones an hour."""

    def keep(self, token: Token) -> None:
        super().keep(token)
        self.lifetime = 3600


def serve(pipe: Connection, lifetime: int) -> None:
    """Serve in a process of its own, so that it does not take the interpreter away from the event loop."""
    with Server(jobs=Jobs(polls=CHECKS - 1), token_delay=0.2, lifetime=lifetime) as server:
        for _ in range(MANY):
            server.jobs.submit()
        pipe.send(server.url)
        while pipe.recv() == "revoke":
            server.revoke_all()
        stats = Stats(
            [request.status for request in server.token_requests],
            [request.status for request in server.requests("GET")],
            server.connections,
            [server.resource_requests[token.access_token] for token in server.tokens],
        )
        pipe.send(stats)


class Remote:
    """The server as the test sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def revoke(self) -> None:
        self._pipe.send("revoke")

    def stats(self) -> Stats:
        self._pipe.send("stop")
        stats: Stats = self._pipe.recv()
        return stats


@contextmanager
def running(connect: Connect, lifetime: int = 3600) -> Iterator[Remote]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, lifetime), daemon=True)
    process.start()
    theirs.close()  # so that recv() ends where the process does
    try:
        remote = Remote(ours)
        extra = {
            "auth_type": "oauth2",
            "oauth2_endpoint": "/token",
            "oauth2_client_id": BASIC.client_id,
            "oauth2_client_secret": BASIC.client_secret,
        }
        connect(remote.url, extra=extra)
        yield remote
    finally:
        ours.close()
        process.join(10)
        process.kill()
        process.join()
        process.close()


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were looked up; each takes as long as it does on a triggerer."""
    found: list[str] = []
    real = BaseHook.aget_connection

    async def counted(conn_id: str) -> Any:
        found.append(conn_id)
        await asyncio.sleep(0.04)
        return await real(conn_id)

    monkeypatch.setattr(BaseHook, "aget_connection", counted)
    return found


async def watchdog(gaps: list[tuple[float, float]]) -> None:
    """Measure how late the event loop is, as the triggerer does, and how long it has computed meanwhile.

    The latter does not count what other programs on a busy machine take.
    """
    while True:
        began, computed = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.1)
        gaps.append((time.perf_counter() - began, time.thread_time() - computed))


def trigger_of(url: str, number: int) -> ApiStatusTrigger:
    state = State(
        phase=Phase.POLL, job_id=number, status_url=f"{url}/jobs/{number}", submitted_at=time.time()
    )
    return ApiStatusTrigger(api_conn_id="api", state=state.to_dict(), job={"poll_interval": 1})


async def outcome(trigger: ApiStatusTrigger) -> str:
    """Run a trigger; how its job ended."""
    (payload,) = [item.payload async for item in trigger.run()]
    reached = payload["state"]
    return f"{reached['phase']} {reached['status']} {reached.get('error', {})}"


async def run_many(server: Remote, *, revoke: bool = False) -> float:
    """Start all triggers at once and wait for them; the longest that the event loop was kept busy."""
    made = [trigger_of(server.url, number) for number in range(1, MANY + 1)]
    gaps: list[tuple[float, float]] = []
    # Walking through all that the tests have imported takes Python 0.1 to 0.2 s, and is no part of this.
    gc.collect()
    gc.freeze()
    watching = asyncio.create_task(watchdog(gaps))
    began = time.monotonic()
    triggers = []
    for trigger in made:
        triggers.append(asyncio.create_task(outcome(trigger)))
        await asyncio.sleep(0)  # as the triggerer does
    if revoke:
        asyncio.get_running_loop().call_later(1.5, server.revoke)
    outcomes = await asyncio.gather(*triggers)
    seconds = time.monotonic() - began
    watching.cancel()
    gc.unfreeze()
    late, computed = (max(column) for column in zip(*gaps, strict=True))
    print(f"{MANY} triggers in {seconds:.1f} s, longest gap {late:.3f} s, of computing {computed:.3f} s")
    assert set(outcomes) == {"fetch succeeded {}"}
    return min(late, computed)


def test_one_lookup_and_one_token(connect: Connect, lookups: list[str]) -> None:
    with running(connect) as server:
        gap = asyncio.run(run_many(server))
        stats = server.stats()
    assert lookups == ["api"]
    assert stats.token_requests == [200]
    assert stats.checks == [200] * MANY * CHECKS
    assert stats.connections <= event_loop._MAX_CONNECTIONS + 1  # of which one went to the token endpoint
    assert gap < BLOCKED


def test_token_that_expires_is_renewed_once(connect: Connect, lookups: list[str]) -> None:
    with running(connect, lifetime=2) as server:
        gap = asyncio.run(run_many(server))
        stats = server.stats()
    assert lookups == ["api"]
    assert stats.token_requests == [200, 200]
    assert len(stats.by_token) == 2
    assert all(stats.by_token)
    assert stats.checks.count(200) == MANY * CHECKS
    assert set(stats.checks) <= {200, 401}
    assert gap < BLOCKED


def test_token_that_is_refused_is_renewed_once(connect: Connect, lookups: list[str]) -> None:
    with running(connect) as server:
        gap = asyncio.run(run_many(server, revoke=True))
        stats = server.stats()
    assert lookups == ["api"]
    assert stats.token_requests == [200, 200]
    assert stats.checks.count(200) == MANY * CHECKS
    assert 401 in stats.checks
    assert gap < BLOCKED
