"""JSON Schema in response_validation, by the library's own drafts."""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.core.violations import Violation

from .test_validation import broken, reading, violations

DRAFTS = [
    *(f"http://json-schema.org/draft-0{number}/schema#" for number in (3, 4, 6, 7)),
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]


def test_all_errors_are_told() -> None:
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "n": {"type": "integer", "minimum": 5},
            "items": {"items": {"properties": {"task-id": {"pattern": "^T"}}}},
            "never": False,
        },
        "additionalProperties": False,
    }
    answer = {"a": 1, "n": 4, "items": [{"task-id": "T1"}, {"task-id": "x"}], "odd": 1, "never": 0}
    whole = '{"a": 1, "n": 4, "items": [{"task-id": "T1"}, {"task-id": "x"}], "odd": 1, "never": 0}'
    found = violations(
        {"json_schema": {**schema, "properties": {**schema["properties"], "a": True}}}, 200, answer
    )
    assert set(found) == {
        Violation("json_schema.required", "$", "the property 'b'", whole),
        Violation("json_schema.minimum", "$.n", "minimum 5", "4"),
        Violation("json_schema.pattern", '$.items[1]["task-id"]', 'pattern "^T"', '"x"'),
        # Where it is, the library does not tell.
        Violation("json_schema", "$", "nothing", "0"),
        Violation(
            "json_schema.additionalProperties", "$",
            "additionalProperties (Additional properties are not allowed ('odd' was unexpected))", whole,
        ),
    }  # fmt: skip
    assert len(found) == 5


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_draft_is_that_of_the_schema(draft: str) -> None:
    # "exclusiveMinimum" is a boolean up to draft 4, a number from 6 on.
    old = draft.split("/")[-2] in ("draft-03", "draft-04")
    bound = {"minimum": 5, "exclusiveMinimum": True} if old else {"exclusiveMinimum": 5}
    rules = {"json_schema": {"$schema": draft, **bound}}
    assert broken(rules, 200, 6) == []
    assert len(broken(rules, 200, 5)) == 1
    other = {"exclusiveMinimum": 5} if old else {"minimum": 5, "exclusiveMinimum": True}
    with pytest.raises(ParameterError, match="is no JSON Schema"):
        ResponseValidation.parse({"json_schema": {"$schema": draft, **other}}).compiled()


def test_without_a_draft_it_is_2020_12() -> None:
    rules = {"json_schema": {"prefixItems": [{"type": "string"}], "items": False}}
    assert broken(rules, 200, ["a"]) == []
    assert broken(rules, 200, [1, 2]) == [("json_schema.type", "$[0]"), ("json_schema.items", "$")]


def test_references_in_the_schema() -> None:
    schema = {
        "$id": "https://example.com/tree",
        "$defs": {
            "node": {"properties": {"kids": {"items": {"$ref": "#/$defs/node"}}, "n": {"type": "integer"}}}
        },
        "$ref": "#/$defs/node",
        "properties": {
            "meta": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
            "$ref": {"type": "string"},
        },
    }
    answer = {"kids": [{"n": 1}, {"n": "x"}], "meta": {"type": 5}}
    assert set(broken({"json_schema": schema}, 200, answer)) == {
        ("json_schema.type", "$.kids[1].n"),
        ("json_schema.anyOf", "$.meta.type"),
    }


class _Counting(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"type": "object"}')

    def log_message(self, *_: Any) -> None:
        pass


