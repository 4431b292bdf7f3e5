"""The servers that contract tests rely on do what they say, for three different clients."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest
import requests

from tests.support import Answer, Recorded, Tls, refused_url, self_signed_tls
from tests.support.job_server import JobServer, UrlForm
from tests.support.raw_server import RawServer, close, say
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    threads = set(threading.enumerate())
    with ScriptedServer() as running:
        yield running
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return self_signed_tls(tmp_path_factory.mktemp("tls"))


def connect(server: ScriptedServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)


def test_answers_come_in_turn_and_the_last_one_stays(
    server: ScriptedServer, session: requests.Session
) -> None:
    server.on("GET", "/a", Answer(202), Answer(json=None), Answer(text="é"))
    answers = [session.get(f"{server.url}/a?x={n}") for n in range(4)]
    assert [(a.status_code, a.text) for a in answers] == [(202, ""), (200, "null"), (200, "é"), (200, "é")]
    assert answers[1].headers["Content-Type"] == "application/json"
    assert [r.query for r in server.history] == [[("x", str(n))] for n in range(4)]


def test_once_goes_first_and_on_replaces(server: ScriptedServer, session: requests.Session) -> None:
    server.on("GET", "/a", Answer(201))
    server.on("GET", "/a", Answer(200))
    server.once("GET", "/a", Answer(503))
    assert [session.get(f"{server.url}/a").status_code for _ in range(3)] == [503, 200, 200]


def test_a_callable_sees_the_request(server: ScriptedServer, session: requests.Session) -> None:
    def echo(request: Recorded) -> Answer:
        return Answer(json=request.json(), headers={"X-Seen": str(len(server.history))})

    server.on("PUT", "/a", echo)
    answer = session.put(f"{server.url}/a", json=[1])
    assert (answer.json(), answer.headers["X-Seen"]) == ([1], "1")


def test_an_error_in_a_callable_is_answered_and_raised_at_the_end() -> None:
    def broken(request: Recorded) -> Answer:
        raise AssertionError(request.path)

    def run() -> None:
        with ScriptedServer() as server:
            server.on("GET", "/a", broken)
            assert requests.get(f"{server.url}/a", timeout=5).status_code == 500

    with pytest.raises(AssertionError, match=r"^/a$"):
        run()


def test_unscripted(server: ScriptedServer, session: requests.Session) -> None:
    answer = session.get(f"{server.url}/x?y=1")
    assert (answer.status_code, answer.json()) == (404, {"detail": "nothing scripted for GET /x"})
    assert [r.target for r in server.history] == ["/x?y=1"]


def test_what_is_recorded_is_what_was_sent(server: ScriptedServer) -> None:
    client = connect(server)
    client.putrequest("PATCH", "//a/%2Fb/?q=1&q=&r=%20")
    for name, value in [("X-A", "1"), ("x-b", "2"), ("X-a", "3")]:
        client.putheader(name, value)
    client.endheaders(b'{"k": 1}')  # no Content-Length: not a body
    client.close()
    server.wait_for(1)
    (request,) = server.requests("PATCH", "//a/%2Fb/")
    assert request.target == "//a/%2Fb/?q=1&q=&r=%20"
    assert request.query == [("q", "1"), ("q", ""), ("r", " ")]
    assert request.headers_all("x-A") == ["1", "3"]
    assert (request.header("X-B"), request.header("X-C"), request.body) == ("2", None, b"")
    assert [name for name, _ in request.headers][-3:] == ["X-A", "x-b", "X-a"]
    assert request.at <= time.monotonic()


def test_a_chunked_request_body_is_read(server: ScriptedServer, session: requests.Session) -> None:
    server.on("POST", "/a", Answer())
    for _ in range(2):
        session.post(f"{server.url}/a", data=iter([b"one", b"two"]))
    assert [r.body for r in server.history] == [b"onetwo"] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer", [Answer(204), Answer(304), Answer(text="x"), Answer(size=9), Answer(size=9, chunked=True)]
)
def test_keep_alive_reuses_the_connection(
    server: ScriptedServer, session: requests.Session, answer: Answer
) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        server.on(method, "/a", answer)
        session.request(method, f"{server.url}/a")
    assert server.connections == 1
    assert [r.connection for r in server.history] == [1, 1, 1]


def test_connections_are_counted(server: ScriptedServer, session: requests.Session) -> None:
    server.on("GET", "/a", Answer(headers={"Connection": "close"}))
    session.get(f"{server.url}/a")
    session.get(f"{server.url}/a")
    assert server.connections == 2


def test_drop_before_answer(server: ScriptedServer) -> None:
    server.on("POST", "/a", Answer(drop="before"), Answer(drop="reset"))
    client = connect(server)
    client.request("POST", "/a", b"first")
    with pytest.raises(http.client.RemoteDisconnected):
        client.getresponse()
    client.request("POST", "/a", b"second")
    with pytest.raises(ConnectionResetError) as raised:
        client.getresponse()
    assert not isinstance(raised.value, http.client.RemoteDisconnected)
    assert [r.body for r in server.history] == [b"first", b"second"]


def test_drop_after_answer_leaves_a_stale_connection(server: ScriptedServer) -> None:
    server.on("GET", "/a", Answer(text="whole", drop="after"))
    client = connect(server)
    client.request("GET", "/a")
    answer = client.getresponse()
    assert (answer.read(), answer.getheader("Connection")) == (b"whole", None)
    stale = client.sock
    assert stale is not None
    assert stale.recv(1) == b""  # the end of the stream
    client.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_truncated_body(server: ScriptedServer, session: requests.Session, *, chunked: bool) -> None:
    server.on("GET", "/a", Answer(text="0123456789", truncate=4, chunked=chunked))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(f"{server.url}/a")
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b"".join(iter(lambda: raw.recv(1000), b""))
    assert (b"0123" in received, b"01234" in received) == (True, False)


def test_a_generated_body_of_any_size(server: ScriptedServer) -> None:
    size = 5_000_001
    server.on("GET", "/a", Answer(size=size), Answer(size=size, chunked=True))

    async def lengths() -> list[tuple[int | None, int]]:
        async with aiohttp.ClientSession() as session:
            seen = []
            for _ in range(2):
                async with session.get(f"{server.url}/a") as answer:
                    seen.append((answer.content_length, len(await answer.read())))
            return seen

    assert asyncio.run(lengths()) == [(size, size), (None, size)]
    assert server.connections == 1


def test_delay_and_drip(server: ScriptedServer, session: requests.Session) -> None:
    server.on("GET", "/a", Answer(delay=0.1), Answer(text="x" * 20, bytes_per_second=200))
    for _ in range(2):
        before = time.monotonic()
        session.get(f"{server.url}/a")
        assert time.monotonic() - before >= 0.1
    server.once("GET", "/a", Answer(delay=60))
    with pytest.raises(requests.ReadTimeout):
        session.get(f"{server.url}/a", timeout=0.05)


def test_hang_ends_at_its_limit_or_with_the_server() -> None:
    with ScriptedServer(hang_limit=0.05) as server:
        server.on("GET", "/a", Answer(hang=True))
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url}/a", timeout=5)
    with ScriptedServer() as server:
        server.on("GET", "/a", Answer(hang=True))
        client = connect(server)
        client.request("GET", "/a")
        server.wait_for(1, "GET", "/a")
        idle = connect(server)
        idle.connect()
    with pytest.raises(http.client.RemoteDisconnected):
        client.getresponse()
    client.close()
    idle.close()


def test_wait_for_gives_up(server: ScriptedServer) -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        server.wait_for(1, timeout=0.01)


def test_two_clients_have_the_same_trace(server: ScriptedServer, session: requests.Session) -> None:
    headers = {"X-Key": "7", "Content-Type": "application/json", "Accept": "application/json"}
    session.post(f"{server.url}/runs?a=1", data=b"{}", headers=headers)
    session.get(f"{server.url}/runs/1", headers={"Accept": "*/*"})

    async def same(url: str) -> None:
        async with aiohttp.ClientSession() as client:
            async with client.post(f"{url}/runs?a=1", data=b"{}", headers=headers):
                pass
            async with client.get(f"{url}/runs/1"):
                pass

    with ScriptedServer() as other:
        asyncio.run(same(other.url))
        assert other.trace() == server.trace()
        assert other.trace()[1] == ("GET", "/runs/1", (("accept", "*/*"),), b"")
        session.get(f"{other.url}/more")
        assert other.trace() != server.trace()


def test_many_connections_at_once(server: ScriptedServer) -> None:
    server.on("GET", "/a", Answer(delay=0.05))

    async def burst() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            answers = await asyncio.gather(*(client.get(f"{server.url}/a") for _ in range(50)))
            assert {answer.status for answer in answers} == {200}

    asyncio.run(burst())
    assert (len(server.history), server.connections) == (50, 50)


def test_tls(tls: Tls, session: requests.Session, capfd: pytest.CaptureFixture[str]) -> None:
    async def fetch(url: str) -> int:
        trusting = ssl.create_default_context(cafile=tls.ca_file)
        async with aiohttp.ClientSession() as client, client.get(f"{url}/a", ssl=trusting) as answer:
            return answer.status

    with ScriptedServer(ssl_context=tls.context) as server:
        server.on("GET", "/a", Answer(), Answer(), Answer(), Answer(drop="before"))
        assert server.url.startswith("https://")
        for _ in range(2):
            assert session.get(f"{server.url}/a", verify=tls.ca_file).ok
        assert server.connections == 1
        assert asyncio.run(fetch(server.url)) == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{server.url}/a", timeout=5)  # not trusted
        server.once("GET", "/a", Answer(drop="reset"))
        with pytest.raises(requests.ConnectionError):  # over TLS, Python shows a reset as an end of stream
            session.get(f"{server.url}/a", verify=tls.ca_file)
        # A client that never starts its handshake holds up nobody.
        silent = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
        with silent, pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url}/a", timeout=5, verify=tls.ca_file)
    assert capfd.readouterr() == ("", "")


def test_refused() -> None:
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(refused_url(), timeout=5)


def test_a_job_from_submit_to_result(session: requests.Session) -> None:
    with JobServer(retry_after="0") as jobs:
        submit = session.post(f"{jobs.url}/jobs", json={"n": 1})
        assert (submit.status_code, submit.json()) == (202, {"id": "job-1"})
        assert (submit.headers["Location"], submit.headers["Retry-After"]) == ("/jobs/job-1", "0")
        url = f"{jobs.url}/jobs/job-1"
        assert session.get(f"{url}/result").status_code == 404
        polls = [session.get(url) for _ in range(4)]
        assert [p.json()["status"] for p in polls] == ["queued", "running", "succeeded", "succeeded"]
        assert [p.json()["progress"] for p in polls] == [0, 50, 100, 100]
        assert [p.headers.get("Retry-After") for p in polls] == ["0", "0", None, None]
        assert session.get(f"{url}/result").json() == {"rows": 3}
        assert session.delete(url).status_code == 409
        assert session.get(f"{jobs.url}/jobs/job-2").status_code == 404
        assert session.get(f"{jobs.url}/other").status_code == 404


@pytest.mark.parametrize("form", ["absolute", "path", "relative"])
def test_where_the_job_is(session: requests.Session, form: UrlForm) -> None:
    with JobServer(location=form, operation_location=form, body_id=False, id_format="a:{}+/") as jobs:
        submit = session.post(f"{jobs.url}/jobs")
        start = {"absolute": f"{jobs.url}/", "path": "/", "relative": ""}[form]
        assert submit.headers["Operation-Location"] == f"{start}jobs/a%3A1%2B%2F"
        assert submit.headers["Location"] == f"{start}jobs/a%3A1%2B%2F/result"
        assert submit.content == b""
        assert session.get(f"{jobs.url}/jobs/a%3A1%2B%2F").json()["id"] == "a:1+/"


def test_an_idempotency_key_gives_the_same_job(session: requests.Session) -> None:
    with JobServer(location=None) as jobs:
        jobs.once("POST", "/jobs", jobs.lose)
        keyed = {"Idempotency-Key": "k"}
        with pytest.raises(requests.ConnectionError):
            session.post(f"{jobs.url}/jobs", data=b"1", headers=keyed)
        again = session.post(f"{jobs.url}/jobs", data=b"1", headers=keyed)
        assert (again.json(), "Location" in again.headers) == ({"id": "job-1"}, False)
        assert session.post(f"{jobs.url}/jobs", data=b"2", headers=keyed).status_code == 422
        assert session.post(f"{jobs.url}/jobs", data=b"1").json() == {"id": "job-2"}
        submits = [(s.job_id, s.key, s.replayed) for s in jobs.submits]
        assert submits == [("job-1", "k", False), ("job-1", "k", True), ("job-2", None, False)]
        assert len(jobs.jobs) == 2


def test_cancel(session: requests.Session) -> None:
    with JobServer(seconds_per_status=60) as jobs:
        session.post(f"{jobs.url}/jobs")
        url = f"{jobs.url}/jobs/job-1"
        assert session.delete(url).json() == {"id": "job-1", "status": "cancelled"}
        assert session.get(url).json()["status"] == "cancelled"
        assert (session.delete(url).status_code, session.get(f"{url}/result").status_code) == (409, 404)


def test_statuses_by_elapsed_time(session: requests.Session) -> None:
    with JobServer(["running", "failed"], seconds_per_status=0.1) as jobs:
        session.post(f"{jobs.url}/jobs")
        url = f"{jobs.url}/jobs/job-1"
        seen = [session.get(url).json()["status"]]
        while seen[-1] != "failed":
            time.sleep(0.02)
            seen.append(session.get(url).json()["status"])
        assert seen[0] == "running"


def test_a_raw_server_says_what_it_is_told() -> None:
    with RawServer(say(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 1\r\n\r\nx", pause=0.02)) as server:
        assert requests.post(server.url, data=b"body", timeout=5).text == "x"
        assert server.connections == 1
        (request,) = server.requests
        assert request.startswith(b"POST / HTTP/1.1\r\n")
        assert request.endswith(b"\r\n\r\nbody")
    with RawServer(close) as server, pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)
    assert server.requests == []
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)
