"""response_validation: each rule, met and broken."""

from __future__ import annotations

import ast
import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.errors import ParameterError, ResponseValidationError, error_from_dict
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.json_values import json_type
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.core.violations import MOST, Violation

from .helpers import BASE, HTML, make_response

SECRET = "hunter2-hunter2"
ASKED = Request(Purpose.SUBMIT, "GET", f"{BASE}/data")

#: What the answers below have, a value of every kind.
DOCUMENT = {
    "status": "success",
    "data": {"n": 5, "ratio": 0.1, "big": 9007199254740993, "whole": 1.0, "task-id": "T-1"},
    "items": [{"id": 1, "state": "done"}, {"id": 2, "state": "done"}],
    "none": None,
    "yes": True,
    "empty": "",
}


def reading(status: int = 200, body: Any = None, headers: Any = None, **more: Any) -> Reading:
    redactor = Redactor([SECRET])
    return Reading(ASKED, make_response(status, body, headers, **more), redactor.text)


def violations(rules: dict[str, Any], *answer: Any, **more: Any) -> list[Violation]:
    validation = ResponseValidation.parse(rules).compiled()
    again = ResponseValidation.parse(json.loads(json.dumps(validation.to_dict(), default=float)))
    found = validation.check(reading(*answer, **more))
    if "Decimal" not in repr(rules):
        assert again.compiled().check(reading(*answer, **more)) == found, "templates change no rule"
    return found


def broken(rules: dict[str, Any], *answer: Any, **more: Any) -> list[tuple[str, str]]:
    return [(found.rule, found.path) for found in violations(rules, *answer, **more)]


# -- as the Qarion page writes it ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "good", "bad", "rules_broken"),
    [
        (
            {
                "expected_status_code": 200,
                "required_fields": ["data", "status"],
                "field_checks": {"status": {"type": "str", "value": "success"}},
            },
            (200, {"data": [], "status": "success"}),
            (201, {"status": "Success"}),
            ["expected_status_code", "required_fields", "field_checks.value"],
        ),
        (
            {"expected_status_code": [200, 201], "required_fields": ["data", "timestamp"]},
            (201, {"data": 1, "timestamp": None}),
            (202, {}),
            ["expected_status_code", "required_fields", "required_fields"],
        ),
        (
            {"expected_status_code": 200, "required_fields": ["success", "data"]},
            (200, {"success": False, "data": {}}),
            (200, [1]),
            ["required_fields", "required_fields"],
        ),
        ({"expected_status_code": 200}, (200, None), (404, {"detail": "no"}), ["expected_status_code"]),
        ({}, (204, None), (400, None), ["expected_status_code"]),
    ],
)
def test_the_forms_of_the_products(
    rules: dict[str, Any], good: Any, bad: Any, rules_broken: list[str]
) -> None:
    assert violations(rules, *good) == []
    assert [found.rule for found in violations(rules, *bad)] == rules_broken


# -- expected_status_code ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "good", "bad"),
    [
        (None, [200, 204, 299], [199, 301, 404, 500]),
        (404, [404], [200, 403, 405]),
        ("404", [404], [200]),
        ("2xx", [200, 299], [300, 199]),
        ("5XX", [500, 599], [499]),
        ("200-204", [200, 202, 204], [199, 205]),
        ([200, "4xx", "500 - 503"], [200, 400, 499, 500, 503], [201, 399, 504]),
        ({"201", 200}, [200, 201], [202]),
    ],
)
def test_expected_status_code(codes: Any, good: list[int], bad: list[int]) -> None:
    validation = ResponseValidation(expected_status_code=codes)
    assert all(validation.accepts(code) for code in good)
    assert not any(validation.accepts(code) for code in bad)
    assert validation.check(reading(good[0])) == []
    [found] = validation.check(reading(bad[0]))
    assert (found.rule, found.path, found.found) == (
        "expected_status_code", "status_code", str(bad[0])
    )  # fmt: skip


def test_codes_in_words() -> None:
    [found] = violations({"expected_status_code": [200, "4xx", "500-503"]}, 201)
    assert found.expected == "200, 4xx or 500-503"


# -- required_fields -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["status", "$.data.n", "data.task-id", "$.data['task-id']", "items[0].id", "$.items[*].id", "none",
     "empty", "$", "items[-1]", "$.items[?(@.id==2)].state", "headers.X-Rate", "headers.x-rate"],
)  # fmt: skip
def test_a_required_field_that_is_there(path: str) -> None:
    assert broken({"required_fields": [path]}, 200, DOCUMENT, {"X-Rate": "1"}) == []
    assert broken({"required_fields": path}, 200, DOCUMENT, {"X-Rate": "1"}) == [], "one alone"


