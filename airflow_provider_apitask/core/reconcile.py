"""Reading the lookup of a job whose submission has an unknown outcome (rule 5)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_apitask.core.answers import Reading, find_in, items_in
from airflow_provider_apitask.core.errors import AnswerError, ApiTaskError, SubmitUnknownError
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.next_request import known_value, next_request
from airflow_provider_apitask.core.pacing import first_check, next_result
from airflow_provider_apitask.core.reconcile_spec import Reconcile
from airflow_provider_apitask.core.retry import is_passing
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.templating import expand, single
from airflow_provider_apitask.core.turn import Move, Turn, ended, handle_data, job_name
from airflow_provider_apitask.core.urls import wire_text

__all__ = ["begin_reconcile", "not_reconciled", "read_reconcile"]

#: How often the submit is sent again where there surely is no job yet, in one try of the task.
_NEW_SUBMITS = 1


def begin_reconcile(state: State, now: float | None, cause: str) -> Move:
    """Begin to look the job up.

    :param now: Unix time; None to send the request at once.
    :param cause: what came of the submission, in sentences.
    """
    at = None if now is None else now + 1
    state = state.at(Phase.RECONCILE, next_at=at, failing_since=None, cause=cause)
    event = Event(EventKind.RECONCILING, f"{cause} The server is asked for the job (job.reconcile).")
    return Move(state=state, event=event)


def read_reconcile(turn: Turn) -> Move:
    """Read the answer to a search: one job is it, several cannot be told apart, none is none."""
    spec: Reconcile = turn.call.job.reconcile
    inbound = turn.inbound
    if isinstance(inbound, Response) and inbound.status in (404, 410):
        return _none(turn, spec)
    if not isinstance(inbound, Response) or not inbound.ok:
        if not turn.is_final and is_passing(inbound):
            return _failed_search(turn, turn.described)
        return not_reconciled(turn.state, f"{turn.described}.")
    reading = turn.reading(inbound)
    try:
        reading.refuse_html()
        reading.require_json_if_said()
    except AnswerError as error:
        return _failed_search(turn, error.message.rstrip("."))
    items = _items(reading, spec)
    if items is None:
        # That nothing can be seen does not mean that there is nothing.
        place = "" if spec.items is None else f" at {spec.items}"
        return _failed_search(turn, f"{reading.shown} without a list of jobs{place}")
    found = [item for item in items if _matches(turn, reading.of(item), spec)]
    if len(found) > 1:
        ids = ", ".join(repr(_id(reading.of(item), spec)) for item in found[:5])
        told = f"{reading.shown} with {len(found)} jobs that match job.reconcile ({ids})."
        return not_reconciled(turn.state, told)
    return _found(turn, reading.of(found[0]), spec) if found else _none(turn, spec)


def not_reconciled(state: State, told: str) -> Move:
    """Return the end of a call of which it stays unknown whether there is a job."""
    message = f"{state.cause or ''} The lookup (job.reconcile) was inconclusive: {told}".strip()
    message += " Check the server, then clear the task."
    return ended(state, Phase.SUBMIT_UNKNOWN, SubmitUnknownError(message))


def _items(reading: Reading, spec: Reconcile) -> list[Any] | None:
    """What is listed; None where the answer holds no list (one of null is empty, and so is a 204)."""
    if reading.response.status == 204:
        return []
    if spec.items is None:
        found = reading.document if reading.has_json else MISSING
    else:
        found = items_in(reading, spec.items)
    if found is MISSING:
        return None
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _matches(turn: Turn, item: Reading, spec: Reconcile) -> bool:
    lookup = partial(known_value, turn.call, turn.api, turn.state)
    for path, expected in (spec.match or {}).items():
        found = find_in(item, path)
        if found is MISSING or isinstance(found, (dict, list)):
            return False
        if wire_text(found) != wire_text(expand(expected, lookup)):
            return False
    return True


def _id(item: Reading, spec: Reconcile) -> Any:
    found = find_in(item, spec.job_id) if spec.job_id is not None else item.usual_id()
    return None if found is MISSING else item.brief(found)


def _found(turn: Turn, item: Reading, spec: Reconcile) -> Move:
    """The item is read as the answer to the submit would have been."""
    job, state = turn.call.job, turn.state
    submitted_at = state.intent_at if state.intent_at is not None else turn.now
    state = state.at(
        Phase.POLL,
        submitted_at=submitted_at,
        deadline_at=submitted_at + job.deadline if job.deadline is not None else None,
        intent_at=None,
        next_at=None,
        attempts=0,
        failing_since=None,
        cause=None,
    )
    try:
        extract = {**(job.extract or {}), **(spec.extract or {})}
        state = replace(state, values=item.values(extract, job.later_placeholders()))
        state = replace(state, job_id=_job_id(turn, state, item, spec))
        next_request(turn.call, turn.api, state)
    except ApiTaskError as error:
        return not_reconciled(turn.state, f"the job was found, but {error.message}")
    state = replace(state, next_at=first_check(job, state, None, turn.now))
    told = f"{item.shown} and lists the job. {job_name(state)} is followed."
    return Move(state=state, event=Event(EventKind.SUBMITTED, told, handle_data(state)))


def _job_id(turn: Turn, state: State, item: Reading, spec: Reconcile) -> Any:
    name = turn.call.job.path_of_job_id
    if spec.job_id is None and name is not None and name in state.values:
        return item.brief(single(state.values[name]))
    if spec.job_id is None and name is not None:
        found = find_in(item, name)
        return None if found is MISSING else item.brief(found)
    return _id(item, spec)


def _none(turn: Turn, spec: Reconcile) -> Move:
    """Not listed: for some time it may only not be listed yet."""
    state = turn.state
    since = state.intent_at if state.intent_at is not None else turn.now
    if state.intent_at is None:
        state = replace(state, intent_at=since)
    settled = since + spec.settle
    if turn.now < settled:
        return Move(state=replace(state, next_at=min(turn.now + 2, settled)))
    if state.searches >= _NEW_SUBMITS:
        return not_reconciled(state, f"{turn.described}, without the job, after each of two submits.")
    told = f"{turn.described}, without the job: the submit was not taken. It is sent again."
    state = state.at(
        Phase.SUBMIT,
        intent_at=None,
        next_at=None,
        failing_since=None,
        cause=None,
        reattached=False,
        searches=state.searches + 1,
    )
    return Move(state=state, event=Event(EventKind.RETRYING, told))


def _failed_search(turn: Turn, what: str) -> Move:
    state, window = turn.state, turn.call.job.status_grace
    since = state.failing_since if state.failing_since is not None else turn.now
    if turn.now - since >= window:
        return not_reconciled(state, f"{what}, for {turn.now - since:.0f} s.")
    event = None
    if state.failing_since is None:
        told = f"{what}. The server is asked for the job again for up to {window:g} s."
        event = Event(EventKind.FAILING, told)
    at = next_result(turn.call.job, turn.asked_wait, turn.now, since + window)
    return Move(state=replace(state, failing_since=since, next_at=at), event=event)
