"""Every kind of authentication, on a worker, on a triggerer and deferred from one to the other.

===========================  ======  =========  ========  ================  ======
kind                         worker  triggerer  deferred  mid-job renewal   cancel
===========================  ======  =========  ========  ================  ======
none, basic, bearer          yes     yes        yes       nothing to renew  yes
API key, secret headers      yes     yes        yes       nothing to renew  yes
OAuth1                       yes     yes        yes       signed each time  yes
digest                       yes     yes        yes       new challenge     yes
OAuth2, session login        yes     yes        yes       yes               yes
class of requests            yes     refused    refused   its own affair    yes
===========================  ======  =========  ========  ================  ======
"""

from __future__ import annotations

import base64
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask, Response, request
from httpbin.helpers import check_digest_auth, digest_challenge_response
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint

from airflow_provider_apitask.core.errors import ConnectionFieldError
from airflow_provider_apitask.core.state import Phase
from tests.drivers.auth_support import PLACES, RESULT, Conn, Guarded, conn, delete, job, perform
from tests.drivers.contract import sync
from tests.support import Answer, Recorded
from tests.support.real import Jobs, Reply
from tests.support.real.httpbin_server import HttpbinServer
from tests.support.real.oauth2_server import (
    BASIC,
    PASSWORD,
    POST,
    SPECIAL,
    USERNAME,
    Client,
    OAuth2Server,
    Token,
)
from tests.support.real.wsgi import WsgiServer

USER, WORD = "me@exämple", "pä:ss w0rd+/%41"


@dataclass(frozen=True)
class Kind:
    """A kind of authentication.

    :param serve: a context manager that gives a server which wants it.
    :param connect: a connection to that server.
    :param wrong: fields that make its credentials wrong.
    :param expire: makes the server refuse what it gave out so far; None where it gives nothing out.
    """

    serve: Callable[[], Any]
    connect: Callable[[Any], Conn]
    wrong: dict[str, Any] = field(default_factory=dict)
    expire: Callable[[Any], object] | None = None

    def connect_wrongly(self, server: Any) -> Conn:
        good = self.connect(server)
        extra = {n: v for n, v in self.wrong.items() if n not in ("login", "password")}
        return replace(
            good,
            login=self.wrong.get("login", good.login),
            password=self.wrong.get("password", good.password),
            extra_dejson={**good.extra_dejson, **extra},
        )


def guarded(admits: Callable[[Recorded], bool]) -> Callable[[], Guarded]:
    return lambda: Guarded(admits)


def authorization(value: str) -> Callable[[Recorded], bool]:
    return lambda r: r.headers_all("Authorization") == [value]