@pytest.mark.parametrize(
    "path",
    ["Status", "$.data.m", "items[2]", "items.id", "$.items[?(@.id==3)]", "$.items[*].no",
     "status.x", "headers.X-No"],
)  # fmt: skip
def test_a_required_field_that_is_not_there(path: str) -> None:
    assert broken({"required_fields": ["status", path]}, 200, DOCUMENT) == [("required_fields", path)]


def test_a_field_is_missing_once() -> None:
    rules = {"required_fields": ["x", "x"], "field_checks": {"x": {"type": "string", "min": 1}}}
    assert broken(rules, 200, {}) == [("required_fields", "x")]


# -- field_checks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("status", {"type": "string"}),
        ("status", {"type": "str"}),
        ("status", {"type": str}),
        ("status", {"type": ["null", "string"]}),
        ("data.n", {"type": "integer"}),
        ("data.n", {"type": "number"}),
        ("data.n", {"type": "int"}),
        ("data.whole", {"type": "integer"}),
        ("data.ratio", {"type": "float"}),
        ("yes", {"type": "boolean"}),
        ("yes", {"type": "bool"}),
        ("none", {"type": "null"}),
        ("none", {"type": ["string", None]}),
        ("data", {"type": "object"}),
        ("data", {"type": "dict"}),
        ("items", {"type": "array"}),
        ("items", {"type": "LIST"}),
        ("status", {"value": "success"}),
        ("status", {"equals": "success"}),
        ("none", {"value": None}),
        ("yes", {"value": True}),
        ("data.n", {"value": 5}),
        ("data.n", {"value": 5.0}),
        ("data.whole", {"value": 1}),
        ("data.ratio", {"value": 0.1}),
        ("data.ratio", {"value": Decimal("0.1")}),
        ("data.ratio", {"value": Decimal("0.10")}),
        ("data.big", {"value": 9007199254740993}),
        ("items", {"value": [{"id": 1.0, "state": "done"}, {"state": "done", "id": 2}]}),
        ("status", {"one_of": ["ok", "success"]}),
        ("status", {"in": ["ok", "success"]}),
        ("status", {"one_of": {"ok", "success"}}),
        ("none", {"one_of": [1, None]}),
        ("status", {"pattern": "^succ"}),
        ("status", {"pattern": "cces"}),
        ("data.n", {"min": 5, "max": 5}),
        ("data.n", {"min": "4.5", "max": Decimal("5.5")}),
        ("data.ratio", {"min": Decimal("0.1"), "max": 0.1}),
        ("data.big", {"min": 9007199254740993}),
        ("status", {"length": 7}),
        ("status", {"min_length": 7, "max_length": "7"}),
        ("items", {"length": 2}),
        ("data", {"min_length": 5}),
        ("empty", {"length": 0}),
        ("no", {"absent": True}),
        ("no", {"optional": True, "type": "string"}),
        ("none", {"optional": False}),
        ("status", {"optional": True, "type": "string"}),
        ("$.items[*].id", {"type": "integer"}),
        ("$.items[*].state", {"value": "done"}),
        ("items[*]", {"absent": True}),
        ("headers.X-Rate", {"pattern": "^[0-9]+$"}),
    ],
)
def test_a_field_as_it_must_be(path: str, check: Any) -> None:
    path = path.replace("items[*]", "$.nothing[*]") if path == "items[*]" else path
    assert violations({"field_checks": {path: check}}, 200, DOCUMENT, {"X-Rate": "100"}) == []


