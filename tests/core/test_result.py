"""Rules 14 and 15: where the result is, and what is done where it cannot be had."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.call import Handling
from airflow_provider_apitask.core.durable import Record, begin
from airflow_provider_apitask.core.errors import (
    AnswerError,
    OriginError,
    ParameterError,
    RequestFailedError,
)
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.operation import Operation
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase

from .helpers import (
    BASE,
    DROPPED,
    HTML,
    NO_CONNECTION,
    READ_TIMEOUT,
    TOO_LARGE,
    Driven,
    make_api,
    make_call,
    make_job,
    make_response,
)

DONE = {"status": "done", "file": {"id": "a/b"}}


def _fetching(**job: Any) -> Driven:
    driven = Driven.polling(make_job(**{"result_request": "/files/{file.id}", **job}))
    driven.answer(200, DONE)
    assert driven.phase is Phase.FETCH
    return driven


# -- rule 14: the order --------------------------------------------------------------------------


def test_the_configured_request_goes_before_the_location() -> None:
    driven = Driven.polling(make_job(result_request="/files/{file.id}"), result_url=f"{BASE}/elsewhere")
    driven.answer(200, DONE)
    assert driven.request().url == f"{BASE}/files/a%2Fb"


def test_the_location_goes_before_the_last_answer() -> None:
    driven = Driven.polling(result_url=f"{BASE}/r/7")
    driven.answer(200, DONE)
    request = driven.request()
    assert (request.method, request.url, request.purpose) == ("GET", f"{BASE}/r/7", Purpose.RESULT)


def test_else_the_last_answer_is_the_result() -> None:
    driven = Driven.polling()
    driven.answer(200, DONE)
    assert driven.done().value == DONE
    assert len(driven.requests) == 1


@pytest.mark.parametrize("job", [{}, {"result_path": "$.file.id"}])
def test_the_author_says_that_the_last_response_is_the_result(job: dict[str, Any]) -> None:
    """Although the server sent a Location beside its Operation-Location."""
    wanted = AsyncJob.parse(json.loads(json.dumps(make_job(result_request=False, **job).to_dict())))
    driven = Driven.polling(wanted.compiled(), result_url=f"{BASE}/r/7")
    driven.answer(200, DONE)
    assert driven.done().value == ("a/b" if job else DONE)
    assert len(driven.requests) == 1


def test_only_the_result_request_can_be_false() -> None:
    for name in ("status_request", "cancel_request"):
        with pytest.raises(ParameterError, match=name):
            make_job(**{name: False})


def test_a_part_of_it() -> None:
    driven = Driven.polling(make_job(result_path="$.file.id"))
    driven.answer(200, DONE)
    assert driven.done().value == "a/b"


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("{status_url}/result", f"{BASE}/jobs/7/result"),
        ("/jobs/{job_id}/result", f"{BASE}/jobs/7/result"),
        ("/runs/{run}/result", f"{BASE}/runs/r%3A1/result"),
        ("/late/{file.id}", f"{BASE}/late/a%2Fb"),
        ("{headers.X-Result}", "https://api.example.com/r"),
        ({"endpoint": "/q", "params": {"id": "{file.id}", "n": "{$.n}"}}, f"{BASE}/q?id=a%2Fb&n=5"),
    ],
)
def test_values_of_all_earlier_answers(template: Any, url: str) -> None:
    driven = Driven.polling(make_job(result_request=template), values={"run": "r:1"})
    driven.answer(200, {**DONE, "n": 5}, {"X-Result": "/r"})
    assert driven.request().url == url


def test_the_latest_answer_wins() -> None:
    driven = Driven.polling(make_job(result_request="/f/{id}"), values={"id": "old"})
    driven.answer(200, {"status": "done", "id": "new"})
    assert driven.request().url == f"{BASE}/f/new"


def test_but_not_over_what_the_author_named() -> None:
    job = make_job(result_request="/f/{id}", extract={"id": "$.x"})
    driven = Driven.polling(job, values={"id": "mine"})
    driven.answer(200, {"status": "done", "id": "other"})
    assert driven.request().url == f"{BASE}/f/mine"


def test_a_configured_job_id_is_not_hidden_by_a_field_of_the_same_name() -> None:
    driven = Driven.polling(make_job(result_request="/f/{job_id}", job_id="$.n"), values={"job_id": "other"})
    driven.answer(200, {"status": "done"})
    assert driven.request().url == f"{BASE}/f/7"


def test_a_placeholder_without_value_fails_and_shows_the_answer() -> None:
    driven = Driven.polling(make_job(result_request="/files/{nothing.here}"))
    driven.answer(200, DONE)
    error = driven.error()
    assert isinstance(error, AnswerError)
    for part in ("{nothing.here}", "is done", "200 OK", "a/b", "job_id"):
        assert part in error.message


def test_a_result_at_another_origin_is_refused() -> None:
    driven = Driven.polling(result_url="https://storage.example/r")
    driven.answer(200, DONE)
    assert isinstance(driven.error(), OriginError)
    assert "storage.example" in driven.error().message
    assert "api.example.com" in driven.error().message


# -- a failing fetch -----------------------------------------------------------------------------


#: What a server may send in place of a result that it has all the same.
PASSING: list[Any] = [
    *(NO_CONNECTION, READ_TIMEOUT, DROPPED),
    *(202, 404, 408, 409, 423, 425, 429, 500, 503),
    make_response(200, HTML, content_type="text/html"),
    make_response(200, HTML, content_type="application/json"),
    make_response(200, b'{"rows": ', content_type="application/json"),
]


def _tell(driven: Driven, what: Any) -> None:
    driven.answer(what) if isinstance(what, int) else driven.tell(what)


@pytest.mark.parametrize("what", PASSING)
def test_the_get_is_repeated_never_the_job(what: Any) -> None:
    driven = _fetching()
    _tell(driven, what)
    assert driven.next_wait() == 10
    driven.answer(200, {"rows": 3})
    assert driven.done().value == {"rows": 3}
    assert {request.method for request in driven.requests} == {"GET"}


@pytest.mark.parametrize("code", [404, 202, 503])
def test_the_window_of_a_failing_result(code: int) -> None:
    driven = _fetching()
    begin = driven.now
    while driven.phase is Phase.FETCH:
        driven.answer(code, {"description": "ResultNotReady"})
    assert driven.now - begin == 300, "job.status_grace"
    error = driven.error()
    assert isinstance(error, RequestFailedError)
    for part in ("Job 7 succeeded", str(code), "ResultNotReady", "need not run again"):
        assert part in error.message


@pytest.mark.parametrize("what", PASSING)
@pytest.mark.parametrize("job", [{}, {"result_request": None, "status_request": "/jobs/{job_id}"}])
def test_a_retry_fetches_the_result_and_never_submits(what: Any, job: dict[str, Any]) -> None:
    """Also when the server has removed the job in the meantime, and ``on_lost`` would submit another one."""
    wanted = {"result_request": "/files/{file.id}", "status_grace": 20, "on_lost": "submit", **job}
    driven = Driven.polling(make_job(**wanted))
    driven.answer(200, DONE)
    driven = driven.through_json()
    while not driven.phase.ended:
        _tell(driven, what)
    assert driven.error().retryable
    assert "Job 7 succeeded" in driven.error().message

    record = Record.from_dict(json.loads(json.dumps(Record(generation=0, state=driven.state).to_dict())))
    retry = Driven(driven.operation.call)
    retry.operation = Operation(
        driven.operation.call, make_api(), start=begin(record, retry.operation.call, 0).move
    )
    retry.answer(404)
    retry.answer(200, {**DONE, "rows": 3})
    assert retry.done().value["rows"] == 3
    assert {request.purpose for request in retry.requests} == {Purpose.RESULT}


def test_a_cleared_task_leaves_a_job_alone_that_has_succeeded() -> None:
    driven = _fetching(status_grace=0, cancel_request={"method": "DELETE"})
    driven.answer(500)
    start = begin(Record(generation=0, state=driven.state), driven.operation.call, 1)
    assert start.stale is None


@pytest.mark.parametrize(("method", "again"), [("POST", False), ("PUT", True)])
def test_a_synchronous_call_whose_result_is_not_to_be_had(method: str, again: bool) -> None:
    """A new try would send the request once more."""
    driven = Driven(make_call(sync=True, method=method, request=RequestSpec(method=method, endpoint="/jobs")))
    driven.answer(303, None, {"Location": "/done"})
    while not driven.phase.ended:
        driven.answer(200, HTML)
    assert "The request was carried out" in driven.error().message
    assert driven.error().retryable is again


def test_the_last_attempt_is_made_at_the_end_of_the_window() -> None:
    driven = _fetching(status_grace=60)
    driven.answer(404, None, {"Retry-After": "45"})
    driven.answer(404, None, {"Retry-After": "45"})
    assert driven.next_wait() == 15
    driven.answer(200, [1])
    assert driven.done().value == [1]


@pytest.mark.parametrize("what", [400, 401, 403, 410, TOO_LARGE])
def test_what_will_not_change_is_not_asked_for_again(what: Any) -> None:
    driven = _fetching()
    driven.answer(what) if isinstance(what, int) else driven.tell(what)
    assert driven.phase is Phase.FAILED


def test_final_codes_hold_for_the_result_too() -> None:
    driven = _fetching(final_status_codes=[500])
    driven.answer(500)
    assert driven.phase is Phase.FAILED


@pytest.mark.parametrize(
    ("what", "phase"),
    [
        (503, Phase.FETCH),
        (404, Phase.FETCH),
        (NO_CONNECTION, Phase.FETCH),
        (500, Phase.FAILED),
        (202, Phase.FAILED),
    ],
)
def test_a_result_request_that_is_a_post_is_repeated_only_where_that_is_safe(what: Any, phase: Phase) -> None:
    driven = _fetching(result_request={"method": "POST", "endpoint": "/export"})
    driven.answer(what) if isinstance(what, int) else driven.tell(what)
    assert driven.phase is phase


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b"a,b\n", "text/csv", "a,b\n"),
        (b"null", "application/json", None),
        (b"[1]", "application/octet-stream", [1]),
        (b"", None, None),
        ("ä".encode("latin-1"), "text/plain; charset=iso-8859-1", "ä"),
    ],
)
def test_kinds_of_results(body: bytes, content_type: str | None, value: Any) -> None:
    driven = _fetching()
    driven.answer(200, body, content_type=content_type)
    assert driven.done().value == value


@pytest.mark.parametrize(
    "fields", [{"handling": Handling.IGNORE}, {"stored": True}, {"job": make_job(result_path="/rows/n")}]
)
def test_what_is_not_read_as_json_need_not_be_json(fields: dict[str, Any]) -> None:
    driven = Driven(make_call(**fields), state=_fetching().state.at(Phase.FETCH, result_url=f"{BASE}/r"))
    driven.answer(200, b"<rows><n>3</n></rows>", content_type="application/json")
    assert driven.phase is Phase.SUCCEEDED


def test_a_result_path_that_matches_nothing() -> None:
    driven = _fetching(result_path="$.rows")
    driven.answer(200, {"lines": 1})
    for part in ("job.result_path", "$.rows", '{"lines": 1}', f"GET {BASE}/files/a%2Fb"):
        assert part in driven.error().message


# -- another process -----------------------------------------------------------------------------


def test_an_inline_result_is_asked_for_again_in_another_process() -> None:
    driven = Driven.polling()
    driven.answer(200, DONE)
    other = driven.through_json()
    other.answer(202, DONE)  # some say 202 all along
    assert other.done().value == DONE
    assert other.requests[-1].url == f"{BASE}/jobs/7"
    assert other.requests[-1].purpose is Purpose.RESULT


def test_unless_its_answer_comes_along() -> None:
    driven = Driven.polling()
    driven.answer(200, DONE)
    other = driven.through_json(keep_answer=True)
    assert other.done().value == DONE


def test_an_inline_result_of_the_submit_cannot_be_had_again() -> None:
    driven = Driven.polling(status_url=None)
    driven = Driven(driven.operation.call, state=driven.state.at(Phase.FETCH, inline=True))
    assert "job.result_request" in driven.error().message
