"""A job is cancelled when a person ends its task, and only then, on worker and triggerer."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralTimeout

from airflow_provider_apitask import ApiCallOperator, ApiStatusTrigger, exceptions
from airflow_provider_apitask.hooks import clients
from airflow_provider_apitask.triggers import api_status
from tests.airflow.helpers import (
    HAS_STORE,
    Comms,
    TaskInstance,
    awaited,
    call,
    context_for,
    deferred,
    event,
    restored,
)
from tests.support import Answer
from tests.support.job_server import JobServer

JOB = {"poll_interval": 0.05, "cancel_request": {}}
ENDED = ["failed", "success", "skipped", "removed"]
GOES_ON = ["running", "queued", "up_for_retry", "deferred", "up_for_reschedule", None]
#: What the triggerer cancels the task of a trigger with when somebody has acted on it.
BY_USER = "__airflow_user_action__"


@pytest.fixture
def jobs(jobs: JobServer) -> JobServer:
    """Its jobs run for ever."""
    jobs.statuses = ("running", "running", "running", "never")
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": "running"}))
    return jobs


def cancels(server: JobServer) -> int:
    return len([r for r in server.history if r.method == "DELETE" or r.path.endswith("stop")])


def down(message: Any) -> None:
    if type(message).__name__ == "GetTaskStates":
        raise RuntimeError("the API server is down")


def outcome(task: ApiCallOperator, **more: Any) -> BaseException:
    try:
        raise AssertionError(f"it returned {task.execute(context_for(task, **more))!r}")
    except BaseException as error:  # noqa: BLE001 - the caller looks at it
        return error


# -- on the worker -------------------------------------------------------------------------------


@contextmanager
def terminated(task: ApiCallOperator, server: JobServer, *, after: str = "GET") -> Iterator[None]:
    """Tell the process to stop as Airflow does, once such a request has arrived."""

    def on_term(*_: Any) -> None:
        task.on_kill()
        reached.set()

    def tell() -> None:
        server.wait_for(1, after)
        os.kill(os.getpid(), signal.SIGTERM)

    reached = threading.Event()
    before = signal.signal(signal.SIGTERM, on_term)
    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        reached.wait(3)
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("state", [*ENDED, "restarting"])
def test_kill_of_an_ended_task_cancels_once(jobs: JobServer, comms: Comms, state: str) -> None:
    comms.states["t"] = state
    task = call(job=JOB, deferrable=False)
    with terminated(task, jobs):
        error = outcome(task)
    assert isinstance(error, exceptions.JobCancelledError)
    assert error.data["cancel"] == ("clear" if state == "restarting" else "kill")
    task.on_kill()
    assert cancels(jobs) == 1


@pytest.mark.parametrize("state", [*GOES_ON, "down"])
def test_kill_of_a_task_that_goes_on_cancels_nothing(
    jobs: JobServer, comms: Comms, state: str | None
) -> None:
    jobs.on("GET", "/jobs/job-1", *[Answer(json={"status": "running"})] * 4, Answer(json={"status": "done"}))
    if state == "down":
        comms.before = down
    comms.states["t"] = state
    task = call(job=JOB, deferrable=False)
    with terminated(task, jobs):
        assert task.execute(context_for(task)) == {"status": "done"}
    assert cancels(jobs) == 0


@pytest.mark.parametrize(
    ("job", "count"),
    [
        ({"cancel_request": None}, 0),
        ({"cancel_on": ["timeout", "clear"]}, 0),
        ({"cancel_on": "kill"}, 1),
        ({"cancel_request": {"method": "POST", "endpoint": "/jobs/{job_id}/stop"}}, 1),
        ({"cancel_request": "/jobs/{job_id}/stop"}, 1),
    ],
)
def test_what_is_sent_is_the_authors_choice(
    jobs: JobServer, comms: Comms, job: dict[str, Any], count: int
) -> None:
    jobs.on("GET", "/jobs/job-1", *[Answer(json={"status": "running"})] * 4, Answer(json={"status": "done"}))
    comms.states["t"] = "failed"
    task = call(job={**JOB, **job}, deferrable=False)
    with terminated(task, jobs):
        if count:
            assert isinstance(outcome(task), exceptions.JobCancelledError)
        else:
            assert task.execute(context_for(task)) == {"status": "done"}
    assert cancels(jobs) == count


def test_kill_during_the_submit_cancels_after_its_answer(jobs: JobServer, comms: Comms) -> None:
    comms.states["t"] = "failed"
    jobs.once("POST", "/jobs", lambda request: time.sleep(0.3) or jobs.unscripted(request))
    task = call(job=JOB)
    with terminated(task, jobs, after="POST"):
        assert isinstance(outcome(task), exceptions.JobCancelledError)
    assert [r.method for r in jobs.history] == ["POST", "DELETE"]


def test_kill_between_two_submits_stops_the_second(jobs: JobServer, comms: Comms) -> None:
    comms.states["t"] = "failed"
    jobs.on("POST", "/jobs", Answer(429))
    task = call(job=JOB, retry_count=3, retry_wait=0.3)
    with terminated(task, jobs, after="POST"):
        assert "before its job was submitted" in str(outcome(task))
    assert [r.method for r in jobs.history] == ["POST"]


def test_kill_before_the_submit_stops_it(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_apitask.hooks.api import ApiHook

    real = ApiHook.api.fget  # type: ignore[attr-defined]
    task = call(job=JOB)

    def killed_meanwhile(hook: ApiHook) -> Any:
        task.on_kill()
        return real(hook)

    comms.states["t"] = "failed"
    monkeypatch.setattr(ApiHook, "api", property(killed_meanwhile))
    assert "before its job was submitted" in str(outcome(task))
    assert jobs.history == []


def test_kill_from_another_thread_and_twice(jobs: JobServer, comms: Comms) -> None:
    comms.states["t"] = "failed"
    jobs.once("DELETE", "/jobs/job-1", Answer(200, delay=0.2))
    task = call(job=JOB, deferrable=False)

    def kill() -> None:
        jobs.wait_for(1, "GET")
        threads = [threading.Thread(target=task.on_kill) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    killer = threading.Thread(target=kill)
    killer.start()
    assert isinstance(outcome(task), exceptions.JobCancelledError)
    killer.join()
    assert cancels(jobs) == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_kill_without_a_run_is_nothing(jobs: JobServer, comms: Comms, mode: str) -> None:
    task = call(mode=mode)
    task.on_kill()
    jobs.on("POST", "/jobs", Answer(json=1))
    if mode == "sync":
        task.execute(context_for(task))
        task.on_kill()
    assert cancels(jobs) == 0


# -- execution_timeout ---------------------------------------------------------------------------


def with_timeout(task: ApiCallOperator, seconds: float) -> BaseException:
    """As Airflow's task runner ends a task that takes too long."""

    def expire(*_: Any) -> None:
        raise AirflowTaskTimeout("timeout")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        error = outcome(task)
        task.on_kill()
        return error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("job", "count"), [({}, 1), ({"cancel_on": "kill"}, 0), ({"cancel_on": "timeout"}, 1)]
)
def test_execution_timeout_cancels_once(
    jobs: JobServer, comms: Comms, job: dict[str, Any], count: int
) -> None:
    comms.states["t"] = "failed"
    error = with_timeout(call(job={**JOB, **job}, deferrable=False), 0.3)
    assert isinstance(error, AirflowTaskTimeout)
    assert cancels(jobs) == count
    if count and HAS_STORE:
        assert comms.record()["state"]["cancel"] == "timeout"


