"""Authlib is set up so that it behaves: grants, client authentication, expiry, rotation, the job API."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
from requests.auth import HTTPBasicAuth

from tests.support.real import Jobs
from tests.support.real.oauth2_server import BASIC, PASSWORD, POST, SPECIAL, USERNAME, Client, OAuth2Server

CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}
PASSWORD_GRANT = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}


@pytest.fixture
def server(nothing_left: None) -> Iterator[OAuth2Server]:
    with OAuth2Server() as running:
        yield running


def basic(client: Client, encode: Callable[[str], str] = lambda text: quote(text, safe="")) -> dict[str, str]:
    pair = f"{encode(client.client_id)}:{encode(client.client_secret)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def in_body(client: Client) -> dict[str, str]:
    return {"client_id": client.client_id, "client_secret": client.client_secret}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def granted(server: OAuth2Server, session: requests.Session, **params: str) -> dict[str, Any]:
    answer = session.post(server.token_url, data=CLIENT_CREDENTIALS | params, headers=basic(BASIC))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_client_credentials_by_header_and_by_body(server: OAuth2Server, session: requests.Session) -> None:
    by_header = session.post(server.token_url, data=CLIENT_CREDENTIALS, headers=basic(BASIC))
    by_body = session.post(server.token_url, data=CLIENT_CREDENTIALS | in_body(POST))
    assert [a.status_code for a in (by_header, by_body)] == [200, 200]
    token = by_header.json()
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 3600, "read write")
    assert "refresh_token" not in token
    assert [r.auth for r in server.token_requests] == [("basic",), ("body",)]
    assert [r.client_id for r in server.token_requests] == ["basic", "post"]


def test_the_other_client_authentication_is_refused(server: OAuth2Server, session: requests.Session) -> None:
    wrong_way = session.post(server.token_url, data=CLIENT_CREDENTIALS | in_body(BASIC))
    other_way = session.post(server.token_url, data=CLIENT_CREDENTIALS, headers=basic(POST))
    wrong_secret = session.post(
        server.token_url, data=CLIENT_CREDENTIALS, headers=basic(Client("basic", "x"))
    )
    both = session.post(server.token_url, data=CLIENT_CREDENTIALS | in_body(BASIC), headers=basic(BASIC))
    answers = [(a.status_code, a.json()["error"]) for a in (wrong_way, other_way, wrong_secret, both)]
    assert answers == [(401, "invalid_client")] * 3 + [(400, "invalid_request")]
    assert "Basic" in wrong_secret.headers["WWW-Authenticate"]
    assert server.token_requests[-1].auth == ("basic", "body")
    assert not server.tokens


@pytest.mark.parametrize(
    ("encode", "status"),
    [
        pytest.param(lambda text: quote(text, safe=""), 200, id="percent"),
        pytest.param(quote_plus, 401, id="plus-for-space"),  # Authlib's reading
        pytest.param(str, 401, id="raw"),
        pytest.param(lambda text: quote(text, safe="é"), 200, id="percent-but-letters"),
    ],
)
def test_special_characters_in_id_and_secret(
    server: OAuth2Server, session: requests.Session, encode: Callable[[str], str], status: int
) -> None:
    answer = session.post(server.token_url, data=CLIENT_CREDENTIALS, headers=basic(SPECIAL, encode))
    assert answer.status_code == status


def test_basic_that_is_not_utf8_is_refused(server: OAuth2Server, session: requests.Session) -> None:
    auth = HTTPBasicAuth(SPECIAL.client_id, SPECIAL.client_secret)  # sends Latin-1
    answer = session.post(server.token_url, data=CLIENT_CREDENTIALS, auth=auth)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_scope_audience_and_resource(server: OAuth2Server, session: requests.Session) -> None:
    extra = {"audience": "https://a.example", "resource": "urn:r"}
    token = granted(server, session, scope="read admin", **extra)
    me = session.get(f"{server.url}/me", headers=bearer(token["access_token"])).json()
    assert me == {
        "user": None,
        "client": "basic",
        "scope": "read",  # admin was left out silently
        "audience": ["https://a.example"],
        "resource": ["urn:r"],
    }
    assert server.token_requests[0].param("audience") == "https://a.example"
    denied = session.post(f"{server.url}/jobs", headers=bearer(token["access_token"]))
    assert (denied.status_code, denied.json()["error"]) == (403, "insufficient_scope")
    unknown = session.post(server.token_url, data=CLIENT_CREDENTIALS | {"scope": "x"}, headers=basic(BASIC))
    assert (unknown.status_code, unknown.json()["error"]) == (400, "invalid_scope")


def test_password_grant_and_rotation(server: OAuth2Server, session: requests.Session) -> None:
    first = session.post(server.token_url, data=PASSWORD_GRANT, headers=basic(BASIC)).json()
    me = session.get(f"{server.url}/me", headers=bearer(first["access_token"])).json()
    assert me["user"] == USERNAME
    renewal = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = session.post(server.token_url, data=renewal, headers=basic(BASIC))
    again = session.post(server.token_url, data=renewal, headers=basic(BASIC))
    assert second.json()["refresh_token"] not in (None, first["refresh_token"])
    assert (second.json()["scope"], second.status_code) == (first["scope"], 200)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    wrong = session.post(server.token_url, data=PASSWORD_GRANT | {"password": "x"}, headers=basic(BASIC))
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_request")


def test_a_refresh_token_is_good_for_one_of_many_renewals(server: OAuth2Server) -> None:
    renewal = {"grant_type": "refresh_token", "refresh_token": server.issue_refresh_token()}

    def renew(_: int) -> int:
        return requests.post(server.token_url, data=renewal, headers=basic(BASIC), timeout=5).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(renew, range(8)))
    assert sorted(statuses) == [200] + [400] * 7


@pytest.mark.parametrize("announced", [True, False])
def test_tokens_expire_whether_announced_or_not(session: requests.Session, announced: bool) -> None:
    with OAuth2Server(lifetime=1, announce_lifetime=announced) as server:
        body = granted(server, session)
        assert body.get("expires_in") == (1 if announced else None)
        assert session.get(f"{server.url}/me", headers=bearer(body["access_token"])).status_code == 200
        time.sleep(1.01)
        late = session.get(f"{server.url}/me", headers=bearer(body["access_token"]))
        assert (late.status_code, late.json()["error"]) == (401, "invalid_token")
        assert late.headers["WWW-Authenticate"].startswith("Bearer ")
        assert server.resource_requests == {body["access_token"]: 2}


def test_revoked_in_the_middle_of_a_job(server: OAuth2Server, session: requests.Session) -> None:
    old = bearer(granted(server, session)["access_token"])
    submit = session.post(f"{server.url}/jobs", headers=old)
    assert (submit.status_code, submit.headers["Location"]) == (202, "/jobs/1")
    poll = f"{server.url}/jobs/1"
    assert session.get(poll, headers=old).json()["status"] == "running"
    server.revoke_all()
    assert session.get(poll, headers=old).status_code == 401
    new = bearer(granted(server, session)["access_token"])
    assert [session.get(poll, headers=new).json()["status"] for _ in range(2)] == ["running", "succeeded"]
    assert session.get(f"{poll}/result", headers=new).json()["rows"] == 3
    assert session.delete(poll, headers=new).status_code == 409
    assert sorted(server.resource_requests.values()) == [3, 4]
    assert [r.status for r in server.requests("GET", "/jobs/1")] == [200, 401, 200, 200]


def test_a_job_by_the_clock_is_cancelled(session: requests.Session) -> None:
    with OAuth2Server(jobs=Jobs(seconds=60)) as server:
        headers = bearer(granted(server, session)["access_token"])
        session.post(f"{server.url}/jobs", headers=headers)
        assert session.get(f"{server.url}/jobs/1/result", headers=headers).status_code == 404
        polls = [session.get(f"{server.url}/jobs/1", headers=headers).json() for _ in range(4)]
        assert {poll["status"] for poll in polls} == {"running"}
        assert session.delete(f"{server.url}/jobs/1").status_code == 401
        assert session.delete(f"{server.url}/jobs/1", headers=headers).json()["status"] == "cancelled"
        assert session.get(f"{server.url}/jobs/2", headers=headers).status_code == 404
        assert server.jobs.cancelled(1)


def test_a_token_endpoint_in_trouble(server: OAuth2Server, session: requests.Session) -> None:
    server.fail_token(503, times=2)
    server.refuse_token(description="ask Bob")
    server.omit_access_token()
    answers = [
        session.post(server.token_url, data=CLIENT_CREDENTIALS, headers=basic(BASIC)) for _ in range(5)
    ]
    assert [a.status_code for a in answers] == [503, 503, 400, 200, 200]
    assert answers[2].json() == {"error": "invalid_client", "error_description": "ask Bob"}
    assert "access_token" not in answers[3].json()
    assert "access_token" in answers[4].json()
    assert [r.status for r in server.token_requests] == [a.status_code for a in answers]


@pytest.mark.parametrize("status", [403, 500, 302])
def test_a_dead_token_is_refused_otherwise(session: requests.Session, status: int) -> None:
    with OAuth2Server(refusal_status=status) as server:
        refused = session.get(f"{server.url}/me", headers=bearer("x"), allow_redirects=False)
        assert refused.status_code == status
        if status == 302:
            assert "<form>" in session.get(server.url + refused.headers["Location"]).text


def test_many_clients_at_once(server: OAuth2Server, session: requests.Session) -> None:
    headers = bearer(granted(server, session)["access_token"])

    def me(_: int) -> int:
        return requests.get(f"{server.url}/me", headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(me, range(200))) == {200}
    assert server.connections == 201
