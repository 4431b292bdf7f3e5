"""How many checks begin at once when a triggerer starts."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.pacing import spread_check
from airflow_provider_apitask.core.state import Phase, State

from .helpers import T0, make_job


def begun(jobs: int, jitter: float, *, interval: float = 60, **state: float | None) -> float | None:
    job = make_job(poll_interval=interval)
    return spread_check(job, State(phase=Phase.POLL, **state), T0, jobs, jitter).next_at  # type: ignore[arg-type]


@pytest.mark.parametrize("due", [None, T0, T0 - 500])
def test_checks_that_are_due_at_once_are_spread(due: float | None) -> None:
    waits = sorted((begun(1000, number / 1000, next_at=due) or 0) - T0 for number in range(1000))
    assert (waits[0], round(waits[-1])) == (0, 10)
    assert max(sum(second <= wait < second + 1 for wait in waits) for second in range(10)) <= 101


def test_a_few_jobs_are_checked_at_once() -> None:
    assert begun(1, 1.0, next_at=T0 - 5) == T0 + 0.01


def test_nobody_waits_longer_than_one_interval() -> None:
    assert begun(100_000, 1.0, interval=15) == T0 + 15


def test_what_is_not_due_yet_is_left_alone() -> None:
    assert begun(1000, 1.0, next_at=T0 + 3) == T0 + 3


@pytest.mark.parametrize("deadline", [T0 + 2, T0 - 2])
def test_the_check_at_the_deadline_is_not_put_off(deadline: float) -> None:
    assert begun(1000, 1.0, deadline_at=deadline) == deadline
