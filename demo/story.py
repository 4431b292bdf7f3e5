"""What happened to the example DAG's run: told while it goes, and afterwards as a timeline.

Nothing here is estimated. Airflow's REST API, the XCom of the task, and pygeoapi with the requests it
received are the sources; each says when by the clock of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.airflow_api import TaskChange
from demo.airflow_service import Airflow
from demo.processes import DemoError, wait_until
from demo.pygeoapi_service import PygeoapiService

__all__ = ["DAG_ID", "JOB_TASK", "RESULT_TASK", "Moment", "Story"]

DAG_ID = "example_ogc_process"
JOB_TASK = "run_process"
RESULT_TASK = "use_result"
HANDLE_KEY = "api_job"


@dataclass(frozen=True)
class Moment:
    """Something that happened, and who says so."""

    when: datetime
    what: str
    source: str


class Story:
    """One run of the example DAG.

    :param say: receives each line of the account while the run goes
    :param now: receives the state of affairs at every look at the run
    """

    def __init__(
        self,
        airflow: Airflow,
        pygeoapi: PygeoapiService,
        say: Callable[[str], None],
        now: Callable[[str], None],
    ) -> None:
        self._airflow = airflow
        self._pygeoapi = pygeoapi
        self._say = say
        self._now = now
        self._job_id: str | None = None
        self.run_id = ""

    def run(self, conf: Mapping[str, Any], timeout: float) -> bool:
        """Trigger the DAG and follow the run, at most ``timeout`` seconds; return whether it succeeded."""
        api = self._airflow.api
        self.run_id = api.trigger(DAG_ID, conf)
        self._say(f"triggered {DAG_ID}, run {self.run_id}")
        state = ""
        for snapshot in self._airflow.follow(DAG_ID, self.run_id, timeout):
            for change in snapshot.changes:
                self._tell(change)
            self._now(f"run {snapshot.run_state}{self._progress()}")
            state = snapshot.run_state
        return state == "success"

    def job(self) -> dict[str, Any] | None:
        """Return what pygeoapi says of the run's job, or None if none was submitted."""
        if self._job_id is None:
            handle = self._airflow.api.xcom(DAG_ID, self.run_id, JOB_TASK, HANDLE_KEY)
            if handle:
                self._job_id = handle["status_url"].rstrip("/").rsplit("/", 1)[1]
        return None if self._job_id is None else self._pygeoapi.job(self._job_id)

    def result(self) -> Any:
        """Return what the task after the job made of the job's result."""
        return self._airflow.api.xcom(DAG_ID, self.run_id, RESULT_TASK)

    def failure(self) -> str:
        """Say why the run failed: the remote job's message if the job did, else the task's last error."""
        job = self.job()
        if job is not None and job["status"] == "failed":
            return f"The remote job failed. pygeoapi says: {job['message']}"
        for task in (JOB_TASK, RESULT_TASK):
            for line in reversed(self._airflow.api.task_log(DAG_ID, self.run_id, task)):
                if line.get("level") in ("error", "critical"):
                    return f"Task {task} failed: {_error(line)}"
        return "The run failed without an error in the logs of its tasks."

    def polls(self) -> list[dict[str, Any]]:
        """Return the status requests which pygeoapi received for the job."""
        path = f"/jobs/{self._job_id}"
        return [entry for entry in self._pygeoapi.requests() if entry["path"] == path]

    def timeline(self) -> list[Moment]:
        """Return what happened, oldest first."""
        return sorted(
            [*self._told_by_airflow(), *self._told_by_the_handle(), *self._told_by_pygeoapi()],
            key=lambda moment: moment.when,
        )

    def figures(self) -> list[str]:
        """Return how long the job and the run took, and how often the job's status was asked for."""
        run = self._airflow.api.run(DAG_ID, self.run_id)
        figures = [f"run {_between(run['queued_at'], run['end_date'])}"]
        job = self.job()
        if job is not None:
            took = _between(job["created"], job["finished"])
            figures += [f"job {took} on the server", f"polls: {len(self.polls())}"]
        return figures

    def _tell(self, change: TaskChange) -> None:
        line = f"task {change.task_id}: {change.state}"
        if change.state == "running" and change.instance["pid"]:
            line += f" (worker process {change.instance['pid']})"
        if change.state == "deferred":
            worker = "gone" if self._worker_gone(change) else "STILL THERE"
            line += f" (the triggerer waits; worker process {worker})"
        self._say(line)

    def _worker_gone(self, change: TaskChange) -> bool:
        # Airflow says "deferred" a moment before the process that deferred has ended.
        def gone() -> bool:
            return not self._airflow.task_processes(change.instance["id"], change.instance["pid"])

        with suppress(DemoError):
            wait_until(gone, 3, "the worker process is there")
        return gone()

    def _progress(self) -> str:
        try:
            job = self.job()
        except DemoError:  # Only the line of progress is at stake.
            return ""
        return "" if job is None else f" | job {job['status']}, {job['progress']} %: {job['message']}"

    def _told_by_airflow(self) -> Iterator[Moment]:
        run = self._airflow.api.run(DAG_ID, self.run_id)
        yield Moment(_time(run["queued_at"]), "run triggered", "Airflow, run")
        if run["end_date"]:
            yield Moment(_time(run["end_date"]), f"run ended: {run['state']}", "Airflow, run")
        words = {"running": "running on a worker", "deferred": "deferred, no worker is held"}
        seen: set[tuple[str, str]] = set()
        for event in self._airflow.api.event_log(DAG_ID, self.run_id):
            key = (event["task_id"], event["event"])
            if event["task_id"] is None:
                continue
            word = "resumed on a worker" if key in seen and key[1] == "running" else words.get(key[1], key[1])
            seen.add(key)
            yield Moment(_time(event["when"]), f"{event['task_id']}: {word}", "Airflow, event log")

    def _told_by_the_handle(self) -> Iterator[Moment]:
        handle = self._airflow.api.xcom(DAG_ID, self.run_id, JOB_TASK, HANDLE_KEY)
        if handle and handle.get("submitted_at"):
            yield Moment(_time(handle["submitted_at"]), "job submitted", f"XCom {HANDLE_KEY}")

    def _told_by_pygeoapi(self) -> Iterator[Moment]:
        job = self.job()
        if job is None:
            return
        yield Moment(_time(job["created"]), "job accepted", "pygeoapi, job")
        if job["finished"]:
            yield Moment(_time(job["finished"]), f"job ended: {job['status']}", "pygeoapi, job")
        polls = self.polls()
        for number, entry in enumerate(polls, start=1):
            if number in (1, len(polls)):
                yield Moment(_time(entry["time"]), f"poll {number} of {len(polls)}", "pygeoapi, request")
        for entry in self._pygeoapi.requests():
            if entry["path"] == f"/jobs/{self._job_id}/results":
                yield Moment(_time(entry["time"]), f"result fetched: {entry['status']}", "pygeoapi, request")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _between(start: str, end: str | None) -> str:
    return "not ended" if end is None else f"{(_time(end) - _time(start)).total_seconds():.1f} s"


def _error(line: Mapping[str, Any]) -> str:
    for cause in line.get("error_detail") or ():
        return f"{cause['exc_type']}: {cause['exc_value']}"
    return str(line["event"])
