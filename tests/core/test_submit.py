"""Rules 1 to 5: what the answer to the submit means."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.errors import (
    AnswerError,
    JobFailedError,
    NothingToFollowError,
    OriginError,
    RequestFailedError,
    SubmitUnknownError,
)
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.operation import Send, Wait
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import Phase

from .helpers import (
    BASE,
    DROPPED,
    HTML,
    NO_CONNECTION,
    READ_TIMEOUT,
    T0,
    TOO_LARGE,
    Driven,
    make_call,
    make_job,
)

JOB = f"{BASE}/jobs/7"


# -- rule 1: how the job is recognised -----------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "status_url", "result_url"),
    [
        (202, {"Location": JOB}, JOB, None),
        (201, {"Location": JOB}, JOB, None),
        (202, {"Operation-Location": JOB}, JOB, None),
        (200, {"Operation-Location": JOB}, JOB, None),
        (202, {"Operation-Location": JOB, "Location": f"{BASE}/r/7"}, JOB, f"{BASE}/r/7"),
        (201, {"Azure-AsyncOperation": JOB, "Location": f"{BASE}/r/7"}, JOB, f"{BASE}/r/7"),
        (202, {"Azure-AsyncOperation": f"{BASE}/no", "Operation-Location": JOB}, JOB, None),
        (303, {"Location": JOB}, JOB, None),
        (202, {"location": JOB}, JOB, None),
    ],
)
def test_monitor_and_result_location(
    status: int, headers: dict[str, str], status_url: str, result_url: str | None
) -> None:
    driven = Driven(make_call())
    driven.answer(status, None, headers)
    assert driven.phase is Phase.POLL
    assert (driven.state.status_url, driven.state.result_url) == (status_url, result_url)
    assert driven.request().url == status_url


def test_what_the_author_configured_goes_before_every_header() -> None:
    driven = Driven(make_call(job=make_job(status_request="/runs/{runId}/status")))
    driven.answer(202, {"runId": "a:b+c"}, {"Operation-Location": JOB})
    assert driven.request().url == f"{BASE}/runs/a%3Ab%2Bc/status"


def test_a_status_request_without_endpoint_adds_to_the_monitor_url() -> None:
    driven = Driven(make_call(job=make_job(status_request={"headers": {"X-Tenant": "t"}})))
    driven.answer(202, None, {"Location": JOB})
    request = driven.request()
    assert (request.url, request.headers.get("X-Tenant"), request.purpose) == (JOB, "t", Purpose.POLL)


def test_a_location_that_nobody_follows_may_lead_anywhere() -> None:
    driven = Driven(make_call(job=make_job(status_request="/jobs/{job_id}")))
    driven.answer(201, None, {"Location": "http://internal.invalid:5000/api/jobs/67a5"})
    assert driven.request().url == f"{BASE}/jobs/67a5"


@pytest.mark.parametrize("location", ["http://[bad", "https://a..ü/x"])
def test_a_location_that_is_no_url(location: str) -> None:
    driven = Driven(make_call())
    driven.answer(202, None, {"Location": location})
    assert isinstance(driven.error(), OriginError)
    followed = Driven(make_call(job=make_job(status_request="/jobs/{id}")))
    followed.answer(202, {"id": 5}, {"Location": location})
    assert followed.request().url == f"{BASE}/jobs/5"


# -- rule 2: relative URLs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("https://api.example.com/v1/jobs/7", "https://api.example.com/v1/jobs/7"),
        ("/other/jobs/7", "https://api.example.com/other/jobs/7"),
        ("7/", "https://api.example.com/v1/7/"),
        ("jobs/7", "https://api.example.com/v1/jobs/7"),
        ("../../x", "https://api.example.com/x"),
        ("?job=7", "https://api.example.com/v1/jobs?job=7"),
        (" /jobs/a b", "https://api.example.com/jobs/a%20b"),
        ("/jobs/7#part", "https://api.example.com/jobs/7"),
        ("https://user:pw@api.example.com/jobs/7", "https://api.example.com/jobs/7"),
    ],
)
def test_location_forms(location: str, followed: str) -> None:
    driven = Driven(make_call())
    driven.answer(202, None, {"Location": location})
    assert driven.request().url == followed


def test_relative_to_the_url_that_was_answered_after_a_redirect() -> None:
    driven = Driven(make_call())
    driven.answer(202, None, {"Location": "7"}, url=f"{BASE}/jobs/")
    assert driven.state.status_url == f"{BASE}/jobs/7"


# -- rule 3: answers without a monitor -----------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "value"),
    [
        (200, {"id": "echo", "value": 1}, {"id": "echo", "value": 1}),
        (200, [1, 2], [1, 2]),
        (200, None, None),
        (204, None, None),
        (203, 5, 5),
    ],
)
def test_the_server_did_the_work_at_once(status: int, body: Any, value: Any) -> None:
    driven = Driven(make_call())
    driven.answer(status, body)
    assert driven.done().value == value
    assert driven.phase is Phase.SUCCEEDED
    assert len(driven.requests) == 1


def test_200_with_location_is_no_job() -> None:
    """pygeoapi answers a synchronous execution with the output and a Location."""
    driven = Driven(make_call())
    driven.answer(200, {"value": "Hello"}, {"Location": JOB})
    assert driven.done().value == {"value": "Hello"}


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"Prefer": "respond-async"}, True),
        ({"Prefer": "respond-async, wait=5"}, True),
        ({"prefer": ["wait=5", "Respond-Async; x=y"]}, True),
        ({"Prefer": "respond-asynchronously"}, False),
        ({"Prefer": "return=minimal"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_respond_async_is_a_wish(headers: dict[str, Any], taken: bool, status: int) -> None:
    """Who only prefers an asynchronous answer may be given the result, whatever is said of a status."""
    request = RequestSpec(method="POST", endpoint="/jobs", headers=headers)
    driven = Driven(make_call(request=request, job=make_job(status_path="$.state")))
    driven.answer(status, {"value": "Hello"})
    if taken and status == 200:
        assert driven.done().value == {"value": "Hello"}
    else:
        assert isinstance(driven.error(), NothingToFollowError)


@pytest.mark.parametrize(
    ("status", "body", "job"),
    [
        (202, None, {}),
        (202, {"id": 7}, {}),
        (202, {"status": "success"}, {}),
        (201, {"id": 7}, {}),
        (201, None, {}),
        (200, {"status": "running"}, {}),
        (200, {"status": None}, {}),
        (200, {"id": 7}, {"status_path": "$.state"}),
        (202, None, {"status_request": {"headers": {"X": "y"}}}),
    ],
)
def test_nothing_to_follow_is_an_error_that_says_what_was_looked_for(
    status: int, body: Any, job: dict[str, Any]
) -> None:
    driven = Driven(make_call(job=make_job(**job)))
    driven.answer(status, body)
    error = driven.error()
    assert isinstance(error, NothingToFollowError)
    assert not error.retryable
    for part in (
        f"POST {BASE}/jobs",
        str(status),
        "Operation-Location",
        "job.status_request",
        "may be running",
    ):
        assert part in error.message
    assert error.data["status_code"] == status


@pytest.mark.parametrize(
    ("word", "phase"),
    [("Succeeded", Phase.SUCCEEDED), ("FAILED", Phase.FAILED), ("canceled", Phase.CANCELLED)],
)
@pytest.mark.parametrize("job", [{"status_path": "$.status", "status_request": "/jobs/{runId}"}, {}])
def test_a_status_that_ends_the_job_at_once(word: str, phase: Phase, job: dict[str, Any]) -> None:
    driven = Driven(make_call(job=make_job(**job)))
    driven.answer(200, {"runId": 7, "status": word})
    if job and phase is Phase.SUCCEEDED:
        assert driven.phase is Phase.POLL
        return
    driven.done()
    assert driven.phase is phase
    assert len(driven.requests) == 1


@pytest.mark.parametrize(
    ("job", "headers"),
    [
        ({"status_request": "/jobs/{runId}"}, {}),
        ({"status_request": {"headers": {"X-Zone": "z"}}}, {"Operation-Location": JOB}),
    ],
)
@pytest.mark.parametrize("result_path", ["$.rows", None])
def test_a_success_is_polled_before_its_result_is_taken(
    job: dict[str, Any], headers: dict[str, str], result_path: str | None
) -> None:
    """Flower says SUCCESS in its response to the submission of a quick task, without the result."""
    driven = Driven(make_call(job=make_job(status_path="$.status", result_path=result_path, **job)))
    driven.answer(200, {"runId": 7, "status": "SUCCESS"}, headers)
    driven.answer(200, {"runId": 7, "status": "SUCCESS", "rows": 3})
    value = driven.done().value
    assert (value if result_path else value["rows"]) == 3
    assert [request.url for request in driven.requests] == [f"{BASE}/jobs", JOB]


def test_the_status_of_the_request_is_not_that_of_the_job() -> None:
    """An envelope says "success" because the submit was accepted; the job is asked for all the same."""
    driven = Driven(make_call(job=make_job(status_request="/jobs/{id}")))
    driven.answer(200, {"status": "success", "id": 7})
    assert driven.phase is Phase.POLL
    driven.answer(200, {"status": "failed"})
    assert isinstance(driven.error(), JobFailedError)


#: How Pulp names a task, and other ways to name a job.
NAMED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"extract": {"task": "$.task"}, "job_id": "task", "status_request": "{task}"}, {"task": "/v1/jobs/7"}),
    ({"status_request": "/jobs/{task.id}"}, {"task": {"id": 7}}),
    ({"job_id": "number", "status_request": "/jobs/{job_id}"}, {"number": 7}),
    ({"status_request": "/jobs/{job_id}"}, {"id": 7}),
    ({}, {}),
]


@pytest.mark.parametrize(("job", "named"), NAMED)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_response_that_need_not_name_a_job(job: dict[str, Any], named: dict[str, Any], status: int) -> None:
    made = make_job(**job, required=False, status_path="$.state")
    done = Driven(make_call(job=made))
    done.answer(status, {"pulp_href": "/r/1", "task": None})
    assert done.done().value == {"pulp_href": "/r/1", "task": None}
    assert len(done.requests) == 1
    begun = Driven(make_call(job=made))
    begun.answer(202, named, {} if job else {"Location": JOB})
    assert begun.request().url == JOB


@pytest.mark.parametrize(
    "body",
    [
        {"task": {"id": 7}},  # names a job in a way that is not understood
        {"pulp_href": "/r/1", "state": "failed"},
        {"pulp_href": "/r/1", "state": "running"},
    ],
)
def test_a_response_that_says_anything_of_a_job_is_not_the_result(body: dict[str, Any]) -> None:
    made = make_job(**NAMED[0][0], required=False, status_path="$.state")
    driven = Driven(make_call(job=made))
    driven.answer(201, body)
    assert driven.phase is Phase.FAILED
    monitor = Driven(make_call(job=make_job(required=False, status_path="$.state")))
    monitor.answer(201, {"state": "running"})
    assert isinstance(monitor.error(), NothingToFollowError)


def test_a_job_is_required_by_default() -> None:
    driven = Driven(make_call(job=make_job(**NAMED[0][0])))
    driven.answer(201, {"pulp_href": "/r/1"})
    assert isinstance(driven.error(), AnswerError)


@pytest.mark.parametrize("content_type", ["text/html", "text/html; charset=utf-8", None, "text/plain"])
@pytest.mark.parametrize("sync", [True, False])
def test_an_html_page_is_no_answer(content_type: str | None, sync: bool) -> None:
    driven = Driven(make_call(sync=sync))
    driven.answer(200, HTML, {"Location": JOB}, content_type=content_type)
    error = driven.error()
    assert isinstance(error, AnswerError)
    assert not error.retryable, "a new try of the task would submit again"
    for part in ("200 OK", "HTML", "Sign in", "login page"):
        assert part in error.message


def test_html_that_was_asked_for_is_the_result() -> None:
    request = RequestSpec(method="GET", endpoint="/page", headers={"Accept": "text/html"})
    driven = Driven(make_call(sync=True, request=request))
    driven.answer(200, HTML, content_type="text/html")
    assert driven.done().value == HTML.decode()


@pytest.mark.parametrize("sync", [True, False])
def test_303_after_a_submit_is_followed_by_a_get_that_may_be_repeated(sync: bool) -> None:
    """The submit was done. A failing GET is repeated; the submit is not, whatever the GET answers."""
    driven = Driven(make_call(sync=sync, retries=3))
    driven.answer(303, None, {"Location": "done/7"})
    driven.tell(NO_CONNECTION)
    driven.answer(503)
    driven.answer(200, {"rows": 3})
    assert driven.done().value == {"rows": 3}
    assert [(r.method, r.url.removeprefix(BASE)) for r in driven.requests] == [
        ("POST", "/jobs"), ("GET", "/done/7"), ("GET", "/done/7"), ("GET", "/done/7")
    ]  # fmt: skip
    assert all(request.body is None for request in driven.requests[1:])


def test_303_in_sync_mode_keeps_the_callers_headers_but_those_of_the_body() -> None:
    fields = {"Accept": "text/csv", "Content-Language": "de", "X-A": "{not a placeholder}"}
    request = RequestSpec(method="POST", endpoint="/jobs", headers=fields, body="x")
    driven = Driven(make_call(sync=True, request=request))
    driven.answer(303, None, {"Location": "/done"})
    follow = driven.request()
    assert follow.headers.get("Accept") == "text/csv"
    assert follow.headers.get("X-A") == "{not a placeholder}"
    assert "Content-Language" not in follow.headers
    assert "Content-Type" not in follow.headers


def test_303_to_another_origin_is_refused_and_not_tried_again() -> None:
    driven = Driven(make_call(sync=True))
    driven.answer(303, None, {"Location": "https://evil.example/"})
    assert isinstance(driven.error(), OriginError)
    assert not driven.error().retryable


# -- sync mode -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "content_type", "value"),
    [
        (200, {"a": 1}, None, {"a": 1}),
        (200, b"null", "application/json", None),
        (200, b"42", "application/json", 42),
        (200, b'"x"', "application/problem+json", "x"),
        (200, b"a,b\n1,2\n", "text/csv", "a,b\n1,2\n"),
        (200, b'{"a": 1}', "text/html", {"a": 1}),
        (201, {"id": 1}, None, {"id": 1}),
        (202, {"id": 1}, None, {"id": 1}),
        (204, None, None, None),
        (200, b"", "application/json", None),
    ],
)
def test_sync_result(status: int, body: Any, content_type: str | None, value: Any) -> None:
    driven = Driven(make_call(sync=True))
    driven.answer(status, body, content_type=content_type)
    assert driven.done().value == value
    assert driven.done().error is None


@pytest.mark.parametrize("body", [b"{", b"<html>", b'{"a": NaN}', b'{"a": 1e9999}', b"[" * 100_000])
def test_a_body_that_says_it_is_json_and_is_not(body: bytes) -> None:
    driven = Driven(make_call(sync=True))
    event = driven.answer(200, body, content_type="application/json")
    error = driven.error()
    assert isinstance(error, AnswerError)
    assert "not JSON" in error.message
    assert event is not None
    assert event.message == error.message


def test_response_path() -> None:
    driven = Driven(make_call(sync=True, response_path="$.items[0].id"))
    driven.answer(200, {"items": [{"id": 5}]})
    assert driven.done().value == 5
    missing = Driven(make_call(sync=True, response_path="$.items[0].id"))
    missing.answer(200, {"items": []})
    for part in ("response_path", "$.items[0].id", "200 OK", '{"items": []}'):
        assert part in missing.error().message


# -- rule 4: refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 405, 409, 410, 422, 451, 501, 505, 999])
@pytest.mark.parametrize("sync", [True, False])
def test_a_refused_submit_has_failed_with_the_servers_reason(status: int, sync: bool) -> None:
    driven = Driven(make_call(sync=sync, retries=5))
    driven.answer(status, {"title": "No", "detail": "not this way"})
    error = driven.error()
    assert driven.phase is Phase.FAILED
    assert isinstance(error, RequestFailedError)
    assert str(status) in error.message
    assert "No: not this way" in error.message
    assert error.data["status_code"] == status
    assert len(driven.requests) == 1


# -- rule 5: sent again only where that is safe --------------------------------------------------

_UNKNOWN = [READ_TIMEOUT, DROPPED, 408, 500, 502, 504, 507, 520]
_NOT_TAKEN = [NO_CONNECTION, 425, 429, 503]


def _tell(driven: Driven, what: Any) -> None:
    driven.answer(what) if isinstance(what, int) else driven.tell(what)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("what", _UNKNOWN)
@pytest.mark.parametrize("sync", [True, False])
def test_unknown_outcome_of_an_unsafe_method_is_not_sent_again(method: str, what: Any, sync: bool) -> None:
    driven = Driven(make_call(method=method, sync=sync, retries=5))
    _tell(driven, what)
    error = driven.error()
    assert driven.phase is Phase.SUBMIT_UNKNOWN
    assert isinstance(error, SubmitUnknownError)
    assert not error.retryable
    assert "may have taken the request" in error.message


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("what", [*_UNKNOWN, *_NOT_TAKEN])
def test_idempotent_methods_are_sent_again(method: str, what: Any) -> None:
    driven = Driven(make_call(method=method, sync=True, retries=1))
    _tell(driven, what)
    assert driven.phase is Phase.SUBMIT
    driven.answer(200, {"ok": True})
    assert driven.done().value == {"ok": True}


@pytest.mark.parametrize("what", _NOT_TAKEN)
def test_what_was_not_taken_is_sent_again_as_often_as_allowed(what: Any) -> None:
    driven = Driven(make_call(retries=2))
    for _ in range(3):
        _tell(driven, what)
    error = driven.error()
    assert isinstance(error, RequestFailedError)
    assert error.retryable
    assert "3 tries" in error.message
    assert len(driven.requests) == 3
    assert driven.waits == [pytest.approx(0.75), pytest.approx(1.5)]


def test_no_retries_by_default() -> None:
    driven = Driven(make_call())
    driven.answer(503)
    assert driven.phase is Phase.FAILED


def test_the_wait_is_the_servers_where_it_asks_for_one() -> None:
    driven = Driven(make_call(retries=1))
    driven.answer(429, None, {"Retry-After": "20"})
    assert driven.next_wait() == pytest.approx(21.0)


def test_retry_after_zero_is_still_a_wait() -> None:
    driven = Driven(make_call(retries=1))
    driven.answer(429, None, {"Retry-After": "0"})
    assert driven.next_wait() > 0


def test_a_lost_answer_after_a_safe_retry_is_still_unknown() -> None:
    driven = Driven(make_call(retries=5))
    driven.answer(503)
    driven.tell(READ_TIMEOUT)
    assert driven.phase is Phase.SUBMIT_UNKNOWN


@pytest.mark.parametrize("codes", [[500], "5xx", ["500-504"], [404, "5xx"]])
def test_final_status_codes_take_classes_and_ranges(codes: Any) -> None:
    driven = Driven(make_call(job=make_job(final_status_codes=codes)))
    driven.answer(502)
    assert driven.phase is (Phase.SUBMIT_UNKNOWN if codes == [500] else Phase.FAILED)


def test_final_status_codes_are_not_sent_again_and_not_unknown() -> None:
    """slurmrestd says 500 for a bad token."""
    driven = Driven(make_call(job=make_job(final_status_codes=[500, 503]), retries=5))
    driven.answer(500, {"errors": [{"error": "Invalid token"}]})
    assert driven.phase is Phase.FAILED
    assert "Invalid token" in driven.error().message


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("codes", [(500,), ("5xx",), ("500-504", 408)])
def test_a_rejected_submission_is_neither_unknown_nor_sent_again(codes: Any, sync: bool) -> None:
    """slurmrestd says 500 for bad input."""
    driven = Driven(make_call(sync=sync, rejected_status_codes=codes, retries=5))
    driven.answer(500, {"errors": [{"error": "Invalid account"}]})
    assert driven.phase is Phase.FAILED
    assert isinstance(driven.error(), RequestFailedError)
    assert "Invalid account" in driven.error().message
    assert driven.state.intent_at is None
    other = Driven(make_call(sync=sync, rejected_status_codes=(501,), retries=5))
    other.answer(500)
    assert other.phase is Phase.SUBMIT_UNKNOWN
    assert "rejected_status_codes" in other.error().message, "the remedy"


def test_a_rejected_submission_is_sent_again_if_retry_codes_say_so() -> None:
    policy = RetryPolicy(count=1, codes=(500,))
    driven = Driven(make_call(rejected_status_codes=(500,), retry=policy))
    driven.answer(500)
    assert driven.phase is Phase.SUBMIT


def test_the_codes_of_most_servers_change_nothing_when_they_are_written() -> None:
    written = ("400-407", "409-424", "426-428", "430-499")
    for status in (400, 408, 409, 422, 425, 429, 499, 500, 503):
        ends = []
        for codes in ((), written):
            driven = Driven(make_call(rejected_status_codes=codes))
            driven.answer(status)
            ends.append((driven.phase, driven.error().message))
        assert ends[0] == ends[1]


@pytest.mark.parametrize(("method", "phase"), [("GET", Phase.FAILED), ("POST", Phase.SUBMIT_UNKNOWN)])
def test_an_answer_that_is_too_large_is_not_asked_for_again(method: str, phase: Phase) -> None:
    driven = Driven(make_call(method=method, sync=True, retries=5))
    driven.tell(TOO_LARGE)
    assert driven.phase is phase
    assert "max_response_bytes" in driven.error().message
    assert driven.error().retryable is (method == "GET"), "a POST was done, though its answer was not read"


# -- what is remembered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "job", "job_id"),
    [
        (None, {"Location": JOB}, {}, "7"),
        (None, {"Location": f"{BASE}/runs/manual__2026%2B00:00/status/"}, {}, "manual__2026+00:00"),
        ({"id": 5}, {"Location": JOB}, {}, "7"),
        ({"id": 5}, {}, {"status_request": "/s"}, 5),
        ({"task-id": "t"}, {}, {"status_request": "/s"}, "t"),
        (17, {}, {"status_request": "/s"}, 17),
        ("abc", {}, {"status_request": "/s"}, "abc"),
        (True, {}, {"status_request": "/s"}, None),
        ([1], {}, {"status_request": "/s"}, None),
        (None, {}, {"status_request": "/s"}, None),
        ({"jobs": [{"n": 3}]}, {"Location": JOB}, {"job_id": "$.jobs[0].n"}, 3),
        ({"jobs": [{"n": 3}]}, {"Location": JOB}, {"job_id": "{jobs[0].n}"}, 3),
        ({"n": 3}, {"Location": JOB}, {"job_id": "run", "extract": {"run": "$.n"}}, 3),
        (None, {"Location": JOB, "X-Run": "r"}, {"job_id": "headers.x-run"}, "r"),
        ({"id": "x" * 5000}, {}, {"status_request": "/s"}, "x" * 200 + "…"),
    ],
)
def test_job_id(body: Any, headers: dict[str, str], job: dict[str, Any], job_id: Any) -> None:
    driven = Driven(make_call(job=make_job(**job)))
    driven.answer(202, body, headers)
    assert driven.state.job_id == job_id
    assert driven.phase is Phase.POLL


@pytest.mark.parametrize(
    ("job", "named"),
    [
        ({"extract": {"run": "$.runId"}}, "job.extract['run']"),
        ({"job_id": "$.runId"}, "job.job_id"),
        ({"job_id": "$.list"}, "job.job_id"),
        ({"status_request": "/runs/{runId}"}, "{runId}"),
        ({"status_request": "/runs/{nothing}"}, "{nothing}"),
        ({"status_request": "/runs/{empty}"}, "{empty}"),
        ({"extract": {"run": "$.big"}}, "job.extract['run']"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Location": JOB}])
def test_a_path_that_matches_nothing_says_so_at_once(
    job: dict[str, Any], named: str, headers: dict[str, str]
) -> None:
    driven = Driven(make_call(job=make_job(**job)))
    driven.answer(202, {"list": [], "nothing": None, "empty": "", "big": "x" * 70_000}, headers)
    error = driven.error()
    assert isinstance(error, AnswerError)
    assert not error.retryable
    for part in (named, f"POST {BASE}/jobs", "202", "may be running", '{"list": []'):
        assert part in error.message
    assert driven.state.submitted_at == T0, "the handle of what may be running is kept"


def test_placeholder_in_a_foreign_place_is_refused() -> None:
    driven = Driven(make_call(job=make_job(status_request="{next}")))
    driven.answer(202, {"next": "https://evil.example/steal"})
    assert isinstance(driven.error(), OriginError)


# -- rules 8 and 13: the first wait --------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "job", "wait"),
    [
        ({}, {}, 0),
        ({}, {"initial_delay": 5}, 5),
        ({"Retry-After": "30"}, {"initial_delay": 5}, 30),
        ({"Retry-After": "0"}, {}, 1),
        ({"Retry-After": "-5"}, {}, 1),
        ({"Retry-After": "soon"}, {"initial_delay": 5}, 5),
        ({"Retry-After": "99999"}, {}, 3600),
        ({"Retry-After": "99"}, {"max_poll_interval": 20}, 20),
        ({"Retry-After": "99"}, {"deadline": 60}, 60),
        ({}, {"initial_delay": 99, "deadline": 60}, 60),
        ({"retry-after-ms": "2500"}, {}, 2.5),
        ({"Retry-After": "0"}, {"poll_interval": 0.25}, 0.25),
    ],
)
def test_first_wait(headers: dict[str, str], job: dict[str, Any], wait: float) -> None:
    driven = Driven(make_call(job=make_job(**job)))
    driven.answer(202, None, {"Location": JOB, **headers})
    assert driven.next_wait() == pytest.approx(wait)
    step = driven.operation.step(driven.now)
    assert isinstance(step, Wait if wait else Send)


def test_what_is_kept_and_logged() -> None:
    driven = Driven(make_call(job=make_job(deadline=100, extract={"run": "$.id"})))
    event = driven.answer(202, {"id": 5, "status": "queued"}, {"Location": JOB})
    state = driven.state
    assert (state.submitted_at, state.deadline_at, state.values) == (T0, T0 + 100, {"run": 5})
    assert state.status == "queued"
    assert event is not None
    assert event.kind == "submitted"
    assert event.data == {"job_id": "7", "status": "queued", "status_url": JOB}
    for part in ("202 Accepted", "job 7", "'queued'"):
        assert part in event.message
