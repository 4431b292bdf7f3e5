"""Fetching and reading the result (rules 14 and 15)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_apitask.core.answers import Reading, result_of
from airflow_provider_apitask.core.call import Call, Handling, Mode
from airflow_provider_apitask.core.errors import ApiTaskError, RequestFailedError
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.pacing import next_result
from airflow_provider_apitask.core.retry import IDEMPOTENT_METHODS, Delivery, delivery, is_passing
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move, Turn, ended, failed, job_error, job_name

__all__ = ["read_result", "take_result"]

#: How long a result may still answer 404 or 202 after the job has succeeded, seconds.
_NOT_READY_GRACE = 60.0


def read_result(turn: Turn) -> Move:
    """Read the answer to a request for the result: a failing one is repeated, never the job."""
    state, response = turn.state, turn.inbound
    # Some servers say 202 all along, so the status answer may hold the result and say it still.
    good = isinstance(response, Response) and (response.ok or turn.call.accepts(response.status))
    if isinstance(response, Response) and good and (response.status != 202 or state.inline):
        return take_result(turn.call, state, turn.reading(response))
    since = state.failing_since if state.failing_since is not None else turn.now
    window_ends = since + (_NOT_READY_GRACE if _not_ready(turn) else turn.call.job.status_grace)
    if _may_ask_again(turn) and turn.now < window_ends:
        at = next_result(turn.call.job, turn.asked_wait, turn.now, window_ends)
        told = f"{turn.described}. The result is asked for again for up to {window_ends - turn.now:.0f} s."
        return Move(
            state=replace(state, failing_since=since, attempts=state.attempts + 1, next_at=at),
            event=None if state.attempts else Event(EventKind.FAILING, told),
        )
    done = "The request was carried out" if turn.call.mode is Mode.SYNC else f"{job_name(state)} succeeded"
    message = f"{done}, but its result could not be fetched: {turn.described}. It need not run again."
    data = {
        "status_code": turn.code,
        "method": turn.request.method,
        "url": turn.request.url,
        "retry_after": turn.asked_wait,
    }
    return ended(state, Phase.FAILED, job_error(RequestFailedError, state, message, **data))


def take_result(call: Call, state: State, reading: Reading) -> Move:
    """The call has succeeded, if the answer holds what the author wants of it.

    Where it does not, a new try of the task cures nothing, and would do what was done again.
    """
    sync = call.mode is Mode.SYNC
    name, path = ("response_path", call.response_path) if sync else ("job.result_path", call.job.result_path)
    try:
        value = _value(call, reading, name, path)
    except ApiTaskError as error:
        harmless = call.request.method in IDEMPOTENT_METHODS
        return failed(state, error if harmless else error.with_data(retryable=False))
    size = len(reading.response.body)
    kind = EventKind.ANSWERED if sync else EventKind.ENDED
    return Move(
        state=state.at(Phase.SUCCEEDED, next_at=None, attempts=0, failing_since=None),
        event=Event(kind, f"{reading.shown} with the result, {size} bytes."),
        answer=reading.response,
        value=value,
    )


def _value(call: Call, reading: Reading, name: str, path: str | None) -> Any:
    if call.handling is Handling.IGNORE:
        reading.refuse_html()  # a login page is no answer, whatever becomes of it
        return None
    if call.validation is not None:
        call.validation.require(reading)
    reading.refuse_html()
    value = result_of(reading, name, path)
    return value if call.handling is Handling.STORE else None


def _not_ready(turn: Turn) -> bool:
    return turn.code in (202, 404)


def _may_ask_again(turn: Turn) -> bool:
    if turn.is_final:
        return False
    if turn.code == 404 or delivery(turn.inbound) is Delivery.NOT_TAKEN:
        return True
    repeatable = turn.request.method in IDEMPOTENT_METHODS
    return repeatable and (turn.code == 202 or is_passing(turn.inbound))
