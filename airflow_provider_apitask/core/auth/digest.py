"""Digest access authentication (RFC 7616); the protocol work is httpx's, whose flows never send either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_apitask.core.auth.base import Auth, Flow
from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import Request, Response, cookie_pairs

if TYPE_CHECKING:
    import httpx

__all__ = ["DigestAuth"]


class DigestAuth(Auth):
    """User name and password as an answer to the server's challenge; the password is never sent."""

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
        """Send the request; answer the challenge, once."""
        import httpx

        if self._digest is None:
            # Kept for all requests: a challenge that was answered once saves the next round trip.
            self._digest = httpx.DigestAuth(self._username, self._password)
        mirrored = httpx.Request(request.method, request.url)
        flow = self._digest.auth_flow(mirrored)
        signed = next(flow)
        while True:
            response: Response = yield _with_fields_of(signed, request)
            seen = httpx.Response(response.status, headers=list(response.headers), request=mirrored)
            try:
                signed = flow.send(seen)
            except StopIteration:
                return response
            except (httpx.HTTPError, KeyError, ValueError, NotImplementedError) as error:
                raise AuthenticationError(
                    f"{request.method} {request.url} asks for a digest that cannot be made: {error}.",
                    url=request.url,
                    status_code=response.status,
                ) from None


def _with_fields_of(signed: httpx.Request, request: Request) -> Request:
    if "Authorization" not in signed.headers:
        return request
    made = request.with_headers(("Authorization", signed.headers["Authorization"]))
    # Those that came with the challenge, besides the request's own.
    return made.with_cookies(cookie_pairs(signed.headers.get("Cookie", "")))
