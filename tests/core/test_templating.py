"""``{path}`` placeholders."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.templating import expand, expand_url, mentions, placeholders, replaced
from airflow_provider_apitask.core.urls import dot_segments

VALUES: dict[str, Any] = {
    "id": 5,
    "run-id": "a:b+c/d e",
    "$.jobs[0].id": 7,
    "flag": True,
    "none": None,
    "empty": "",
    "list": [1, "ä"],
    "self": "https://h/v1/jobs/5",
    "query": "https://h/v1/jobs/5?api-version=2",
    "rooted": "/v1/jobs/5/",
}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("/runs/{runId}/x/{$.jobs[0].id}", ["runId", "$.jobs[0].id"]),
        ("{headers.Location}", ["headers.Location"]),
        ("{task-id}", ["task-id"]),
        (r"\{no\} {yes}", ["yes"]),
        ('{"a": {"b": 1}}', []),
        ("{}{ }{1}", []),
        (
            "{/job/id} {//x:id[@n='1, 2']} {./a} {xpath:count(//a)}",
            ["/job/id", "//x:id[@n='1, 2']", "./a", "xpath:count(//a)"],
        ),
        ("{/* comment */} {/} {//} {../a} {a:b}", []),
        (r"\\{a} \d {b}", ["b"]),
        ({"{k}": ["{v}", {"x": "{w}"}], "n": 5}, ["k", "v", "w"]),
        (None, []),
    ],
)
def test_placeholders(text: Any, paths: list[str]) -> None:
    assert list(placeholders(text)) == paths


@pytest.mark.parametrize(
    ("template", "expanded"),
    [
        ("{id}", 5),
        ("{flag}", True),
        ("{none}", None),
        ("{list}", [1, "ä"]),
        ("no {id}, {flag}, {none}, {list}", 'no 5, true, null, [1,"ä"]'),
        (r"\{id\} {id}", "{id} 5"),
        ('{"a": 1}', '{"a": 1}'),
        ({"{id}": ["{id}", ("{$.jobs[0].id}",)], "n": 1.5}, {5: [5, [7]], "n": 1.5}),
        (b"{id}", b"{id}"),
        (r"\d+\\{2\} \n", r"\d+\{2} \n"),
        ({"{list}": {"deep": [{"{run-id}": "{none}"}]}}, {'[1,"ä"]': {"deep": [{"a:b+c/d e": None}]}}),
        (r"\{{id}\}", "{5}"),
    ],
)
def test_expand(template: Any, expanded: Any) -> None:
    assert expand(template, VALUES.__getitem__) == expanded


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("/runs/{run-id}/s", "/runs/a%3Ab%2Bc%2Fd%20e/s"),
        ("/x/{id}?q={flag}", "/x/5?q=true"),
        ("/x/{self}", "/x/https%3A%2F%2Fh%2Fv1%2Fjobs%2F5"),
        ("{self}", "https://h/v1/jobs/5"),
        ("{self}/result", "https://h/v1/jobs/5/result"),
        ("{self}?f=json", "https://h/v1/jobs/5?f=json"),
        ("{self}/{id}", "https://h/v1/jobs/5/5"),
        ("{query}", "https://h/v1/jobs/5?api-version=2"),
        ("{query}/result", "https://h/v1/jobs/5/result?api-version=2"),
        ("{query}/result?f=1", "https://h/v1/jobs/5/result?f=1&api-version=2"),
        ("{query}?f=1", "https://h/v1/jobs/5?api-version=2&f=1"),
        ("{rooted}", "https://h/v1/jobs/5/"),
        ("{rooted}/result", "https://h/v1/jobs/5/result"),
        ("{rooted}result", "https://h/v1/jobs/5/result"),
        ("{run-id}", "a%3Ab%2Bc%2Fd%20e"),
        (r"/a\{b\}", "/a{b}"),
    ],
)
def test_expand_url(template: str, url: str) -> None:
    assert expand_url(template, VALUES.__getitem__, "https://h/v1") == url


@pytest.mark.parametrize("template", ["/x/{list}", "{list}", "/{dict}?x"])
def test_a_url_needs_one_value(template: str) -> None:
    values = {**VALUES, "dict": {"a": 1}}
    with pytest.raises(AnswerError, match=r"\{(list\} is a list of 2|dict\} is an object), and the URL '"):
        expand_url(template, values.__getitem__, "https://h/v1")


@given(st.text(st.sampled_from('{}\\ax $/."')))
def test_escaped_braces_come_out_as_they_were(text: str) -> None:
    escaped = text.replace("{", r"\{").replace("}", r"\}")
    assert list(placeholders(escaped)) == []
    assert expand({"k": [escaped, "{id}"]}, VALUES.__getitem__) == {"k": [text, 5]}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_value_comes_back_out_of_a_url(value: str) -> None:
    assume(not dot_segments(quote(value, safe="")))
    url = expand_url("/x/{v}/y?q={v}", lambda path: value, "https://h")
    parts = urlsplit(f"https://h{url}")
    assert unquote(parts.path.split("/")[2]) == value
    assert len(parts.path.split("/")) == 4
    assert parse_qsl(parts.query, keep_blank_values=True) == [("q", value)]


@pytest.mark.parametrize("template", ["/x/{none}", "/x/{empty}/y", "{none}", "{empty}/y"])
def test_a_url_needs_a_value(template: str) -> None:
    with pytest.raises(AnswerError, match=r"\{(none|empty)\} is empty"):
        expand_url(template, VALUES.__getitem__, "https://h/v1")


@pytest.mark.parametrize("template", ["/jobs/{v}", "/jobs/{v}/stop", "/jobs/{+v}/stop", "{self}/{v}"])
@pytest.mark.parametrize(
    "value",
    [
        *("..", ".", "../../admin", "a/../../b", "..\\..\\admin", "..;x=1/admin", ".. /x", "..\t/x"),
        *("%2e%2e", "%2E%2E%2Fadmin", "%252e%252e%252fadmin", "..%5cadmin", "%" + "25" * 9 + "2e%2e"),
    ],
)  # fmt: skip
def test_a_value_of_the_server_does_not_lead_out_of_the_path(template: str, value: str) -> None:
    with pytest.raises(AnswerError, match="would lead to another path"):
        expand_url(template, {**VALUES, "v": value}.__getitem__, "https://h/v1")


@pytest.mark.parametrize("template", ["/a/../jobs/{v}", "/jobs/{$..v}", "/jobs/{//a/../v}"])
def test_what_the_author_wrote_stays(template: str) -> None:
    assert expand_url(template, lambda path: "v1..2.", "https://h").endswith("jobs/v1..2.")


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("operations/7", "/v1/operations/7:cancel"),
        ("a b/c?d#e", "/v1/a%20b/c%3Fd%23e:cancel"),
        ("//evil.example/x", "/v1/evil.example/x:cancel"),
    ],
)
def test_plus_keeps_the_slashes_of_a_value(value: str, url: str) -> None:
    assert expand_url("/v1/{+name}:cancel", {"name": value}.__getitem__, "https://a.example/") == url
    assert list(placeholders("/v1/{+name}:cancel")) == ["name"]


def test_texts_that_are_replaced_wherever_they_stand() -> None:
    value = {"a": ["x {u} y", {"{u}": "{b}"}], "c": 7, "d": b"-{k}-"}
    assert mentions(value, "{u}")
    assert mentions(value, "{k}")
    assert not mentions(value, "{v}")
    assert replaced(value, {"{u}": "U", "{k}": "K"}) == {"a": ["x U y", {"U": "{b}"}], "c": 7, "d": b"-K-"}
