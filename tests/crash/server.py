"""The job server of the crash tests: it knows which task sent what, and says so before it answers.

==================================  =================================================================
``GET /token/{name}``               a CSRF token: the request that goes before a submit
``POST /jobs``                      a job; its body has ``name`` (of the task) and ``seconds`` (of work),
                                    less than 0 for one that goes on until ``release``
``GET /jobs``                       all jobs, for who has lost track of one
``GET /jobs/{id}``                  the status, which is the result too
``DELETE /jobs/{id}``               cancel
==================================  =================================================================
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias
from urllib.parse import unquote

from tests.support import Answer, Recorded
from tests.support.job_server import Job, JobServer

__all__ = ["CrashServer", "Hook", "Moment"]


class Moment(Enum):
    """Where a task stands when one of its requests has arrived."""

    TOKEN = "before the submit"
    ARRIVED = "submit arrived, not processed"
    PROCESSED = "submit processed, not answered"
    POLL = "status request"


Hook: TypeAlias = Callable[[Moment, str, Recorded], Answer | None]
"""Called with the name of the task, before the answer is sent; an Answer goes instead of the server's own."""


class CrashServer(JobServer):
    """See the module's head. ``on_moment`` may take its time: only that request waits."""

    def __init__(self) -> None:
        super().__init__(("running", "succeeded"))
        self.on_moment: Hook = lambda _moment, _name, _request: None
        self.cancels: Counter[str] = Counter()
        """DELETE requests by the id of the job."""
        self.failing: set[str] = set()
        """Names of tasks whose first job fails."""
        self._released: set[str] = set()
        self._changed = threading.Condition()

    def unscripted(self, request: Recorded) -> Answer:
        """Process a request, and let ``on_moment`` know before and after."""
        parts = [unquote(part) for part in request.path.split("/")[1:]]
        match request.method, parts:
            case "GET", ["token", *name]:
                answer = Answer(
                    json={}, headers=[("X-CSRF-Token", "token"), ("Set-Cookie", "csrf=1; Path=/")]
                )
                return self.on_moment(Moment.TOKEN, "/".join(name), request) or answer
            case "POST", ["jobs"]:
                name = request.json()["name"]
                refused = self.on_moment(Moment.ARRIVED, name, request)
                if refused is not None:
                    return refused
                answer = super().unscripted(request)
                return self.on_moment(Moment.PROCESSED, name, request) or answer
            case "GET", ["jobs"]:
                return Answer(json={"jobs": self.listing()})
            case "GET", ["jobs", job_id] if job_id in self.jobs:
                instead = self.on_moment(Moment.POLL, name_of(self.jobs[job_id]), request)
                return instead or super().unscripted(request)
            case "DELETE", ["jobs", job_id]:
                answer = super().unscripted(request)
                with self._changed:
                    self.cancels[job_id] += 1
                    self._changed.notify_all()
                return answer
        return super().unscripted(request)

    def release(self, *run_ids: str) -> None:
        """Let the jobs of runs succeed that only wait for this."""
        with self._jobs_lock:
            self._released.update(run_ids)

    def listing(self) -> list[dict[str, Any]]:
        """All jobs: ``id``, ``name``, ``key``, ``status``."""
        with self._jobs_lock:
            keys = {job.id: key for key, job in self._keys.items()}
            jobs = list(self.jobs.values())
            return [
                {"id": job.id, "name": name_of(job), "key": keys.get(job.id), "status": self._state(job)}
                for job in jobs
            ]

    def jobs_of(self, name: str) -> list[Job]:
        """The jobs of a task, oldest first."""
        return [job for job in list(self.jobs.values()) if name_of(job) == name]

    def state_of(self, job: Job) -> str:
        """What a status request would answer now."""
        with self._jobs_lock:
            return self._state(job)

    def ended_at(self, job: Job) -> float:
        """When the job ends or has ended, by ``time.monotonic()``."""
        return job.since + _work(job)

    def wait_for_cancels(self, job_id: str, count: int, timeout: float) -> bool:
        """Wait until a job was cancelled ``count`` times; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.cancels[job_id] >= count, timeout)

    def _step(self, job: Job) -> int:
        if _work(job) < 0:
            return int(name_of(job).split("/")[1] in self._released)
        return int(time.monotonic() - job.since >= _work(job))

    def _state(self, job: Job) -> str:
        state = super()._state(job)
        return "failed" if state == "succeeded" and self._fails(job) else state

    def _fails(self, job: Job) -> bool:
        name = name_of(job)
        return name in self.failing and self.jobs_of(name)[0] is job


def name_of(job: Job) -> str:
    """The name of the task that a job was submitted by."""
    return str(json.loads(job.body)["name"])


def _work(job: Job) -> float:
    return float(json.loads(job.body)["seconds"])
