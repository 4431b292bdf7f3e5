"""Testing a connection: one harmless request, and a report of how far it came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_apitask.core.advice import with_remedy
from airflow_provider_apitask.core.errors import ApiTaskError, AuthenticationError
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Purpose, Response
from airflow_provider_apitask.core.problem import describe, status_line

if TYPE_CHECKING:
    from airflow_provider_apitask.core.messages import Request
    from airflow_provider_apitask.drivers.blocking import BlockingTransport
    from airflow_provider_apitask.hooks.connection import ApiConnection

__all__ = ["Report", "Step", "StepName", "check"]

#: Failures that come before the server has heard anything.
_NOT_REACHED = frozenset({Failure.RESOLVE, Failure.CONNECT})


class StepName(StrEnum):
    """What is tested, in this order."""

    REACHED = "Reached"
    TLS = "TLS"
    AUTHENTICATED = "Authenticated"
    STATUS = "Status"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a test.

    :param ok: None where that is not known.
    :param text: what came of it, with its full stop.
    """

    name: StepName
    ok: bool | None
    text: str

    def __str__(self) -> str:
        return f"{self.name.value}: {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What worked.

    :param ok: whether the connection can be used.
    :param steps: those that were taken, in their order.
    :param hint: what to do about it, empty for nothing.
    """

    ok: bool
    steps: tuple[Step, ...]
    hint: str = ""

    def __str__(self) -> str:
        return " ".join([*map(str, self.steps), self.hint]).rstrip()


def check(connection: ApiConnection, transport: Callable[[], BlockingTransport] | None = None) -> Report:
    """Send an authenticated ``GET`` or ``HEAD`` to the health endpoint; never anything else.

    :param transport: opens the session to the API, for one who watches it.
    :raises ApiTaskError: where the connection itself cannot be used.
    """
    from airflow_provider_apitask.drivers.blocking import BlockingTransport

    api = connection.api
    request = api.build(connection.health, Purpose.TEST)
    with BlockingTransport(api, connection.options) if transport is None else transport() as session:
        came = session.send(request)
    report = _read(connection, request, came)
    redacted = (replace(step, text=api.redactor.line(step.text)) for step in report.steps)
    return replace(report, steps=tuple(redacted))


def _read(connection: ApiConnection, request: Request, came: object) -> Report:
    host = urlsplit(request.url).netloc
    if isinstance(came, NetworkFailure):
        return _no_answer(connection, request, came)
    steps = [Step(StepName.REACHED, True, f"{host}."), _tls(connection, request.url)]
    if isinstance(came, AuthenticationError):
        return Report(False, (*steps, Step(StepName.AUTHENTICATED, False, f"no. {came.message}")))
    if isinstance(came, ApiTaskError):
        return Report(False, (*steps, Step(StepName.STATUS, False, f"none. {came.message}")))
    if not isinstance(came, Response):
        raise TypeError(f"a transport gave {type(came).__name__}")
    api = connection.api
    refused = f"{with_remedy(describe(request, came, api.redactor.text), request, came, api)}."
    if came.status in (401, 403, 407):
        return Report(False, (*steps, Step(StepName.AUTHENTICATED, False, f"no. {refused}")))
    if came.ok:
        said = f"{request.method} {request.url} answered {status_line(came)}."
        how = (
            "the credentials were accepted."
            if connection.api.auth.sends_credentials
            else "no credentials are configured."
        )
        return Report(
            True, (*steps, Step(StepName.AUTHENTICATED, True, how), Step(StepName.STATUS, True, said))
        )
    steps += [Step(StepName.AUTHENTICATED, None, "unknown."), Step(StepName.STATUS, False, refused)]
    hint = "Set health_endpoint to an endpoint that answers 2xx." if came.status in (404, 405) else ""
    return Report(False, tuple(steps), hint)


def _no_answer(connection: ApiConnection, request: Request, failure: NetworkFailure) -> Report:
    host = urlsplit(request.url).netloc
    if failure.failure in _NOT_REACHED:
        return Report(False, (Step(StepName.REACHED, False, f"no, {host}: {failure}."),))
    if failure.failure is Failure.LOGIN:
        return Report(False, (Step(StepName.AUTHENTICATED, False, f"no: {failure.detail or failure}."),))
    reached = Step(StepName.REACHED, True, f"{host}.")
    if failure.failure is Failure.TLS:
        return Report(False, (reached, Step(StepName.TLS, False, f"no: {failure}.")))
    status = Step(StepName.STATUS, False, f"none: {failure}.")
    return Report(False, (reached, _tls(connection, request.url), status))


def _tls(connection: ApiConnection, url: str) -> Step:
    if urlsplit(url).scheme != "https":
        return Step(StepName.TLS, None, "none, plain HTTP.")
    if connection.options.verify:
        return Step(StepName.TLS, True, "verified.")
    return Step(StepName.TLS, None, "not verified (verify is off).")
