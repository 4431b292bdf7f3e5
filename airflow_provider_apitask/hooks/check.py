"""Testing a connection: one harmless request, and a report of how far it came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_apitask.core.auth import NoAuth
from airflow_provider_apitask.core.errors import ApiTaskError, AuthenticationError
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Purpose, Response
from airflow_provider_apitask.core.problem import describe, status_line

if TYPE_CHECKING:
    from airflow_provider_apitask.core.messages import Request
    from airflow_provider_apitask.hooks.connection import ApiConnection

__all__ = ["Report", "check"]

#: Failures that come before the server has heard anything.
_NOT_REACHED = frozenset({Failure.RESOLVE, Failure.CONNECT})


@dataclass(frozen=True, slots=True)
class Report:
    """What worked.

    :param ok: whether the connection can be used.
    :param steps: one line for each step that was taken, in their order.
    """

    ok: bool
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.steps)


def check(connection: ApiConnection) -> Report:
    """Send an authenticated ``GET`` or ``HEAD`` to the health endpoint; never anything else.

    :raises ApiTaskError: where the connection itself cannot be used.
    """
    from airflow_provider_apitask.drivers.blocking import BlockingTransport

    api = connection.api
    request = api.build(connection.health, Purpose.TEST)
    with BlockingTransport(api, connection.options) as transport:
        came = transport.send(request)
    report = _read(connection, request, came)
    return replace(report, steps=tuple(api.redactor.line(step) for step in report.steps))


def _read(connection: ApiConnection, request: Request, came: object) -> Report:
    host = urlsplit(request.url).netloc
    if isinstance(came, NetworkFailure):
        return _no_answer(connection, request, came)
    steps = [f"Reached: {host}.", _tls(connection, request.url)]
    if isinstance(came, AuthenticationError):
        return Report(False, (*steps, f"Authenticated: no. {came.message}"))
    if isinstance(came, ApiTaskError):
        return Report(False, (*steps, came.message))
    if not isinstance(came, Response):
        raise TypeError(f"a transport gave {type(came).__name__}")
    said = f"Status: {request.method} {request.url} answered {status_line(came)}."
    described = f"{describe(request, came, connection.api.redactor.text)}."
    if came.status in (401, 403, 407):
        return Report(False, (*steps, f"Authenticated: no. {described}"))
    if came.ok:
        with_what = (
            "no credentials are configured" if _is_open(connection) else "the credentials were accepted"
        )
        return Report(True, (*steps, f"Authenticated: {with_what}.", said))
    hint = "Set health_endpoint to an endpoint that answers 2xx." if came.status in (404, 405) else ""
    return Report(False, (*steps, "Authenticated: unknown.", f"Status: {described} {hint}".rstrip()))


def _no_answer(connection: ApiConnection, request: Request, failure: NetworkFailure) -> Report:
    host = urlsplit(request.url).netloc
    if failure.failure in _NOT_REACHED:
        return Report(False, (f"Reached: no, {host}: {failure}.",))
    if failure.failure is Failure.TLS:
        return Report(False, (f"Reached: {host}.", f"TLS: no: {failure}."))
    if failure.failure is Failure.LOGIN:
        return Report(False, (f"Authenticated: no: {failure.detail or failure}.",))
    return Report(False, (f"Reached: {host}.", _tls(connection, request.url), f"Status: none: {failure}."))


def _tls(connection: ApiConnection, url: str) -> str:
    if urlsplit(url).scheme != "https":
        return "TLS: none, plain HTTP."
    return "TLS: verified." if connection.options.verify else "TLS: not verified (verify is off)."


def _is_open(connection: ApiConnection) -> bool:
    return isinstance(connection.api.auth, NoAuth) and connection.options.worker_auth is None