def test_a_remote_reference_is_never_fetched() -> None:
    with HTTPServer(("127.0.0.1", 0), _Counting) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/schema.json"
            for schema in (
                {"$ref": url},
                {"properties": {"a": {"items": {"$ref": url}}}},
                {"$defs": {"x": {"$id": url}}, "$ref": f"{url}#/no"},
                {"$dynamicRef": url},
            ):
                validation = ResponseValidation.parse({"json_schema": schema})
                with pytest.raises(ParameterError, match="not in it") as caught:
                    validation.compiled().check(reading(200, {"a": [1]}))
                assert url in caught.value.message
        finally:
            server.shutdown()
            thread.join()
    assert _Counting.asked == 0


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "text"}, "is no JSON Schema: at"),
        ({"minimum": "5"}, "is no JSON Schema"),
        ({"pattern": "("}, "is no JSON Schema"),
        ({"pattern": "a{99999999999999}"}, "pattern"),
        ({"$schema": "https://example.com/mine"}, "the draft 'https://example.com/mine', which is unknown"),
        ({"$schema": 5}, "names the draft 5, which is unknown"),
        ({"$schema": "http://["}, "names the draft"),
        ({"$ref": "http://["}, "URL"),
        ({"$id": "https://a/", "properties": {"a": {"$id": "http://["}}}, "URL"),
        ({"$ref": "#/$defs/no"}, "refers to '#/\\$defs/no', which is not in it"),
        ({"const": object}, "cannot be written as JSON"),
    ],
)  # fmt: skip
def test_a_wrong_schema(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words) as caught:
        ResponseValidation.parse({"json_schema": schema}).compiled()
    assert caught.value.data["parameter"] == "response_validation.json_schema"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2026-02-28", "2026-02-30"),
        ("email", "a@b", "a"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("ipv6", "::1", ":::1"),
        ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    rules = {"json_schema": {"format": name}}
    assert broken(rules, 200, good) == []
    assert broken(rules, 200, bad) == [("json_schema.format", "$")]


@pytest.mark.parametrize("name", ["date-time", "uri", "duration", "hostname", "color", "no-such"])
def test_formats_that_hang_on_what_is_installed_are_not_checked(name: str) -> None:
    assert broken({"json_schema": {"format": name}}, 200, "?") == []


@pytest.mark.parametrize(
    ("factor", "good", "bad"),
    [
        (0.01, [19.99, 0.07, 1, 1e22], [0.001, 19.995]),
        (3, [9, 9007199254740993, 0], [9007199254740994, 0.5]),
        (0.1, [0.3, 1e308], [0.35]),
    ],
)
def test_multiples_are_those_of_the_digits(factor: Any, good: list[Any], bad: list[Any]) -> None:
    for draft in DRAFTS[1:]:
        # By way of the root, too.
        schema = {"$schema": draft, "multipleOf": factor, "items": {"$ref": "#"}}
        for number in good:
            assert broken({"json_schema": schema}, 200, [number]) == [], number
        for number in bad:
            assert broken({"json_schema": schema}, 200, [number]) == [("json_schema.multipleOf", "$[0]")]


def test_numbers_are_those_of_json() -> None:
    rules = {"json_schema": {"items": {"type": "integer"}}}
    assert broken(rules, 200, [1, 1.0, 10**400]) == []
    assert len(broken(rules, 200, [True, 0.5, "1"])) == 3
    assert broken({"json_schema": {"const": 9007199254740993}}, 200, 9007199254740992) == [
        ("json_schema.const", "$")
    ]
    assert broken({"json_schema": {"enum": [1, 0]}}, 200, True) == [("json_schema.enum", "$")]


def test_no_depth_is_too_deep() -> None:
    deep = b"[" * 900 + b"]" * 900
    schema = {"items": {"$ref": "#"}}
    for rules, body in (({"json_schema": schema}, deep), ({"json_schema": {"$ref": "#"}}, b"1")):
        [found] = violations(rules, 200, body)
        assert (found.rule, found.expected) == ("json_schema", "nested less deep")


def test_the_library_is_loaded_by_a_check_alone() -> None:
    code = (
        "import sys\n"
        "from airflow_provider_apitask.core.validation import ResponseValidation\n"
        "v = ResponseValidation.parse({'json_schema': {'type': 'object'}, 'required_fields': ['a']})\n"
        "v.to_dict(); assert 'jsonschema' not in sys.modules\n"
        "v.compiled(); assert 'jsonschema' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
