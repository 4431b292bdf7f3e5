"""Credentials that are the same for each request."""

from __future__ import annotations

import base64

import pytest

from airflow_provider_apitask.core.auth import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    DigestAuth,
    HeadersAuth,
    NoAuth,
    OAuth1Auth,
    OAuth1Settings,
)
from airflow_provider_apitask.core.messages import Response
from tests.core.helpers import make_response

from .helpers import a_request, pump

ALL = [
    NoAuth(),
    BasicAuth("u", "s3cret-1"),
    BearerAuth("s3cret-1"),
    ApiKeyAuth("X-Key", "s3cret-1"),
    HeadersAuth({"X-Slurm-User": "u", "X-Slurm-Token": "s3cret-1"}),
    DigestAuth("u", "s3cret-1"),
    OAuth1Auth(OAuth1Settings(client_key="k", client_secret="s3cret-1")),
]


@pytest.mark.parametrize("auth", ALL, ids=repr)
def test_one_request_and_its_answer(auth: Auth) -> None:
    answer = make_response(401, {"detail": "no"})
    steps, response = pump(auth.flow(a_request()), lambda request: answer)
    assert len(steps) == 1, "there is nothing that could be renewed"
    assert response is answer
    assert steps[0].headers.get("X-Mine") == "1"
    assert (steps[0].method, steps[0].body) == ("POST", b"{}")


@pytest.mark.parametrize("auth", ALL, ids=repr)
def test_nothing_is_needed_to_know_the_base_url(auth: Auth) -> None:
    assert list(auth.ready()) == []
    assert (auth.moves_base_url, auth.base_url) == (False, None)


@pytest.mark.parametrize("auth", ALL[1:], ids=repr)
def test_the_secret_is_named_and_not_shown(auth: Auth) -> None:
    assert "s3cret-1" in tuple(auth.secrets)
    assert "s3cret-1" not in repr(auth)
    assert "s3cret-1" not in repr(auth.signed(a_request()))


@pytest.mark.parametrize(
    ("user", "password"), [("u", "p"), ("u", ""), ("u", "a:b"), ("ü", "pä€"), ("u", "  x ")]
)
def test_basic(user: str, password: str) -> None:
    auth = BasicAuth(user, password)
    scheme, _, text = (auth.signed(a_request()).headers.get("Authorization") or "").partition(" ")
    assert (scheme, base64.b64decode(text).decode()) == ("Basic", f"{user}:{password}")
    assert text in tuple(auth.secrets)


def test_a_credential_of_the_author_gives_way() -> None:
    request = a_request(headers={"authorization": "Basic x", "x-key": "mine"})
    assert BearerAuth("t").signed(request).headers.get_all("Authorization") == ["Bearer t"]
    assert ApiKeyAuth("X-Key", "k").signed(request).headers.get_all("X-Key") == ["k"]


def test_several_headers() -> None:
    auth = HeadersAuth({"X-Slurm-User": "u", "X-Slurm-Token": "t"})
    signed = auth.signed(a_request())
    assert [signed.headers.get(n) for n in ("X-Slurm-User", "X-Slurm-Token", "X-Mine")] == ["u", "t", "1"]
    assert set(auth.secrets) == {"u", "t"}


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/a", "/a?api_key=k%2B+%26"),
        ("/a?x=1", "/a?x=1&api_key=k%2B+%26"),
        ("/a?x=%2F&x=2", "/a?x=%2F&x=2&api_key=k%2B+%26"),
    ],
)
def test_api_key_in_the_query(path: str, url: str) -> None:
    signed = ApiKeyAuth("api_key", "k+ &", "query").signed(a_request("GET", path))
    assert signed.url.removeprefix("https://api.example.com/v1") == url
    assert signed.headers == a_request().headers


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "sid=k"),
        ("a=1", "a=1; sid=k"),
        ("a=1; b=x=y", "a=1; b=x=y; sid=k"),
        ("sid=old; a=1", "sid=k; a=1"),
        (" a=1 ;; junk ; ", "a=1; sid=k"),
    ],
)
def test_api_key_in_a_cookie(before: str | None, after: str) -> None:
    request = a_request(headers={"Cookie": before} if before else {})
    assert ApiKeyAuth("sid", "k", "cookie").signed(request).headers.get_all("Cookie") == [after]


def test_several_cookie_fields_become_one() -> None:
    request = a_request(headers={"Cookie": ["a=1", "b=2"]})
    assert request.with_cookies({"c": "3"}).headers.get_all("Cookie") == ["a=1; b=2; c=3"]


def test_no_cookies_change_nothing() -> None:
    request = a_request(headers={"Cookie": "junk"})
    assert request.with_cookies({}) is request


def test_a_flow_returns_what_it_was_given() -> None:
    answer = Response(200, "https://elsewhere.example/")
    assert pump(NoAuth().flow(a_request()), lambda request: answer)[1] is answer
