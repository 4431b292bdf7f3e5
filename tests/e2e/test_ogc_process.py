"""The example DAG on a real Airflow against a real asynchronous API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from demo.processes import is_running, wait_until
from tests.e2e.conftest import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DAG_ID = "example_ogc_process"
TASK_ID = "run_process"
SECONDS = 15
RUN_TIMEOUT = 120  # seconds


@dataclass(frozen=True)
class Run:
    """A run that has ended, and what was seen on the way."""

    run_id: str
    state: str
    job_id: str
    requests: list[dict[str, Any]]
    """What pygeoapi received."""
    first_pid: int
    """The worker process that submitted the job."""
    workers_when_running: set[int]
    workers_when_deferred: list[int]
    first_worker_alive_when_deferred: bool
    job_when_deferred: dict[str, Any]
    links_when_deferred: dict[str, str | None]


@pytest.fixture(scope="module")
def run(stack: Stack) -> Run:
    """A run whose process succeeds."""
    api, airflow = stack.airflow.api, stack.airflow
    earlier_requests = len(stack.pygeoapi.requests())
    run_id = stack.trigger(DAG_ID, {"seconds": SECONDS})
    workers_when_running: set[int] = set()
    task: dict[str, Any] = {}

    def deferred() -> bool:
        nonlocal task
        task = api.task_instance(DAG_ID, run_id, TASK_ID)
        assert task["state"] not in ("failed", "success"), stack.log(DAG_ID, run_id, TASK_ID)
        workers_when_running.update(airflow.task_processes(task["id"], task["pid"]))
        return bool(task["state"] == "deferred")

    wait_until(deferred, RUN_TIMEOUT, "the task was not deferred", interval=0.05)
    # Airflow notes the state a moment before the process that deferred has ended.
    wait_until(
        lambda: not airflow.task_processes(task["id"], task["pid"]), 60, "a worker works on the deferred task"
    )
    job_id = api.xcom(DAG_ID, run_id, TASK_ID, "api_job")["status_url"].rsplit("/", 1)[1]
    job_when_deferred = stack.pygeoapi.job(job_id)
    links_when_deferred = api.links(DAG_ID, run_id, TASK_ID)
    workers_when_deferred = airflow.task_processes(task["id"], task["pid"])
    alive = is_running(task["pid"])
    state = airflow.wait(DAG_ID, run_id, RUN_TIMEOUT)
    return Run(
        run_id=run_id,
        state=state,
        job_id=job_id,
        requests=stack.pygeoapi.requests()[earlier_requests:],
        first_pid=task["pid"],
        workers_when_running=workers_when_running,
        workers_when_deferred=workers_when_deferred,
        first_worker_alive_when_deferred=alive,
        job_when_deferred=job_when_deferred,
        links_when_deferred=links_when_deferred,
    )


def test_result_is_in_xcom_and_reaches_the_next_task(stack: Stack, run: Run) -> None:
    assert run.state == "success", stack.log(DAG_ID, run.run_id, TASK_ID)
    assert stack.airflow.api.xcom(DAG_ID, run.run_id, TASK_ID) == {
        "greeting": f"Hello after {SECONDS} s of work",
        "slept": SECONDS,
    }
    assert f"Hello after {SECONDS} s" in stack.airflow.api.xcom(DAG_ID, run.run_id, "use_result")


def test_no_worker_process_while_the_job_waits(run: Run) -> None:
    assert run.first_pid in run.workers_when_running, "a worker process would not have been noticed at all"
    assert run.job_when_deferred["status"] in ("accepted", "running")
    assert not run.first_worker_alive_when_deferred
    assert run.workers_when_deferred == []


def test_task_resumes_in_another_process(stack: Stack, run: Run) -> None:
    events = stack.airflow.api.event_log(DAG_ID, run.run_id, TASK_ID)
    assert [event["event"] for event in events] == ["running", "deferred", "running", "success"]
    task = stack.airflow.api.task_instance(DAG_ID, run.run_id, TASK_ID)
    assert task["pid"] != run.first_pid
    assert task["try_number"] == 1


def test_link_to_the_job_is_there_while_it_waits_and_afterwards(stack: Stack, run: Run) -> None:
    link = run.links_when_deferred["Remote job"]
    assert link is not None
    assert link.endswith(f"/jobs/{run.job_id}")
    page = requests.get(link, headers={"Accept": "text/html"}, timeout=10)
    assert page.status_code == 200
    assert run.job_id in page.text
    assert stack.airflow.api.links(DAG_ID, run.run_id, TASK_ID) == run.links_when_deferred
    # The next task is none that calls an API.
    assert stack.airflow.api.links(DAG_ID, run.run_id, "use_result") == {}


def test_progress_and_message_are_in_the_log(stack: Stack, run: Run) -> None:
    log = stack.log(DAG_ID, run.run_id, TASK_ID)
    lines = [line for line in log.splitlines() if f"Job {run.job_id}: status" in line]
    assert any(re.search(r"progress \d+: 'worked for", line) for line in lines)
    # Not one for each of the checks, of which every one saw another progress.
    assert len(lines) <= 3


def test_job_is_submitted_once_polled_and_fetched_once(stack: Stack, run: Run) -> None:
    job = f"/jobs/{run.job_id}"
    history = [(request["method"], request["path"], request["status"]) for request in run.requests]
    polls = history[1:-1]
    assert history[0] == ("POST", "/processes/slow/execution", 201)
    assert set(polls) == {("GET", job, 200)}
    assert history[-1] == ("GET", f"{job}/results", 200)
    # Every 2 seconds; the triggerer may have picked the trigger up late, but nothing may hammer the server.
    assert 2 <= len(polls) <= SECONDS / 2 + 3
    assert run.job_id in [known["jobID"] for known in stack.pygeoapi.jobs()]


def test_failed_job_fails_the_task_with_the_servers_message(stack: Stack) -> None:
    run_id = stack.trigger(DAG_ID, {"seconds": 1, "fail": True})
    state = stack.airflow.wait(DAG_ID, run_id, RUN_TIMEOUT)
    log = stack.log(DAG_ID, run_id, TASK_ID)
    assert state == "failed", log
    assert stack.airflow.api.task_instance(DAG_ID, run_id, TASK_ID)["state"] == "failed"
    assert "asked to fail after 1 s" in log
    assert stack.airflow.api.xcom(DAG_ID, run_id, TASK_ID) is None
