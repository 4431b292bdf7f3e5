"""Every way for a request to fail on the wire: named alike, and never sent twice in secret."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import Auth, Flow
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import Phase
from airflow_provider_apitask.drivers import wire
from tests.drivers.contract import (
    BEFORE,
    asynchronous,
    check,
    contract,
    failing,
    make_api,
    nothing,
    sync,
)
from tests.support import Answer, refused_url
from tests.support.job_server import JobServer
from tests.support.raw_server import Conversation, RawServer, say, silent
from tests.support.scripted_server import ScriptedServer

#: Seconds to connect and to read where a timeout is what the test is about.
HASTY = (0.2, 0.06)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused(method: str) -> None:
    seen = contract(nothing, sync(method), api=lambda s: make_api(refused_url()))
    check(seen, method, "Connection refused", received=False)
    assert "no connection could be made" in seen.error.message


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 64 + ".invalid", "a..invalid"])
def test_a_name_that_does_not_resolve(host: str, names: Callable[..., None]) -> None:
    names()
    seen = contract(nothing, sync("POST"), api=lambda s: make_api(f"http://{host}"))
    expected = "Name or service not known" if host == "nowhere.invalid" else "it is no valid name"
    check(seen, "POST", expected, received=False)
    assert "could not be resolved" in seen.error.message


HEAD = b"HTTP/1.1 200 OK\r\n"
MIDDLE = "in the middle of the answer"
MALFORMED = "malformed, or its header is too long"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("conversation", "text"),
    [
        (say(), BEFORE),
        (say(HEAD), BEFORE),
        (say(HEAD + b"Content-Length: 9\r\n"), BEFORE),
        (say(HEAD + b"Content-Length: 9\r\n\r\nshort"), MIDDLE),
        (say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"), MIDDLE),
        (say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"), MIDDLE),
        (say(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabcde\r\n0\r\n\r\n"), MALFORMED),
        (say(b"SSH-2.0-OpenSSH_9.6\r\n"), MALFORMED),
        (say(b"\x16\x03\x01 garbage\r\n\r\n"), MALFORMED),
        (say(HEAD + b"no colon here\r\nContent-Length: 0\r\n\r\n"), MALFORMED),
        (say(HEAD + b"Content-Length: nine\r\n\r\n"), MALFORMED),
        (say(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nx"), MALFORMED),
        (say(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12"), MALFORMED),
        (say(HEAD + b"X-Long: " + b"x" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"), MALFORMED),
        (say(HEAD + b"X: x\r\n" * 99 + b"Content-Length: 0\r\n\r\n"), MALFORMED),
    ],
)
def test_broken_answers(method: str, conversation: Conversation, text: str) -> None:
    seen = failing(method, conversation)
    check(seen, method, text, received=True)
    assert len(seen.server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("drop", ["before", "reset"])
def test_a_connection_dropped_without_an_answer(method: str, drop: Any) -> None:
    seen = contract(lambda s: s.on(method, "/a", Answer(drop=drop)), sync(method))
    check(seen, method, BEFORE, received=True)
    assert seen.targets == [f"{method} /a"]


@pytest.mark.parametrize(
    ("conversation", "text"),
    [
        (silent, "no byte for 0.06 s"),
        (say(HEAD + b"Content-Length: 9\r\n\r\nshort", b"", pause=0.5), "no byte for 0.06 s"),
    ],
)
def test_timeouts(conversation: Conversation, text: str) -> None:
    check(failing("POST", conversation, timeout=HASTY), "POST", text, received=True)


@pytest.mark.parametrize(
    "conversation",
    [
        say(HEAD, *[b"X: x\r\n"] * 90, pause=0.02),
        say(HEAD + b"Content-Length: 99\r\n\r\n", *[b"x"] * 90, pause=0.02),
    ],
    ids=["header", "body"],
)
def test_a_response_that_drips(conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_PERIODS", 0.1)
    seen = failing("POST", conversation, timeout=(0.2, 8))
    check(seen, "POST", "not complete after 1 s", received=True)


def test_a_malformed_chunk_in_the_middle() -> None:
    pieces = [HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"xyz\r\n"]
    check(failing("POST", say(*pieces, pause=0.05), timeout=(1, 0.3)), "POST", MALFORMED, received=True)


def test_a_slow_answer_is_no_timeout() -> None:
    pieces = [HEAD + b"Content-Length: 6\r\n", b"\r\n", *[b"%d" % n for n in range(1, 7)]]
    seen = contract(nothing, sync(timeout=(1, 0.5)), server=lambda: RawServer(say(*pieces, pause=0.05)))
    assert seen.value == "123456"


def test_no_connection_within_the_timeout() -> None:
    """A listener whose queue is full does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        api = make_api(f"http://127.0.0.1:{address[1]}")
        seen = contract(nothing, sync("POST", timeout=(0.2, 5)), api=lambda s: api)
        for one in waiting:
            one.close()
    check(seen, "POST", "not within 0.2 s", received=False)


