"""Digest access authentication (RFC 7616); the protocol work is httpx's, whose flows never send either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_apitask.core.auth.base import Auth, Flow
from airflow_provider_apitask.core.cookies import set_cookies
from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import Request, Response

if TYPE_CHECKING:
    import httpx

__all__ = ["DigestAuth"]


class DigestAuth(Auth):
    """User name and password as the response to the server's challenge; the password is never sent."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._digest: httpx.DigestAuth | None = None

    @property
    def credentials(self) -> tuple[str, str]:
        """User name and password."""
        return self._username, self._password

    @property
    def secrets(self) -> Iterable[str]:
        """The password."""
        return (self._password,)

    def flow(self, request: Request) -> Flow:
        """Send the request, and send it once more if the server returns a challenge."""
        import httpx

        if self._digest is None:
            # Kept for all requests: a challenge from an earlier response saves the next round trip.
            self._digest = httpx.DigestAuth(self._username, self._password)
        try:
            mirrored = httpx.Request(request.method, request.url)
        except httpx.InvalidURL:
            raise AuthenticationError(
                f"{request.method} {request.url[:200]} cannot be sent with auth_type 'digest': its URL is "
                "invalid or too long.",
                url=request.url[:200],
            ) from None
        mirrored.headers.encoding = "utf-8"  # of the realm, which is sent back
        flow = self._digest.auth_flow(mirrored)
        response: Response = yield _signed(request, next(flow))
        if response.status != 401:
            return response
        # No other field: httpx encodes text as ASCII, which a file name in a response may not be.
        challenges = [
            (b"WWW-Authenticate", challenge.encode("utf-8", "replace"))
            for challenge in response.headers.get_all("WWW-Authenticate")
        ]
        try:
            signed = flow.send(httpx.Response(401, headers=challenges, request=mirrored))
        except StopIteration:
            return response
        except Exception as error:  # noqa: BLE001 - httpx reads a hostile challenge without checks
            self._digest = None  # it has kept the challenge
            raise AuthenticationError(
                f"{request.method} {request.url} answered 401 with a challenge for auth_type 'digest' that "
                f"cannot be used: {_why(error)}. Use another auth_type, or change the server.",
                url=request.url,
                status_code=response.status,
            ) from None
        response = yield _signed(request, signed).with_cookies(set_cookies(response))
        return response


def _signed(request: Request, mirrored: httpx.Request) -> Request:
    authorization = mirrored.headers.get("Authorization")
    return request if authorization is None else request.with_headers(("Authorization", authorization))


def _why(error: Exception) -> str:
    if isinstance(error, NotImplementedError):
        return "its qop is 'auth-int', and only 'auth' is supported"
    if isinstance(error, KeyError):
        return "its algorithm is unknown"
    return "it is malformed (RFC 7616 §3.3)"
