"""Informatica Intelligent Cloud Services: login session, start and stop of a job, its callback.

==================================  =================================================================
``POST /ma/api/v2/user/login``      a session and ``serverUrl``, which is of another origin
``POST /saas/api/v2/job``           start by taskId, taskFederatedId or taskName; a job object
``POST /saas/api/v2/job/stop``      stop by taskId or taskName; a success object
``GET /saas/api/v2/activity/…``     ``activityLog``: runs that have ended, state 1 succeeded, 3 failed
==================================  =================================================================

The activity log is described on another page of the same API; the job resource's own has the callback alone.
Each refusal is an error object. How a run ends is a property of its task.

When a run has ended and its start named a ``callbackURL``, its outcome is posted there, as JSON. What is not
answered with 200 within 30 seconds counts as failed; there are three attempts in all. It may be posted again
though it was answered well, as after a failure of the service itself.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

__all__ = [
    "BROKEN",
    "ENDLESS",
    "LEDGER",
    "LOGIN",
    "NIGHTLY",
    "PASSWORD",
    "TOLD_TWICE",
    "Delivery",
    "InformaticaServer",
    "Run",
    "Task",
]

LOGIN: Final = "airflow@example.com"
PASSWORD: Final = "s3cret of the org"
ATTEMPTS: Final = 3
_TYPES: Final = frozenset({"DMASK", "DQA", "DRS", "DSS", "MTT", "PCS", "WORKFLOW"})


@dataclass(frozen=True)
class Task:
    """A task that can be run.

    :param seconds: how long a run works; None for what the server says.
    :param told_twice: whether the answer to its callback is lost, so that it is sent again.
    """

    id: str
    federated_id: str
    name: str
    type: str
    folder: str = "Default"
    fails: bool = False
    seconds: float | None = None
    told_twice: bool = False


NIGHTLY: Final = Task("0034J90000000M", "7LoxXzAfWlZjfSTXpnpJDa", "Nightly load", "WORKFLOW")
BROKEN: Final = Task("0034J90000000B", "0dqvYsI6eZPkcAUuWNbVuX", "Broken load", "MTT", fails=True)
ENDLESS: Final = Task("0034J90000000E", "5nWUJ0yjwdTfPtSKxIsMJv", "Endless load", "MTT", seconds=3600)
TOLD_TWICE: Final = Task("0034J90000000T", "4fTnQpQ3sPdhLKFG9eyYzS", "Twice told", "MTT", told_twice=True)
#: Not in the Default folder, so that its ``taskId`` is of no use.
LEDGER: Final = Task("0034J90000000L", "2vFPxD3Jzkxf9lqlWwKTpk", "Ledger", "MTT", folder="Finance")
_TASKS: Final = (NIGHTLY, BROKEN, ENDLESS, TOLD_TWICE, LEDGER)


@dataclass
class Run:
    """A run of a task."""

    id: int
    task: Task
    seconds: float
    callback_url: str | None
    since: float = field(default_factory=time.monotonic)
    stopped: threading.Event = field(default_factory=threading.Event)
    ended_at: str | None = None

    @property
    def failed(self) -> bool:
        return self.task.fails or self.stopped.is_set()

    @property
    def reason(self) -> str:
        if self.stopped.is_set():
            return "The run was stopped by the user."
        return "TM_6292 Session [s_broken]: table ORDERS does not exist." if self.failed else ""


@dataclass(frozen=True)
class Delivery:
    """An attempt to post an outcome to a callback URL."""

    run_id: int
    body: dict[str, Any]
    status: int | None
    """None where no answer came in time."""
    seconds: float


class InformaticaServer(ScriptedServer):
    """See the module's head; faults that a test scripts with ``once`` and ``on`` go before its behaviour.

    :param seconds: how long a run works.
    :param patience: seconds within which a callback has to be answered.
    :param pause: seconds between two attempts to call back.
    """

    def __init__(self, *, seconds: float = 0.2, patience: float = 30.0, pause: float = 0.2) -> None:
        super().__init__()
        self.seconds = seconds
        self.patience = patience
        self.pause = pause
        self.runs: list[Run] = []
        """All that were started, in order."""
        self.deliveries: list[Delivery] = []
        """All attempts to call back, in order."""
        self.logins = 0
        self._sessions: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @property
    def api_url(self) -> str:
        """The ``serverUrl`` that a login answers with."""
        return self.url.replace("127.0.0.1", "localhost") + "/saas"

    def stop(self) -> None:
        """Stop, and end what works or calls back."""
        super().stop()
        for thread in self._threads:
            thread.join(self.patience)

    def expire_sessions(self) -> None:
        """Forget all sessions, as after 30 minutes without a request."""
        with self._lock:
            self._sessions.clear()

    def lose(self, request: Recorded) -> Answer:
        """Carry the request out and lose its answer; for ``once``."""
        self.unscripted(request)
        return Answer(drop="before")

    def unscripted(self, request: Recorded) -> Answer:
        """What the service does."""
        if (request.method, request.path) == ("POST", "/ma/api/v2/user/login"):
            return self._login(request)
        with self._lock:
            known = request.header("icSessionId") in self._sessions
        if not known:
            return _error(401, "AUTH_01", "The session is not valid. Log in again.")
        match request.method, request.path:
            case "POST", "/saas/api/v2/job":
                return self._start_run(request.json())
            case "POST", "/saas/api/v2/job/stop":
                return self._stop_run(request.json())
            case "GET", "/saas/api/v2/activity/activityLog":
                return self._activity_log(dict(request.query))
        return _error(404, "HTTP_404", f"There is no resource {request.path}.")

    def _login(self, request: Recorded) -> Answer:
        given = request.json()
        if (given.get("username"), given.get("password")) != (LOGIN, PASSWORD):
            return _error(401, "AUTH_02", "The user name or the password is not correct.")
        session = secrets.token_hex(16)
        with self._lock:
            self.logins += 1
            self._sessions.add(session)
        user = {"@type": "user", "name": LOGIN, "icSessionId": session, "serverUrl": self.api_url}
        return Answer(json=user)

    def _start_run(self, given: dict[str, Any]) -> Answer:
        found = _task(given, federated=True)
        if isinstance(found, Answer):
            return found
        with self._lock:
            seconds = self.seconds if found.seconds is None else found.seconds
            run = Run(len(self.runs) + 1, found, seconds, given.get("callbackURL"))
            self.runs.append(run)
            worker = threading.Thread(target=self._carry_out, args=(run,), daemon=True)
            self._threads.append(worker)
            worker.start()
        names = {"taskId": found.id, "taskName": found.name, "type": found.type}
        job = {"@type": "job", **names, "runId": run.id}
        if run.callback_url is not None:
            job["callbackURL"] = run.callback_url
        return Answer(json=job)

    def _stop_run(self, given: dict[str, Any]) -> Answer:
        found = _task(given, federated=False)
        if isinstance(found, Answer):
            return found
        with self._lock:
            running = [run for run in self.runs if run.task == found and run.ended_at is None]
        if not running:
            return _error(400, "UI_10008", f"The task {found.name} does not run.")
        for run in running:
            run.stopped.set()
        description = f"{found.name} is stopping."
        return Answer(json={"@type": "success", "statusCode": 200, "description": description})

    def _activity_log(self, query: dict[str, str]) -> Answer:
        with self._lock:
            runs = [run for run in self.runs if run.ended_at is not None]
        entries = [
            {
                "@type": "activityLogEntry",
                "objectId": run.task.id,
                "objectName": run.task.name,
                "runId": run.id,
                "endTime": run.ended_at,
                "state": 3 if run.failed else 1,
                "errorMsg": run.reason or None,
            }
            for run in runs
            if query.get("taskId") in (None, run.task.id) and query.get("runId") in (None, str(run.id))
        ]
        return Answer(json=entries)

    def _carry_out(self, run: Run) -> None:
        end = time.monotonic() + run.seconds
        while time.monotonic() < end and not run.stopped.is_set():
            if self.stopping.wait(0.02):
                return
        with self._lock:
            run.ended_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        if run.callback_url is not None:
            self._call_back(run)

    def _call_back(self, run: Run) -> None:
        body = {
            "@type": "callbackUrlResponse",
            "endTime": run.ended_at,
            "objectId": run.task.id,
            "objectName": run.task.name,
            "runId": run.id,
            "status": "FAILED" if run.failed else "COMPLETED",
        }
        for attempt in range(ATTEMPTS):
            begin = time.monotonic()
            status = _post(str(run.callback_url), body, self.patience)
            with self._lock:
                self.deliveries.append(Delivery(run.id, body, status, time.monotonic() - begin))
            heard = status == 200 and not (run.task.told_twice and attempt == 0)
            if heard or self.stopping.wait(self.pause):
                return


def _task(given: dict[str, Any], *, federated: bool) -> Task | Answer:
    """The task that a request names, or the error object."""
    # The page's table says type, its examples say taskType.
    kind = str(given.get("type", given.get("taskType", ""))).upper()
    if kind not in _TYPES:
        return _error(400, "UI_10001", "The type of the task is missing or not known.")
    names = ("taskId", "taskFederatedId", "taskName") if federated else ("taskId", "taskName")
    key = next((name for name in names if given.get(name)), None)
    if key is None:
        return _error(400, "UI_10002", f"One of {', '.join(names)} is needed.")
    attribute = {"taskId": "id", "taskFederatedId": "federated_id", "taskName": "name"}[key]
    for task in _TASKS:
        in_reach = federated is False or key == "taskFederatedId" or task.folder == "Default"
        if getattr(task, attribute) == given[key] and task.type == kind and in_reach:
            return task
    return _error(404, "UI_10003", f"There is no task of type {kind} with {key} {given[key]}.")


def _post(url: str, body: dict[str, Any], patience: float) -> int | None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=patience) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def _error(status: int, code: str, description: str) -> Answer:
    return Answer(status, {"@type": "error", "code": code, "description": description, "statusCode": status})
