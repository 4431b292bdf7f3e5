"""The operation log of a real Airflow: its database stops and starts, and its triggerer is killed.

Both on PostgreSQL: Airflow's own database where there is a server for it, and the log's in a cluster of
the test's own.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from demo.airflow_service import ComponentAirflow
from demo.processes import Services, wait_until
from tests.crash.database import metadata_database
from tests.crash.stack import LOCAL_SETTINGS
from tests.support import Answer
from tests.support.job_server import JobServer
from tests.support.postgres_cluster import PostgresCluster

pytestmark = [
    pytest.mark.long,
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(PostgresCluster.missing), reason=str(PostgresCluster.missing)),
]

DAGS = Path(__file__).parent / "operation_log_dags"
#: Tasks of each list of hooks, as in the DAG; by turns, so that what else the machine does meets both.
MANY = 20
#: Seconds between two times that a triggerer notes what its triggers have done.
NOTED_EVERY = 1.0
BOOT_TIMEOUT = 150  # seconds
RUN_TIMEOUT = 120  # seconds


@dataclass(frozen=True)
class Logged:
    """Airflow, the API that it calls, and the database of the log."""

    airflow: ComponentAirflow
    service: JobServer
    cluster: PostgresCluster

    def run(self, dag_id: str, name: str) -> None:
        self.airflow.api.wait_for_dag(dag_id, timeout=60)
        self.airflow.api.unpause(dag_id)
        self.airflow.api.trigger(dag_id, {}, name)

    def records(self, run_id: str) -> list[Any]:
        """The rows of a run, oldest first."""
        engine = create_engine(self.cluster.url, poolclass=NullPool)
        query = "SELECT * FROM apitask_operation_log WHERE run_id = :run_id ORDER BY start_time"
        with engine.connect() as connection:
            return list(connection.execute(text(query), {"run_id": run_id}))

    def seconds(self, run_id: str) -> tuple[list[float], list[float]]:
        """What Airflow gives as the duration of the tasks without the sink, and with it."""
        self.run("timed", run_id)
        assert self.airflow.wait("timed", run_id, RUN_TIMEOUT) == "success"
        tasks = self.airflow.api.task_instances("timed", run_id)
        assert len(tasks) == 2 * MANY
        found = {task["map_index"]: float(task["duration"]) for task in tasks}
        return [found[n] for n in range(0, 2 * MANY, 2)], [found[n] for n in range(1, 2 * MANY, 2)]


@pytest.fixture(scope="module")
def logged(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("logged")
    with (
        metadata_database(folder) as database,
        PostgresCluster() as cluster,
        JobServer(["running"] * 10_000 + ["succeeded"]) as service,
    ):
        service.on("GET", "/rows", Answer(json={"rows": 3}))
        url = make_url(cluster.url)
        log = {"conn_type": "postgres", "host": url.host, "port": url.port, "login": url.username}
        api = {"conn_type": "apitask", "host": service.url, "extra": {"allow_http": True}}
        env = {
            **database.env,
            "AIRFLOW_CONN_SERVICE": json.dumps(api),
            "AIRFLOW_CONN_OPLOG": json.dumps({**log, "schema": url.database}),
            "AIRFLOW__APITASK__OPERATION_LOG": "task_log,sql",
            "AIRFLOW__APITASK__OPERATION_LOG_CONN_ID": "oplog",
            # More at once than processors would measure how long they wait for each other.
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
            # The triggers of one that was killed are soon given to the next.
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        }
        # What all tasks import alike is imported before, else it is most of what they take and differ by.
        (folder / "airflow" / "config").mkdir(parents=True)
        settings = folder / "airflow" / "config" / "airflow_local_settings.py"
        settings.write_text(LOCAL_SETTINGS, encoding="utf-8")
        airflow = ComponentAirflow(services, folder / "airflow", DAGS, env=env, database_url=database.url)
        try:
            airflow.launch()
            airflow.cli("apitask", "db", "migrate")
            airflow.wait_ready(BOOT_TIMEOUT)
            yield Logged(airflow, service, cluster)
        finally:
            for name in list(airflow.components):
                airflow.kill_component(name)
            airflow.stop()


def test_a_task_takes_no_longer_while_the_database_is_down(logged: Logged) -> None:
    without, up = logged.seconds("up")
    logged.cluster.stop()
    try:
        without_then, down = logged.seconds("down")
    finally:
        logged.cluster.start()
    rows = {
        "task_log, database up": without,
        "task_log,sql, database up": up,
        "task_log, database down": without_then,
        "task_log,sql, database down": down,
    }
    print(f"\n| {MANY} tasks each, seconds | median | quartiles | spread |\n| --- | --- | --- | --- |")
    for name, seconds in rows.items():
        low, median, high = statistics.quantiles(seconds, n=4)
        print(f"| {name} | {median:.3f} | {low:.3f} to {high:.3f} | {high - low:.3f} |")
    # Faster is as good: what counts is that the sink is lost in what tasks differ by anyhow.
    assert statistics.median(down) <= statistics.quantiles(without_then, n=4)[2]

    expected = list(range(1, 2 * MANY, 2))
    assert sorted(record.map_index for record in logged.records("up")) == expected
    assert logged.records("down") == []
    logged.airflow.cli("apitask", "log", "flush")
    assert sorted(record.map_index for record in logged.records("down")) == expected


def test_a_triggerer_is_killed(logged: Logged) -> None:
    logged.run("waits", "killed")
    logged.airflow.wait_for_task("waits", "killed", "call", "deferred", RUN_TIMEOUT)
    wait_until(lambda: len(_checks(logged.service)) >= 12, RUN_TIMEOUT, "the triggerer does not ask")
    killing = time.monotonic()
    logged.airflow.kill_component("triggerer")
    checks = _checks(logged.service)
    logged.airflow.start_component("triggerer")
    wait_until(
        lambda: len(_checks(logged.service)) > len(checks) + 2, RUN_TIMEOUT, "the next one does not ask"
    )
    logged.service.statuses = ("succeeded",)
    assert logged.airflow.wait("waits", "killed", RUN_TIMEOUT) == "success"

    # Nobody is asked to: the next triggerer, or the task, moves what was left of the one that was killed.
    wait_until(lambda: len(logged.records("killed")) >= 4, 30, "not all records have come")
    records = logged.records("killed")
    assert [(record.operation_subtype, record.status) for record in records] == [
        ("invoke", "success"),
        ("poll", "interrupted"),
        ("poll", "success"),
        ("result", "success"),
    ]
    assert len({record.operation_id for record in records}) == 1
    assert {(record.task_id, record.job_id) for record in records[1:]} == {("call", "job-1")}
    _, killed, later, _ = records
    # Of the killed one, those are missing that it had not noted: of the last second, and one on its way then.
    unsure = [at for at in checks if at > killing - NOTED_EVERY]
    assert len(checks) - len(unsure) - 1 <= killed.requests <= len(checks)
    assert later.requests == len(_checks(logged.service)) - len(checks)
    print(
        f"\n{len(checks)} checks until the kill, {killed.requests} of them in the log, "
        f"and all {later.requests} after it"
    )

    # What the next one had handed over to the worker is still noted for it: it comes again, and is there.
    logged.airflow.kill_component("triggerer")
    said = logged.airflow.cli("apitask", "log", "flush")
    assert said.endswith("1 records moved to the database, 0 wait on this host.")
    assert logged.records("killed") == records
    assert len(logged.records("down")) == MANY


def _checks(service: JobServer) -> list[float]:
    """When the server was asked for the status."""
    return [request.at for request in service.requests("GET", "/jobs/job-1")]
