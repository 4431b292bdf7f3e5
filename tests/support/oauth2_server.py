"""Authlib's OAuth2 authorization server, and a job API behind the bearer tokens it issues.

=============================  ======================================================================
``POST /token``                client_credentials, password, and refresh_token with rotation
``GET /me``                    what the token stands for (scope read)
``POST /jobs``                 202, Location ``/jobs/N`` (scope write)
``GET /jobs/N``                running, then succeeded (scope read)
``GET /jobs/N/result``         the result; 404 before (scope read)
``DELETE /jobs/N``             cancel; 409 once the job has ended (scope write)
``GET /login``                 a page of HTML, where a ``refusal_status`` of 302 sends clients
=============================  ======================================================================

Authlib does the protocol; clients, tokens and the user live in memory::

    with OAuth2Server(lifetime=1) as server:
        requests.post(server.token_url, data={"grant_type": "client_credentials"}, auth=("basic", "secret-b"))
        server.revoke_all()  # polls get 401 from here on
        server.fail_token(503, times=2)  # and the next two renewals fail

Basic credentials are percent-decoded by Authlib, but a ``+`` stays a plus where RFC 6749 means a space, so
a client that encodes a space as ``%20`` is understood here and by servers that follow the RFC.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from authlib.integrations.flask_oauth2 import current_token  # type: ignore[import-untyped]
from authlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.util import extract_basic_authorization  # type: ignore[import-untyped]
from flask import Flask, Response, request

from tests.support.real import Jobs, Reply
from tests.support.real.oauth2_authlib import Authorization, Client, Protector, Token, TokenRequest
from tests.support.real.wsgi import WsgiServer

if TYPE_CHECKING:
    import ssl
    from wsgiref.types import WSGIApplication

__all__ = [
    "BASIC",
    "PASSWORD",
    "POST",
    "SPECIAL",
    "USERNAME",
    "Client",
    "OAuth2Server",
    "Token",
    "TokenRequest",
]

BASIC: Final = Client("basic", "secret-b")
POST: Final = Client("post", "secret-p", "client_secret_post")
SPECIAL: Final = Client("clé +:/%41&=id", "s é+c:r/e%42 t&=?")
"""Authenticates by Basic, where a colon or a percent sign misleads unless id and secret are encoded."""
USERNAME: Final = "alice"
PASSWORD: Final = "pässw0rd +&%41"


class OAuth2Server(WsgiServer):
    """See the module's head. Counts and switches may be used while it runs.

    :param clients: who may ask for tokens; BASIC, POST and SPECIAL without any.
    :param lifetime: seconds that an access token issued from now on lives.
    :param announce_lifetime: False leaves ``expires_in`` out; tokens expire all the same.
    :param token_delay: seconds that the token endpoint takes, which widens a race for the token.
    :param refusal_status: what a missing or dead token gets instead of 401; 302 leads to ``/login``.
    :param jobs: how long jobs run.
    """

    def __init__(
        self,
        *clients: Client,
        lifetime: int = 3600,
        announce_lifetime: bool = True,
        token_delay: float = 0.0,
        refusal_status: int = 401,
        jobs: Jobs | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.clients = {client.client_id: client for client in clients or (BASIC, POST, SPECIAL)}
        self.users = {USERNAME: PASSWORD}
        self.lifetime = lifetime
        self.announce_lifetime = announce_lifetime
        self.token_delay = token_delay
        self.refusal_status = refusal_status
        self.jobs = Jobs() if jobs is None else jobs  # an empty one is false
        self.tokens: list[Token] = []
        """Every token issued, in order."""
        self.token_requests: list[TokenRequest] = []
        """Every request to the token endpoint, in the order of the answers."""
        self.resource_requests: Counter[str] = Counter()
        """Requests with a bearer token, by that token, whether it was accepted or not."""
        self._faults: deque[Callable[[], Response]] = deque()
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # one at a time, so that a refresh token is good for one renewal
        # Authlib takes no plain HTTP; the application is told that a proxy ended TLS.
        super().__init__(self._application(), ssl_context=ssl_context, url_scheme="https")

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/token"

    def revoke_all(self, *, refresh_tokens: bool = False) -> None:
        """From now on no access token issued so far is accepted, and no refresh token where asked for."""
        with self._lock:
            for token in self.tokens:
                token.revoked = True
                token.refresh_revoked = token.refresh_revoked or refresh_tokens

    def issue_refresh_token(self, client: Client = BASIC) -> str:
        """Make a refresh token as if the user had consented in a browser."""
        refresh_token = secrets.token_urlsafe(32)
        self.keep(
            Token(secrets.token_urlsafe(32), client.client_id, client.scope, 0.0, USERNAME, refresh_token)
        )
        return refresh_token

    def fail_token(self, status: int = 503, *, times: int = 1) -> None:
        """Let the next requests to the token endpoint fail with a text."""
        self._plan(lambda: Response("the token endpoint is down", status, mimetype="text/plain"), times)

    def refuse_token(
        self,
        error: str = "invalid_client",
        description: str | None = "the client is locked",
        *,
        status: int = 400,
        times: int = 1,
    ) -> None:
        """Let the next requests to the token endpoint be refused with an OAuth2 error."""
        refusal = OAuth2Error(description, status_code=status, error=error)
        self._plan(lambda: self._authorization.refuse(refusal), times)

    def omit_access_token(self, *, times: int = 1) -> None:
        """Let the next good answers of the token endpoint lack the token."""

        def answer() -> Response:
            response = self._authorize()
            body = json.loads(response.get_data())
            body.pop("access_token", None)
            response.set_data(json.dumps(body))
            return response

        self._plan(answer, times)

    def clear_faults(self) -> None:
        """Forget what was planned for the token endpoint."""
        with self._lock:
            self._faults.clear()

    def keep(self, token: Token) -> None:
        """Store a token."""
        with self._lock:
            self.tokens.append(token)

    def find(self, *, access_token: str | None = None, refresh_token: str | None = None) -> Token | None:
        """Look a token up by one of its strings; None for an unknown one."""
        with self._lock:
            if access_token is not None:
                return next((t for t in self.tokens if t.access_token == access_token), None)
            return next((t for t in self.tokens if t.refresh_token == refresh_token), None)

    def seen(self, access_token: str) -> None:
        """Count a request with this bearer token."""
        with self._lock:
            self.resource_requests[access_token] += 1

    def _plan(self, fault: Callable[[], Response], times: int) -> None:
        with self._lock:
            self._faults.extend([fault] * times)

    def _application(self) -> WSGIApplication:
        app = Flask(__name__, static_folder=None)
        app.config["PROPAGATE_EXCEPTIONS"] = True  # to ``errors``, not to stderr
        app.config["OAUTH2_SCOPES_SUPPORTED"] = ["read", "write", "admin"]
        self._authorization = Authorization(app, self)
        protector, jobs = Protector(self), self.jobs
        read, write = protector("read"), protector("write")
        app.add_url_rule("/token", "token", self._token, methods=["POST"])
        app.add_url_rule("/login", "login", lambda: "<html><form>Who are you?</form></html>")
        app.add_url_rule("/me", "me", read(_me))
        app.add_url_rule("/jobs", "submit", write(self._submit), methods=["POST"])
        app.add_url_rule("/jobs/<int:number>", "status", read(lambda number: _answer(jobs.status(number))))
        app.add_url_rule(
            "/jobs/<int:number>/result", "result", read(lambda number: _answer(jobs.result(number)))
        )
        cancel = write(lambda number: _answer(jobs.cancel(number)))
        app.add_url_rule("/jobs/<int:number>", "cancel", cancel, methods=["DELETE"])
        return app

    def _token(self) -> Response:
        time.sleep(self.token_delay)
        with self._lock:
            fault = self._faults.popleft() if self._faults else self._authorize
        with self._turn:
            response = fault()
        basic = request.authorization
        in_header = basic is not None and basic.type == "basic"
        in_body = "client_secret" in request.form
        client_id = request.form.get("client_id")
        if in_header:
            client_id = extract_basic_authorization(request.headers)[0]
        auth = ("basic",) * in_header + ("body",) * in_body
        params = request.form.to_dict(flat=False)
        asked = TokenRequest(params, auth, client_id, response.status_code, time.monotonic())
        with self._lock:
            self.token_requests.append(asked)
        return response

    def _authorize(self) -> Response:
        if "Authorization" in request.headers and "client_secret" in request.form:
            # RFC 6749 section 2.3: not more than one method. Authlib would take the one that fits.
            return self._authorization.refuse(InvalidRequestError("Client credentials in header and body."))
        try:
            response: Response = self._authorization.create_token_response()
        except UnicodeDecodeError:  # Basic credentials that are not UTF-8
            return self._authorization.refuse(InvalidClientError(status_code=401))
        return response

    def _submit(self) -> Response:
        number = self.jobs.submit()
        response = _answer((202, {"id": number, "status": "running"}))
        response.headers["Location"] = f"/jobs/{number}"
        return response


def _me() -> Response:
    token: Token = current_token
    return _answer(
        (
            200,
            {
                "user": token.user,
                "client": token.client_id,
                "scope": token.scope,
                "audience": token.audience,
                "resource": token.resource,
            },
        )
    )


def _answer(reply: Reply) -> Response:
    status, body = reply
    return Response(json.dumps(body), status, mimetype="application/json")
