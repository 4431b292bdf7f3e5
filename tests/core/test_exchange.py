"""Redirects: what is followed, what is an answer, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_apitask.core.auth import ApiKeyAuth, BearerAuth
from airflow_provider_apitask.core.errors import OriginError, RequestFailedError
from airflow_provider_apitask.core.exchange import MAX_REDIRECTS, exchange
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response

from .helpers import BASE, make_api, make_response

API = make_api(auth=BearerAuth("token-1"))


def _ask(method: str = "POST", purpose: Purpose = Purpose.SUBMIT) -> Request:
    fields = Headers({"Content-Type": "application/json", "Content-Encoding": "x", "X-Mine": "1"})
    return Request(purpose, method, f"{BASE}/a", fields, b"{}")


def _run(request: Request, server: Callable[[Request], Response]) -> tuple[list[Request], Response]:
    """Pump the flow with what a server answers."""
    sent: list[Request] = []
    flow = exchange(request, API)
    wire = next(flow)
    try:
        while True:
            sent.append(wire)
            wire = flow.send(server(wire))
    except StopIteration as stop:
        return sent, stop.value


def _redirecting(status: int, location: str, **headers: str) -> Callable[[Request], Response]:
    def server(request: Request) -> Response:
        if request.url.endswith("/a"):
            return make_response(status, None, {"Location": location, **headers})
        return make_response(200, {"at": request.url})

    return server


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"), (302, "GET", "GET"), (303, "GET", "GET"), (307, "GET", "GET"),
        (308, "GET", "GET"),
        (301, "HEAD", "HEAD"), (303, "HEAD", "HEAD"), (307, "POST", "POST"), (308, "POST", "POST"),
        (307, "PUT", "PUT"), (308, "DELETE", "DELETE"), (302, "OPTIONS", "OPTIONS"),
    ],
)  # fmt: skip
def test_followed(status: int, method: str, then: str) -> None:
    sent, response = _run(_ask(method), _redirecting(status, "b/"))
    assert [(r.method, r.url) for r in sent] == [(method, f"{BASE}/a"), (then, f"{BASE}/b/")]
    assert sent[1].body == (None if status == 303 else b"{}")
    assert ("Content-Type" in sent[1].headers) is (status != 303)
    assert sent[1].headers.get("X-Mine") == "1"
    assert sent[1].headers.get_all("Authorization") == ["Bearer token-1"]
    assert response.url == f"{BASE}/b/", "relative URLs resolve against what was answered"


@pytest.mark.parametrize("status", [301, 302])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_301_and_302_to_an_unsafe_method_name_the_target(status: int, method: str) -> None:
    """Seen: a missing slash turned the POST into a GET, which answered 200, and no job existed."""
    with pytest.raises(RequestFailedError) as caught:
        _run(_ask(method), _redirecting(status, f"{BASE}/a/?token=secret1"))
    for part in (method, f"{BASE}/a/?token=***", str(status), "endpoint"):
        assert part in caught.value.message
    assert caught.value.data["location"] == f"{BASE}/a/?token=***"


@pytest.mark.parametrize(
    ("purpose", "method", "status"),
    [
        (Purpose.SUBMIT, "POST", 303), (Purpose.SUBMIT, "PUT", 303), (Purpose.SUBMIT, "DELETE", 303),
    ],
)  # fmt: skip
def test_redirects_that_are_answers(purpose: Purpose, method: str, status: int) -> None:
    sent, response = _run(_ask(method, purpose), _redirecting(status, "https://evil.example/"))
    assert (len(sent), response.status) == (1, status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirected_status_check_is_followed(status: int, method: str) -> None:
    sent, response = _run(_ask(method, Purpose.POLL), _redirecting(status, "/b"))
    assert response.status == 200
    assert [request.method for request in sent] == [method, method if status in (307, 308) else "GET"]


def test_a_303_to_a_status_check_is_read_by_a_caller_that_declared_nothing() -> None:
    request = replace(_ask("GET", Purpose.POLL), reads_see_other=True)
    sent, response = _run(request, _redirecting(303, "/b"))
    assert (len(sent), response.status) == (1, 303)
    sent, response = _run(request, _redirecting(302, "/b"))
    assert (len(sent), response.status) == (2, 200)


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_other_codes_are_answers(status: int) -> None:
    assert _run(_ask(), _redirecting(status, "/b"))[1].status == status


def test_a_redirect_without_location_is_an_answer() -> None:
    assert _run(_ask(), lambda request: make_response(307))[1].status == 307


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://api.example.com/v1/b",
        "https://api.example.com:444/",
        "ftp://x/",
    ],
)
@pytest.mark.parametrize("purpose", list(Purpose))
def test_another_origin_is_refused_before_anything_is_sent_there(location: str, purpose: Purpose) -> None:
    with pytest.raises(OriginError, match="was redirected"):
        _run(_ask("GET", purpose), _redirecting(307, location))


@pytest.mark.parametrize("location", ["http://[", "https://a..ü/"])
def test_a_target_that_is_no_url(location: str) -> None:
    with pytest.raises(OriginError):
        _run(_ask("GET"), _redirecting(307, location))


def test_circles_end() -> None:
    seen: list[str] = []

    def server(request: Request) -> Response:
        seen.append(request.url)
        return make_response(307, None, {"Location": f"{request.url}x"})

    with pytest.raises(RequestFailedError, match="more than 5 times"):
        _run(_ask(), server)
    assert len(seen) == MAX_REDIRECTS + 1


def test_credentials_in_the_query_are_not_in_the_url_of_the_answer() -> None:
    api = make_api(auth=ApiKeyAuth("api_key", "key-1", "query"))
    flow = exchange(_ask("GET"), api)
    wire = next(flow)
    assert wire.url == f"{BASE}/a?api_key=key-1"
    with pytest.raises(StopIteration) as stop:
        flow.send(make_response(200, url=wire.url))
    assert stop.value.value.url == f"{BASE}/a"
