"""The trigger: what is stored of it, restarts, and Airflow failing around a healthy job."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_apitask import ApiStatusTrigger, exceptions
from airflow_provider_apitask.core.messages import MAX_TRIGGERER_BYTES
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.hooks import clients
from airflow_provider_apitask.triggers import api_status, handover
from tests.airflow.helpers import (
    FAST,
    Comms,
    Connect,
    TaskInstance,
    awaited,
    call,
    context_for,
    deferred,
    event,
    restored,
)
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer


def trigger_for(server: JobServer, *, job: dict[str, Any] | None = None, **state: Any) -> ApiStatusTrigger:
    at = State(
        phase=Phase.POLL, job_id=1, status_url=f"{server.url}/jobs/1", submitted_at=time.time(), **state
    )
    return ApiStatusTrigger(api_conn_id="api", state=at.to_dict(), job={**FAST, **(job or {})})


# -- what is stored ------------------------------------------------------------------------------


def test_arguments_are_json_and_rebuild_the_trigger(jobs: JobServer) -> None:
    job = {
        "status_request": {"endpoint": "/x", "headers": {"X-Zone": "z9-value"}},
        "final_status_codes": (500,),
    }
    trigger = deferred(task := call(job=job, timeout=(3, 4)), context_for(task)).trigger
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_apitask.triggers.api_status.ApiStatusTrigger"
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert kwargs["timeout"] == [3, 4]
    assert restored(trigger, guard=kwargs["guard"]).serialize() == (path, kwargs)
    assert set(kwargs) == set(inspect.signature(ApiStatusTrigger).parameters)
    assert "z9-value" not in repr(trigger)


def test_native_dates_become_json(jobs: JobServer) -> None:
    from datetime import UTC, datetime

    job = {"status_request": {"endpoint": "/x", "params": {"since": datetime(2026, 1, 2, tzinfo=UTC)}}}
    _, kwargs = deferred(task := call(job=job), context_for(task)).trigger.serialize()
    assert kwargs["job"]["status_request"]["params"] == {"since": "2026-01-02T00:00:00+00:00"}


@pytest.mark.parametrize("state", [{}, None, "x", {"version": 99}])
def test_constructor_and_repr_never_fail(state: Any, connect: Connect, comms: Comms) -> None:
    trigger = ApiStatusTrigger(api_conn_id="api", state=state, job={"no": 1}, timeout=object())
    assert isinstance(trigger, BaseTrigger)
    assert "api" in repr(trigger)
    with pytest.raises(TypeError):
        ApiStatusTrigger(api_conn_id="api", state={}, argument_of_another_version=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"state": {"version": 99}}, "version is 99"), ({"job": {"no": 1}}, "no field 'no'")],
)
def test_arguments_of_another_version_end_in_a_clear_error(
    jobs: JobServer, changes: dict[str, Any], message: str
) -> None:
    given = {"api_conn_id": "api", "state": State(phase=Phase.POLL, job_id=5).to_dict(), **changes}
    payload = awaited(ApiStatusTrigger(**given))
    task = call(job=FAST)
    with pytest.raises(exceptions.ParameterError, match=message):
        task.execute_complete(context_for(task), payload)


def test_event_holds_no_body_and_no_secret(jobs: JobServer, comms: Comms, connect: Connect) -> None:
    connect(jobs.url, login="me", password="s3cret-password")
    body = {"status": "done", "blob": "B" * 50, "echo": "s3cret-password"}
    jobs.on("GET", "/jobs/job-1", Answer(json=body, headers={"X-Auth-Token": "s3cret-token"}))
    trigger = deferred(task := call(job=FAST), context_for(task)).trigger
    text = json.dumps(awaited(trigger, TaskInstance("t")))
    assert "BBBB" not in text
    assert "s3cret" not in text
    record = comms.values["t", -1, handover.ANSWER_KEY]
    assert "s3cret-token" not in record


@pytest.mark.parametrize("polls", [1, 4])
def test_a_worker_reads_a_status_response_that_is_too_large_for_a_triggerer(
    jobs: JobServer, polls: int
) -> None:
    large = {"n": 5, "blob": "x" * MAX_TRIGGERER_BYTES}
    running = [Answer(json={"status": "running"} | large)] * polls
    jobs.on("GET", "/jobs/1", *running, Answer(json={"status": "done"} | large))
    payload = awaited(trigger_for(jobs))
    state = State.from_dict(payload["state"])
    assert (state.phase, state.needs_worker, state.polls) == (Phase.POLL, True, 1)
    # The worker does not defer again, even if the job still runs.
    task = call(job={**FAST, "result_path": "$.n"})
    assert task.execute_complete(context_for(task), payload) == 5
    assert len(jobs.history) == polls + 1


# -- restarts and clocks -------------------------------------------------------------------------


async def test_deadline_is_absolute_after_a_restart(jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "running"}))
    first = trigger_for(jobs, deadline_at=time.time() + 0.3)
    run = asyncio.create_task(event(restored(first)))
    await asyncio.sleep(0.15)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    payload = await event(restored(first))
    assert payload["state"]["phase"] == "timed_out"
    assert payload["state"]["deadline_at"] == first.state["deadline_at"]


async def test_deadline_that_passed_while_nobody_polled(jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "running"}))
    payload = await event(trigger_for(jobs, deadline_at=time.time() - 100))
    assert payload["state"]["phase"] == "timed_out"
    assert len(jobs.history) == 1


async def test_job_that_ended_at_its_deadline_is_seen_to_have_succeeded(jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "done"}))
    payload = await event(trigger_for(jobs, deadline_at=time.time() - 100))
    assert payload["state"]["phase"] == "fetch"


async def test_nothing_is_polled_before_it_is_due(jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "done"}))
    due = time.time() + 0.2
    await event(trigger_for(jobs, next_at=due))
    assert time.time() >= due


async def test_failing_checks_end_after_the_window(jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/1", Answer(503))
    payload = await event(trigger_for(jobs, job={"status_grace": 0.1}))
    assert payload["state"]["error"]["kind"] == "request_failed"
    assert "503" in payload["state"]["error"]["message"]


# -- Airflow failing around a healthy job --------------------------------------------------------


class Lookups:
    """The real lookup, counted, and failing where a test wants it."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = 0
        self.hangs = False
        self._real = clients._airflow_lookup

    async def __call__(self, conn_id: str) -> Any:
        self.count += 1
        await asyncio.sleep(0.005)
        if self.hangs:
            await asyncio.sleep(60)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the API server is down")
        return await self._real(conn_id)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    made = Lookups()
    monkeypatch.setattr(clients, "_airflow_lookup", made)
    monkeypatch.setattr(api_status, "_LOOKUP_RETRY", 0.02)
    return made


