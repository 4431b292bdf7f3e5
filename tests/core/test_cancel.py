"""Cancelling a job: when, by which request, and what is said of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import JobCancelledError, JobTimedOutError, ParameterError
from airflow_provider_apitask.core.job import CANCEL_REASONS, AsyncJob
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.state import Phase

from .helpers import BASE, NO_CONNECTION, READ_TIMEOUT, Driven, make_job

DELETE = {"cancel_request": {"method": "DELETE"}}


def cancelling(reason: str = "kill", **job: Any) -> Driven:
    driven = Driven.polling(make_job(**{**DELETE, **job}), values={"runId": "a b"})
    event = driven.operation.cancel(reason)
    assert event is not None
    assert "is to be cancelled" in event.message
    assert driven.phase is Phase.CANCEL
    return driven


@pytest.mark.parametrize(
    ("given", "method", "url"),
    [
        ({"method": "DELETE"}, "DELETE", f"{BASE}/jobs/7"),
        ("/jobs/{runId}", "DELETE", f"{BASE}/jobs/a%20b"),
        ({"endpoint": "/jobs/{job_id}/stop"}, "DELETE", f"{BASE}/jobs/7/stop"),
        ({"method": "POST", "endpoint": "/stop", "body": {"id": "{job_id}"}}, "POST", f"{BASE}/stop"),
        ({"method": "GET", "endpoint": "/stop/{job_id}"}, "GET", f"{BASE}/stop/7"),
        ({"method": "PATCH", "body": {"state": "failed"}}, "PATCH", f"{BASE}/jobs/7"),
    ],
)
def test_the_request(given: Any, method: str, url: str) -> None:
    job = AsyncJob.parse(json.loads(json.dumps(make_job(cancel_request=given).to_dict())))
    driven = Driven.polling(job, values={"runId": "a b"})
    driven.operation.cancel("kill")
    request = driven.request()
    assert (request.purpose, request.method, request.url) == (Purpose.CANCEL, method, url)
    assert max(request.timeout) <= 10, "whoever kills a task does not wait for long"


@pytest.mark.parametrize("reason", CANCEL_REASONS)
@pytest.mark.parametrize("cancel_on", [None, [], "kill", ["timeout", "clear"], list(CANCEL_REASONS)])
def test_when(reason: str, cancel_on: Any) -> None:
    driven = Driven.polling(make_job(**DELETE, cancel_on=cancel_on))
    wanted = cancel_on is None or reason in cancel_on
    assert (driven.operation.cancel(reason) is not None) is wanted
    assert (driven.phase is Phase.CANCEL) is wanted


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({}, "the task has no job.cancel_request"),
        ({**DELETE, "cancel_on": ["timeout"]}, "job.cancel_on does not name 'kill'"),
        (DELETE, None),
    ],
)
def test_a_job_that_is_left_alone_is_told_of(job: dict[str, Any], said: str | None) -> None:
    driven = Driven.polling(make_job(**job))
    event = driven.operation.leave("kill")
    assert (event is None) is (said is None)
    if event is not None:
        assert event.message == f"Job 7 may go on on the server: its task was ended by hand, and {said}."
    assert driven.phase is Phase.POLL


def test_never_without_a_request() -> None:
    driven = Driven.polling()
    assert driven.operation.cancel("kill") is None
    assert driven.phase is Phase.POLL


@pytest.mark.parametrize("phase", [p for p in Phase if not p.waiting])
def test_only_a_job_that_is_waited_for(phase: Phase) -> None:
    driven = Driven.polling(make_job(**DELETE))
    driven.operation.state = driven.state.at(phase)
    assert driven.operation.cancel("kill") is None


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {"state": "stopping"}, "200"),
        (202, None, "202"),
        (204, None, "204"),
        (404, {"detail": "no such job"}, "no such job"),
        (409, {"detail": "it has ended"}, "it has ended"),
        (410, None, "410"),
        (200, {"error": "refused: not yours"}, "refused: not yours"),
        (303, None, "303"),
    ],
)
def test_what_the_server_answered_is_said(status: int, body: Any, said: str) -> None:
    driven = cancelling()
    driven.answer(status, body, {"Location": "/x"} if status == 303 else None)
    error = driven.error()
    assert isinstance(error, JobCancelledError)
    assert error.data["cancel"] == "kill"
    assert "its task was ended by hand" in error.message
    assert "The cancel request was sent" in error.message
    assert said in error.message
    assert len(driven.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 405, 500])
def test_a_refusal_is_told_as_one(status: int) -> None:
    driven = cancelling()
    driven.answer(status, {"detail": "no"})
    assert "did not succeed" in driven.error().message
    assert "may go on on the server" in driven.error().message
    assert len(driven.requests) == 1


def test_an_answer_that_never_came_is_not_waited_for_again() -> None:
    driven = cancelling()
    driven.tell(READ_TIMEOUT)
    assert "did not succeed" in driven.error().message
    assert len(driven.requests) == 1


def test_what_was_not_taken_is_sent_again() -> None:
    driven = cancelling()
    driven.tell(NO_CONNECTION)
    driven.answer(503, None, {"Retry-After": "3"})
    driven.answer(204)
    assert driven.phase is Phase.CANCELLED
    assert driven.waits == [1, 3]
    assert len(driven.requests) == 3


def test_but_not_for_ever() -> None:
    driven = cancelling()
    for _ in range(3):
        driven.answer(429, None, {"Retry-After": "60"})
    assert driven.phase is Phase.CANCELLED
    assert driven.waits == [5, 5]


def test_a_request_that_cannot_be_built() -> None:
    driven = cancelling(cancel_request="/jobs/{nowhere}")
    error = driven.error()
    assert driven.phase is Phase.CANCELLED
    assert "was not sent" in error.message
    assert "{nowhere}" in error.message


@pytest.mark.parametrize("limit", [{"deadline": 100}, {"max_polls": 2}])
def test_a_job_that_is_not_done_in_time(limit: dict[str, Any]) -> None:
    driven = Driven.polling(make_job(**DELETE, **limit), deadline_at=None)
    if "deadline" in limit:
        driven.operation.state = driven.state.at(Phase.POLL, deadline_at=driven.now + 100)
    while driven.phase.waiting:
        driven.answer(200, {"status": "running"})
    assert driven.phase is Phase.CANCEL
    driven = driven.through_json()  # the triggerer may be restarted here
    driven.answer(200, {"status": "cancelled"})
    assert driven.phase is Phase.TIMED_OUT
    error = driven.error()
    assert isinstance(error, JobTimedOutError)
    assert "DELETE" in error.message
    assert "may still be running" not in error.message
    assert driven.requests[-1].purpose is Purpose.CANCEL


def test_a_deadline_that_cancels_nothing() -> None:
    driven = Driven.polling(make_job(**DELETE, cancel_on=["kill"], max_polls=1))
    driven.answer(200, {"status": "running"})
    assert driven.phase is Phase.TIMED_OUT
    assert "may still be running" in driven.error().message


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"cancel_on": "never"}, "job.cancel_on"),
        ({"cancel_on": [1]}, "job.cancel_on"),
        ({"cancel_request": 7}, "job.cancel_request"),
        ({"cancel_request": {"url": "/x"}}, "job.cancel_request"),
        ({"on_lost": "ignore"}, "job.on_lost"),
        ({"reattach": "yes"}, "job.reattach"),
    ],
)
def test_what_cannot_be_read(fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make_job(**fields)
    assert caught.value.data["parameter"] == parameter
