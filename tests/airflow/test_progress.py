"""What was counted of a job goes on after a restart of the triggerer, which begins from the first state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask import ApiStatusTrigger
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.triggers.progress import PROGRESS_KEY
from tests.airflow.helpers import FAST, Comms, TaskInstance, call, context_for, event, restored
from tests.support import Answer
from tests.support.job_server import JobServer

RUNNING = Answer(json={"status": "running"})
TI = TaskInstance("t")
#: The task was deferred so long ago that a trigger which begins may be one that begins again.
LONG = 30.0


def trigger_for(server: JobServer, **job: Any) -> ApiStatusTrigger:
    now = time.time()
    state = State(phase=Phase.POLL, job_id=1, status_url=f"{server.url}/jobs/1", submitted_at=now)
    return ApiStatusTrigger(api_conn_id="api", state=state.to_dict(), job={**FAST, **job}, since=now - LONG)


async def interrupted(
    trigger: ApiStatusTrigger, server: JobServer, count: int, path: str = "/jobs/1", task: Any = TI
) -> None:
    """Run a trigger until so many checks were answered, and let its triggerer die."""
    running = asyncio.create_task(event(restored(trigger, task)))
    await asyncio.to_thread(server.wait_for, count, "GET", path)
    await asyncio.sleep(0.015)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def after_restart(trigger: ApiStatusTrigger) -> Any:
    return await event(restored(trigger, TI))


async def test_checks_are_counted_on(jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.on("GET", "/jobs/1", RUNNING)
    trigger = trigger_for(jobs, max_polls=6, poll_interval=0.05)
    await interrupted(trigger, jobs, 3)
    payload = await after_restart(trigger)
    assert payload["state"]["phase"] == "timed_out"
    assert payload["state"]["polls"] == len(jobs.history) == 6
    assert payload["left"] is True


async def test_checks_are_counted_over_several_restarts(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", RUNNING)
    trigger = trigger_for(jobs, max_polls=7, poll_interval=0.05)
    await interrupted(trigger, jobs, 2)
    await interrupted(trigger, jobs, 4)
    payload = await after_restart(trigger)
    assert len(jobs.history) == payload["state"]["polls"] == 7


async def test_window_of_failing_checks_goes_on(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", Answer(503))
    trigger = trigger_for(jobs, status_grace=0.4)
    await interrupted(trigger, jobs, 2)
    await asyncio.sleep(0.4)
    checks, restarted_at = len(jobs.history), time.time()
    payload = await after_restart(trigger)
    assert payload["state"]["error"]["kind"] == "request_failed"
    assert len(jobs.history) > checks
    assert payload["state"]["failing_since"] < restarted_at


async def test_clock_that_is_behind_the_deferral_loses_nothing(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", RUNNING)
    trigger = trigger_for(jobs, max_polls=6, poll_interval=0.05)
    trigger.since = time.time() + 5 * 3600
    await interrupted(trigger, jobs, 3)
    payload = await after_restart(trigger)
    assert payload["state"]["polls"] == len(jobs.history) == 6


async def test_window_that_was_over_begins_anew(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", Answer(503), RUNNING, RUNNING, Answer(503), Answer(json={"status": "done"}))
    trigger = trigger_for(jobs, status_grace=20)
    await interrupted(trigger, jobs, 3)
    payload = await after_restart(trigger)
    assert payload["state"]["phase"] == "fetch"


async def test_job_that_has_moved_is_asked_for_where_it_is(jobs: JobServer, comms: Comms) -> None:
    moved = Answer(202, {"status": "running"}, headers={"Location": "/jobs/new"})
    jobs.on("GET", "/jobs/1", moved, Answer(410))
    jobs.on("GET", "/jobs/new", RUNNING, RUNNING, Answer(json={"status": "done"}))
    trigger = trigger_for(jobs)
    await interrupted(trigger, jobs, 1, "/jobs/new")
    payload = await after_restart(trigger)
    assert payload["state"]["phase"] == "fetch"
    assert len(jobs.requests("GET", "/jobs/1")) == 1


async def test_sound_job_leaves_nothing(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", *[RUNNING] * 5, Answer(json={"status": "done"}))
    kept: list[Any] = []
    comms.before = lambda message: kept.append(message) if type(message).__name__ == "SetXCom" else None
    payload = await event(restored(trigger_for(jobs), TI))
    assert "left" not in payload
    assert [message.key for message in kept] == ["api_job_answer"]


@pytest.mark.parametrize(
    "left", [{"since": 1.0, "state": {}}, "x", 7, {"since": "NOW", "state": {"phase": "?"}}]
)
async def test_what_is_not_of_this_deferral_is_not_used(jobs: JobServer, comms: Comms, left: Any) -> None:
    jobs.on("GET", "/jobs/1", Answer(json={"status": "done"}))
    trigger = trigger_for(jobs)
    if isinstance(left, dict) and left["since"] == "NOW":
        left["since"] = trigger.since
    TI.xcom_push(PROGRESS_KEY, left)
    payload = await after_restart(trigger)
    assert payload["state"]["phase"] == "fetch"


def test_progress_is_removed_when_the_worker_goes_on(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", RUNNING, RUNNING, Answer(json={"status": "done"}))
    payload = asyncio.run(event(restored(trigger_for(jobs, max_polls=9), TI)))
    assert ("t", -1, PROGRESS_KEY) in comms.values
    task = call(job=FAST)
    assert task.execute_complete(context_for(task, ti=TI), payload) == {"status": "done"}
    assert ("t", -1, PROGRESS_KEY) not in comms.values


def fail_on(name: str) -> Callable[[Any], None]:
    def before(message: Any) -> None:
        if type(message).__name__ == name and message.key == PROGRESS_KEY:
            raise RuntimeError("the API server is down")

    return before


@pytest.mark.parametrize("name", ["GetXCom", "SetXCom", "DeleteXCom"])
def test_broken_xcom_is_a_warning(jobs: JobServer, comms: Comms, caplog: Any, name: str) -> None:
    jobs.on("GET", "/jobs/1", RUNNING, RUNNING, RUNNING, Answer(json={"status": "done"}))
    comms.before = fail_on(name)
    trigger = trigger_for(jobs, max_polls=9)
    payload = asyncio.run(event(restored(trigger, TI)))
    task = call(job=FAST)
    assert task.execute_complete(context_for(task, ti=TI), payload) == {"status": "done"}
    assert "the API server is down" in caplog.text


async def test_without_a_task_nothing_is_kept(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/1", RUNNING, RUNNING, Answer(json={"status": "done"}))
    payload = await event(restored(trigger_for(jobs, max_polls=9), None))
    assert payload["state"]["phase"] == "fetch"
    assert comms.values == {}
