"""A thousand waiting jobs of one connection in one triggerer process: how late its event loop is.

The server runs in a process of its own, so that it does not take the interpreter away from the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from airflow_provider_apitask import ApiStatusTrigger
from airflow_provider_apitask.core.state import Phase, State
from tests.support.real import Jobs
from tests.support.real.oauth2_server import BASIC, OAuth2Server, Token

__all__ = ["CHECKS", "MANY", "SUCCEEDED", "Remote", "Run", "report", "run_many", "running"]

MANY = 1000
CHECKS = 3
#: The outcome of each trigger.
SUCCEEDED = "fetch succeeded {}"


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
    """Serve until the other end of the pipe asks for the statistics."""
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
    """The server, as the process of the event loop sees it."""

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
def running(lifetime: int = 3600) -> Iterator[Remote]:
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
        record = {"conn_type": "apitask", "host": remote.url, "extra": {"allow_http": True, **extra}}
        os.environ["AIRFLOW_CONN_API"] = json.dumps(record)
        yield remote
    finally:
        os.environ.pop("AIRFLOW_CONN_API", None)
        ours.close()
        process.join(10)
        process.kill()
        process.join()
        process.close()


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


@dataclass(frozen=True)
class Run:
    """Outcomes of all triggers, and how late the event loop was."""

    outcomes: set[str]
    seconds: float
    latest: float
    """Longest gap between two turns of the event loop beyond the 0.1 s that it sleeps, seconds."""
    computing: float
    """The same, without what other programs on a busy machine take."""


async def run_many(server: Remote, *, revoke: bool = False) -> Run:
    """Start all triggers at once and wait for them."""
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
    return Run(set(outcomes), seconds, late - 0.1, computed)


def report() -> str:
    """Run once and format the figures."""
    import structlog

    # Thousands of lines on a terminal would be most of what is measured.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with running() as server:
        run = asyncio.run(run_many(server))
        server.stats()
    if run.outcomes != {SUCCEEDED}:
        raise RuntimeError(f"not every job succeeded: {run.outcomes}")
    head = "| jobs | seconds | longest gap, s | of computing, s |\n| ---: | ---: | ---: | ---: |\n"
    return f"{head}| {MANY} | {run.seconds:.1f} | {run.latest:.3f} | {run.computing:.3f} |"
