"""Credentials go to the connection's own origin and nowhere else, and nothing of the environment gets in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import ApiKeyAuth, Auth, BasicAuth, BearerAuth
from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.origins import OriginRules
from airflow_provider_apitask.core.urls import origin
from airflow_provider_apitask.drivers.transport import TransportOptions
from tests.drivers.contract import WAYS, Seen, asynchronous, contract, make_api, run, sync
from tests.support import Answer, Recorded, refused_url
from tests.support.job_server import JobServer
from tests.support.scripted_server import ScriptedServer

SECRET = "s3cr3t+/ü"

AUTHS: dict[str, tuple[Callable[[], Auth], Callable[[Recorded], bool]]] = {
    "basic": (
        lambda: BasicAuth("me", SECRET),
        lambda r: r.headers_all("Authorization") == ["Basic bWU6czNjcjN0Ky/DvA=="],
    ),
    "bearer": (
        lambda: BearerAuth("tok-" + SECRET[:8]),
        lambda r: r.headers_all("Authorization") == ["Bearer tok-s3cr3t+/"],
    ),
    "header": (
        lambda: ApiKeyAuth("X-Api-Key", "key-1234"),
        lambda r: r.headers_all("x-api-key") == ["key-1234"],
    ),
    "query": (
        lambda: ApiKeyAuth("api_key", SECRET, "query"),
        lambda r: r.query.count(("api_key", SECRET)) == 1,
    ),
}


def texts(seen: Seen) -> str:
    """All that a person or another process gets to see of a call."""
    error = seen.done.error
    return repr((seen.events, seen.states, seen.done, error and error.to_dict(), seen.phase))


@pytest.mark.parametrize("kind", AUTHS)
@pytest.mark.parametrize("end", ["succeeded", "failed", "401", "refused"])
def test_credentials(kind: str, end: str) -> None:
    make, is_there = AUTHS[kind]
    auth = make()

    def echo(request: Recorded) -> Answer:
        return Answer(401, {"error": f"bad: {request.headers} {request.target}"})

    def script(server: JobServer) -> None:
        server.once("GET", "/jobs/job-1", Answer(503), Answer(303, headers={"Location": "/moved"}))
        server.on("GET", "/moved", Answer(307, headers={"Location": "jobs/job-1/result"}))
        if end == "failed":
            server.once("GET", "/jobs/job-1/result", echo)
        if end == "401":
            server.once("POST", "/jobs", echo)

    base = refused_url() if end == "refused" else None
    call = asynchronous("jobs?x=1", body={"a": 1})

    def server() -> JobServer:
        return JobServer(["succeeded"])

    seen = contract(script, call, server=server, api=lambda s: make_api(base or s.url, auth))
    assert (seen.done.error is None) is (end == "succeeded")
    assert all(is_there(request) for request in seen.server.history)
    for secret in auth.secrets:
        assert secret not in texts(seen)
    assert "s3cr3t" not in texts(seen)
    assert "key-1234" not in texts(seen)
    assert "s3cr3t" not in repr((seen, auth, make_api("http://h", auth), TransportOptions()))


def elsewhere(kind: str, status: int, header: str) -> tuple[Seen, ScriptedServer]:
    """A submit whose answer leads to another server."""
    with ScriptedServer() as other:
        other.on("GET", "/job", Answer(json={"status": "done"}))
        other.on("POST", "/job", Answer(json={"status": "done"}))

        def script(server: ScriptedServer) -> None:
            server.on("POST", "/jobs", Answer(status, {"id": 1}, headers={header: f"{other.url}/job"}))

        seen = contract(script, asynchronous(), api=lambda s: make_api(s.url, AUTHS[kind][0]()))
        return seen, other


@pytest.mark.parametrize(
    ("status", "header"),
    [(202, "Location"), (201, "Location"), (202, "Operation-Location"), (303, "Location"), (307, "Location")],
)
def test_another_origin_is_not_asked(status: int, header: str) -> None:
    seen, other = elsewhere("bearer", status, header)
    assert seen.failed[0] == "origin"
    assert other.connections == 0


def test_another_origin_while_polling() -> None:
    with ScriptedServer() as other:
        moved = Answer(202, {"status": "running"}, headers={"Location": f"{other.url}/x"})
        result = Answer(303, headers={"Location": f"{other.url}/x"})
        for answer in (moved, result):

            def script(server: JobServer, answer: Answer = answer) -> None:
                server.once("GET", "/jobs/job-1", answer)

            seen = contract(script, asynchronous(), server=JobServer)
            assert seen.failed[0] == "origin"
        assert other.connections == 0


def test_an_origin_that_is_allowed() -> None:
    with ScriptedServer() as other:
        other.on("GET", "/b", Answer(json=1))
        seen = contract(
            lambda s: s.on("GET", "/a", Answer(307, headers={"Location": f"{other.url}/b"})),
            sync(),
            api=lambda s: make_api(s.url, origins=OriginRules(allowed=frozenset({origin(other.url)}))),
        )
        assert seen.value == 1


def test_no_way_down_to_plain_http() -> None:
    with ScriptedServer() as server:
        seen = contract(lambda s: None, sync(), api=lambda s: make_api(server.url, allow_http=False))
        assert seen.failed[0] == "origin"
        assert server.connections == 0


def test_cookies_are_not_sent_back(names: Callable[..., None]) -> None:
    names("localhost")  # a cookie jar may keep nothing for a bare address
    cookies = [("Set-Cookie", "session=1; Path=/"), ("Set-Cookie", "b=2")]

    def script(server: JobServer) -> None:
        server.once("POST", "/jobs", Answer(307, headers=[("Location", "/jobs?again"), *cookies]))
        server.once("GET", "/jobs/job-1", Answer(503, headers=cookies))

    def api(server: JobServer) -> Api:
        return make_api(server.url.replace("127.0.0.1", "localhost"))

    seen = contract(script, asynchronous(), server=JobServer, api=api)
    assert seen.done.error is None
    assert [request.header("Cookie") for request in seen.server.history] == [None] * len(seen.targets)


def test_a_cookie_of_the_author_is_sent() -> None:
    seen = contract(lambda s: s.on("GET", "/a", Answer(json=1)), sync(headers={"Cookie": "a=1"}))
    assert seen.server.history[0].headers_all("Cookie") == ["a=1"]


def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password netrc-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, refused_url())
        monkeypatch.setenv(name.upper(), refused_url())
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    seen = contract(lambda s: s.on("GET", "/a", Answer(json=1)), sync())
    assert seen.value == 1
    assert seen.server.history[0].header("Authorization") is None


# -- proxies -----------------------------------------------------------------------------------


def proxied(script: Callable[[Any], object], base_url: str, proxy: Callable[[Any], dict[str, str]]) -> Seen:
    return contract(
        script,
        sync("POST", endpoint="a%2fb?x=%2f"),
        api=lambda s: make_api(base_url),
        options=lambda s: TransportOptions(proxies=proxy(s)),
    )


@pytest.mark.parametrize("scheme", ["http", "all"])
def test_a_proxy(scheme: str) -> None:
    url = "http://api.invalid:81/v1/a%2fb"
    seen = proxied(
        lambda s: s.on("POST", url, Answer(json=1)), "http://api.invalid:81/v1", lambda s: {scheme: s.url}
    )
    assert (seen.value, seen.targets) == (1, [f"POST {url}?x=%2f"])
    (request,) = seen.server.history
    assert request.header("Host") == "api.invalid:81"


def test_a_proxy_with_a_password() -> None:
    def proxy(server: ScriptedServer) -> dict[str, str]:
        return {"http": server.url.replace("://", "://user:pr0xy-pass@")}

    seen = proxied(
        lambda s: s.on("POST", "http://h.invalid/a%2fb", Answer(json=1)), "http://h.invalid", proxy
    )
    (request,) = seen.server.history
    assert request.headers_all("Proxy-Authorization") == ["Basic dXNlcjpwcjB4eS1wYXNz"]
    assert "pr0xy" not in texts(seen)


@pytest.mark.parametrize("base_url", ["http://h.invalid", "https://h.invalid"])
def test_a_proxy_that_cannot_be_reached(base_url: str) -> None:
    proxy = refused_url().replace("://", "://user:pr0xy-pass@")
    seen = proxied(lambda s: None, base_url, lambda s: {"all": proxy})
    assert seen.failed[0] == "request_failed"
    assert "through the proxy: Connection refused" in seen.error.message
    assert "pr0xy" not in texts(seen)


def test_a_proxy_that_refuses_a_tunnel() -> None:
    def proxy(server: ScriptedServer) -> dict[str, str]:
        return {"https": server.url.replace("://", "://user:pr0xy-pass@")}

    for way in WAYS:  # each library has header fields of its own for a proxy
        seen = run(
            way,
            lambda s: s.on("CONNECT", "h.invalid:443", Answer(407)),
            sync("POST"),
            api=lambda s: make_api("https://h.invalid", BearerAuth("s3cr3t-token")),
            options=lambda s: TransportOptions(proxies=proxy(s)),
        )
        assert seen.failed[0] == "request_failed"
        assert "the proxy refused" in seen.error.message
        assert seen.targets == ["CONNECT h.invalid:443"]
        assert seen.server.history[0].header("Authorization") is None
        assert "pr0xy" not in texts(seen)


@pytest.mark.parametrize("job_id", ["../../admin", "..", "%2e%2e", "..\\admin", "..;x"])
def test_an_id_of_the_server_does_not_lead_to_another_path(job_id: str) -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/v1/jobs", Answer(202, {"id": job_id}))

    call = asynchronous("jobs", status_request="/jobs/{id}/status")
    seen = contract(script, call, api=lambda s: make_api(f"{s.url}/v1"))
    assert isinstance(seen.done.error, AnswerError)
    assert "another path" in seen.done.error.message
    assert [request.path for request in seen.server.history] == ["/v1/jobs"]


@pytest.mark.parametrize("redirects", [False, True])
def test_a_call_with_a_csrf_token_reads_its_result_from_an_anonymous_origin(redirects: bool) -> None:
    """That GET needs no token; and a redirect from there back to the API gets no credentials."""
    with ScriptedServer() as files:

        def script(server: Any) -> None:
            server.on("GET", "/jobs", Answer(200, headers={"X-CSRF-Token": "t0k"}))
            server.on("POST", "/jobs", Answer(202, {"status": "running"}, headers={"Location": "/jobs/1"}))
            server.on("GET", "/jobs/1", Answer(200, {"status": "done", "result": f"{files.url}/f"}))
            server.on("GET", "/secret", lambda r: Answer(200, {"seen": r.header("Authorization")}))
            back = Answer(302, headers={"Location": f"{server.url}/secret"})
            files.on("GET", "/f", back if redirects else Answer(200, {"seen": None}))

        def call(server: Any) -> Call:
            made = asynchronous(result_request="{result}")
            return Call(request=made.request, mode=made.mode, job=made.job, csrf_endpoint="")

        def api(server: Any) -> Api:
            rules = OriginRules.parse(anonymous=[files.url])
            return make_api(server.url, BearerAuth("t0ken-1"), origins=rules)

        seen = contract(script, call, api=api)
        assert seen.done.value == {"seen": None}
        assert all(r.header("Authorization") is None for r in files.history)
