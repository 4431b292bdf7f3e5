"""OAuth 2.0: what is asked of a token endpoint, and what is made of its answer."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import pytest

from airflow_provider_apitask.core.auth import OAuth2Auth, OAuth2Settings
from airflow_provider_apitask.core.errors import AuthenticationError, LoginUnavailableError
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.core.redaction import Redactor
from tests.core.helpers import make_response

from .helpers import Clock, a_request, pump, purposes, requests_in

URL = "https://login.example/oauth/token?tenant=7"
ID, SECRET = "my:id +ü", "s3cret:/%&= ü"
GOOD = {"access_token": "tok-1", "token_type": "Bearer", "expires_in": 3600}


class Endpoint:
    """A token endpoint with these answers, the last one for ever, and an API that takes anything."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers or [GOOD])
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Response:
        if request.purpose is not Purpose.LOGIN:
            return make_response(200, url=request.url)
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Response) else make_response(200, answer)

    def forms(self) -> list[dict[str, str]]:
        made = []
        for request in self.asked:
            pairs = parse_qsl((request.body or b"").decode(), keep_blank_values=True, strict_parsing=True)
            assert len(dict(pairs)) == len(pairs), "a parameter stands there once (RFC 6749 §3.2)"
            made.append(dict(pairs))
        return made


def oauth2(clock: Clock | None = None, **fields: Any) -> OAuth2Auth:
    living = {name: fields.pop(name) for name in ("learned", "redact", "renewal") if name in fields}
    settings = OAuth2Settings(
        **{"token_url": URL, "client_id": ID, "client_secret": SECRET, "timeout": (3.0, 4.0), **fields}
    )
    return OAuth2Auth(settings, clock=clock or Clock(), **living)


def ask(auth: OAuth2Auth, *answers: Any) -> Endpoint:
    endpoint = Endpoint(*answers)
    pump(auth.flow(a_request()), endpoint)
    return endpoint


GRANTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "client_credentials": ({}, {}),
    "password": ({"username": "ü r", "password": "p&w"}, {"username": "ü r", "password": "p&w"}),
    "refresh_token": ({"refresh_token": "r+1"}, {"refresh_token": "r+1"}),
}


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("client_auth", ["basic", "body"])
def test_what_is_asked(grant: str, client_auth: str) -> None:
    settings, expected = GRANTS[grant]
    params = {"audience": "https://api.example.com", "resource": "urn:x", "extra": "ä b", "left_out": ""}
    auth = oauth2(grant_type=grant, client_auth=client_auth, scope="a b", params=params, **settings)
    endpoint = ask(auth)
    (request,), (form,) = endpoint.asked, endpoint.forms()
    assert (request.method, request.url, request.timeout) == ("POST", URL, (3.0, 4.0))
    assert request.headers.get("Content-Type") == "application/x-www-form-urlencoded"
    assert request.headers.get("Accept") == "application/json"
    common = {"grant_type": grant, "scope": "a b", **expected}
    common |= {name: value for name, value in params.items() if value}
    field = request.headers.get("Authorization")
    if client_auth == "body":
        assert field is None, "never both (RFC 6749 §2.3)"
        assert form == {**common, "client_id": ID, "client_secret": SECRET}
    else:
        assert form == common
        assert field is not None
        pair = base64.b64decode(field.removeprefix("Basic ")).decode()
        # Form-urlencoded, so that a colon in the id separates nothing (RFC 6749 §2.3.1).
        assert pair.isascii()
        assert [unquote_plus(part) for part in pair.split(":")] == [ID, SECRET]


@pytest.mark.parametrize("grant", GRANTS)
def test_what_is_empty_is_left_out(grant: str) -> None:
    settings, expected = GRANTS[grant]
    (form,) = ask(oauth2(grant_type=grant, **settings)).forms()
    assert form == {"grant_type": grant, **expected}


@pytest.mark.parametrize("grant", ["password", "refresh_token"])
@pytest.mark.parametrize("client_auth", ["basic", "body"])
def test_a_public_client_has_no_secret(grant: str, client_auth: str) -> None:
    settings, _ = GRANTS[grant]
    auth = oauth2(grant_type=grant, client_id="", client_secret="", client_auth=client_auth, **settings)
    endpoint = ask(auth)
    assert endpoint.asked[0].headers.get("Authorization") is None
    assert not {"client_id", "client_secret"} & {k for k, v in endpoint.forms()[0].items() if v}


def test_nothing_of_the_callers_request_goes_to_the_endpoint() -> None:
    (request,) = ask(oauth2()).asked
    assert {name for name, _ in request.headers} == {"Accept", "Content-Type", "Authorization"}
    assert request.csrf_url is None


