"""Reading a status check (rules 10 to 13).

Every way to go on ends in :func:`_ask_again`, which sets the time of the next check or sees that
a limit is reached: that is why a job cannot be asked for without waiting in between.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from airflow_provider_apitask.core.answers import Reading, find_in, read_status
from airflow_provider_apitask.core.bodies import is_html
from airflow_provider_apitask.core.callback import slow_interval
from airflow_provider_apitask.core.errors import (
    JobFailedError,
    JobTimedOutError,
    PatternTimeoutError,
    RequestFailedError,
    ResponseTooLargeError,
)
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.job_link import linked
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Response
from airflow_provider_apitask.core.outcome import job_over, job_succeeded, timed_out
from airflow_provider_apitask.core.pacing import limit_reached, next_check
from airflow_provider_apitask.core.retry import is_passing
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import Verdict
from airflow_provider_apitask.core.turn import Move, Turn, ended, handle_data, job_error, job_name
from airflow_provider_apitask.core.undeclared import is_empty, why_not_done
from airflow_provider_apitask.core.urls import resolve
from airflow_provider_apitask.core.visible import quoted

__all__ = ["read_poll"]

#: A progress that moves from check to check is told once in so many seconds.
_TELL_EVERY = 60.0
#: A job is lost at this many 404s in a row, if the first is at least so many seconds old.
_LOST_AFTER = 3
_LOST_AFTER_SECONDS = 30.0
#: What moves in a message that is a progress, such as "worked for 4 of 60 s".
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def read_poll(turn: Turn) -> Move:
    """Read a status check, or hand it to a worker if it is too large for a triggerer (rule 23)."""
    inbound, counted = turn.inbound, turn.at(replace(turn.state, polls=turn.state.polls + 1))
    too_large = isinstance(inbound, NetworkFailure) and inbound.failure is Failure.TOO_LARGE
    if too_large and turn.call.max_bytes < replace(turn.call, for_triggerer=False).max_bytes:
        return _for_worker(counted, turn.described)
    try:
        return _read(turn)
    except ResponseTooLargeError as error:
        return _for_worker(counted, error.message)
    except PatternTimeoutError as error:
        return _check_failed(counted, error.message.rstrip("."))


def _for_worker(turn: Turn, why: str) -> Move:
    state = replace(turn.state, needs_worker=True, next_at=None)
    told = f"{why}. A worker polls from here on."
    return Move(state=state, event=Event(EventKind.STATUS, told, handle_data(state)))


def _read(turn: Turn) -> Move:
    """Read a status check: the table of rule 10, row by row."""
    before = turn.state
    turn = turn.at(replace(before, polls=before.polls + 1, not_found=0, not_found_since=None))
    state, inbound = turn.state, turn.inbound
    if isinstance(inbound, Response) and (told := _by_conditions(turn, inbound)) is not None:
        return told
    if turn.is_final:
        error = job_error(JobFailedError, state, f"{turn.described}.", status_code=turn.code)
        return ended(state, Phase.FAILED, error)
    if isinstance(inbound, Response):
        if inbound.ok:
            return _read_status(turn, inbound)
        if inbound.status == 304:
            return _running(turn, state)
        # Other redirects were followed, and so was this one if the author declared what a status is.
        if inbound.status == 303 and (location := inbound.headers.get("Location")):
            return job_succeeded(turn, turn.reading(inbound), resolve(location, inbound.url))
        if inbound.status == 404:
            return _not_found(turn, inbound, before)
        if inbound.status == 410:
            return job_over(turn, turn.reading(inbound), state.status, Verdict.LOST)
    if is_passing(inbound):
        return _check_failed(turn, turn.described)
    message = f"The status of job {state.job_id} cannot be asked for: {turn.described}."
    return ended(state, Phase.FAILED, job_error(RequestFailedError, state, message, status_code=turn.code))


def _by_conditions(turn: Turn, response: Response) -> Move | None:
    """What the author's conditions make of an answer, whatever its code; None where none holds."""
    job, reading = turn.call.job, turn.reading(response)
    if response.ok and reading.unreadable() is not None:
        return None  # a login page is no answer, whatever its code
    held = job.verdict(reading)
    if held is None:
        return None
    verdict, condition = held
    state = _known(turn, reading)
    if verdict is Verdict.RUNNING:
        return _moved(turn, state, response)
    return job_over(turn.at(state), reading, state.status, verdict, condition)


def _known(turn: Turn, reading: Reading) -> State:
    """The state with what people want to read of an answer: the status, how far the job is, its link."""
    job = turn.call.job

    def kept(found: Any) -> Any:
        # Redacted, because it is compared with what was kept of the response before.
        return None if found is MISSING else turn.api.redactor.data(reading.brief(found))

    def said(path: str | None) -> Any:
        return None if path is None else kept(find_in(reading, path))

    status, _ = read_status(reading, job, turn.words)
    return replace(
        linked(turn, reading),
        status=kept(status),
        progress=said(job.progress_path),
        message=said(job.message_path),
    )


def _read_status(turn: Turn, response: Response) -> Move:
    """A 2xx: the status in its body decides, whatever the code."""
    job, reading = turn.call.job, turn.reading(response)
    if (why := reading.unreadable()) is not None:
        return _check_failed(turn, why)
    turn = turn.at(linked(turn, reading))
    status, verdict = read_status(reading, job, turn.words)
    if job.success_when is not None and (not job.names_status_path or verdict in (None, Verdict.SUCCEEDED)):
        # Only that condition means success, and an undeclared word means nothing.
        if job.needs_json_for_success and response.status != 202:
            if not reading.has_json:
                return _check_failed(turn, f"{reading.shown} without the JSON that job.success_when reads")
            if is_empty(reading):
                empty = "an empty document (if that means running, declare it with job.running_when)"
                return _check_failed(turn, f"{reading.shown} with {empty}")
        return _moved(turn, _known(turn, reading), response)
    if verdict is None:
        if response.status == 202:
            return _moved(turn, replace(_known(turn, reading), status=turn.state.status), response)
        if job.expects_status:
            error = reading.error("job.status_path", ", ".join(job.status_paths))
            return _check_failed(turn, error.message.rstrip("."))
        if (why := why_not_done(reading, turn.words)) is not None:
            return _check_failed(turn, why)
        return job_succeeded(turn, reading)
    state = _known(turn, reading)
    if verdict is not Verdict.RUNNING:
        return job_over(turn.at(state), reading, status, verdict)
    return _moved(turn, state, response)


