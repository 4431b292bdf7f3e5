"""Reading an answer, and saying what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.answers import Reading, brief, find_all_in, find_in, result_of
from airflow_provider_apitask.core.errors import AnswerError, OriginError
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.problem import describe, first_text, reason, status_line
from airflow_provider_apitask.core.redaction import Redactor

from .helpers import BASE, HTML, NO_CONNECTION, TOO_LARGE, make_response

ASKED = Request(Purpose.POLL, "GET", f"{BASE}/jobs/7?api_key=x")


def _plain(text: str) -> str:
    return text


def _reading(status: int = 200, body: Any = None, headers: Any = None, **more: Any) -> Reading:
    return Reading(ASKED, make_response(status, body, headers, **more), _plain)


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.a", 1),
        ("headers.x-run", "r"),
        ("headers.None", MISSING),
        ("headers.Location", "https://api.example.com/v1/jobs/9"),
        ("headers.operation-location", "https://api.example.com/op"),
    ],
)
def test_find_in(path: str, value: Any) -> None:
    headers = {"X-Run": "r", "Location": "9", "Operation-Location": "/op"}
    reading = _reading(202, {"a": 1}, headers, url=f"{BASE}/jobs/7")
    assert find_in(reading, path) == value


def test_a_location_that_is_no_url() -> None:
    with pytest.raises(OriginError):
        find_in(_reading(202, None, {"Location": "http://["}), "headers.Location")


def test_values() -> None:
    reading = _reading(200, {"a": 1, "b": None})
    assert reading.values({"x": "$.a"}, ["b", "$.c"]) == {"x": 1, "b": None}
    assert reading.values(None, []) == {}
    with pytest.raises(AnswerError, match=r"job\.extract\['x'\]='\$\.c' matches nothing"):
        reading.values({"x": "$.c"}, [])


@pytest.mark.parametrize("value", ["x" * 70_000, "\ud800"])
def test_values_that_cannot_be_kept(value: str) -> None:
    with pytest.raises(AnswerError, match=r"that can be kept|cannot be kept"):
        _reading(200, {"a": value}).values({"x": "$.a"}, [])


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        *((value, value) for value in (None, True, 5, 1.5, "x", "x" * 200)),
        ("x" * 500, "x" * 200 + "…"),
        ("\ud800", "?"),
        ({"a": 1}, '{"a": 1}'),
        (10**300, "1" + "0" * 199 + "…"),
    ],
)
def test_brief(value: Any, kept: Any) -> None:
    assert brief(value) == kept


def test_brief_of_what_is_nested_too_deep() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert brief(deep) == "<list>"


def test_result_of() -> None:
    assert result_of(_reading(200, {"a": [1]}), "p", "$.a") == [1]
    assert result_of(_reading(200, {"a": None}), "p", "$.a") is None
    assert result_of(_reading(204), "p", None) is None
    with pytest.raises(AnswerError, match="p='a' matches nothing"):
        result_of(_reading(200, b"text"), "p", "a")
    with pytest.raises(AnswerError, match="not JSON"):
        result_of(_reading(200, b"{", content_type="application/json"), "p", "a")


def test_a_document_is_parsed_once() -> None:
    reading = _reading(200, {"a": 1})
    assert reading.document is reading.document
    assert _reading(200, b"no json").document is None


# -- words for a person --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"title": "Bad", "detail": "no rows", "status": 400}, "Bad: no rows"),
        ({"type": "about:blank", "title": "Bad"}, "Bad"),
        ({"title": "My job", "message": "no rows"}, "no rows"),
        ({"title": "Bad"}, "Bad"),
        ({"error": "no rows"}, "no rows"),
        ({"error": {"code": 17, "message": "no rows"}}, "17: no rows"),
        ({"errors": [{"error": "one"}, {"msg": "two"}]}, "one; two"),
        ({"detail": [{"loc": ["body", 0, "d"], "msg": "Field required"}]}, "body.0.d: Field required"),
        ({"detail": {"reason": "Unique constraint"}}, "Unique constraint"),
        ({"code": "NoSuchJob", "description": "no-such-job"}, "NoSuchJob: no-such-job"),
        ({"error": "invalid_client", "error_description": "no"}, "no"),
        ({"fault": {"faultstring": "no rows"}}, "no rows"),
        ({"message": ""}, None),
        ({"message": 5}, None),
        ({"a": 1}, None),
        ({"error": {"error": {"error": {"error": {"error": "deep"}}}}}, None),
        ({"title": 5, "detail": 6}, None),
        (["x"], None),
        ("text", None),
        (None, None),
    ],
)
def test_reason(document: Any, said: str | None) -> None:
    assert reason(document, None, _plain) == said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("$.a.b", "deep"),
        ("$.a", "deep"),
        ("$.n", "5"),
        ("$.none", None),
        ("$.x", None),
        ("$.l", "one; two"),
        ("$.o", '{"k": 1}'),
    ],
)
def test_reason_where_the_author_says(path: str, said: str | None) -> None:
    document = {
        "a": {"b": "deep", "message": "deep"},
        "n": 5,
        "none": None,
        "l": ["one", "two"],
        "o": {"k": 1},
    }
    assert reason(document, path, _plain) == said


def test_first_text() -> None:
    assert first_text(make_response(200), _plain) == "the body is empty"
    assert first_text(make_response(200, b" \n"), _plain) == "the body is empty"
    said = first_text(make_response(200, b"one\n  two" * 1000, content_type="text/plain"), _plain)
    assert said.startswith("the body (text/plain, 9000 bytes) begins 'one two")
    assert len(said) < 400


@pytest.mark.parametrize("offset", range(280, 310, 3))
def test_half_a_secret_is_not_shown_where_an_excerpt_is_cut(offset: int) -> None:
    redact = Redactor(["hunter2-hunter2-hunter2"]).text
    body = b"x" * offset + b" hunter2-hunter2-hunter2 " + b"y" * 500
    assert "hunter" not in first_text(make_response(400, body), redact)
    assert "hunter" not in str(reason({"message": body.decode()}, None, redact))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (make_response(503), "answered 503 Service Unavailable: the body is empty"),
        (make_response(400, {"detail": "no"}), "answered 400 Bad Request: no"),
        (make_response(999, b"x"), "answered 999: the body (no Content-Type, 1 bytes) begins 'x'"),
        (NO_CONNECTION, "got no answer: no connection could be made (connection refused)"),
        (TOO_LARGE, "answered: the answer is larger than max_response_bytes (over 10 bytes)"),
    ],
)
def test_describe(event: Any, said: str) -> None:
    assert describe(ASKED, event, _plain) == f"GET {ASKED.url} {said}"


def test_status_line() -> None:
    assert status_line(make_response(404)) == "404 Not Found"
    assert status_line(make_response(799)) == "799"


@pytest.mark.parametrize(
    ("body", "has_json"),
    [(b"null", True), (b"0", True), ({}, True), (b"{", False), (b" \n", False), (None, False), (HTML, False)],
)
def test_has_json(body: Any, has_json: bool) -> None:
    assert _reading(200, body).has_json is has_json
    # Where there is no JSON, nothing is at the root either.
    assert bool(find_all_in(_reading(200, body), "$")) is has_json


def test_find_all_in() -> None:
    found = _reading(200, {"a": [1, [2]]}, {"Location": "/x"})
    assert find_all_in(found, "$.a[*]") == [1, [2]]
    assert find_all_in(found, "a") == [[1, [2]]]
    assert find_all_in(found, "headers.location") == ["https://api.example.com/x"]
    assert find_all_in(found, "headers.X-No") == []
