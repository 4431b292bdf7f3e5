"""Regular expressions of authors: bounded in time wherever they are searched in what a server sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core import patterns
from airflow_provider_apitask.core.answers import Reading, find_all_in
from airflow_provider_apitask.core.errors import ParameterError, PatternTimeoutError, RequestFailedError
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.state import Phase
from airflow_provider_apitask.core.validation import ResponseValidation

from .helpers import BASE, Driven, make_job, make_response

#: On which both libraries that search by backtracking double their time with each character.
SLOW = "(a|aa)+$"
HOSTILE = "a" * 60 + "!"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_SEARCH_SECONDS", 0.05)


def reading(document: Any) -> Reading:
    return Reading(Request(Purpose.RESULT, "GET", f"{BASE}/a"), make_response(200, document), str)


def test_a_search_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(PatternTimeoutError, match=r"takes longer than 0.05 s on a text of 61 characters"):
        patterns.found(SLOW, HOSTILE)
    assert patterns.found(SLOW, "aaa")
    assert not patterns.found(SLOW, "b")


def test_an_invalid_pattern_is_a_parameter_error() -> None:
    with pytest.raises(ParameterError, match="not a valid regular expression"):
        patterns.found("(", "a")


def test_field_check() -> None:
    check = FieldCheck.parse({"pattern": SLOW})
    assert not list(check.broken("aaa"))
    assert [broken.rule for broken in check.broken("b")] == ["pattern"]
    with pytest.raises(PatternTimeoutError):
        list(check.broken(HOSTILE))


@pytest.mark.parametrize("name", ["success_when", "failure_when", "running_when"])
def test_a_condition_on_a_poll_makes_a_failed_poll(name: str) -> None:
    driven = Driven.polling(make_job(**{name: {"$.status": {"pattern": SLOW}}, "status_grace": 25}))
    event = driven.answer(200, {"status": HOSTILE})
    assert event is not None
    assert "regular expression" in event.message
    assert (driven.phase, driven.state.polls) == (Phase.POLL_GRACE, 1)
    for _ in range(3):
        driven.answer(200, {"status": HOSTILE})
    assert isinstance(driven.error(), RequestFailedError)
    assert "regular expression" in driven.error().message


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"$.items[?(@.name =~ '{SLOW}')].id", [1]),
        (f"$.items[?(@.name =~ '{SLOW}' & @.id > 0)].id", [1]),
        (f"$..items[?(@.name =~ '{SLOW}')].id", [1]),
        (f"$.items[0].name.`sub(/{SLOW}/, x)`", ["x"]),
    ],
)
def test_jsonpath(path: str, found: list[Any]) -> None:
    good = [{"id": 1, "name": "aaa"}, {"id": 2, "name": "b"}, {"id": 3, "name": None}, {"id": 4}]
    assert find_all_in(reading({"items": good}), path) == found
    with pytest.raises(PatternTimeoutError):
        find_all_in(reading({"items": [{"id": 1, "name": HOSTILE}]}), path)


@pytest.mark.parametrize(
    ("schema", "good", "bad", "hostile", "rules"),
    [
        ({"pattern": SLOW}, "aaa", "b", HOSTILE, ["json_schema.pattern"]),
        (
            {"patternProperties": {SLOW: {"type": "integer"}}},
            {"aaa": 1, "b": "x"},
            {"aaa": "x"},
            {HOSTILE: 1},
            ["json_schema.type"],
        ),
        (
            {"properties": {"b": {}}, "patternProperties": {SLOW: {}}, "additionalProperties": False},
            {"aaa": 1, "b": 2},
            {"c": 1},
            {HOSTILE: 1},
            ["json_schema.additionalProperties"],
        ),
        (
            {"patternProperties": {SLOW: {}}, "additionalProperties": {"type": "integer"}},
            {"aaa": "x", "b": 2},
            {"aaa": "x", "c": "x"},
            {HOSTILE: 1},
            ["json_schema.type"],
        ),
    ],
)
@pytest.mark.parametrize(
    "draft", ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"]
)
def test_json_schema(
    draft: str, schema: dict[str, Any], good: Any, bad: Any, hostile: Any, rules: list[str]
) -> None:
    rules_of = ResponseValidation(json_schema={"$schema": draft, **schema})
    assert rules_of.check(reading(good)) == []
    assert [violation.rule for violation in rules_of.check(reading(bad))] == rules
    with pytest.raises(PatternTimeoutError):
        rules_of.check(reading(hostile))
