"""Credentials that are got by a conversation and live for a while: what all such kinds share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_apitask.core.auth.base import Auth, Exclusive, Flow, Renewal, Steps
from airflow_provider_apitask.core.errors import ApiTaskError, AuthenticationError, LoginUnavailableError
from airflow_provider_apitask.core.messages import Request, Response
from airflow_provider_apitask.core.problem import Redact, describe, status_line
from airflow_provider_apitask.core.request_spec import is_sendable
from airflow_provider_apitask.core.retry import is_passing

__all__ = ["Token", "TokenAuth"]

#: A token is renewed this long before it expires, but not before the last tenth of its life, seconds.
_EARLY = 60.0


@dataclass(frozen=True, slots=True)
class Token:
    """A credential for some time.

    :param value: the secret.
    :param renew_at: Unix time from which a new one is got; None, when it is refused.
    """

    value: str = field(repr=False)
    renew_at: float | None = None

    @classmethod
    def living(cls, value: str, now: float, seconds: float | None) -> Token:
        """A token that lives for so many seconds; None where nobody said how long."""
        if seconds is None or seconds <= 0:
            return cls(value)
        return cls(value, now + seconds - min(_EARLY, seconds / 10))


class TokenAuth(Auth):
    """Gets a token when there is none, renews it before it expires, and once when it is refused.

    :param clock: gives Unix time.
    :param learned: is told each new secret, so that it is masked everywhere.
    :param redact: takes secrets out of what is said of an answer.
    :param conn_id: of the connection, for messages.
    """

    is_static = False

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        renewal: Renewal | None = None,
        learned: Callable[[str], None] = lambda secret: None,
        redact: Redact = str,
        conn_id: str = "",
    ) -> None:
        self._clock = clock
        self._conn_id = conn_id
        self.renewal = renewal or Renewal()
        self._learned = learned
        self._redact = redact
        self._token: Token | None = None
        # How often no token was to be had, and why the last time.
        self._failures = 0
        self._failure: ApiTaskError | None = None

    def flow(self, request: Request) -> Flow:
        """Send the request with a token; where that is refused, once more with a new one."""
        token = yield from self._current()
        response: Response = yield self._with(request, token)
        if self.renewal.wanted(response):
            # Refused before anything was done, so that any method may go again (RFC 9110 §15.5.2).
            token = yield from self._renewed(token)
            response = yield self._with(request, token)
        return response

    def _current(self) -> Generator[Steps, Any, Token]:
        token = self._token
        if token is None or self._is_old(token):
            token = yield from self._renewed(token)
        return token

    def _is_old(self, token: Token) -> bool:
        return token.renew_at is not None and self._clock() >= token.renew_at

    def _renewed(self, old: Token | None) -> Generator[Steps, Any, Token]:
        """A token other than ``old``: one that somebody else got meanwhile, else a new one.

        Where somebody else failed meanwhile, that failure is taken: whoever waited for a token endpoint
        that is down would ask it again, one after the other.
        """
        failures = self._failures
        yield Exclusive.ENTER
        token = self._token
        if token is None or token is old or self._is_old(token):
            if self._failure is not None and self._failures != failures:
                raise self._failure.with_data()  # an error of one's own: each keeps a traceback
            try:
                token = yield from self._obtain()
            except ApiTaskError as error:
                self._failures, self._failure = self._failures + 1, error.with_data()
                raise
            self._failure = None
            self._learned(token.value)
            self._token = token
        yield Exclusive.LEAVE
        return token

    def _ask(self, request: Request, what: str) -> Generator[Steps, Any, Response]:
        """Send a request for a credential.

        :param what: names the step, such as ``the OAuth2 token endpoint``.
        :raises LoginUnavailableError: where it failed for the moment; the caller's request was not sent.
        """
        response: Response = yield request
        if not response.ok and is_passing(response):
            said = describe(request, response, self._redact)
            raise LoginUnavailableError(f"{what}: {said}", status_code=response.status)
        return response

    def _refusal(
        self, request: Request, response: Response, what: str, why: str | None = None
    ) -> AuthenticationError:
        """The error of a credential that is not to be had.

        :param why: said in place of what is found in the answer.
        """
        said = describe(request, response, self._redact)
        if why is not None:
            said = f"{request.method} {request.url} answered {status_line(response)}: {self._redact(why)}"
        return AuthenticationError(
            f"No credential from {what}: {said.rstrip('.')}. "
            f"Check login, secrets and settings of the connection {self._conn_id!r}.",
            status_code=response.status,
            url=request.url,
        )

    def _usable(self, found: Any, name: str, request: Request, response: Response, what: str) -> str:
        """Return a credential of a response as text.

        :param name: names it in the error; its value is a secret.
        :raises AuthenticationError: unless a header field can carry it.
        """
        text = str(found) if isinstance(found, (str, int, Decimal)) and not isinstance(found, bool) else ""
        if not is_sendable(text):
            raise self._refusal(request, response, what, f"its {name} is not a text that a header can carry")
        return text

    def _obtain(self) -> Generator[Steps, Any, Token]:
        """Get a new token.

        :raises AuthenticationError: where it was refused.
        :raises LoginUnavailableError: where it failed for the moment.
        """
        raise NotImplementedError

    def _with(self, request: Request, token: Token) -> Request:
        """The request with the token on it."""
        raise NotImplementedError
