"""Thousands of operations from several processes, while their database is stopped and started.

``APITASK_OPLOG_RECORDS=10000`` makes it the full size.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from airflow_provider_apitask.oplog import emit, migrations, spool
from tests.airflow.helpers import Comms, Connect, call, context_for
from tests.airflow.oplog_support import Log, make_record, new_log
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
def test_a_task_takes_no_longer_while_the_database_is_down(
    switch: Switch, connect: Connect, comms: Comms
) -> None:
    """A task without the sink, and one with it while its database is down, by turns."""
    seconds: dict[str, list[float]] = {"without": [], "up": [], "down": []}
    with ScriptedServer() as server:
        server.on("GET", "/x", Answer(json={"a": 1}))
        connect(server.url)

        def run(name: str, hooks: list[str]) -> None:
            task = call(method="GET", endpoint="/x", operation_log=hooks)
            context = context_for(task)
            began = time.perf_counter()
            task.execute(context)
            seconds[name].append(time.perf_counter() - began)

        for _ in range(40):
            run("up", ["sql"])
        switch.stop()
        for _ in range(200):
            run("without", [])
            run("down", ["sql"])
        switch.start()
    first = seconds["down"].pop(0)
    without, up, down = (statistics.median(seconds[name]) * 1000 for name in seconds)
    print(
        f"\nmedian of a task: {without:.1f} ms without the sink, {up:.1f} ms with it, {down:.1f} ms while "
        f"its database is down; the first to find out {first * 1000:.0f} ms"
    )
    # It writes to the spool, and no more.
    assert down < up
    assert down - without < 20
    assert sorted(seconds["down"])[-5] < 0.5
    assert spool.flush() == 200
    assert len(switch.log.ids()) == 240
