"""The event-loop driver: long responses are read in a thread, and all bodies share one budget of memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from airflow_provider_apitask.core import operation as operation_module
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Purpose, Request, Response
from airflow_provider_apitask.core.operation import Operation
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move, Turn
from airflow_provider_apitask.drivers import event_loop, memory
from airflow_provider_apitask.drivers.memory import Budget, Lease, leased
from tests.drivers.contract import PATIENT, asynchronous, make_api
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer

KIB = 1024


@asynccontextmanager
async def transport(server: ScriptedServer) -> AsyncIterator[event_loop.EventLoopTransport]:
    async with event_loop.EventLoopTransport(make_api(server.url)) as made:
        yield made


def status_of(size: int) -> bytes:
    return json.dumps({"status": "succeeded", "blob": "x" * size}).encode()


def polling(server: ScriptedServer, path: str = "/jobs/1", **job: Any) -> Operation:
    state = State(phase=Phase.POLL, job_id=1, status_url=f"{server.url}{path}", submitted_at=0.0)
    return Operation(asynchronous(**job), make_api(server.url), state)


# -- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "job", "thread"),
    [
        (10, {}, "MainThread"),
        (200 * KIB, {}, "MainThread"),
        (300 * KIB, {}, "apitask-parse"),
        (10, {"success_when": {"$.status": {"pattern": "succ"}}}, "apitask-search"),
        (10, {"status_path": "$..status"}, "apitask-search"),
    ],
)
async def test_what_takes_long_is_read_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, size: int, job: dict[str, Any], thread: str
) -> None:
    threads: list[str] = []
    rule = operation_module._RULES[Phase.POLL]

    def noted(turn: Turn) -> Move:
        threads.append(threading.current_thread().name)
        return rule(turn)

    monkeypatch.setitem(operation_module._RULES, Phase.POLL, noted)
    with ScriptedServer() as server:
        server.on(
            "GET", "/jobs/1", Answer(body=status_of(size), headers={"Content-Type": "application/json"})
        )
        operation = polling(server, **job)
        async with transport(server) as made:
            await event_loop.drive(operation, made.send, until=lambda state: not state.phase.waiting)
    assert operation.state.phase is Phase.FETCH
    assert [name.split("_")[0] for name in threads] == [thread]


async def test_a_cancelled_reading_leaves_the_operation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    rule = operation_module._RULES[Phase.POLL]

    def slow(turn: Turn) -> Move:
        begun.set()
        go_on.wait(10)
        return rule(turn)

    monkeypatch.setitem(operation_module._RULES, Phase.POLL, slow)
    with ScriptedServer() as server:
        server.on("GET", "/jobs/1", Answer(body=status_of(300 * KIB)))
        operation = polling(server)
        async with transport(server) as made:
            driving = asyncio.create_task(event_loop.drive(operation, made.send))
            await asyncio.to_thread(begun.wait, 10)
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
            before = operation.state
            go_on.set()
            await asyncio.to_thread(lambda: None)
    assert operation.state is before
    assert before.phase is Phase.POLL


# -- the budget ----------------------------------------------------------------------------------


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> int:
    """Room for two responses of 300 KiB."""
    monkeypatch.setattr(memory, "BUDGET_BYTES", 700 * KIB)
    return 700 * KIB


async def test_all_bodies_together_stay_below_the_budget(
    monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    free: list[int] = []
    cover = Lease.cover

    async def noted(lease: Lease, length: int, most: int, seconds: float) -> None:
        await cover(lease, length, most, seconds)
        free.append(lease._budget.free)

    monkeypatch.setattr(Lease, "cover", noted)
    with ScriptedServer() as server:
        server.on("GET", "/jobs/1", Answer(body=status_of(300 * KIB)))
        operations = [polling(server) for _ in range(20)]
        async with transport(server) as made:
            await asyncio.gather(
                *(
                    event_loop.drive(each, made.send, until=lambda state: not state.phase.waiting)
                    for each in operations
                )
            )
        with leased() as lease:
            assert lease._budget.free == budget
    assert {each.state.phase for each in operations} == {Phase.FETCH}
    assert min(free) >= 0
    assert min(free) < 200 * KIB  # two at once


async def test_a_short_response_never_waits_and_a_long_one_fails_the_poll(budget: int) -> None:
    with ScriptedServer() as server:
        server.on("GET", "/long", Answer(body=status_of(300 * KIB)))
        server.on("GET", "/short", Answer(body=status_of(60 * KIB)))
        async with transport(server) as made:
            with leased() as lease:
                await lease.cover(budget, budget, 1.0)  # as a poll that is being read
                send = made.send
                short = await outside(lambda: send(request(server, "/short")))
                long = await outside(lambda: send(request(server, "/long", seconds=0.05)))
            after = await send(request(server, "/long"))
    assert isinstance(short, Response)
    assert isinstance(long, NetworkFailure)
    assert long.failure is Failure.MEMORY
    assert isinstance(after, Response)


def request(server: ScriptedServer, path: str, seconds: float = PATIENT[1]) -> Request:
    return Request(Purpose.POLL, "GET", f"{server.url}{path}", timeout=(PATIENT[0], seconds))


async def outside(work: Callable[[], Any]) -> Any:
    """Run it as another trigger does: with no lease of its own yet."""
    with no_lease():
        return await work()


@contextmanager
def no_lease() -> Any:
    token = memory._lease.set(None)
    try:
        yield
    finally:
        memory._lease.reset(token)


async def test_the_budget_is_given_in_order() -> None:
    budget, order = Budget(100), list[str]()

    async def take(name: str, size: int) -> None:
        await budget.take(size)
        order.append(name)

    await budget.take(60)
    waiting = [asyncio.create_task(take(*each)) for each in (("large", 80), ("small", 10))]
    await asyncio.sleep(0)
    assert order == []  # the small one does not keep the large one waiting for ever
    budget.give(60)
    await asyncio.gather(*waiting)
    assert order == ["large", "small"]
    assert budget.free == 10


@pytest.mark.parametrize("served", [False, True])
async def test_who_stops_waiting_takes_nothing(*, served: bool) -> None:
    budget = Budget(100)
    await budget.take(60)
    first, second = (asyncio.create_task(budget.take(size)) for size in (80, 30))
    await asyncio.sleep(0)
    if served:
        budget.give(60)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert budget.free == (70 if served else 10)
