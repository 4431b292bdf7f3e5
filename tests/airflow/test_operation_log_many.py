"""Thousands of operations from several processes, while their database is stopped and started.

``APITASK_OPLOG_RECORDS=10000`` makes it the full size.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from airflow_provider_apitask.oplog import emit, migrations, spool
from tests.airflow.helpers import Comms, Connect, call, context_for
from tests.airflow.oplog_support import Log, database_lookups, make_record, new_log, stopped_clock
from tests.support import Answer
from tests.support.postgres_cluster import PostgresCluster
from tests.support.scripted_server import ScriptedServer
from tests.support.tcp_proxy import TcpProxy

MANY = int(os.environ.get("APITASK_OPLOG_RECORDS", "1000"))
PROCESSES = 4
#: Operations of one task.
EACH = 5


def work(number: int, first: int, count: int, sent: Any) -> None:
    """Do what the tasks of a worker do, one after the other."""
    for start in range(first, first + count, EACH):
        # Half a millisecond, as a task is not all logging.
        time.sleep(0.0005)
        emit([make_record(n, record_id=f"r{n}") for n in range(start, start + EACH)], "sql")
        with sent:
            sent.value += EACH


class Switch:
    """Stops and starts a database."""

    def __init__(self, log: Log, stop: Callable[[], None], start: Callable[[], None]) -> None:
        self.log, self.stop, self.start = log, stop, start


@pytest.fixture(params=["proxy", "cluster"])
def switch(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Switch]:
    if request.param == "proxy":
        for log in new_log("postgres", tmp_path, monkeypatch):
            with TcpProxy(make_url(log.url).port or 5432) as proxy:
                log.connect(proxy.port)
                yield Switch(log, proxy.close, proxy.open)
        return
    if PostgresCluster.missing:
        pytest.skip(PostgresCluster.missing)
    with PostgresCluster() as cluster:
        log = Log(cluster.url, tmp_path, monkeypatch)
        migrations.upgrade()
        yield Switch(log, cluster.stop, cluster.start)


@pytest.mark.once
@pytest.mark.timeout(600)
def test_none_is_lost_or_doubled(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    # Records of a hook that reaches its time limit end with the process, which is not tested here.
    monkeypatch.setenv("AIRFLOW__APITASK__OPERATION_LOG_TIMEOUT", "120")
    context = multiprocessing.get_context("spawn")
    sent = context.Value("i", 0)
    share = MANY // PROCESSES
    workers = [context.Process(target=work, args=(n, n * share, share, sent)) for n in range(PROCESSES)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    _wait(lambda: sent.value >= MANY * 0.3)
    switch.stop()
    down = sent.value
    _wait(lambda: sent.value >= MANY * 0.6)
    switch.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
        worker.close()
    took = time.monotonic() - began
    kept = switch.log.spool.count()
    spool.flush()
    ids = switch.log.ids()
    assert len(ids) == share * PROCESSES
    assert set(ids) == {f"r{n}" for n in range(share * PROCESSES)}
    assert switch.log.spool.count() == 0
    print(f"\n{len(ids)} operations in {took:.1f} s, down from the {down}th, {kept} moved by the last flush")


def _wait(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.once
def test_tasks_leave_a_database_alone_that_is_known_to_be_down(
    switch: Switch, connect: Connect, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first task finds out that the database is down; the others only write to the spool."""
    attempts = database_lookups(monkeypatch)
    with ScriptedServer() as server:
        server.on("GET", "/x", Answer(json={"a": 1}))
        connect(server.url)

        def run(count: int) -> int:
            """Run tasks one after the other and count their attempts to reach the database."""
            attempts.clear()
            for _ in range(count):
                task = call(method="GET", endpoint="/x", operation_log=["sql"])
                task.execute(context_for(task))
            return len(attempts)

        assert run(5) == 5
        switch.stop()
        with monkeypatch.context() as patch:
            stopped_clock(patch)
            assert run(50) == 1
        switch.start()
    assert spool.flush() == 50
    assert len(switch.log.ids()) == 55
