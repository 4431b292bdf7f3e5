"""An external system as an API task of an SAP Datasphere task chain calls one: HTTPS, Basic, CSRF tokens.

==================================  =================================================================
``GET /api/token``                  a CSRF token, for ``X-CSRF-Token: Fetch``
``POST, PUT /api/loads``            synchronous: the outcome as HTTP code and in the body
``POST, PUT /api/jobs``             with ``Prefer: respond-async`` 202 and Location, else synchronous
``GET, DELETE /api/jobs/{id}``      the status; cancel (409 once the job has ended)
``POST, PUT /api/runs``             202 and an id; the status is at an endpoint that the caller knows
``GET /api/runs/{id}/status``       the status; such a run cannot be cancelled
==================================  =================================================================

Any of them takes ``{"seconds": 0, "fail": false, "code": 200}``: how long it works, whether it fails, and the
HTTP code of a synchronous answer. Numbers and booleans may be texts. Status words are those of the page:
RUNNING, COMPLETED, FAILED.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, Final, Literal

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    import ssl

__all__ = ["LOGIN", "PASSWORD", "SapServer", "Task"]

LOGIN: Final = "TASKCHAIN"
PASSWORD: Final = "Pässw0rd:of+the=chain"
_COOKIE: Final = "SAP_SESSIONID_DWC_100"
_UNSAFE: Final = frozenset({"POST", "PUT", "DELETE"})


@dataclass
class Task:
    """What the system works on."""

    id: str
    seconds: float
    fail: bool
    headers: dict[str, str]
    """Those of its submit, names in lower case."""
    since: float = field(default_factory=time.monotonic)
    cancelled: bool = False

    @property
    def status(self) -> str:
        if self.cancelled:
            return "CANCELLED"
        if time.monotonic() - self.since < self.seconds:
            return "RUNNING"
        return "FAILED" if self.fail else "COMPLETED"

    def answer(self) -> dict[str, Any]:
        told = {
            "RUNNING": "The load is running",
            "COMPLETED": "Loaded 42 records",
            "FAILED": "Source table SALES_ORDERS is locked",
            "CANCELLED": "Cancelled by the caller",
        }
        return {"id": self.id, "status": self.status, "message": told[self.status]}


class SapServer(ScriptedServer):
    """See the module's head; faults that a test scripts with ``once`` and ``on`` go before its behaviour.

    :param csrf: whether unsafe requests need a token, and where it is had: of any URL below ``/api``
        (``any``), or of ``/api/token`` alone.
    """

    def __init__(
        self, *, csrf: Literal["none", "any", "separate"] = "any", ssl_context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(ssl_context=ssl_context)
        self.csrf = csrf
        self.tasks: list[Task] = []
        """All that was ever started, synchronous ones too, in order."""
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()

    def rotate(self) -> None:
        """Forget all sessions, with their tokens."""
        with self._lock:
            self._sessions.clear()

    def unscripted(self, request: Recorded) -> Answer:
        """What the system does."""
        if not _authenticated(request):
            return Answer(401, _error("401", "Unauthorized"), headers={"WWW-Authenticate": "Basic"})
        if (request.header("X-CSRF-Token") or "").lower() == "fetch":
            return self._token(request)
        if request.method in _UNSAFE and self.csrf != "none" and not self._has_token(request):
            refusal = _error("403", "CSRF token validation failed")
            return Answer(403, refusal, headers={"X-CSRF-Token": "Required"})
        match request.method, request.path.strip("/").split("/"):
            case "POST" | "PUT", ["api", "loads"]:
                return self._work(request)
            case "POST" | "PUT", ["api", "jobs"]:
                return self._start_job(request)
            case "POST" | "PUT", ["api", "runs"]:
                run = self._new(request)
                return Answer(202, {"runId": run.id, "status": run.status})
            case "GET", ["api", "jobs", number] | ["api", "runs", number, "status"]:
                task = self._find(number)
                return _unknown(number) if task is None else Answer(json=task.answer())
            case "DELETE", ["api", "jobs", number]:
                return self._cancel(number)
        return Answer(404, _error("404", f"No resource {request.path}"))

    def lose(self, request: Recorded) -> Answer:
        """Carry the request out and lose its answer; for ``once``."""
        self.unscripted(request)
        return Answer(drop="before")

    def _token(self, request: Recorded) -> Answer:
        if self.csrf == "none" or (self.csrf == "separate" and request.path != "/api/token"):
            return Answer(404, _error("404", "No CSRF token here"))
        session, token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        with self._lock:
            self._sessions[session] = token
        cookie = f"{_COOKIE}={session}; path=/; secure; HttpOnly"
        # A token comes with 405 as well where the URL takes no GET.
        status = 200 if request.path == "/api/token" else 405
        return Answer(status, headers={"X-CSRF-Token": token, "Set-Cookie": cookie})

    def _has_token(self, request: Recorded) -> bool:
        cookies: SimpleCookie = SimpleCookie(request.header("Cookie") or "")
        session = cookies[_COOKIE].value if _COOKIE in cookies else ""
        with self._lock:
            known = self._sessions.get(session)
        return known is not None and known == request.header("X-CSRF-Token")

    def _work(self, request: Recorded) -> Answer:
        task = self._new(request)
        code = int(request.json().get("code", 200))
        self.stopping.wait(task.seconds)
        if code >= 400:
            return Answer(code, _error("LOAD/017", "Source table SALES_ORDERS is locked"))
        return Answer(code, task.answer())

    def _start_job(self, request: Recorded) -> Answer:
        wanted = ",".join(request.headers_all("Prefer")).replace(" ", "").lower().split(",")
        if "respond-async" not in wanted:
            return self._work(request)
        task = self._new(request)
        headers = {"Location": f"/api/jobs/{task.id}", "Preference-Applied": "respond-async"}
        return Answer(202, headers=headers)

    def _new(self, request: Recorded) -> Task:
        given = request.json()
        headers = {name.lower(): value for name, value in request.headers}
        fail = str(given.get("fail", False)).lower() == "true"
        with self._lock:
            number = str(len(self.tasks) + 1)
            task = Task(number, float(given.get("seconds", 0)), fail, headers)
            self.tasks.append(task)
        return task

    def _find(self, number: str) -> Task | None:
        with self._lock:
            return next((task for task in self.tasks if task.id == number), None)

    def _cancel(self, number: str) -> Answer:
        task = self._find(number)
        if task is None:
            return _unknown(number)
        if task.status != "RUNNING":
            return Answer(409, _error("409", f"Job {number} is {task.status}"))
        task.cancelled = True
        return Answer(204)


def _authenticated(request: Recorded) -> bool:
    pair = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    return request.header("Authorization") == f"Basic {pair}"


def _unknown(number: str) -> Answer:
    return Answer(404, _error("404", f"No job {number}"))


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
