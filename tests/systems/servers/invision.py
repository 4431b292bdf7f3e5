"""The data flow execution API of Invision.

=================================================  ==================================================
``POST …/dataflows/{id}/start``                    200, ``runId`` and ``status``; with ``?await=true``
                                                   not before the run has ended
``GET …/dataflows/{id}/runs/{runId}/status``       200, the same
=================================================  ==================================================

All stands below ``/invision/api/pub/v1``. The key is ``api_key`` in the query or the header ``x-api-key``. A
status is Pending, Running, Succeeded or Failed. Whatever is wrong (the key, the data flow, the run) is a
500: the page knows no other error, and nothing that stops a run.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

__all__ = ["API_KEY", "BROKEN", "ENDLESS", "SALES", "InvisionServer", "Run"]

API_KEY: Final = "dd63a1ad-60eb-4066-8d71-key of the flows"
SALES: Final = "2b081248-4963-43b3-ba06-5b7403d58b4d"
BROKEN: Final = "0c2b7c1e-4d7e-4b0f-9d3a-b20e2f0a7c11"
ENDLESS: Final = "7f1f2f0e-8e5e-4b57-8a52-3d0a5f6a9e22"
_FLOWS: Final = (SALES, BROKEN, ENDLESS)
_ROOT: Final = ["invision", "api", "pub", "v1", "dataflows"]


@dataclass
class Run:
    """A run of a data flow: a quarter of its time it is Pending.

    However late it is asked for, the first check sees it Pending and the second one Running.
    """

    flow: str
    seconds: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    since: float = field(default_factory=time.monotonic)
    checks: int = 0

    @property
    def status(self) -> str:
        worked = time.monotonic() - self.since
        if worked < self.seconds / 4 or self.checks == 1:
            return "Pending"
        if worked < self.seconds or self.checks == 2:
            return "Running"
        return "Failed" if self.flow == BROKEN else "Succeeded"

    def answer(self) -> dict[str, Any]:
        return {"runId": self.id, "status": self.status}


class InvisionServer(ScriptedServer):
    """See the module's head; faults that a test scripts with ``once`` and ``on`` go before its behaviour.

    :param seconds: how long a run works; one of the flow ``ENDLESS`` takes an hour.
    """

    def __init__(self, *, seconds: float = 0.2) -> None:
        super().__init__()
        self.seconds = seconds
        self.runs: list[Run] = []
        """All that were started, in order."""
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        """Where the API begins."""
        return f"{self.url}/invision"

    def status_path(self, run: Run) -> str:
        """The path at which a run's status is asked for."""
        return f"/invision/api/pub/v1/dataflows/{run.flow}/runs/{run.id}/status"

    def lose(self, request: Recorded) -> Answer:
        """Carry the request out and lose its answer; for ``once``."""
        self.unscripted(request)
        return Answer(drop="before")

    def unscripted(self, request: Recorded) -> Answer:
        """What the API does."""
        query = dict(request.query)
        if API_KEY not in (query.get("api_key"), request.header("x-api-key")):
            return _error("The API key is not valid.")
        parts = request.path.strip("/").split("/")
        if parts[: len(_ROOT)] != _ROOT:
            return _error(f"There is no {request.path}.")
        match request.method, parts[len(_ROOT) :]:
            case "POST", [flow, "start"] if flow in _FLOWS:
                return self._start_run(flow, wait=query.get("await", "false").lower() == "true")
            case "GET", [flow, "runs", run_id, "status"]:
                return self._status(flow, run_id)
        return _error("The data flow does not exist.")

    def _start_run(self, flow: str, *, wait: bool) -> Answer:
        run = Run(flow, 3600.0 if flow == ENDLESS else self.seconds)
        with self._lock:
            self.runs.append(run)
        if wait:
            self.stopping.wait(run.seconds + 0.01)
            run.checks = 3  # what was said to be over stays over
        return Answer(json=run.answer())

    def _status(self, flow: str, run_id: str) -> Answer:
        with self._lock:
            found = [run for run in self.runs if (run.flow, run.id) == (flow, run_id)]
            for run in found:
                run.checks += 1
        return Answer(json=found[0].answer()) if found else _error(f"There is no run {run_id}.")


def _error(message: str) -> Answer:
    return Answer(500, {"message": message})
