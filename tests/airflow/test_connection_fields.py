"""Each field of a connection: what it may hold, and what is said of what it may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import yaml
from airflow.sdk import Connection
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import airflow_provider_apitask
from airflow_provider_apitask import ApiHook
from airflow_provider_apitask.core.auth import (
    DigestAuth,
    HeadersAuth,
    NoAuth,
    OAuth1Auth,
    OAuth2Auth,
    SessionAuth,
)
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.origins import OriginRules
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.exceptions import ConnectionFieldError
from airflow_provider_apitask.hooks.connection import KNOWN_FIELDS, ApiConnection, read_connection

BASE = "https://api.example.com/v1"
SECRET = "canary-s3cret"
PACKAGE = Path(airflow_provider_apitask.__file__).parent


def conn_fields() -> dict[str, dict[str, Any]]:
    info = yaml.safe_load((PACKAGE / "provider.yaml").read_text())
    fields: dict[str, dict[str, Any]] = info["connection-types"][0]["conn-fields"]
    return fields


FIELDS = conn_fields()
#: What each kind needs, good values all of them.
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "basic": {"login": "u", "password": SECRET},
    "digest": {"login": "u", "password": SECRET},
    "bearer": {"extra": {"bearer_token": SECRET}},
    "api_key": {"extra": {"key_secret": SECRET}},
    "headers": {"extra": {"headers_secret": json.dumps({"X-A": SECRET, "X-B": 7})}},
    "oauth1": {"extra": {"oauth1_client_key": "ck", "oauth1_client_secret": SECRET}},
    "oauth2": {
        "extra": {"oauth2_endpoint": "/token", "oauth2_client_id": "i", "oauth2_client_secret": SECRET}
    },
    "session": {
        "login": "u",
        "password": SECRET,
        "extra": {"session_endpoint": "/login", "session_path": "$.token"},
    },
    "requests": {"login": "u", "password": SECRET, "extra": {"requests_auth": "requests.auth.HTTPBasicAuth"}},
}


def read(kind: str, /, **changes: Any) -> ApiConnection:
    """Read a connection of a kind, with changes to it; None takes a field away."""
    given = KINDS[kind]
    own = {name: changes.pop(name) for name in ("login", "password", "host") if name in changes}
    extra = {"auth_type": kind, **given.get("extra", {}), **changes}
    record = {"conn_type": "apitask", "host": BASE, **given, **own, "extra": extra}
    return read_connection(Connection.from_json(json.dumps(record), conn_id="api"))


def refusal(kind: str, field: str, /, **changes: Any) -> str:
    with pytest.raises(ConnectionFieldError) as caught:
        read(kind, **changes)
    error = caught.value
    assert error.data == {"conn_id": "api", "field": field}
    assert "'api'" in error.message
    assert field in error.message
    assert SECRET not in error.message
    assert not error.retryable
    assert error.__cause__ is None
    return error.message


# -- the form and its reader ---------------------------------------------------------------------------


def test_the_form_has_the_fields_that_are_read() -> None:
    assert set(FIELDS) == KNOWN_FIELDS


def test_every_field_can_be_left_out() -> None:
    """A type without null makes a field of the form required."""
    for name, field in FIELDS.items():
        assert "null" in field["schema"]["type"], name


CHOICES = {name: f["schema"]["enum"] for name, f in FIELDS.items() if "enum" in f["schema"]}


def kind_of(name: str) -> str:
    prefixes = {"oauth1": "oauth1", "oauth2": "oauth2", "session": "session", "key": "api_key"}
    return prefixes.get(name.partition("_")[0], "basic")


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in CHOICES.items() for v in values if v])
def test_every_choice_of_the_form_can_be_read(name: str, value: str) -> None:
    if name == "auth_type":
        read(value)
        return
    more: dict[str, Any] = {"oauth1_rsa_private_key": PEM} if value.startswith("RSA") else {}
    if value == "refresh_token":
        more["oauth2_refresh_token"] = SECRET
    if value == "password":
        more |= {"login": "u", "password": SECRET}
    read(kind_of(name), **{name: value}, **more)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["nonsense", "NONE", 7, ["none"]])
def test_the_form_offers_all_that_can_be_read(name: str, value: Any) -> None:
    kind = "none" if name == "auth_type" else kind_of(name)
    message = refusal(kind, name, **{name: value})
    offered = message.partition("must be one of ")[2].rstrip(".").split(", ")
    assert set(offered) == {v for v in CHOICES[name] if v}
    if "default" in FIELDS[name]["schema"] and name != "auth_type":
        assert FIELDS[name]["schema"]["default"] == offered[0]


#: What Airflow has to mask wherever it shows a connection.
SECRET_FIELDS = {
    "bearer_token", "key_secret", "headers_secret", "oauth1_client_secret", "oauth1_user_token",
    "oauth1_user_secret", "oauth1_rsa_private_key", "oauth2_client_secret", "oauth2_refresh_token",
    "proxy_password",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(KNOWN_FIELDS))
def test_airflow_masks_what_is_secret_alone(name: str) -> None:
    # Airflow masks whatever has "proxy" in its name, and there is no other word for it.
    assert should_hide_value_for_key(name) is (name in SECRET_FIELDS or name.startswith("proxy"))
    assert (FIELDS[name]["schema"].get("format") == "password") is (name in SECRET_FIELDS)


# -- left out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("kind", KINDS)
def test_null_and_empty_mean_left_out(kind: str, nothing: Any) -> None:
    """The form stores all its fields, whatever the kind."""
    filled = {"auth_type", *KINDS[kind].get("extra", {})}
    empty = dict.fromkeys(KNOWN_FIELDS - filled, nothing)
    lean, full = read(kind), read(kind, **empty)
    assert vars_of(lean) == vars_of(full)


def vars_of(found: ApiConnection) -> Any:
    api, options = found.api, found.options
    auth = {k: v for k, v in vars(api.auth).items() if k not in ("_learned", "_redact", "_clock", "_digest")}
    return (type(api.auth), auth, api.base_url, api.headers, api.allow_http, api.origins, api.timeout,
            api.csrf.settings, options.verify, options.cert, options.proxies, options.rate_limit,
            type(options.worker_auth), found.health)  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].get("extra")])
def test_what_a_kind_needs_is_missed(kind: str) -> None:
    for name in KINDS[kind]["extra"]:
        if name == "oauth1_client_secret":
            continue
        for nothing in (None, ""):
            own = {"password": None} if kind not in ("session", "requests") else {}
            assert "is empty" in refusal(kind, name, **{name: nothing}, **own)


@pytest.mark.parametrize(
    ("kind", "field", "changes"),
    [
        ("none", "auth_type", {"login": "u"}),
        ("none", "auth_type", {"password": SECRET}),
        ("basic", "login", {"login": None}),
        ("basic", "password", {"password": None}),
        ("digest", "login", {"login": ""}),
        ("digest", "password", {"password": None}),
        ("oauth1", "oauth1_rsa_private_key", {"oauth1_signature_method": "RSA-SHA256"}),
        ("oauth2", "login", {"oauth2_grant": "password"}),
        ("oauth2", "password", {"oauth2_grant": "password", "login": "u"}),
        ("oauth2", "oauth2_refresh_token", {"oauth2_grant": "refresh_token"}),
        ("session", "login", {"login": None}),
        ("session", "login", {"login": None, "session_body": {"user": "{login}"}}),
        ("basic", "client_cert", {"client_key": "/k.pem"}),
    ],
)
def test_missing_or_contradictory(kind: str, field: str, changes: dict[str, Any]) -> None:
    refusal(kind, field, **changes)


def test_the_password_stands_in_for_a_token_or_key() -> None:
    for kind, name in (("bearer", "bearer_token"), ("api_key", "key_secret")):
        found = read(kind, **{name: None}, password=SECRET)
        assert SECRET in tuple(found.api.auth.secrets)


# -- what is wrong ----------------------------------------------------------------------------------------

PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)

BAD: list[tuple[str, str, Any]] = [
    *(("basic", name, value) for name in ("verify", "allow_http") for value in ("perhaps", 2, "tru", [])),
    *(
        ("basic", name, value)
        for name in ("connect_timeout", "rate_limit", "timeout")
        for value in (0, -1, "soon", "nan", "inf", True, [1], {})
    ),
    *(("session", "session_lifetime", value) for value in (0, -1, "soon", "inf", True, [1])),
    *(("basic", "headers", value) for value in ("{", "[]", [1], 7, "text", {"X Y": "1"}, {"Host": "x"})),
    *(("basic", "headers", {name: "1"}) for name in ("Content-Length", "transfer-encoding")),
    ("basic", "headers", {"X": "a\nb"}),
    *(("headers", "headers_secret", v) for v in (SECRET, f"[{SECRET}]", f'["{SECRET}"]', [SECRET], "{}", 7)),
    *(("headers", "headers_secret", {n: SECRET}) for n in ("X Y", "", "Host", "Content-Length", "X:")),
    ("headers", "headers_secret", {"X": f"{SECRET}\r\nX-Other: 1"}),
    ("headers", "headers_secret", {"X": {"a": SECRET}}),
    *(("api_key", "key_name", value) for value in ("X Y", "Host", "a\nb")),
    *(("session", "session_header", value) for value in ("X Y", "Host", "X:")),
    *(("basic", "csrf_header", value) for value in ("X Y", "Host", "X:")),
    ("session", "session_template", "Bearer"),
    *(("session", "session_body", v) for v in (f"{SECRET}", f'["{SECRET}"]', [SECRET], 7)),
    *(("session", n, "$[") for n in ("session_path", "session_lifetime_path", "session_base_url_path")),
    *(("oauth2", "oauth2_params", value) for value in (SECRET, [SECRET], f'["{SECRET}"]', 7)),
    *(("requests", "requests_auth_params", value) for value in (SECRET, [SECRET], 7)),
    *(
        ("requests", "requests_auth", value)
        for value in ("nothing", "no.such.Class", "requests.auth.NoSuch", ".x", "requests.auth", "a.")
    ),
    *(("oauth2", "renew_codes", v) for v in ("soon", [99], [600], "401;403", ["²"], [-401], "401.5", True)),
    *(
        (kind, name, value)
        for kind, name in (("oauth2", "oauth2_endpoint"), ("session", "session_endpoint"))
        for value in ("http://login.example/token", "http://[", "https://", "https://x:port/")
    ),
    *(
        ("basic", name, value)
        for name in ("allowed_origins", "anonymous_origins")
        for value in ("example.com", ["ftp://x"], "https://*", [7], {"a": 1}, "http://[")
    ),
    ("basic", "allowed_origins", "https://*.example.com"),
    *(
        ("basic", "proxy", value)
        for value in (f"http://u:{SECRET}@proxy:1", f"u:{SECRET}@proxy:1", "http://u@proxy", "http://[",
                      "http://", "ftp://proxy:1", "http://proxy:port", "http://@proxy:1")
    ),
    *(("oauth1", "oauth1_signature_method", v) for v in ("HMAC", "hmac-sha1")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "field", "value"), BAD)
def test_a_wrong_value(kind: str, field: str, value: Any) -> None:
    refusal(kind, field, **{field: value})


@pytest.mark.parametrize("key", [SECRET, f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"])
def test_a_key_that_is_none(key: str) -> None:
    more = {"oauth1_signature_method": "RSA-SHA256", "oauth1_rsa_private_key": key}
    refusal("oauth1", "oauth1_rsa_private_key", **more)


def test_a_login_body_that_no_form_can_hold() -> None:
    more = {"session_body": {"a": {"b": SECRET}}, "session_body_format": "form"}
    refusal("session", "session_body", **more)


def test_parameters_that_a_class_does_not_take() -> None:
    more = {"requests_auth_params": {"nonsense": SECRET}}
    assert "nonsense" in refusal("requests", "requests_auth", **more)


@pytest.mark.parametrize(
    "path", ["decimal.Decimal", "builtins.int", "zoneinfo.ZoneInfo", "builtins.KeyError"]
)
def test_a_class_that_fails_or_is_none(path: str) -> None:
    refusal("requests", "requests_auth", requests_auth=path, login=SECRET)


@pytest.mark.parametrize("field", sorted(SECRET_FIELDS))
@pytest.mark.parametrize("kind", KINDS)
def test_no_error_shows_a_secret(kind: str, field: str) -> None:
    """Whatever a secret field holds, an error of another one does not show it."""
    with pytest.raises(ConnectionFieldError) as caught:
        read(kind, **{field: f'{{"a": "{SECRET}"}}', "health_method": "POST"})
    assert SECRET not in caught.value.message


# -- what is right ----------------------------------------------------------------------------------------


def test_basic_fields() -> None:
    found = read(
        "basic",
        headers={"X-A": ["1", "2"], "X-N": None, "X-T": True},
        health_endpoint="/health",
        health_method="HEAD",
        timeout=5,
        connect_timeout="2.5",
        rate_limit=0.5,
        verify=False,
        ca_bundle="/ca.pem",
        client_cert="/c.pem",
        client_key="/k.pem",
        csrf_header="X-CSRFToken",
        csrf_cookie="csrftoken",
        allowed_origins=["https://a.example.com", " "],
        anonymous_origins="https://*.b.example.com,\n https://c.example.com ",
    )
    api, options = found.api, found.options
    assert list(api.headers) == [("X-A", "1"), ("X-A", "2"), ("X-T", "true")]
    assert found.health == RequestSpec(method="HEAD", endpoint="/health")
    assert api.timeout == (2.5, 5.0)
    assert (options.rate_limit, options.verify, options.cert) == (0.5, False, ("/c.pem", "/k.pem"))
    assert (api.csrf.settings.header, api.csrf.settings.cookie) == ("X-CSRFToken", "csrftoken")
    assert api.origins == OriginRules.parse(
        allowed=["https://a.example.com"], anonymous=["https://*.b.example.com", "https://c.example.com"]
    )


@pytest.mark.parametrize(
    ("fields", "proxy"),
    [
        ({"proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"proxy": " proxy:3128 "}, "http://proxy:3128"),
        ({"proxy": "https://[::1]:3128/"}, "https://[::1]:3128/"),
        ({"proxy": "http://proxy:1", "proxy_login": "u@x", "proxy_password": "p/:"}, "http://u%40x:p%2F%3A@proxy:1"),
        ({"proxy": "proxy:1", "proxy_login": "u"}, "http://u:@proxy:1"),
    ],
)  # fmt: skip
def test_proxy(fields: dict[str, Any], proxy: str) -> None:
    options = read("basic", **fields).options
    assert options.proxy_for(BASE) == proxy


def test_proxy_password_is_redacted() -> None:
    found = read("basic", proxy="http://p:1", proxy_login="u", proxy_password=f"{SECRET}/@")
    shown = found.api.redactor.text(f"cannot connect to {found.options.proxy_for(BASE)} and {SECRET}/@")
    assert SECRET not in shown + repr(found.options)


def test_tls_fields() -> None:
    options = read("basic", ca_bundle=" /ca.pem ", client_cert="/c.pem").options
    assert (options.verify, options.cert) == ("/ca.pem", "/c.pem")
    assert read("basic", verify=True).options.verify is True


def test_oauth2_fields() -> None:
    auth = read(
        "oauth2",
        oauth2_client_auth="body",
        oauth2_scope="a b",
        oauth2_audience="aud",
        oauth2_resource="res",
        oauth2_params={"x": 1, "audience": "below"},
        renew_codes=["401", 403],
        login_page="/login",
        timeout=3,
    ).api.auth
    assert isinstance(auth, OAuth2Auth)
    settings, renewal = auth._settings, auth.renewal
    assert settings.token_url == f"{BASE}/token"
    assert settings.params == {"x": "1", "audience": "aud", "resource": "res"}
    assert (settings.client_auth, settings.scope, settings.timeout) == ("body", "a b", (3.0, 3.0))
    assert (renewal.codes, renewal.login_page) == (frozenset({401, 403}), "/login")


def test_session_fields() -> None:
    auth = read(
        "session",
        login='ü"',
        session_endpoint="https://login.example/x",
        session_method="PUT",
        session_body={
            "@type": "login",
            "u": "{login}",
            "n": {"p": "{password}"},
            "k": f"{SECRET}-2",
            "o": "{x}",
        },
        session_header="icSessionId",
        session_template="{token}",
        session_lifetime="60",
        session_lifetime_path="$.ttl",
        session_base_url_path="$.serverUrl",
    ).api.auth
    assert isinstance(auth, SessionAuth)
    settings = auth._settings
    request = settings.request
    assert (request.purpose, request.method, request.url) == (Purpose.LOGIN, "PUT", "https://login.example/x")
    assert json.loads(request.body or b"") == {
        "@type": "login", "u": 'ü"', "n": {"p": SECRET}, "k": f"{SECRET}-2", "o": "{x}"
    }  # fmt: skip
    assert (settings.header, settings.template, settings.lifetime) == ("icSessionId", "{token}", 60.0)
    assert (settings.lifetime_path, settings.base_url_path) == ("$.ttl", "$.serverUrl")
    assert auth.moves_base_url


def test_a_literal_secret_of_a_login_body_is_redacted() -> None:
    for body in ({"key": SECRET}, {"a": {"key": SECRET}}, {"a": [{"key": SECRET}]}):
        api = read("session", password="another-pw", session_body=body).api
        assert SECRET not in api.redactor.text(f"it says {SECRET}"), body


def test_default_login_body_as_a_form() -> None:
    auth = read("session", session_body_format="form", password="p&").api.auth
    assert isinstance(auth, SessionAuth)
    request = auth._settings.request
    assert request.body == b"username=u&password=p%26"
    assert request.headers.get("Content-Type") == "application/x-www-form-urlencoded"


def test_other_kinds() -> None:
    assert isinstance(read("headers").api.auth, HeadersAuth)
    assert isinstance(read("digest").api.auth, DigestAuth)
    assert isinstance(read("none").api.auth, NoAuth)
    found = read("requests")
    assert isinstance(found.api.auth, NoAuth)
    assert found.options.worker_auth is not None
    more = {"oauth1_signature_method": "RSA-SHA256", "oauth1_rsa_private_key": PEM, "oauth1_realm": "r"}
    auth = read("oauth1", **more).api.auth
    assert isinstance(auth, OAuth1Auth)
    assert auth._settings.realm == "r"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_secrets_of_every_kind_are_redacted(kind: str) -> None:
    found = read(kind)
    assert found.api.redactor.text(f"a {SECRET} b") == "a *** b"
    assert SECRET not in repr(found) + repr(found.api.auth) + repr(found.options)


def test_plain_http_for_tokens_needs_the_flag() -> None:
    plain = "http://127.0.0.1:8080"
    assert "plain HTTP" in refusal("oauth2", "oauth2_endpoint", oauth2_endpoint=f"{plain}/token")
    assert "plain HTTP" in refusal("session", "session_endpoint", session_endpoint=f"{plain}/x")
    read("oauth2", host=plain, allow_http=True)


def uri_parts() -> Iterator[tuple[str, str, Any]]:
    yield "timeout=5", "timeout", (5.0, 5.0)
    yield "timeout=5&connect_timeout=1.5", "timeout", (1.5, 5.0)
    yield "allow_http=true", "allow_http", True
    yield "allow_http=False", "allow_http", False
    yield "allow_http=", "allow_http", False


@pytest.mark.parametrize(("query", "name", "value"), list(uri_parts()))
def test_texts_of_a_uri(monkeypatch: pytest.MonkeyPatch, query: str, name: str, value: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_API", f"apitask://api.example.com/v1?{query}")
    assert getattr(ApiHook("api").api, name) == value


def test_a_whole_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "auth_type": "session",
        "session_endpoint": "/login",
        "session_path": "$.t",
        "session_lifetime": "60",
        "renew_codes": "401, 403",
        "verify": "no",
        "rate_limit": "2",
        "allowed_origins": "https://a.example.com,https://b.example.com",
        "headers": '{"X-A": "1"}',
        "session_body": '{"u": "{login}", "p": "{password}"}',
    }
    uri = f"apitask://u:{quote('p/@', safe='')}@api.example.com/v1?{urlencode(extra)}"
    monkeypatch.setenv("AIRFLOW_CONN_API", uri)
    found = ApiHook("api").connection
    auth = found.api.auth
    assert isinstance(auth, SessionAuth)
    assert auth._settings.request.body == b'{"u":"u","p":"p/@"}'
    assert auth._settings.lifetime == 60.0
    assert auth.renewal.codes == {401, 403}
    assert (found.options.verify, found.options.rate_limit) == (False, 2.0)
    assert len(found.api.origins.allowed) == 2
    assert found.api.headers.get("X-A") == "1"


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"ca_bundle": "{missing}"}, "ca_bundle"),
        ({"ca_bundle": "{junk}"}, "ca_bundle"),
        ({"client_cert": "{missing}"}, "client_cert"),
        ({"client_cert": "{junk}"}, "client_cert"),
        ({"client_cert": "{junk}", "client_key": "{missing}"}, "client_key"),
        ({"client_cert": "{missing}", "client_key": "{junk}"}, "client_cert"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_connection_and_field(
    tmp_path: Path, extra: dict[str, str], field: str
) -> None:
    junk, missing = tmp_path / "junk.pem", tmp_path / "missing.pem"
    junk.write_text("no certificate")
    given = {name: text.format(junk=junk, missing=missing) for name, text in extra.items()}
    connection = read("basic", **given)
    with pytest.raises(ConnectionFieldError) as caught:
        BlockingTransport(connection.api, connection.options)
    assert caught.value.data == {"conn_id": connection.api.conn_id, "field": field}
    assert f"{connection.api.conn_id!r} cannot be used: its field {field} names {given[field]}" in str(
        caught.value
    )