def _moved(turn: Turn, state: State, response: Response) -> Move:
    """Running; on a 202, a new Location replaces the old, unless the author said where to ask."""
    location = response.headers.get("Location") if response.status == 202 else None
    if location and state.status_url is not None and not turn.call.job.asks_for_status:
        target = resolve(location, response.url)
        if not turn.api.auth.moves_base_url:
            turn.api.admit(target)
        state = replace(state, status_url=target)
    return _running(turn, state)


def _running(turn: Turn, state: State) -> Move:
    """A good poll: it ends the window of failing ones."""
    before = turn.state
    moved = before.untold or (before.progress, before.message) != (state.progress, state.message)
    due = before.told_at is None or turn.now >= before.told_at + _TELL_EVERY
    event = None
    if before.phase is Phase.POLL_GRACE:
        told = f"The status of job {state.job_id} can be read again: {_said(state)}."
        event = Event(EventKind.RECOVERED, told, handle_data(state))
    elif (
        state.polls == 1
        or (before.status, _gist(before.message)) != (state.status, _gist(state.message))
        or (moved and due)
    ):
        event = Event(EventKind.STATUS, f"{job_name(state)}: status {_said(state)}.", handle_data(state))
    good = state.at(Phase.POLL, attempts=0, failing_since=None, reattached=False, untold=moved)
    if event is not None:
        good = replace(good, told_at=turn.now, untold=False)
    return _ask_again(turn, good, event)


def _gist(message: Any) -> str:
    """A message without its numbers: where they alone change, that is a progress."""
    return _NUMBER.sub("0", str(message))


def _said(state: State) -> str:
    """What the server says of the job, behind the word "status"."""
    progress = f", progress {state.progress}" if state.progress is not None else ""
    message = f": {quoted(state.message)}" if state.message is not None else ""
    return f"{state.status!r}{progress}{message}"


def _not_found(turn: Turn, response: Response, before: State) -> Move:
    """404: soon after the submission it means "not yet", since servers write the status after the response.

    Later it is a failed poll. Only repeated 404s of the API itself mean that the job is lost: a single one,
    or an HTML page, comes from an ingress whose backend is being replaced.

    :param before: state before this check, which counts the 404s in a row.
    """
    state, grace = turn.state, turn.call.job.not_found_grace
    if state.submitted_at is not None and turn.now < state.submitted_at + grace:
        told = (
            f"{turn.request.method} {turn.request.url} returned 404: the server does not know "
            f"{job_name(state)} yet. This counts as running for {grace:g} s after the submission "
            "(job.not_found_grace)."
        )
        event = Event(EventKind.STATUS, told, handle_data(state)) if state.polls == 1 else None
        return _ask_again(turn, state.at(Phase.POLL, attempts=0, failing_since=None), event)
    if is_html(response):
        return _check_failed(turn, f"{turn.described}, which is a page of a proxy and not of the API")
    since = before.not_found_since if before.not_found_since is not None else turn.now
    turn = turn.at(replace(state, not_found=before.not_found + 1, not_found_since=since))
    if turn.state.not_found >= _LOST_AFTER and turn.now >= since + _LOST_AFTER_SECONDS:
        return job_over(turn, turn.reading(response), state.status, Verdict.LOST)
    return _check_failed(turn, turn.described)


def _check_failed(turn: Turn, what: str) -> Move:
    """Rule 11: a failed check is not a failed job, for as long as the window is open."""
    state, window = turn.state, turn.call.job.status_grace
    since = state.failing_since if state.failing_since is not None else turn.now
    failing = turn.now - since
    state = state.at(Phase.POLL_GRACE, failing_since=since, attempts=state.attempts + 1)
    if failing >= window:
        message = (
            f"The status of job {state.job_id} could not be read for {failing:.0f} s ({state.attempts} "
            f"checks; job.status_grace is {window:g} s). Last: {what}. The job may still be running on the "
            "server."
        )
        return ended(
            state, Phase.FAILED, job_error(RequestFailedError, state, message, status_code=turn.code)
        )
    event = None
    if state.attempts == 1:
        told = f"{what}. The check failed, not the job; checks go on for up to {window:g} s."
        event = Event(EventKind.FAILING, told, handle_data(state))
    return _ask_again(turn, state, event, last=what)


def _ask_again(turn: Turn, state: State, event: Event | None, last: str | None = None) -> Move:
    """Rules 8 and 13: when to ask next, or that it is enough.

    :param last: what came instead of a status, where the check failed.
    """
    job = turn.call.job
    reached = limit_reached(job, state, turn.now)
    if reached is None:
        slow = None if last is not None else slow_interval(turn.call, state)
        at = next_check(job, state, turn.asked_wait, turn.now, slow)
        return Move(state=replace(state, next_at=at), event=event)
    seen = f"the last status was {state.status!r}" if state.status is not None else "no status was seen"
    why = f"; the last check failed: {last}" if last else ""
    over = f"{job_name(state)} {reached}; {seen}{why}."
    return timed_out(job, state, job_error(JobTimedOutError, state, over))
