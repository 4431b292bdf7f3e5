"""Reading the answer to the submit (rules 1 to 5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from airflow_provider_apitask.core.answers import Links, Reading, find_in, read_status, submit_links
from airflow_provider_apitask.core.call import Mode
from airflow_provider_apitask.core.callback import alone
from airflow_provider_apitask.core.callback_spec import expiry_of
from airflow_provider_apitask.core.errors import (
    AnswerError,
    ApiTaskError,
    NothingToFollowError,
    OriginError,
    RequestFailedError,
    SubmitUnknownError,
)
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.job_link import linked
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Request, Response
from airflow_provider_apitask.core.next_request import next_request
from airflow_provider_apitask.core.outcome import job_over
from airflow_provider_apitask.core.pacing import first_check
from airflow_provider_apitask.core.problem import status_line
from airflow_provider_apitask.core.reconcile import begin_reconcile
from airflow_provider_apitask.core.result import take_result
from airflow_provider_apitask.core.retry import IDEMPOTENT_METHODS, Delivery, delivery
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import Verdict
from airflow_provider_apitask.core.templating import single
from airflow_provider_apitask.core.turn import Move, Turn, ended, failed, handle_data
from airflow_provider_apitask.core.urls import last_segment, resolve

__all__ = ["read_submit"]

#: A 2xx that says that something was made or begun, and must say where it is.
_BEGUN = frozenset({201, 202})


def read_submit(turn: Turn) -> Move:
    """Read the answer to the submit."""
    response = turn.inbound
    if not isinstance(response, Response):
        return _not_accepted(turn)
    # The exchange leaves this redirect to us: the GET it asks for may be repeated, the submit not.
    location = response.headers.get("Location") if response.status == 303 else None
    sync = turn.call.mode is Mode.SYNC
    if not response.ok and not location and not (sync and turn.call.accepts(response.status)):
        return _not_accepted(turn)
    reading = turn.reading(response)
    try:
        if sync:
            if location:
                return _see_other(turn, reading, resolve(location, response.url))
            return take_result(turn.call, turn.api, turn.state, reading)
        if not location:
            reading.refuse_html()
        return _accepted(turn, reading)
    except ApiTaskError as error:
        return failed(turn.state, _had_effect(turn, error))


# -- what was not accepted -----------------------------------------------------------------------


def _not_accepted(turn: Turn) -> Move:
    """Rule 5: send again only where that is safe; else say that the outcome is not known."""
    policy, method, key = turn.call.retry, turn.request.method, turn.state.idempotency_key
    if turn.call.mode is Mode.ASYNC and turn.code in _exists_codes(turn):
        return begin_reconcile(turn.state, turn.now, f"{turn.described}. The job exists already.")
    attempts = turn.state.attempts + 1
    data = {
        "method": method,
        "url": turn.request.url,
        "status_code": turn.code,
        "attempts": attempts,
        "retry_after": turn.asked_wait,
    }
    final, rejected = turn.is_final, turn.is_rejected
    safe = not final and policy.may_send_again(
        method, turn.inbound, repeatable=key is not None, rejected=rejected
    )
    lost = delivery(turn.inbound) is Delivery.UNKNOWN or _is_unread(turn)
    unknown = lost and not final and not rejected
    # What became of this one is known then, and not what became of one before it.
    state = turn.state if unknown else replace(turn.state, intent_at=turn.doubt)
    if safe and attempts <= policy.count:
        wait = policy.wait(attempts, turn.asked_wait, turn.jitter)
        again = f"{turn.described}. It is sent again in {wait:.1f} s ({attempts} of {policy.count})."
        state = replace(state, attempts=attempts, next_at=turn.now + wait)
        return Move(state=state, event=Event(EventKind.RETRYING, again, data))
    tries = f" ({attempts} tries)" if attempts > 1 else ""
    if unknown and not safe:
        return _unknown(turn, state, data)
    if unknown and key is not None:
        same = "The server may have taken it; sent again, it would have the same idempotency key."
        return failed(state, RequestFailedError(f"{turn.described}{tries}. {same}", **data))
    return failed(state, RequestFailedError(f"{turn.described}{tries}.", **data))


def _exists_codes(turn: Turn) -> Collection[int]:
    """Codes by which the server says that there is such a job, which the author wants to go on with."""
    reconcile = turn.call.job.reconcile
    return (reconcile.exists_codes or ()) if reconcile is not None else ()


def _is_unread(turn: Turn) -> bool:
    """Whether what was asked for may well be done, by an answer of which nothing can be learned.

    One that is too long to be read, or a 303 that does not say where the result is.
    """
    inbound = turn.inbound
    too_large = isinstance(inbound, NetworkFailure) and inbound.failure is Failure.TOO_LARGE
    return (too_large or turn.code == 303) and turn.request.method not in IDEMPOTENT_METHODS


def _unknown(turn: Turn, state: State, data: dict[str, Any]) -> Move:
    """It is not known whether it was accepted: look the job up if the author said how."""
    method, hint = turn.request.method, ""
    if turn.code is not None and not 200 <= turn.code < 400:
        hint = f" If {turn.code} means that it was not accepted, say so with rejected_status_codes."
    if turn.call.mode is Mode.ASYNC and turn.call.job.reconcile is not None:
        cause = f"{turn.described}. The submission may have been accepted all the same.{hint}"
        return begin_reconcile(state, turn.now, cause)
    advice = (
        f"{turn.described}. The server may have taken the request: sending the {method} again could do "
        "it twice, so it was not sent again. Check on the server whether it took effect, then clear the "
        f"task.{hint}"
    )
    return ended(state, Phase.SUBMIT_UNKNOWN, SubmitUnknownError(advice, **data))


def _had_effect(turn: Turn, error: ApiTaskError) -> ApiTaskError:
    """The error of an answer that cannot be used, though what was asked for was done."""
    if turn.request.method in IDEMPOTENT_METHODS:
        return error
    return error.with_data(retryable=False)


# -- what was ------------------------------------------------------------------------------------


def _see_other(turn: Turn, reading: Reading, target: str) -> Move:
    """A 303 in sync mode: done, and the result is over there (RFC 9110 §15.4.4)."""
    state = turn.state.at(Phase.FETCH, result_url=target, next_at=None, attempts=0)
    next_request(turn.call, turn.api, state)
    return Move(state=state, event=Event(EventKind.ANSWERED, f"{reading.shown}, its result is at {target}."))


def _accepted(turn: Turn, reading: Reading) -> Move:
    """Rules 1 and 3: find what to follow, or see that the job is over already."""
    job = turn.call.job
    state = turn.state.at(
        Phase.POLL,
        submitted_at=turn.now,
        intent_at=None,
        deadline_at=turn.now + job.deadline if job.deadline is not None else None,
        next_at=None,
        attempts=0,
    )
    # From here on the server may have a job: whatever is wrong with its answer, the state keeps
    # what is known of it.
    try:
        links = _links(turn, reading.response)
        state = replace(state, status_url=links.status_url, result_url=links.result_url)
        if not job.required and not _names_job(turn, state, reading):
            return _done_at_once(state, reading)
        state = replace(state, values=reading.values(job.extract, job.later_placeholders()))
        state = replace(state, job_id=_job_id(turn, state, reading))
        state = linked(turn.at(state), reading)
        return _followed(turn, state, reading)
    except ApiTaskError as error:
        began = f"{error.message} The request was accepted, so a job may be running on the server."
        return failed(state, _had_effect(turn, type(error)(began, **{**reading.data, **error.data})))


def _links(turn: Turn, response: Response) -> Links:
    try:
        if response.status == 303:
            return Links(status_url=resolve(response.headers.get("Location") or "", response.url))
        return submit_links(response)
    except OriginError:
        if turn.call.job.asks_for_status:
            return Links()  # a Location that is no URL, and that nobody would follow
        raise


def _followed(turn: Turn, state: State, reading: Reading) -> Move:
    job, response = turn.call.job, reading.response
    status, verdict = read_status(reading, job, turn.words)
    if status is not MISSING:
        state = replace(state, status=reading.brief(status))
    said = verdict if response.status == 200 and job.names_status_path and verdict in _OVER else None
    if alone(turn.call, state) and said is None:
        return _called_back_later(turn, state, reading)
    if state.status_url is None and not job.asks_for_status:
        return _not_followed(turn, state, reading, verdict)
    # `status` may be that of the request ("success": it was accepted) unless the author said that it is
    # the job's. With a status request, or a condition for success, a success is polled first: only that
    # response holds the result.
    polled_first = job.status_request is not None or job.success_when is not None
    if said is not None and not (polled_first and said is Verdict.SUCCEEDED):
        return job_over(turn.at(state), reading, status, said)
    try:
        # A placeholder without a value is found now, while the answer is at hand.
        next_request(turn.call, turn.api, state)
    except AnswerError as error:
        raise AnswerError(f"{reading.shown}, but {error.message} {reading.excerpt}.", **error.data) from None
    state = replace(state, next_at=first_check(job, state, turn.asked_wait, turn.now))
    return Move(state=state, event=_submitted(turn, state, reading), answer=response)


_OVER = (Verdict.SUCCEEDED, Verdict.FAILED, Verdict.CANCELLED)


def _called_back_later(turn: Turn, state: State, reading: Reading) -> Move:
    """Nowhere to ask: the job is waited for until its URL expires, and no longer than its deadline."""
    limits = [at for at in (state.deadline_at, expiry_of(state.callback_id)) if at is not None]
    state = replace(state, deadline_at=min(limits, default=None))
    return Move(state=state, event=_submitted(turn, state, reading), answer=reading.response)


def _not_followed(turn: Turn, state: State, reading: Reading, verdict: Verdict | None) -> Move:
    """A 2xx without a monitor: the answer itself (``respond-async`` is a wish), or an error."""
    response = reading.response
    if response.status != 202 and verdict in _OVER:
        return job_over(turn.at(state), reading, state.status, verdict)
    # Where its author says where a status is, an answer without one is none of a job; unless the server was
    # free to do the work at once.
    free = not turn.call.job.expects_status or _is_a_wish(turn.request)
    at_once = verdict is None and free and response.status not in _BEGUN
    if at_once or response.status == 204:
        return _done_at_once(state, reading)
    raise NothingToFollowError(
        f"{reading.shown} and does not say where to ask for the job's status: there is no "
        "Operation-Location, Azure-AsyncOperation or Location (on 201 and 202), and job.status_request "
        f"names no endpoint; {reading.excerpt}.",
        **reading.data,
        looked_for="Operation-Location, Azure-AsyncOperation, Location",
    )


def _done_at_once(state: State, reading: Reading) -> Move:
    told = f"{reading.shown} with nothing to follow: the server did the work at once, this is the result."
    event = Event(EventKind.ANSWERED, told)
    return Move(state=state.at(Phase.FETCH, inline=True), event=event, answer=reading.response)


def _names_job(turn: Turn, state: State, reading: Reading) -> bool:
    """Whether a response that need not name a job does so: by anything that a later request needs of it."""
    job = turn.call.job
    if job.status_path is not None and find_in(reading, job.status_path) is not MISSING:
        return True
    if not job.asks_for_status:
        return state.status_url is not None
    extract = job.extract or {}
    names = {*job.status_request.placeholders(), job.path_of_job_id} - {None, "idempotency_key", *extract}
    if not names and not extract:
        return True  # the author knows where to ask without it
    known: dict[str, Any] = {"status_url": state.status_url, "result_url": state.result_url}
    if job.job_id is None and "job_id" in names:
        known["job_id"] = _job_id(turn, state, reading)
    parts = [known[name] if name in known else find_in(reading, name) for name in names]
    parts += [find_in(reading, path) for path in extract.values()]
    return any(part is not MISSING and part is not None for part in parts)


def _is_a_wish(request: Request) -> bool:
    """Whether the request prefers an asynchronous answer: no server has to give one (RFC 7240 §2, §4.1)."""
    preferences = ",".join(request.headers.get_all("Prefer")).split(",")
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in preferences)


def _job_id(turn: Turn, state: State, reading: Reading) -> str | int | None:
    """What identifies the job to people: as configured, else by its URL, else as in the answer."""
    name = turn.call.job.path_of_job_id
    if name is None:
        return last_segment(state.status_url) if state.status_url is not None else reading.usual_id()
    named = name in (turn.call.job.extract or ())
    found = single(state.values[name]) if named else find_in(reading, name)
    if found is MISSING or found is None:
        raise reading.error("job.job_id", name)
    if isinstance(found, (dict, list, bool)):
        raise reading.error("job.job_id", name, "which is no text or number there")
    return found if isinstance(found, int) else str(reading.brief(found))


def _submitted(turn: Turn, state: State, reading: Reading) -> Event:
    name = f"job {state.job_id}" if state.job_id is not None else "the job"
    status = f", status {state.status!r}" if state.status is not None else ""
    wait = (state.next_at or turn.now) - turn.now
    then = f"its status is asked for in {wait:.0f} s"
    if turn.call.callback is not None:
        calls = "the service is to call back"
        then = calls if alone(turn.call, state) else f"{then}, and {calls}"
    message = (
        f"{reading.request.method} {reading.request.url} answered {status_line(reading.response)}: {name} is "
        f"submitted{status}; {then}."
    )
    return Event(EventKind.SUBMITTED, message, handle_data(state))
