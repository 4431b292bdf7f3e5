"""Credentials that are the same for each request: Basic, Bearer and API key."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace

from airflow_provider_apitask.core.auth.base import Auth
from airflow_provider_apitask.core.messages import Request
from airflow_provider_apitask.core.urls import add_query

__all__ = ["ApiKeyAuth", "BasicAuth", "BearerAuth"]


class BasicAuth(Auth):
    """User name and password (RFC 7617), as UTF-8."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
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


class ApiKeyAuth(Auth):
    """A key in a header or query parameter (OpenAPI 3.1, Security Scheme Object, ``apiKey``).

    :param name: of the header or parameter.
    :param location: ``header`` or ``query``.
    """

    def __init__(self, name: str, key: str, location: str = "header") -> None:
        self._name = name
        self._key = key
        self._location = location

    def signed(self, request: Request) -> Request:
        """Add the header or the parameter."""
        if self._location == "header":
            return request.with_headers((self._name, self._key))
        return replace(request, url=add_query(request.url, {self._name: self._key}))

    @property
    def secrets(self) -> Iterable[str]:
        """The key."""
        return (self._key,)