@pytest.mark.parametrize(
    ("path", "check", "rule", "expected", "found"),
    [
        ("status", {"type": "integer"}, "type", "a value of type integer", '"success"'),
        ("yes", {"type": "integer"}, "type", "a value of type integer", "true"),
        ("yes", {"type": "number"}, "type", "a value of type number", "true"),
        ("data.ratio", {"type": "int"}, "type", "a value of type integer", "0.1"),
        ("data.n", {"type": ["str", "null"]}, "type", "a value of type string or null", "5"),
        ("none", {"type": "str"}, "type", "a value of type string", "null"),
        (
            "items",
            {"type": "object"},
            "type",
            "a value of type object",
            '[{"id": 1, "state": "done"}, {"id": 2, "state": "done"}]',
        ),
        ("status", {"value": "SUCCESS"}, "value", '"SUCCESS"', '"success"'),
        ("none", {"value": "null"}, "value", '"null"', "null"),
        ("none", {"value": False}, "value", "false", "null"),
        ("yes", {"value": 1}, "value", "1", "true"),
        ("data.n", {"value": "5"}, "value", '"5"', "5"),
        ("data.whole", {"value": True}, "value", "true", "1.0"),
        ("data.big", {"value": 9007199254740992}, "value", "9007199254740992", "9007199254740993"),
        ("data.big", {"value": 9007199254740992.0}, "value", "9007199254740992.0", "9007199254740993"),
        ("data.ratio", {"value": 0.10000000000000002}, "value", "0.10000000000000002", "0.1"),
        (
            "items[0]",
            {"value": {"id": True, "state": "done"}},
            "value",
            '{"id": true, "state": "done"}',
            '{"id": 1, "state": "done"}',
        ),
        ("status", {"one_of": ["ok", 1]}, "one_of", 'one of ["ok", 1]', '"success"'),
        (
            "status",
            {"pattern": "^uccess"},
            "pattern",
            'a text with a match of the pattern "^uccess"',
            '"success"',
        ),
        ("data.n", {"pattern": "5"}, "pattern", 'a text with a match of the pattern "5"', "5"),
        ("data.n", {"min": 6}, "min", "a number of at least 6", "5"),
        ("data.n", {"max": "4.5"}, "max", "a number of at most 4.5", "5"),
        (
            "data.big",
            {"max": 9007199254740992},
            "max",
            "a number of at most 9007199254740992",
            "9007199254740993",
        ),
        (
            "data.ratio",
            {"min": Decimal("0.1000000000000000001")},
            "min",
            "a number of at least 0.1000000000000000001",
            "0.1",
        ),
        ("status", {"min": 0}, "min", "a number of at least 0", '"success"'),
        ("yes", {"max": 3}, "max", "a number of at most 3", "true"),
        ("status", {"min_length": 8}, "min_length", "at least 8 characters or items", '"success"'),
        ("status", {"max_length": 6}, "max_length", "at most 6 characters or items", '"success"'),
        (
            "items",
            {"length": 3},
            "length",
            "exactly 3 characters or items",
            '[{"id": 1, "state": "done"}, {"id": 2, "state": "done"}]',
        ),
        ("data.n", {"length": 1}, "length", "exactly 1 characters or items", "5"),
        ("no", {"value": None}, "required", "a value", "nothing"),
        ("no", {"optional": False}, "required", "a value", "nothing"),
        ("status", {"absent": True}, "absent", "nothing", '"success"'),
        ("status", {"optional": True, "type": "null"}, "type", "a value of type null", '"success"'),
        ("headers.X-Rate", {"value": 100}, "value", "100", '"100"'),
    ],
)
def test_a_field_as_it_must_not_be(path: str, check: Any, rule: str, expected: str, found: str) -> None:
    assert violations({"field_checks": {path: check}}, 200, DOCUMENT, {"X-Rate": "100"}) == [
        Violation(f"field_checks.{rule}", path, expected, found)
    ]


def test_each_value_of_a_path_is_checked() -> None:
    document = {"items": [{"id": 1}, {"id": "2"}, {"id": 3}, {"id": None}]}
    rules = {"field_checks": {"$.items[*].id": {"type": "integer", "max": 2}}}
    assert broken(rules, 200, document) == [
        ("field_checks.type", "$.items[*].id (match 2 of 4)"),
        ("field_checks.max", "$.items[*].id (match 3 of 4)"),
        ("field_checks.type", "$.items[*].id (match 4 of 4)"),
    ]
    assert broken(rules, 200, {"items": [{"id": "x"}]}) == [("field_checks.type", "$.items[*].id")]
    assert broken({"field_checks": {"$.a[*]": {"length": 2}}}, 200, {"a": [[1, 2], [3]]}) == [
        ("field_checks.length", "$.a[*] (match 2 of 2)")
    ], "a match that is a list is one value"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1e28, "integer"),
        (1e308, "integer"),
        (10**400, "integer"),
        (-0.0, "integer"),
        (5e-324, "number"),
        (0.5, "number"),
    ],
)
def test_numbers_of_any_size_have_a_type(number: float, kind: str) -> None:
    assert json_type(number) == kind
    assert violations({"field_checks": {"n": {"type": "number", "value": number}}}, 200, {"n": number}) == []


