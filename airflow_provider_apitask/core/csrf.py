"""Cross-site request forgery tokens: fetched before an unsafe request, sent with it (rule 7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_apitask.core.auth import Auth, Flow, Steps
from airflow_provider_apitask.core.errors import CsrfError, LoginUnavailableError
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.core.problem import Redact, describe
from airflow_provider_apitask.core.retry import is_passing

__all__ = ["CsrfSettings", "CsrfTokens"]

_MAX_AGE = re.compile(r"-?[0-9]{1,15}")
#: A cookie that expires before was cancelled, whatever the time is.
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CsrfSettings:
    """How an API hands out its tokens.

    :param header: header that carries the token, and that asks for one with the value ``Fetch``.
    :param cookie: cookie that holds the token, for servers such as Django that do not answer with
        the header.
    """

    header: str = "X-CSRF-Token"
    cookie: str | None = None


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A token and the cookies it came with: one is worth nothing without the other."""

    token: str = field(repr=False)
    cookies: dict[str, str] = field(repr=False)


class CsrfTokens:
    """The tokens of an API, by the URL they were fetched from, for all its requests in a process.

    :param redact: takes secrets out of what is said of an answer.
    :param learned: is told each new secret, so that it is masked everywhere.
    """

    def __init__(
        self,
        settings: CsrfSettings | None = None,
        redact: Redact = str,
        learned: Callable[[str], None] = lambda secret: None,
    ) -> None:
        self._redact = redact
        self._learned = learned
        self.settings = settings or CsrfSettings()
        self._fetched: dict[str, _Fetched] = {}

    def flow(self, request: Request, auth: Auth) -> Flow:
        """Send a request; with a token where its author wants one and its method is unsafe."""
        if request.csrf_url is None or request.method in _SAFE_METHODS:
            return (yield from auth.flow(request))
        known = self._fetched.get(request.csrf_url)
        fetched = known or (yield from self._fetch(request, auth))
        response = yield from auth.flow(self._with(request, fetched))
        if self._is_refused(response, known):
            # Refused before anything was done, so that any method may go again.
            fetched = yield from self._fetch(request, auth)
            response = yield from auth.flow(self._with(request, fetched))
        return response

    def _is_refused(self, response: Response, known: _Fetched | None) -> bool:
        if response.status != 403:
            return False
        required = (response.headers.get(self.settings.header) or "").strip().lower() == "required"
        # Where a server does not say so, a token that was just fetched cannot be too old.
        return required or (known is not None and self.settings.cookie is not None)

    def _fetch(self, request: Request, auth: Auth) -> Generator[Steps, Any, _Fetched]:
        url, settings = request.csrf_url or request.url, self.settings
        headers = request.headers.without("Content-Type", "If-Match").merged([(settings.header, "Fetch")])
        asking = replace(
            request, purpose=Purpose.CSRF, method="GET", url=url, body=None, headers=headers, csrf_url=None
        )
        response = yield from auth.flow(asking)
        cookies = _cookies(response)
        token = (
            response.headers.get(settings.header) if settings.cookie is None else cookies.get(settings.cookie)
        )
        # Servers answer 404 or 405 to the GET and hand out the token all the same.
        if not token or token.strip().lower() in ("fetch", "required"):
            if is_passing(response):
                raise LoginUnavailableError(
                    f"the CSRF token failed: {describe(asking, response, self._redact)}",
                    status_code=response.status,
                )
            where = f"header {settings.header}" if settings.cookie is None else f"cookie {settings.cookie}"
            said = describe(asking, response, self._redact)
            raise CsrfError(
                f"No CSRF token, as there is no {where} in the answer. {said}. Check csrf_token_endpoint of "
                "the task and the CSRF fields of the connection.",
                url=asking.url,
                status_code=response.status,
            )
        for secret in (token, *cookies.values()):
            self._learned(secret)
        fetched = self._fetched[url] = _Fetched(token, cookies)
        return fetched

    def _with(self, request: Request, fetched: _Fetched) -> Request:
        fields = [(self.settings.header, fetched.token)]
        if self.settings.cookie is not None and request.headers.get("Referer") is None:
            # Django compares it over https, in place of an Origin.
            parts = urlsplit(request.url)
            fields.append(("Referer", f"{parts.scheme}://{parts.netloc}/"))
        return request.with_headers(*fields).with_cookies(fetched.cookies)


def _cookies(response: Response) -> dict[str, str]:
    """The cookies that an answer sets; one that it cancels is none (RFC 6265 §5.3)."""
    found: dict[str, str] = {}
    for line in response.headers.get_all("Set-Cookie"):
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(line)
        except CookieError:
            continue
        for name, morsel in jar.items():
            if _is_cancelled(morsel, response.headers.get("Date")):
                found.pop(name, None)
            else:
                found[name] = morsel.value
    return found


def _is_cancelled(morsel: Morsel[str], now: str | None) -> bool:
    """Whether a cookie is to be thrown away: ``Max-Age`` goes before ``Expires``.

    :param now: what the server says, by whose clock a cookie expires; else one of 1970 does.
    """
    if lifetime := morsel["max-age"]:
        return bool(_MAX_AGE.fullmatch(lifetime)) and int(lifetime) <= 0
    expires, at = _time(morsel["expires"]), _time(now) or _LONG_AGO
    return expires is not None and expires <= at


def _time(text: str | None) -> datetime | None:
    try:
        # Netscape's dates have hyphens.
        at = parsedate_to_datetime((text or "").replace("-", " "))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
