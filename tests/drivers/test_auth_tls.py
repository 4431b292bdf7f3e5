"""TLS by the fields of a connection, and the origin rule: what an origin gets, and what it never gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.errors import ApiTaskError, ConnectionFieldError, OriginError
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.hooks.connection import read_connection
from airflow_provider_apitask.hooks.session_transport import open_session
from tests.drivers.auth_support import PLACES, Conn, conn, delete, job, perform
from tests.drivers.contract import sync
from tests.support import Answer, Recorded
from tests.support.real.httpbin_server import HttpbinServer
from tests.support.real.tls import Certificates, make_certificates
from tests.support.scripted_server import ScriptedServer

ONE_PROCESS = ["worker", "triggerer"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("auth-tls"))


def ask(place: str, connection: Conn) -> Any:
    return perform(place, connection, sync("GET", "get"))


def secure(server: Any, **fields: Any) -> Conn:
    return conn(server.url, "me", "w0rd-of-me", allow_http=False, **fields)


# -- certificates ------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_good_certificate(place: str, certificates: Certificates) -> None:
    with HttpbinServer(ssl_context=certificates.good) as server:
        value = ask(place, secure(server, ca_bundle=certificates.ca_file)).value
        assert value["headers"]["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize(
    ("context", "bundle", "said"),
    [
        ("good", "other_ca_file", "unable to get local issuer certificate"),
        ("good", None, "unable to get local issuer certificate"),
        ("expired", "ca_file", "certificate has expired"),
        ("wrong_host", "ca_file", "certificate is not valid for '127.0.0.1'"),
    ],
    ids=["wrong CA", "no CA", "expired", "wrong host"],
)
def test_bad_certificate(
    place: str, context: str, bundle: str | None, said: str, certificates: Certificates
) -> None:
    """One clear error, at the submit of a job as well, and nothing was sent."""
    with HttpbinServer(ssl_context=getattr(certificates, context)) as server:
        fields = {"ca_bundle": getattr(certificates, bundle)} if bundle else {}
        for call in (sync("GET", "get"), job()):
            error = perform(place, secure(server, **fields), call).error
            assert error.kind == "request_failed"
            assert "the TLS handshake failed" in error.message
            assert said in re.sub("IP address mismatch, ", "", error.message)
        assert server.history == []


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("context", ["good", "expired", "wrong_host"])
def test_verify_off(place: str, context: str, certificates: Certificates) -> None:
    with HttpbinServer(ssl_context=getattr(certificates, context)) as server:
        for off in (False, "false"):
            assert ask(place, secure(server, verify=off)).value["url"]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_client_certificate(place: str, certificates: Certificates) -> None:
    with HttpbinServer(ssl_context=certificates.mutual) as server:
        pairs = {"client_cert": certificates.client_cert, "client_key": certificates.client_key}
        for fields in (pairs, {"client_cert": certificates.client_pem}):
            assert ask(place, secure(server, ca_bundle=certificates.ca_file, **fields)).value["url"]
        assert len(server.history) == 2


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_client_certificate_that_is_not_accepted(place: str, who: str, certificates: Certificates) -> None:
    fields: dict[str, Any] = {}
    if who == "a stranger":
        fields = {"client_cert": certificates.stranger_cert, "client_key": certificates.stranger_key}
    with HttpbinServer(ssl_context=certificates.mutual) as server:
        error = ask(place, secure(server, ca_bundle=certificates.ca_file, **fields)).error
        assert error.kind == "request_failed"
        # TLS 1.3 tells the client after it has sent its request, unless it is too busy to hear it.
        assert "alert" in error.message or "before any answer" in error.message
        assert server.history == []


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"ca_bundle": "/nowhere/ca.pem"}, "ca_bundle"),
        ({"client_cert": "/nowhere/cert.pem"}, "client_cert"),
        ({"client_key": "/nowhere/key.pem"}, "client_cert"),
        ({"verify": "perhaps"}, "verify"),
    ],
)
def test_files_that_are_not_there(place: str, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConnectionFieldError) as caught:
        ask(place, conn("https://127.0.0.1:9", allow_http=False, **fields))
    assert caught.value.data["field"] == field


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_certificate_of_a_token_endpoint(place: str, certificates: Certificates) -> None:
    """The error names the step that failed, and the job was not submitted."""
    with HttpbinServer(ssl_context=certificates.expired) as login, HttpbinServer() as server:
        connection = conn(
            server.url,
            auth_type="oauth2",
            oauth2_endpoint=f"{login.url}/token",
            oauth2_client_id="c",
            oauth2_client_secret="s3cret-of-c",
            ca_bundle=certificates.ca_file,
        )
        error = perform(place, connection, job()).error
        assert error.kind == "request_failed"
        assert "certificate has expired" in error.message
        assert f"{login.url}/token" in error.message
        assert server.history == []


# -- origins -----------------------------------------------------------------------------------

#: Wherever a credential can stand, a header of the connection, of the author, and what servers give.
CREDENTIALS: dict[str, dict[str, Any]] = {
    "basic": {"login": "me", "password": "s3cr3t-1"},
    "bearer": {"auth_type": "bearer", "bearer_token": "s3cr3t-2"},
    "key in header": {"auth_type": "api_key", "key_secret": "s3cr3t-3"},
    "key in query": {"auth_type": "api_key", "key_in": "query", "key_secret": "s3cr3t-4"},
    "key in cookie": {"auth_type": "api_key", "key_in": "cookie", "key_secret": "s3cr3t-5"},
    "headers": {"auth_type": "headers", "headers_secret": {"X-User": "s3cr3t-6", "X-Word": "s3cr3t-7"}},
    "session": {
        "auth_type": "session",
        "session_endpoint": "/login",
        "session_path": "$.token",
        "login": "me",
        "password": "s3cr3t-8",
    },
    "digest": {"auth_type": "digest", "login": "me", "password": "s3cr3t-9"},
    "oauth1": {"auth_type": "oauth1", "oauth1_client_key": "s3cr3t-a", "oauth1_client_secret": "s3cr3t-b"},
}
CHALLENGE = Answer(401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
OWN_HEADER, AUTHORS = (
    {"X-Connection": "s3cr3t-of-connection"},
    {"X-Author": "s3cr3t-of-author", "Cookie": "a=s3cr3t"},
)


@dataclass
class Two:
    """An API, and a server elsewhere that it leads to."""

    api: ScriptedServer
    other: ScriptedServer

    def connection(self, kind: str, **fields: Any) -> Conn:
        return conn(self.api.url, **{**CREDENTIALS[kind], "headers": OWN_HEADER, **fields})

    def leads(self, kind: str, status: int = 307) -> None:
        def go(request: Recorded) -> Answer:
            if kind == "digest" and request.header("Authorization") is None:
                return CHALLENGE
            location = f"{self.other.url}/file?signature=1"
            cookie = ("Set-Cookie", "sid=s3cr3t-cookie; Path=/")
            return Answer(status, headers=[("Location", location), cookie])

        for method in ("GET", "POST", "DELETE"):
            self.api.on(method, "/a", go)
        self.api.on("POST", "/login", Answer(json={"token": "s3cr3t-t0ken"}))


@contextmanager
def two() -> Iterator[Two]:
    with ScriptedServer() as api, ScriptedServer() as other:
        for method in ("GET", "POST", "DELETE"):
            other.on(method, "/file", Answer(json={"status": "done"}))
        yield Two(api, other)


def read(method: str = "GET", **fields: Any) -> Call:
    return Call(request=RequestSpec(method=method, endpoint="a", headers=AUTHORS, **fields).checked())


def assert_bare(request: Recorded) -> None:
    """Nothing in it says who asks."""
    assert "s3cr3t" not in repr((request.target, request.headers, request.body))
    assert request.query == [("signature", "1")]
    names = {name.lower() for name, _ in request.headers}
    assert names <= {"host", "accept", "accept-encoding", "user-agent", "connection"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_anonymous_origin_gets_nothing(kind: str, place: str) -> None:
    with two() as servers:
        servers.leads(kind)
        connection = servers.connection(kind, anonymous_origins=servers.other.url)
        assert perform(place, connection, read()).value == {"status": "done"}
        (request,) = servers.other.history
        assert_bare(request)
        sent = servers.api.history[-1]
        assert "s3cr3t-of-connection" in repr(sent.headers)


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_allowed_origin_gets_credentials(kind: str, place: str) -> None:
    with two() as servers:
        servers.leads(kind)
        connection = servers.connection(kind, allowed_origins=[servers.other.url])
        assert perform(place, connection, read()).value == {"status": "done"}
        (request,) = servers.other.history
        assert request.header("X-Connection") == "s3cr3t-of-connection"
        assert request.header("X-Author") == "s3cr3t-of-author"
        assert "sid=" not in (request.header("Cookie") or "")  # no jar: cookies belong to who sets them
        text = repr((request.target, request.headers))
        credential = {
            "basic": "Basic ",
            "bearer": "s3cr3t-2",
            "key in header": "s3cr3t-3",
            "key in query": "s3cr3t-4",
            "key in cookie": "s3cr3t-5",
            "headers": "s3cr3t-7",
            "session": "s3cr3t-t0ken",
            "digest": "Digest ",
            "oauth1": "OAuth ",
        }[kind]
        assert credential in text


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_origin_is_refused_before_anything_is_sent(method: str, kind: str, place: str) -> None:
    with two() as servers:
        servers.leads(kind)
        error = perform(place, servers.connection(kind), read(method)).error
        assert error.kind == "origin"
        assert "allowed_origins" in error.message
        assert servers.other.connections == 0


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_anonymous_origin_is_only_read(method: str, place: str) -> None:
    with two() as servers:
        servers.leads("bearer")
        connection = servers.connection("bearer", anonymous_origins=servers.other.url)
        error = perform(place, connection, read(method)).error
        assert error.kind == "origin"
        assert "only read from" in error.message
        assert servers.other.connections == 0


@pytest.mark.parametrize("place", PLACES)
def test_a_status_and_a_result_at_an_anonymous_origin(place: str) -> None:
    """A job whose result lies behind a pre-signed URL."""
    with two() as servers:
        servers.api.on("POST", "/jobs", Answer(202, headers={"Location": "/jobs/1"}))
        signed = Answer(303, headers={"Location": f"{servers.other.url}/file?signature=1"})
        servers.api.on("GET", "/jobs/1", Answer(json={"status": "running"}), signed)
        connection = servers.connection("key in query", anonymous_origins=servers.other.url)
        assert perform(place, connection, job(result_request=None)).value == {"status": "done"}
        (request,) = servers.other.history
        assert_bare(request)


def trust(text: str, url: str) -> Any:
    read_ = read_connection(conn("https://api.example.com", allow_http=False, anonymous_origins=text))
    try:
        return read_.api.admit(url).name
    except OriginError:
        return None


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://a.files.example.com/x", "ANONYMOUS"),
        ("https://a.b.files.example.com/x", "ANONYMOUS"),
        ("https://A.FILES.example.com/x", "ANONYMOUS"),
        ("https://files.example.com/x", None),
        ("https://evilfiles.example.com/x", None),
        ("https://a.files.example.com.evil.com/x", None),
        ("https://a.files.example.com:444/x", None),
        ("http://a.files.example.com/x", None),
        ("https://user@a.files.example.com/x", None),
        ("https://evil.com/?.files.example.com", None),
        ("https://evil.com#.files.example.com", None),
        ("https://api.example.com/x", "CREDENTIALS"),
        ("http://api.example.com/x", None),
        ("https://api.example.com:8443/x", None),
    ],
)
def test_wildcard(url: str, wanted: str | None) -> None:
    assert trust("https://*.files.example.com", url) == wanted


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("allowed_origins", "https://*.example.com"),
        ("allowed_origins", "*"),
        ("anonymous_origins", "*"),
        ("anonymous_origins", "https://*"),
        ("anonymous_origins", "https://*.com"),
        ("anonymous_origins", "https://a*.example.com"),
        ("allowed_origins", "files.example.com"),
    ],
)
def test_origins_that_are_none(field: str, value: str) -> None:
    with pytest.raises(ConnectionFieldError) as caught:
        read_connection(conn("https://api.example.com", **{field: value}))
    assert caught.value.data["field"] == field


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_wildcard_origin_gets_nothing(place: str, names: Callable[..., None]) -> None:
    names("a.files.example.test")
    with two() as servers:
        port = servers.other.url.rpartition(":")[2]
        location = f"http://a.files.example.test:{port}/file?signature=1"
        servers.api.on("GET", "/a", Answer(302, headers={"Location": location}))
        connection = servers.connection("bearer", anonymous_origins=f"http://*.files.example.test:{port}")
        assert perform(place, connection, read()).value == {"status": "done"}
        assert_bare(servers.other.history[0])


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("listed", [None, "allowed_origins", "anonymous_origins"])
def test_never_from_https_to_http(place: str, listed: str | None, certificates: Certificates) -> None:
    """Whatever the connection says: not even where the plain origin is listed and allow_http is set."""
    with ScriptedServer(ssl_context=certificates.good) as api, ScriptedServer() as other:
        other.on("GET", "/file", Answer(json=1))
        api.on("GET", "/a", Answer(307, headers={"Location": f"{other.url}/file"}))
        fields = {listed: other.url} if listed else {}
        connection = conn(api.url, "me", "s3cr3t-1", ca_bundle=certificates.ca_file, **fields)
        error = perform(place, connection, read()).error
        assert error.kind == "origin"
        assert "plain HTTP" in error.message
        assert other.connections == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"auth_type": "oauth2", "oauth2_client_id": "c", "oauth2_client_secret": "s3cr3t-1"},
        {"auth_type": "session", "session_path": "$.t", "login": "me", "password": "s3cr3t-1"},
    ],
)
def test_plain_http_is_refused_without_the_flag(fields: dict[str, Any]) -> None:
    kind = fields.get("auth_type")
    extra = {f"{kind}_endpoint": "http://127.0.0.1:9/token"} if kind else {}
    host = "https://127.0.0.1:9" if kind else "http://127.0.0.1:9"
    with pytest.raises(ConnectionFieldError, match="plain HTTP") as caught:
        read_connection(conn(host, **{**fields, **extra, "allow_http": False}))
    assert caught.value.data["field"] == (f"{kind}_endpoint" if kind else "allow_http")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_login_that_leads_elsewhere(place: str) -> None:
    """Neither login nor token follow a redirect of the token endpoint."""
    with two() as servers:
        servers.api.on("POST", "/login", Answer(307, headers={"Location": f"{servers.other.url}/file"}))
        error = perform(place, servers.connection("session"), read()).error
        assert error.kind == "authentication"
        assert servers.other.connections == 0


# -- the session of get_conn() -----------------------------------------------------------------


@contextmanager
def opened(connection: Conn) -> Iterator[requests.Session]:
    with open_session(read_connection(connection)) as session:
        yield session


SESSION_KINDS = [kind for kind in CREDENTIALS if kind != "digest"]


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_session_refuses_another_origin(kind: str) -> None:
    with two() as servers:
        servers.leads(kind)
        with opened(servers.connection(kind)) as session:
            with pytest.raises(ApiTaskError):
                session.get(f"{servers.api.url}/a", headers=AUTHORS)
            with pytest.raises(ApiTaskError):
                session.get(f"{servers.other.url}/file", headers=AUTHORS)
        assert servers.other.connections == 0


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_session_at_an_anonymous_origin(kind: str) -> None:
    with two() as servers:
        servers.leads(kind)
        connection = servers.connection(kind, anonymous_origins=servers.other.url)
        with opened(connection) as session:
            assert session.get(f"{servers.api.url}/a", headers=AUTHORS).json() == {"status": "done"}
        assert_bare(servers.other.history[0])


@pytest.mark.parametrize("kind", SESSION_KINDS)
def test_session_at_an_allowed_origin(kind: str) -> None:
    with two() as servers:
        servers.leads(kind)
        connection = servers.connection(kind, allowed_origins=servers.other.url)
        with opened(connection) as session:
            assert session.get(f"{servers.api.url}/a").json() == {"status": "done"}
        assert "s3cr3t-of-connection" in repr(servers.other.history[0].headers)


def test_session_never_goes_from_https_to_http(certificates: Certificates) -> None:
    with ScriptedServer(ssl_context=certificates.good) as api, ScriptedServer() as other:
        api.on("GET", "/a", Answer(302, headers={"Location": f"{other.url}/file"}))
        connection = conn(
            api.url, "me", "s3cr3t-1", ca_bundle=certificates.ca_file, allowed_origins=other.url
        )
        with opened(connection) as session, pytest.raises(OriginError):
            session.get(f"{api.url}/a")
        assert other.connections == 0


def test_delete_with_a_client_certificate(certificates: Certificates) -> None:
    """What a cancel sends goes by the same TLS."""
    with ScriptedServer(ssl_context=certificates.mutual) as server:
        server.on("DELETE", "/jobs/job-1", Answer(json={"status": "cancelled"}))
        for place in ONE_PROCESS:
            connection = secure(server, ca_bundle=certificates.ca_file, client_cert=certificates.client_pem)
            assert perform(place, connection, delete()).value["status"] == "cancelled"
