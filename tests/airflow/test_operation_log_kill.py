"""A triggerer that is killed: what its triggers did reaches the log all the same, and once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_apitask import ApiStatusTrigger
from airflow_provider_apitask.core.records import OperationStatus, Subtype
from airflow_provider_apitask.oplog import history, spool, triggerer
from tests.airflow.helpers import (
    Comms,
    TaskInstance,
    call,
    context_for,
    deferred,
    event,
    needs_store,
    restored,
)
from tests.airflow.oplog_support import Log, make_record, new_log
from tests.support.job_server import JobServer

#: A triggerer with one trigger.
PROCESS = """
import asyncio, json, sys
from airflow.sdk.execution_time import task_runner
from tests.airflow.helpers import Comms, TaskInstance, event
from airflow_provider_apitask import ApiStatusTrigger

async def main():
    trigger = ApiStatusTrigger(**json.loads(sys.argv[1]))
    trigger.task_instance = TaskInstance("t")
    await event(trigger)
    print("ended", flush=True)
    await asyncio.sleep(60)

task_runner.SUPERVISOR_COMMS = Comms()
asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setenv("AIRFLOW__APITASK__OPERATION_LOG", "sql")
    monkeypatch.setattr(triggerer, "_EVERY", 0.1)
    monkeypatch.setattr(triggerer, "_next_drain", [0.0])
    yield from new_log(request.param, tmp_path, monkeypatch)


def until(holds: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def killed(trigger: ApiStatusTrigger, when: Callable[[subprocess.Popen[str]], bool]) -> None:
    """Run a trigger in a process of its own, and kill that."""
    kwargs = json.dumps(trigger.serialize()[1])
    process = subprocess.Popen([sys.executable, "-c", PROCESS, kwargs], text=True, stdout=subprocess.PIPE)
    with process:
        try:
            until(lambda: when(process))
        finally:
            process.send_signal(signal.SIGKILL)


def noted(log: Log) -> list[Any]:
    """The records of triggers that are in the spool, as JSON."""
    if not log.spool.path.exists():
        return []
    with log.spool._open() as db:
        return [json.loads(body) for (body,) in db.execute("SELECT body FROM running")]


def test_the_checks_of_a_killed_triggerer_are_logged_by_the_next(
    log: Log, jobs: JobServer, comms: Comms
) -> None:
    jobs.statuses = ["running"] * 10_000 + ["succeeded"]
    task = call(job={"poll_interval": 0.05})
    context = context_for(task)
    trigger = deferred(task, context).trigger
    killed(trigger, lambda process: any(record["requests"] >= 3 for record in noted(log)))
    assert len(log.ids()) == 1  # the submit

    jobs.statuses = ["succeeded"]
    payload = asyncio.run(event(restored(trigger, context["ti"])))
    task.execute_complete(context, payload)
    records = list(history.query())[::-1]
    assert [(record.subtype, record.status) for record in records] == [
        (Subtype.INVOKE, OperationStatus.SUCCESS),
        (Subtype.POLL, OperationStatus.INTERRUPTED),
        (Subtype.POLL, OperationStatus.SUCCESS),
    ]
    assert records[1].requests >= 3
    assert records[1].error_message == "The process was ended in the middle."
    assert (records[1].dag_id, records[1].task_id, records[1].job_id) == ("d", "t", "job-1")
    assert len({record.operation_id for record in records}) == 1


def test_a_triggerer_that_is_killed_when_it_has_handed_over_logs_once(
    log: Log, jobs: JobServer, comms: Comms
) -> None:
    jobs.statuses = ["running", "succeeded"]
    task = call(job={"poll_interval": 0.05})
    context = context_for(task)
    trigger = deferred(task, context).trigger
    killed(trigger, lambda process: any(record["status"] == "success" for record in noted(log)))
    assert spool.flush() == 1
    assert spool.flush() == 0
    checks = [record for record in history.query() if record.subtype is Subtype.POLL]
    assert [(check.status, check.requests) for check in checks] == [(OperationStatus.SUCCESS, 2)]


def test_what_is_under_way_is_left_alone(log: Log, jobs: JobServer, comms: Comms) -> None:
    jobs.statuses = ["running"] * 10_000
    task = call(job={"poll_interval": 0.05})
    context = context_for(task)
    trigger = restored(deferred(task, context).trigger, context["ti"])

    async def triggerer_process() -> None:
        running = asyncio.create_task(event(trigger))
        await asyncio.to_thread(until, lambda: bool(noted(log)))
        assert await asyncio.to_thread(spool.flush) == 0
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(triggerer_process())
    # It was stopped in good order, and says so at once.
    until(lambda: log.spool.count() == 1)
    assert noted(log) == []
    assert spool.flush() == 1
    assert next(history.query()).status is OperationStatus.INTERRUPTED


@needs_store
def test_a_cancel_in_the_triggerer_is_logged_without_a_worker(
    log: Log, jobs: JobServer, comms: Comms
) -> None:
    jobs.statuses = ["running"] * 10_000
    task = call(job={"poll_interval": 0.05, "cancel_request": "{status_url}"})
    context = context_for(task)
    trigger = restored(deferred(task, context).trigger, context["ti"])
    comms.states["t"] = "failed"

    async def triggerer_process() -> None:
        from airflow_provider_apitask.triggers import api_status

        running = asyncio.create_task(event(trigger))
        await asyncio.to_thread(until, lambda: len(jobs.history) > 2)
        running.cancel("killed")
        await asyncio.wait({running})
        await trigger.on_kill()
        await asyncio.gather(*api_status._cancelling)

    asyncio.run(triggerer_process())
    until(lambda: log.spool.count() >= 1)
    spool.flush()
    cancels = [record for record in history.query() if record.subtype is Subtype.CANCEL]
    assert [(cancel.status, cancel.method, cancel.task_id) for cancel in cancels] == [
        (OperationStatus.SUCCESS, "DELETE", "t")
    ]
    assert TaskInstance("t").task_id == cancels[0].task_id


#: A process that begins to move records, and then dies or goes on for a moment.
MOVER = """
import os, sys, time
from airflow_provider_apitask.oplog import spool
assert spool.spool().claim(time.time())
print("claimed", flush=True)
if sys.argv[1] == "dies":
    os._exit(1)
time.sleep(1.5)
spool.spool().release()
"""


@pytest.mark.parametrize("end", ["dies", "goes on"])
def test_who_asks_for_a_flush_is_not_sent_away_by_another_process(
    log: Log, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.spool().put([make_record(1)])
    with subprocess.Popen([sys.executable, "-c", MOVER, end], text=True, stdout=subprocess.PIPE) as mover:
        assert mover.stdout is not None
        assert mover.stdout.readline() == "claimed\n"
        if end == "dies":
            mover.wait()
        waits: list[float] = []
        clock = SimpleNamespace(
            time=time.time, monotonic=time.monotonic, sleep=lambda s: [waits.append(s), time.sleep(s)]
        )
        monkeypatch.setattr(spool, "time", clock)
        assert spool.flush() == 1
    # The claim of a process that lives is waited for; that of a dead one does not last for its 30 s.
    assert waits or end == "dies"
    assert sum(waits) < 30
    assert spool.spool().count() == 0


def test_a_task_that_finds_a_claim_of_the_dead_leaves_the_database_alone_for_a_while(log: Log) -> None:
    """It may have died of a database that does not answer."""
    spool.spool().put([make_record(1)])
    subprocess.run([sys.executable, "-c", MOVER, "dies"], stdout=subprocess.DEVNULL, check=False)
    assert spool.try_flush() == 0
    assert spool.try_flush() == 0
    assert spool.flush() == 1
