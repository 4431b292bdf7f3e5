"""What the demo and the end-to-end tests ask of Airflow's REST API (version 2)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

from demo.processes import DemoError, ServiceError, wait_until

__all__ = ["AirflowApi", "ApiError", "Snapshot", "TaskChange"]

REQUEST_TIMEOUT = 30  # seconds; on a busy machine with SQLite an answer may take long
RUN_FINISHED = frozenset({"success", "failed"})


class ApiError(DemoError):
    """Airflow answered with an error; ``status`` is the HTTP status."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"Airflow answered {method} {path} with {status}: {text[:500]}")
        self.status = status


@dataclass(frozen=True)
class TaskChange:
    """A task instance is in another state than at the last look."""

    task_id: str
    map_index: int
    state: str
    instance: Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A look at a run: its state and what has changed since the look before."""

    run_state: str
    changes: tuple[TaskChange, ...]

    @property
    def finished(self) -> bool:
        """Whether the run is over, for better or worse."""
        return self.run_state in RUN_FINISHED


class AirflowApi:
    """A client which logs in with name and password, and again whenever its token is refused."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._http = requests.Session()
        # A proxy named in the environment does not reach this machine's loopback address.
        self._http.trust_env = False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def heartbeats(self) -> dict[str, datetime]:
        """Return when each healthy component (scheduler, triggerer, dag-processor) last showed signs of life.

        Empty while the API server does not answer.
        """
        try:
            answer = self._http.get(f"{self.url}/api/v2/monitor/health", timeout=REQUEST_TIMEOUT)
        except (requests.ConnectionError, requests.Timeout):
            return {}
        found = {}
        for name, part in answer.json().items() if answer.ok else ():
            if part["status"] == "healthy" and (beat := part.get(f"latest_{name}_heartbeat")):
                found[name.replace("_", "-")] = datetime.fromisoformat(beat)
        return found

    def beating(self, job_type: str, since: datetime) -> list[dict[str, Any]]:
        """Return the jobs of a type (``TriggererJob``, ``SchedulerJob``) that have beaten after ``since``.

        Each with ``id``, ``start_date``, ``latest_heartbeat``; none while the API server does not answer.
        """
        try:
            answer = self.request("GET", "/jobs", params={"job_type": job_type, "order_by": "-id"})
        except DemoError:
            return []
        beats = [(job, datetime.fromisoformat(job["latest_heartbeat"])) for job in answer["jobs"]]
        return [job for job, beat in beats if beat > since and job["state"] == "running"]

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """Send a request to ``/api/v2`` + ``path`` and return the answer's JSON (None without a body).

        Raises ApiError for an answer of 400 or above, DemoError when there is no answer.
        """
        try:
            answer = self._send(method, path, **kwargs)
            # A server that was restarted with another secret answers 403 to a token it does not know.
            if answer.status_code == 401 or "Invalid JWT" in answer.text[:200]:
                self._log_in()
                answer = self._send(method, path, **kwargs)
        except requests.RequestException as error:
            raise DemoError(f"Airflow did not answer {method} {self.url}/api/v2{path}: {error}") from error
        if not answer.ok:
            raise ApiError(method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def wait_for_dag(self, dag_id: str, timeout: float) -> None:
        """Wait at most ``timeout`` seconds until the DAG is known; DemoError if a DAG file fails."""

        def known() -> bool:
            errors = self.request("GET", "/importErrors")["import_errors"]
            if errors:
                raise DemoError(f"DAG file {errors[0]['filename']} fails:\n{errors[0]['stack_trace']}")
            try:
                self.request("GET", f"/dags/{dag_id}")
            except ApiError as error:
                if error.status == 404:
                    return False
                raise
            return True

        wait_until(known, timeout, f"Airflow does not know the DAG {dag_id}")

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG's tasks."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run with parameters and return its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        answer: dict[str, Any] = self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return str(answer["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run's details: ``state``, ``queued_at``, ``start_date``, ``end_date`` and more."""
        answer: dict[str, Any] = self.request("GET", _run_path(dag_id, run_id))
        return answer

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run (as :meth:`task_instance`)."""
        answer = self.request("GET", f"{_run_path(dag_id, run_id)}/taskInstances", params={"limit": 100})
        found: list[dict[str, Any]] = answer["task_instances"]
        return found

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return a task instance: ``id``, ``state``, ``pid``, ``try_number``, ``trigger`` (if deferred)."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}"
        answer: dict[str, Any] = self.request("GET", path if map_index < 0 else f"{path}/{map_index}")
        return answer

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return an XCom value, or None if there is none."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{quote(key, safe='')}"
        try:
            return self.request("GET", path, params={"map_index": map_index})["value"]
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the extra links of a task instance by name; None for one that leads nowhere."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/links"
        answer = self.request("GET", path, params={"map_index": map_index})
        found: dict[str, str | None] = answer["extra_links"]
        return found

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> list[dict[str, Any]]:
        """Return the log of a try, worker and triggerer: ``event`` and mostly ``timestamp`` and ``level``."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        params = {"full_content": "true", "map_index": str(map_index)}
        answer = self.request("GET", path, params=params, headers={"Accept": "application/json"})
        return [line if isinstance(line, dict) else {"event": line} for line in answer["content"]]

    def event_log(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[dict[str, Any]]:
        """Return a run's events, oldest first: ``event`` (running, deferred, ...), ``when``, ``task_id``."""
        params = {"dag_id": dag_id, "run_id": run_id, "limit": "100", "order_by": "event_log_id"}
        if task_id is not None:
            params["task_id"] = task_id
        found: list[dict[str, Any]] = self.request("GET", "/eventLogs", params=params)["event_logs"]
        return found

    def watch(self, dag_id: str, run_id: str, timeout: float, interval: float = 0.5) -> Iterator[Snapshot]:
        """Look at a run every ``interval`` seconds until it is finished.

        Raises ServiceError after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        known: dict[tuple[str, int], str] = {}
        while True:
            # The run first: once it is finished its task instances do not change any more.
            state = self.run(dag_id, run_id)["state"]
            changes = []
            for instance in self.task_instances(dag_id, run_id):
                key = (instance["task_id"], instance["map_index"])
                now = instance["state"] or "none"
                if known.get(key, "none") != now:
                    known[key] = now
                    changes.append(TaskChange(*key, state=now, instance=instance))
            snapshot = Snapshot(state, tuple(changes))
            yield snapshot
            if snapshot.finished:
                return
            if time.monotonic() > deadline:
                states = ", ".join(f"{task} {now}" for (task, _), now in known.items()) or "no task has begun"
                raise ServiceError(
                    f"Run {run_id} of {dag_id} is still {state} after {timeout:g} s ({states})."
                )
            time.sleep(interval)

    def _send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        if "Authorization" not in self._http.headers:
            self._log_in()
        return self._http.request(method, f"{self.url}/api/v2{path}", timeout=REQUEST_TIMEOUT, **kwargs)

    def _log_in(self) -> None:
        answer = self._http.post(f"{self.url}/auth/token", json=self._login, timeout=REQUEST_TIMEOUT)
        if not answer.ok:
            raise ApiError("POST", "/auth/token", answer.status_code, answer.text)
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _run_path(dag_id: str, run_id: str) -> str:
    # Run ids contain ':' and '+'; an unescaped '+' would be read as a space.
    return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
