"""Whatever a login, a token endpoint, a challenge or a CSRF endpoint returns, in both drivers.

No exception but the package's own, the same verdict from both, and no secret in any text. ``tox run -e fuzz``
has more cases of each, as of ``tests/core/test_fuzz.py``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.messages import Failure
from tests.core.test_fuzz import _EXAMPLES, _JSON, fuzzed
from tests.drivers.auth_support import conn, perform
from tests.drivers.contract import sync
from tests.support.raw_server import RawServer

pytestmark = pytest.mark.once

PASSWORD, CLIENT_SECRET = "pw/of the +robot", 'client"s3cret<&>'
#: Each is a conversation in two drivers, with some requests each.
some = settings(fuzzed, max_examples=max(1, _EXAMPLES // 5))

# -- what a server may return --------------------------------------------------------------------

_SECRETS = st.sampled_from([PASSWORD, CLIENT_SECRET])
_TOKENS = st.one_of(
    st.integers(1, 9).map(lambda n: f"t0ken-number-{n}"),
    st.sampled_from(
        ["t0ken-with-\u00fc", "t0ken\nX-Other: 1", "t0ken-\ud800", "t0ken-long" * 9000, "t0ken; a=b", ""]
    ),
)
_ODD = st.one_of(_TOKENS, _SECRETS, _JSON, st.sampled_from([10**400, "3600", "1e999", -1, True, [], {}]))
_ERRORS = st.sampled_from([{"code": 7}, ["x"], 7, "invalid_client"])
_NAMES = st.sampled_from(
    ["access_token", "token_type", "expires_in", "expires_at", "scope", "refresh_token", "error",
     "error_description", "error_uri", "state", "sessionId", "serverUrl", "ttl", "message", "detail"]
)  # fmt: skip
_GOOD = st.fixed_dictionaries(
    {"access_token": _TOKENS, "sessionId": _TOKENS, "serverUrl": _ODD, "ttl": _ODD},
    optional={"refresh_token": _ODD},
)
_DOCUMENTS = st.one_of(
    _GOOD,
    st.fixed_dictionaries({"error": st.one_of(_ODD, _ERRORS)}, optional={"error_description": _ODD}),
    st.dictionaries(_NAMES, st.one_of(_ODD, st.dictionaries(_NAMES, _ODD, max_size=2)), max_size=4),
    _JSON,
)
_PIECES = st.one_of(
    st.sampled_from(
        ["<html>", "<form>", "<input ", "type=password", "type='hidden' ", 'name="csrfmiddlewaretoken" ',
         "name=csrfmiddlewaretoken ", 'value="t0ken-of-form"', "value=", "'", '"', "&amp;&#0;&#55296;",
         ">", "<", "<r>", "<token>t0ken-of-xml</token>", "</r>", "\0", "\r\n", "\u00fc"]
    ),
    _SECRETS,
)  # fmt: skip
_JSON_BODIES = _DOCUMENTS.map(lambda value: json.dumps(value).encode())
_BODIES = st.one_of(
    _JSON_BODIES,
    st.lists(_PIECES, max_size=8).map(lambda parts: "".join(parts).encode()),
    st.builds(
        lambda value, charset: json.dumps(value).encode(charset),
        _DOCUMENTS,
        st.sampled_from(["utf-16", "utf-32"]),
    ),
    st.sampled_from(["[", '{"a":', "<a>"]).map(lambda piece: piece.encode() * 3000),
    st.binary(max_size=40),
)
_COOKIES = st.lists(
    st.sampled_from(
        ["csrftoken=t0ken-of-cookie", "sid=t0ken-of-session", "sid=", "=", ";", "a", ' sid = "x" ', "Path=/",
         "Max-Age=0", "Max-Age=" + "9" * 30, "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
         "Expires=Mon, 99 Foo 99999999999999 25:61:61 +9999", "Expires=", "sid=\x7f", "sid=\u00fc"]
    ),
    max_size=4,
).map("; ".join)  # fmt: skip
_CHALLENGES = st.lists(
    st.sampled_from(
        ["Digest ", "digest ", "Digest", "Basic ", 'realm="r"', 'realm="\u00fc"', "realm=", "realm",
         'nonce="n"', "nonce=", 'qop="auth"', 'qop="auth-int"', 'qop=""', "qop=", "algorithm=MD5",
         "algorithm=SHA-256-SESS", "algorithm=X",
         "algorithm=", 'opaque="o"', "stale=true", "=", '"', "\\", ",", ", ", " "]
    ),
    max_size=8,
).map("".join)  # fmt: skip
_GOOD_CHALLENGE = st.sampled_from(["MD5", "SHA-256", "X"]).map(
    lambda algorithm: f'Digest realm="r", nonce="n", qop="auth", algorithm={algorithm}'
)
_VALUES = {
    "Set-Cookie": _COOKIES,
    "WWW-Authenticate": st.one_of(_CHALLENGES, _GOOD_CHALLENGE),
    "X-CSRF-Token": st.sampled_from(["t0ken-of-header", "Fetch", "Required", "\u00fc", "", "\x7f"]),
    "X-Session": st.sampled_from(["t0ken-of-field", "\u00fc", ""]),
    "Location": st.sampled_from(["/login", "/login?next=%2F", "http://[", "//x", "", "/home"]),
    "Content-Disposition": st.just('attachment; filename="\u00fc.json"'),
    "Date": st.sampled_from(["x", "Mon, 99 Foo 99999999999999 25:61:61 +9999"]),
    "Retry-After": st.sampled_from(["0", "x"]),
}  # fmt: skip
_FIELDS = st.lists(
    st.sampled_from(list(_VALUES)).flatmap(lambda name: _VALUES[name].map(lambda value: (name, value))),
    max_size=4,
)
_TYPES = st.sampled_from(
    ["application/json", "text/html", "application/xml", "text/plain; charset=utf-16", "x; charset=hex", ""]
)
_CODES = st.sampled_from(
    [200, 200, 200, 200, 201, 204, 302, 303, 307, 400, 401, 401, 403, 404, 429, 500, 503, 599]
)


def _wire(code: int, fields: list[tuple[str, str]], kind: str, body: bytes) -> bytes:
    body = b"" if code == 204 else body
    lines = [f"HTTP/1.1 {code} X", *(f"{name}: {value}" for name, value in fields)]
    lines += [
        *([f"Content-Type: {kind}"] if kind else []),
        *([] if code == 204 else [f"Content-Length: {len(body)}"]),
    ]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


_RESPONSES = st.one_of(
    st.builds(_wire, _CODES, _FIELDS, _TYPES, _BODIES),
    st.builds(_wire, st.sampled_from([200, 400]), _FIELDS, st.just("application/json"), _JSON_BODIES),
)
_OK = _wire(200, [], "application/json", b'{"ok": true}')

# -- who asks for it -----------------------------------------------------------------------------


#: In place of a response: one that quotes the request.
ECHO = b"whatever was sent"
_LOGINS = st.lists(_RESPONSES, min_size=1, max_size=3)
_API = st.lists(st.one_of(st.just(_OK), st.just(ECHO), _RESPONSES), min_size=1, max_size=2)
#: The request was refused, was never sent, or may have been processed.
_KINDS = {"authentication", "csrf", "request_failed", "origin", "submit_unknown", "answer"}


class Hostile(RawServer):
    """Returns its responses in turn, the last one for ever; the path of the API has some of its own."""

    def __init__(self) -> None:
        super().__init__(self.talk)
        self.logins: list[bytes] = []
        self.api: list[bytes] = []

    def talk(self, server: RawServer, connection: socket.socket) -> None:
        if not (request := self.read_request(connection)):
            return
        head, _, body = request.partition(b"\r\n\r\n")
        responses = self.api if head.split()[1] == b"/jobs" else self.logins
        response = responses.pop(0) if len(responses) > 1 else responses[0]
        if response == ECHO:
            said = {"message": (head + body).decode("latin-1")}
            response = _wire(403, [], "application/json", json.dumps(said).encode())
        connection.sendall(response)

    def attack(
        self, logins: list[bytes], api: list[bytes], fields: dict[str, Any], csrf: str | None = None
    ) -> None:
        """Send a request that needs all that, by both drivers."""
        call = Call(request=sync("POST", "jobs", body={"a": 1}).request, csrf_endpoint=csrf)
        connection = conn(self.url, "robot", PASSWORD, login_page="/login", **fields)
        verdicts = []
        for place in ("worker", "triggerer"):
            self.logins, self.api = [*logins], [*api]
            error = perform(place, connection, call).done.error  # which looks for secrets as well
            assert error is None or Failure.UNREADABLE.value not in error.message, "an exception of a library"
            verdicts.append(None if error is None else (error.kind, error.data.get("status_code")))
        assert verdicts[0] == verdicts[1]
        assert verdicts[0] is None or verdicts[0][0] in _KINDS


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    """One server for all cases."""
    with Hostile() as made:
        yield made


@some
@given(_LOGINS, _API, st.sampled_from(["client_credentials", "password"]))
def test_token_endpoints(server: Hostile, logins: list[bytes], api: list[bytes], grant: str) -> None:
    client = {"oauth2_client_id": "id", "oauth2_client_secret": CLIENT_SECRET, "oauth2_grant": grant}
    server.attack(logins, api, {"auth_type": "oauth2", "oauth2_endpoint": "/token", **client})


_PATHS = st.sampled_from(["$.sessionId", "headers.X-Session", "cookies.sid", "/r/token", "headers.Location"])
_MORE = st.sampled_from([{}, {"session_base_url_path": "$.serverUrl"}, {"session_lifetime_path": "$.ttl"}])
_FORM = {
    "session_csrf_endpoint": "/login",
    "session_body": {"p": "{password}", "csrfmiddlewaretoken": "{csrf_token}"},
    "session_body_format": "form",
    "csrf_cookie": "csrftoken",
}
_LOGIN_TOKENS = st.sampled_from([{}, {"session_csrf_endpoint": "/login"}, _FORM])


@some
@given(_LOGINS, _API, _PATHS, _MORE, _LOGIN_TOKENS)
def test_session_logins(
    server: Hostile, logins: list[bytes], api: list[bytes], path: str, more: Any, form: Any
) -> None:
    fields = {"auth_type": "session", "session_endpoint": "/login", "session_path": path, **more, **form}
    server.attack(logins, api, fields)


@some
@given(_LOGINS, _API)
def test_challenges(server: Hostile, logins: list[bytes], api: list[bytes]) -> None:
    server.attack([], [*logins, *api], {"auth_type": "digest"})


_KEPT = st.sampled_from(
    [{"auth_type": "basic"}, {"auth_type": "headers", "headers_secret": {"Cookie": f"a={PASSWORD}"}}]
)
_ENDPOINTS = st.sampled_from(["token", ""])
_COOKIE_NAMES = st.sampled_from([{}, {"csrf_cookie": "csrftoken"}])


@some
@given(_LOGINS, _API, _ENDPOINTS, _COOKIE_NAMES, _KEPT)
def test_csrf_endpoints(
    server: Hostile, logins: list[bytes], api: list[bytes], endpoint: str, fields: Any, auth: Any
) -> None:
    own = [] if endpoint else logins
    server.attack(logins, [*own, *api], {**fields, **auth}, endpoint)