def test_all_rules_of_a_field_are_told() -> None:
    check = {"value": "a", "one_of": ["b"], "pattern": "c", "min": 1, "max": 2, "min_length": 9, "length": 8}
    found = broken({"field_checks": {"x": check}}, 200, {"x": "zz"})
    names = ("value", "one_of", "pattern", "min", "max", "min_length", "length")
    assert found == [(f"field_checks.{name}", "x") for name in names]


# -- what is no JSON -----------------------------------------------------------------------------

_ASKS_FOR_JSON = [
    {"required_fields": ["a", "b"]},
    {"field_checks": {"a": {"type": "string"}}},
    {"json_schema": {"type": "object"}},
    {"required_fields": ["$"]},
]


@pytest.mark.parametrize("rules", _ASKS_FOR_JSON)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "the body is empty"),
        (b"  \n", "the body is empty"),
        (b"{", "begins '{'"),
        (b"[NaN]", "begins '[NaN]'"),
        (b'{"a": 1e4400}', "1e4400"),
        (HTML, "a login page"),
    ],
)
def test_no_json_is_told_once(rules: dict[str, Any], body: Any, words: str) -> None:
    [found] = violations(rules, 200, body, content_type="text/html" if body is HTML else "application/json")
    assert (found.rule, found.path, found.expected) == ("json", "$", "JSON")
    assert words in found.found


def test_what_needs_no_body_is_checked_without_one() -> None:
    rules = {"required_fields": ["headers.X-No", "headers.X-Rate"], "expected_status_code": 204}
    assert broken(rules, 200, None, {"X-Rate": "1"}) == [
        ("expected_status_code", "status_code"),
        ("required_fields", "headers.X-No"),
    ]


def test_null_is_json() -> None:
    assert violations({"field_checks": {"$": {"type": "null"}}}, 200, b"null") == []


def test_json_under_any_media_type() -> None:
    assert violations({"required_fields": ["a"]}, 200, b'{"a": 1}', content_type="text/plain") == []


# -- all at once, for a person and for a program -------------------------------------------------


def test_the_error() -> None:
    rules = {"expected_status_code": 200, "required_fields": ["data"], "field_checks": {"n": {"min": 2}}}
    validation = ResponseValidation.parse(rules)
    validation.require(reading(200, {"data": 1, "n": 2}))
    with pytest.raises(ResponseValidationError) as caught:
        validation.require(reading(503, {"n": 1}))
    assert caught.value.message == (
        f"GET {BASE}/data answered 503 Service Unavailable, and breaks 3 rules of response_validation:\n"
        "1. expected_status_code: at status_code expected 200, found 503\n"
        "2. required_fields: at data expected a value, found nothing\n"
        "3. field_checks.min: at n expected a number of at least 2, found 1"
    )
    assert caught.value.data["violations"][1] == {
        "rule": "required_fields", "path": "data", "expected": "a value", "found": "nothing",
    }  # fmt: skip
    assert caught.value.data["status_code"] == 503
    again = error_from_dict(json.loads(json.dumps(caught.value.to_dict())))
    assert type(again) is ResponseValidationError
    assert again.data == caught.value.data
    assert again.retryable


def test_a_long_list_is_cut_in_the_message_alone() -> None:
    rules = {"required_fields": [f"field_{number}" for number in range(60)]}
    with pytest.raises(ResponseValidationError) as caught:
        ResponseValidation.parse(rules).require(reading(200, {}))
    assert len(caught.value.data["violations"]) == 60
    lines = caught.value.message.splitlines()
    assert lines[-1] == f"… and {60 - len(lines[1:-1])} more, in the violations of this error."
    assert len(caught.value.message) < 2000
    assert caught.value.redacted(Redactor()).message == caught.value.message


def test_a_million_violations_are_a_hundred_and_one() -> None:
    answer = reading(200, {"a": [0] * 50_000})
    for rules in (
        {"field_checks": {"$.a[*]": {"min": 1}}},
        {"json_schema": {"properties": {"a": {"items": {"minimum": 1}}}}},
    ):
        found = ResponseValidation.parse(rules).check(answer)
        assert len(found) == MOST + 1
        assert found[-1].rule == "all rules"


