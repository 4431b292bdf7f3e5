"""Cancelling a job (rule 19): who wants it, and reading what the server answers.

One request, sent again only where the server surely did not take it. What becomes of the job is
not waited for: a refused cancel can be a 200, so the log says what was answered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_apitask.core.errors import ApiTaskError, JobCancelledError, error_from_dict
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.retry import Delivery, delivery
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move, Turn, ended, handle_data, job_error, job_name

if TYPE_CHECKING:
    from airflow_provider_apitask.core.job import AsyncJob

__all__ = ["begin_cancel", "is_cancelled", "left_alone", "not_cancelled", "read_cancel"]

#: The job has ended, or is gone: there is nothing to cancel any more.
_OVER = frozenset({404, 409, 410})
#: How often the request is sent at most, where the server did not take it.
_TRIES = 3
#: Longest wait between two of these, seconds.
_LONGEST = 5.0

_WHY = {
    "kill": "its task was ended by hand",
    "clear": "its task was cleared",
    "timeout": "its task took longer than execution_timeout",
    "deadline": "it was not done in time",
    "failure": "its test run failed",
}


def begin_cancel(state: State, reason: str, error: ApiTaskError | None = None) -> Move:
    """Go over to cancelling the job.

    :param reason: one of ``job.CANCEL_REASONS``.
    :param error: what the call ends with afterwards; by default that it was cancelled.
    """
    why = _WHY.get(reason, reason)
    error = error or job_error(JobCancelledError, state, f"{job_name(state)} is cancelled: {why}.")
    state = state.at(Phase.CANCEL, cancel=reason, next_at=None, attempts=0, failing_since=None)
    told = f"{job_name(state)} is to be cancelled: {why}."
    return Move(state=state, event=Event(EventKind.CANCELLING, told, handle_data(state)), error=error)


def left_alone(state: State, job: AsyncJob, reason: str) -> Event:
    """What is worth saying of a job that is not cancelled, as its author does not want that.

    :param reason: one of ``job.CANCEL_REASONS``.
    """
    if job.cancel_request is None:
        wanted = "the task has no job.cancel_request"
    else:
        wanted = f"job.cancel_on does not name {reason!r}"
    told = f"{job_name(state)} may go on on the server: {_WHY.get(reason, reason)}, and {wanted}."
    return Event(EventKind.CANCELLING, told, handle_data(state))


def read_cancel(turn: Turn) -> Move:
    """Read the answer to a cancel request: whatever it is, the call ends."""
    state, inbound = turn.state, turn.inbound
    if _delivery(turn) is Delivery.NOT_TAKEN and state.attempts + 1 < _TRIES and not turn.is_final:
        asked = turn.asked_wait
        wait = min(1.0 if asked is None else max(asked, 1.0), _LONGEST)
        again = f"{turn.described}. The cancel request is sent again in {wait:.0f} s."
        return Move(
            state=replace(state, attempts=state.attempts + 1, next_at=turn.now + wait),
            event=Event(EventKind.CANCELLING, again, handle_data(state)),
        )
    told = turn.described
    if isinstance(inbound, Response) and inbound.body and (inbound.ok or inbound.status in _OVER):
        told = f"{told}; {turn.reading(inbound).excerpt}"
    if is_cancelled(inbound):
        return _over(state, f"The cancel request was sent: {told}.")
    return _over(state, f"The cancel request did not succeed: {told}. The job may go on on the server.")


def is_cancelled(inbound: object) -> bool:
    """Whether the answer to a cancel request says that the job does not go on."""
    return isinstance(inbound, Response) and (inbound.ok or inbound.status in _OVER or inbound.status == 303)


def _delivery(turn: Turn) -> Delivery | None:
    """What is known of a cancel request that did not succeed; None for one that was answered well."""
    if isinstance(turn.inbound, Response) and (turn.inbound.ok or turn.inbound.status in _OVER):
        return None
    return delivery(turn.inbound)


def not_cancelled(state: State, error: ApiTaskError) -> Move:
    """The end where the request could not even be sent."""
    return _over(state, f"The cancel request was not sent: {error.message} The job goes on on the server.")


def _over(state: State, told: str) -> Move:
    error = error_from_dict(state.error or {})
    full = type(error)(f"{error.message} {told}", **{**error.data, "cancel": state.cancel})
    phase = Phase.TIMED_OUT if state.cancel == "deadline" else Phase.CANCELLED
    return ended(replace(state, error=None), phase, full)
