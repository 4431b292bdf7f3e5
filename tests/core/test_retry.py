"""Retry-After, and when a request may be sent again."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.core.retry import (
    Delivery,
    RetryPolicy,
    delivery,
    grown,
    is_passing,
    may_resend,
    may_reuse_connection,
    retry_after,
)

from .helpers import DROPPED, NO_CONNECTION, READ_TIMEOUT, T0, TOO_LARGE

# T0 is Tue, 14 Nov 2023 22:13:20 GMT.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("+3", 3),
        ("-3", 0),
        ("-0.5", 0),
        ("9" * 400, 1e9),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60),
        ("Tue Nov 14 22:14:20 2023", 60),
        ("Tue, 14 Nov 2023 23:14:20 +0100", 60),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),
        ("", None),
        ("soon", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("12 s", None),
        ("5, 6", None),
        ("0x10", None),
        ("٣", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
        ("Tue, 14 Nov 2023 22:14:20 +9999", None),
        ("\x00", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(Headers({"Retry-After": value}), T0) == seconds


@pytest.mark.parametrize("name", ["retry-after-ms", "X-Ms-Retry-After-Ms"])
def test_milliseconds_are_more_exact_and_go_first(name: str) -> None:
    assert retry_after(Headers({name: "1500", "Retry-After": "9"}), T0) == 1.5
    assert retry_after(Headers({name: "junk", "Retry-After": "9"}), T0) == 9
    assert retry_after(Headers({name: "-4"}), T0) == 0


def test_nobody_asks_for_a_wait() -> None:
    assert retry_after(Headers(), T0) is None


def _event(what: object) -> Response | NetworkFailure:
    return Response(what, "https://h") if isinstance(what, int) else what  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        *((code, Delivery.NOT_TAKEN) for code in (425, 429, 503)),
        *((code, Delivery.UNKNOWN) for code in (408, 500, 502, 504, 507, 520, 599)),
        *((code, Delivery.DECIDED) for code in (300, 304, 400, 401, 403, 404, 409, 422, 501, 505, 600, 999)),
        (NO_CONNECTION, Delivery.NOT_TAKEN),
        (READ_TIMEOUT, Delivery.UNKNOWN),
        (DROPPED, Delivery.UNKNOWN),
        (TOO_LARGE, Delivery.DECIDED),
        *(
            (NetworkFailure(failure, "x", possibly_received=False), Delivery.NOT_TAKEN)
            for failure in (Failure.RESOLVE, Failure.TLS)
        ),
    ],
)
def test_delivery(what: object, expected: Delivery) -> None:
    assert delivery(_event(what)) is expected


@pytest.mark.parametrize(
    ("what", "passing"),
    [
        *((code, True) for code in (408, 425, 429, 500, 501, 502, 503, 504, 505, 599)),
        *((code, False) for code in (300, 400, 401, 403, 404, 410, 600, 999)),
        *((failure, True) for failure in (NO_CONNECTION, READ_TIMEOUT, DROPPED)),
        (TOO_LARGE, False),
    ],
)
def test_is_passing(what: object, passing: bool) -> None:
    assert is_passing(_event(what)) is passing


def test_a_key_makes_any_method_repeatable() -> None:
    policy = RetryPolicy()
    assert not policy.may_send_again("POST", READ_TIMEOUT, repeatable=False)
    assert policy.may_send_again("POST", READ_TIMEOUT, repeatable=True)
    assert policy.may_send_again("post", NO_CONNECTION, repeatable=False)
    assert policy.may_send_again("get", READ_TIMEOUT, repeatable=False)
    assert not policy.may_send_again("GET", Response(400, "https://h"), repeatable=True)


@pytest.mark.parametrize(
    ("attempt", "asked", "jitter", "seconds"),
    [
        (1, None, 1, 2), (2, None, 1, 4), (3, None, 1, 8), (9, None, 1, 60), (5000, None, 1, 60),
        (1, None, 0, 1), (1, 10, 0, 10), (1, 10, 1, 11), (1, 500, 1, 60), (1, 0, 0, 1),
        (1, float("inf"), 0, 60),
    ],
)  # fmt: skip
def test_waits(attempt: int, asked: float | None, jitter: float, seconds: float) -> None:
    policy = RetryPolicy(count=9, delay=2, max_delay=60)
    assert policy.wait(attempt, asked, jitter) == pytest.approx(seconds)


def test_growth_that_overflows_is_the_longest() -> None:
    assert grown(1, 10, 10_000, 60) == 60
    assert grown(1, 1e300, 5, 60) == 60


@pytest.mark.parametrize(
    ("method", "what", "codes", "again"),
    [
        ("POST", 409, None, False),
        ("POST", 409, (409,), True),
        ("POST", 404, ("4xx",), True),
        ("POST", 503, (409,), False),
        ("POST", 500, ("5xx",), False),  # it may have had an effect
        ("GET", 500, ("5xx",), True),
        ("GET", 500, (503,), False),
        ("GET", 404, ("404-410",), True),
        ("POST", NO_CONNECTION, (409,), True),
        ("POST", READ_TIMEOUT, (409,), False),
    ],
)
def test_the_authors_codes(method: str, what: object, codes: tuple[int | str, ...], again: bool) -> None:
    policy = RetryPolicy(count=1, codes=codes)
    assert policy.may_send_again(method, _event(what), repeatable=False) is again


def test_a_key_and_the_authors_codes() -> None:
    policy = RetryPolicy(count=1, codes=(500,))
    assert policy.may_send_again("POST", _event(500), repeatable=True)
    assert not policy.may_send_again("POST", _event(502), repeatable=True)


@pytest.mark.parametrize(
    ("purpose", "method", "reused", "resent"),
    [
        (Purpose.SUBMIT, "GET", True, True),
        (Purpose.SUBMIT, "QUERY", True, True),
        (Purpose.SUBMIT, "PUT", False, False),
        (Purpose.SUBMIT, "POST", False, False),
        (Purpose.CANCEL, "GET", False, True),  # whose connection is fresh, so nothing is lost in silence
        (Purpose.LOGIN, "POST", False, False),
        (Purpose.CSRF, "GET", True, True),
        (Purpose.POLL, "GET", True, True),
        (Purpose.POLL, "POST", True, False),
        (Purpose.RESULT, "GET", True, True),
    ],
)
def test_connections_that_served_before(purpose: Purpose, method: str, *, reused: bool, resent: bool) -> None:
    request = Request(purpose, method, "https://h/a")
    assert may_reuse_connection(request) is reused
    assert may_resend(request, DROPPED, lost_in_silence=True) is resent
    assert not may_resend(request, DROPPED, lost_in_silence=False)
    assert not may_resend(request, READ_TIMEOUT, lost_in_silence=True)


def test_a_query_is_safe() -> None:
    """RFC 10008."""
    assert RetryPolicy(count=1).may_send_again("QUERY", READ_TIMEOUT, repeatable=False)
