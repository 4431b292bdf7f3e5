"""What an answer means: success, failure, or not done yet."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.status import Verdict
from airflow_provider_apitask.core.validation import ResponseValidation

from .helpers import HTML
from .test_validation import broken, reading, violations

SUCCEEDED, FAILED, RUNNING, UNKNOWN = Verdict.SUCCEEDED, Verdict.FAILED, Verdict.RUNNING, Verdict.UNKNOWN


def verdict(rules: dict[str, Any], *answer: Any, **more: Any) -> Verdict | None:
    validation = ResponseValidation.parse(rules).compiled()
    again = ResponseValidation.parse(validation.to_dict()).verdict(reading(*answer, **more))
    assert again == validation.verdict(reading(*answer, **more))
    return again


@pytest.mark.parametrize(
    ("condition", "body", "holds"),
    [
        ({"$.status": "ok"}, {"status": "ok"}, True),
        ({"$.status": "ok"}, {"status": "OK"}, True),
        ({"$.status": "in_progress"}, {"status": "In Progress"}, True),
        ({"$.status": "ok"}, {"status": "not ok"}, False),
        ({"$.status": "ok"}, {"status": "oka"}, False),
        ({"$.status": "ok"}, {}, False),
        ({"$.status": "ok"}, {"status": None}, False),
        ({"$.status": "ok"}, {"status": ["ok"]}, False),
        ({"$.status": "ok"}, {"status": {"ok": 1}}, False),
        ({"$.status": ["ok", "done"]}, {"status": "Done"}, True),
        ({"$.status": ["ok", "done"]}, {"status": "failed"}, False),
        ({"$.code": 0}, {"code": 0}, True),
        ({"$.code": 0}, {"code": 0.0}, True),
        ({"$.code": 0}, {"code": "0"}, True),
        ({"$.code": "0"}, {"code": 0}, True),
        ({"$.code": 0}, {"code": False}, False),
        ({"$.code": 0}, {"code": None}, False),
        ({"$.code": 0}, {"code": ""}, False),
        ({"$.code": 9007199254740993}, {"code": 9007199254740992}, False),
        ({"$.ok": True}, {"ok": True}, True),
        ({"$.ok": True}, {"ok": "True"}, True),
        ({"$.ok": "true"}, {"ok": True}, True),
        ({"$.ok": True}, {"ok": 1}, False),
        ({"$.error": None}, {"error": None}, True),
        ({"$.error": None}, {}, False),
        ({"$.error": None}, {"error": ""}, False),
        ({"$.error": {"absent": True}}, {}, True),
        ({"$.error": {"absent": True}}, {"error": None}, False),
        ({"$.error": ""}, {"error": ""}, True),
        ({"$.error": ""}, {"error": "-"}, False),
        ({"$.percent": {"min": 100}}, {"percent": 100}, True),
        ({"$.percent": {"min": 100}}, {"percent": 99.9}, False),
        ({"$.percent": {"min": 100}}, {}, False),
        ({"status_code": 200}, None, True),
        ({"status_code": ["2xx", 304]}, HTML, True),
        ({"status_code": 201}, None, False),
        ({"$.status_code": 7}, {"status_code": 7}, True),
        ({"status_code": "2xx", "$.code": 0}, {"code": 0}, True),
        ({"status_code": "2xx", "$.code": 0}, {"code": 1}, False),
        ({"status_code": "4xx", "$.code": 0}, {"code": 0}, False),
        ([{"$.a": 1}, {"$.b": 2}], {"b": 2}, True),
        ([{"$.a": 1}, {"$.b": 2}], {"a": 2, "b": 1}, False),
        ([{"$.a": 1, "$.b": 2}], {"a": 1}, False),
        ({"headers.X-State": "done"}, None, True),
        ({"headers.X-State": "failed"}, None, False),
        ({"$.status": "ok"}, HTML, False),
        ({"$.status": "ok"}, None, False),
    ],
)
def test_a_condition(condition: Any, body: Any, holds: bool) -> None:
    headers = {"X-State": "Done"}
    assert verdict({"success_when": condition}, 200, body, headers) is (SUCCEEDED if holds else UNKNOWN)
    assert verdict({"failure_when": condition}, 200, body, headers) is (FAILED if holds else None)
    assert verdict({"running_when": condition}, 200, body, headers) is (RUNNING if holds else None)


def test_failure_goes_before_running_before_success() -> None:
    rules = {
        "success_when": {"status_code": "2xx"},
        "running_when": {"$.status": "running"},
        "failure_when": {"$.error": {"type": "object"}},
    }
    assert verdict(rules, 200, {}) is SUCCEEDED
    assert verdict(rules, 200, {"status": "running"}) is RUNNING
    assert verdict(rules, 200, {"status": "running", "error": {}}) is FAILED
    assert verdict(rules, 500, {}) is UNKNOWN
    assert verdict({"expected_status_code": 200}, 200, {}) is None


def test_every_item_for_success_one_for_failure() -> None:
    rules = {"success_when": {"$.items[*].state": "done"}, "failure_when": {"$.items[*].state": "failed"}}
    assert verdict(rules, 200, {"items": [{"state": "done"}, {"state": "done"}]}) is SUCCEEDED
    assert verdict(rules, 200, {"items": [{"state": "done"}]}) is SUCCEEDED
    assert verdict(rules, 200, {"items": [{"state": "done"}, {"state": "queued"}]}) is UNKNOWN
    assert verdict(rules, 200, {"items": [{"state": "done"}, {"state": "failed"}]}) is FAILED
    assert verdict(rules, 200, {"items": []}) is UNKNOWN


def test_what_they_break() -> None:
    rules = {
        "success_when": [{"$.status": "ok", "status_code": 200}, {"$.status": "done"}],
        "failure_when": {"$.error": {"absent": False, "type": "string"}},
        "running_when": {"$.status": "queued"},
    }
    assert violations(rules, 200, {"status": "ok"}) == []
    [found] = violations(rules, 200, {"status": "odd"})
    assert (found.rule, found.path, found.expected) == (
        "success_when", "$.status and status_code", "an answer that means success"
    )  # fmt: skip
    assert found.found == '$.status "odd", status_code 200'
    [found] = violations(rules, 200, {"status": "ok", "error": "disk full"})
    assert (found.rule, found.found) == ("failure_when", '$.error "disk full"')
    [found] = violations(rules, 200, {"status": "queued"})
    assert (found.rule, found.expected) == ("running_when", "an answer that is the last one")


def test_an_error_page_says_both() -> None:
    rules = {"success_when": {"$.status": "ok"}, "failure_when": {"status_code": "5xx"}}
    assert broken(rules, 502, HTML) == [
        ("expected_status_code", "status_code"),
        ("json", "$"),
        ("failure_when", "status_code"),
    ]
