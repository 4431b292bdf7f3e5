"""Session login: a request of the API's own making."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.auth import SessionAuth, SessionSettings
from airflow_provider_apitask.core.csrf_token import CsrfSettings
from airflow_provider_apitask.core.errors import AuthenticationError, LoginUnavailableError, OriginError
from airflow_provider_apitask.core.exchange import exchange
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.core.origins import Trust
from tests.core.helpers import BASE, make_api, make_response

from .helpers import Clock, Server, a_request, pump, purposes, requests_in

LOGIN = Request(
    Purpose.LOGIN, "POST", "https://login.example/login", Headers({"Accept": "application/json"}), b'{"u":1}'
)


def session(token_path: str = "$.sessionId", clock: Clock | None = None, **fields: Any) -> SessionAuth:
    living = {name: fields.pop(name) for name in ("learned", "redact", "renewal") if name in fields}
    settings = SessionSettings(request=LOGIN, token_path=token_path, **fields)
    return SessionAuth(settings, clock=clock or Clock(), **living)


def server(answer: Response, status: int = 200) -> Server:
    return lambda request: (
        answer if request.purpose is Purpose.LOGIN else make_response(status, url=request.url)
    )


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("$.sessionId", make_response(200, {"sessionId": "t-1"})),
        ("sessionId", make_response(201, {"sessionId": "t-1"})),
        ("$.data[0].token", make_response(200, {"data": [{"token": "t-1"}]})),
        ("headers.X-Session", make_response(204, None, {"x-session": "t-1"})),
        ("headers.X-Session", make_response(200, b"<html>", {"X-Session": "t-1"}, content_type="text/html")),
        ("cookies.sid", make_response(200, None, {"Set-Cookie": "sid=t-1; Path=/; HttpOnly; Secure"})),
        ("cookies.sid", make_response(200, None, {"Set-Cookie": ["a=1; Path=/", "sid=t-1"]})),  # type: ignore[dict-item]
        ("cookies.sid", make_response(302, None, {"Set-Cookie": "sid=t-1", "Location": "/home"})),
        ("cookies.sid", make_response(303, None, {"Set-Cookie": 'sid="t-1"', "Location": "/home"})),
        ("headers.Location", make_response(302, None, {"Location": "t-1"})),
    ],
)
def test_where_the_token_is(path: str, answer: Response) -> None:
    learned: list[str] = []
    steps, _ = pump(session(path, learned=learned.append).flow(a_request()), server(answer))
    assert purposes(steps) == ["ENTER", "login", "LEAVE", "submit"]
    assert steps[1] == LOGIN
    assert steps[-1].headers.get("Authorization") == "Bearer t-1"
    assert learned == ["t-1"]


@pytest.mark.parametrize(("token", "text"), [(7, "7"), ("{x}{token}", "{x}{token}"), (" a ", " a ")])
def test_the_header_it_goes_in(token: Any, text: str) -> None:
    auth = session(header="IC-Session", template="<{token}|{token}>")
    steps, _ = pump(auth.flow(a_request()), server(make_response(200, {"sessionId": token})))
    assert steps[-1].headers.get("IC-Session") == f"<{text}|{text}>"
    assert steps[-1].headers.get("Authorization") is None


def test_a_token_that_is_a_cookie_keeps_the_others() -> None:
    auth = session("cookies.sid", header="Cookie", template="sid={token}")
    answer = make_response(200, None, {"Set-Cookie": "sid=t-1"})
    steps, _ = pump(auth.flow(a_request(headers={"Cookie": "csrftoken=c"})), server(answer))
    cookies = steps[-1].headers.get_all("Cookie")
    assert cookies == ["csrftoken=c; sid=t-1"]


def test_a_token_in_xml() -> None:
    auth = session("/r/@token")
    steps, _ = pump(auth.flow(a_request()), server(make_response(200, b"<r token='t-1'/>")))
    assert steps[-1].headers.get("Authorization") == "Bearer t-1"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/r/token", make_response(200, b"<r><session>s3cret</session></r>")),
        ("/r/token", make_response(200, {"token": "s3cret"})),
        ("$.sessionId", make_response(200, {"session": "s3cret"})),
        ("$.sessionId", make_response(200, {"sessionId": None, "x": "s3cret"})),
        ("$.sessionId", make_response(200, {"sessionId": "", "x": "s3cret"})),
        ("$.sessionId", make_response(200, b"<html>s3cret</html>", content_type="text/html")),
        ("$.sessionId", make_response(200)),
        ("$.sessionId", make_response(302, None, {"Location": "/login?error=1"})),
        ("headers.X-Session", make_response(200, {"x": "s3cret"})),
        ("headers.X-Session", make_response(200, {"x": "s3cret"}, {"X-Session": ""})),
        ("cookies.sid", make_response(200, {"x": "s3cret"}, {"Set-Cookie": "other=s3cret"})),
        ("cookies.sid", make_response(200, {"x": "s3cret"}, {"Set-Cookie": "\x00=;;;"})),
        ("cookies.sid", make_response(200, {"x": "s3cret"})),
    ],
)
def test_a_missing_token_names_the_path_and_shows_no_body(path: str, answer: Response) -> None:
    with pytest.raises(AuthenticationError) as caught:
        pump(session(path).flow(a_request()), server(answer))
    for part in (path, "session login", str(answer.status), "POST https://login.example/login"):
        assert part in caught.value.message
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("status", [301, 304, 307, 400, 401, 403, 404, 422])
def test_a_refused_login_says_why(status: int) -> None:
    answer = make_response(status, {"message": "wrong password", "sessionId": "t"})
    with pytest.raises(AuthenticationError, match="wrong password") as caught:
        pump(session().flow(a_request()), server(answer))
    assert caught.value.data["status_code"] == status


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_login_that_fails_for_the_moment(status: int) -> None:
    with pytest.raises(LoginUnavailableError):
        pump(session().flow(a_request()), server(make_response(status)))


# -- lifetime --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "answer", "renew_at"),
    [
        ({}, {}, None),
        ({"lifetime": 100.0}, {}, 1090),
        ({"lifetime": 100.0, "lifetime_path": "$.ttl"}, {"ttl": 10}, 1009),
        ({"lifetime_path": "$.ttl"}, {"ttl": "10"}, 1009),
        ({"lifetime_path": "$.ttl"}, {"ttl": 0}, None),
        ({"lifetime_path": "headers.X-Ttl"}, {}, 1009),
    ],
)
def test_lifetime(fields: dict[str, Any], answer: dict[str, Any], renew_at: float | None) -> None:
    auth = session(**fields)
    pump(auth.flow(a_request()), server(make_response(200, {"sessionId": "t", **answer}, {"X-Ttl": "10"})))
    assert auth._token is not None
    assert auth._token.renew_at == renew_at


@pytest.mark.parametrize("ttl", ["soon", [], {"a": 1}, [10], "10 s"])
def test_a_lifetime_that_is_junk_is_said(ttl: Any) -> None:
    auth = session(lifetime_path="$.ttl")
    answer = make_response(200, {"sessionId": "t-s3cret", "ttl": ttl})
    with pytest.raises(AuthenticationError, match=r"\$\.ttl") as caught:
        pump(auth.flow(a_request()), server(answer))
    assert "s3cret" not in caught.value.message


def test_a_missing_lifetime_is_said() -> None:
    with pytest.raises(AuthenticationError, match=r"\$\.ttl"):
        pump(session(lifetime_path="$.ttl").flow(a_request()), server(make_response(200, {"sessionId": "t"})))


# -- where the API is --------------------------------------------------------------------------------

MOVED = "https://na4.example.com/saas"


def moving(base_url: Any = f"{MOVED}/", **fields: Any) -> tuple[SessionAuth, Server]:
    auth = session(base_url_path="$.serverUrl", **fields)
    return auth, server(make_response(200, {"sessionId": "t-1", "serverUrl": base_url}))


def test_a_login_that_moves_the_base_url() -> None:
    auth, answers = moving()
    api = make_api(auth=auth)
    assert auth.moves_base_url
    assert api.placed(f"{BASE}/jobs") == f"{BASE}/jobs"
    with pytest.raises(OriginError):
        api.admit(f"{MOVED}/jobs")
    steps, response = pump(exchange(a_request(), api), answers)
    assert purposes(steps) == ["ENTER", "login", "LEAVE", "submit"], "and logs in once"
    assert requests_in(steps)[-1].url == f"{MOVED}/jobs"
    assert response.url == f"{MOVED}/jobs"
    assert auth.base_url == MOVED
    assert api.admit(f"{MOVED}/jobs") is Trust.CREDENTIALS
    assert api.admit(f"{BASE}/jobs") is Trust.CREDENTIALS
    with pytest.raises(OriginError):
        api.admit("https://na5.example.com/")


@pytest.mark.parametrize(
    ("url", "placed"),
    [
        (BASE, MOVED), (f"{BASE}?a=1", f"{MOVED}?a=1"), (f"{BASE}/", f"{MOVED}/"),
        (f"{BASE}1/a", f"{BASE}1/a"), ("https://api.example.com/v2", "https://api.example.com/v2"),
        (f"{MOVED}/x", f"{MOVED}/x"),
    ],
)  # fmt: skip
def test_what_moves(url: str, placed: str) -> None:
    auth, answers = moving()
    pump(auth.ready(), answers)
    assert make_api(auth=auth).placed(url) == placed
    assert make_api(auth=auth, base_url=f"{BASE}/").placed(url) == placed


def test_the_csrf_url_moves_too() -> None:
    auth, _ = moving()

    def answers(request: Request) -> Response:
        if request.purpose is Purpose.LOGIN:
            return make_response(200, {"sessionId": "t-1", "serverUrl": MOVED})
        return make_response(200, None, {"X-CSRF-Token": "c-1"})

    request = a_request(csrf_url=f"{BASE}/csrf")
    steps, _ = pump(exchange(request, make_api(auth=auth)), answers)
    assert [r.url for r in requests_in(steps)[1:]] == [f"{MOVED}/csrf", f"{MOVED}/jobs"]


@pytest.mark.parametrize("base_url", ["http://na4.example.com", "ftp://x", "na4", "http://[", 7, "//x/y"])
def test_a_base_url_that_is_none(base_url: Any) -> None:
    auth, answers = moving(base_url)
    with pytest.raises((OriginError, AuthenticationError)):
        pump(exchange(a_request(), make_api(auth=auth)), answers)


def test_a_base_url_with_credentials_in_it() -> None:
    auth, answers = moving("https://u:p@na4.example.com")
    with pytest.raises((OriginError, AuthenticationError)) as caught:
        pump(exchange(a_request(), make_api(auth=auth)), answers)
    assert "u:p" not in caught.value.message


def test_a_missing_base_url() -> None:
    auth, _ = moving()
    with pytest.raises(AuthenticationError, match="serverUrl"):
        pump(auth.ready(), server(make_response(200, {"sessionId": "t-1"})))


def test_nothing_moves_without_a_path() -> None:
    auth = session()
    assert list(auth.ready()) == []
    assert not auth.moves_base_url


@pytest.mark.parametrize(
    "token", [{"a": "s3cret"}, ["s3cret"], True, "s3cret\n", "s3cret\ud800", "s3cret" * 20_000]
)
def test_a_token_that_no_header_can_carry(token: Any) -> None:
    learned: list[str] = []
    auth = session(learned=learned.append)
    with pytest.raises(AuthenticationError, match=r"sessionId.*header") as caught:
        pump(auth.flow(a_request()), server(make_response(200, {"sessionId": token})))
    assert "s3cret" not in caught.value.message
    assert not learned


def test_a_failed_login_leaves_the_base_url() -> None:
    auth, _ = moving("na4")
    with pytest.raises(AuthenticationError, match="serverUrl"):
        pump(auth.ready(), server(make_response(200, {"sessionId": "t-1", "serverUrl": "na4"})))
    assert auth.base_url is None


# -- a login that needs a CSRF token itself --------------------------------------------------------

FORM = "https://login.example/form"
DJANGO = CsrfSettings(header="X-CSRFToken", cookie="csrftoken")
PAGE = """<form><input type='hidden' NAME=csrfmiddlewaretoken value="h-1&amp;2"><input name="u"></form>"""


def with_csrf(csrf: CsrfSettings = DJANGO, csrf_field: str | None = None, **fields: Any) -> SessionAuth:
    return session(
        "cookies.sid",
        header="Cookie",
        template="sid={token}",
        csrf=csrf,
        csrf_url=FORM,
        csrf_field=csrf_field,
        body_with=lambda token: f"p=1&t={token}".encode(),
        **fields,
    )


def form(page: str = "", **headers: Any) -> Server:
    def answer(request: Request) -> Response:
        if request.purpose is Purpose.CSRF:
            return make_response(200, page.encode(), headers, content_type="text/html")
        if request.purpose is Purpose.LOGIN:
            return make_response(302, None, {"Set-Cookie": "sid=t-1", "Location": "/"})
        return make_response(200)

    return answer


@pytest.mark.parametrize(
    ("csrf", "csrf_field", "page", "headers", "token"),
    [
        (DJANGO, None, "", {"Set-Cookie": "csrftoken=c-1; Path=/"}, "c-1"),
        (DJANGO, "csrfmiddlewaretoken", PAGE, {"Set-Cookie": "csrftoken=c-1"}, "h-1&2"),
        (DJANGO, "csrfmiddlewaretoken", "<p>", {"Set-Cookie": "csrftoken=c-1"}, "c-1"),
        (CsrfSettings(), "csrfmiddlewaretoken", PAGE, {"Set-Cookie": "pre=c-1"}, "h-1&2"),
        (CsrfSettings(), None, "", {"X-CSRF-Token": "x-1", "Set-Cookie": "pre=c-1"}, "x-1"),
    ],
    ids=["cookie", "hidden field", "cookie for want of a field", "session and field", "header"],
)
def test_the_login_gets_its_token(
    csrf: CsrfSettings, csrf_field: str | None, page: str, headers: dict[str, str], token: str
) -> None:
    learned: list[str] = []
    steps, _ = pump(
        with_csrf(csrf, csrf_field, learned=learned.append).flow(a_request()), form(page, **headers)
    )
    assert purposes(steps) == ["ENTER", "csrf", "login", "LEAVE", "submit"]
    fetch, login, sent = requests_in(steps)
    assert (fetch.method, fetch.url, fetch.body) == ("GET", FORM, None)
    assert (login.method, login.url, login.body) == ("POST", LOGIN.url, f"p=1&t={token}".encode())
    assert login.headers.get(csrf.header) == token
    assert "=c-1" in (login.headers.get("Cookie") or "")
    assert login.headers.get("Referer") == "https://login.example/"
    assert sent.headers.get("Cookie") == "sid=t-1"
    assert token in learned


@pytest.mark.parametrize("csrf_field", [None, "other"])
def test_a_form_without_a_token(csrf_field: str | None) -> None:
    with pytest.raises(AuthenticationError, match=r"CSRF token.*no cookie csrftoken") as caught:
        pump(with_csrf(csrf_field=csrf_field).flow(a_request()), form(PAGE))
    assert FORM in caught.value.message
    assert ("form field other" in caught.value.message) is (csrf_field is not None)


def test_a_form_that_fails_for_the_moment() -> None:
    with pytest.raises(LoginUnavailableError, match="CSRF token"):
        pump(with_csrf().flow(a_request()), lambda request: make_response(503))


def test_secrets() -> None:
    auth = session(secrets=("pw-s3cret",))
    assert tuple(auth.secrets) == ("pw-s3cret",)
    assert "s3cret" not in repr(auth) + repr(auth._settings)
