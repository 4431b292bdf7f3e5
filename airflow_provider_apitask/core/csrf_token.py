"""Cross-site request forgery tokens: how one is requested, read and sent (rule 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html import unescape
from urllib.parse import urlsplit

from airflow_provider_apitask.core.bodies import decode_text
from airflow_provider_apitask.core.cookies import set_cookies
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.core.request_spec import is_sendable

__all__ = [
    "SAFE_METHODS",
    "CsrfSettings",
    "CsrfToken",
    "places",
    "read_token",
    "requires_token",
    "token_request",
    "with_token",
]

#: Methods that need no token.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: How much of a login form is searched for its hidden field, bytes.
_MAX_FORM_BYTES = 256 * 1024
_INPUT = re.compile(r"<input\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(name|value)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=]+))""", re.IGNORECASE)
#: Values of the header that are not a token: the request's own, and that of a refusal.
_NO_TOKENS = frozenset({"fetch", "required"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CsrfSettings:
    """How an API hands out its tokens.

    :param header: header that carries the token, and that asks for one with the value ``Fetch``.
    :param cookie: cookie that holds the token, for servers such as Django that do not return the header.
    """

    header: str = "X-CSRF-Token"
    cookie: str | None = None


@dataclass(frozen=True, slots=True)
class CsrfToken:
    """A token and the cookies it came with: one is worth nothing without the other."""

    value: str = field(repr=False)
    cookies: dict[str, str] = field(repr=False)


def token_request(request: Request, url: str, settings: CsrfSettings) -> Request:
    """Return the request that fetches a token for ``request``."""
    headers = request.headers.without("Content-Type", "If-Match").merged([(settings.header, "Fetch")])
    return replace(
        request, purpose=Purpose.CSRF, method="GET", url=url, body=None, headers=headers, csrf_url=None
    )


def read_token(response: Response, settings: CsrfSettings, form_field: str | None = None) -> CsrfToken | None:
    """Return the token of a response, whatever its code: servers return 404 or 405 with a token.

    :param form_field: hidden field of a login form, which has priority over header and cookie.
    :returns: None if there is no token that can be sent.
    """
    cookies = set_cookies(response)
    found = response.headers.get(settings.header) if settings.cookie is None else cookies.get(settings.cookie)
    if form_field is not None:
        found = _hidden(response, form_field) or found
    if not found or found.strip().lower() in _NO_TOKENS or not is_sendable(found):
        return None
    return CsrfToken(found, cookies)


def places(settings: CsrfSettings, form_field: str | None = None) -> str:
    """Return where a token is looked for, for an error."""
    place = f"header {settings.header}" if settings.cookie is None else f"cookie {settings.cookie}"
    return place if form_field is None else f"form field {form_field} and no {place}"


def requires_token(response: Response, settings: CsrfSettings) -> bool:
    """Return whether a 403 says that the token is missing or has expired."""
    return (response.headers.get(settings.header) or "").strip().lower() == "required"


def with_token(request: Request, token: CsrfToken, settings: CsrfSettings, *, referer: bool) -> Request:
    """Return the request with a token and its cookies.

    :param referer: Django compares it over https, if there is no ``Origin``.
    """
    fields = [(settings.header, token.value)]
    if referer and request.headers.get("Referer") is None:
        parts = urlsplit(request.url)
        fields.append(("Referer", f"{parts.scheme}://{parts.netloc}/"))
    return request.with_headers(*fields).with_cookies(token.cookies)


def _hidden(response: Response, name: str) -> str | None:
    """Return the value of an input of an HTML form."""
    start = replace(response, body=response.body[:_MAX_FORM_BYTES])
    for tag in _INPUT.finditer(decode_text(start)):
        attributes = {
            match[1].lower(): unescape(match[2] or match[3] or match[4] or "")
            for match in _ATTRIBUTE.finditer(tag[1])
        }
        if attributes.get("name") == name:
            return attributes.get("value")
    return None
