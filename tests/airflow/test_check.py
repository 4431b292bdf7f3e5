"""Testing a connection: what the report says of each outcome, and that it never changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask import ApiHook
from tests.airflow.helpers import Connect
from tests.support import Answer, refused_url, self_signed_tls
from tests.support.scripted_server import ScriptedServer

OAUTH2 = {
    "auth_type": "oauth2",
    "oauth2_endpoint": "/token",
    "oauth2_client_id": "i",
    "oauth2_client_secret": "cs-s3cret",
}
TOKEN = Answer(json={"access_token": "tok-s3cret"})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        made.on("GET", "/health", Answer(json={"ok": True}))
        made.on("POST", "/token", TOKEN)
        yield made


def report(connect: Connect, host: str, **fields: Any) -> tuple[bool, str]:
    extra = {"health_endpoint": "/health", **fields.pop("extra", {})}
    connect(host, extra=extra, **fields)
    ok, text = ApiHook("api").test_connection()
    assert "s3cret" not in text
    return ok, text


def test_all_is_well(connect: Connect, server: ScriptedServer) -> None:
    host = server.url.removeprefix("http://")
    ok, text = report(connect, server.url, login="u", password="p-s3cret")
    assert ok
    assert text == (
        f"Reached: {host}. TLS: none, plain HTTP. Authenticated: the credentials were accepted. "
        f"Status: GET {server.url}/health answered 200 OK."
    )
    assert [(r.method, r.target, r.body) for r in server.history] == [("GET", "/health", b"")]
    assert server.history[0].header("Authorization") is not None


def test_without_credentials_it_says_so(connect: Connect, server: ScriptedServer) -> None:
    ok, text = report(connect, server.url)
    assert ok
    assert "no credentials are configured" in text


def test_head(connect: Connect, server: ScriptedServer) -> None:
    server.on("HEAD", "/health", Answer(204))
    ok, text = report(connect, server.url, extra={"health_method": "HEAD"})
    assert ok
    assert f"HEAD {server.url}/health answered 204" in text
    assert [r.method for r in server.history] == ["HEAD"]


def test_the_base_url_by_default(connect: Connect, server: ScriptedServer) -> None:
    server.on("GET", "/v1", Answer(json=1))
    assert report(connect, f"{server.url}/v1", extra={"health_endpoint": ""})[0]


@pytest.mark.parametrize("status", [401, 403, 407])
def test_refused_credentials(connect: Connect, server: ScriptedServer, status: int) -> None:
    server.on("GET", "/health", Answer(status, {"message": "who are you, p-s3cret?"}))
    ok, text = report(connect, server.url, login="u", password="p-s3cret")
    assert not ok
    for part in ("Reached: ", "Authenticated: no. ", str(status), "who are you, ***?"):
        assert part in text


@pytest.mark.parametrize(
    ("status", "hint"), [(404, True), (405, True), (400, False), (500, False), (503, False)]
)
def test_another_status(connect: Connect, server: ScriptedServer, status: int, hint: bool) -> None:
    server.on("GET", "/health", Answer(status, {"message": "what it says"}))
    ok, text = report(connect, server.url)
    assert not ok
    assert "Authenticated: unknown." in text
    assert f"answered {status}" in text
    assert "what it says" in text
    assert ("Set health_endpoint" in text) is hint
    assert len(server.history) == 1, "and is not tried again"


def test_not_reached(connect: Connect) -> None:
    ok, text = report(connect, refused_url())
    assert not ok
    assert text.startswith(f"Reached: no, {refused_url().removeprefix('http://')}: ")
    assert "TLS" not in text


def test_no_answer(connect: Connect, server: ScriptedServer) -> None:
    server.on("GET", "/health", Answer(drop="before"))
    ok, text = report(connect, server.url)
    assert not ok
    for part in ("Reached: ", "Status: none: ", "connection"):
        assert part in text


def test_a_slow_server(connect: Connect, server: ScriptedServer) -> None:
    server.on("GET", "/health", Answer(delay=2.0))
    ok, text = report(connect, server.url, extra={"timeout": 0.2})
    assert not ok
    assert "no answer within the timeout" in text


@pytest.mark.parametrize("endpoint", ["https://evil.example/", "http://["])
def test_a_health_endpoint_elsewhere(connect: Connect, server: ScriptedServer, endpoint: str) -> None:
    ok, text = report(connect, server.url, extra={"health_endpoint": endpoint})
    assert not ok
    assert text
    assert server.history == []


def test_a_redirect_elsewhere(connect: Connect, server: ScriptedServer) -> None:
    server.on("GET", "/health", Answer(302, headers={"Location": "https://evil.example/"}))
    ok, text = report(connect, server.url)
    assert not ok
    assert "evil.example" in text


def test_a_wrong_field(connect: Connect, server: ScriptedServer) -> None:
    ok, text = report(connect, server.url, extra={"auth_type": "bearer"})
    assert not ok
    assert "bearer_token" in text
    assert server.history == []


# -- login ------------------------------------------------------------------------------------------------


def test_a_login_that_works(connect: Connect, server: ScriptedServer) -> None:
    ok, text = report(connect, server.url, extra=OAUTH2)
    assert ok, text
    assert [(r.method, r.path) for r in server.history] == [("POST", "/token"), ("GET", "/health")]


def test_a_refused_login(connect: Connect, server: ScriptedServer) -> None:
    answer = Answer(401, {"error": "invalid_client", "error_description": "unknown client cs-s3cret"})
    server.on("POST", "/token", answer)
    ok, text = report(connect, server.url, extra=OAUTH2)
    assert not ok
    for part in ("Authenticated: no. ", "invalid_client: unknown client ***", "token endpoint", "401"):
        assert part in text
    assert [r.path for r in server.history] == ["/token"]


@pytest.mark.parametrize("answer", [Answer(503), Answer(drop="before")])
def test_a_login_that_fails_for_the_moment(connect: Connect, server: ScriptedServer, answer: Answer) -> None:
    server.on("POST", "/token", answer)
    ok, text = report(connect, server.url, extra=OAUTH2)
    assert not ok
    assert text.startswith("Authenticated: no: ")
    assert "/token" in text or "token endpoint" in text


def test_an_unreachable_token_endpoint(connect: Connect, server: ScriptedServer) -> None:
    ok, text = report(connect, server.url, extra={**OAUTH2, "oauth2_endpoint": f"{refused_url()}/t"})
    assert not ok
    assert refused_url() in text
    assert server.history == []


def test_a_class_of_requests(connect: Connect, server: ScriptedServer) -> None:
    fields = {"login": "u", "password": "p-s3cret"}
    extra = {"auth_type": "requests", "requests_auth": "requests.auth.HTTPBasicAuth"}
    ok, text = report(connect, server.url, extra=extra, **fields)
    assert ok
    assert "the credentials were accepted" in text


# -- TLS --------------------------------------------------------------------------------------------------


def test_tls(connect: Connect, tmp_path: Path) -> None:
    tls = self_signed_tls(tmp_path)
    with ScriptedServer(ssl_context=tls.context) as server:
        server.on("GET", "/health", Answer(json=1))
        ok, text = report(connect, server.url)
        assert not ok
        assert text.startswith("Reached: ")
        assert "TLS: no: " in text
        assert "self-signed certificate" in text
        assert server.history == []
        ok, text = report(connect, server.url, extra={"ca_bundle": tls.ca_file})
        assert ok
        assert "TLS: verified." in text
        ok, text = report(connect, server.url, extra={"verify": False})
        assert ok
        assert "TLS: not verified (verify is off)." in text
    ok, text = report(connect, server.url, extra={"ca_bundle": str(tmp_path / "missing.pem")})
    assert not ok
    assert "missing.pem" in text
