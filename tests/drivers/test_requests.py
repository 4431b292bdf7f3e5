"""What is sent for what an author declares: the same bytes in each way."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_apitask.core.messages import Headers
from tests.drivers.contract import contract, make_api, sync
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer


def echo(server: ScriptedServer) -> None:
    """Answer each request to ``/a`` with what it was."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        server.on(method, "/a", lambda r: Answer(json={"body": r.body.decode()}))


def sent(**kwargs: Any) -> Recorded:
    seen = contract(echo, sync(**kwargs))
    assert seen.done.error is None, seen.done.error
    (request,) = seen.server.history
    found: Recorded = request
    return found


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [None, {"k": "é", "n": [1, None, True]}])
def test_methods(method: str, body: Any) -> None:
    seen = contract(echo, sync(method, body=body))
    assert seen.value == {"body": '{"k":"é","n":[1,null,true]}' if body else ""}
    (request,) = seen.server.history
    assert (request.method, request.target) == (method, "/a")
    unsafe = method not in ("GET", "OPTIONS")
    assert request.header("Content-Length") == ("28" if body else "0" if unsafe else None)
    assert request.header("Content-Type") == ("application/json" if body else None)
    assert request.headers_all("Transfer-Encoding") == []


def test_head() -> None:
    seen = contract(
        lambda s: s.on("HEAD", "/a", Answer(json=[1], headers={"Content-Encoding": "gzip"})), sync("HEAD")
    )
    assert seen.value is None


def test_nothing_of_a_library_goes_along() -> None:
    names = sorted(name.lower() for name, _ in sent().headers)
    assert names == ["accept", "accept-encoding", "host", "user-agent"]
    request = sent(method="POST", body={})
    assert sorted(name.lower() for name, _ in request.headers) == [
        *("accept", "accept-encoding", "content-length", "content-type", "host", "user-agent")
    ]
    assert request.header("Accept-Encoding") == "gzip, deflate"
    assert str(request.header("Accept")).startswith("application/json")
    assert request.header("User-Agent") == "airflow-provider-apitask"


def test_params() -> None:
    params = {
        "list": [1, "b", None],
        "none": None,
        "yes": True,
        "float": 0.1,
        "decimal": Decimal("1.10"),
        "day": dt.date(2026, 2, 28),
        "at": dt.datetime(2026, 2, 28, 1, 2, 3, tzinfo=dt.UTC),
        "text": "ü &=+%/",
        "a[b]": "",
    }
    assert sent(endpoint="a?x=1&x=%20", params=params).target == (
        "/a?x=1&x=%20&list=1&list=b&yes=true&float=0.1&decimal=1.10&day=2026-02-28"
        "&at=2026-02-28T01%3A02%3A03%2B00%3A00&text=%C3%BC+%26%3D%2B%25%2F&a%5Bb%5D="
    )


def test_a_query_of_the_base_url_comes_first() -> None:
    seen = contract(
        lambda s: s.on("GET", "/api/a", Answer(json=1)),
        sync(endpoint="a?y=2", params={"z": 3}),
        api=lambda s: make_api(f"{s.url}/api/?x=1"),
    )
    assert seen.targets == ["GET /api/a?x=1&y=2&z=3"]


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb/%2f/%3A%3a:+%2B/~%7E",
        "/a/./b/../c",
        "/a//b/",
        "//a/b",
        "/x;y=1,2/@!$&'()*",
        "/f?filter[a]=1&b=[]&c={}|^`%7B",
        "/q?a=/?&a=%2F%3f",
        "/p%41%zz%",
        "/é/ü?ß=ä ö",
        "/?",
        "/a?",
        "?a=1",
    ],
)
def test_a_target_arrives_as_it_was_written(target: str) -> None:
    seen = contract(lambda s: None, lambda s: sync(endpoint=f"{s.url}{target}"))
    assert seen.failed[0] == "request_failed"  # nothing is there
    (request,) = seen.server.history
    expected = {
        "/f?filter[a]=1&b=[]&c={}|^`%7B": "/f?filter[a]=1&b=[]&c=%7B%7D%7C%5E%60%7B",
        "/é/ü?ß=ä ö": "/%C3%A9/%C3%BC?%C3%9F=%C3%A4%20%C3%B6",
        "/?": "/",
        "/a?": "/a",
        "?a=1": "/?a=1",
    }
    assert request.target == expected.get(target, target)


