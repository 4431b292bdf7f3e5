"""A small asynchronous job API with state: submit, status, result, cancel.

==================================  =================================================================
``POST /jobs``                      202 and where to look: Location, Operation-Location, an id in the body
``GET /jobs/{id}``                  ``{"id", "status", "progress", "message"}``
``GET /jobs/{id}/result``           the result; 404 until the last status is reached
``DELETE /jobs/{id}``               cancel; 409 once the job has ended
==================================  =================================================================

What a test scripts with ``on`` and ``once`` goes before this behaviour, so faults combine with it::

    with JobServer(["queued", "running", "succeeded"]) as jobs:
        jobs.once("POST", "/jobs", jobs.lose)  # the job is created, its answer is lost
        jobs.once("GET", "/jobs/job-1", Answer(503))
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import quote, unquote

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

__all__ = ["Job", "JobServer", "Submit"]

UrlForm: TypeAlias = Literal["absolute", "path", "relative"]
"""``http://host/jobs/1``, ``/jobs/1`` or ``jobs/1`` (which resolves against the URL of the submit)."""


@dataclass(frozen=True)
class Submit:
    """A submit that was processed, whether or not its answer arrived."""

    job_id: str
    key: str | None
    """The Idempotency-Key sent."""
    body: bytes
    replayed: bool
    """The key was known, so no job was created."""


@dataclass
class Job:
    """A job as the server sees it."""

    id: str
    body: bytes
    since: float = field(default_factory=time.monotonic)
    polls: int = 0
    cancelled: bool = False


class JobServer(ScriptedServer):
    """See the module's head.

    :param statuses: what a job goes through; the last one is where it ends. One step per status request.
    :param seconds_per_status: when given, one step per so many seconds instead.
    :param location: form of the Location header, None for no such header.
    :param operation_location: form of the Operation-Location header; with it, Location is the *result* URL.
    :param body_id: put the id in the submit's answer; without it, that answer has no body.
    :param retry_after: Retry-After (as sent) on the submit and on every status that is not the last.
    :param id_format: how an id is made from the job's number; it may need percent-encoding.
    :param result: the JSON the result request answers.
    """

    def __init__(
        self,
        statuses: Sequence[str] = ("queued", "running", "succeeded"),
        *,
        seconds_per_status: float | None = None,
        location: UrlForm | None = "path",
        operation_location: UrlForm | None = None,
        body_id: bool = True,
        retry_after: str | None = None,
        id_format: str = "job-{}",
        result: Any = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(ssl_context=ssl_context)
        self.statuses = tuple(statuses)
        self.seconds_per_status = seconds_per_status
        self.location = location
        self.operation_location = operation_location
        self.body_id = body_id
        self.retry_after = retry_after
        self.id_format = id_format
        self.result = {"rows": 3} if result is None else result
        self.jobs: dict[str, Job] = {}
        self.submits: list[Submit] = []
        self._keys: dict[str, Job] = {}
        self._jobs_lock = threading.Lock()

    def unscripted(self, request: Recorded) -> Answer:
        """Process a request that no script took."""
        with self._jobs_lock:
            match request.method, [unquote(part) for part in request.path.split("/")[1:]]:
                case "POST", ["jobs"]:
                    return self._submit(request)
                case _, ["jobs", job_id, *_] if job_id not in self.jobs:
                    return Answer(404, {"detail": f"no job {job_id}"})
                case "GET", ["jobs", job_id]:
                    return self._status(self.jobs[job_id])
                case "GET", ["jobs", job_id, "result"]:
                    return self._result(self.jobs[job_id])
                case "DELETE", ["jobs", job_id]:
                    return self._cancel(self.jobs[job_id])
        return super().unscripted(request)

    def lose(self, request: Recorded) -> Answer:
        """Process a request and close the connection instead of answering: to be scripted."""
        return replace(self.unscripted(request), drop="before")

    def _submit(self, request: Recorded) -> Answer:
        key = request.header("Idempotency-Key")
        known = self._keys.get(key) if key is not None else None
        if known is not None and known.body != request.body:
            return Answer(422, {"detail": "this Idempotency-Key was used with another body"})
        job = known or Job(self.id_format.format(len(self.jobs) + 1), request.body)
        self.jobs[job.id] = job
        if key is not None:
            self._keys[key] = job
        self.submits.append(Submit(job.id, key, request.body, replayed=known is not None))
        path = f"jobs/{quote(job.id, safe='')}"
        headers = self._wait_headers()
        if self.operation_location is not None:
            headers.append(("Operation-Location", self._refer(path, self.operation_location)))
            path += "/result"
        if self.location is not None:
            headers.append(("Location", self._refer(path, self.location)))
        return Answer(202, {"id": job.id}, headers=headers) if self.body_id else Answer(202, headers=headers)

    def _status(self, job: Job) -> Answer:
        job.polls += 1
        status, step, last = self._state(job), self._step(job), len(self.statuses) - 1
        progress = 100 * step // last if last else 100
        message = f"step {step + 1} of {last + 1}"
        body = {"id": job.id, "status": status, "progress": progress, "message": message}
        return Answer(json=body, headers=[] if self._ended(job) else self._wait_headers())

    def _result(self, job: Job) -> Answer:
        if job.cancelled or not self._ended(job):
            return Answer(404, {"detail": f"job {job.id} is {self._state(job)}: there is no result"})
        return Answer(json=self.result)

    def _cancel(self, job: Job) -> Answer:
        if self._ended(job):
            return Answer(409, {"detail": f"job {job.id} is {self._state(job)}"})
        job.cancelled = True
        return Answer(json={"id": job.id, "status": "cancelled"})

    def _step(self, job: Job) -> int:
        if self.seconds_per_status is None:
            step = max(0, job.polls - 1)
        else:
            step = int((time.monotonic() - job.since) / self.seconds_per_status)
        return min(step, len(self.statuses) - 1)

    def _state(self, job: Job) -> str:
        return "cancelled" if job.cancelled else self.statuses[self._step(job)]

    def _ended(self, job: Job) -> bool:
        return job.cancelled or self._step(job) == len(self.statuses) - 1

    def _wait_headers(self) -> list[tuple[str, str]]:
        return [] if self.retry_after is None else [("Retry-After", self.retry_after)]

    def _refer(self, path: str, form: UrlForm) -> str:
        return {"absolute": f"{self.url}/{path}", "path": f"/{path}", "relative": path}[form]
