"""What the fields of a connection mean, in all the shapes that Airflow stores them in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask import ApiHook
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.exceptions import ConnectionFieldError
from airflow_provider_apitask.hooks.connection import ApiConnection, read_connection
from tests.support import Answer, self_signed_tls
from tests.support.scripted_server import ScriptedServer

BASE = "https://api.example.com/v1"


def read(monkeypatch: pytest.MonkeyPatch, value: str | dict[str, Any]) -> ApiConnection:
    if isinstance(value, dict):
        value = json.dumps({"conn_type": "apitask", **value})
    monkeypatch.setenv("AIRFLOW_CONN_API", value)
    return ApiHook("api").connection


@pytest.mark.parametrize(
    ("value", "base_url"),
    [
        ({"host": BASE}, BASE),
        ({"host": f" {BASE}/ "}, f"{BASE}/"),
        ({"host": "api.example.com/v1"}, BASE),
        ({"host": "api.example.com", "schema": "v1"}, BASE),
        ({"host": "api.example.com", "schema": "https"}, "https://api.example.com"),
        (
            {"host": "api.example.com", "schema": "http", "extra": {"allow_http": True}},
            "http://api.example.com",
        ),
        ({"host": "api.example.com/v1", "port": 8443}, "https://api.example.com:8443/v1"),
        ({"host": "https://api.example.com:8443/v1", "port": 8443}, "https://api.example.com:8443/v1"),
        ({"host": BASE, "port": 0}, BASE),
        ({"host": "::1", "port": 8443}, "https://[::1]:8443"),
        ({"host": "[::1]:8443"}, "https://[::1]:8443"),
        ({"host": "https://[::1]/v1", "port": 8443}, "https://[::1]:8443/v1"),
        ({"host": "http://127.0.0.1:80", "extra": {"allow_http": "yes"}}, "http://127.0.0.1:80"),
        ("apitask://api.example.com/v1", BASE),
        ("apitask://https://api.example.com:8443/v1", "https://api.example.com:8443/v1"),
        ("apitask://https%3A%2F%2Fapi.example.com%2Fv1", BASE),
        ("apitask://[::1]:8443", "https://[::1]:8443"),
        ("apitask://http://localhost:80/?allow_http=true", "http://localhost:80"),
    ],
)
def test_base_url(monkeypatch: pytest.MonkeyPatch, value: str | dict[str, Any], base_url: str) -> None:
    assert read(monkeypatch, value).api.base_url == base_url


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ({}, "host", "is empty"),
        ({"host": "  "}, "host", "is empty"),
        ({"host": "ftp://x"}, "host", "'ftp://x'"),
        ({"host": "https://"}, "host", "absolute URL"),
        ({"host": "https://u:p4ssword@api.example.com"}, "host", "login and password"),
        ({"host": "https://api.example.com:port"}, "host", "absolute URL"),
        ({"host": "https://api.example.com:8443", "port": 9}, "port", "8443"),
        (
            {"host": "http://api.example.com", "schema": "https", "extra": {"allow_http": 1}},
            "schema",
            "'http'",
        ),
        ({"host": "http://127.0.0.1"}, "allow_http", "plain HTTP"),
        ({"host": "http://localhost", "extra": {"allow_http": False}}, "allow_http", "plain HTTP"),
        ({"host": BASE, "extra": {"allow_http": "maybe"}}, "allow_http", "true or false"),
        ({"host": BASE, "extra": {"auth_type": "magic"}}, "auth_type", "none, basic, bearer, api_key"),
        ({"host": BASE, "login": "u"}, "password", "basic"),
        ({"host": BASE, "password": "x", "extra": {"auth_type": "basic"}}, "login", "basic"),
        ({"host": BASE, "extra": {"auth_type": "bearer"}}, "bearer_token", "bearer"),
        ({"host": BASE, "password": "", "extra": {"auth_type": "api_key"}}, "key_secret", "api_key"),
        (
            {"host": BASE, "login": "u", "password": "x", "extra": {"auth_type": "none"}},
            "auth_type",
            "login or password",
        ),
        (
            {"host": BASE, "password": "x", "extra": {"auth_type": "api_key", "key_in": "body"}},
            "key_in",
            "header, query",
        ),
        ({"host": BASE, "extra": {"headers": "{"}}, "headers", "JSON object"),
        ({"host": BASE, "extra": {"headers": [1]}}, "headers", "JSON object"),
        ({"host": BASE, "extra": {"headers": {"Host": "x"}}}, "headers", "Host"),
        ({"host": BASE, "extra": {"headers": {"X": "s3cret\nY"}}}, "headers", "line break"),
        *(
            ({"host": BASE, "extra": {"timeout": value}}, "timeout", "above 0")
            for value in (0, -1, "soon", True, [1], [1, 0], "nan", {})
        ),
        ({"host": BASE, "conn_type": "postgres"}, "conn_type", "'postgres'"),
    ],
)
def test_wrong_fields_are_named(
    monkeypatch: pytest.MonkeyPatch, value: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(ConnectionFieldError, match=message) as caught:
        _ = read(monkeypatch, value)
    assert caught.value.data == {"conn_id": "api", "field": field}
    text = str(caught.value)
    assert "'api'" in text
    assert field in text
    assert "s3cret" not in text
    assert "p4ssword" not in text


@pytest.mark.parametrize(
    "timeout", [(5, (5.0, 5.0)), ("7.5", (7.5, 7.5)), ([3, 4], (3.0, 4.0)), (None, (10.0, 30.0))]
)
def test_timeout(monkeypatch: pytest.MonkeyPatch, timeout: tuple[Any, Any]) -> None:
    assert read(monkeypatch, {"host": BASE, "extra": {"timeout": timeout[0]}}).api.timeout == timeout[1]


def sent(found: ApiConnection, server: ScriptedServer) -> Any:
    """What arrives of one request, which both drivers send alike."""
    from airflow_provider_apitask.core.request_spec import RequestSpec
    from airflow_provider_apitask.drivers.blocking import BlockingTransport

    request = found.api.build(RequestSpec(endpoint="/x"), Purpose.POLL)

    async def on_a_loop(request: Request) -> Any:
        async with EventLoopTransport(found.api, found.options) as transport:
            return await transport.send(request)

    with BlockingTransport(found.api, found.options) as transport:
        answers = [transport.send(request), asyncio.run(on_a_loop(request))]
    assert [answer.status if isinstance(answer, Response) else answer for answer in answers] == [200, 200]
    first, second = server.trace()
    assert first == second
    return server.history[-1]


@pytest.fixture
def server() -> Any:
    with ScriptedServer() as made:
        made.on("GET", "/x", Answer(json=1))
        made.on("GET", "/v1/x", Answer(json=1))
        yield made


@pytest.mark.parametrize(
    ("fields", "headers", "target"),
    [
        ({}, {}, "/x"),
        ({"login": "u", "password": "p"}, {"Authorization": "Basic dTpw"}, "/x"),
        ({"login": "u", "password": ""}, {"Authorization": "Basic dTo="}, "/x"),
        ({"password": "tok", "extra": {"auth_type": "bearer"}}, {"Authorization": "Bearer tok"}, "/x"),
        ({"password": "k", "extra": {"auth_type": "api_key"}}, {"X-API-Key": "k"}, "/x"),
        ({"password": "k", "extra": {"auth_type": "api_key", "key_name": "X-K"}}, {"X-K": "k"}, "/x"),
        ({"password": "k/", "extra": {"auth_type": "api_key", "key_in": "query"}}, {}, "/x?api_key=k%2F"),
        ({"extra": {"headers": {"X-A": "1", "X-B": True}}}, {"X-A": "1", "X-B": "true"}, "/x"),
        ({"extra": {"headers": '{"X-A": "1"}'}}, {"X-A": "1"}, "/x"),
        ({"extra": {"headers": None, "key_name": None, "timeout": None, "auth_type": None}}, {}, "/x"),
    ],
)
def test_what_goes_along(
    monkeypatch: pytest.MonkeyPatch,
    server: ScriptedServer,
    fields: dict[str, Any],
    headers: dict[str, str],
    target: str,
) -> None:
    extra = {"allow_http": True, **fields.get("extra", {})}
    request = sent(read(monkeypatch, {**fields, "host": server.url, "extra": extra}), server)
    own = {"accept", "user-agent", "host", "accept-encoding", "connection"}
    assert {name: value for name, value in request.headers if name.lower() not in own} == headers
    assert request.target == target


def test_unknown_extra_is_said_and_never_sent(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    extra = {"allow_http": True, "x_token": "s3cret", "Authorization": "s3cret"}
    request = sent(read(monkeypatch, {"host": server.url, "extra": extra}), server)
    assert "s3cret" not in str(request.headers)
    assert "unknown field in Extra, ignored: x_token" in caplog.text
    assert "s3cret" not in caplog.text


def test_secrets_are_known_to_the_redactor(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"headers": {"X-Api-Token": "header-s3cret"}}
    api = read(monkeypatch, {"host": BASE, "login": "u", "password": "pass-s3cret", "extra": extra}).api
    assert api.redactor.text("a pass-s3cret b header-s3cret c") == "a *** b *** c"
    assert "s3cret" not in repr(api)


# -- type http -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "base_url"),
    [
        ({"host": BASE}, BASE),
        ({"host": "api.example.com"}, "http://api.example.com"),
        ({"host": "api.example.com", "schema": "https", "port": 8443}, "https://api.example.com:8443"),
        ("http://api.example.com:8080/https", "https://api.example.com:8080"),
    ],
)
def test_http_base_url(monkeypatch: pytest.MonkeyPatch, value: Any, base_url: str) -> None:
    value = {"conn_type": "http", **value} if isinstance(value, dict) else value
    assert read(monkeypatch, value).api.base_url == base_url


def test_http_sends_what_http_operator_sends(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
    extra = {"X-One": "1", "timeout": 5, "verify": False, "max_redirects": 2, "check_response": False}
    fields = {"conn_type": "http", "host": server.url, "login": "u", "password": "p", "extra": extra}
    found = read(monkeypatch, fields)
    request = sent(found, server)
    assert (request.header("X-One"), request.header("Authorization")) == ("1", "Basic dTpw")
    assert not {"timeout", "verify", "check_response"} & {name.lower() for name, _ in request.headers}
    assert (found.api.timeout, found.options.verify) == ((5.0, 5.0), False)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, (True, None, {})),
        ({"verify": "False"}, (False, None, {})),
        ({"verify": "true"}, (True, None, {})),
        ({"verify_ssl": False}, (False, None, {})),
        ({"verify": "/ca.pem", "cert": "/c.pem"}, ("/ca.pem", "/c.pem", {})),
        ({"cert": ["/c.pem", "/k.pem"]}, (True, ("/c.pem", "/k.pem"), {})),
        ({"proxies": {"https": "http://proxy:1"}}, (True, None, {"https": "http://proxy:1"})),
        ({"proxy": "http://proxy:1"}, (True, None, {"http": "http://proxy:1", "https": "http://proxy:1"})),
    ],
)
def test_http_transport_options(monkeypatch: pytest.MonkeyPatch, extra: Any, expected: Any) -> None:
    options = read(monkeypatch, {"conn_type": "http", "host": BASE, "extra": extra}).options
    assert (options.verify, options.cert, options.proxies) == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"host": ""}, "host"),
        ({"host": "ftp://x"}, "host"),
        ({"host": BASE, "port": 8443}, "port"),
        ({"host": BASE, "extra": {"timeout": "soon"}}, "timeout"),
        ({"host": BASE, "extra": {"proxies": [1]}}, "proxies"),
        ({"host": "_http._tcp.example.com", "extra": {"srv_lookup": True}}, "srv_lookup"),
    ],
)
def test_http_wrong_fields(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConnectionFieldError) as caught:
        _ = read(monkeypatch, {"conn_type": "http", **fields})
    assert caught.value.data["field"] == field


def test_http_over_tls_with_a_ca_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tls = self_signed_tls(tmp_path)
    with ScriptedServer(ssl_context=tls.context) as server:
        server.on("GET", "/x", Answer(json=1))
        sent(
            read(monkeypatch, {"conn_type": "http", "host": server.url, "extra": {"verify": tls.ca_file}}),
            server,
        )


def test_http_secret_headers_are_known_to_the_redactor(monkeypatch: pytest.MonkeyPatch) -> None:
    api = read(monkeypatch, {"conn_type": "http", "host": BASE, "extra": {"X-Api-Key": "k-s3cret"}}).api
    assert api.redactor.text("k-s3cret") == "***"
    assert "s3cret" not in repr(api)


def test_any_connection_object_will_do() -> None:
    class Stored:
        conn_id, conn_type, host, schema, login, password, port = "c", "apitask", BASE, None, None, None, None
        extra_dejson: dict[str, Any] = {}  # noqa: RUF012

    assert read_connection(Stored()).api.conn_id == "c"