@pytest.mark.parametrize("where", ["store", "handle", "handle, the store is down"])
def test_timeout_while_deferred_cancels_once(jobs: JobServer, comms: Comms, where: str) -> None:
    task = call(job=JOB, execution_timeout=timedelta(seconds=1))
    context = context_for(task)
    deferred(task, context)
    assert comms.pushed("t", "api_job")["job_id"] == "job-1"
    if where == "store":
        if not HAS_STORE:
            pytest.skip("this Airflow keeps no state of a task")
        comms.values.clear()
    elif where == "handle":
        comms.store.clear()
    else:
        comms.before = store_down
    with pytest.raises(TaskDeferralTimeout):
        resumed(task, context)
    assert cancels(jobs) == 1


def store_down(message: Any) -> None:
    if "TaskStateStore" in type(message).__name__:
        raise RuntimeError("the API server is down")


def resumed(task: ApiCallOperator, context: Any, error: str = "Trigger timeout") -> None:
    task.resume_execution("__fail__", {"error": error, "traceback": None}, context)


@pytest.mark.parametrize("broken", ["connection", "job", "xcom"])
def test_timeout_is_what_the_task_ends_with_whatever_the_cancel_meets(
    jobs: JobServer, comms: Comms, connect: Any, broken: str, capsys: Any
) -> None:
    task = call(job=JOB)
    context = context_for(task)
    deferred(task, context)
    comms.before = store_down
    if broken == "connection":
        connect("")
    elif broken == "job":
        jobs.on("DELETE", "/jobs/job-1", Answer(500))
    else:
        comms.broken = True
    with pytest.raises(TaskDeferralTimeout):
        resumed(task, context)
    if broken == "job":
        assert "The cancel request did not succeed" in capsys.readouterr().out
    assert cancels(jobs) == (broken == "job")


