"""When a request is sent again, and when: method-safe retries and ``Retry-After``.

Sources: RFC 9110 §9.2.2 (idempotent methods) and §10.2.3 (Retry-After), RFC 8470 §5.2 (425).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.core.status_codes import code_in

__all__ = [
    "IDEMPOTENT_METHODS",
    "Delivery",
    "RetryPolicy",
    "delivery",
    "grown",
    "is_passing",
    "may_resend",
    "may_reuse_connection",
    "retry_after",
]

#: RFC 9110 §9.2.1, RFC 10008.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
#: RFC 9110 §9.2.2.
IDEMPOTENT_METHODS = _SAFE_METHODS | {"PUT", "DELETE"}

#: The server did not take the request: sending it again cannot do it twice.
_NOT_TAKEN = frozenset({425, 429, 503})
#: The server, or a proxy before it, broke off: what was done is not known. 501 and 505 are
#: decisions about the request, the same each time.
_DECIDED_5XX = frozenset({501, 505})
#: A status check that got one of these (or a 5xx) may well succeed later (rule 10).
_PASSING_4XX = frozenset({408, 425, 429})

#: Longest wait that is read from an answer, seconds: a number that JSON and every clock can hold.
_LONGEST_WAIT = 1e9
_DIGITS = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


class Delivery(Enum):
    """What is known about a request that did not succeed.

    ``NOT_TAKEN``: it had no effect. ``UNKNOWN``: it may have had one. ``DECIDED``: the server
    decided about it, and would do so again.
    """

    NOT_TAKEN = auto()
    UNKNOWN = auto()
    DECIDED = auto()


def delivery(event: Response | NetworkFailure) -> Delivery:
    """Decide whether a failed request may have had an effect on the server (rule 5)."""
    if isinstance(event, NetworkFailure):
        if event.failure is Failure.TOO_LARGE:
            return Delivery.DECIDED
        return Delivery.UNKNOWN if event.possibly_received else Delivery.NOT_TAKEN
    if event.status in _NOT_TAKEN:
        return Delivery.NOT_TAKEN
    if event.status == 408 or (500 <= event.status <= 599 and event.status not in _DECIDED_5XX):
        return Delivery.UNKNOWN
    return Delivery.DECIDED


def is_passing(event: Response | NetworkFailure) -> bool:
    """Whether a failing status check may well succeed later: it says nothing about the job."""
    if isinstance(event, NetworkFailure):
        # The next answer will hardly be shorter, and reading it again costs as much.
        return event.failure is not Failure.TOO_LARGE
    return event.status in _PASSING_4XX or 500 <= event.status <= 599


def may_reuse_connection(request: Request) -> bool:
    """Return whether a request may go over a connection that an earlier one has used.

    The server may be closing such a connection at this moment, and then the outcome of the request is
    unknown. A submission, a cancel request and a login are not worth that risk; a poll is repeated anyway.
    """
    if request.purpose is Purpose.SUBMIT:
        return request.method in _SAFE_METHODS
    return request.purpose not in (Purpose.CANCEL, Purpose.LOGIN)


def may_resend(request: Request, event: Response | NetworkFailure, *, lost_in_silence: bool) -> bool:
    """Return whether a driver may send a request once more at once, over a fresh connection.

    :param lost_in_silence: its connection had served an earlier request and gave no byte for this one, as
        happens if the server closes an idle connection while the request is on its way.
    """
    dropped = isinstance(event, NetworkFailure) and event.failure is Failure.DROPPED
    return dropped and lost_in_silence and request.method in _SAFE_METHODS


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """In-task retries of one request.

    :param count: how often it is sent again at most; 0 leaves retrying to Airflow.
    :param delay: seconds before the first; each further wait is ``factor`` times longer.
    :param max_delay: longest wait in seconds, also for what the server asks for.
    :param codes: HTTP codes after which it is sent again, see ``status_codes``; None for those that say
        that it was not taken, and for all server errors where it may be repeated. Whatever they are, a
        request that may have had an effect is only repeated where that is safe.
    """

    count: int = 0
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 300.0
    codes: tuple[int | str, ...] | None = None

    def may_send_again(
        self, method: str, event: Response | NetworkFailure, *, repeatable: bool, rejected: bool = False
    ) -> bool:
        """Whether sending again is safe, whatever the count says.

        :param repeatable: the request carries a key by which the server knows it again.
        :param rejected: the author says that such a response means "not accepted".
        """
        what = Delivery.DECIDED if rejected else delivery(event)
        named = False
        if self.codes is not None and isinstance(event, Response):
            named = code_in(event.status, self.codes)
            if not named:
                return False
        if what is Delivery.UNKNOWN:
            return repeatable or method.upper() in IDEMPOTENT_METHODS
        # A server that has decided has done nothing: its author may know that it will decide otherwise.
        return what is Delivery.NOT_TAKEN or named

    def wait(self, attempt: int, server_wait: float | None, jitter: float) -> float:
        """Seconds to wait before sending again.

        :param attempt: how often it has been sent, from 1.
        :param server_wait: seconds that the server asked for, undercut only by ``max_delay``.
        :param jitter: a random number from 0 to 1, which spreads clients that failed together;
            upward only where the server asked for a time.
        """
        if server_wait is None:
            return grown(self.delay, self.factor, attempt - 1, self.max_delay) * (0.5 + jitter / 2)
        # Not at once, even where a server says "0".
        return min(max(server_wait, min(self.delay, 1.0)) * (1 + 0.1 * jitter), self.max_delay)


def grown(first: float, factor: float, steps: int, longest: float) -> float:
    """The wait after ``steps`` growths by ``factor``, ``longest`` at most; seconds."""
    try:
        return min(first * float(factor) ** steps, longest)
    except OverflowError:
        return longest


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds that a server asks to wait, None where it does not or says junk; never negative.

    :param now: Unix time, against which an HTTP date is read.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        value = (headers.get(name) or "").strip()
        if _DIGITS.fullmatch(value):
            return min(max(0.0, float(value) / 1000), _LONGEST_WAIT)
    value = (headers.get("Retry-After") or "").strip()
    if _DIGITS.fullmatch(value):
        return min(max(0.0, float(value)), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(value)
        # RFC 9110 §5.6.7: a date without a zone is read as UTC.
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
