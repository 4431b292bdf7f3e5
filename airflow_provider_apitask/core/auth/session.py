"""Session login: a request of the API's own making, whose answer gives a token."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_apitask.core.auth.base import Steps
from airflow_provider_apitask.core.auth.token import Token, TokenAuth
from airflow_provider_apitask.core.bodies import parse_json
from airflow_provider_apitask.core.cookies import set_cookies
from airflow_provider_apitask.core.csrf_token import (
    CsrfSettings,
    places,
    read_token,
    token_request,
    with_token,
)
from airflow_provider_apitask.core.errors import AnswerError, OriginError
from airflow_provider_apitask.core.extraction import MISSING, compile_path, is_xpath
from airflow_provider_apitask.core.messages import Request, Response, cookie_pairs
from airflow_provider_apitask.core.urls import origin
from airflow_provider_apitask.core.xml import parse_xml

__all__ = ["SessionAuth", "SessionSettings"]

_LOGIN = "the session login"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How to log in, and what to make of the answer.

    :param request: the login request, the credentials in it.
    :param token_path: where the token is: a path of the JSON, ``headers.Name`` or ``cookies.name``.
    :param header: header that carries the token.
    :param template: text of that header; ``{token}`` stands for the token.
    :param lifetime: seconds that a token lives; None, until it is refused.
    :param lifetime_path: where the answer says that.
    :param base_url_path: where the answer names the base URL of the API; None where it stays.
    :param csrf_url: login form, or another URL, that hands out a CSRF token for the login request; None if it
        needs none.
    :param csrf_field: hidden field of the form that holds the token.
    :param body_with: makes the body of the login request with a CSRF token.
    """

    request: Request
    token_path: str
    header: str = "Authorization"
    template: str = "Bearer {token}"
    lifetime: float | None = None
    lifetime_path: str | None = None
    base_url_path: str | None = None
    csrf: CsrfSettings = field(default_factory=CsrfSettings)
    csrf_url: str | None = None
    csrf_field: str | None = None
    body_with: Callable[[str], bytes | None] | None = field(default=None, repr=False, compare=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class SessionAuth(TokenAuth):
    """A token, and optionally the base URL, from a login request."""

    def __init__(self, settings: SessionSettings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self.moves_base_url = settings.base_url_path is not None

    @property
    def secrets(self) -> Iterable[str]:
        """What the login request holds."""
        return self._settings.secrets

    def ready(self) -> Generator[Steps, Any, None]:
        """Log in first where the answer says where the API is."""
        if self.moves_base_url and self.base_url is None:
            yield from self._current()

    def _with(self, request: Request, token: Token) -> Request:
        s = self._settings
        text = s.template.replace("{token}", token.value)
        if s.header.lower() == "cookie" and (cookies := cookie_pairs(text)):
            # The cookies of a CSRF token stay.
            return request.with_cookies(cookies)
        return request.with_headers((s.header, text))

    def _obtain(self) -> Generator[Steps, Any, Token]:
        s = self._settings
        request = s.request if s.csrf_url is None else (yield from self._with_csrf_token(s.csrf_url))
        response = yield from self._ask(request, _LOGIN)
        # A wrong password is a redirect back to the form with some servers, and a 200 with others.
        if not response.ok and response.status not in (302, 303):
            raise self._refusal(s.request, response, _LOGIN)
        found = self._found(response, s.token_path)
        token = self._usable(found, f"value at {s.token_path!r}", s.request, response, _LOGIN)
        base_url = self._moved(response, s.base_url_path) if s.base_url_path is not None else None
        seconds = s.lifetime
        if s.lifetime_path is not None:
            seconds = self._seconds(response, s.lifetime_path)
        self.base_url = base_url
        return Token.living(token, self._clock(), seconds)

    def _with_csrf_token(self, url: str) -> Generator[Steps, Any, Request]:
        """Fetch the token that the login request itself needs, as Django's own login does."""
        s = self._settings
        asking = token_request(s.request, url, s.csrf)
        response = yield from self._ask(asking, "the CSRF token of the session login")
        token = read_token(response, s.csrf, s.csrf_field)
        if token is None:
            why = f"the response has no {places(s.csrf, s.csrf_field)}"
            raise self._refusal(asking, response, "the CSRF token of the session login", why)
        for secret in (token.value, *token.cookies.values()):
            self._learned(secret)
        request = with_token(s.request, token, s.csrf, referer=True)
        return replace(request, body=s.body_with(token.value)) if s.body_with is not None else request

    def _moved(self, response: Response, path: str) -> str:
        url = str(self._found(response, path)).rstrip("/")
        try:
            origin(url)
        except OriginError:
            raise self._refusal(
                self._settings.request, response, _LOGIN, f"what is at {path!r} is not an http(s) URL"
            ) from None
        return url

    def _seconds(self, response: Response, path: str) -> float:
        try:
            return float(self._found(response, path))
        except (TypeError, ValueError, OverflowError):
            raise self._refusal(
                self._settings.request, response, _LOGIN, f"what is at {path!r} is no number of seconds"
            ) from None

    def _found(self, response: Response, path: str) -> Any:
        found = _find(response, path)
        if found is MISSING or found in (None, ""):
            # Not the body: it is the answer to a login.
            raise self._refusal(
                self._settings.request, response, _LOGIN, f"nothing is at {path!r} in the answer"
            )
        return found


def _find(response: Response, path: str) -> Any:
    if path.startswith("headers."):
        return response.headers.get(path.removeprefix("headers."))
    if path.startswith("cookies."):
        return set_cookies(response).get(path.removeprefix("cookies."), "").strip('"')
    try:
        return compile_path(path).find(parse_xml(response) if is_xpath(path) else parse_json(response))
    except AnswerError:
        return MISSING
