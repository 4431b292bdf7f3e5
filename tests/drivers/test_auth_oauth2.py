"""OAuth2 on a real server: tokens that die during a job, endpoints that fail, many callers at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import NetworkFailure, Purpose, Request, Response
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import Phase
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from airflow_provider_apitask.hooks.connection import read_connection
from tests.drivers.auth_support import PLACES, Conn, conn, delete, job, perform
from tests.drivers.contract import sync
from tests.support import Answer, Recorded, refused_url
from tests.support.real import Jobs
from tests.support.real.oauth2_server import BASIC, PASSWORD, POST, USERNAME, OAuth2Server
from tests.support.scripted_server import ScriptedServer

ONE_PROCESS = ["worker", "triggerer"]
#: Seconds between two tries of a renewal that failed.
AGAIN = 0.01
RESULT = {"id": 1, "rows": 3}


def oauth2(server: Any, *, client: Any = BASIC, **fields: Any) -> Conn:
    given = {
        "auth_type": "oauth2",
        "oauth2_endpoint": f"{server.url}/token",
        "oauth2_client_id": client.client_id,
        "oauth2_client_secret": client.client_secret,
        **fields,
    }
    return conn(server.url, given.pop("login", None), given.pop("password", None), **given)


def by_password(server: Any, **fields: Any) -> Conn:
    return oauth2(server, login=USERNAME, password=PASSWORD, oauth2_grant="password", **fields)


def statuses(server: Any, method: str, path: str) -> list[int]:
    return [r.status for r in server.requests(method, path)]


def grants(server: OAuth2Server) -> list[tuple[str, int]]:
    return [(r.params["grant_type"][0], r.status) for r in server.token_requests]


def at(number: int, what: Callable[[], object]) -> Callable[[int], object]:
    """Do something at one of the waits."""
    return lambda n: what() if n == number else None


# -- a token that dies during a job ------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_expiry_is_foreseen(place: str) -> None:
    """A token that lives for a second is renewed before the poll after it: no 401 is ever seen."""
    with OAuth2Server(lifetime=1) as server:
        outcome = perform(place, oauth2(server), job(poll_interval=30, max_polls=5), real_sleep=0.55)
        assert outcome.value == RESULT
        assert {r.status for r in server.history} <= {200, 202}
        assert len(server.token_requests) == (4 if place == "deferred" else 2)
        assert all(token in outcome.learned for token in (t.access_token for t in server.tokens))


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_token_that_does_not_say_how_long_it_lives(place: str) -> None:
    with OAuth2Server(lifetime=1, announce_lifetime=False, jobs=Jobs(polls=1)) as server:
        outcome = perform(place, oauth2(server), job(), real_sleep=1.05)
        assert outcome.value == RESULT
        assert statuses(server, "GET", "/jobs/1") == [200, 401, 200]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_revoked_during_a_job(place: str) -> None:
    with OAuth2Server() as server:
        outcome = perform(place, oauth2(server), job(), at_wait=at(1, server.revoke_all))
        assert outcome.value == RESULT
        assert statuses(server, "GET", "/jobs/1") == [200, 401, 200, 200]
        assert (len(server.token_requests), len(server.jobs)) == (2, 1)
        assert outcome.kinds.count("failing") == 0


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_revoked_before_the_submit_of_a_job(place: str) -> None:
    """Refused before anything was done, so that even a POST goes again."""
    with OAuth2Server() as server:
        kept = read_connection(oauth2(server))
        request = Request(Purpose.SUBMIT, "POST", f"{server.url}/jobs", body=b"{}")
        answers = []
        for _ in range(2):
            answers += send_all(place, kept, [request])
            server.revoke_all()
        assert [answer.status for answer in answers] == [202, 202]
        assert statuses(server, "POST", "/jobs") == [202, 401, 202]


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("call", ["submit", "poll", "delete"])
def test_a_second_refusal_in_a_row_ends_it(place: str, call: str) -> None:
    """A server that takes no token at all is asked twice, not for ever."""
    with ScriptedServer() as server:
        count = 0

        def token(request: Recorded) -> Answer:
            nonlocal count
            count += 1
            return Answer(json={"access_token": f"t0ken-{count}", "token_type": "bearer", "expires_in": 600})

        no = Answer(401, {"detail": "no"})
        server.on("POST", "/token", token)
        server.on("POST", "/jobs", no if call == "submit" else Answer(202, headers={"Location": "/jobs/1"}))
        server.on("GET", "/jobs/1", no)
        server.on("DELETE", "/jobs/1", no)
        outcome = perform(place, oauth2(server), delete("jobs/1") if call == "delete" else job())
        assert (outcome.error.kind, outcome.error.data["status_code"]) == ("request_failed", 401)
        assert "answered 401" in outcome.error.message
        assert len(server.requests("POST", "/token")) == 2
        method, path = {"submit": ("POST", "/jobs"), "poll": ("GET", "/jobs/1")}.get(
            call, ("DELETE", "/jobs/1")
        )
        sent = [r.header("Authorization") for r in server.requests(method, path)]
        assert sent == ["Bearer t0ken-1", "Bearer t0ken-2"]


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (403, {"renew_codes": "401, 403"}),
        (500, {"renew_codes": [500]}),
        (302, {"login_page": "/login"}),
    ],
)
def test_other_ways_to_say_401(place: str, status: int, fields: dict[str, Any]) -> None:
    with OAuth2Server(refusal_status=status) as server:
        outcome = perform(place, oauth2(server, **fields), job(), at_wait=at(1, server.revoke_all))
        assert outcome.value == RESULT
        assert statuses(server, "GET", "/jobs/1") == [200, status, 200, 200]
        assert len(server.token_requests) == 2


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("status", [403, 500])
def test_other_codes_do_not_renew_by_themselves(place: str, status: int) -> None:
    with OAuth2Server(refusal_status=status) as server:
        outcome = perform(place, oauth2(server), job(status_grace=40), at_wait=at(1, server.revoke_all))
        assert outcome.error.data["status_code"] == status
        assert len(server.token_requests) == 1


# -- what is asked for -------------------------------------------------------------------------


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("client", [BASIC, POST], ids=["basic", "body"])
def test_parameters_of_the_token_request(place: str, client: Any) -> None:
    with OAuth2Server() as server:
        connection = oauth2(
            server,
            client=client,
            oauth2_client_auth="body" if client is POST else "basic",
            oauth2_scope="read",
            oauth2_audience="https://aud.example",
            oauth2_resource="https://res.example",
            oauth2_params='{"tenant": "ten ant&="}',
        )
        assert perform(place, connection, sync("GET", "me")).value["scope"] == "read"
        (asked,) = server.token_requests
        assert asked.auth == (("body",) if client is POST else ("basic",))  # never both
        assert {name: asked.params[name] for name in ("scope", "audience", "resource", "tenant")} == {
            "scope": ["read"],
            "audience": ["https://aud.example"],
            "resource": ["https://res.example"],
            "tenant": ["ten ant&="],
        }
        assert ("client_secret" in asked.params) is (client is POST)
        assert "scope" in asked.params
        (sent,) = server.requests("POST", "/token")
        assert sent.header("Content-Type") == "application/x-www-form-urlencoded"
        assert sent.header("Accept") == "application/json"


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_scope_that_was_not_granted_is_not_cured_by_renewing(place: str) -> None:
    with OAuth2Server() as server:
        outcome = perform(place, oauth2(server, oauth2_scope="read"), job())
        assert outcome.error.data["status_code"] == 403
        assert len(server.token_requests) == 1


# -- refresh tokens ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_refresh_tokens_that_rotate(place: str) -> None:
    """Each renewal is made with the refresh token of the last one."""
    with OAuth2Server() as server:
        first = server.issue_refresh_token()
        connection = oauth2(server, oauth2_grant="refresh_token", oauth2_refresh_token=first)
        outcome = perform(place, connection, job(), at_wait=lambda n: server.revoke_all())
        assert outcome.value == RESULT
        assert grants(server) == [("refresh_token", 200)] * 3
        asked = [r.params["refresh_token"][0] for r in server.token_requests]
        assert asked == [first, *(t.refresh_token for t in server.tokens[1:3])]
        assert len(set(asked)) == 3
        outcome.assert_clean(*(t.refresh_token or "" for t in server.tokens))
        assert {t.refresh_token for t in server.tokens[1:]} <= set(outcome.learned)


def test_refresh_token_of_one_use_in_another_process() -> None:
    """The next process has only the one in the connection, which is used up: one clear error."""
    with OAuth2Server() as server:
        connection = oauth2(
            server, oauth2_grant="refresh_token", oauth2_refresh_token=server.issue_refresh_token()
        )
        error = perform("deferred", connection, job()).error
        assert error.kind == "authentication"
        assert "invalid_grant" in error.message


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_password_grant_goes_on_by_refresh_token(place: str) -> None:
    with OAuth2Server() as server:
        outcome = perform(place, by_password(server), job(), at_wait=lambda n: server.revoke_all())
        assert outcome.value == RESULT
        assert grants(server) == [("password", 200), ("refresh_token", 200), ("refresh_token", 200)]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_refused_refresh_falls_back_to_the_grant(place: str) -> None:
    with OAuth2Server() as server:

        def revoke() -> None:
            server.revoke_all(refresh_tokens=True)

        outcome = perform(place, by_password(server), job(), at_wait=at(1, revoke))
        assert outcome.value == RESULT
        assert grants(server) == [("password", 200), ("refresh_token", 400), ("password", 200)]


# -- a token endpoint that fails ---------------------------------------------------------------


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_token_endpoint_down_while_polling(place: str) -> None:
    """The job survives: a failed check is not a failed job."""
    with OAuth2Server() as server:

        def fail() -> None:
            server.revoke_all()
            server.fail_token(503, times=2)

        outcome = perform(place, oauth2(server), job(), at_wait=at(1, fail), real_sleep=AGAIN)
        assert outcome.value == RESULT
        assert grants(server) == [("client_credentials", status) for status in (200, 503, 503, 200)]
        assert [kind for kind in outcome.kinds if kind in ("failing", "recovered")] == [
            "failing",
            "recovered",
        ]
        failing = next(text for kind, text in outcome.events if kind == "failing")
        assert "/token" in failing
        assert "503" in failing
        assert len(server.jobs) == 1


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_token_endpoint_down_for_longer_than_the_grace(place: str) -> None:
    with OAuth2Server() as server:

        def fail() -> None:
            server.revoke_all()
            server.fail_token(503, times=50)

        outcome = perform(place, oauth2(server), job(status_grace=60), at_wait=at(1, fail))
        assert outcome.error.kind == "request_failed"
        assert "/token" in outcome.error.message
        assert "503" in outcome.error.message


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", [503, 500, 429])
def test_token_endpoint_down_at_the_submit(place: str, status: int) -> None:
    """Nothing of the submit was sent, so it is tried again and is seen once."""
    with OAuth2Server() as server:
        server.fail_token(status, times=1)
        outcome = perform(place, oauth2(server), job(retry=RetryPolicy(count=2)), real_sleep=AGAIN)
        assert outcome.value == RESULT
        assert statuses(server, "POST", "/jobs") == [202]
        assert [r.status for r in server.token_requests[:2]] == [status, 200]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_token_endpoint_down_at_the_submit_for_too_long(place: str) -> None:
    with OAuth2Server() as server:
        server.fail_token(503, times=10)
        outcome = perform(place, oauth2(server), job(retry=RetryPolicy(count=1)), real_sleep=AGAIN)
        assert outcome.error.kind == "request_failed"  # not submit_unknown
        assert outcome.phase is Phase.FAILED
        assert outcome.error.retryable
        assert "the OAuth2 token endpoint" in outcome.error.message
        assert (len(server.token_requests), statuses(server, "POST", "/jobs")) == (2, [])


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("drop", ["before", "refused"])
def test_token_endpoint_that_does_not_answer_at_the_submit(place: str, drop: str) -> None:
    with ScriptedServer() as server:
        server.on("POST", "/token", Answer(drop="before"))
        endpoint = f"{refused_url() if drop == 'refused' else server.url}/token"
        outcome = perform(place, oauth2(server, oauth2_endpoint=endpoint), job())
        assert outcome.error.kind == "request_failed"
        assert "/token" in outcome.error.message
        assert server.requests("POST", "/jobs") == []


# -- a token endpoint that refuses -------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_secret(place: str) -> None:
    with OAuth2Server() as server:
        outcome = perform(place, oauth2(server, oauth2_client_secret="wr0ng-secret"), job())
        assert outcome.error.kind == "authentication"
        assert "invalid_client" in outcome.error.message
        assert len(server.token_requests) == 1


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_error_and_description_are_shown(place: str) -> None:
    with OAuth2Server() as server:
        said = f"the client {BASIC.client_secret} is locked"
        server.refuse_token("invalid_client", said, status=401)
        error = perform(place, oauth2(server), job()).error
        assert error.kind == "authentication"
        assert "invalid_client: the client " in error.message
        assert " is locked" in error.message
        assert BASIC.client_secret not in repr(error.to_dict())
        assert "401" in error.message
        assert not error.retryable


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_refused_while_polling(place: str) -> None:
    with OAuth2Server() as server:

        def lock() -> None:
            server.revoke_all()
            server.refuse_token("unauthorized_client", "locked since noon", times=5)

        error = perform(place, oauth2(server), job(), at_wait=at(1, lock)).error
        assert error.kind == "authentication"
        assert "unauthorized_client: locked since noon" in error.message
        assert len(server.token_requests) == 2


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_an_answer_without_a_token(place: str) -> None:
    with OAuth2Server() as server:
        server.omit_access_token()
        error = perform(place, oauth2(server), job()).error
        assert error.kind == "authentication"
        assert "there is no access_token in the answer" in error.message
        assert statuses(server, "POST", "/jobs") == []


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, text="<html>Log in</html>", headers={"Content-Type": "text/html"}),
        Answer(200, []),
        Answer(200, None),
        Answer(200, "t0ken"),
        Answer(200, text=""),
        Answer(200, {"access_token": None}),
        Answer(200, {"access_token": ""}),
        Answer(200, {"error": "invalid_scope"}),
        Answer(200, {"access_token": "t0ken", "expires_in": "soon"}),
        Answer(404, {"detail": "not here"}),
        Answer(302, headers={"Location": "/login"}),
    ],
)
def test_answers_that_are_none(place: str, answer: Answer) -> None:
    with ScriptedServer() as server:
        server.on("POST", "/token", answer)
        error = perform(place, oauth2(server), job()).error
        assert error.kind == "authentication"
        assert "/token" in error.message
        assert len(server.history) == 1


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("expires_in", ["3600", 3600.5, None, 0, -1])
def test_expires_in_as_servers_send_it(place: str, expires_in: Any) -> None:
    with ScriptedServer() as server:
        body = {"access_token": "t0ken-1", "token_type": "bearer", "expires_in": expires_in}
        server.on("POST", "/token", Answer(json=body))
        server.on("GET", "/a", Answer(json=1))
        assert perform(place, oauth2(server), sync()).value == 1
        assert server.requests("GET", "/a")[0].header("Authorization") == "Bearer t0ken-1"


# -- many at once ------------------------------------------------------------------------------


def send_all(place: str, connection: Any, requests: list[Request]) -> list[Response]:
    """Send requests at the same time over one transport."""
    came = outcomes(place, connection, requests)
    assert all(isinstance(answer, Response) for answer in came), came
    return came


def outcomes(place: str, connection: Any, requests: list[Request]) -> list[Any]:
    """Send requests at the same time over one transport; what came of each."""
    if place == "triggerer":

        async def sent() -> list[Any]:
            async with EventLoopTransport(connection.api, connection.options) as transport:
                return await asyncio.gather(*(transport.send(request) for request in requests))

        came = asyncio.run(sent())
    else:
        came = [None] * len(requests)
        with BlockingTransport(connection.api, connection.options) as transport:

            def send(index: int) -> None:
                came[index] = transport.send(requests[index])

            threads = [threading.Thread(target=send, args=(index,)) for index in range(len(requests))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return came


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_many_requests_and_one_token(place: str) -> None:
    with OAuth2Server(token_delay=0.1) as server:
        connection = read_connection(oauth2(server))
        requests = [Request(Purpose.SUBMIT, "GET", f"{server.url}/me") for _ in range(50)]
        assert {answer.status for answer in send_all(place, connection, requests)} == {200}
        assert len(server.token_requests) == 1
        server.revoke_all()
        assert {answer.status for answer in send_all(place, connection, requests)} == {200}
        assert len(server.token_requests) == 2


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_many_requests_and_an_endpoint_that_refuses(place: str) -> None:
    """Those who waited find no token either; each gets its error, and no lock stays taken."""
    with OAuth2Server() as server:
        connection = read_connection(oauth2(server))
        server.fail_token(503, times=3)
        request = Request(Purpose.SUBMIT, "GET", f"{server.url}/me")

        async def sent() -> list[Any]:
            async with EventLoopTransport(connection.api, connection.options) as transport:
                first = await asyncio.gather(*(transport.send(request) for _ in range(3)))
                server.clear_faults()
                await asyncio.sleep(AGAIN)
                return [*first, await transport.send(request)]

        if place == "triggerer":
            came = asyncio.run(asyncio.wait_for(sent(), 10))
        else:
            with BlockingTransport(connection.api, connection.options) as transport:
                came = [transport.send(request) for _ in range(3)]
                server.clear_faults()
                time.sleep(AGAIN)
                came.append(transport.send(request))
        assert [isinstance(answer, NetworkFailure) for answer in came] == [True, True, True, False]


def token_answers(kind: str) -> Any:
    """A token endpoint that is slow, and then does not give one."""
    return {
        "down": Answer(503, {"error": "busy"}, delay=0.5),
        "refusing": Answer(400, {"error": "invalid_client"}, delay=0.5),
        "silent": Answer(drop="before", delay=0.5),
    }[kind]


@pytest.mark.parametrize("kind", ["down", "refusing", "silent"])
@pytest.mark.parametrize("place", ONE_PROCESS)
def test_many_requests_and_one_failure(place: str, kind: str) -> None:
    """Whoever waited for the token that was not to be had takes that failure; later ones ask again."""
    with ScriptedServer() as server:
        server.on("POST", "/token", token_answers(kind))
        server.on("GET", "/a", Answer(json=1))
        connection = read_connection(oauth2(server))
        requests = [Request(Purpose.SUBMIT, "GET", f"{server.url}/a") for _ in range(50)]
        for asked in (1, 2):
            came = outcomes(place, connection, requests)
            texts = {str(outcome) for outcome in came}
            assert len(server.requests("POST", "/token")) == asked
            assert len(texts) == 1, texts
            wanted = AuthenticationError if kind == "refusing" else NetworkFailure
            assert all(isinstance(outcome, wanted) for outcome in came), came
            assert len({id(outcome) for outcome in came}) == 50
        server.on("POST", "/token", Answer(json={"access_token": "t0ken", "token_type": "bearer"}))
        assert {answer.status for answer in send_all(place, connection, requests)} == {200}
        assert len(server.requests("POST", "/token")) == 3
        assert server.requests("GET", "/a")[0].header("Authorization") == "Bearer t0ken"


async def test_a_cancelled_renewal_lets_the_next_one_in() -> None:
    """A trigger that is cancelled while it renews must not keep the others waiting."""
    with OAuth2Server(token_delay=0.3) as server:
        connection = read_connection(oauth2(server))
        request = Request(Purpose.SUBMIT, "GET", f"{server.url}/me")
        async with EventLoopTransport(connection.api, connection.options) as transport:
            first = asyncio.create_task(transport.send(request))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(transport.send(request))
            first.cancel()
            answer = await asyncio.wait_for(second, 10)
            assert isinstance(answer, Response)
            assert answer.status == 200
            with pytest.raises(asyncio.CancelledError):
                await first
