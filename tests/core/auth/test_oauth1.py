"""OAuth 1.0 signatures, checked by oauthlib's own functions for servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oauthlib.common import Request as Signed
from oauthlib.oauth1.rfc5849 import signature

from airflow_provider_apitask.core.auth import OAuth1Auth, OAuth1Settings
from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import Request

from .helpers import a_request

SECRETS = {"client_secret": "cs &1", "token": "t-1", "token_secret": "ts/+2"}
QUOTED = str.maketrans({c: f"%{ord(c):02X}" for c in '|{}"^'})
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def received(request: Request) -> Any:
    """The request as a server reads it."""
    field = request.headers.get_all("Authorization")
    assert len(field) == 1
    assert field[0].startswith("OAuth ")
    pairs = dict(p.split("=", 1) for p in field[0].removeprefix("OAuth ").split(", "))
    params = {name: unquote(value.strip('"')) for name, value in pairs.items()}
    form = (
        request.body.decode()
        if request.body and request.headers.get("Content-Type") == FORM["Content-Type"]
        else ""
    )
    made = Signed(request.url, request.method, form)
    collected = signature.collect_parameters(
        uri_query=request.url.partition("?")[2],
        body=form,
        headers={"Authorization": field[0]},
        with_realm=False,
    )
    made.signature = params["oauth_signature"]
    made.params = collected
    made.oauth = params
    return made


def signed(request: Request, method: str = "HMAC-SHA1", **fields: Any) -> Any:
    auth = OAuth1Auth(OAuth1Settings(**{"client_key": "ck", "signature_method": method, **SECRETS, **fields}))
    return received(auth.signed(request))


REQUESTS = [
    a_request("GET", "/a", body=None),
    a_request("GET", "/a?b=1&a=%2F%20x&a=&ü=1".replace("ü", "%C3%BC"), body=None),
    a_request("POST", "/a?x=1", headers={"Content-Type": "application/json"}),
    a_request("POST", "/a?x=1", headers=FORM, body=b"b=2&a=x+y%26&x=3"),
    a_request("DELETE", "/a", body=None),
    a_request("PATCH", "/a%2Fb;c", headers={"Content-Type": "application/merge-patch+json"}),
]
_VERIFY = {
    "HMAC-SHA1": signature.verify_hmac_sha1,
    "HMAC-SHA256": signature.verify_hmac_sha256,
    "HMAC-SHA512": signature.verify_hmac_sha512,
    "PLAINTEXT": signature.verify_plaintext,
}


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
@pytest.mark.parametrize("method", _VERIFY)
def test_a_server_accepts_the_signature(method: str, request_: Request) -> None:
    made = signed(request_, method)
    assert _VERIFY[method](made, SECRETS["client_secret"], SECRETS["token_secret"])
    assert not _VERIFY[method](made, "another", SECRETS["token_secret"])
    assert made.oauth["oauth_signature_method"] == method
    assert (made.oauth["oauth_consumer_key"], made.oauth["oauth_token"]) == ("ck", "t-1")


@pytest.mark.parametrize("changed", [{"method": "PUT"}, {"url": "https://api.example.com/v1/b?x=1"}])
def test_another_request_is_not_covered(changed: dict[str, str]) -> None:
    auth = OAuth1Auth(OAuth1Settings(client_key="ck", **SECRETS))
    other = replace(auth.signed(REQUESTS[3]), **changed)  # type: ignore[arg-type]
    assert not signature.verify_hmac_sha1(received(other), SECRETS["client_secret"], SECRETS["token_secret"])


@pytest.mark.parametrize("method", ["RSA-SHA1", "RSA-SHA256", "RSA-SHA512"])
def test_rsa(method: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    made = signed(REQUESTS[3], method, rsa_key=pem)
    verify = {
        "RSA-SHA1": signature.verify_rsa_sha1,
        "RSA-SHA256": signature.verify_rsa_sha256,
        "RSA-SHA512": signature.verify_rsa_sha512,
    }[method]
    assert verify(made, public)


def test_each_request_is_signed_anew() -> None:
    nonces = {signed(REQUESTS[0]).oauth["oauth_nonce"] for _ in range(3)}
    assert len(nonces) == 3


def test_nothing_but_the_header_changes() -> None:
    for request in REQUESTS:
        made = OAuth1Auth(OAuth1Settings(client_key="ck", **SECRETS)).signed(request)
        assert (made.method, made.url, made.body) == (request.method, request.url, request.body)
        assert made.headers.without("Authorization") == request.headers


def test_without_a_token_and_with_a_realm() -> None:
    made = signed(REQUESTS[0], token="", token_secret="", realm="a realm")
    assert "oauth_token" not in made.oauth
    assert made.oauth["realm"] == "a realm"
    assert signature.verify_hmac_sha1(made, SECRETS["client_secret"], "")


@pytest.mark.parametrize("path", ["/a?ids[]=1", "/a?q=a|b", "/a?q={x}", '/a?q="x"', "/a?flag", "/a?x=^"])
def test_queries_that_oauthlib_alone_would_refuse(path: str) -> None:
    request = a_request("GET", path, body=None)
    made = OAuth1Auth(OAuth1Settings(client_key="ck", **SECRETS)).signed(request)
    assert made.url == request.url
    read = received(replace(made, url=made.url.replace("[]", "%5B%5D").translate(QUOTED)))
    assert signature.verify_hmac_sha1(read, SECRETS["client_secret"], SECRETS["token_secret"])


@pytest.mark.parametrize(
    ("path", "body"), [("/a", b"\xff=1"), ("/a", b"a=[s3cret]"), ("/a", b"a s3cret"), ("/a?x=%zz", b"a=1")]
)
def test_what_cannot_be_signed_is_said(path: str, body: bytes) -> None:
    auth = OAuth1Auth(OAuth1Settings(client_key="ck", **SECRETS))
    with pytest.raises(AuthenticationError, match="cannot be signed") as caught:
        auth.signed(a_request("POST", path, headers=FORM, body=body))
    assert "s3cret" not in caught.value.message


def test_secrets() -> None:
    settings = OAuth1Settings(client_key="ck", rsa_key="key-s3cret", **SECRETS)
    auth = OAuth1Auth(settings)
    assert set(auth.secrets) == {*SECRETS.values(), "key-s3cret"}
    for value in auth.secrets:
        assert value not in repr(auth) + repr(settings)
