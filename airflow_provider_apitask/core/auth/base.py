"""The shape of an authentication flow."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import urljoin, urlsplit

from airflow_provider_apitask.core.bodies import is_html
from airflow_provider_apitask.core.messages import Request, Response

__all__ = ["Auth", "DriverAuth", "Exclusive", "Flow", "Lookup", "NoAuth", "Renewal", "Steps"]

#: How much of a page is searched for a password field, bytes.
_MAX_PAGE_BYTES = 256 * 1024
_PASSWORD_FIELD = re.compile(rb"""<input\b[^<>]*\btype\s*=\s*["']?password""", re.IGNORECASE)


class Exclusive(Enum):
    """What a flow asks of its driver besides sending: that nobody else renews meanwhile.

    A driver that is asked to ENTER waits for its turn; it leaves by itself where the flow ends.
    """

    ENTER = auto()
    LEAVE = auto()


class Lookup(Enum):
    """What a flow asks of its driver: the API by the fields that the connection has now.

    The driver gives the ``Api``, the same object if nothing has changed; None if it cannot look it up.
    """

    CONNECTION = auto()


#: What a flow yields: requests to send, each answered by a response, turns to wait for, and lookups.
Steps = Request | Exclusive | Lookup
#: Yields steps, is given each answer, and returns the answer to the caller's request.
Flow = Generator[Steps, Any, Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Which responses mean that the server refused the credential.

    :param codes: HTTP codes; 401 by default. Some servers return 403 or 500.
    :param login_page: path of a login page.
    """

    codes: frozenset[int] = frozenset({401})
    login_page: str | None = None

    def wanted(self, response: Response) -> bool:
        """Return whether this response refuses the credential."""
        return response.status in self.codes or self.shows_login_page(response)

    def shows_login_page(self, response: Response) -> bool:
        """Return whether this response is a redirect to the login page, or the page itself.

        The page itself is HTML at the path of the login page, or HTML with a password field.
        """
        if self.login_page is None:
            return False
        if 300 <= response.status < 400:
            return self._is_at(response.headers.get("Location"), response.url)
        if not is_html(response):
            return False
        return self._is_at(response.url, response.url) or bool(
            _PASSWORD_FIELD.search(response.body, 0, _MAX_PAGE_BYTES)
        )

    def _is_at(self, url: str | None, base: str) -> bool:
        if not url or self.login_page is None:
            return False
        try:
            path = urlsplit(urljoin(base, url)).path
        except ValueError:
            return False  # reported when the redirect is followed
        return path.rstrip("/") == self.login_page.rstrip("/")


class Auth:
    """A way to authenticate. One object serves all requests of a connection in a process."""

    #: Which responses refuse the credential. A kind that can renew it does so; for one that cannot, see
    #: ``connection_lookup``.
    renewal: Renewal = Renewal()
    #: Whether the credential is the connection's own and stays as it is.
    is_static: bool = True
    #: Whether requests carry a credential.
    sends_credentials: bool = True
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

    @property
    def secrets(self) -> Iterable[str]:
        """Values that must never be seen in a log."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class NoAuth(Auth):
    """No credentials at all."""

    is_static = False
    sends_credentials = False


class DriverAuth(NoAuth):
    """Credentials that a driver adds: a class of the requests library."""

    sends_credentials = True
