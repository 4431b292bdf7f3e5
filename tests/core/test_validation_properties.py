"""Any answer, any rules: what holds all the same."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.errors import ResponseValidationError, error_from_dict
from airflow_provider_apitask.core.json_values import exact, json_type, same
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.status import Verdict
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.core.violations import MOST

from .helpers import HTML
from .test_validation import SECRET, reading

_NAMES = st.sampled_from(["status", "data", "items", "id", "token", "a-b", "n", "$ref", "", "headers"])
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(
        ["ok", "OK", SECRET, f"it was {SECRET}", "2026-01-01", "\ud800", "\n", 1e308, 5e-324, 10**400]
    ),
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)
_BODIES = st.one_of(
    _JSON.map(lambda document: json.dumps(document).encode()),
    _JSON.map(lambda document: json.dumps(document).encode()),
    st.binary(max_size=12),
    st.sampled_from(
        [
            *(b"", HTML, b"null", b"{", b"NaN", b"1e400", b"[" * 3000, b"[" * 900 + b"]" * 900),
            b'{"a":' * 900 + b"1" + b"}" * 900,
        ]
    ),
)  # fmt: skip
_PATHS = st.sampled_from(
    [
        *("status", "$.status", "data.id", "$", "$.items[*].id", "$..id", "items[0]", "$.items[?(@.n>1)]"),
        *(
            "$['a-b']",
            "token",
            "headers.X-A",
            "headers.Location",
            "$.items[?(@.id==2)].status",
            "$.*",
            "n[-1]",
        ),
    ]
)
_CHECKS = st.fixed_dictionaries(
    {"optional": st.booleans()},
    optional={
        "type": st.sampled_from(["str", "number", ["integer", "null"], "array", "object"]),
        "value": _JSON,
        "one_of": st.lists(_LEAVES, min_size=1, max_size=3),
        "pattern": st.sampled_from(["^o", "[0-9]+$", "(a|b)*c", SECRET]),
        "min": st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.just("2.5")),
        "max": st.one_of(st.integers(), st.decimals(allow_nan=False, allow_infinity=False)),
        "min_length": st.integers(0, 5),
        "max_length": st.integers(0, 5),
        "length": st.integers(0, 5),
    },
)
_CODES = st.lists(st.sampled_from([200, "404", "2xx", "500-503"]), min_size=1, max_size=2)
_CONDITION = st.dictionaries(
    _PATHS, st.one_of(_LEAVES, st.lists(_LEAVES, min_size=1, max_size=2), _CHECKS), min_size=1, max_size=2
)
_WHEN = st.one_of(
    _CONDITION, st.lists(_CONDITION, min_size=1, max_size=2), st.builds(dict, status_code=_CODES)
)
_SCHEMAS = st.sampled_from(
    [
        {"type": "object", "required": ["status", "data"], "additionalProperties": False},
        {"$ref": "#/$defs/x", "$defs": {"x": {"items": {"$ref": "#/$defs/x"}, "maxProperties": 1}}},
        {"anyOf": [{"type": "string"}, {"minimum": 5, "multipleOf": 0.01}], "not": {"type": "null"}},
        {"properties": {"items": {"uniqueItems": True, "minItems": 2, "contains": {"format": "date"}}}},
        {"unevaluatedProperties": False, "patternProperties": {"^[a-z]": True}},
        {"propertyNames": {"maxLength": 3, "not": {"const": SECRET}}},
        {"additionalProperties": {"$ref": "#"}, "items": {"$ref": "#"}, "enum": [1, "ok", [], {}]},
        {"if": {"type": "array"}, "then": {"maxItems": 1}, "else": False},
    ]
)  # fmt: skip
_RULES = st.fixed_dictionaries(
    {},
    optional={
        "expected_status_code": _CODES,
        "required_fields": st.lists(_PATHS, max_size=3),
        "field_checks": st.dictionaries(_PATHS, _CHECKS, max_size=3),
        "json_schema": _SCHEMAS,
        "success_when": _WHEN,
        "failure_when": _WHEN,
        "running_when": _WHEN,
    },
)
_HEADERS = st.fixed_dictionaries(
    {}, optional={"X-A": st.sampled_from(["1", "ok", SECRET]), "Location": st.sampled_from(["/a", "?b", ""])}
)
_TYPES = st.sampled_from(["application/json", "text/html", "text/plain; charset=utf-16", None])


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    rules=_RULES, code=st.sampled_from([200, 204, 404, 503, 999]), body=_BODIES, headers=_HEADERS, kind=_TYPES
)
def test_any_answer(
    rules: dict[str, Any], code: int, body: bytes, headers: dict[str, str], kind: Any
) -> None:
    validation = ResponseValidation.parse(rules).compiled()
    answer = reading(code, body, headers, content_type=kind)
    found = validation.check(answer)
    again = ResponseValidation.parse(validation.to_dict())
    assert again.check(answer) == found
    assert len(found) <= MOST + 1
    assert validation.accepts(code) or found[0].rule == "expected_status_code"
    verdict = validation.verdict(answer)
    rules_found = {item.rule for item in found}
    assert (verdict is Verdict.FAILED) == ("failure_when" in rules_found)
    assert (verdict is Verdict.RUNNING) == ("running_when" in rules_found)
    assert (verdict is Verdict.UNKNOWN) == ("success_when" in rules_found)
    if not found:
        return
    with pytest.raises(ResponseValidationError) as caught:
        validation.require(answer)
    error = caught.value
    text = json.dumps(error.to_dict()).encode().decode()
    assert SECRET not in text
    assert len(error.message) < 2000
    assert error.redacted(Redactor([SECRET])).message == error.message
    assert error_from_dict(json.loads(text)).data["violations"] == error.data["violations"]
    for item in found:
        assert all((item.rule, item.path, item.expected, item.found))


#: Rules that a 5 meets, and how many of them each other value breaks.
_FIVE = {"value": 5, "one_of": [5, 6], "min": 5, "max": 5}


@given(
    st.lists(
        st.tuples(st.sampled_from(["good", "missing", "type", "value", "all"]), st.booleans()), max_size=20
    )
)
def test_as_many_violations_as_there_are_wrong_things(fields: list[tuple[str, bool]]) -> None:
    document: dict[str, Any] = {}
    checks, properties = {}, {}
    wrong = 0
    for number, (kind, by_schema) in enumerate(fields):
        name = f"field{number}"
        if by_schema:
            properties[name] = {"type": "integer", "enum": [5], "minimum": 5, "maximum": 5.5}
        else:
            checks[f"$.{name}"] = {"type": "integer", **_FIVE}
        if kind != "missing":
            document[name] = {"good": 5, "type": "5", "value": 6, "all": 4}[kind]
        wrong += {
            "good": 0,
            "missing": 1,
            # A value of another type is told as that; by a schema, that it is none of the values too.
            "type": 2 if by_schema else 1,
            # No 5, and more than 5 (the schema says 5.5).
            "value": 2,
            # Less than 5; of the check, neither 5 nor one of 5 and 6 too.
            "all": 2 if by_schema else 3,
        }[kind]
    rules = {"field_checks": checks, "json_schema": {"properties": properties, "required": list(properties)}}
    found = ResponseValidation.parse(rules).check(reading(200, document))
    assert len(found) == wrong
    assert len({(item.rule, item.path, item.expected) for item in found}) == wrong, "each is told once"


@given(_JSON)
def test_a_value_is_the_same_after_json(value: Any) -> None:
    assert same(value, json.loads(json.dumps(value)))
    assert same([value], [value])
    assert not same([value], value)
    assert not same({"a": value}, {"a": value, "b": value})


@given(st.integers(-(10**30), 10**30), st.integers(-12, 12))
def test_numbers_are_their_digits(digits: int, places: int) -> None:
    written = Decimal(digits).scaleb(places)
    read = json.loads(format(written, "f"))
    # Of what a float cannot hold, the digits are gone once the JSON is read.
    if isinstance(read, int) or len(str(abs(digits)).rstrip("0")) <= 15:
        assert exact(read) == written
        assert same(written, read)
        assert (json_type(read) == "integer") == (written == written.to_integral_value())
        assert not same(written + Decimal("1e-20"), read) or written + Decimal("1e-20") == written
