"""Rules 14 and 15: where the result is, and what is done where it cannot be had."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.errors import AnswerError, OriginError, RequestFailedError
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.state import Phase

from .helpers import BASE, DROPPED, HTML, NO_CONNECTION, READ_TIMEOUT, TOO_LARGE, Driven, make_job

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


@pytest.mark.parametrize("what", [NO_CONNECTION, READ_TIMEOUT, DROPPED, 408, 429, 500, 503, 404, 202])
def test_the_get_is_repeated_never_the_job(what: Any) -> None:
    driven = _fetching()
    driven.answer(what) if isinstance(what, int) else driven.tell(what)
    assert driven.next_wait() == 10
    driven.answer(200, {"rows": 3})
    assert driven.done().value == {"rows": 3}
    assert {request.method for request in driven.requests} == {"GET"}


@pytest.mark.parametrize(("code", "seconds"), [(404, 60), (202, 60), (503, 300)])
def test_the_window_of_a_failing_result(code: int, seconds: float) -> None:
    driven = _fetching()
    begin = driven.now
    while driven.phase is Phase.FETCH:
        driven.answer(code, {"description": "ResultNotReady"})
    assert driven.now - begin == seconds
    error = driven.error()
    assert isinstance(error, RequestFailedError)
    for part in ("Job 7 succeeded", str(code), "ResultNotReady", "need not run again"):
        assert part in error.message


def test_the_last_attempt_is_made_at_the_end_of_the_window() -> None:
    driven = _fetching()
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
    driven = _fetching(final_codes=[500])
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


@pytest.mark.parametrize(("body", "content_type"), [(HTML, "text/html"), (b"{", "application/json")])
def test_a_result_that_is_none(body: bytes, content_type: str) -> None:
    driven = _fetching()
    driven.answer(200, body, content_type=content_type)
    assert isinstance(driven.error(), AnswerError)
    assert not driven.error().retryable


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
