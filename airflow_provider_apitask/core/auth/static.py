"""Credentials that are the same for each request: Basic, Bearer, API key, several headers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace

from airflow_provider_apitask.core.auth.base import Auth
from airflow_provider_apitask.core.messages import Request, cookie_pairs
from airflow_provider_apitask.core.urls import add_query

__all__ = ["KEY_PLACES", "ApiKeyAuth", "BasicAuth", "BearerAuth", "HeadersAuth"]

#: Where an API key may stand (OpenAPI 3.1, Security Scheme Object).
KEY_PLACES = ("header", "query", "cookie")


class BasicAuth(Auth):
    """User name and password (RFC 7617), as UTF-8."""

    def __init__(self, username: str, password: str) -> None:
        self._password = password
        self._encoded = base64.b64encode(f"{username}:{password}".encode()).decode()

    def signed(self, request: Request) -> Request:
        """Add the Authorization field."""
        return request.with_headers(("Authorization", f"Basic {self._encoded}"))

    @property
    def secrets(self) -> Iterable[str]:
        """The password, alone and as it is sent."""
        return (self._password, self._encoded)


class BearerAuth(Auth):
    """A token that does not change (RFC 6750 §2.1)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def signed(self, request: Request) -> Request:
        """Add the Authorization field."""
        return request.with_headers(("Authorization", f"Bearer {self._token}"))

    @property
    def secrets(self) -> Iterable[str]:
        """The token."""
        return (self._token,)


class HeadersAuth(Auth):
    """Several secret headers at once, such as a user name with its token."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = tuple(headers.items())

    def signed(self, request: Request) -> Request:
        """Add the headers; cookies of the request, such as those of a CSRF token, stay."""
        cookies = cookie_pairs("; ".join(value for name, value in self._headers if name.lower() == "cookie"))
        made = request.with_headers(*self._headers)
        return made.with_cookies({**cookies, **request.cookies}) if cookies else made

    @property
    def secrets(self) -> Iterable[str]:
        """The values."""
        return tuple(value for _, value in self._headers)


class ApiKeyAuth(Auth):
    """A key in a header, query parameter or cookie (OpenAPI 3.1, ``apiKey``).

    :param name: of the header, parameter or cookie.
    :param location: ``header``, ``query`` or ``cookie``.
    """

    def __init__(self, name: str, key: str, location: str = "header") -> None:
        self._name = name
        self._key = key
        self._location = location

    def signed(self, request: Request) -> Request:
        """Add the key."""
        if self._location == "header":
            return request.with_headers((self._name, self._key))
        if self._location == "cookie":
            return request.with_cookies({self._name: self._key})
        return replace(request, url=add_query(request.url, {self._name: self._key}))

    @property
    def secrets(self) -> Iterable[str]:
        """The key."""
        return (self._key,)
