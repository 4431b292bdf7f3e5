"""A ready session for DAG authors: credentials of each kind, and where they do not go."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import requests
from requests_oauthlib import OAuth2Session

from airflow_provider_apitask import ApiHook
from airflow_provider_apitask.core.errors import ApiTaskError, AuthenticationError, OriginError
from tests.airflow.helpers import Connect
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

OAUTH2 = {
    "auth_type": "oauth2",
    "oauth2_endpoint": "/token",
    "oauth2_client_id": "i",
    "oauth2_client_secret": "c",
}
SESSION = {"auth_type": "session", "session_endpoint": "/login", "session_path": "$.t"}
OAUTH1 = {"auth_type": "oauth1", "oauth1_client_key": "ck", "oauth1_client_secret": "cs"}
WORKER = {"auth_type": "requests", "requests_auth": "requests.auth.HTTPBasicAuth"}
KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "basic": ({"login": "u", "password": "p"}, "Authorization", "Basic dTpw"),
    "bearer": ({"password": "tok", "extra": {"auth_type": "bearer"}}, "Authorization", "Bearer tok"),
    "api_key": ({"password": "k", "extra": {"auth_type": "api_key"}}, "X-API-Key", "k"),
    "cookie": (
        {"password": "k", "extra": {"auth_type": "api_key", "key_in": "cookie", "key_name": "sid"}},
        "Cookie",
        "sid=k",
    ),
    "headers": (
        {"extra": {"auth_type": "headers", "headers_secret": '{"X-A": "1", "X-B": "2"}'}},
        "X-B",
        "2",
    ),
    "oauth1": ({"extra": OAUTH1}, "Authorization", "OAuth "),
    "oauth2": ({"extra": OAUTH2}, "Authorization", "Bearer tok-1"),
    "session": ({"login": "u", "password": "p", "extra": SESSION}, "Authorization", "Bearer ses-1"),
    "digest": ({"login": "u", "password": "p", "extra": {"auth_type": "digest"}}, "Authorization", "Digest "),
    "requests": ({"login": "u", "password": "p", "extra": WORKER}, "Authorization", "Basic dTpw"),
}
OWN_HEADER = {"X-Tenant-Token": "tenant-s3cret"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    def protected(request: Recorded) -> Answer:
        if "digest" in request.target and request.header("Authorization") is None:
            return Answer(401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
        return Answer(json={"ok": True})

    with ScriptedServer() as made:
        for method in ("GET", "POST"):
            made.on(method, "/x", protected)
        made.on("POST", "/token", Answer(json={"access_token": "tok-1", "expires_in": 3600}))
        made.on("POST", "/login", Answer(json={"t": "ses-1"}))
        yield made


@pytest.fixture
def foreign() -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        made.on("GET", "/x", Answer(json=1))
        yield made


def opened(connect: Connect, server: ScriptedServer, kind: str, **extra: Any) -> requests.Session:
    fields = dict(KINDS[kind][0])
    connect(server.url, **{**fields, "extra": {**fields.get("extra", {}), "headers": OWN_HEADER, **extra}})
    return ApiHook("api").get_conn()


def get(session: requests.Session, url: str, **kwargs: Any) -> requests.Response:
    with session, warnings.catch_warnings():
        return session.get(url, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gets_through(connect: Connect, server: ScriptedServer, kind: str) -> None:
    _, header, value = KINDS[kind]
    session = opened(connect, server, kind)
    assert isinstance(session, OAuth2Session) is (kind == "oauth2")
    assert session.trust_env is False
    answer = get(session, f"{server.url}/x?kind={kind}")
    assert answer.json() == {"ok": True}
    request = server.requests("GET", "/x")[-1]
    assert (request.header(header) or "").startswith(value)
    assert len(request.headers_all(header)) == 1
    assert request.header("X-Tenant-Token") == "tenant-s3cret"


def test_a_key_in_the_query(connect: Connect, server: ScriptedServer) -> None:
    connect(server.url, password="k", extra={"auth_type": "api_key", "key_in": "query"})
    get(ApiHook("api").get_conn(), f"{server.url}/x?a=1")
    assert server.history[-1].target == "/x?a=1&api_key=k"


def test_a_post_with_a_form_is_signed_with_it(connect: Connect, server: ScriptedServer) -> None:
    from oauthlib.common import Request
    from oauthlib.oauth1.rfc5849 import signature

    with opened(connect, server, "oauth1") as session:
        session.post(f"{server.url}/x?q=1", data={"a": "1 2"})
    sent = server.history[-1]
    field = sent.header("Authorization") or ""
    made = Request(f"{server.url}/x?q=1", "POST", sent.body.decode())
    made.params = signature.collect_parameters(
        uri_query="q=1", body=sent.body.decode(), headers={"Authorization": field}, with_realm=False
    )
    made.signature = unquote(field.partition('oauth_signature="')[2].partition('"')[0])
    assert signature.verify_hmac_sha1(made, "cs", "")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_goes_to_a_foreign_origin_by_a_redirect(
    connect: Connect, server: ScriptedServer, foreign: ScriptedServer, kind: str
) -> None:
    server.on("GET", "/away", Answer(302, headers={"Location": f"{foreign.url}/x", "Set-Cookie": "s=1"}))
    session = opened(connect, server, kind)
    with pytest.raises(OriginError):
        get(session, f"{server.url}/away")
    assert foreign.history == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_goes_to_a_foreign_origin_at_once(
    connect: Connect, server: ScriptedServer, foreign: ScriptedServer, kind: str
) -> None:
    session = opened(connect, server, kind)
    with pytest.raises(OriginError):
        get(session, f"{foreign.url}/x")
    assert foreign.history == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_anonymous_origin_gets_no_credentials(
    connect: Connect, server: ScriptedServer, foreign: ScriptedServer, kind: str
) -> None:
    server.on("GET", "/away", Answer(302, headers={"Location": f"{foreign.url}/x", "Set-Cookie": "s=1"}))
    session = opened(connect, server, kind, anonymous_origins=[foreign.url])
    assert get(session, f"{server.url}/away").json() == 1
    (request,) = foreign.history
    own = {"accept", "user-agent", "host", "accept-encoding", "connection"}
    assert {name.lower() for name, _ in request.headers} <= own


@pytest.mark.parametrize("kind", KINDS)
def test_credentials_stay_on_a_redirect_within(connect: Connect, server: ScriptedServer, kind: str) -> None:
    server.on("GET", "/moved", Answer(302, headers={"Location": f"/x?kind={kind}"}))
    _, header, value = KINDS[kind]
    assert get(opened(connect, server, kind), f"{server.url}/moved").json() == {"ok": True}
    values = server.requests("GET", "/x")[-1].headers_all(header)
    assert len(values) == 1
    assert values[0].startswith(value)


def test_no_netrc_and_no_environment(
    connect: Connect, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    connect(server.url)
    assert get(ApiHook("api").get_conn(), f"{server.url}/x").status_code == 200
    assert server.history[-1].header("Authorization") is None


def test_transport_settings(connect: Connect) -> None:
    extra = {"ca_bundle": "/ca.pem", "client_cert": "/c.pem", "client_key": "/k.pem", "proxy": "proxy:1"}
    connect("https://api.example.com", extra=extra)
    with ApiHook("api").get_conn() as session:
        assert session.verify == "/ca.pem"
        assert session.cert == ("/c.pem", "/k.pem")
        assert session.proxies == {"all": "http://proxy:1"}


def test_a_token_is_got_once(connect: Connect, server: ScriptedServer) -> None:
    with opened(connect, server, "oauth2") as session:
        assert session.token["access_token"] == "tok-1"  # type: ignore[attr-defined]
        for _ in range(3):
            session.get(f"{server.url}/x")
    assert len(server.requests("POST", "/token")) == 1


@pytest.mark.parametrize(("answer", "kind"), [(Answer(401), "oauth2"), (Answer(400), "session")])
def test_no_token_is_to_be_had(connect: Connect, server: ScriptedServer, answer: Answer, kind: str) -> None:
    for path in ("/token", "/login"):
        server.on("POST", path, answer)
    with pytest.raises(AuthenticationError):
        get(opened(connect, server, kind), f"{server.url}/x")


def test_a_token_endpoint_without_an_answer(connect: Connect, server: ScriptedServer) -> None:
    server.on("POST", "/token", Answer(drop="before"))
    with pytest.raises(ApiTaskError, match="/token"):
        opened(connect, server, "oauth2")