def basic(user: str, word: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{word}'.encode()).decode()}"


# -- digest: httpbin's own checks in front of jobs ---------------------------------------------


class DigestServer(WsgiServer):
    """A job API that wants a digest of a nonce it has given out."""

    def __init__(self, algorithm: str) -> None:
        self.jobs, self.algorithm = Jobs(), algorithm
        self.nonces: set[str] = set()
        app = Flask(__name__, static_folder=None)
        app.before_request(self._check)
        app.add_url_rule("/jobs", "submit", self._submit, methods=["POST"])
        app.add_url_rule("/jobs/<int:number>", "status", self._answering(self.jobs.status))
        app.add_url_rule("/jobs/<int:number>/result", "result", self._answering(self.jobs.result))
        cancel = self._answering(self.jobs.cancel)
        app.add_url_rule("/jobs/<int:number>", "cancel", cancel, methods=["DELETE"])
        self._flask = app
        super().__init__(app)

    def expire(self) -> None:
        self.nonces.clear()

    def _check(self) -> Response | None:
        nonce = re.search(r'nonce="([^"]+)"', request.headers.get("Authorization", ""))
        if nonce and nonce[1] in self.nonces and check_digest_auth("digester", "dig-pässword"):
            return None
        challenge: Response = digest_challenge_response(self._flask, "auth", self.algorithm)
        fresh = re.search(r'nonce="?([^",]+)', challenge.headers["WWW-Authenticate"])
        assert fresh
        self.nonces.add(fresh[1])
        return challenge

    def _submit(self) -> tuple[dict[str, Any], int, dict[str, str]]:
        number = self.jobs.submit()
        return {"id": number}, 202, {"Location": f"/jobs/{number}"}

    def _answering(self, ask: Callable[[int], Reply]) -> Callable[[int], Any]:
        def view(number: int) -> Any:
            status, body = ask(number)
            return dict(body), status

        return view


# -- OAuth1: oauthlib's server side ------------------------------------------------------------


class _Keys(RequestValidator):  # type: ignore[misc]
    """One client, with a nonce good for one request."""

    enforce_ssl = False
    client_key_length = (3, 30)
    dummy_client = "dummy"
    allowed_signature_methods = ("HMAC-SHA1", "HMAC-SHA256", "RSA-SHA256", "PLAINTEXT")

    def __init__(self, public_key: str = "") -> None:
        super().__init__()
        self.used: set[tuple[str, str]] = set()
        self.public_key = public_key

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == "consumer"

    def validate_timestamp_and_nonce(
        self, client_key: str, timestamp: str, nonce: str, *_: Any, **__: Any
    ) -> bool:
        fresh = (timestamp, nonce) not in self.used
        self.used.add((timestamp, nonce))
        return fresh

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return "c0nsumer&secret"

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return {"t0ken-of-user": "us3r&secret"}[token]

    def get_rsa_key(self, client_key: str, request: Any) -> str:
        return self.public_key


_RSA = rsa.generate_private_key(65537, 2048)
_PRIVATE = _RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
_PUBLIC = (
    _RSA.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def oauth1_server() -> Guarded:
    endpoint = SignatureOnlyEndpoint(_Keys(_PUBLIC))
    lock = threading.Lock()

    def admits(received: Recorded) -> bool:
        with lock:
            valid, _ = endpoint.validate_request(
                f"{server.url}{received.target}",
                http_method=received.method,
                body=None,
                headers={"Authorization": received.header("Authorization") or ""},
            )
        return bool(valid)

    server = Guarded(admits)
    return server


def oauth1(method: str, **fields: Any) -> Kind:
    def connect(server: Any) -> Conn:
        how = {"oauth1_client_secret": "c0nsumer&secret", "oauth1_signature_method": method, **fields}
        return conn(server.url, auth_type="oauth1", oauth1_client_key="consumer", **how)

    return Kind(oauth1_server, connect, {"oauth1_client_key": "stranger"})


# -- OAuth2: Authlib ---------------------------------------------------------------------------

SPECIAL_POST = Client(f"{SPECIAL.client_id}2", SPECIAL.client_secret, "client_secret_post")


class LastingServer(OAuth2Server):
    """A server that goes on taking a refresh token, as most do that hand them to confidential clients.

    Where it is good for one use, no two processes can share it: see ``test_auth_oauth2``.
    """

    def find(self, *, access_token: str | None = None, refresh_token: str | None = None) -> Token | None:
        found = super().find(access_token=access_token, refresh_token=refresh_token)
        if found is not None:
            found.refresh_revoked = False
        return found


def oauth2(grant: str, client: Client) -> Kind:
    def connect(server: OAuth2Server) -> Conn:
        extra: dict[str, Any] = {}
        if grant == "refresh_token":
            extra["oauth2_refresh_token"] = server.issue_refresh_token(client)
        user = (USERNAME, PASSWORD) if grant == "password" else (None, None)
        return conn(
            server.url,
            *user,
            auth_type="oauth2",
            oauth2_endpoint="/token",
            oauth2_grant=grant,
            oauth2_client_id=client.client_id,
            oauth2_client_secret=client.client_secret,
            oauth2_client_auth="body" if client.auth_method == "client_secret_post" else "basic",
            **extra,
        )

    return Kind(
        lambda: LastingServer(client),
        connect,
        {"oauth2_client_secret": "wr0ng"},
        lambda server: server.revoke_all(),
    )


# -- session login -----------------------------------------------------------------------------


class SessionServer(Guarded):
    """A job API whose tokens are got by a login.

    :param login: path of the login.
    :param body: what a login must hold: a JSON object, or the fields of a form.
    :param give: the answer to a good login, with a token.
    :param token: the token of a request, None without one.
    """

    def __init__(
        self,
        login: str,
        body: dict[str, str],
        give: Callable[[str], Answer],
        token: Callable[[Recorded], str | None],
    ) -> None:
        super().__init__(lambda r: token(r) in self.tokens)
        self.tokens: set[str] = set()
        self.logins = 0
        self._login = login, body, give

    def expire(self) -> None:
        self.tokens.clear()

    def unscripted(self, request: Recorded) -> Answer:
        path, body, give = self._login
        if (request.method, request.path) != ("POST", path):
            return super().unscripted(request)
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        is_form = request.header("Content-Type") == "application/x-www-form-urlencoded"
        if (form if is_form else request.json()) != body:
            return Answer(401, {"detail": "wrong password"})
        self.logins += 1
        token = f"t0ken-{self.logins}/+="
        self.tokens.add(token)
        return give(token)


def bearer_of(r: Recorded) -> str | None:
    return (r.header("Authorization") or "").removeprefix("Bearer ") or None


def session(
    path: str,
    body: dict[str, str],
    give: Callable[[str], Answer],
    token: Callable[[Recorded], str | None],
    **fields: Any,
) -> Kind:
    return Kind(
        lambda: SessionServer(path, body, give, token),
        lambda server: conn(server.url, USER, WORD, auth_type="session", session_endpoint=path, **fields),
        {"password": "wr0ng"},
        lambda server: server.expire(),
    )


@dataclass
class Moved:
    """A login server, and an API elsewhere that takes its tokens."""

    login: SessionServer
    api: Guarded

    @property
    def url(self) -> str:
        return self.login.url

    @property
    def targets(self) -> list[str]:
        return self.api.targets

    def expire(self) -> None:
        self.login.expire()


@contextmanager
def moved() -> Iterator[Moved]:
    """As Informatica has it: the login says where the API of this customer is."""

    def give(token: str) -> Answer:
        return Answer(json={"icSessionId": token, "serverUrl": f"{api.url}/"})

    body = {"@type": "login", "username": USER, "password": WORD}
    with ExitStack() as stack:
        login = stack.enter_context(SessionServer("/ma/api/v2/user/login", body, give, lambda r: None))
        api = stack.enter_context(Guarded(lambda r: r.header("icSessionId") in login.tokens))
        yield Moved(login, api)


MOVED = Kind(
    moved,
    lambda server: conn(
        server.url,
        USER,
        WORD,
        auth_type="session",
        session_endpoint="/ma/api/v2/user/login",
        session_body={"@type": "login", "username": "{login}", "password": "{password}"},
        session_path="$.icSessionId",
        session_base_url_path="$.serverUrl",
        session_header="icSessionId",
        session_template="{token}",
    ),
    {"password": "wr0ng"},
    lambda server: server.expire(),
)


def cookie_of(name: str) -> Callable[[Recorded], str | None]:
    def found(r: Recorded) -> str | None:
        pairs = [pair.strip().partition("=") for pair in (r.header("Cookie") or "").split(";")]
        return next((value for key, _, value in pairs if key == name), None)

    return found


JSON_LOGIN = {"username": USER, "password": WORD}
KINDS: dict[str, Kind] = {
    "none": Kind(
        guarded(lambda r: r.header("Authorization") is None and r.header("Cookie") is None),
        lambda server: conn(server.url),
    ),
    "basic": Kind(
        guarded(authorization(basic(USER, WORD))),
        lambda server: conn(server.url, USER, WORD, auth_type="basic"),
        {"password": "wr0ng"},
    ),
    "basic by login": Kind(
        guarded(authorization(basic(USER, WORD))),
        lambda server: conn(server.url, USER, WORD),
        {"password": "wr0ng"},
    ),
    "bearer": Kind(
        guarded(authorization("Bearer t0k+en/=")),
        lambda server: conn(server.url, auth_type="bearer", bearer_token="t0k+en/="),
        {"bearer_token": "wr0ng"},
    ),
    "bearer in password": Kind(
        guarded(authorization("Bearer t0k+en/=")),
        lambda server: conn(server.url, password="t0k+en/=", auth_type="bearer"),
        {"password": "wr0ng"},
    ),
    "api key in header": Kind(
        guarded(lambda r: r.headers_all("X-Own-Key") == ["k3y-of-mine"]),
        lambda server: conn(server.url, auth_type="api_key", key_name="X-Own-Key", key_secret="k3y-of-mine"),
        {"key_secret": "wr0ng"},
    ),
    "api key in query": Kind(
        guarded(lambda r: r.query.count(("api_key", "k3y &+/ü")) == 1 and len(r.query) == 1),
        lambda server: conn(server.url, auth_type="api_key", key_in="query", key_secret="k3y &+/ü"),
        {"key_secret": "wr0ng"},
    ),
    "api key in cookie": Kind(
        guarded(lambda r: r.headers_all("Cookie") == ["sid=k3y-of-mine"]),
        lambda server: conn(
            server.url, password="k3y-of-mine", auth_type="api_key", key_in="cookie", key_name="sid"
        ),
        {"password": "wr0ng"},
    ),
    "several secret headers": Kind(
        guarded(
            lambda r: (r.header("X-SLURM-USER-NAME"), r.header("X-SLURM-USER-TOKEN")) == ("root", "jwt-t0ken")
        ),
        lambda server: conn(
            server.url,
            auth_type="headers",
            headers_secret={"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": "jwt-t0ken"},
        ),
        {"headers_secret": {"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": "wr0ng"}},
    ),
    **{
        f"digest {algorithm}": Kind(
            lambda algorithm=algorithm: DigestServer(algorithm),
            lambda server: conn(server.url, "digester", "dig-pässword", auth_type="digest"),
            {"password": "wr0ng"},
            lambda server: server.expire(),
        )
        for algorithm in ("MD5", "SHA-256", "SHA-512")
    },
    "oauth1 HMAC-SHA1": oauth1("HMAC-SHA1"),
    "oauth1 HMAC-SHA256": oauth1("HMAC-SHA256"),
    "oauth1 of a user": oauth1(
        "HMAC-SHA1", oauth1_user_token="t0ken-of-user", oauth1_user_secret="us3r&secret", oauth1_realm="api"
    ),
    "oauth1 PLAINTEXT": oauth1("PLAINTEXT"),
    "oauth1 RSA-SHA256": oauth1("RSA-SHA256", oauth1_rsa_private_key=_PRIVATE),
    **{
        f"oauth2 {grant}, {how}": oauth2(grant, client)
        for grant in ("client_credentials", "password", "refresh_token")
        for how, client in (
            ("basic", BASIC),
            ("body", POST),
            ("basic, odd characters", SPECIAL),
            ("body, odd characters", SPECIAL_POST),
        )
    },
    "session json": session(
        "/login",
        JSON_LOGIN,
        lambda token: Answer(json={"data": [{"token": token}]}),
        bearer_of,
        session_path="$.data[0].token",
    ),
    "session form and cookie": session(
        "/login",
        {"user": USER, "pass": WORD, "next": "/"},
        lambda token: Answer(
            302, headers=[("Location", "/"), ("Set-Cookie", f"sid={token}; Path=/; HttpOnly")]
        ),
        cookie_of("sid"),
        session_body={"user": "{login}", "pass": "{password}", "next": "/"},
        session_body_format="form",
        session_path="cookies.sid",
        session_header="Cookie",
        session_template="sid={token}",
    ),
    "session header": session(
        "/v3/auth/tokens",
        JSON_LOGIN,
        lambda token: Answer(201, {"ok": True}, headers={"X-Subject-Token": token}),
        lambda r: r.header("X-Auth-Token"),
        session_path="headers.X-Subject-Token",
        session_header="X-Auth-Token",
        session_template="{token}",
    ),
    "session like Airflow": session(
        "/auth/token",
        JSON_LOGIN,
        lambda token: Answer(201, {"access_token": token}),
        bearer_of,
        session_path="$.access_token",
    ),
    "session with base url": MOVED,
}
#: Odd characters stand in a login alone, which ``test_job`` and ``test_wrong_credentials`` make.
PLAIN = {name: kind for name, kind in KINDS.items() if "odd characters" not in name}
EXPIRING = [name for name, kind in PLAIN.items() if kind.expire]


def path_of_job(server: Any) -> str:
    return "/jobs/job-1" if hasattr(server, "targets") else "/jobs/1"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_job(kind: str, place: str) -> None:
    with KINDS[kind].serve() as server:
        outcome = perform(place, KINDS[kind].connect(server), job())
        assert outcome.value["rows"] == RESULT["rows"]
        sent = [f"{r.method} {r.path}" for r in getattr(server, "api", server).history]
        good = [target for target in sent if "jobs" in target]
        if kind.startswith("digest"):
            good = [f"{r.method} {r.path}" for r in server.history if r.status < 400]
        assert [target.replace("job-", "") for target in good] == [
            "POST /jobs",
            *["GET /jobs/1"] * 3,
            "GET /jobs/1/result",
        ]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", EXPIRING)
def test_renewal_in_mid_job(kind: str, place: str) -> None:
    """The credential dies after the submit and again before the result."""
    with KINDS[kind].serve() as server:
        expire = KINDS[kind].expire
        assert expire is not None
        expired = perform(place, KINDS[kind].connect(server), job(), at_wait=lambda n: expire(server))
        assert expired.value["rows"] == RESULT["rows"]
        api = getattr(server, "api", server)
        submits = [r for r in api.history if (r.method, r.path) == ("POST", "/jobs")]
        assert len(submits) == (2 if kind.startswith("digest") else 1)
        # One for each process, and one for each of the two waits.
        wanted = 5 if place == "deferred" else 3
        if isinstance(server, OAuth2Server):
            assert len(server.token_requests) == wanted
        elif not kind.startswith("digest"):
            assert getattr(server, "login", server).logins == wanted


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", PLAIN)
def test_cancel(kind: str, place: str) -> None:
    """A cancel request has credentials as well; here the job is not done in time."""
    with KINDS[kind].serve() as server:
        connection = KINDS[kind].connect(server)
        api = getattr(server, "api", server)
        outcome = perform(place, connection, job(max_polls=1, cancel_request={"method": "DELETE"}))
        assert outcome.phase is Phase.TIMED_OUT
        assert "cancelled" in outcome.error.message, "what the server answered"
        assert outcome.error.data["cancel"] == "deadline"
        assert api.history[-1].method == "DELETE"


@pytest.mark.parametrize("place", ["worker", "triggerer"])
@pytest.mark.parametrize("kind", PLAIN)
def test_delete(kind: str, place: str) -> None:
    """A cancel that begins with nothing: the credentials are got first."""
    with KINDS[kind].serve() as server:
        connection = KINDS[kind].connect(server)
        api = getattr(server, "api", server)
        perform("worker", connection, job(max_polls=1))
        endpoint = path_of_job(server).lstrip("/")
        assert perform(place, connection, delete(endpoint)).value["status"] == "cancelled"
        assert api.history[-1].method == "DELETE"


@pytest.mark.parametrize("place", ["worker", "triggerer"])
@pytest.mark.parametrize("kind", [name for name in KINDS if name != "none"])
def test_wrong_credentials(kind: str, place: str) -> None:
    """One error that says 401 and no secret; the server is not asked again and again."""
    with KINDS[kind].serve() as server:
        outcome = perform(place, KINDS[kind].connect_wrongly(server), job())
        assert outcome.error.kind in ("request_failed", "authentication")
        assert "401" in outcome.error.message or "invalid_client" in outcome.error.message
        history = [*server.history] if not isinstance(server, Moved) else [*server.login.history]
        assert len(history) <= 2


# -- classes of requests: on a worker alone ----------------------------------------------------

CLASSES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "basic": (
        guarded(authorization("Basic bWU6dzByZC1vZi1tZQ==")),
        {"login": "me", "password": "w0rd-of-me", "requests_auth": "requests.auth.HTTPBasicAuth"},
    ),
    "digest": (
        lambda: DigestServer("MD5"),
        {
            "login": "digester",
            "password": "dig-pässword",
            "requests_auth": "requests.auth.HTTPDigestAuth",
        },
    ),
    "by parameters": (
        guarded(authorization("Bearer t0ken-of-class")),
        {
            "requests_auth": f"{__name__}.OwnAuth",
            "requests_auth_params": {"token": "t0ken-of-class"},
        },
    ),
}


class OwnAuth:
    """What somebody wrote for requests."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, prepared: Any) -> Any:
        prepared.headers["Authorization"] = f"Bearer {self._token}"
        return prepared


def by_class(name: str, server: Any) -> Conn:
    return conn(server.url, auth_type="requests", **CLASSES[name][1])


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module under its name: pytest's importlib mode need not leave it importable."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[OwnAuth.__module__])


@pytest.mark.parametrize("name", CLASSES)
def test_requests_class_on_a_worker(name: str, own_module: None) -> None:
    with CLASSES[name][0]() as server:
        outcome = perform("worker", by_class(name, server), job())
        assert outcome.value["rows"] == 3
        running = perform("worker", by_class(name, server), job(max_polls=1))
        assert running.error.kind == "job_timed_out"
        endpoint = path_of_job(server).lstrip("/").replace("1", "2")
        assert perform("worker", by_class(name, server), delete(endpoint)).value["status"] == "cancelled"


@pytest.mark.parametrize("place", ["triggerer", "deferred"])
@pytest.mark.parametrize("name", CLASSES)
def test_requests_class_on_a_triggerer(name: str, place: str, own_module: None) -> None:
    with CLASSES[name][0]() as server:
        with pytest.raises(ConnectionFieldError, match="deferrable=False") as caught:
            perform(place, by_class(name, server), job())
        assert caught.value.data == {"conn_id": "the_api", "field": "auth_type"}
        polls = [r for r in server.history if r.method == "GET"]
        assert polls == []


@pytest.mark.parametrize(
    "path", ["requests.auth.Nope", "nope", "no.such.module.Class", "requests.auth.HTTPBasicAuth"]
)
def test_requests_class_that_cannot_be_made(path: str) -> None:
    with pytest.raises(ConnectionFieldError, match="its field requests_auth is") as caught:
        perform("worker", conn("http://127.0.0.1:9", auth_type="requests", requests_auth=path), job())
    assert caught.value.data["field"] == "requests_auth"


# -- httpbin's own pages -----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["worker", "triggerer"])
def test_httpbin(place: str) -> None:
    """A peer that nobody here wrote says whether the credentials are right."""
    user, word = "user", "pass-w0rd"
    with HttpbinServer() as server:
        for auth_type, path in {
            "digest": f"digest-auth/auth/{user}/{word}",
            "basic": f"basic-auth/{user}/{word}",
        }.items():
            good = conn(server.url, user, word, auth_type=auth_type)
            assert perform(place, good, sync("GET", path)).value["user"] == user
            bad = conn(server.url, user, "wr0ng-word", auth_type=auth_type)
            assert "401" in perform(place, bad, sync("GET", path)).error.message
        for algorithm in ("MD5", "SHA-256", "SHA-512"):
            path = f"digest-auth/auth/{user}/{word}/{algorithm}/3"
            assert perform(place, conn(server.url, user, word, auth_type="digest"), sync("GET", path)).value
        bearer = conn(server.url, auth_type="bearer", bearer_token="t0ken")
        assert perform(place, bearer, sync("GET", "bearer"))
        seen = server.requests("GET", "/bearer")
        assert [(r.status, r.header("Authorization")) for r in seen] == [(200, "Bearer t0ken")]
        cookie = conn(server.url, "", auth_type="api_key", key_in="cookie", key_name="c", key_secret="k3y1")
        perform(place, cookie, sync("GET", "cookies"))
        assert server.history[-1].header("Cookie") == "c=k3y1"
