"""What goes over the wire, as plain values: requests, responses and the failures between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from airflow_provider_apitask.core.uploads import Upload

__all__ = [
    "DEFAULT_MAX_BYTES",
    "MAX_TRIGGERER_BYTES",
    "Failure",
    "Headers",
    "NetworkFailure",
    "Purpose",
    "Request",
    "Response",
    "Timeout",
    "Transmission",
    "cookie_pairs",
]

#: Seconds to connect, and seconds to wait for each further piece of the answer.
Timeout = tuple[float, float]
#: Longest body that is read where the author sets no bound, bytes.
DEFAULT_MAX_BYTES = 32 * 1024 * 1024
#: Longest body that a triggerer reads, bytes: parsing one holds the interpreter, and so the event loop of all
#: triggers, for up to 60 ms. Worker and triggerer read no longer response to a login.
MAX_TRIGGERER_BYTES = 1024 * 1024


class Headers(Sequence[tuple[str, str]]):
    """Header fields in order, repeated ones included; names compare without case (RFC 9110 §5.1)."""

    __slots__ = ("_pairs",)

    def __init__(self, headers: Mapping[str, Any] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self._pairs = tuple(
            (name, item)
            for name, value in pairs
            for item in (value if isinstance(value, (list, tuple)) else (value,))
        )

    def __getitem__(self, index: Any) -> Any:
        return self._pairs[index]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        # Names only: a value may be a credential.
        return f"<Headers {', '.join(name for name, _ in self._pairs)}>"

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of the field ``name``, else ``default``."""
        folded = name.lower()
        return next((value for key, value in self._pairs if key.lower() == folded), default)

    def get_all(self, name: str) -> list[str]:
        """All values of the field ``name``, in order."""
        folded = name.lower()
        return [value for key, value in self._pairs if key.lower() == folded]

    def merged(self, other: Iterable[tuple[str, str]]) -> Headers:
        """These fields with those of ``other`` in place of the ones of the same name."""
        added = Headers(other)
        names = {name.lower() for name, _ in added}
        return Headers([*((n, v) for n, v in self._pairs if n.lower() not in names), *added])

    def without(self, *names: str) -> Headers:
        """These fields without those named."""
        gone = {name.lower() for name in names}
        return Headers([(name, value) for name, value in self._pairs if name.lower() not in gone])


class Purpose(StrEnum):
    """Why a request is sent; redirects and retries are decided by it."""

    SUBMIT = "submit"
    POLL = "poll"
    RESULT = "result"
    CANCEL = "cancel"
    RECONCILE = "reconcile"
    LOGIN = "login"
    CSRF = "csrf"
    TEST = "test"

    @property
    def words(self) -> str:
        """The purpose in words, as in "for a login"."""
        return {Purpose.LOGIN: "a login", Purpose.CSRF: "a CSRF token"}.get(self, f"the {self.value}")

    @property
    def is_of_the_call(self) -> bool:
        """Whether it is the caller's own request, not one that is needed before it."""
        return self not in (Purpose.LOGIN, Purpose.CSRF)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to be sent once credentials are added.

    :param body: bytes, or files that are read while they are sent.
    :param timeout: seconds to connect and seconds without a byte of the answer.
    :param max_bytes: longest body that is read from the answer.
    :param credentials: whether the connection's credentials and default headers may go along;
        False for an origin that is allowed without them.
    :param csrf_url: where a CSRF token for it is fetched; None where it needs none.
    :param reads_see_other: whether a 303 to a status check is returned, as it names the result.
    """

    purpose: Purpose
    method: str
    url: str
    headers: Headers = field(default_factory=Headers, repr=False)
    body: bytes | Upload | None = field(default=None, repr=False)
    timeout: Timeout = (10.0, 30.0)
    max_bytes: int = DEFAULT_MAX_BYTES
    credentials: bool = True
    csrf_url: str | None = None
    reads_see_other: bool = False

    def __repr__(self) -> str:
        return f"<Request {self.purpose} {self.method} {self.url.partition('?')[0]}>"

    def with_headers(self, *pairs: tuple[str, str]) -> Self:
        """The same request with these header fields set."""
        return replace(self, headers=self.headers.merged(pairs))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request."""
        return cookie_pairs("; ".join(self.headers.get_all("Cookie")))

    def with_cookies(self, cookies: Mapping[str, str]) -> Self:
        """The same request with these cookies besides those it has (RFC 6265 §5.4: one field)."""
        if not cookies:
            return self
        pairs = {**self.cookies, **cookies}
        text = "; ".join(f"{name}={value}" for name, value in pairs.items())
        return self.with_headers(("Cookie", text))


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer, its body read whole and decoded from its content coding.

    :param url: the URL that was answered, after redirects; relative references resolve against it.
    :param stored: bytes of the body, where it was written to a storage; ``body`` is its beginning then.
    :param credentials: whether the request could carry the connection's credentials.
    :param lookup: what a lookup of the connection found after they were refused, as a clause.
    """

    status: int
    url: str
    headers: Headers = field(default_factory=Headers, repr=False)
    body: bytes = field(default=b"", repr=False)
    stored: int | None = None
    credentials: bool = True
    lookup: str | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.url.partition('?')[0]}, {self.size} bytes>"

    @property
    def size(self) -> int:
        """Length of the body, bytes."""
        return len(self.body) if self.stored is None else self.stored

    @property
    def ok(self) -> bool:
        """Whether the code says success (2xx)."""
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        """The media type in lower case without its parameters, empty where there is none."""
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()


class Failure(StrEnum):
    """How a request ended without an answer."""

    RESOLVE = "the host name could not be resolved"
    CONNECT = "no connection could be made"
    TLS = "the TLS handshake failed"
    TIMEOUT = "no answer within the timeout"
    DROPPED = "the connection broke before the whole answer was there"
    TOO_LARGE = "the answer is larger than max_response_bytes"
    INVALID = "the answer is not valid HTTP"
    UNREADABLE = "the response could not be processed"
    BODY = "its body could not be read"
    MEMORY = "the responses that are being read leave no memory for it"
    LOGIN = "there are no credentials for the moment"
    UNEXPECTED = "the request ended with an unexpected error"


@dataclass(frozen=True, slots=True)
class NetworkFailure:
    """A request that got no (whole) answer.

    :param detail: what the library said; never empty, still to be redacted.
    :param possibly_received: False only where the server surely did not get the request.
    """

    failure: Failure
    detail: str
    possibly_received: bool

    def __str__(self) -> str:
        return f"{self.failure.value} ({self.detail})" if self.detail else self.failure.value


@dataclass(frozen=True, slots=True)
class Transmission:
    """One request as a driver sent it, logins and redirects included.

    :param inbound: what came; None where the receiver of its content gave up.
    :param started: Unix time.
    :param ended: Unix time.
    :param bytes_sent: of the body.
    :param bytes_received: of the body, as it came over the wire.
    :param resent: whether the driver itself sent the request once more, see ``retry.may_resend``.
    """

    request: Request
    inbound: Response | NetworkFailure | None
    started: float
    ended: float
    bytes_sent: int
    bytes_received: int
    resent: bool = False


def cookie_pairs(field: str) -> dict[str, str]:
    """The cookies of a Cookie header field."""
    pairs = (part.strip().partition("=") for part in field.split(";"))
    return {name: value for name, equals, value in pairs if equals}
