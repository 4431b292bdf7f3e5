"""A service that calls back (rule 20): what its message means for the job.

Where the status can be asked for, a callback only says that it is worth asking now: it may be forged,
late, or of another run, and whoever can send it cannot make a job succeed by it. The checks that go on
meanwhile are slow until the first callback, and as usual after it: a service may call back a moment
before its own status says so.

Where nothing can be asked, the callback is the answer. It is read as a status check is: by the conditions
of the author, then by the same status words. One that says nothing of the status, or that the job runs,
changes nothing: there may be another one, or the deadline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from airflow_provider_apitask.core.answers import Reading, find_in, read_status
from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.errors import AnswerError, JobTimedOutError
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.core.outcome import job_over, timed_out
from airflow_provider_apitask.core.pacing import limit_reached
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import Verdict, fold
from airflow_provider_apitask.core.turn import Move, Turn, handle_data, job_error, job_name

__all__ = ["Called", "alone", "called_request", "out_of_time", "payload_of", "read_callback", "slow_interval"]

_FORM = "application/x-www-form-urlencoded"
#: Fields of a form that are read.
_FIELDS = 1000


class Called(Reading):
    """The payload of a callback, read as an answer is."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """What came, as the beginning of a sentence."""
        return "The service called back"


def alone(call: Call, state: State) -> bool:
    """Whether nothing but a callback tells how the job ends: there is nowhere to ask."""
    return call.callback is not None and state.status_url is None and not call.job.asks_for_status


def slow_interval(call: Call, state: State) -> float | None:
    """Seconds between checks behind a callback that has not come; None where the job's interval counts."""
    if call.callback is None or state.called_back:
        return None
    return max(float(call.callback.poll_interval), float(call.job.poll_interval))


def payload_of(body: bytes, content_type: str | None, url: str) -> Response:
    """A payload as an answer: JSON, XML and text as they are, the fields of a form as JSON.

    :param url: of the API; relative links in the payload belong to it.
    """
    media = (content_type or "").partition(";")[0].strip().lower()
    if media == _FORM:
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS)
        except ValueError:
            pairs = []
        body, content_type = json_text(dict(pairs)).encode(), "application/json"
    headers = Headers([("Content-Type", content_type)] if content_type else [])
    return Response(200, url, headers, body)


def called_request(url: str) -> Request:
    """What stands for the request of a callback, which this side has not sent."""
    return Request(Purpose.POLL, "POST", url)


def read_callback(turn: Turn) -> Move:
    """Read the payload of a callback, which is the answer of the turn."""
    call, state, payload = turn.call, turn.state, turn.inbound
    if call.callback is None or not isinstance(payload, Response):
        raise RuntimeError("this is no callback")
    reading = Called(turn.request, payload, turn.api.redactor.text)
    if (other := _other_job(turn, reading)) is not None:
        return _ignored(state, f"with the job id {other!r}, which is not that of this job")
    job = call.job
    status_path, error_path = call.callback.status_path, call.callback.error_path
    if status_path is not None or error_path is not None:
        job = replace(
            job, status_path=status_path or job.status_path, error_path=error_path or job.error_path
        )
        turn = replace(turn, call=replace(call, job=job))
    found, _ = read_status(reading, job, turn.words)
    status = None if found is MISSING else turn.api.redactor.data(reading.brief(found))
    said = f" with the status {status!r}" if status is not None else ""
    if not alone(call, state):
        told = f"{reading.shown}{said}; its status is asked for to confirm that."
        event = Event(EventKind.CALLED_BACK, told, handle_data(state))
        return Move(state=replace(state, next_at=None), event=event)
    return _believed(turn, reading, status)


def _believed(turn: Turn, reading: Called, status: Any) -> Move:
    """What a callback says where nobody else can be asked."""
    job, state = turn.call.job, turn.state
    try:
        reading.refuse_html()
        reading.require_json_if_said()
    except AnswerError as error:
        return _ignored(state, f"with what cannot be read ({error.message.rstrip('.')})")
    if (held := job.verdict(reading)) is not None:
        verdict, condition = held
        if verdict is not Verdict.RUNNING:
            return job_over(turn.at(replace(state, status=status)), reading, status, verdict, condition)
    else:
        _, word = read_status(reading, job, turn.words)
        if word is None:
            return _ignored(state, f"without a status at {', '.join(job.status_paths)}: {reading.excerpt}")
        verdict = word
        if job.success_when is not None and verdict is Verdict.SUCCEEDED:
            verdict = Verdict.RUNNING  # nothing but that condition means success
        if verdict is not Verdict.RUNNING:
            return job_over(turn, reading, status, verdict)
    event = Event(EventKind.STATUS, f"{job_name(state)}: status {status!r}.", handle_data(state))
    return Move(state=state.at(Phase.POLL, status=status), event=event)


def _other_job(turn: Turn, reading: Called) -> Any:
    """The id in the payload, where it is that of another job."""
    path = turn.call.callback.job_id_path if turn.call.callback is not None else None
    if path is None or turn.state.job_id is None:
        return None
    found = find_in(reading, path)
    if found is MISSING or fold(found) == fold(turn.state.job_id):
        return None
    return reading.brief(found)


def _ignored(state: State, why: str) -> Move:
    told = f"The service called back {why}. That is ignored, the job is waited for."
    return Move(state=state, event=Event(EventKind.CALLED_BACK, told, handle_data(state)))


def out_of_time(call: Call, state: State, now: float) -> Move | None:
    """The end of a job for which no callback came in time; None while there is time.

    :param now: Unix time.
    """
    if limit_reached(call.job, state, now) is None:
        return None
    over = (
        f"{job_name(state)} was not called back for until its deadline, and there is nowhere to ask for its "
        "status (job.status_request)."
    )
    return timed_out(call.job, state, job_error(JobTimedOutError, state, over))
