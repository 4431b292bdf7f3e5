"""Fetching and reading the result (rules 14 and 15)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_apitask.core.answers import Reading, find_in, result_of
from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call, Handling, Mode
from airflow_provider_apitask.core.errors import ApiTaskError, RequestFailedError
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.extraction import MISSING, is_xpath
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.pacing import next_result
from airflow_provider_apitask.core.pages import take_page
from airflow_provider_apitask.core.retry import IDEMPOTENT_METHODS, Delivery, delivery, is_passing
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move, Turn, ended, failed, job_error, job_name

__all__ = ["read_result", "take_result"]

#: A result that is still being written.
_NOT_READY = frozenset({202, 404, 409, 423})


def read_result(turn: Turn) -> Move:
    """Read the response to a request for the result: a failing one is repeated, never the job."""
    state, response = turn.state, turn.inbound
    # Some servers say 202 all along, so the last status response may hold the result and say it still.
    said_already = state.inline or state.paging is not None
    good = isinstance(response, Response) and (response.ok or turn.call.accepts(response.status))
    if isinstance(response, Response) and good and (response.status != 202 or said_already):
        reading = turn.reading(response)
        what = _unreadable(turn, reading)
        if what is None:
            return take_result(turn.call, turn.api, state, reading)
    else:
        what = turn.described
    since = state.failing_since if state.failing_since is not None else turn.now
    window_ends = since + turn.call.job.status_grace
    if _may_ask_again(turn, good=good) and turn.now < window_ends:
        at = next_result(turn.call.job, turn.asked_wait, turn.now, window_ends)
        told = f"{what}. Requesting the result again for up to {window_ends - turn.now:.0f} s."
        return Move(
            state=replace(state, failing_since=since, attempts=state.attempts + 1, next_at=at),
            event=None if state.attempts else Event(EventKind.FAILING, told),
        )
    return ended(state, Phase.FAILED, _not_fetched(turn, what))


def _unreadable(turn: Turn, reading: Reading) -> str | None:
    """Return why a good response cannot be the result (a login page, broken JSON), None if it can."""
    call, state = turn.call, turn.state
    path = call.response_path if call.mode is Mode.SYNC else call.job.result_path
    if call.pagination is not None:
        path = call.pagination.items
    elif state.inline and state.status is not None:
        paths = call.job.status_paths
        if all(find_in(reading, each) is MISSING for each in paths):
            return reading.error("job.status_path", ", ".join(paths)).message.rstrip(".")
    read_as_json = not call.stored and call.handling is not Handling.IGNORE and not is_xpath(path or "")
    return reading.unreadable(read_as_json=read_as_json)


def _not_fetched(turn: Turn, what: str) -> ApiTaskError:
    """Return the error of a result that cannot be had, though what it belongs to has succeeded."""
    state, call = turn.state, turn.call
    done = "The request was carried out" if call.mode is Mode.SYNC else f"{job_name(state)} succeeded"
    part = "its result" if state.paging is None else f"page {state.paging.get('pages', 0) + 1} of its result"
    retry = ": on Airflow 3.3, a retry of the task fetches the result only" if call.mode is Mode.ASYNC else ""
    data = {
        "status_code": turn.code,
        "method": turn.request.method,
        "url": turn.request.url,
        "retry_after": turn.asked_wait,
        # A new try of a synchronous call sends its request once more.
        "retryable": call.mode is Mode.ASYNC
        or call.request.method in IDEMPOTENT_METHODS
        or state.idempotency_key is not None,
    }
    message = f"{done}, but {part} could not be fetched: {what}. It need not run again{retry}."
    return job_error(RequestFailedError, state, message, **data)


def take_result(call: Call, api: Api, state: State, reading: Reading) -> Move:
    """The call has succeeded, if the answer holds what the author wants of it.

    Where it does not, a new try of the task cures nothing, and would do what was done again.
    """
    sync = call.mode is Mode.SYNC
    name, path = ("response_path", call.response_path) if sync else ("job.result_path", call.job.result_path)
    try:
        if call.validation is not None and call.handling is not Handling.IGNORE:
            call.validation.require(reading)
        reading.refuse_html()  # a login page is no answer, whatever becomes of it
        if call.pagination is not None:
            return take_page(call, call.pagination, api, state, reading)
        value = _value(call, reading, name, path)
    except ApiTaskError as error:
        harmless = call.request.method in IDEMPOTENT_METHODS
        return failed(state, error if harmless else error.with_data(retryable=False))
    size = reading.response.size
    kind = EventKind.ANSWERED if sync else EventKind.ENDED
    return Move(
        state=state.at(Phase.SUCCEEDED, next_at=None, attempts=0, failing_since=None),
        event=Event(kind, f"{reading.shown} with the result, {size} bytes."),
        answer=reading.response,
        value=value,
    )


def _value(call: Call, reading: Reading, name: str, path: str | None) -> Any:
    if call.handling is Handling.IGNORE or call.stored:
        return None
    value = result_of(reading, name, path)
    return value if call.handling is Handling.STORE else None


def _may_ask_again(turn: Turn, *, good: bool) -> bool:
    """Whether a later request may get the result.

    :param good: the response says that it has the result, and cannot be read.
    """
    if turn.is_final:
        return False
    # A page that comes after another one has been written.
    not_ready = turn.code in _NOT_READY and turn.state.paging is None
    if (not_ready and turn.code != 202) or delivery(turn.inbound) is Delivery.NOT_TAKEN:
        return True
    return turn.request.method in IDEMPOTENT_METHODS and (good or not_ready or is_passing(turn.inbound))
