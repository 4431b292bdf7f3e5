"""The CSRF tokens of an API: fetched before an unsafe request, sent with it (rule 7)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from airflow_provider_apitask.core.auth import Auth, Flow, Steps
from airflow_provider_apitask.core.csrf_token import (
    SAFE_METHODS,
    CsrfSettings,
    CsrfToken,
    places,
    read_token,
    requires_token,
    token_request,
    with_token,
)
from airflow_provider_apitask.core.errors import (
    ApiTaskError,
    AuthenticationError,
    CsrfError,
    LoginUnavailableError,
)
from airflow_provider_apitask.core.messages import Request, Response
from airflow_provider_apitask.core.problem import Redact, describe
from airflow_provider_apitask.core.retry import is_passing

__all__ = ["CsrfTokens"]

#: Tokens that are kept, one for each URL. A token may be fetched from the URL of each job.
_MAX_TOKENS = 100


class CsrfTokens:
    """The tokens of an API, by the URL they were fetched from, for all its requests in a process.

    :param redact: takes secrets out of what is said of an answer.
    :param learned: is told each new secret, so that it is masked everywhere.
    :param conn_id: of the connection, for messages.
    """

    def __init__(
        self,
        settings: CsrfSettings | None = None,
        redact: Redact = str,
        learned: Callable[[str], None] = lambda secret: None,
        conn_id: str = "",
    ) -> None:
        self._conn_id = conn_id
        self._redact = redact
        self._learned = learned
        self.settings = settings or CsrfSettings()
        self._fetched: dict[str, CsrfToken] = {}

    def flow(self, request: Request, auth: Auth) -> Flow:
        """Send a request; with a token where its author wants one and its method is unsafe."""
        if request.csrf_url is None or request.method in SAFE_METHODS:
            return (yield from auth.flow(request))
        known = self._fetched.get(request.csrf_url)
        fetched = known or (yield from self._fetch(request, auth))
        response = yield from auth.flow(self._with(request, fetched))
        if self._is_refused(response, known):
            # Refused before anything was done, so that any method may go again.
            fetched = yield from self._fetch(request, auth)
            response = yield from auth.flow(self._with(request, fetched))
        return response

    def _is_refused(self, response: Response, known: CsrfToken | None) -> bool:
        if response.status != 403:
            return False
        # If a server does not say so, a token that was just fetched cannot be too old.
        return requires_token(response, self.settings) or (
            known is not None and self.settings.cookie is not None
        )

    def _fetch(self, request: Request, auth: Auth) -> Generator[Steps, Any, CsrfToken]:
        url = request.csrf_url or request.url
        asking = token_request(request, url, self.settings)
        response: Response = yield from auth.flow(asking)
        token = read_token(response, self.settings)
        if token is None:
            raise self._missing(asking, response, refused=auth.renewal.wanted(response))
        for secret in (token.value, *token.cookies.values()):
            self._learned(secret)
        # A new dict each time, because other threads may read the old one.
        kept = {name: one for name, one in self._fetched.items() if name != url}
        self._fetched = dict([*kept.items(), (url, token)][-_MAX_TOKENS:])
        return token

    def _missing(self, asking: Request, response: Response, *, refused: bool) -> ApiTaskError:
        said = describe(asking, response, self._redact)
        data = {"url": asking.url, "status_code": response.status}
        if refused:
            return AuthenticationError(
                f"No CSRF token, because the server refused the credentials ({said}). Check login, password "
                f"and secrets of the connection {self._conn_id!r}.",
                **data,
            )
        if is_passing(response):
            return LoginUnavailableError(f"the CSRF token failed: {said}", status_code=response.status)
        return CsrfError(
            f"No CSRF token, as there is no {places(self.settings)} in the response. {said}. Check "
            f"csrf_token_endpoint of the task and the CSRF fields of the connection {self._conn_id!r}.",
            **data,
        )

    def _with(self, request: Request, token: CsrfToken) -> Request:
        return with_token(request, token, self.settings, referer=self.settings.cookie is not None)