@pytest.mark.parametrize(
    ("base", "endpoint", "target"),
    [
        ("", None, "/"),
        ("/", "", "/"),
        ("/api", "a", "/api/a"),
        ("/api/", "/a", "/api/a"),
        ("/api//", "//a/", "/api/a/"),
        ("/api", None, "/api"),
        ("/api/", None, "/api/"),
        ("/api", "{url}/b", "/b"),
    ],
)
def test_slashes(base: str, endpoint: str | None, target: str) -> None:
    seen = contract(
        lambda s: s.on("GET", target, Answer(json=1)),
        lambda s: sync(endpoint=endpoint and endpoint.replace("{url}", s.url)),
        api=lambda s: make_api(f"{s.url}{base}"),
    )
    assert (seen.value, seen.targets) == (1, [f"GET {target}"])


def test_headers() -> None:
    request = sent(
        headers={"X-List": ["b", "a", "b"], "X-None": None, "x-text": "é €", "X-N": 1, "X-Empty": ""}
    )
    assert request.headers_all("X-List") == ["b", "a", "b"]
    assert request.headers_all("X-None") == []
    assert str(request.header("X-Text")).encode("latin-1").decode() == "é €"
    assert (request.header("X-N"), request.header("X-Empty")) == ("1", "")


def test_headers_of_the_author_come_before_those_of_the_connection() -> None:
    seen = contract(
        echo,
        sync(headers={"x-tenant": "mine", "Accept": "text/csv", "Accept-Encoding": "identity"}),
        api=lambda s: make_api(s.url, headers=Headers({"X-Tenant": "theirs", "X-Trace": "1"})),
    )
    (request,) = seen.server.history
    assert request.headers_all("X-Tenant") == ["mine"]
    assert request.headers_all("X-Trace") == ["1"]
    assert request.headers_all("Accept") == ["text/csv"]
    assert request.headers_all("Accept-Encoding") == ["identity"]


@pytest.mark.parametrize(
    ("body_format", "body", "content_type", "expected"),
    [
        ("json", [1.5, "ü"], "application/json", '[1.5,"ü"]'),
        ("json", '{"rendered": 1}', "application/json", '{"rendered": 1}'),
        ("form", {"a": [1, 2], "b": "x y&"}, "application/x-www-form-urlencoded", "a=1&a=2&b=x+y%26"),
        ("xml", "<a>é</a>", "application/xml", "<a>é</a>"),
        ("raw", b"\x00\xff", None, "\x00\xff"),
        ("raw", "", None, ""),
    ],
)
def test_bodies(body_format: str, body: Any, content_type: str | None, expected: str) -> None:
    seen = contract(
        lambda s: s.on("POST", "/a", Answer(json=1)), sync("POST", body=body, body_format=body_format)
    )
    (request,) = seen.server.history
    raw = expected.encode("latin-1" if body_format == "raw" else "utf-8")
    assert (request.body, request.header("Content-Type")) == (raw, content_type)
    assert request.header("Content-Length") == str(len(raw))


def test_a_content_type_of_the_author() -> None:
    request = sent(method="POST", body="a,b", body_format="raw", headers={"Content-Type": "text/csv"})
    assert request.headers_all("Content-Type") == ["text/csv"]


def test_a_long_body() -> None:
    text = "x" * 3_000_000
    seen = contract(
        lambda s: s.on("POST", "/a", lambda r: Answer(json=len(r.body))),
        sync("POST", body=text, body_format="raw"),
    )
    assert seen.value == len(text)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (Answer(204), None),
        (Answer(205), None),
        (Answer(200), None),
        (Answer(json={"a": [1, "é"]}), {"a": [1, "é"]}),
        (Answer(json=[1], chunked=True), [1]),
        (Answer(text="no JSON"), "no JSON"),
        (Answer(body="é".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}), "é"),
        (Answer(json=7, headers={"Connection": "close"}), 7),
        (Answer(json=7, headers={"X-Long": "x" * 20_000}), 7),
        (Answer(json=7, headers=[(f"X-{n}", "x") for n in range(90)]), 7),
    ],
)
def test_answers(answer: Answer, value: Any) -> None:
    assert contract(lambda s: s.on("GET", "/a", answer), sync()).value == value


def test_header_fields_of_an_answer() -> None:
    """Repeated ones, and UTF-8 as well as Latin-1 in them, are read the same."""
    seen = contract(
        lambda s: s.on("GET", "/a", Answer(json=1, headers=[("X-A", "caf\xc3\xa9"), ("X-A", "caf\xe9")])),
        sync(response_path="headers.X-A"),
    )
    assert seen.value == "café"