async def test_lookup_that_fails_at_first_is_tried_again(jobs: JobServer, lookups: Lookups) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "done"}))
    lookups.fails = 3
    payload = await event(trigger_for(jobs))
    assert payload["state"]["phase"] == "fetch"
    assert lookups.count == 4


@pytest.mark.parametrize("hangs", [False, True])
async def test_lookup_that_fails_later_leaves_the_client_in_use(
    jobs: JobServer, lookups: Lookups, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    def status(request: Recorded) -> Answer:
        lookups.fails, lookups.hangs = 99, hangs
        return Answer(json={"status": "done" if len(jobs.history) > 3 else "running"})

    jobs.on("GET", "/jobs/1", status)
    monkeypatch.setattr(clients, "LOOKUP_AFTER", 0.01)
    monkeypatch.setattr(clients, "LOOKUP_RETRY", 0.01)
    monkeypatch.setattr(clients, "LOOKUP_TIMEOUT", 0.05)
    payload = await event(trigger_for(jobs, job={"status_grace": 0}))
    assert payload["state"]["phase"] == "fetch"
    assert lookups.count > 1


async def test_missing_connection_is_a_clear_error_in_the_end(comms: Comms, lookups: Lookups) -> None:
    state = State(phase=Phase.POLL, job_id=5, status_url="http://127.0.0.1:1/x").to_dict()
    trigger = ApiStatusTrigger(api_conn_id="nowhere", state=state, job={"status_grace": 0.05})
    payload = await event(trigger)
    error = payload["state"]["error"]
    assert (error["kind"], payload["state"]["job_id"]) == ("connection_field", 5)
    assert "'nowhere' could not be looked up" in error["message"]
    assert 2 <= lookups.count <= 6


async def test_connection_that_cannot_be_used_is_final_at_once(
    comms: Comms, connect: Connect, lookups: Lookups
) -> None:
    connect("", conn_id="api")
    payload = await event(ApiStatusTrigger(api_conn_id="api", state=State(phase=Phase.POLL).to_dict()))
    assert payload["state"]["error"]["data"] == {"conn_id": "api", "field": "host"}
    assert lookups.count == 1


# -- sharing -------------------------------------------------------------------------------------


async def test_200_triggers_share_one_lookup_and_one_session(jobs: JobServer, lookups: Lookups) -> None:
    jobs.on("GET", "/jobs/1", lambda request: Answer(json={"status": "done"}))
    triggers = [trigger_for(jobs, next_at=time.time() + 0.02 + n / 500) for n in range(200)]
    payloads = await asyncio.gather(*(event(trigger) for trigger in triggers))
    assert {payload["state"]["phase"] for payload in payloads} == {"fetch"}
    assert lookups.count == 1
    assert len(jobs.history) == 200
    # Kept alive: far fewer than one connection for each.
    assert jobs.connections <= 100


@pytest.fixture
async def leftovers() -> AsyncIterator[None]:
    """What the loop still has to do afterwards: nothing but closing what is kept open a while."""
    yield
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert [task.get_coro().__name__ for task in tasks] in ([], ["_close_later"])  # type: ignore[union-attr]


@pytest.mark.parametrize("when", [0, 0.002, 0.05, 0.3])
async def test_cancelled_trigger_leaves_nothing_behind(
    jobs: JobServer, lookups: Lookups, leftovers: None, when: float
) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "running"}, delay=0.2))
    task = asyncio.create_task(event(trigger_for(jobs)))
    await asyncio.sleep(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    assert clients.pool_of_this_loop()._clients == {}


def test_sessions_are_closed_when_the_loop_ends(jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "running"}))
    sessions = []

    async def loop_that_ends(finished: bool) -> None:
        tasks = [asyncio.create_task(event(trigger_for(jobs, job={"max_polls": 2 if finished else 9999})))]
        await asyncio.sleep(0.2)
        (client,) = clients.pool_of_this_loop()._clients.values()
        sessions.append(client.transport._session)
        assert tasks[0].done() is finished
        assert not sessions[-1].closed

    for finished in (True, False):
        asyncio.run(loop_that_ends(finished))
    assert [session.closed for session in sessions] == [True, True]
