"""No deferred task resumes before Airflow expects it to, and a short job does not defer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_apitask import ApiStatusSensor
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.plugins import deliver
from airflow_provider_apitask.triggers import resume_guard
from airflow_provider_apitask.triggers.callbacks import Delivery, as_record
from airflow_provider_apitask.triggers.resume_guard import ResumeGuard, guard_seconds
from tests.airflow.helpers import Comms, Connect, TaskInstance, call, context_for, deferred, event, restored
from tests.support.job_server import JobServer

QUICK = {"poll_interval": 0.02}
NOW = 1_800_000_000.0


@dataclass
class Clock:
    """A clock that moves when told; sleeping is noted."""

    now: float = NOW
    slept: list[float] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - NOW + 500

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the guard alone."""
    made = Clock()
    monkeypatch.setattr(resume_guard, "time", made)
    monkeypatch.setattr(resume_guard, "asyncio", made)
    return made


# -- how long ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "seconds"), [(None, 10), ("1", 10), ("5", 10), ("9", 14), ("30", 35)])
def test_guard_is_ten_seconds_or_the_heartbeat_interval_and_five(
    monkeypatch: pytest.MonkeyPatch, interval: str | None, seconds: float
) -> None:
    if interval is not None:
        monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", interval)
    assert guard_seconds() == seconds


@pytest.mark.parametrize(
    ("since", "left"),
    [
        (NOW, 10),
        (NOW - 1.5, 10),  # from the start of the trigger, which comes after the deferral
        (NOW + 7200, 10),  # the worker's clock is ahead
        (NOW - 5, 10),  # the worker's clock is behind
        (NOW - 8, 7),
        (NOW - 15, 0),  # started again after a restart of the triggerer
        (NOW - 7200, 0),
        (None, 10),
    ],
)
def test_guard_counts_from_the_deferral_whatever_the_clocks_say(
    clock: Clock, since: float | None, left: float
) -> None:
    guard = ResumeGuard(10, since)
    assert guard.seconds_left() == pytest.approx(left)
    clock.now += 4
    assert guard.seconds_left() == pytest.approx(max(0, left - 4))


# -- the trigger ---------------------------------------------------------------------------------


def held(trigger: Any, task: TaskInstance | None) -> Any:
    """The payload of a trigger's event, with the guard that its worker gave it."""
    return asyncio.run(event(restored(trigger, task, guard=trigger.guard)))


@pytest.mark.parametrize(
    ("statuses", "phase"),
    [(["running", "succeeded"], Phase.FETCH), (["running", "failed"], Phase.FAILED)],
)
def test_trigger_polls_as_usual_and_holds_its_event(
    jobs: JobServer, clock: Clock, statuses: list[str], phase: Phase
) -> None:
    jobs.statuses = tuple(statuses)
    context = context_for(task := call(job=QUICK))
    trigger = deferred(task, context).trigger
    trigger.since = NOW
    payload = held(trigger, context["ti"])
    assert State.from_dict(payload["state"]).phase is phase
    assert len(jobs.requests("GET")) == 2
    assert clock.slept == [10]


def test_error_event_is_held_too(jobs: JobServer, clock: Clock, connect: Connect) -> None:
    context = context_for(task := call(job=QUICK))
    trigger = deferred(task, context).trigger
    trigger.since = NOW
    connect("example.com", conn_type="ftp")
    assert "conn_type" in str(held(trigger, context["ti"]))
    assert clock.slept == [10]


def test_restarted_trigger_does_not_wait_again(jobs: JobServer, clock: Clock) -> None:
    context = context_for(task := call(job=QUICK))
    trigger = deferred(task, context).trigger
    trigger.since = NOW - 30
    held(trigger, context["ti"])
    assert clock.slept == [0]


def test_dag_test_has_no_scheduler_to_wait_for(jobs: JobServer, clock: Clock) -> None:
    trigger = deferred(task := call(job=QUICK), context_for(task)).trigger
    trigger.since = NOW
    held(trigger, None)
    assert clock.slept == [0]