def test_secrets_are_not_quoted() -> None:
    document = {
        "echo": f"it was {SECRET}", "token": "abc", "nested": {"api_key": "xyz", "n": f"{'a' * 150}{SECRET}"},
        "code": "E1", SECRET: 1,
    }  # fmt: skip
    rules = {
        "field_checks": {
            **{path: {"value": f"not {SECRET}"} for path in ("echo", "nested", "nested.n", "nested.api_key")},
            "token": {"pattern": "^x"},
            "code": {"value": "E2"},
        },
        "json_schema": {
            "additionalProperties": False,
            "properties": {
                **{name: {"const": SECRET} for name in ("echo", "token", "code")},
                "nested": {"required": ["no"]},
            },
        },
        "success_when": {"token": "no", "echo": "no"},
    }
    found = violations(rules, 200, document)
    assert len(found) == 12
    text = json.dumps([item.to_dict() for item in found])
    for secret in (SECRET, "hunter2", '"abc', "xyz"):
        assert secret not in text
    assert '"E1' in "".join(item.found for item in found), "an error code is no secret"


def test_what_is_found_is_short() -> None:
    document = {"a": ["x" * 50] * 1000, "b": "y" * 100_000, "c": "\ud800"}
    checks = {path: {"type": "null"} for path in document}
    for found in violations({"field_checks": checks}, 200, document):
        assert len(found.found) < 200
        found.found.encode()


# -- what an author writes wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ("200", "response_validation must be a ResponseValidation or a dict, not str"),
        ({"expected_code": 200}, "no field 'expected_code'; allowed are expected_status_code"),
        ({"expected_status_code": 99}, "expected_status_code must be HTTP codes"),
        ({"expected_status_code": True}, "expected_status_code must be HTTP codes"),
        ({"expected_status_code": "6xx"}, "expected_status_code"),
        ({"expected_status_code": "204-200"}, "expected_status_code"),
        ({"expected_status_code": "²00"}, "expected_status_code"),
        ({"expected_status_code": []}, "expected_status_code"),
        ({"expected_status_code": [200, None]}, "expected_status_code"),
        ({"required_fields": [""]}, "required_fields"),
        ({"required_fields": [5]}, "required_fields"),
        ({"required_fields": {"a": 1}}, "required_fields"),
        ({"required_fields": ["$.a["]}, "required_fields"),
        ({"field_checks": ["a"]}, "field_checks must be a dict"),
        (
            {"field_checks": {"a": "ok"}},
            r"field_checks\['a'\] must be a dict of rules such as {'value': 'ok'}",
        ),
        ({"field_checks": {"a..b": {"min": 1}}}, r"field_checks\['a..b'\]"),
        ({"field_checks": {"a": {}}}, "has no rule"),
        ({"field_checks": {"a": {"type": None}}}, "has no rule"),
        ({"field_checks": {"a": {"kind": "str"}}}, "no field 'kind'; allowed are absent, equals, in"),
        (
            {"field_checks": {"a": {"type": "text"}}},
            r"field_checks\['a'\].type must be one of string, number",
        ),
        ({"field_checks": {"a": {"type": []}}}, "type must be one of"),
        ({"field_checks": {"a": {"type": [str, 5]}}}, "type must be one of"),
        ({"field_checks": {"a": {"type": bytes}}}, "type must be one of"),
        ({"field_checks": {"a": {"value": 1, "equals": 1}}}, "has 'value' twice"),
        ({"field_checks": {"a": {"one_of": "ok"}}}, "one_of must be a list"),
        ({"field_checks": {"a": {"in": []}}}, r"\.in must be a list"),
        ({"field_checks": {"a": {"pattern": "("}}}, "pattern must be a regular expression"),
        ({"field_checks": {"a": {"pattern": 5}}}, "pattern must be"),
        ({"field_checks": {"a": {"pattern": b"a"}}}, "pattern must be"),
        ({"field_checks": {"a": {"min": "low"}}}, "min must be a number, not 'low'"),
        ({"field_checks": {"a": {"min": True}}}, "min must be a number"),
        ({"field_checks": {"a": {"max": float("inf")}}}, "max must be a number"),
        ({"field_checks": {"a": {"max": Decimal("nan")}}}, "max must be a number"),
        ({"field_checks": {"a": {"length": -1}}}, "length must be a whole number"),
        ({"field_checks": {"a": {"min_length": 1.5}}}, "min_length must be a whole number"),
        ({"field_checks": {"a": {"absent": "yes"}}}, "absent must be True or False"),
        ({"field_checks": {"a": {"absent": True, "min": 1}}}, "can have no other rule"),
        ({"json_schema": []}, "json_schema must be a dict"),
        ({"success_when": "ok"}, "success_when must be a dict"),
        ({"success_when": {}}, "success_when must be a dict"),
        ({"failure_when": []}, "failure_when must be a dict"),
        ({"running_when": [{"a": 1}, {}]}, r"running_when\[1\] must be a dict"),
        ({"success_when": {"status_code": "ok"}}, r"success_when\['status_code'\] must be HTTP codes"),
        ({"success_when": {"status_code": None}}, r"success_when\['status_code'\] must name"),
        ({"success_when": {"$.a": []}}, r"success_when\['\$.a'\] must name a value"),
        ({"success_when": {"$.a": [[1]]}}, r"success_when\['\$.a'\] must be a value"),
        ({"success_when": {"$.a": {"mni": 1}}}, "no field 'mni'"),
        ({"success_when": {"a[": 1}}, "success_when"),
    ],
)
def test_wrong_rules(rules: Any, names: str) -> None:
    with pytest.raises(ParameterError, match=names) as caught:
        ResponseValidation.parse(rules)
    assert caught.value.data["parameter"].startswith("response_validation")
    with pytest.raises(ParameterError, match=r"^pagination\.rules"):
        ResponseValidation.parse(rules, "pagination.rules")


