"""Whoever ends a task cancels its job, with one request; what only happens to Airflow cancels nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from demo.airflow_api import AirflowApi
from demo.processes import wait_until
from tests.crash.stack import CrashStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WHERE = ("worker", "deferred")
WAIT = 120  # seconds
CANCEL_WAIT = 60
#: Seconds in which a second request would come: Airflow asks a process to end, and again 5 s later.
QUIET = 7
SPARED = 3  # tasks that nobody ends


def _patch_task(state: str) -> Callable[[AirflowApi, str, str], None]:
    def act(api: AirflowApi, dag_id: str, run_id: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/call"
        api.request("PATCH", path, json={"new_state": state})

    return act


def _clear(api: AirflowApi, dag_id: str, run_id: str) -> None:
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["call"], "only_failed": False}
    api.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


def _fail_run(api: AirflowApi, dag_id: str, run_id: str) -> None:
    path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
    api.request("PATCH", path, json={"state": "failed"})


def _wait_for_it(_api: AirflowApi, _dag_id: str, _run_id: str) -> None:
    """The clock that ends the task runs already."""


@dataclass(frozen=True)
class Ending:
    """A way to end a task."""

    limit: str
    """Which of the DAGs."""
    act: Callable[[AirflowApi, str, str], None]
    state: str = "failed"


ENDINGS = {
    "mark_failed": Ending("none", _patch_task("failed")),
    "mark_success": Ending("none", _patch_task("success"), "success"),
    "clear": Ending("none", _clear),
    "fail_the_run": Ending("none", _fail_run),
    "execution_timeout": Ending("timeout", _wait_for_it),
    "deadline": Ending("deadline", _wait_for_it),
}


@dataclass(frozen=True)
class Cancelled:
    """What the server got of each task, by the task's name."""

    jobs: Mapping[str, list[str]]
    requests: Mapping[str, list[int]]
    """Cancel requests of each job, oldest job first."""
    states: Mapping[str, str | None]


def _name(ending: str, where: str) -> str:
    return f"cancel_{ENDINGS[ending].limit}_{where}/{ending}/-1"


def _wait_waiting(stack: CrashStack, names: list[str], count: int = 1) -> None:
    """Wait until each task waits for its (latest) job where it is to wait."""

    def waits(name: str) -> bool:
        jobs = stack.server.jobs_of(name)
        dag_id, run_id, _ = name.split("/")
        state = {task.name: task.state for task in stack.tasks(run_id)}.get(name)
        expected = "deferred" if dag_id.endswith("deferred") else "running"
        return state == expected and len(jobs) >= count and jobs[-1].polls >= 2

    wait_until(lambda: all(waits(name) for name in names), WAIT, f"not all of {names} wait for their jobs")


@pytest.fixture(scope="module")
def cancelled(stack: CrashStack) -> Cancelled:
    """Every ending of every kind of task, all at the same time."""
    api, server = stack.airflow.api, stack.server
    by_clock = [_name(ending, where) for ending in ("execution_timeout", "deadline") for where in WHERE]
    by_user = [
        _name(ending, where) for ending in ENDINGS for where in WHERE if _name(ending, where) not in by_clock
    ]
    for name in (*by_user, *by_clock):
        dag_id, run_id, _ = name.split("/")
        stack.trigger([dag_id], run_id, {})
    _wait_waiting(stack, by_user)
    for name in by_user:
        dag_id, run_id, _ = name.split("/")
        ENDINGS[run_id].act(api, dag_id, run_id)
    names = [*by_user, *by_clock]
    wait_until(lambda: all(server.jobs_of(name) for name in names), WAIT, f"not all of {names} submit a job")
    until = time.monotonic() + CANCEL_WAIT
    for name in names:
        server.wait_for_cancels(server.jobs_of(name)[0].id, 1, max(0.0, until - time.monotonic()))
    cleared = [_name("clear", where) for where in WHERE]
    _wait_waiting(stack, cleared, count=2)
    time.sleep(QUIET)
    states = {task.name: task.state for task in stack.tasks(*ENDINGS)}
    found = Cancelled(
        {name: [job.id for job in server.jobs_of(name)] for name in names},
        {name: [server.cancels[job.id] for job in server.jobs_of(name)] for name in names},
        states,
    )
    for name in cleared:
        _fail_run(api, *name.split("/")[:2])
        server.wait_for_cancels(server.jobs_of(name)[-1].id, 1, CANCEL_WAIT)
    for name, counts in found.requests.items():
        print(f"{name}: cancel requests by job {counts}, task {states.get(name)}")
    return found


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("ending", ENDINGS)
def test_one_cancel_request(cancelled: Cancelled, ending: str, where: str) -> None:
    name = _name(ending, where)
    # The task of the run that was cleared waits for a second job.
    expected = [1, 0] if ending == "clear" else [1]
    assert cancelled.requests[name] == expected
    if ending != "clear":
        assert cancelled.states[name] == ENDINGS[ending].state


def test_log_says_what_the_server_answered(stack: CrashStack, cancelled: Cancelled) -> None:
    tasks = [task for task in stack.tasks(*ENDINGS) if task.name in cancelled.requests]
    silent = [task.name for task in tasks if not _cancel_lines(stack.log(task))]
    said_elsewhere = {
        name
        for name in silent
        for job in cancelled.jobs[name]
        if _cancel_lines("\n".join(stack.triggerer_log(job)))
    }
    assert set(silent) == said_elsewhere
    assert all("_deferred/" in name for name in silent)


def _cancel_lines(log: str) -> list[str]:
    return [line for line in log.splitlines() if "cancel" in line.lower() and "200" in line]


def test_what_happens_to_a_triggerer_cancels_nothing(stack: CrashStack) -> None:
    """Killed, ended in order, stopped until another has taken over: the jobs go on, and can be cancelled."""
    airflow, server = stack.airflow, stack.server
    runs = [f"spared-{number}" for number in range(SPARED)]
    names = [f"cancel_none_deferred/{run_id}/-1" for run_id in runs]
    for run_id in runs:
        stack.trigger(["cancel_none_deferred"], run_id, {})
    _wait_waiting(stack, names)
    jobs = {name: server.jobs_of(name)[0] for name in names}

    def wait_polled_again() -> None:
        before = {name: job.polls for name, job in jobs.items()}
        wait_until(
            lambda: all(job.polls > before[name] + 1 for name, job in jobs.items()), WAIT, "nobody polls"
        )

    for name in airflow.triggerers:
        airflow.kill_component(name)
        airflow.start_component(name)
    wait_polled_again()
    for name in airflow.triggerers:
        airflow.stop_component(name)
        airflow.start_component(name)
    wait_polled_again()
    airflow.wait_ready()
    taken = stack.pause_until_taken_over()
    wait_polled_again()
    time.sleep(QUIET)
    print(f"{taken} triggers were taken over")
    assert {name: server.cancels[job.id] for name, job in jobs.items()} == dict.fromkeys(names, 0)
    for name in names:
        _fail_run(airflow.api, *name.split("/")[:2])
    for job in jobs.values():
        server.wait_for_cancels(job.id, 1, CANCEL_WAIT)
    time.sleep(QUIET)
    assert {name: server.cancels[job.id] for name, job in jobs.items()} == dict.fromkeys(names, 1)
    assert all(len(server.jobs_of(name)) == 1 for name in names)
