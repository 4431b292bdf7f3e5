"""A static credential that is refused: the connection is looked up again, once, by both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_apitask.core.advice import with_remedy
from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import BearerAuth
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.core.operation import Inbound
from airflow_provider_apitask.core.problem import describe
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.hooks.connection import read_connection
from tests.drivers.auth_support import conn
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

NEW = "token-two"
#: Connections with a credential that the server knows (NEW) or not.
KINDS: dict[str, Callable[[str, str], Any]] = {
    "basic": lambda host, secret: conn(host, "user", secret),
    "bearer": lambda host, secret: conn(host, auth_type="bearer", bearer_token=secret),
    "api_key": lambda host, secret: conn(host, auth_type="api_key", key_secret=secret),
    "headers": lambda host, secret: conn(host, auth_type="headers", headers_secret={"X-Token": secret}),
}


def send(driver: str, api: Api, request: Request, look_up: Callable[[], Api | None]) -> Inbound:
    """Send a request with a driver."""
    if driver == "worker":
        with BlockingTransport(api, look_up=look_up) as transport:
            return transport.send(request)

    async def sent() -> Inbound:
        async def asked() -> Api | None:
            return look_up()

        async with EventLoopTransport(api, look_up=asked) as transport:
            return await transport.send(request)

    return asyncio.run(sent())


@pytest.fixture(params=["worker", "triggerer"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that knows the new credential alone, in whatever field it comes."""
    import base64

    good = {NEW, f"Bearer {NEW}", f"Basic {base64.b64encode(f'user:{NEW}'.encode()).decode()}"}

    def answer(request: Recorded) -> Answer:
        sent = {request.header(name) for name in ("Authorization", "X-API-Key", "X-Token")}
        return Answer(200, {"ok": True}) if sent & good else Answer(401, {"error": "unknown token"})

    with ScriptedServer() as made:
        for method in ("GET", "POST"):
            made.on(method, "/x", answer)
        yield made


def said(request: Request, inbound: Inbound, api: Api) -> str:
    assert isinstance(inbound, Response)
    return with_remedy(describe(request, inbound, api.redactor.text), request, inbound, api)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", KINDS)
def test_rotated_credential_is_looked_up_and_the_request_sent_once_more(
    server: ScriptedServer, driver: str, kind: str, method: str
) -> None:
    api, fresh = (read_connection(KINDS[kind](server.url, secret)).api for secret in ("token-one", NEW))
    asked: list[None] = []
    inbound = send(
        driver,
        api,
        Request(Purpose.SUBMIT, method, f"{server.url}/x"),
        lambda: asked.append(None) or fresh,  # type: ignore[func-returns-value]
    )
    assert isinstance(inbound, Response)
    assert inbound.status == 200
    assert (len(asked), len(server.history)) == (1, 2)
    assert api.redactor.text(f"a {NEW} token-one") == "a *** ***"


def test_unchanged_connection_is_final_and_said(server: ScriptedServer, driver: str) -> None:
    api = read_connection(KINDS["bearer"](server.url, "token-one")).api
    request = Request(Purpose.POLL, "GET", f"{server.url}/x")
    inbound = send(driver, api, request, lambda: api)
    assert len(server.history) == 1
    assert "the connection 'the_api'" in said(request, inbound, api)
    assert "it was looked up again and has not changed" in said(request, inbound, api)


def test_refreshed_connection_that_is_refused_too_is_final_and_said(
    server: ScriptedServer, driver: str
) -> None:
    api, fresh = (read_connection(KINDS["bearer"](server.url, f"token-{n}")).api for n in "ab")
    request = Request(Purpose.POLL, "GET", f"{server.url}/x")
    inbound = send(driver, api, request, lambda: fresh)
    assert len(server.history) == 2
    assert "the connection 'the_api'" in said(request, inbound, api)
    assert "the refreshed connection was refused as well" in said(request, inbound, api)


def test_new_credential_goes_to_no_url_that_the_new_connection_does_not_trust(
    server: ScriptedServer, driver: str
) -> None:
    api = read_connection(KINDS["bearer"](server.url, "token-one")).api
    fresh = read_connection(KINDS["bearer"]("http://127.0.0.1:9", NEW)).api
    request = Request(Purpose.POLL, "GET", f"{server.url}/x")
    inbound = send(driver, api, request, lambda: fresh)
    assert NEW not in str([list(sent.headers) for sent in server.history])
    assert "no longer sends credentials to this URL" in said(request, inbound, api)


def test_failed_lookup_and_public_api_end_with_the_refusal(server: ScriptedServer, driver: str) -> None:
    request = Request(Purpose.POLL, "GET", f"{server.url}/x")
    api = read_connection(KINDS["bearer"](server.url, "token-one")).api
    inbound = send(driver, api, request, lambda: None)
    assert isinstance(inbound, Response)
    assert (inbound.status, inbound.lookup) == (401, None)

    def never() -> Api | None:
        raise AssertionError("there is nothing to look up")

    public = read_connection(conn(server.url)).api
    inbound = send(driver, public, request, never)
    assert isinstance(inbound, Response)
    assert inbound.status == 401


@pytest.mark.parametrize("changes", [True, False])
def test_all_requests_that_wait_share_one_lookup(server: ScriptedServer, changes: bool) -> None:
    api, fresh = (read_connection(KINDS["bearer"](server.url, secret)).api for secret in ("token-one", NEW))
    asked: list[None] = []

    async def look_up() -> Api | None:
        asked.append(None)
        await asyncio.sleep(0.05)
        return fresh if changes else api

    async def sent() -> list[Inbound]:
        request = Request(Purpose.POLL, "GET", f"{server.url}/x")
        async with EventLoopTransport(api, look_up=look_up) as transport:
            return await asyncio.gather(*(transport.send(request) for _ in range(50)))

    found = asyncio.run(sent())
    assert {one.status for one in found if isinstance(one, Response)} == {200 if changes else 401}
    assert len(asked) <= 2, "one for all, and one for a request that was sent after it"


def test_a_driver_without_a_lookup_gives_the_refusal(server: ScriptedServer) -> None:
    api = Api(conn_id="the_api", base_url=server.url, auth=BearerAuth("one"), allow_http=True)
    with BlockingTransport(api) as transport:
        inbound = transport.send(Request(Purpose.POLL, "GET", f"{server.url}/x"))
    assert isinstance(inbound, Response)
    assert inbound.status == 401