# -- on the triggerer ----------------------------------------------------------------------------


async def killed(
    trigger: ApiStatusTrigger,
    server: JobServer | None,
    task: TaskInstance | None = None,
    message: str = BY_USER,
) -> None:
    """End a trigger as the triggerer does where somebody has acted on its task."""
    made = restored(trigger, task or TaskInstance("t"))
    running = asyncio.create_task(event(made))
    if server is not None:
        await asyncio.to_thread(server.wait_for, 1, "GET")
    running.cancel(message)
    with pytest.raises(asyncio.CancelledError):
        await running
    # Airflow gives it one second: the cancel goes on in a task of its own.
    made_before = set(api_status._cancelling)
    await made.on_kill()
    assert set(api_status._cancelling) - made_before
    await asyncio.gather(*api_status._cancelling)


def waiting(jobs: JobServer, **job: Any) -> ApiStatusTrigger:
    trigger: Any = deferred(task := call(job={**JOB, **job}), context_for(task)).trigger
    return trigger  # type: ignore[no-any-return]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real = clients._airflow_lookup

    async def counted(conn_id: str) -> Any:
        found.append(conn_id)
        await asyncio.sleep(0.1)
        return await real(conn_id)

    monkeypatch.setattr(clients, "_airflow_lookup", counted)
    return found


@pytest.mark.parametrize("state", ENDED)
async def test_trigger_cancels_once_with_what_it_has(
    jobs: JobServer, comms: Comms, lookups: list[str], state: str
) -> None:
    trigger = waiting(jobs)
    comms.states["t"] = state
    await killed(trigger, jobs)
    assert cancels(jobs) == 1
    assert lookups == ["api"]


@pytest.mark.parametrize("state", [*GOES_ON, "down"])
async def test_trigger_whose_task_goes_on_cancels_nothing(
    jobs: JobServer, comms: Comms, state: str | None
) -> None:
    trigger = waiting(jobs)
    comms.states["t"] = state
    if state == "down":
        comms.before = down
    await killed(trigger, jobs)
    assert cancels(jobs) == 0


@pytest.mark.parametrize("job", [{"cancel_request": None}, {"cancel_on": ["clear"]}])
async def test_trigger_cancels_only_where_the_author_wants_it(
    jobs: JobServer, comms: Comms, job: dict[str, Any]
) -> None:
    trigger = waiting(jobs, **job)
    comms.states["t"] = "failed"
    await killed(trigger, jobs)
    assert cancels(jobs) == 0


async def test_trigger_that_is_killed_while_it_looks_its_connection_up(
    jobs: JobServer, comms: Comms, lookups: list[str]
) -> None:
    trigger = waiting(jobs)
    comms.states["t"] = "failed"
    made = restored(trigger, TaskInstance("t"))
    running = asyncio.create_task(event(made))
    await asyncio.sleep(0.01)
    assert lookups == ["api"]
    running.cancel(BY_USER)
    await asyncio.gather(running, return_exceptions=True)
    await made.on_kill()
    await asyncio.gather(*api_status._cancelling)
    assert cancels(jobs) == 1
    assert lookups == ["api"]


async def test_slow_cancel_goes_on_by_itself(jobs: JobServer, comms: Comms) -> None:
    jobs.on("DELETE", "/jobs/job-1", Answer(503, headers={"Retry-After": "0"}), Answer(200, delay=0.2))
    trigger = waiting(jobs)
    comms.states["t"] = "failed"
    await killed(trigger, jobs)
    assert cancels(jobs) == 2


async def test_shutdown_cancels_nothing_and_closes_the_sessions(jobs: JobServer, comms: Comms) -> None:
    made = restored(waiting(jobs), TaskInstance("t"))
    running = asyncio.create_task(event(made))
    await asyncio.to_thread(jobs.wait_for, 1, "GET")
    (client,) = clients.pool_of_this_loop()._clients.values()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert client.transport._session.closed
    assert cancels(jobs) == 0


