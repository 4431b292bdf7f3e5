"""A response of any bytes, received by both drivers: what each makes of it, and of the request after it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from airflow_provider_apitask.core.messages import NetworkFailure, Purpose, Request, Response, Transmission
from airflow_provider_apitask.core.operation import Inbound
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from tests.drivers.contract import make_api
from tests.support.raw_server import RawServer

__all__ = [
    "EXAMPLES",
    "NEXT",
    "Received",
    "Send",
    "both",
    "receive",
    "request",
    "send_blocking",
    "send_on_loop",
]

#: How many random cases of each attack; ``tox run -e fuzz`` asks for more, see ``tests/core/test_fuzz.py``.
EXAMPLES = int(os.environ.get("APITASK_FUZZ_EXAMPLES", "100"))
#: What the server says to every request after the first.
NEXT = (200, b"next")

Send: TypeAlias = Callable[..., list[Inbound]]


def request(url: str, method: str = "GET", **kwargs: Any) -> Request:
    return Request(Purpose.POLL, method, f"{url}/", **{"timeout": (5.0, 10.0), **kwargs})


def send_blocking(requests: Sequence[Request], observe: Any = None) -> list[Inbound]:
    with BlockingTransport(make_api(requests[0].url)) as transport:
        return [transport.send(one, observe=observe) for one in requests]


def send_on_loop(requests: Sequence[Request], observe: Any = None) -> list[Inbound]:
    async def main() -> list[Inbound]:
        async with EventLoopTransport(make_api(requests[0].url)) as transport:
            return [await transport.send(one, observe=observe) for one in requests]

    return asyncio.run(main())


both = pytest.mark.parametrize("send", [send_blocking, send_on_loop], ids=["worker", "triggerer"])


@dataclass
class Received:
    """What a driver made of the first response and of the second, and how often it sent the first request."""

    first: Any
    second: Any
    sent: int
    observed: list[Transmission]

    def comparable(self) -> tuple[Any, ...]:
        return self.first, self.second, self.sent


def _verdict(came: Inbound) -> Any:
    if isinstance(came, Response):
        return came.status, came.body
    assert isinstance(came, NetworkFailure), came
    assert came.possibly_received
    return came.failure.name


def receive(send: Send, said: bytes, method: str = "GET", *, hold: bool = False, **kwargs: Any) -> Received:
    """Send two requests; the server says ``said`` to the first one and ``next`` to all others.

    :param hold: whether the server leaves the connection open after the first response.
    """
    firsts = 0

    def conversation(server: RawServer, connection: socket.socket) -> None:
        nonlocal firsts
        while asked := server.read_request(connection):
            if b"GET /second" not in asked:
                firsts += 1
                connection.sendall(said)
                if not hold:
                    return
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")

    observed: list[Transmission] = []
    with RawServer(conversation) as server:
        asked = [request(server.url, method, **kwargs), request(f"{server.url}/second")]
        first, second = send(asked, observe=observed.append)
    return Received(_verdict(first), _verdict(second), firsts, observed)
