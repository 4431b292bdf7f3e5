"""Rule 22: waits last by the monotonic clock, whatever is done to the wall clock; deadlines do not."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.operation import Operation, Send, Wait
from airflow_provider_apitask.core.state import Phase, State

from .helpers import BASE, READ_TIMEOUT, T0, Driven, make_api, make_call, make_job, make_response

HOUR = 3600.0
STEPS = pytest.mark.parametrize("step", [5 * HOUR, HOUR, -HOUR, -5 * HOUR])


class Clocked:
    """An operation with both clocks."""

    def __init__(self, state: State | None = None, **job: Any) -> None:
        given = {"phase": Phase.POLL, "job_id": "7", "status_url": f"{BASE}/jobs/7", "submitted_at": T0}
        call = make_call(job=make_job(**job))
        self.operation = Operation(call, make_api(), State(**given) if state is None else state)  # type: ignore[arg-type]
        self.now, self.ticks = T0, 500.0

    @property
    def phase(self) -> Phase:
        return self.operation.state.phase

    def set_clock(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, inbound: Any) -> float:
        """Wait, send the next request and give this as what came of it; returns the seconds waited."""
        step = self.operation.step(self.now, self.ticks)
        waited = 0.0
        if isinstance(step, Wait):
            waited = step.until - self.now
            self.now, self.ticks = self.now + waited, self.ticks + waited
            step = self.operation.step(self.now, self.ticks)
        assert isinstance(step, Send), step
        response = make_response(inbound) if isinstance(inbound, int) else inbound
        self.operation.receive(response, self.now, self.ticks)
        return waited

    def elsewhere(self) -> Clocked:
        """The same call in another process, whose monotonic clock is another one."""
        other = Clocked(State.from_dict(self.operation.state.to_dict()))
        other.operation.call = self.operation.call
        other.now, other.ticks = self.now, 9e6
        return other


RUNNING = make_response(200, {"status": "running"})


@STEPS
def test_a_wait_is_as_long_as_before(step: float) -> None:
    clocked = Clocked()
    clocked.answer(RUNNING)
    clocked.set_clock(step)
    assert clocked.answer(RUNNING) == 10
    assert clocked.answer(RUNNING) == 10


@STEPS
def test_the_window_for_failing_checks_is_as_long_as_before(step: float) -> None:
    clocked = Clocked(status_grace=40)
    clocked.answer(503)
    clocked.set_clock(step)
    for _ in range(3):
        assert clocked.answer(503) == 10
        assert clocked.phase is Phase.POLL_GRACE
    clocked.answer(503)
    assert clocked.phase is Phase.FAILED


@STEPS
def test_a_clock_that_is_set_during_a_request(step: float) -> None:
    clocked = Clocked(status_grace=40)
    clocked.answer(503)
    clocked.now, clocked.ticks = clocked.now + 10, clocked.ticks + 10
    assert isinstance(clocked.operation.step(clocked.now, clocked.ticks), Send)
    clocked.set_clock(step)
    clocked.operation.receive(READ_TIMEOUT, clocked.now, clocked.ticks + 5)
    assert clocked.phase is Phase.POLL_GRACE
    assert clocked.operation.seconds_left(clocked.now, clocked.ticks + 5) == 10


@STEPS
def test_the_graces_for_404_are_as_long_as_before(step: float) -> None:
    clocked = Clocked(not_found_grace=25)
    clocked.answer(404)
    clocked.set_clock(step)
    phases = []
    while clocked.phase.waiting:
        clocked.answer(404)
        phases.append(clocked.phase)
    assert phases == [Phase.POLL, Phase.POLL, *[Phase.POLL_GRACE] * 3, Phase.LOST]


@STEPS
def test_the_window_for_a_result_is_as_long_as_before(step: float) -> None:
    clocked = Clocked(status_grace=40, result_request="/result")
    clocked.answer(make_response(200, {"status": "succeeded"}))
    clocked.answer(503)
    clocked.set_clock(step)
    for _ in range(3):
        assert clocked.answer(503) == 10
        assert clocked.phase is Phase.FETCH
    clocked.answer(503)
    assert clocked.phase is Phase.FAILED


@pytest.mark.parametrize(("step", "phase"), [(HOUR, Phase.TIMED_OUT), (-HOUR, Phase.POLL)])
def test_a_deadline_is_a_time_of_the_wall_clock(step: float, phase: Phase) -> None:
    state = State(phase=Phase.POLL, status_url=f"{BASE}/jobs/7", submitted_at=T0, deadline_at=T0 + 60)
    clocked = Clocked(state, deadline=60)
    clocked.answer(RUNNING)
    clocked.set_clock(step)
    for _ in range(9 if step < 0 else 1):
        clocked.answer(RUNNING)
    assert clocked.phase is phase
    assert clocked.operation.state.deadline_at == T0 + 60


def test_a_clock_that_drifts_changes_nothing() -> None:
    clocked = Clocked()
    clocked.answer(503)
    since = clocked.operation.state.failing_since
    clocked.set_clock(0.4)
    clocked.answer(503)
    assert clocked.operation.state.failing_since == since


# -- another process -----------------------------------------------------------------------------


@STEPS
def test_a_wait_is_not_longer_in_another_process(step: float) -> None:
    clocked = Clocked()
    clocked.answer(RUNNING)
    clocked = clocked.elsewhere()
    clocked.set_clock(step)
    assert clocked.answer(RUNNING) <= 10
    assert clocked.answer(RUNNING) == 10


@STEPS
def test_the_window_for_failing_checks_neither_ends_at_once_nor_grows_in_another_process(step: float) -> None:
    clocked = Clocked(status_grace=80)
    clocked.answer(503)
    clocked.answer(503)
    clocked = clocked.elsewhere()
    clocked.set_clock(step)
    passed = 0.0
    while clocked.phase is Phase.POLL_GRACE:
        passed += clocked.answer(503)
    assert clocked.phase is Phase.FAILED
    assert 20 <= passed <= 70


def test_the_window_for_failing_checks_ends_if_each_check_has_a_process_of_its_own() -> None:
    """As in a sensor of mode ``reschedule``."""
    clocked = Clocked(status_grace=80)
    passed = 0.0
    while clocked.phase in (Phase.POLL, Phase.POLL_GRACE):
        passed += clocked.answer(503)
        clocked = clocked.elsewhere()
    assert clocked.phase is Phase.FAILED
    assert passed == 80


def test_the_time_without_a_process_counts() -> None:
    clocked = Clocked(status_grace=80)
    clocked.answer(503)
    clocked = clocked.elsewhere()
    clocked.set_clock(30)
    passed = 0.0
    while clocked.phase is Phase.POLL_GRACE:
        passed += clocked.answer(503)
    assert passed == 50


@STEPS
def test_a_search_for_the_job_waits_as_long_as_before(step: float) -> None:
    search = {"request": "/jobs", "match": {"$.name": "n"}, "settle": 6}
    job = make_job(status_request="/jobs/{id}", reconcile=search)
    driven = Driven(make_call(job=job))
    clocked = Clocked(State())
    clocked.operation = driven.operation
    clocked.operation.step(clocked.now, clocked.ticks)
    clocked.operation.intend(clocked.now)
    clocked.answer(READ_TIMEOUT)
    assert clocked.phase is Phase.RECONCILE
    clocked.set_clock(step)
    passed = 0.0
    while clocked.phase is Phase.RECONCILE:
        passed += clocked.answer(make_response(200, []))
    assert passed == 6
