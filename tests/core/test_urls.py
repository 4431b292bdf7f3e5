"""Joining, resolving and comparing URLs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ApiTaskError, OriginError, ParameterError
from airflow_provider_apitask.core.urls import (
    add_query,
    has_user_info,
    join,
    last_segment,
    origin,
    resolve,
    wire_text,
)


@pytest.mark.parametrize(
    ("base", "endpoint", "joined"),
    [
        ("https://h", "jobs", "https://h/jobs"),
        ("https://h/", "/jobs", "https://h/jobs"),
        ("https://h/v1", "jobs", "https://h/v1/jobs"),
        ("https://h/v1/", "/jobs/", "https://h/v1/jobs/"),
        ("https://h/v1//", "//jobs", "https://h/v1/jobs"),
        ("https://h/v1", "", "https://h/v1"),
        ("https://h/v1/", "", "https://h/v1/"),
        ("https://h", "?a=1", "https://h?a=1"),
        ("https://h/v1?k=1", "jobs?a=2", "https://h/v1/jobs?k=1&a=2"),
        ("https://h/v1", "https://other/x", "https://other/x"),
        ("https://h/v1", "https://h/x#frag", "https://h/x"),
        ("https://h", "a b/ü", "https://h/a%20b/%C3%BC"),
        ("https://h", "a%20b%2Fc", "https://h/a%20b%2Fc"),
        ("https://h", "run:1+2;x=(3)", "https://h/run:1+2;x=(3)"),
        ("https://h/v1", "a/../b/./c", "https://h/v1/b/c"),
        ("https://h/v1", "../../../x?y=..", "https://h/x?y=.."),
        ("https://h/v1", "a..b/.c", "https://h/v1/a..b/.c"),
        ("https://bücher.example", "x", "https://xn--bcher-kva.example/x"),
        ("https://[::1]:8080/v1", "x", "https://[::1]:8080/v1/x"),
    ],
)
def test_join(base: str, endpoint: str, joined: str) -> None:
    assert join(base, endpoint) == joined


@pytest.mark.parametrize(
    ("reference", "resolved"),
    [
        ("https://h/b", "https://h/b"),
        ("//other/b", "https://other/b"),
        ("/b", "https://h/b"),
        ("7/", "https://h/v1/jobs/7/"),
        ("../../x", "https://h/x"),
        ("../../../../x", "https://h/x"),
        ("?p=2", "https://h/v1/jobs/?p=2"),
        ("", "https://h/v1/jobs/"),
        ("  /b\t", "https://h/b"),
        ("https://u:p@h/b#f", "https://h/b"),
        (r"https://h\@evil/b", "https://evil/b"),
        ("/ü b", "https://h/%C3%BC%20b"),
    ],
)
def test_resolve(reference: str, resolved: str) -> None:
    assert resolve(reference, "https://h/v1/jobs/") == resolved


@pytest.mark.parametrize(
    "reference", ["http://[", "https://a..ü/", "//" + "ü" * 300, "/\ud800", "http://℀.com/"]
)
def test_what_is_no_url_raises_the_packages_own_error(reference: str) -> None:
    with pytest.raises(OriginError) as caught:
        resolve(reference, "https://h/")
    assert len(caught.value.message) < 700


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/x", ("https", "h", 443)),
        ("HTTP://H:80/", ("http", "h", 80)),
        ("https://h:8443", ("https", "h", 8443)),
        ("https://h:0", ("https", "h", 0)),
        ("https://[::1]:1/", ("https", "::1", 1)),
    ],
)
def test_origin(url: str, expected: tuple[str, str, int]) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "/x", "h/x", "ftp://h", "mailto:a@b", "javascript:alert(1)", "https://", "https:///x", "https://h:x/",
        "https://h:99999/", "https://h\\@evil", "https://h/ x", "https://h/\n", "http://[",
    ],
)  # fmt: skip
def test_no_origin(url: str) -> None:
    with pytest.raises(OriginError):
        origin(url)


@pytest.mark.parametrize(
    ("url", "has"),
    [
        ("https://me:pw@h/", True),
        ("https://@h/", True),
        ("https://h/a@b", False),
        ("https://h/?a=b@c", False),
    ],
)
def test_has_user_info(url: str, has: bool) -> None:
    assert has_user_info(url) is has


@pytest.mark.parametrize(
    ("params", "query"),
    [
        (None, ""),
        ({}, ""),
        ({"a": 1, "b": "x y&z"}, "?a=1&b=x+y%26z"),
        ({"a": [1, 2]}, "?a=1&a=2"),
        ({"a": None, "b": [None, 1]}, "?b=1"),
        ({"a": True, "b": False}, "?a=true&b=false"),
        ({"a": ""}, "?a="),
        ({"a": Decimal("1E+2")}, "?a=100"),
        ({"a": date(2026, 1, 2)}, "?a=2026-01-02"),
        ({"ü": "é"}, "?%C3%BC=%C3%A9"),
    ],
)
def test_add_query(params: Any, query: str) -> None:
    assert add_query("https://h/p", params) == f"https://h/p{query}"


def test_add_query_keeps_the_one_that_is_there() -> None:
    assert add_query("https://h/p?x=1", {"y": 2}) == "https://h/p?x=1&y=2"


@pytest.mark.parametrize("params", [{"a": {"b": 1}}, {"a": [[1]]}, {"a": "\ud800"}, [1], {"a": b"\xff"}])
def test_params_that_cannot_be_written(params: Any) -> None:
    with pytest.raises(ParameterError, match="params"):
        add_query("https://h", params)


def test_wire_text() -> None:
    assert wire_text(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00+00:00"
    assert wire_text(b"x") == "x"
    assert wire_text(1.5) == "1.5"


@pytest.mark.parametrize(
    ("url", "segment"),
    [
        ("https://h/jobs/7", "7"),
        ("https://h/jobs/7/", "7"),
        ("https://h/jobs/7/status", "7"),
        ("https://h/status", "status"),
        ("https://h/jobs/a%3Ab%2Bc?x=1", "a:b+c"),
        ("https://h/", None),
        ("https://h", None),
    ],
)
def test_last_segment(url: str, segment: str | None) -> None:
    assert last_segment(url) == segment


def test_errors_are_of_the_package() -> None:
    assert issubclass(OriginError, ApiTaskError)


@pytest.mark.parametrize("endpoint", ["http://[", "https://[::1", "http://]/x"])
def test_an_endpoint_that_is_no_url_is_refused_with_parameters_too(endpoint: str) -> None:
    with pytest.raises(OriginError, match="is not a URL"):
        join("https://h/v1", endpoint)
    with pytest.raises(OriginError, match="is not a URL"):
        add_query(endpoint, {"a": 1})