def test_secrets() -> None:
    auth = oauth2(grant_type="password", username="u", password="pw", refresh_token="re")
    assert {SECRET, "pw", "re"} < set(auth.secrets)
    (request,) = ask(oauth2()).asked
    assert (request.headers.get("Authorization") or "").removeprefix("Basic ") in set(auth.secrets)
    assert "s3cret" not in repr(auth) + repr(auth._settings) + repr(request)


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", None])
def test_the_token_goes_along(token_type: str | None) -> None:
    answer = {**GOOD, "token_type": token_type}
    if token_type is None:
        del answer["token_type"]
    steps, _ = pump(oauth2().flow(a_request()), Endpoint(answer))
    assert purposes(steps) == ["ENTER", "login", "LEAVE", "submit"]
    assert steps[-1].headers.get_all("Authorization") == ["Bearer tok-1"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"access_token=tok-1&token_type=bearer&expires_in=3600"),
        ("text/plain", b"access_token=tok-1&expires_in=3600"),
        ("application/json; charset=utf-16", '{"access_token": "tok-1"}'.encode("utf-16")),
        ("application/json", b'\xef\xbb\xbf{"access_token": "tok-1"}'),
        ("text/html", b'{"access_token": "tok-1"}'),
    ],
)
def test_how_a_token_may_be_written(content_type: str, body: bytes) -> None:
    endpoint = Endpoint(Response(200, URL, Headers({"Content-Type": content_type}), body))
    steps, _ = pump(oauth2().flow(a_request()), endpoint)
    assert steps[-1].headers.get("Authorization") == "Bearer tok-1"


@pytest.mark.parametrize(
    ("expires_in", "lives"),
    [
        (3600, 3540), ("3600", 3540), (3600.0, 3540), (100, 90), ("100", 90),
        (None, None), (0, None), (-1, None), ("0", None), ("-5", None),
    ],
)  # fmt: skip
def test_how_long_it_lives(expires_in: Any, lives: float | None) -> None:
    """Nothing, and what cannot be meant, is: until it is refused."""
    auth = oauth2()
    ask(auth, {"access_token": "t", "expires_in": expires_in})
    assert auth._token is not None
    assert auth._token.renew_at == (None if lives is None else pytest.approx(1000 + lives))


@pytest.mark.parametrize("expires_in", ['""', '"soon"', '"3600.5"', "[]", '{"a": 1}', "Infinity", "NaN"])
def test_a_lifetime_that_is_junk(expires_in: str) -> None:
    body = f'{{"access_token": "tok-s3cret", "expires_in": {expires_in}}}'.encode()
    auth = oauth2()
    with pytest.raises(AuthenticationError, match="not a response of a token endpoint") as caught:
        ask(auth, make_response(200, body, content_type="application/json"))
    assert "s3cret" not in caught.value.message, "the body is not shown: there is a token in it"


def test_without_expires_in_it_lives_until_refused() -> None:
    clock = Clock()
    auth = oauth2(clock)
    pump(auth.flow(a_request()), Endpoint({"access_token": "t"}))
    clock.now += 1e9
    assert ask(auth).asked == []


def test_a_scope_that_was_not_asked_for_is_no_error() -> None:
    """Some servers grant another scope without a word; what cannot be done with it says the API."""
    steps, _ = pump(oauth2(scope="a b").flow(a_request()), Endpoint({**GOOD, "scope": "a"}))
    assert steps[-1].purpose is Purpose.SUBMIT


def test_a_refresh_token_that_came_along_is_used_and_replaced() -> None:
    learned: list[str] = []
    auth = oauth2(grant_type="password", username="u", password="pw", learned=learned.append)
    answers = [{"access_token": f"tok-{n}", "expires_in": 10, "refresh_token": f"ref-{n}"} for n in (1, 2, 3)]
    endpoint = Endpoint(*answers)
    for _ in range(3):
        pump(auth.flow(a_request()), endpoint)
        auth._clock.now += 100  # type: ignore[attr-defined]
    forms = endpoint.forms()
    assert [form["grant_type"] for form in forms] == ["password", "refresh_token", "refresh_token"]
    assert [form.get("refresh_token") for form in forms] == [None, "ref-1", "ref-2"]
    assert "password" not in forms[1]
    assert {"ref-1", "ref-2", "ref-3", "tok-1", "tok-2", "tok-3"} <= set(learned)


def test_a_refresh_token_that_ran_out_begins_from_the_start() -> None:
    auth = oauth2(grant_type="password", username="u", password="pw")
    refused = make_response(400, {"error": "invalid_grant"})
    endpoint = Endpoint({**GOOD, "refresh_token": "ref-1"}, refused, {"access_token": "tok-2"}, GOOD)
    pump(auth.flow(a_request()), endpoint)
    auth._clock.now += 1e6  # type: ignore[attr-defined]
    steps, _ = pump(auth.flow(a_request()), endpoint)
    assert purposes(steps) == ["ENTER", "login", "login", "LEAVE", "submit"]
    assert [form["grant_type"] for form in endpoint.forms()] == ["password", "refresh_token", "password"]
    assert steps[-1].headers.get("Authorization") == "Bearer tok-2"


