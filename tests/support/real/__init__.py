"""Servers on localhost that nobody here wrote: what a client gets wrong only shows against a real peer.

=====================  ============================================================================
``wsgi``               waitress in threads, with a log of what arrived; TLS where asked for
``oauth2_server``      Authlib's authorization server and a job API behind its bearer tokens
``csrf_server``        Django's CSRF protection in front of a job API, in a process of its own
``httpbin_server``     httpbin: digest, basic and bearer authentication, cookies, redirects
``tls``                a CA by trustme, good and bad certificates, a front that ends TLS
=====================  ============================================================================

``Jobs`` is the job API behind the two servers that have one; authentication is all they differ in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Jobs", "Reply"]

Reply: TypeAlias = tuple[int, Mapping[str, Any]]
"""Status code and JSON body."""


@dataclass
class _Job:
    since: float = field(default_factory=time.monotonic)
    polls: int = 0
    cancelled: bool = False


class Jobs:
    """Jobs that run for a number of polls or seconds, then succeed; safe in threads.

    :param polls: how many status requests are answered ``running``.
    :param seconds: when given, the time a job runs instead.
    """

    def __init__(self, *, polls: int = 2, seconds: float | None = None) -> None:
        self.polls = polls
        self.seconds = seconds
        self._jobs: dict[int, _Job] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def submit(self) -> int:
        """Start a job; its number, from 1."""
        with self._lock:
            number = len(self._jobs) + 1
            self._jobs[number] = _Job()
            return number

    def status(self, number: int) -> Reply:
        """Answer a poll: running, succeeded or cancelled; 404 for an unknown job."""
        with self._lock:
            if (job := self._jobs.get(number)) is None:
                return _unknown(number)
            job.polls += 1
            return 200, {"id": number, "status": self._state(job)}

    def result(self, number: int) -> Reply:
        """Answer the result of a job that succeeded, else 404."""
        with self._lock:
            if (job := self._jobs.get(number)) is None:
                return _unknown(number)
            if (state := self._state(job)) != "succeeded":
                return 404, {"detail": f"job {number} is {state}: there is no result"}
            return 200, {"id": number, "rows": 3}

    def cancel(self, number: int) -> Reply:
        """Cancel a job that runs, else 409; 404 for an unknown job."""
        with self._lock:
            if (job := self._jobs.get(number)) is None:
                return _unknown(number)
            if (state := self._state(job)) != "running":
                return 409, {"detail": f"job {number} is {state}"}
            job.cancelled = True
            return 200, {"id": number, "status": "cancelled"}

    def cancelled(self, number: int) -> bool:
        """Whether a cancel was accepted, as the server sees it."""
        with self._lock:
            return self._jobs[number].cancelled

    def _state(self, job: _Job) -> str:
        if job.cancelled:
            return "cancelled"
        if self.seconds is not None:
            return "running" if time.monotonic() - job.since < self.seconds else "succeeded"
        return "running" if job.polls <= self.polls else "succeeded"


def _unknown(number: int) -> Reply:
    return 404, {"detail": f"no job {number}"}
