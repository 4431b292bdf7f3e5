"""What follows when the server has said how a job ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.cancel import begin_cancel
from airflow_provider_apitask.core.errors import (
    AnswerError,
    ApiTaskError,
    JobCancelledError,
    JobFailedError,
    JobLostError,
    UnknownStatusError,
)
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.explain import begin_explain
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.next_request import next_request
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import Verdict
from airflow_provider_apitask.core.turn import Move, Turn, ended, failed, handle_data, job_error, job_name
from airflow_provider_apitask.core.visible import quoted

__all__ = ["job_over", "job_succeeded", "timed_out"]

_LISTS = "success_values, failure_values, cancelled_values or running_values"


def job_over(
    turn: Turn, reading: Reading, status: Any, verdict: Verdict, condition: str | None = None
) -> Move:
    """The server said how the job ended; a word that nobody knows ends it loudly (rule 12).

    :param condition: the author's condition that tells, in place of the status.
    """
    state = replace(turn.state, status=reading.brief(status))
    turn = turn.at(state)
    if verdict is Verdict.SUCCEEDED:
        return job_succeeded(turn, reading)
    why = reading.reason(turn.call.job.error_path)
    by = f"status {state.status!r}" if condition is None else condition
    if verdict is Verdict.CANCELLED:
        message = f"{job_name(state)} was cancelled on the server ({by})"
        said = f": {why}" if why else ""
        return ended(
            state, Phase.CANCELLED, job_error(JobCancelledError, state, f"{message}{said}.", reason=why)
        )
    if verdict is Verdict.LOST:
        said = f": {why}" if why else f"; {reading.excerpt}"
        held = f" ({condition})" if condition is not None else ""
        message = f"The server does not know job {state.job_id} (any more): {reading.shown}{held}{said}."
        # A retry would ask the same server for the same job, unless it may start another one.
        again = turn.call.job.on_lost == "submit"
        error = job_error(JobLostError, state, message, status_code=reading.response.status, retryable=again)
        return ended(state, Phase.LOST, error)
    if verdict is Verdict.FAILED and turn.call.job.error_request is not None:
        state = replace(state, values=_values(turn, turn.call.job.error_request, reading))
        message = f"{job_name(state)} failed ({by})."
        return begin_explain(state, job_error(JobFailedError, state, message, reason=why))
    if verdict is Verdict.FAILED:
        said = f": {why}" if why else f"; {reading.excerpt}"
        message = f"{job_name(state)} failed ({by}){said}."
        return ended(state, Phase.FAILED, job_error(JobFailedError, state, message, reason=why))
    message = (
        f"{reading.shown}, with the status {state.status!r} at "
        f"{', '.join(turn.call.job.status_paths)}, which is in "
        f"none of the lists: name it in job.{_LISTS}, or set job.unknown_status='running'; {reading.excerpt}."
    )
    return ended(state, Phase.FAILED, job_error(UnknownStatusError, state, message))


def job_succeeded(turn: Turn, reading: Reading, result_url: str | None = None) -> Move:
    """Rule 14: the configured request, else the location given, else the last response.

    :param result_url: where this answer itself says that the result is.
    """
    state, job = turn.state, turn.call.job
    result_url = result_url or state.result_url
    inline = job.result_request is False or (job.result_request is None and result_url is None)
    state = state.at(
        Phase.FETCH,
        result_url=result_url,
        values=_values(turn, job.result_request, reading),
        inline=inline,
        succeeded=True,
        next_at=None,
        attempts=0,
        failing_since=None,
    )
    if not inline:
        try:
            # A placeholder without a value is found while the answer is at hand.
            next_request(turn.call, turn.api, state)
        except AnswerError as error:
            message = f"{job_name(state)} is done, but its result cannot be asked for: {error.message}"
            shown = f"{message} {reading.shown}; {reading.excerpt}."
            return failed(state, AnswerError(shown, **{**reading.data, **error.data}))
    status = f", status {state.status!r}" if state.status is not None else ""
    status += f": {quoted(state.message)}" if state.message is not None else ""
    if job.link_path is not None and state.link is None:
        status += f"; no answer had a link that can be shown at job.link_path={job.link_path!r}"
    then = "its last answer holds the result" if inline else "its result is fetched"
    event = Event(EventKind.JOB_DONE, f"{job_name(state)} is done{status}; {then}.", handle_data(state))
    return Move(state=state, event=event, answer=reading.response)


def _values(turn: Turn, request: RequestSpec | Any, reading: Reading) -> dict[str, Any]:
    """The values that a request needs; the latest response wins, as it names the result or the error."""
    values = turn.state.values
    if not isinstance(request, RequestSpec):
        return values
    return values | reading.values(None, set(request.placeholders()) - set(turn.call.job.extract or ()))


def timed_out(job: AsyncJob, state: State, error: ApiTaskError) -> Move:
    """A limit is reached: the job is cancelled where its author wants that."""
    if job.cancels_on("deadline"):
        return begin_cancel(state, "deadline", error)
    left = type(error)(f"{error.message} It may still be running on the server.", **error.data)
    return ended(state, Phase.TIMED_OUT, left)
