"""OAuth 2.0 (RFC 6749): the protocol work is oauthlib's, which prepares and parses and never sends."""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from airflow_provider_apitask.core.auth.base import Steps
from airflow_provider_apitask.core.auth.token import Token, TokenAuth
from airflow_provider_apitask.core.bodies import decode_text
from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response, Timeout
from airflow_provider_apitask.core.request_spec import is_sendable

__all__ = ["GRANT_TYPES", "OAuth2Auth", "OAuth2Settings"]

GRANT_TYPES = ("client_credentials", "password", "refresh_token")
_ENDPOINT = "the OAuth2 token endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Settings:
    """How a token is got.

    :param client_auth: ``basic``, id and secret form-urlencoded in an Authorization header
        (RFC 6749 §2.3.1), or ``body``; never both.
    :param params: further parameters of the token request, ``audience`` and ``resource`` included.
    """

    token_url: str
    grant_type: str = "client_credentials"
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_auth: str = "basic"
    scope: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    username: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    timeout: Timeout = (10.0, 30.0)


class OAuth2Auth(TokenAuth):
    """Bearer tokens (RFC 6750) from a token endpoint."""

    def __init__(self, settings: OAuth2Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        # A server may hand out a new one with each token (RFC 6749 §6).
        self._refresh_token = settings.refresh_token

    @property
    def secrets(self) -> Iterable[str]:
        """Everything of the settings that is one, and how it is sent."""
        s = self._settings
        return (s.client_secret, s.password, s.refresh_token, _basic(s))

    def _with(self, request: Request, token: Token) -> Request:
        return request.with_headers(("Authorization", f"Bearer {token.value}"))

    def _obtain(self) -> Generator[Steps, Any, Token]:
        if self._settings.grant_type != "refresh_token" and self._refresh_token:
            # A refresh token that came along with an earlier token; where it has run out too, from the start.
            try:
                return (yield from self._asked("refresh_token"))
            except AuthenticationError:
                self._refresh_token = ""
        return (yield from self._asked(self._settings.grant_type))

    def _asked(self, grant_type: str) -> Generator[Steps, Any, Token]:
        request = self._token_request(grant_type)
        response = yield from self._ask(request, _ENDPOINT)
        return self._parsed(request, response)

    def _token_request(self, grant_type: str) -> Request:
        from oauthlib.oauth2 import BackendApplicationClient, LegacyApplicationClient

        s = self._settings
        in_body = s.client_auth == "body"
        extra: dict[str, Any] = {k: v for k, v in s.params.items() if v not in (None, "")}
        if in_body:
            extra["client_secret"] = s.client_secret
        common = {"scope": s.scope or None, "include_client_id": in_body, **extra}
        if grant_type == "client_credentials":
            body = BackendApplicationClient(s.client_id).prepare_request_body(**common)
        else:
            client = LegacyApplicationClient(s.client_id)
            if grant_type == "password":
                body = client.prepare_request_body(username=s.username, password=s.password, **common)
            else:
                if in_body:
                    common["client_id"] = s.client_id
                del common["include_client_id"]
                body = client.prepare_refresh_body(refresh_token=self._refresh_token, **common)
        headers = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]
        if not in_body and s.client_id:
            headers.append(("Authorization", f"Basic {_basic(s)}"))
        return Request(
            Purpose.LOGIN,
            "POST",
            s.token_url,
            headers=Headers(headers),
            body=body.encode(),
            timeout=s.timeout,
        )

    def _parsed(self, request: Request, response: Response) -> Token:
        from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error

        # Without the scope, as a server may grant another one without an error of its own (RFC 6749 §3.3).
        client = BackendApplicationClient(self._settings.client_id)
        try:
            answer = client.parse_request_body_response(decode_text(response))
        except OAuth2Error as error:
            if response.ok and error.error == "missing_token":
                raise self._refusal(
                    request, response, _ENDPOINT, "there is no access_token in the answer"
                ) from None
            parts = (part for part in (error.error, error.description) if isinstance(part, str))
            said = ": ".join(filter(None, parts))
            raise self._refusal(
                request, response, _ENDPOINT, said if said and error.error != "missing_token" else None
            ) from None
        except Exception:  # noqa: BLE001 - oauthlib reads a hostile response without checks
            # Without the body: there may be a token in it.
            why = "it is not a response of a token endpoint (RFC 6749 §5.1)" if response.ok else None
            raise self._refusal(request, response, _ENDPOINT, why) from None
        if not response.ok:
            raise self._refusal(request, response, _ENDPOINT, "a token came with that code")
        access_token = self._usable(answer["access_token"], "access_token", request, response, _ENDPOINT)
        refresh_token = answer.get("refresh_token")
        if refresh_token and isinstance(refresh_token, str) and is_sendable(refresh_token):
            self._refresh_token = refresh_token
            self._learned(refresh_token)
        return Token.living(access_token, self._clock(), _seconds(answer.get("expires_in")))


def _basic(settings: OAuth2Settings) -> str:
    # RFC 6749 §2.3.1: both are form-urlencoded before they are joined. A space as %20, which servers that
    # decode forms and those that decode percents alone both understand.
    pair = f"{quote(settings.client_id, safe='')}:{quote(settings.client_secret, safe='')}"
    return base64.b64encode(pair.encode()).decode()


def _seconds(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
