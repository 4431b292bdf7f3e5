"""What Authlib leaves to an integrator: models of client and token, where they are kept, which grants."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from authlib.integrations.flask_oauth2 import (  # type: ignore[import-untyped]
    AuthorizationServer,
    ResourceProtector,
)
from authlib.integrations.flask_oauth2.errors import raise_http_exception  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import (  # type: ignore[import-untyped]
    ClientMixin,
    OAuth2Error,
    TokenMixin,
    grants,
)
from authlib.oauth2.rfc6750 import BearerTokenGenerator, BearerTokenValidator  # type: ignore[import-untyped]
from flask import request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask, Response

__all__ = ["Authorization", "Client", "Protector", "Store", "Token", "TokenRequest"]


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]
    """A client and how it has to authenticate."""

    client_id: str
    client_secret: str
    auth_method: str = "client_secret_basic"
    """Or ``client_secret_post``; the other one is refused."""
    scope: str = "read write"
    """What it may ask for, and gets when it asks for nothing. Authlib's way with a known scope that is not
    among them is to leave it out silently."""
    grants: tuple[str, ...] = ("client_credentials", "password", "refresh_token")

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        asked = scope.split() if scope else self.scope.split()
        return " ".join(s for s in asked if s in self.scope.split())

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(self.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.auth_method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


@dataclass
class Token(TokenMixin):  # type: ignore[misc]
    """An access token with its refresh token, if any."""

    access_token: str
    client_id: str
    scope: str
    lifetime: float
    """Seconds, also where the client was not told."""
    user: str | None = None
    refresh_token: str | None = None
    audience: list[str] = field(default_factory=list)
    resource: list[str] = field(default_factory=list)
    revoked: bool = False
    refresh_revoked: bool = False
    issued: float = field(default_factory=time.monotonic)

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return time.monotonic() >= self.issued + self.lifetime

    def is_revoked(self) -> bool:
        return self.revoked


@dataclass(frozen=True)
class TokenRequest:
    """A request to the token endpoint, as sent, and the status it was answered with."""

    params: Mapping[str, list[str]]
    auth: tuple[str, ...]
    """Where client credentials were: ``basic``, ``body``, both or neither."""
    client_id: str | None
    status: int
    at: float
    """``time.monotonic()`` at the answer."""

    def param(self, name: str) -> str | None:
        """The first value of a parameter, None without it."""
        return next(iter(self.params.get(name, ())), None)


class Store(Protocol):
    """What a server keeps."""

    clients: dict[str, Client]
    users: dict[str, str]
    lifetime: int
    announce_lifetime: bool
    refusal_status: int

    def keep(self, token: Token) -> None:
        """Store a token."""

    def find(self, *, access_token: str | None = None, refresh_token: str | None = None) -> Token | None:
        """Look a token up by one of its strings; None for an unknown one."""

    def seen(self, access_token: str) -> None:
        """Count a request with this bearer token."""


_METHODS = ["client_secret_basic", "client_secret_post"]


class _ClientCredentials(grants.ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS


class _Password(grants.ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def authenticate_user(self, username: str, password: str) -> str | None:
        return username if self.server.store.users.get(username) == password else None


class _RefreshToken(grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        token: Token | None = self.server.store.find(refresh_token=refresh_token)
        return None if token is None or token.refresh_revoked else token

    def authenticate_user(self, refresh_token: Token) -> str | None:
        return refresh_token.user

    def revoke_old_credential(self, refresh_token: Token) -> None:
        refresh_token.refresh_revoked = True


class Authorization(AuthorizationServer):  # type: ignore[misc]
    """The authorization server of a store."""

    def __init__(self, app: Flask, store: Store) -> None:
        self.store = store
        super().__init__(app)
        self.register_token_generator("default", BearerTokenGenerator(_random, _random, self._expires_in))
        for grant in (_ClientCredentials, _Password, _RefreshToken):
            self.register_grant(grant)

    def query_client(self, client_id: str) -> Client | None:
        return self.store.clients.get(client_id)

    def save_token(self, token: Mapping[str, Any], oauth2_request: Any) -> None:
        kept = Token(
            token["access_token"],
            oauth2_request.client.client_id,
            token.get("scope", ""),
            self.store.lifetime,
            oauth2_request.user,
            token.get("refresh_token"),
            oauth2_request.form.getlist("audience"),
            oauth2_request.form.getlist("resource"),
        )
        self.store.keep(kept)

    def refuse(self, error: OAuth2Error) -> Response:
        """Answer an error the way Authlib does."""
        response: Response = self.handle_error_response(self.create_oauth2_request(request), error)
        return response

    def _expires_in(self, client: Client, grant_type: str) -> int | None:
        return self.store.lifetime if self.store.announce_lifetime else None


def _random(**about: object) -> str:
    return secrets.token_urlsafe(32)


class _Bearer(BearerTokenValidator):  # type: ignore[misc]
    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def authenticate_token(self, token_string: str) -> Token | None:
        self._store.seen(token_string)
        return self._store.find(access_token=token_string)


class Protector(ResourceProtector):  # type: ignore[misc]
    """Guards views by the bearer tokens of a store; refuses with its ``refusal_status``."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self.register_token_validator(_Bearer(store))

    def raise_error_response(self, error: OAuth2Error) -> NoReturn:
        status, headers = error.status_code, error.get_headers()
        if status == 401:
            status = self._store.refusal_status
        if status == 302:
            headers = [("Location", "/login")]
        raise_http_exception(status, json.dumps(dict(error.get_body())), headers)
        raise AssertionError("unreachable")
