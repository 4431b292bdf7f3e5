"""What a driver tells of each request that it sends."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response, Transmission
from airflow_provider_apitask.drivers.failures import Progress

__all__ = ["Observe", "Watched", "body_length"]

#: Is told of each request that was sent, also of logins and redirects.
Observe: TypeAlias = Callable[[Transmission], None]


class Watched:
    """One request on its way: a context manager that tells of it afterwards, whatever came.

    :param observe: receives it; None to tell of nothing.
    :param resent: whether the driver sends the request for the second time.
    """

    __slots__ = (
        "_observe",
        "_request",
        "_resent",
        "_started",
        "bytes_received",
        "inbound",
        "progress",
        "size",
    )

    def __init__(self, request: Request, observe: Observe | None, *, resent: bool = False) -> None:
        self._request = request
        self._observe = observe
        self._resent = resent
        self._started = 0.0
        #: Bytes of its body.
        self.size = 0
        #: Whether it has left; None before there is a connection to be made.
        self.progress: Progress | None = None
        self.bytes_received = 0
        self.inbound: Response | NetworkFailure | None = None

    def __enter__(self) -> Self:
        self._started = time.time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observe is None:
            return
        sent = self.progress is not None and self.progress.sent
        self._observe(
            Transmission(
                self._request,
                self.inbound,
                self._started,
                time.time(),
                self.size if sent else 0,
                self.bytes_received,
                self._resent,
            )
        )


def body_length(request: Request) -> int:
    """Length of a body that is plain bytes, else 0."""
    return len(request.body) if isinstance(request.body, bytes) else 0