def test_a_wrong_path_is_found_before_anything_is_sent() -> None:
    for rules in (
        {"required_fields": ["$.a[?(@]"]},
        {"field_checks": {"$.a[?(@.b=)]": {"min": 1}}},
        {"success_when": {"$.a[?]": 1}},
    ):
        with pytest.raises(ParameterError, match=f"response_validation.{next(iter(rules))}"):
            ResponseValidation.parse(rules).compiled()


def test_templates_wait_for_the_task() -> None:
    rules = {
        "expected_status_code": "{{ params.codes }}",
        "required_fields": ["{{ params.field }}", "a"],
        "field_checks": {
            "{{ params.field }}": {
                "value": "{{ ds }}",
                "type": "{{ params.type }}",
                "min": "{{ params.low }}",
            }
        },
        "json_schema": "{{ params.schema }}",
        "success_when": [{"{{ params.field }}": "{{ params.word }}"}, "{{ params.condition }}"],
        "failure_when": {"status_code": ["{{ params.code }}", 500]},
    }
    written = ResponseValidation.as_template(rules)
    assert written["expected_status_code"] == "{{ params.codes }}"
    assert written["field_checks"]["{{ params.field }}"]["type"] == ["{{ params.type }}"]
    assert written["success_when"][0] == {"{{ params.field }}": ["{{ params.word }}"]}
    json.dumps(written)
    assert ResponseValidation.as_template(written) == written
    assert ResponseValidation.as_template(None) is None
    assert ResponseValidation.as_template("{{ params.rules }}") == "{{ params.rules }}"
    with pytest.raises(ParameterError, match=r"expected_status_code is '\{\{ params.codes \}\}' still"):
        ResponseValidation.parse(written).compiled()


def test_rendered_texts_are_read_as_what_they_say() -> None:
    rules = {"expected_status_code": "200", "field_checks": {"n": {"min": "2", "max_length": "3"}}}
    assert broken(rules, 200, {"n": 1}) == [
        ("field_checks.min", "n"),
        ("field_checks.max_length", "n"),
    ]


def test_parsing_is_cheap_and_objects_will_do() -> None:
    validation = ResponseValidation(field_checks={"a": FieldCheck.parse({"min": 1}, "x")})
    assert ResponseValidation.parse(validation) is validation
    assert validation == ResponseValidation.parse({"field_checks": {"a": {"min": 1}}})
    assert ResponseValidation.parse(None).to_dict() == {}
    assert "airflow_provider_apitask.core.validation" in sys.modules


def test_the_examples_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "validation.md").read_text()
    blocks = re.findall(r"```python\n(response_validation = .*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        rules = ast.literal_eval(block.removeprefix("response_validation = "))
        ResponseValidation.parse(rules).compiled()
    answer = {"data": 1, "meta": {"timestamp": 0}, "status": "success", "items": [{"price": 0.5}]}
    first = ast.literal_eval(blocks[0].removeprefix("response_validation = "))
    assert violations(first, 201, answer) == []