@pytest.mark.parametrize("fault", [Answer(drop="before"), Answer(drop="reset"), Answer(json=[1], truncate=1)])
def test_a_lost_poll_is_asked_again(fault: Answer) -> None:
    """As the second request of a connection too, where aiohttp by itself would send it again at once."""
    call = asynchronous(poll_interval=1)
    seen = contract(lambda s: s.once("GET", "/jobs/job-1", fault, fault), call, server=JobServer)
    assert seen.phase is Phase.SUCCEEDED
    assert seen.targets.count("GET /jobs/job-1") == 5
    assert [kind for kind, _ in seen.events].count("failing") == 1


def test_a_lost_submit_is_not_sent_again() -> None:
    def script(server: JobServer) -> None:
        server.once("POST", "/jobs", server.lose)

    seen = contract(script, asynchronous(), server=JobServer)
    assert (seen.phase, seen.failed[0]) == (Phase.SUBMIT_UNKNOWN, "submit_unknown")
    assert len(seen.server.submits) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_connection_that_was_closed_while_idle(method: str) -> None:
    """It is noticed before a request is written to it, which then goes over a new one."""
    answers = (Answer(503, drop="after"), Answer(json=1))
    seen = contract(
        lambda s: s.on(method, "/a", *answers), sync(method, retry=RetryPolicy(count=1)), real_sleep=0.05
    )
    assert (seen.value, seen.targets) == (1, [f"{method} /a"] * 2)
    assert seen.server.connections == 2


def test_retries_of_the_submit(no_pause_for_all: None) -> None:
    answers = (Answer(503), Answer(429, headers={"Retry-After": "9"}), Answer(json=1))
    seen = contract(lambda s: s.on("POST", "/a", *answers), sync("POST", retry=RetryPolicy(count=3)))
    assert (seen.value, len(seen.targets)) == (1, 3)
    assert seen.server.connections == 3, "a submission has a connection of its own"


def test_a_submit_that_was_answered_is_not_sent_again() -> None:
    """Whatever becomes of the GET that its 303 asks for."""

    def script(server: ScriptedServer) -> None:
        server.on("POST", "/a", Answer(303, headers={"Location": "/gone"}))
        server.on("GET", "/gone", Answer(drop="before"))

    seen = contract(script, sync("POST", retry=RetryPolicy(count=3)))
    assert seen.failed[0] == "request_failed"
    assert seen.targets.count("POST /a") == 1


class Login(Auth):
    """Fetches a token before the request itself."""

    def flow(self, request: Request) -> Flow:
        login = Request(Purpose.LOGIN, "POST", request.url.replace("/a", "/login"), body=b"grant")
        token = (yield login).body.decode()
        return (yield request.with_headers(("Authorization", token)))


def test_a_failed_login_has_sent_nothing_of_the_request() -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/login", Answer(drop="before"), Answer(text="t1"))
        server.on("POST", "/a", Answer(json=1))

    call = sync("POST", retry=RetryPolicy(count=1))
    seen = contract(script, call, api=lambda s: make_api(s.url, Login()))
    assert (seen.value, seen.targets) == (1, ["POST /login", "POST /login", "POST /a"])


def test_a_request_that_is_lost_after_the_login() -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/login", Answer(text="t1"))
        server.on("POST", "/a", Answer(drop="before"))

    call = sync("POST", retry=RetryPolicy(count=1))
    seen = contract(script, call, api=lambda s: make_api(s.url, Login()))
    assert (seen.failed[0], seen.targets) == ("submit_unknown", ["POST /login", "POST /a"])
