"""The shape of an authentication flow."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from enum import Enum, auto
from typing import Any

from airflow_provider_apitask.core.messages import Request, Response

__all__ = ["Auth", "Exclusive", "Flow", "NoAuth", "Steps"]


class Exclusive(Enum):
    """What a flow asks of its driver besides sending: that nobody else renews meanwhile.

    A driver that is asked to ENTER waits for its turn; it leaves by itself where the flow ends.
    """

    ENTER = auto()
    LEAVE = auto()


#: What a flow yields: requests to send, each answered by a response, and turns to wait for.
Steps = Request | Exclusive
#: Yields steps, is given each answer, and returns the answer to the caller's request.
Flow = Generator[Steps, Any, Response]


class Auth:
    """A way to authenticate. One object serves all requests of a connection in a process."""

    #: Whether a login tells where the API is; then an origin can be judged only after it.
    moves_base_url: bool = False
    #: What it told, without a slash at the end; None before, and where nothing moves.
    base_url: str | None = None

    def flow(self, request: Request) -> Flow:
        """Send ``request`` with credentials, and whatever it takes to get or renew them."""
        response: Response = yield self.signed(request)
        return response

    def ready(self) -> Generator[Steps, Any, None]:
        """Whatever has to happen before a URL of the API can be known."""
        yield from ()

    def signed(self, request: Request) -> Request:
        """The request with its credentials; for kinds that need no conversation."""
        return request

    def is_login_page(self, response: Response) -> bool:
        """Whether a redirect leads to the login page, so that the credential was refused."""
        return False

    @property
    def secrets(self) -> Iterable[str]:
        """Values that must never be seen in a log."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class NoAuth(Auth):
    """No credentials at all."""
