"""Digest access authentication; the arithmetic is httpx's."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import DigestAuth
from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import Request, Response
from airflow_provider_apitask.core.redaction import Redactor
from tests.core.helpers import make_response

from .helpers import a_request, pump

CHALLENGE = 'Digest realm="r", nonce="n-1", qop="auth", opaque="o", algorithm={}'


def fields_of(request: Request) -> dict[str, str]:
    text = request.headers.get("Authorization") or ""
    assert text.startswith("Digest ")
    return {n: a or b for n, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|([^,]*))', text)}


def challenge(algorithm: str = "MD5", **headers: Any) -> Response:
    return make_response(401, None, {"WWW-Authenticate": CHALLENGE.format(algorithm), **headers})


def answering(first: Response) -> Any:
    def server(request: Request) -> Response:
        return make_response(200) if request.headers.get("Authorization") else first

    return server


@pytest.mark.parametrize(("algorithm", "digest"), [("MD5", "md5"), ("SHA-256", "sha256")])
@pytest.mark.parametrize("path", ["/a", "/a?x=1&y=%2F", "/a%2Fb?q='x'", "/a[0]?q=(x)|y", "/~u/a,b;c=d"])
def test_the_answer_to_a_challenge(algorithm: str, digest: str, path: str) -> None:
    request = a_request("POST", path)
    steps, response = pump(DigestAuth("u", "p").flow(request), answering(challenge(algorithm)))
    assert (len(steps), response.status) == (2, 200)
    assert steps[0].headers.get("Authorization") is None
    assert (steps[1].method, steps[1].url, steps[1].body) == (request.method, request.url, request.body)
    found = fields_of(steps[1])
    target = f"/v1{path}"
    assert found["uri"] == target, "what the request line says, character by character"

    def h(text: str) -> str:
        return hashlib.new(digest, text.encode()).hexdigest()

    a1, a2 = h("u:r:p"), h(f"POST:{target}")
    expected = h(f"{a1}:n-1:{found['nc']}:{found['cnonce']}:auth:{a2}")
    assert found["response"] == expected


def test_a_challenge_is_answered_once() -> None:
    auth = DigestAuth("u", "p")
    steps, response = pump(auth.flow(a_request()), lambda request: challenge())
    assert (len(steps), response.status) == (2, 401)


def test_the_next_request_needs_no_challenge() -> None:
    auth = DigestAuth("u", "p")
    pump(auth.flow(a_request()), answering(challenge()))
    steps, _ = pump(auth.flow(a_request("GET", "/b")), answering(challenge()))
    assert len(steps) == 1
    assert (fields_of(steps[0])["nc"], fields_of(steps[0])["uri"]) == ("00000002", "/v1/b")


def test_a_nonce_that_ran_out_is_answered_again() -> None:
    auth = DigestAuth("u", "p")
    pump(auth.flow(a_request()), answering(challenge()))
    stale = make_response(401, None, {"WWW-Authenticate": 'Digest realm="r", nonce="n-2", stale=true'})

    def server(request: Request) -> Response:
        return make_response(200) if 'nonce="n-2"' in (request.headers.get("Authorization") or "") else stale

    steps, response = pump(auth.flow(a_request()), server)
    assert (len(steps), response.status) == (2, 200)


@pytest.mark.parametrize(
    "field",
    ["Digest realm", 'Digest realm="r"', 'Digest nonce="n"', 'Digest realm="r", nonce="n", qop="auth-int"',
     'Digest realm="r", nonce="n", algorithm=ROT13', "Digest ,,,=", 'Digest realm="r", nonce="n", qop="x"'],
)  # fmt: skip
def test_a_malformed_challenge(field: str) -> None:
    answer = make_response(401, None, {"WWW-Authenticate": field})
    with pytest.raises(AuthenticationError, match="digest") as caught:
        pump(DigestAuth("u", "p-s3cret").flow(a_request()), answering(answer))
    assert caught.value.data["status_code"] == 401
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "headers", [{}, {"WWW-Authenticate": 'Basic realm="r"'}, {"WWW-Authenticate": "Digest"}]
)
def test_what_is_no_challenge_is_the_answer(headers: dict[str, str]) -> None:
    answer = make_response(401, None, headers)
    steps, response = pump(DigestAuth("u", "p").flow(a_request()), answering(answer))
    assert len(steps) == 1
    assert response is answer


@pytest.mark.parametrize(
    "field",
    ["Digest realm=", 'Digest realm="r", nonce="n", x=', 'Digest realm="r", nonce="n", qop=', "Digest =",
     'Digest realm="\ud800", nonce="n", algorithm=\u00fc'],
)  # fmt: skip
def test_a_challenge_that_a_library_stumbles_over(field: str) -> None:
    with pytest.raises(AuthenticationError, match="'digest'"):
        pump(
            DigestAuth("u", "p").flow(a_request()),
            answering(make_response(401, None, {"WWW-Authenticate": field})),
        )


def test_a_challenge_that_cannot_be_used_is_forgotten() -> None:
    auth = DigestAuth("u", "p")
    with pytest.raises(AuthenticationError, match="algorithm"):
        pump(auth.flow(a_request()), answering(challenge("ROT13")))
    assert pump(auth.flow(a_request()), answering(challenge()))[1].status == 200


def test_an_error_names_the_unsupported_qop() -> None:
    answer = make_response(401, None, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth-int"'})
    with pytest.raises(AuthenticationError) as caught:
        pump(DigestAuth("u", "p").flow(a_request()), answering(answer))
    said = Redactor().line(caught.value.message)
    for part in ("'digest'", "qop is 'auth-int'", "only 'auth' is supported", "another auth_type"):
        assert part in said
    assert "***" not in said


@pytest.mark.parametrize("text", ["\u00fc", "\u20ac", "\ud800"])
def test_other_fields_of_a_response_are_not_looked_at(text: str) -> None:
    """httpx encodes them as ASCII; a POST that was processed would look as if it had failed."""
    fields = {"Content-Disposition": f'attachment; filename="{text}.json"'}
    auth, answer = DigestAuth("u", "p"), make_response(200, None, fields)
    assert pump(auth.flow(a_request()), lambda request: answer)[1] is answer
    steps, response = pump(auth.flow(a_request()), answering(challenge(**fields)))
    assert (len(steps), response.status) == (2, 200)


def test_a_realm_that_is_not_ascii() -> None:
    answer = make_response(401, None, {"WWW-Authenticate": 'Digest realm="B\u00fcro", nonce="n"'})
    steps, _ = pump(DigestAuth("u", "p").flow(a_request()), answering(answer))
    assert fields_of(steps[1])["realm"] == "B\u00fcro"


def test_a_url_that_is_too_long() -> None:
    with pytest.raises(AuthenticationError, match="URL"):
        pump(DigestAuth("u", "p").flow(a_request("GET", f"/{'a' * 70_000}")), answering(challenge()))


def test_one_of_several_challenges() -> None:
    fields: Any = {"WWW-Authenticate": ['Basic realm="r"', CHALLENGE.format("MD5")]}
    steps, _ = pump(DigestAuth("u", "p").flow(a_request()), answering(make_response(401, None, fields)))
    assert len(steps) == 2


def test_cookies_of_the_challenge_and_of_the_request_go_along() -> None:
    request = a_request(headers={"Cookie": "csrftoken=c"})
    steps, _ = pump(
        DigestAuth("u", "p").flow(request), answering(challenge(**{"Set-Cookie": "sid=1; Path=/"}))
    )
    cookies = "; ".join(steps[1].headers.get_all("Cookie"))
    assert sorted(cookies.split("; ")) == ["csrftoken=c", "sid=1"]


def test_credentials() -> None:
    assert DigestAuth("u", "p").credentials == ("u", "p")
