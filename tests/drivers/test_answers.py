"""Answers that are XML, in another charset, or hostile: read or refused the same in each way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.contract import Seen, asynchronous, contract, sync
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer


def xml(text: str | bytes, content_type: str = "application/xml", status: int = 200) -> Answer:
    body = text.encode() if isinstance(text, str) else text
    return Answer(status, body=body, headers={"Content-Type": content_type})


def read(answer: Answer, path: str | None = None) -> Seen:
    return contract(lambda s: s.on("GET", "/a", answer), sync(response_path=path))


@pytest.mark.parametrize(
    ("answer", "path", "value"),
    [
        (xml("<a><b>é</b></a>"), "/a/b", "é"),
        (xml("<a><b>é</b></a>"), None, "<a><b>é</b></a>"),
        (xml("<a><b>é</b></a>".encode("latin-1"), "text/xml; charset=latin-1"), "/a/b", "é"),
        (xml("<?xml version='1.0' encoding='utf-16'?><a>é</a>".encode("utf-16")), "/a", "é"),
        (xml("<e:Envelope xmlns:e='urn:e'><e:Body><r xmlns='urn:r'><id>5</id></r></e:Body></e:Envelope>",
             "application/soap+xml"), "/e:Envelope/e:Body/r/id", "5"),
        (Answer(json={"id": 2**70, "f": 0.1}), "$.id", 2**70),
        (xml(b'{"a": "\xe9"}', "application/json; charset=latin-1"), "$.a", "é"),
        (Answer(200, body=b"", headers={"Content-Type": "application/xml"}), None, None),
    ],
)  # fmt: skip
def test_what_is_read(answer: Answer, path: str | None, value: Any) -> None:
    assert read(answer, path).value == value


JSON = {"Content-Type": "application/json"}
LAUGHS = "<!DOCTYPE a [<!ENTITY l 'lol'><!ENTITY m '&l;&l;&l;'>]><a>&m;</a>"
HOSTILE: dict[str, tuple[Answer, str | None, str]] = {
    "an entity bomb": (xml(LAUGHS), "/a", "a DTD of its own, which can declare entities and is not read"),
    "a file as entity": (
        xml("<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a>&f;</a>"), "/a", "a DTD of its own"),
    "deep XML": (xml("<a>" * 1_000_000), "/a", "Excessive depth"),
    "wide XML": (xml("<a>" + "<b/>" * 1_000_001 + "</a>"), "/a", "more than 1000000 elements and attributes"),
    "truncated XML": (xml("<a><b>"), "/a", "the body is not XML"),
    "empty XML": (xml(""), "/a", "matches nothing"),
    "deep JSON": (Answer(body=b"[" * 1_000_000, headers=JSON), None, "the body is not JSON"),
    "truncated JSON": (Answer(body=b'{"a": [1, 2', headers=JSON), "$.a", "the body is not JSON"),
    "NaN": (Answer(body=b'{"a": NaN}', headers=JSON), "$.a", "NaN is no JSON number (RFC 8259 §6)"),
    "invalid UTF-8": (Answer(body=b'{"a": "\xff"}', headers=JSON), "$.a", "0xff at position 7 is no utf-8"),
    "a name twice": (Answer(body=b'{"a": 1, "a": 2}', headers=JSON), "$.a", "'a' stands twice in one object"),
    "a huge number": (Answer(body=b"1" * 100_000, headers=JSON), None, "the body is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_refused(kind: str) -> None:
    answer, path, why = HOSTILE[kind]
    seen = read(answer, path)
    assert seen.failed[0] == "answer"
    assert why in seen.failed[1]
    assert len(seen.failed[1]) < 2000


@pytest.mark.parametrize("kind", [name for name in HOSTILE if HOSTILE[name][1]])
def test_a_check_that_gets_it_has_failed_and_the_job_goes_on(kind: str) -> None:
    answer, path, _ = HOSTILE[kind]
    good = xml("<a>done</a>") if str(path).startswith("/") else Answer(json={"a": "done"})

    def script(server: ScriptedServer) -> None:
        server.on("POST", "/jobs", Answer(202, {"id": 1}))
        server.on("GET", "/jobs/1", answer, good)

    seen = contract(script, asynchronous(status_request="/jobs/{id}", status_path=path))
    assert seen.value is not None
    assert [kind for kind, _ in seen.events][:2] == ["submitted", "failing"]


def test_a_failed_job_says_why_in_xml() -> None:
    seen = contract(
        lambda s: (
            s.on("POST", "/jobs", xml("<j><id>7</id></j>", status=202)),
            s.on("GET", "/jobs/7", xml("<j><s>failed</s><why>no disk</why></j>")),
        ),
        asynchronous(status_request="/jobs/{/j/id}", status_path="/j/s", error_path="/j/why", job_id="/j/id"),
    )
    assert seen.failed[0] == "job_failed"
    assert "no disk" in seen.failed[1]
    assert seen.error.data["job_id"] == "7"


def test_values_arrive_the_same_in_every_place() -> None:
    """Of an answer, and with their types where a placeholder is the whole value."""
    answer = {"id": 5, "f": 1.5, "yes": True, "no": None, "t": "é {x} &", "l": [1, {"a": "b"}]}
    seen = contract(
        lambda s: (
            s.on("POST", "/jobs", Answer(202, answer)),
            s.on("PUT", "/s/5", Answer(json={"status": "done"})),
        ),
        asynchronous(
            status_request={
                "method": "PUT",
                "endpoint": "/s/{id}?q={t}",
                "params": {"a": "{t}", "b": "{yes}", "c": "{no}", "d": "{f}", "e": r"\\{{id}\}"},
                "headers": {"X-A": "{t}", "X-B": "n {id}", "X-C": r"\{id\}"},
                "body": {"whole": ["{id}", "{f}", "{yes}", "{no}", "{l}"], "part": "n {id} {yes} {no}",
                         "deep": {"{t}": r"\{id\}"}},
            },
        ),
    )  # fmt: skip
    assert seen.done.error is None, seen.done.error
    put = seen.server.history[1]
    assert put.target == "/s/5?q=%C3%A9%20%7Bx%7D%20%26&a=%C3%A9+%7Bx%7D+%26&b=true&d=1.5&e=%5C%7B5%7D"
    assert put.json() == {
        "whole": [5, 1.5, True, None, [1, {"a": "b"}]],
        "part": "n 5 true null",
        "deep": {"é {x} &": "{id}"},
    }
    assert (put.header("X-B"), put.header("X-C")) == ("n 5", "{id}")


@pytest.mark.parametrize("place", ["endpoint", "params", "headers", "body"])
def test_a_placeholder_without_a_value_names_itself_and_what_was_there(place: str) -> None:
    wanted: dict[str, Any] = {"endpoint": "/x", place: "/x/{run.id}"}
    if place != "endpoint":
        wanted[place] = {"k": ["{run.id}"] if place == "body" else "{run.id}"}
    seen = contract(
        lambda s: (
            s.on("POST", "/jobs", Answer(202, {"id": 1, "name": "n"})),
            s.on("GET", "/jobs/1", Answer(json={"status": "done"})),
        ),
        asynchronous(status_request="/jobs/{id}", result_request=wanted),
    )
    assert "{run.id} has no value" in seen.failed[1]
    assert "Known: id, job_id" in seen.failed[1]