def test_a_failing_refresh_is_not_a_refused_one() -> None:
    auth = oauth2(grant_type="password", username="u", password="pw")
    endpoint = Endpoint({**GOOD, "refresh_token": "ref-1"}, make_response(503), {"access_token": "tok-2"})
    pump(auth.flow(a_request()), endpoint)
    auth._clock.now += 1e6  # type: ignore[attr-defined]
    with pytest.raises(LoginUnavailableError, match="503"):
        pump(auth.flow(a_request()), endpoint)
    pump(auth.flow(a_request()), endpoint)
    assert endpoint.forms()[-1]["refresh_token"] == "ref-1"


def test_the_refresh_grant_has_nothing_to_fall_back_to() -> None:
    auth = oauth2(grant_type="refresh_token", refresh_token="r-1")
    with pytest.raises(AuthenticationError, match="invalid_grant: it was used"):
        ask(auth, make_response(400, {"error": "invalid_grant", "error_description": "it was used"}))


def refusal(answer: Any, **fields: Any) -> AuthenticationError:
    auth = oauth2(redact=lambda text: text.replace("s3cret", "***"), **fields)
    with pytest.raises(AuthenticationError) as caught:
        ask(auth, answer)
    assert "token endpoint" in caught.value.message
    assert "s3cret" not in caught.value.message
    assert "tok" not in caught.value.message.replace("token", ""), "no body that may hold a token"
    return caught.value


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_error_and_description_are_shown(status: int) -> None:
    body = {"error": "invalid_client", "error_description": "who is s3cret?", "error_uri": "https://x/"}
    error = refusal(make_response(status, body))
    assert "invalid_client: who is ***?" in error.message
    assert error.data["status_code"] == status


def test_an_error_of_ones_own() -> None:
    error = refusal(make_response(400, {"error": "AADSTS7000215", "error_description": "expired"}))
    assert "AADSTS7000215" in error.message
    assert "expired" in error.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (make_response(200, {"token": "tok-s3cret"}), "no access_token"),
        (make_response(200, {}), "no access_token"),
        (make_response(200), "no access_token"),
        (make_response(204), "no access_token"),
        (make_response(200, {"access_token": None}), "access_token"),
        (make_response(200, {"access_token": ""}), "access_token"),
        (make_response(200, {"access_token": {"a": 1}}), "access_token"),
        (make_response(200, ["tok"]), "200"),
        (make_response(200, 7), "200"),
        (make_response(200, b"null", content_type="application/json"), "200"),
        (make_response(200, b"<html>Sign in</html>", content_type="text/html"), "no access_token"),
        (make_response(404, b"<html>gone</html>", content_type="text/html"), "404"),
        (make_response(400, b"nonsense"), "nonsense"),
        (make_response(401), "401"),
        (make_response(400, {"access_token": "tok"}), "400"),
        (make_response(302, None, {"Location": "/login"}), "302"),
    ],
)
def test_an_answer_without_a_token(answer: Response, said: str) -> None:
    assert said in refusal(answer).message


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_that_fails_for_the_moment(status: int) -> None:
    with pytest.raises(LoginUnavailableError, match="try later"):
        ask(oauth2(), make_response(status, {"error": "temporarily_unavailable: try later"}))


def test_a_refused_token_is_renewed_once() -> None:
    endpoint = Endpoint({"access_token": "tok-1"}, {"access_token": "tok-2"})

    def server(request: Request) -> Response:
        if request.headers.get("Authorization") == "Bearer tok-1":
            return make_response(401)
        return endpoint(request)

    steps, response = pump(oauth2().flow(a_request()), server)
    assert purposes(steps) == ["ENTER", "login", "LEAVE", "submit", "ENTER", "login", "LEAVE", "submit"]
    assert response.status == 200
    assert requests_in(steps)[-1].headers.get_all("Authorization") == ["Bearer tok-2"]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": 7, "message": "why it is so"}},
        {"error": ["a", {"b": 1}]},
        {"error": 7, "error_description": {"a": 1}},
        {"error": "x", "error_description": ["a"], "error_uri": {}, "state": []},
        {"access_token": {"a": "tok-s3cret"}},
        {"access_token": ["tok-s3cret"]},
        {"access_token": True},
        {"access_token": "tok-s3cret\nX-Other: 1"},
        {"access_token": "tok-s3cret\ud800"},
        {"access_token": "tok-s3cret" * 10_000},
        {"access_token": "tok-s3cret", "scope": {"a": 1}},
        [["access_token", "tok-1"]],
        "tok-1",
        7,
        None,
    ],
)
def test_an_odd_answer_is_an_error_of_authentication(answer: Any, status: int) -> None:
    learned: list[str] = []
    with pytest.raises(AuthenticationError) as caught:
        ask(oauth2(learned=learned.append, redact=Redactor().text), make_response(status, answer))
    assert caught.value.data["status_code"] == status
    assert "s3cret" not in caught.value.message
    assert not learned


@pytest.mark.parametrize("refresh_token", [{"a": 1}, ["x"], "a\nb", "\ud800", 7])
def test_an_odd_refresh_token_is_not_used(refresh_token: Any) -> None:
    auth = oauth2()
    ask(auth, {**GOOD, "refresh_token": refresh_token})
    auth._token = None
    (form,) = ask(auth).forms()
    assert form["grant_type"] == "client_credentials"
