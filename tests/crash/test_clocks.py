"""Each clock of a deferred task ends it in time, although its triggerer is killed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from demo.processes import wait_until
from tests.crash.server import Moment
from tests.crash.stack import ENDED, CrashStack
from tests.support import Answer, Recorded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DAG_ID = RUN_ID = "clocks"
LIMIT = 25  # seconds, as in the DAG
POLLS = 50
EARLY, LATE = 1, 12  # seconds that a clock may be wrong by; Airflow needs some to run the end of a task
CLOCKS = ("execution_timeout", "deadline", "status_grace", "sensor_timeout")
ON_TRIGGERER = ("deadline", "status_grace")
TASKS = (*CLOCKS, "max_polls")
WAIT = 200  # seconds


@dataclass(frozen=True)
class Reading:
    """What one clock did."""

    seconds: float
    """From where the clock starts to the end of the task."""
    killed: float
    """When the triggerers were, on the same clock."""
    resumed: float | None
    """When the status was asked for again; None where that was not needed."""
    polls_before: int
    polls_after: int
    state: str


@pytest.fixture(scope="module")
def readings(stack: CrashStack, reports: Path) -> Mapping[str, Reading]:
    """All clocks run at the same time; both triggerers are killed and started again in between."""
    server, airflow = stack.server, stack.airflow
    answer = requests.post(
        f"{server.url}/jobs", json={"name": _name("sensor_timeout"), "seconds": 3600}, timeout=5
    )
    failing_since: list[float] = []

    def fail_checks(moment: Moment, name: str, _request: Recorded) -> Answer | None:
        if moment is Moment.POLL and failing_since and name == _name("status_grace"):
            return Answer(503, {"detail": "down"})
        return None

    server.on_moment = fail_checks
    stack.trigger([DAG_ID], RUN_ID, {"job_id": answer.json()["id"]})
    states: dict[str, str] = {}

    def look() -> bool:
        tasks = airflow.api.task_instances(DAG_ID, RUN_ID)
        states.update({task["task_id"]: task["state"] for task in tasks})
        return True

    def all_wait() -> bool:
        return look() and all(
            states.get(task) == "deferred" and len(_polls(stack, task)) > 3 for task in TASKS
        )

    wait_until(all_wait, WAIT, "not all tasks wait on a triggerer")
    failing_since.append(time.monotonic())
    asked = len(_polls(stack, "status_grace"))
    wait_until(lambda: len(_polls(stack, "status_grace")) > asked + 2, WAIT, "no check has failed")
    for name in airflow.triggerers:
        airflow.kill_component(name)
    killed = time.monotonic()
    for name in airflow.triggerers:
        airflow.start_component(name)
    ended: dict[str, float] = {}

    def all_ended() -> bool:
        look()
        for task in TASKS:
            if states[task] in ENDED:
                ended.setdefault(task, time.monotonic())
        return len(ended) == len(TASKS)

    wait_until(all_ended, WAIT, "not all tasks have ended", 0.25)
    found = {}
    for task in TASKS:
        polls = _polls(stack, task)
        start = failing_since[0] if task == "status_grace" else polls[0]
        before = sum(at <= killed for at in polls)
        resumed = polls[before] - start if len(polls) > before else None
        seconds = ended[task] - start
        found[task] = Reading(seconds, killed - start, resumed, before, len(polls) - before, states[task])
        print(f"{task}: {found[task]}")
    return found


def _name(task_id: str) -> str:
    return f"clocks/{task_id}/0"


def _polls(stack: CrashStack, task_id: str) -> list[float]:
    """When the status of a task's job was asked for."""
    jobs = stack.server.jobs_of(_name(task_id))
    return [request.at for request in stack.server.requests("GET", f"/jobs/{jobs[0].id}")] if jobs else []


@pytest.mark.parametrize("clock", CLOCKS)
def test_clock_is_not_prolonged_by_a_restart(readings: Mapping[str, Reading], clock: str) -> None:
    reading = readings[clock]
    assert reading.state == "failed"
    assert reading.killed < LIMIT
    # A triggerer that is back too late ends the task at once; a clock that began anew would go on from there.
    due = max(LIMIT, (reading.resumed or 0) if clock in ON_TRIGGERER else 0)
    assert LIMIT - EARLY <= reading.seconds <= due + LATE, reading


@pytest.mark.parametrize("clock", ON_TRIGGERER)
def test_trigger_ran_again(readings: Mapping[str, Reading], clock: str) -> None:
    """Else nothing would be shown by its end; the other clocks are the scheduler's."""
    assert readings[clock].resumed is not None, readings[clock]


def test_polls_are_counted_across_a_restart(readings: Mapping[str, Reading]) -> None:
    reading = readings["max_polls"]
    assert reading.state == "failed"
    assert reading.polls_after > 0
    assert POLLS <= reading.polls_before + reading.polls_after <= POLLS + reading.polls_before // 2, reading
