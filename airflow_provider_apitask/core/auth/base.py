"""The shape of an authentication flow."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from airflow_provider_apitask.core.messages import Request, Response

__all__ = ["Auth", "Flow", "NoAuth"]

#: Yields requests to send, is given each answer, and returns the answer to the caller's request.
Flow = Generator[Request, Response, Response]


class Auth:
    """A way to authenticate. One object serves all requests of a connection in a process."""

    def flow(self, request: Request) -> Flow:
        """Send ``request`` with credentials, and whatever it takes to get or renew them."""
        return (yield self.signed(request))

    def signed(self, request: Request) -> Request:
        """The request with its credentials; for kinds that need no conversation."""
        return request

    @property
    def secrets(self) -> Iterable[str]:
        """Values that must never be seen in a log."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class NoAuth(Auth):
    """No credentials at all."""
