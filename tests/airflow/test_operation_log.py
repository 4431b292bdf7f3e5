"""The operation log: what each part of a call leaves, and hooks that fail, hang or are not there."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from airflow_provider_apitask import ApiStatusSensor, exceptions
from airflow_provider_apitask.core.records import OperationRecord, OperationStatus, Subtype
from airflow_provider_apitask.oplog import aemit, dispatch, emit
from tests.airflow.helpers import FAST, Comms, Connect, awaited, call, context_for, deferred, needs_store
from tests.airflow.helpers import run as run_task
from tests.support import Answer
from tests.support.job_server import JobServer
from tests.support.scripted_server import ScriptedServer

RESULT = {"result_request": "{status_url}/result", **FAST}


def brief(records: Sequence[OperationRecord]) -> list[tuple[str, str, int]]:
    return [(record.subtype.value, record.status.value, record.requests) for record in records]


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[OperationRecord] = []

    def write(self, records: Sequence[OperationRecord]) -> None:
        self.records += records


# -- what a call leaves --------------------------------------------------------------------------


def test_a_deferred_job_leaves_a_record_of_each_part(jobs: JobServer, comms: Comms) -> None:
    kept = Kept()
    task = call(job=RESULT, operation_log=kept, body={"a": 1})
    assert run_task(task) == {"rows": 3}
    assert brief(kept.records) == [
        ("invoke", "success", 1),
        ("poll", "success", 3),
        ("result", "success", 1),
    ]
    invoke, poll, result = kept.records
    assert len({record.operation_id for record in kept.records}) == 1
    assert comms.pushed("t", "api_job")["operation_id"] == invoke.operation_id
    assert len({record.record_id for record in kept.records}) == 3
    for record in kept.records:
        assert (record.dag_id, record.task_id, record.run_id) == ("d", "t", "r")
        assert (record.api_conn_id, record.try_number, record.job_id) == ("api", 1, "job-1")
        assert record.ended_at is not None
        assert record.started_at <= record.ended_at
    assert (invoke.method, invoke.http_status, invoke.bytes_sent) == ("POST", 202, len(jobs.submits[0].body))
    assert invoke.bytes_received > 0
    assert (poll.url, poll.job_status) == (f"{jobs.url}/jobs/job-1", "succeeded")
    assert invoke.ended_at is not None
    assert invoke.ended_at <= poll.started_at <= result.started_at


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_job_that_fails(jobs: JobServer, deferrable: bool) -> None:
    jobs.statuses = ["running", "failed"]
    kept = Kept()
    task = call(job=FAST, operation_log=kept, deferrable=deferrable)
    with pytest.raises(exceptions.JobFailedError) as caught:
        run_task(task) if deferrable else task.execute(context_for(task))
    poll = kept.records[-1]
    assert brief(kept.records) == [("invoke", "success", 1), ("poll", "failed", 2)]
    assert (poll.error_kind, poll.error_message) == ("job_failed", caught.value.message)


@pytest.fixture
def server(connect: Connect, comms: Comms) -> Any:
    with ScriptedServer() as scripted:
        connect(scripted.url)
        yield scripted


def test_repetitions_and_redirects_are_counted(server: ScriptedServer) -> None:
    server.on("GET", "/x", Answer(503), Answer(307, headers={"Location": "/y"}))
    server.on("GET", "/y", Answer(json={"ok": True}))
    kept = Kept()
    task = call(method="GET", endpoint="/x", retry_count=2, retry_wait=0, operation_log=[kept])
    assert task.execute(context_for(task)) == {"ok": True}
    (record,) = kept.records
    assert (record.status, record.requests, record.retries) == (OperationStatus.SUCCESS, 3, 1)
    assert record.url == f"{server.url}/y"


def test_an_answer_that_breaks_a_rule(server: ScriptedServer) -> None:
    server.on("GET", "/x", Answer(json={"ok": False}))
    kept = Kept()
    rules = {"field_checks": {"ok": {"value": True}}}
    task = call(method="GET", endpoint="/x", response_validation=rules, operation_log=kept)
    with pytest.raises(exceptions.ResponseValidationError):
        task.execute(context_for(task))
    (record,) = kept.records
    assert (record.validation, record.status, record.http_status) == ("failed", OperationStatus.FAILED, 200)


@pytest.mark.parametrize(("says", "status"), [(True, "success"), (False, "failed")])
def test_a_function_of_the_author_has_the_last_word(server: ScriptedServer, says: bool, status: str) -> None:
    server.on("GET", "/x", Answer(json={}))
    kept = Kept()
    task = call(method="GET", endpoint="/x", response_check=lambda response: says, operation_log=kept)
    if says:
        task.execute(context_for(task))
    else:
        with pytest.raises(exceptions.ResponseValidationError):
            task.execute(context_for(task))
    assert brief(kept.records) == [("invoke", status, 1)]


def test_each_page_is_an_operation(server: ScriptedServer) -> None:
    server.on("GET", "/x", Answer(json={"items": [1], "next": "/p2"}))
    server.on("GET", "/p2", Answer(json={"items": [2], "next": "/p3"}))
    server.on("GET", "/p3", Answer(json={"items": [3]}))
    kept = Kept()
    pages = {"next_link": "$.next", "items": "$.items"}
    task = call(method="GET", endpoint="/x", pagination=pages, operation_log=kept)
    assert task.execute(context_for(task)) == [1, 2, 3]
    assert brief(kept.records) == [
        ("invoke", "success", 1),
        ("result", "success", 1),
        ("result", "success", 1),
    ]


def test_a_server_that_is_not_there(connect: Connect, comms: Comms) -> None:
    connect("http://127.0.0.1:9")
    kept = Kept()
    task = call(method="GET", endpoint="/x", operation_log=kept)
    with pytest.raises(exceptions.RequestFailedError):
        task.execute(context_for(task))
    (record,) = kept.records
    assert (record.status, record.http_status, record.bytes_sent) == (OperationStatus.FAILED, None, 0)
    assert record.error_message


def test_a_sensor_logs_under_the_operation_of_the_job(jobs: JobServer, comms: Comms) -> None:
    kept = Kept()
    start = call(task_id="start", job=FAST, wait_for_completion=False, operation_log=kept)
    start.execute(context_for(start))
    handle = comms.pushed("start", "api_job")
    sensor = ApiStatusSensor(
        task_id="wait", handle=handle, job=RESULT, deferrable=True, operation_log=kept, api_conn_id="api"
    )
    context = context_for(sensor)
    resume = deferred(sensor, context)
    getattr(sensor, resume.method_name)(context, awaited(resume.trigger, context["ti"]))
    assert [record.task_id for record in kept.records] == ["start", "wait", "wait", "wait"]
    assert [record.subtype for record in kept.records[1:]] == [Subtype.POLL, Subtype.POLL, Subtype.RESULT]
    assert {record.operation_id for record in kept.records} == {handle["operation_id"]}
    assert {record.api_conn_id for record in kept.records} == {"api"}


@needs_store
def test_a_try_that_goes_on_with_a_job_logs_under_its_operation(jobs: JobServer, comms: Comms) -> None:
    kept = Kept()
    task = call(job=FAST, operation_log=kept)
    deferred(task, context_for(task))
    again = call(job=FAST, operation_log=kept)
    context = context_for(again)
    resume = deferred(again, context)
    again.execute_complete(context, awaited(resume.trigger, context["ti"]))
    assert len(jobs.submits) == 1
    assert [record.subtype for record in kept.records] == [Subtype.INVOKE, Subtype.POLL, Subtype.POLL]
    assert len({record.operation_id for record in kept.records}) == 1


# -- hooks ---------------------------------------------------------------------------------------


def record(number: int = 1, **more: Any) -> OperationRecord:
    given: dict[str, Any] = {
        "record_id": f"r{number}",
        "operation_id": "o",
        "subtype": Subtype.INVOKE,
        "status": OperationStatus.SUCCESS,
        "started_at": 1000.0 + number,
        "ended_at": 1001.5 + number,
        **more,
    }
    return OperationRecord(**given)


def test_a_hook_that_fails_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fails(record: OperationRecord) -> None:
        raise ValueError("no such table")

    emit([record(1), record(2)], [fails, "nowhere.to_be_found", lambda record: seen.append(record.record_id)])
    assert seen == ["r1", "r2"]
    assert "no such table" in caplog.text
    assert "nowhere.to_be_found cannot be imported" in caplog.text


def test_a_hook_that_hangs_costs_its_bound_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__APITASK__OPERATION_LOG_TIMEOUT", "0.3")
    go_on, seen = threading.Event(), list[str]()

    def hangs(record: OperationRecord) -> None:
        go_on.wait(20)
        seen.append(record.record_id)

    for number in range(5):
        emit([record(number)], hangs)
    # Nothing waited for the hook to finish, and only the first record waited for its time limit.
    assert seen == []
    assert caplog.text.count("is not done after 0.3 s") == 1
    go_on.set()
    until = time.monotonic() + 10
    while len(seen) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert seen == ["r0", "r1", "r2", "r3", "r4"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_lock_writes_its_records() -> None:
    fork = multiprocessing.get_context("fork")
    with dispatch._lock:
        child = fork.Process(target=emit, args=([record()], lambda record: None))
        child.start()
    child.join(20)
    child.kill()
    assert child.exitcode == 0


async def test_an_event_loop_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    turning = asyncio.create_task(turn())
    await aemit([record()], lambda record: time.sleep(0.3))
    turning.cancel()
    assert turns > 10


def test_hooks_come_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__APITASK__OPERATION_LOG", f"task_log, {__name__}.remember")
    REMEMBERED.clear()
    with structlog.testing.capture_logs() as lines:
        emit([record(url="https://api.example.com/x", method="GET", http_status=200)])
    assert [kept.record_id for kept in REMEMBERED] == ["r1"]
    (line,) = lines
    expected = "API call invoke: success in 1.50 s: GET https://api.example.com/x → 200, 0 requests"
    assert line["event"].startswith(expected)
    assert (line["operation_id"], line["http_status"]) == ("o", 200)


REMEMBERED: list[OperationRecord] = []


def remember(record: OperationRecord) -> None:
    REMEMBERED.append(record)


@pytest.mark.parametrize("value", [5, "not a path!", [None], object(), ""])
def test_what_is_no_hook_is_refused_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(exceptions.ParameterError, match="operation_log must be"):
        call(operation_log=value)
