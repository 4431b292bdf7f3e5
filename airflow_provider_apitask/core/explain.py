"""Why a job failed, from ``job.error_request``: the job has failed whatever comes of that request."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.errors import AnswerError, ApiTaskError, error_from_dict
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.retry import is_passing
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move, Turn, ended, handle_data

__all__ = ["begin_explain", "not_explained", "read_explain"]

#: How often the request is sent at most, if it fails.
_TRIES = 3
#: Shortest and longest wait between two tries, seconds.
_WAIT_SECONDS = (1.0, 5.0)


def begin_explain(state: State, error: ApiTaskError) -> Move:
    """Turn to requesting the reason.

    :param error: of the failed job, its message a sentence without the reason.
    """
    event = Event(EventKind.STATUS, f"{error.message} Requesting the reason.", handle_data(state))
    state = state.at(Phase.EXPLAIN, next_at=None, attempts=0, failing_since=None)
    return Move(state=state, event=event, error=error)


def read_explain(turn: Turn) -> Move:
    """Read the response to the request for the reason."""
    state, inbound = turn.state, turn.inbound
    if not isinstance(inbound, Response) or not inbound.ok:
        if is_passing(inbound) and state.attempts + 1 < _TRIES:
            shortest, longest = _WAIT_SECONDS
            wait = min(max(turn.asked_wait or 0.0, shortest), longest)
            return Move(state=replace(state, attempts=state.attempts + 1, next_at=turn.now + wait))
        return not_explained(state, f"{turn.described}.")
    reading = turn.reading(inbound)
    try:
        reading.refuse_html()
        reading.require_json_if_said()
    except AnswerError as error:
        return not_explained(state, error.message)
    return _over(state, *_reason(turn, reading))


def not_explained(state: State, why: str) -> Move:
    """End a failed job whose reason could not be read; what the status response said is kept.

    :param why: a sentence.
    """
    known = (state.error or {}).get("data", {}).get("reason")
    return _over(state, known, f": {known}" if known else "", f" The reason could not be requested: {why}")


def _reason(turn: Turn, reading: Reading) -> tuple[str | None, str]:
    why = reading.reason(turn.call.job.error_path)
    return why, f": {why}" if why else f"; {reading.excerpt}"


def _over(state: State, reason: str | None, said: str, more: str = "") -> Move:
    error = error_from_dict(state.error or {})
    message = f"{error.message.rstrip('.')}{said}.{more}"
    return ended(
        replace(state, error=None), Phase.FAILED, type(error)(message, **{**error.data, "reason": reason})
    )
