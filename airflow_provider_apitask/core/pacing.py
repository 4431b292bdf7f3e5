"""When the next request is due: intervals, ``Retry-After`` and the limits of a job (rules 8 and 13)."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.retry import grown
from airflow_provider_apitask.core.state import State

__all__ = ["clamped", "first_check", "limit_reached", "next_check", "next_result", "spread_check", "steady"]

#: Shortest wait that is taken from a server, seconds: ``Retry-After: 0`` is no wish to be hammered.
_SHORTEST = 1.0
#: Longest wait between two attempts to fetch a result where the server asks for none, seconds.
_LONGEST_FOR_RESULT = 15.0
#: Smaller differences between the two clocks are drift, and the time between two calls, seconds.
_CLOCK_STEP_SECONDS = 1.0
#: Part of ``status_grace`` that the time between two processes can use up beyond the wait for the next poll.
_GRACE_WITHOUT_POLLS = 0.25
#: First checks in one second, where many are due at once.
_CHECKS_PER_SECOND = 100


def first_check(job: AsyncJob, state: State, asked: float | None, now: float) -> float:
    """Unix time of the first check: the server's ``Retry-After``, else the initial delay."""
    return _not_after_deadline(state, now + (job.initial_delay if asked is None else clamped(job, asked)))


def spread_check(job: AsyncJob, state: State, now: float, jobs: int, jitter: float) -> State:
    """The state of a job that a triggerer begins to wait for, its check put off where many are due.

    After a restart the checks of all jobs are due at once: they are spread so that not many more than
    100 begin in a second, over one interval at most.

    :param jobs: how many jobs this process waits for.
    :param jitter: a random number from 0 to 1.
    """
    if state.next_at is not None and state.next_at > now:
        return state
    longest = min(float(job.poll_interval), jobs / _CHECKS_PER_SECOND)
    return replace(state, next_at=_not_after_deadline(state, now + longest * jitter))


def steady(state: State, job: AsyncJob, now: float, clock_step: float | None) -> State:
    """The state with its waits as long as they were, whatever was done to the wall clock (rule 22).

    :param clock_step: seconds by which the clock was set since this process last looked; None if it looks
        for the first time. The monotonic clock of another process says nothing here. Then no time passed if
        the clock is behind the state. If it is ahead, a clock that was set cannot be told from a long time
        without a process, so only a part of ``status_grace`` counts beyond the wait for the next poll.
    """
    if clock_step is not None:
        return state if abs(clock_step) < _CLOCK_STEP_SECONDS else state.shifted(clock_step)
    if (as_of := state.as_of) is None:
        return state
    if now < as_of:
        state = state.shifted(now - as_of)
    elif state.failing_since is not None:
        counted = max(0.0, (state.next_at or 0.0) - as_of) + job.status_grace * _GRACE_WITHOUT_POLLS
        skipped = max(0.0, now - as_of - counted)
        state = replace(state, failing_since=state.failing_since + skipped)
    return state


def next_check(
    job: AsyncJob, state: State, asked: float | None, now: float, slow: float | None = None
) -> float:
    """Unix time of the next check; the one at the deadline is still made.

    :param slow: seconds to wait at least, where the service is going to call back.
    """
    if asked is None:
        wait = grown(job.poll_interval, job.poll_factor, state.polls - 1, _longest(job))
    else:
        wait = clamped(job, asked)
    return _not_after_deadline(state, now + max(wait, slow or 0.0))


def next_result(job: AsyncJob, asked: float | None, now: float, window_ends: float) -> float:
    """Unix time of the next attempt to fetch a result; the one at the end of the window is made."""
    wait = min(job.poll_interval, _LONGEST_FOR_RESULT) if asked is None else clamped(job, asked)
    return min(now + wait, window_ends)


def clamped(job: AsyncJob, asked: float) -> float:
    """A wait that the server asks for, within bounds: it neither hammers nor sleeps for ever."""
    shortest: float = min(_SHORTEST, job.poll_interval)
    return max(shortest, min(asked, _longest(job)))


def _longest(job: AsyncJob) -> float:
    return max(float(job.max_poll_interval), float(job.poll_interval))


def limit_reached(job: AsyncJob, state: State, now: float) -> str | None:
    """What a job that is still not done has used up, as the end of a sentence; None for nothing."""
    if state.deadline_at is not None and now >= state.deadline_at:
        after = f", {job.deadline:g} s after the submit" if job.deadline is not None else ""
        return f"was not done at its deadline{after}"
    if job.max_polls is not None and state.polls >= job.max_polls:
        return f"was not done after {state.polls} checks (job.max_polls)"
    return None


def _not_after_deadline(state: State, at: float) -> float:
    return at if state.deadline_at is None else min(at, state.deadline_at)
