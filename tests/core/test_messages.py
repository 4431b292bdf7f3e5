"""Headers, and what a repr may show."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)


def test_names_compare_without_case_and_repeat() -> None:
    headers = Headers({"Accept": ["a", "b"], "X-One": "1"})
    assert list(headers) == [("Accept", "a"), ("Accept", "b"), ("X-One", "1")]
    assert headers.get("accept") == "a"
    assert headers.get_all("ACCEPT") == ["a", "b"]
    assert headers.get("none", "d") == "d"
    assert "x-one" in headers
    assert "none" not in headers
    assert 5 not in headers
    assert len(headers) == 3
    assert headers[2] == ("X-One", "1")


def test_merged_replaces_all_of_the_name() -> None:
    headers = Headers([("Accept", "a"), ("ACCEPT", "b"), ("X", "1")]).merged({"accept": "c"})
    assert list(headers) == [("X", "1"), ("accept", "c")]
    assert list(headers.without("x")) == [("accept", "c")]


def test_equality_and_hash() -> None:
    assert Headers({"a": "1"}) == Headers([("a", "1")])
    assert len({Headers({"a": "1"}), Headers([("a", "1")])}) == 1
    assert Headers() != [("a", "1")]


def test_no_repr_shows_a_secret() -> None:
    headers = Headers({"Authorization": "Bearer hunter2"})
    request = Request(Purpose.SUBMIT, "POST", "https://h/p?api_key=hunter2", headers, b"hunter2")
    response = Response(200, "https://h/p?api_key=hunter2", headers, b"hunter2")
    for value in (headers, request, response):
        assert "hunter2" not in repr(value)
    assert "Authorization" in repr(headers)


def test_with_headers() -> None:
    request = Request(Purpose.POLL, "GET", "https://h").with_headers(("A", "1"), ("B", "2"))
    assert list(request.headers) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (299, True), (300, False)])
def test_ok(status: int, ok: bool) -> None:
    assert Response(status, "https://h").ok is ok


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        ("Application/JSON; charset=utf-8", "application/json"),
        (" text/html ", "text/html"),
        ("", ""),
        (None, ""),
    ],
)
def test_media_type(content_type: str | None, media_type: str) -> None:
    headers = Headers({"content-type": content_type} if content_type is not None else {})
    assert Response(200, "https://h", headers).media_type == media_type


def test_a_failure_says_what_and_why() -> None:
    assert "refused" in str(NetworkFailure(Failure.CONNECT, "refused", possibly_received=False))
    assert str(NetworkFailure(Failure.CONNECT, "", possibly_received=False)).strip()