@pytest.mark.parametrize("task", [None, TaskInstance("t")])
def test_kill_leaves_no_session_open_when_the_loop_ends(
    jobs: JobServer, comms: Comms, task: TaskInstance | None
) -> None:
    trigger = waiting(jobs)
    comms.states["t"] = "failed"
    asyncio.run(killed(trigger, jobs, task))  # an open session would be a warning, and that an error
    assert cancels(jobs) == 1


# -- what the server says ------------------------------------------------------------------------

ANSWERS = [
    (Answer(json={"error": "too late"}), "was sent: DELETE .* answered 200.*too late"),
    (Answer(202), "was sent: DELETE .* answered 202"),
    (Answer(404), "was sent: DELETE .* answered 404"),
    (Answer(409, {"detail": "it is done"}), "was sent: DELETE .* answered 409 .*it is done"),
    (Answer(500), "did not succeed: .* answered 500 .* The job may go on"),
    (Answer(403), "did not succeed: .* answered 403 .* The job may go on"),
    (Answer(drop="before"), "did not succeed: .* The job may go on"),
]


def told_by_a_kill(jobs: JobServer, comms: Comms, capsys: Any, on_worker: bool, **more: Any) -> str:
    """What the log says, in one line."""
    comms.states["t"] = "failed"
    task = call(job=JOB, deferrable=not on_worker, **more)
    if on_worker:
        with terminated(task, jobs):
            outcome(task)
    else:
        trigger: Any = deferred(task, context_for(task)).trigger
        asyncio.run(killed(trigger, jobs))
    return str(capsys.readouterr().out).replace("\n", " ")


@pytest.mark.parametrize("on_worker", [True, False])
@pytest.mark.parametrize(("answer", "message"), ANSWERS)
def test_what_was_answered_is_told(
    jobs: JobServer, comms: Comms, capsys: Any, on_worker: bool, answer: Answer, message: str
) -> None:
    jobs.on("DELETE", "/jobs/job-1", answer)
    told = told_by_a_kill(jobs, comms, capsys, on_worker)
    assert re.search(message, told), told
    assert cancels(jobs) == 1


@pytest.mark.parametrize("on_worker", [True, False])
def test_credentials_go_along_and_stay_out_of_the_log(
    jobs: JobServer, comms: Comms, connect: Any, capsys: Any, on_worker: bool
) -> None:
    connect(jobs.url, login="me", password="s3cret-password")
    jobs.on("GET", "/csrf", Answer(204, headers={"X-CSRF-Token": "s3cret-csrf"}))
    jobs.on("DELETE", "/jobs/job-1", lambda request: Answer(json={"echo": "s3cret-password s3cret-csrf"}))
    csrf = {"require_csrf_token": True, "csrf_token_endpoint": "/csrf"}
    told = told_by_a_kill(jobs, comms, capsys, on_worker, **csrf)
    (request,) = jobs.requests("DELETE")
    assert request.header("X-CSRF-Token") == "s3cret-csrf"
    assert (request.header("Authorization") or "").startswith("Basic ")
    assert "echo" in told
    assert "s3cret" not in told


# -- the job's own limits ------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    ("limit", "message"),
    [({"deadline": 0.2}, "was not done at its deadline"), ({"max_polls": 2}, "was not done after 2 checks")],
)
def test_limit_cancels_once(
    jobs: JobServer, comms: Comms, deferrable: bool, limit: dict[str, Any], message: str
) -> None:
    task = call(job={**JOB, **limit}, deferrable=deferrable)
    context = context_for(task)
    wait = task.execute
    if deferrable:
        payload = awaited(deferred(task, context).trigger, context["ti"])
        wait = partial(task.execute_complete, event=payload)
    with pytest.raises(exceptions.JobTimedOutError) as caught:
        wait(context)
    assert message in str(caught.value)
    assert "The cancel request was sent: DELETE" in str(caught.value)
    assert cancels(jobs) == 1


def test_limit_without_a_cancel_says_that_the_job_may_run(jobs: JobServer, comms: Comms) -> None:
    error = outcome(call(job={**JOB, "max_polls": 1, "cancel_on": ["kill"]}, deferrable=False))
    assert isinstance(error, exceptions.JobTimedOutError)
    assert "It may still be running on the server" in str(error)
    assert cancels(jobs) == 0
