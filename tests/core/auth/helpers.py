"""A flow pumped by hand, as a driver would do it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from tests.core.helpers import BASE

Server = Callable[[Request], Response]


def a_request(method: str = "POST", path: str = "/jobs", **fields: Any) -> Request:
    headers = Headers(fields.pop("headers", {"X-Mine": "1"}))
    return Request(Purpose.SUBMIT, method, f"{BASE}{path}", headers, **{"body": b"{}", **fields})


def pump(flow: Generator[Any, Any, Any], server: Server) -> tuple[list[Any], Any]:
    """All steps of a flow, in their order, and what it returned; the connection cannot be looked up."""
    steps: list[Any] = []
    try:
        step = next(flow)
        while True:
            steps.append(step)
            step = flow.send(server(step) if isinstance(step, Request) else None)
    except StopIteration as stop:
        return steps, stop.value


def purposes(steps: list[Any]) -> list[str]:
    """Such as ``ENTER login LEAVE submit``, one word for each step."""
    return [str(step.purpose) if isinstance(step, Request) else step.name for step in steps]


def requests_in(steps: list[Any], purpose: Purpose | None = None) -> list[Request]:
    return [s for s in steps if isinstance(s, Request) and purpose in (None, s.purpose)]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