# -- the route of callbacks ----------------------------------------------------------------------


@pytest.mark.parametrize(("age", "woken"), [(0, False), (13.9, False), (14.1, True)])
def test_callback_wakes_no_task_within_the_guard(
    monkeypatch: pytest.MonkeyPatch, age: float, woken: bool
) -> None:
    """The age is that of the trigger's row: ``since`` may come from a clock that is hours off."""
    from datetime import UTC, datetime

    from airflow.models.trigger import Trigger

    kwargs = {"state": {"callback_id": "c"}, "since": NOW + 7200, "guard": 14.0}
    row = SimpleNamespace(
        id=7, classpath=deliver._TRIGGER, kwargs=kwargs, created_date=datetime.fromtimestamp(NOW, UTC)
    )
    session: Any = SimpleNamespace(refresh=lambda ti: None, get=lambda kind, key: row)
    ti = SimpleNamespace(state="deferred", trigger_id=7)
    claim: Any = SimpleNamespace(callback_id="c", dag_id="d", task_id="t", run_id="r", map_index=-1)
    record = as_record("c", [Delivery(1, NOW, None, b"{}")])
    monkeypatch.setattr(deliver, "_kept", lambda session, owner: record)
    events: list[Any] = []
    monkeypatch.setattr(Trigger, "submit_event", lambda *given, **more: events.append(given))
    assert deliver._wake(session, ti, claim, NOW + age) is woken
    assert len(events) == woken


# -- job.defer_after -----------------------------------------------------------------------------


def polls(jobs: JobServer) -> int:
    return len(jobs.requests("GET"))


def test_short_job_ends_on_the_worker(jobs: JobServer) -> None:
    task = call(job=QUICK, deferrable=True)
    assert task.execute(context_for(task))["status"] == "succeeded"
    assert polls(jobs) > 1


def test_worker_does_not_wait_for_a_poll_that_is_due_later(jobs: JobServer) -> None:
    task = call(job={"poll_interval": 15}, deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute(context_for(task))
    assert polls(jobs) == 1


@pytest.mark.parametrize(("defer_after", "least"), [(0, 0), (0.2, 2)])
def test_long_job_defers(jobs: JobServer, defer_after: float, least: int) -> None:
    jobs.statuses = ("running",) * 1000 + ("succeeded",)
    task = call(job={**QUICK, "defer_after": defer_after}, deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute(context_for(task))
    assert polls(jobs) >= least
    assert defer_after or not polls(jobs)


def test_job_that_fails_meanwhile_fails_on_the_worker(jobs: JobServer) -> None:
    from airflow_provider_apitask.exceptions import JobFailedError

    jobs.statuses = ("running", "failed")
    task = call(job=QUICK, deferrable=True)
    with pytest.raises(JobFailedError):
        task.execute(context_for(task))


@pytest.mark.parametrize(("defer_after", "defers"), [(0, True), (5, False)])
def test_sensor_polls_before_it_defers(
    jobs: JobServer, comms: Comms, defer_after: float, defers: bool
) -> None:
    (start := call(mode="async", wait_for_completion=False)).execute(context_for(start))
    handle = comms.pushed("t", "api_job")
    job = {**QUICK, "defer_after": defer_after}
    task = ApiStatusSensor(task_id="s", api_conn_id="api", handle=handle, job=job, deferrable=True)
    context = context_for(task, ti=TaskInstance("s"))
    if defers:
        with pytest.raises(TaskDeferred):
            task.execute(context)
        assert polls(jobs) == 1
    else:
        assert task.execute(context)["status"] == "succeeded"


def test_rescheduled_sensor_does_not_run_again_within_the_guard(jobs: JobServer) -> None:
    task = ApiStatusSensor(
        task_id="s", job_id="1", status_request="/jobs/{job_id}", mode="reschedule", poke_interval=2
    )
    assert task._get_next_poke_interval(None, lambda: 0.0, 1) == 10
