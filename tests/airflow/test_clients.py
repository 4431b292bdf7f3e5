"""The pool of clients: changed connections, requests under way, and sessions that are closed."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.exceptions import ConnectionFieldError
from airflow_provider_apitask.hooks import clients
from airflow_provider_apitask.hooks.clients import ClientPool
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer


class Conn:
    """A connection as the lookup gives it."""

    conn_type, schema, port, login = "apitask", None, None, None

    def __init__(self, host: str, password: str | None = "one") -> None:
        self.conn_id, self.host, self.password = "api", host, password
        self.extra_dejson = {"allow_http": True, "auth_type": "bearer"}


class Pool:
    """A pool over a connection that a test can change."""

    def __init__(self, host: str) -> None:
        self.conn: Any = Conn(host)
        self.lookups = 0
        self.pool = ClientPool(self.look_up)

    async def look_up(self, conn_id: str) -> Any:
        self.lookups += 1
        await asyncio.sleep(0)
        if isinstance(self.conn, Exception):
            raise self.conn
        return self.conn

    async def get(self, path: str = "/") -> int:
        async with self.pool.use("api") as client:
            url = f"{client.api.base_url}{path}"
            answer = await client.transport.send(Request(Purpose.POLL, "GET", url))
            assert isinstance(answer, Response)
            return answer.status


@pytest.fixture
def server() -> Any:
    with ScriptedServer() as made:
        made.on("GET", "/", Answer(json=1))
        made.on("GET", "/slow", Answer(json=1, delay=0.3))
        yield made


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LOOKUP_AFTER", 0.0)


def tokens(server: ScriptedServer) -> list[str | None]:
    return [request.header("Authorization") for request in server.history]


async def test_rotated_credential_is_used_without_dropping_requests(
    server: ScriptedServer, stale: None
) -> None:
    made = Pool(server.url)
    async with made.pool.hold():
        slow = asyncio.create_task(made.get("/slow"))
        while not server.requests("GET", "/slow"):  # noqa: ASYNC110 - the server is another thread
            await asyncio.sleep(0.01)
        (before,) = made.pool._clients.values()
        made.conn = Conn(server.url, "two-two")
        assert await made.get() == 200
        assert before.retired
        assert not before.transport._session.closed
        assert await slow == 200
        assert before.transport._session.closed
        assert await made.get() == 200
    await made.pool.close()
    assert tokens(server) == ["Bearer one", "Bearer two-two", "Bearer two-two"]


async def test_rotated_credential_stays_masked(server: ScriptedServer, stale: None) -> None:
    made = Pool(server.url)
    made.conn = Conn(server.url, "password-0")
    async with made.pool.hold():
        await made.get()
        for number in range(1, 150):
            made.conn = Conn(server.url, f"password-{number}")
            await made.get()
        (client,) = made.pool._clients.values()
        said = client.api.redactor.text("password-149, password-148, password-50, password-1.")
    assert said == "***, ***, ***, password-1.", "a hundred of them are known"


async def test_unchanged_connection_keeps_its_session(server: ScriptedServer, stale: None) -> None:
    made = Pool(server.url)
    async with made.pool.hold():
        for _ in range(5):
            await made.get()
            made.conn = Conn(server.url)
            time.sleep(0.001)  # noqa: ASYNC251 - the clock only has to go on
        assert (made.lookups, server.connections) == (5, 1)
    await made.pool.close()


async def test_fresh_connection_is_not_looked_up(server: ScriptedServer) -> None:
    made = Pool(server.url)
    async with made.pool.hold():
        assert await asyncio.gather(*(made.get() for _ in range(20))) == [200] * 20
        await made.get()
    await made.pool.close()
    assert made.lookups == 1


@pytest.mark.parametrize("broken", [RuntimeError("down"), "type", "field"])
async def test_lookup_that_fails_keeps_what_is_known(
    server: ScriptedServer, stale: None, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = Pool(server.url)
    async with made.pool.hold():
        await made.get()
        made.conn = (
            {"type": Conn(server.url), "field": Conn("")}.get(broken, broken)
            if isinstance(broken, str)
            else broken
        )
        if broken == "type":
            made.conn.conn_type = "postgres"
        for _ in range(10):
            assert await made.get() == 200
    # Tried anew after a while, not with each request; said once.
    assert made.lookups == 2
    assert caplog.text.count("fields as of before are used") == 1
    await made.pool.close()


async def test_error_of_the_first_lookup_goes_to_all_who_wait(server: ScriptedServer) -> None:
    made = Pool("")
    async with made.pool.hold():
        results = await asyncio.gather(*(made.get() for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionFieldError] * 3
        assert made.lookups == 1
        made.conn = Conn(server.url)
        assert await made.get() == 200
    await made.pool.close()


async def test_sessions_stay_open_for_a_while(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LINGER", 0.1)
    made = Pool(server.url)
    for _ in range(3):  # each stops the closing that the one before has begun
        async with made.pool.hold():
            await made.get()
        await asyncio.sleep(0.04)
    (client,) = made.pool._clients.values()
    assert server.connections == 1
    await asyncio.sleep(0.2)
    assert client.transport._session.closed
    assert made.pool._clients == {}
    async with made.pool.hold():
        assert await made.get() == 200
    assert made.lookups == 2
    await made.pool.close()


async def test_holder_that_comes_and_goes_at_once_does_not_close(server: ScriptedServer) -> None:
    made = Pool(server.url)
    async with made.pool.hold():
        await made.get()
    await asyncio.sleep(0)
    async with made.pool.hold():
        pass
    await asyncio.sleep(0.01)
    assert len(made.pool._clients) == 1
    await made.pool.close()


def test_pool_goes_with_its_loop(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LINGER", 0.0)
    made = Pool(server.url)
    monkeypatch.setattr(clients, "_airflow_lookup", made.look_up)
    seen: list[weakref.ref[Any]] = []

    async def use() -> None:
        pool = clients.pool_of_this_loop()
        assert pool is clients.pool_of_this_loop()
        async with pool.hold(), pool.use("api"):
            pass
        await asyncio.sleep(0.05)
        seen.append(weakref.ref(asyncio.get_running_loop()))

    for _ in range(2):
        asyncio.run(use())
    gc.collect()
    assert [reference() for reference in seen] == [None, None]


def test_repr_shows_no_credential() -> None:
    client = clients.Client(None, None, ("s3cret",), 0.0)  # type: ignore[arg-type]
    assert "s3cret" not in repr(client)


# -- a refused credential ------------------------------------------------------------------------


def _only(token: str) -> Any:
    """Answers 401 to every other token."""

    def answer(request: Recorded) -> Answer:
        return Answer(json=1) if request.header("Authorization") == f"Bearer {token}" else Answer(401)

    return answer


@pytest.mark.parametrize("rotated", [True, False])
async def test_a_thousand_refused_requests_make_one_lookup(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, rotated: bool
) -> None:
    monkeypatch.setattr(clients, "LOOKUP_SPACING", 0.1)
    made = Pool(server.url)
    async with made.pool.hold():
        await made.get()
        server.on("GET", "/", _only("two-two"))
        if rotated:
            made.conn = Conn(server.url, "two-two")
        found = await asyncio.gather(*(made.get() for _ in range(1000)))
        assert set(found) == {200 if rotated else 401}
        assert made.lookups == 2
        if rotated:
            assert await made.get() == 200, "later requests begin with the new credential"
            assert tokens(server)[-1] == "Bearer two-two"
    await made.pool.close()


async def test_lookups_after_refusals_keep_a_distance(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float, *more: Any) -> None:
        waits.append(seconds)
        await sleep(0)

    made = Pool(server.url)
    async with made.pool.hold():
        await made.get()
        server.on("GET", "/", Answer(401))
        monkeypatch.setattr(clients.asyncio, "sleep", slept)
        assert [await made.get() for _ in range(3)] == [401] * 3
        monkeypatch.undo()
    await made.pool.close()
    assert made.lookups == 4
    assert [round(wait) for wait in waits if wait > 1] == [clients.LOOKUP_SPACING] * 3


async def test_lookup_that_fails_after_a_refusal_leaves_the_refusal(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LOOKUP_SPACING", 0.0)
    made = Pool(server.url)
    async with made.pool.hold():
        await made.get()
        server.on("GET", "/", Answer(401))
        made.conn = RuntimeError("Airflow is down")
        assert await made.get() == 401
    await made.pool.close()


# -- on a worker ---------------------------------------------------------------------------------


def test_worker_looks_the_connection_up_once_more(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_apitask.hooks.api import ApiHook

    found = [Conn(server.url, secret) for secret in ("one-one", "two-two", "two-two")]
    monkeypatch.setattr(ApiHook, "get_connection", lambda self, conn_id: found.pop(0))
    server.on("GET", "/", _only("two-two"))
    hook = ApiHook("api")
    request = Request(Purpose.POLL, "GET", f"{server.url}/")
    with hook.transport() as transport:
        for _ in range(2):
            answer = transport.send(request)
            assert isinstance(answer, Response)
            assert answer.status == 200
        server.on("GET", "/", Answer(401))
        answer = transport.send(request)
    assert isinstance(answer, Response)
    assert answer.lookup is not None
    assert "has not changed" in answer.lookup
    assert not found
    assert tokens(server) == [f"Bearer {token}" for token in ("one-one", "two-two", "two-two", "two-two")]
