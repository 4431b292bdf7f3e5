"""CSRF tokens: fetched before an unsafe request, with the cookies they came with (rule 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import ApiKeyAuth, Auth, BearerAuth, HeadersAuth, NoAuth, Renewal
from airflow_provider_apitask.core.csrf import CsrfTokens
from airflow_provider_apitask.core.csrf_token import CsrfSettings
from airflow_provider_apitask.core.errors import (
    AuthenticationError,
    CsrfError,
    LoginUnavailableError,
    OriginError,
)
from airflow_provider_apitask.core.exchange import exchange
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.core.origins import OriginRules
from airflow_provider_apitask.core.redaction import Redactor

from .auth.helpers import a_request, pump, purposes
from .helpers import BASE, make_api, make_response

URL = f"{BASE}/csrf"
DJANGO = CsrfSettings(header="X-CSRFToken", cookie="csrftoken")
NOW = "Sat, 21 Nov 2026 12:00:00 GMT"
Server = Callable[[Request], Response]


def handing_out(token: str = "t-1", *cookies: str, status: int = 200, header: str = "x-csrf-token") -> Server:
    """A server that gives a token and takes anything."""

    def server(request: Request) -> Response:
        if request.purpose is Purpose.CSRF:
            fields: Any = {header: token, "Set-Cookie": list(cookies), "Date": NOW}
            return make_response(status, {"said": "s"}, fields, url=request.url)
        return make_response(202, url=request.url)

    return server


def ask(
    tokens: CsrfTokens, server: Server, request: Request | None = None, auth: Auth | None = None
) -> tuple[list[Any], Response]:
    return pump(tokens.flow(request or a_request(csrf_url=URL), auth or NoAuth()), server)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_token_is_fetched_and_sent_with_its_cookies(method: str) -> None:
    headers = {"X-Mine": "1", "Content-Type": "application/json", "If-Match": "e", "Cookie": "own=1"}
    server = handing_out("t-1", "sid=abc; Path=/; HttpOnly", "sap=1")
    steps, response = ask(CsrfTokens(), server, a_request(method, headers=headers, csrf_url=URL))
    fetch, sent = steps
    assert (fetch.purpose, fetch.method, fetch.url, fetch.body) == (Purpose.CSRF, "GET", URL, None)
    assert fetch.headers.get("X-CSRF-Token") == "Fetch"
    assert fetch.headers.get("X-Mine") == "1", "an API key may be among the author's headers"
    assert fetch.headers.get("Content-Type") is None
    assert fetch.headers.get("If-Match") is None
    assert (sent.method, sent.body) == (method, b"{}")
    assert sent.headers.get_all("X-CSRF-Token") == ["t-1"]
    assert sent.headers.get_all("Cookie") == ["own=1; sid=abc; sap=1"]
    assert sent.headers.get("Referer") is None
    assert response.status == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_method_needs_none(method: str) -> None:
    steps, _ = ask(CsrfTokens(), handing_out(), a_request(method, csrf_url=URL))
    assert purposes(steps) == ["submit"]
    assert steps[0].headers.get("X-CSRF-Token") is None


def test_without_being_asked_nothing_is_fetched() -> None:
    assert purposes(ask(CsrfTokens(), handing_out(), a_request())[0]) == ["submit"]


def test_credentials_go_along_with_both() -> None:
    steps, _ = ask(CsrfTokens(), handing_out("t", "sid=1"), auth=BearerAuth("b"))
    assert [s.headers.get("Authorization") for s in steps] == ["Bearer b", "Bearer b"]
    steps, _ = ask(CsrfTokens(), handing_out("t", "sid=1"), auth=ApiKeyAuth("key", "k", "cookie"))
    assert [s.headers.get("Cookie") for s in steps] == ["key=k", "sid=1; key=k"]


def test_a_secret_cookie_is_merged_with_those_of_the_token() -> None:
    """The cookie of the token must be the one that came with it."""
    auth = HeadersAuth({"X-User": "u", "Cookie": "session=s; csrftoken=old"})
    steps, _ = ask(CsrfTokens(DJANGO), handing_out("junk", "csrftoken=new"), auth=auth)
    assert [s.headers.get_all("Cookie") for s in steps] == [
        ["session=s; csrftoken=old"],
        ["session=s; csrftoken=new"],
    ]
    assert [s.headers.get("X-User") for s in steps] == ["u", "u"]


def test_a_token_is_kept_by_its_url() -> None:
    tokens = CsrfTokens()
    other = a_request(csrf_url=f"{BASE}/other")
    assert purposes(ask(tokens, handing_out())[0]) == ["csrf", "submit"]
    assert purposes(ask(tokens, handing_out("t-2"))[0]) == ["submit"]
    assert purposes(ask(tokens, handing_out("t-3"), other)[0]) == ["csrf", "submit"]
    steps, _ = ask(tokens, handing_out())
    assert steps[0].headers.get("X-CSRF-Token") == "t-1"


def refusing(*taken: str, **headers: str) -> tuple[Server, list[str]]:
    """Hands out t-1, t-2 … and takes these alone."""
    given: list[str] = []

    def server(request: Request) -> Response:
        if request.purpose is Purpose.CSRF:
            given.append(f"t-{len(given) + 1}")
            return make_response(
                200, None, {"X-CSRF-Token": given[-1], "Set-Cookie": f"csrftoken={given[-1]}"}
            )
        token = request.headers.get("X-CSRF-Token") or request.headers.get("X-CSRFToken")
        return make_response(200 if token in taken else 403, None, headers)

    return server, given


@pytest.mark.parametrize("value", ["Required", "required", " REQUIRED "])
def test_it_is_fetched_again_once(value: str) -> None:
    server, given = refusing("t-2", **{"x-csrf-token": value})
    steps, response = ask(CsrfTokens(), server)
    assert purposes(steps) == ["csrf", "submit", "csrf", "submit"]
    assert response.status == 200
    assert given == ["t-1", "t-2"]


def test_and_not_twice() -> None:
    server, given = refusing(**{"x-csrf-token": "Required"})
    steps, response = ask(CsrfTokens(), server)
    assert (purposes(steps).count("submit"), response.status, len(given)) == (2, 403, 2)


def test_another_403_is_an_answer() -> None:
    """A wrong scope is not cured by a token."""
    tokens = CsrfTokens()
    for _ in range(2):
        steps, response = ask(tokens, refusing()[0])
        assert response.status == 403
        assert purposes(steps).count("submit") == 1


def test_a_kept_token_of_a_cookie_may_be_too_old() -> None:
    """Django says 403 and not why: a token that was just fetched is good, a kept one maybe not."""
    tokens = CsrfTokens(DJANGO)
    server, _ = refusing("t-2")
    assert ask(tokens, server)[1].status == 403
    steps, response = ask(tokens, server)
    assert purposes(steps) == ["submit", "csrf", "submit"]
    assert response.status == 200


def test_django() -> None:
    steps, _ = ask(CsrfTokens(DJANGO), handing_out("junk", "csrftoken=c-1; Path=/; SameSite=Lax"))
    sent = steps[-1]
    assert sent.headers.get("X-CSRFToken") == "c-1"
    assert sent.headers.get("Cookie") == "csrftoken=c-1"
    assert sent.headers.get_all("Referer") == ["https://api.example.com/"]
    mine = a_request(headers={"referer": "https://mine.example/"}, csrf_url=URL)
    steps, _ = ask(CsrfTokens(DJANGO), handing_out("junk", "csrftoken=c-1"), mine)
    assert steps[-1].headers.get_all("Referer") == ["https://mine.example/"]


@pytest.mark.parametrize("echo", ["Fetch", "fetch", "Required", " required ", ""])
def test_an_echo_is_no_token(echo: str) -> None:
    with pytest.raises(CsrfError, match="X-CSRF-Token") as caught:
        ask(CsrfTokens(), handing_out(echo))
    assert caught.value.data == {"url": URL, "status_code": 200}
    assert "csrf_token_endpoint" in caught.value.message


def test_a_401_is_the_password() -> None:
    tokens = CsrfTokens(conn_id="the_api")
    with pytest.raises(AuthenticationError, match="refused the credentials") as caught:
        ask(tokens, lambda request: make_response(401, {"message": "why it is so"}))
    for part in ("why it is so", "'the_api'", "password"):
        assert part in caught.value.message
    assert "csrf_token_endpoint" not in caught.value.message
    assert "***" not in Redactor().line(caught.value.message), "no word is taken for a secret"


def test_a_redirect_to_the_login_page_is_the_password_too() -> None:
    auth = NoAuth()
    auth.renewal = Renewal(login_page="/login")
    with pytest.raises(AuthenticationError, match="refused the credentials"):
        ask(CsrfTokens(), lambda request: make_response(302, None, {"Location": "/login?next=/"}), auth=auth)


def test_the_tokens_of_many_jobs_are_not_kept_for_ever() -> None:
    """A cancel request may fetch its token from the URL of its job."""
    tokens = CsrfTokens()
    for number in range(1000):
        ask(tokens, handing_out(f"t-{number}"), a_request(csrf_url=f"{BASE}/jobs/{number}"))
    assert len(tokens._fetched) == 100
    last = a_request(csrf_url=f"{BASE}/jobs/999")
    assert purposes(ask(tokens, handing_out(), last)[0]) == ["submit"], "the newest are kept"


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404])
def test_an_answer_without_a_token(status: int) -> None:
    with pytest.raises(CsrfError, match=f"answered {status}.*why it is so"):
        ask(CsrfTokens(), lambda request: make_response(status, {"message": "why it is so"}))


def test_a_missing_cookie_is_named() -> None:
    with pytest.raises(CsrfError, match="cookie csrftoken"):
        ask(CsrfTokens(DJANGO), handing_out("t", "other=1", "\x00=;", header="X-CSRFToken"))


@pytest.mark.parametrize("status", [404, 405, 500])
def test_a_token_counts_whatever_the_code(status: int) -> None:
    assert purposes(ask(CsrfTokens(), handing_out(status=status))[0]) == ["csrf", "submit"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_fetch_that_fails_for_the_moment(status: int) -> None:
    with pytest.raises(LoginUnavailableError, match=f"CSRF token.*{status}"):
        ask(CsrfTokens(), lambda request: make_response(status))


def test_a_failing_second_fetch_sends_nothing_more() -> None:
    sent: list[Request] = []

    def server(request: Request) -> Response:
        sent.append(request)
        if len(sent) == 1:
            return make_response(200, None, {"X-CSRF-Token": "t-1"})
        return make_response(
            503 if request.purpose is Purpose.CSRF else 403, None, {"X-CSRF-Token": "Required"}
        )

    with pytest.raises(LoginUnavailableError):
        ask(CsrfTokens(), server)
    assert [str(r.purpose) for r in sent] == ["csrf", "submit", "csrf"]


def test_what_is_said_is_redacted() -> None:
    tokens = CsrfTokens(redact=lambda text: text.replace("s3cret", "***"))
    with pytest.raises(CsrfError) as caught:
        ask(tokens, lambda request: make_response(400, {"message": "no s3cret"}))
    assert "no ***" in caught.value.message
    ask(tokens, handing_out("s3cret-t", "a=s3cret-c"))
    assert "s3cret" not in repr(tokens) + repr(tokens._fetched)


def test_a_redirected_request_keeps_its_token() -> None:
    """307: the same once more, elsewhere on the API."""

    def server(request: Request) -> Response:
        if request.purpose is Purpose.CSRF:
            return make_response(200, None, {"X-CSRF-Token": "t-1", "Set-Cookie": "sid=1"})
        if request.url.endswith("/jobs"):
            return make_response(307, None, {"Location": f"{BASE}/jobs/"})
        return make_response(202)

    steps, response = pump(exchange(a_request(csrf_url=URL), make_api()), server)
    assert purposes(steps) == ["csrf", "submit", "submit"]
    assert steps[-1].headers.get_all("X-CSRF-Token") == ["t-1"]
    assert steps[-1].headers.get_all("Cookie") == ["sid=1"]
    assert response.status == 202


@pytest.mark.parametrize("url", ["https://evil.example/csrf", "http://api.example.com/csrf"])
def test_where_it_is_fetched_must_be_trusted(url: str) -> None:
    flow = exchange(a_request(csrf_url=url), make_api())
    with pytest.raises(OriginError):
        next(flow)


def test_an_anonymous_origin_gives_no_token() -> None:
    api = make_api(origins=OriginRules.parse(anonymous=["https://files.example.com"]))
    with pytest.raises(OriginError, match="CSRF"):
        next(exchange(a_request(csrf_url="https://files.example.com/c"), api))


@pytest.mark.parametrize(
    "attributes",
    [
        "Max-Age=0",
        "Max-Age=-1",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Thu, 01-Jan-1970 00:00:10 GMT",
        "Expires=Sat, 21 Nov 2026 11:59:59 GMT",
        "Max-Age=0; Expires=Sat, 21 Nov 2099 11:59:59 GMT",
    ],
)
def test_a_cookie_that_is_cancelled_is_not_sent(attributes: str) -> None:
    gone = f"old=x; {attributes}; Path=/"
    steps, _ = ask(CsrfTokens(), handing_out("t-1", "old=1", gone, "sid=1"))
    assert steps[-1].headers.get_all("Cookie") == ["sid=1"]


@pytest.mark.parametrize(
    "attributes",
    [
        "Max-Age=60",
        "Max-Age=soon",
        "Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Sat, 21 Nov 2026 12:00:01 GMT",
        "Expires=Sat, 21 Nov 2099 11:59:59 GMT",
        "Expires=tomorrow",
        "Expires=0",
    ],
)
def test_a_cookie_that_lives_is_sent(attributes: str) -> None:
    steps, _ = ask(CsrfTokens(), handing_out("t-1", f"sid=1; {attributes}"))
    assert steps[-1].headers.get_all("Cookie") == ["sid=1"]


def test_where_the_server_tells_no_time_only_the_distant_past_cancels() -> None:
    def server(request: Request) -> Response:
        cookies = ["a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "b=2; Expires=Sat, 21 Nov 2026 11:59:59 GMT"]
        fields: Any = {"x-csrf-token": "t", "Set-Cookie": cookies}
        return make_response(200, {}, fields, url=request.url)

    steps, _ = ask(CsrfTokens(), server)
    assert steps[-1].headers.get_all("Cookie") == ["b=2"]


def test_headers_of_the_fetch_are_of_the_request() -> None:
    request = a_request(headers=Headers({"Accept": "application/json"}), csrf_url=URL, timeout=(1.0, 2.0))
    fetch = ask(CsrfTokens(), handing_out(), request)[0][0]
    assert fetch.timeout == (1.0, 2.0)
    assert fetch.csrf_url is None
