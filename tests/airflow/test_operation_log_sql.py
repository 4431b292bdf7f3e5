"""The SQL sink on SQLite and PostgreSQL: kept once, read back, and not waited for while it is down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.core.records import OperationStatus, Subtype
from airflow_provider_apitask.oplog import database, emit, history, migrations, spool
from airflow_provider_apitask.oplog.history import Filters
from tests.airflow.oplog_support import Log, database_lookups, make_record, new_log, stopped_clock
from tests.support.tcp_proxy import TcpProxy


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    yield from new_log(request.param, tmp_path, monkeypatch)


@pytest.fixture
def on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    yield from new_log("postgres", tmp_path, monkeypatch)


def test_the_query_of_qarions_page_runs_as_it_stands(log: Log) -> None:
    emit([make_record(1), make_record(2, status=OperationStatus.FAILED)], "sql")
    rows = log.rows("""
        SELECT
        operation_id,
        operation_subtype,
        flow_id,
        task_id,
        status,
        success,
        operation_details
        FROM xt_operation_logs
        WHERE operation_type = 'api_call'
        ORDER BY start_time DESC;
    """)
    assert [tuple(row)[:5] for row in rows] == [
        ("o2", "invoke", "d", "t", "failed"),
        ("o1", "invoke", "d", "t", "success"),
    ]
    assert [bool(row.success) for row in rows] == [False, True]
    assert '"http_status": 202' in rows[0].operation_details


def test_migrating_twice_changes_nothing(log: Log) -> None:
    emit([make_record(1)], "sql")
    assert migrations.upgrade() == migrations.head()
    assert len(log.ids()) == 1
    engine = create_engine(log.url)
    with engine.connect() as connection:
        assert migrations.current(connection) == migrations.head()
    engine.dispose()


def test_records_are_read_as_they_were_written(log: Log) -> None:
    whole = make_record(
        1,
        map_index=3,
        try_number=2,
        api_conn_id="api",
        job_id="7",
        job_status="läuft",
        requests=4,
        retries=1,
        bytes_sent=5,
        bytes_received=2**40,
        validation="failed",
        error_kind="answer",
        error_message="no\nsuch",
    )
    emit([whole], "sql")
    assert list(history.query()) == [whole]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"limit": 2}, [5, 4]),
        ({"limit": None}, [5, 4, 3, 2, 1]),
        ({"subtype": "poll"}, [4]),
        ({"subtype": Subtype.POLL, "status": OperationStatus.SUCCESS}, [4]),
        ({"status": "failed"}, [2]),
        ({"dag_id": "other"}, [3]),
        ({"task_id": "t", "run_id": "r2"}, [5]),
        ({"operation_id": "o1"}, [1]),
        ({"job_id": "9"}, [5]),
        ({"since": 1_800_000_003, "until": 1_800_000_005}, [4, 3]),
    ],
)
def test_history_by_filters(log: Log, filters: dict[str, Any], found: list[int]) -> None:
    records = [
        make_record(1),
        make_record(2, status=OperationStatus.FAILED),
        make_record(3, dag_id="other"),
        make_record(4, subtype=Subtype.POLL),
        make_record(5, run_id="r2", job_id="9"),
    ]
    emit(records, "sql")
    assert list(history.query("oplog", Filters(**filters))) == [records[number - 1] for number in found]


ORDER = [OperationStatus.RUNNING, OperationStatus.INTERRUPTED, OperationStatus.FAILED]


@pytest.mark.parametrize("portably", [False, True])
def test_a_record_that_comes_twice_is_kept_once(
    log: Log, portably: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if portably:
        # As on a database whose insert-or-update SQLAlchemy does not know.
        monkeypatch.setattr(database, "_upsert", lambda dialect, rows: None)
        monkeypatch.setattr(
            database, "write", lambda db, records: database._write_portably(db, [database._row(*records)])
        )
        monkeypatch.setattr(spool, "write", database.write)
        monkeypatch.setattr(spool, "_BATCH", 1)
    record = make_record(1)
    for number, status in enumerate([*ORDER, *reversed(ORDER)]):
        emit([replace(record, status=status, requests=number)], "sql")
        (kept,) = history.query()
        # What is further replaces what is less far; what came first stays otherwise.
        expected = (status, number) if number < len(ORDER) else (OperationStatus.FAILED, len(ORDER) - 1)
        assert (kept.status, kept.requests) == expected
    assert len(log.ids()) == 1


def test_one_batch_may_hold_a_record_twice(log: Log) -> None:
    record = make_record(1)
    emit([record, replace(record, status=OperationStatus.RUNNING), record], "sql")
    assert list(history.query()) == [record]


def test_what_the_database_cannot_hold_does_not_keep_the_others(on_postgres: Log) -> None:
    too_large = make_record(2, http_status=2**40)
    emit([make_record(1), too_large, make_record(3, error_message="a\x00b")], "sql")
    assert [record.operation_id for record in history.query()] == ["o3", "o1"]
    assert on_postgres.spool.count() == 0
    assert [record.error_message for record in history.query()] == ["ab", None]


def test_without_its_table_the_log_says_what_to_do(
    on_postgres: Log, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(on_postgres.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE apitask_operation_log CASCADE")
        connection.exec_driver_sql("DROP TABLE apitask_alembic_version")
    engine.dispose()
    emit([make_record(1)], "sql")
    assert "airflow apitask db migrate" in caplog.text
    assert "api.example.com" not in caplog.text
    migrations.upgrade()
    assert spool.flush() == 1


def test_without_a_connection_records_are_kept(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW__APITASK__OPERATION_LOG_CONN_ID")
    emit([make_record(1)], "sql")
    assert "set operation_log_conn_id" in caplog.text
    assert log.spool.count() == 1
    with pytest.raises(exceptions.ConnectionFieldError, match="operation_log_conn_id"):
        spool.flush()
    assert spool.flush("oplog") == 1
    assert log.spool.count() == 0


def test_a_connection_of_another_kind_is_named(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OPLOG", '{"conn_type": "http", "host": "x"}')
    with pytest.raises(exceptions.ConnectionFieldError, match="'http', which is not that of a database"):
        migrations.upgrade("oplog")


# -- a database that is down ---------------------------------------------------------------------


@pytest.fixture
def proxy(on_postgres: Log) -> Iterator[TcpProxy]:
    with TcpProxy(make_url(on_postgres.url).port or 5432) as proxy:
        on_postgres.connect(proxy.port)
        yield proxy


def test_a_database_that_is_down_is_asked_once_and_later_gets_all(
    on_postgres: Log, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit([make_record(1)], "sql")
    proxy.close()
    attempts = database_lookups(monkeypatch)
    stopped_clock(monkeypatch)
    for number in range(2, 12):
        emit([make_record(number)], "sql")
    assert len(on_postgres.ids()) == 1
    assert on_postgres.spool.count() == 10
    assert len(attempts) == 1, "only the first record tries the database"
    proxy.open()
    assert spool.flush() == 10
    assert sorted(on_postgres.ids()) == sorted(make_record(number).record_id for number in range(1, 12))


def test_it_is_tried_again_after_a_while(
    on_postgres: Log, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.close()
    emit([make_record(1)], "sql")
    proxy.open()
    emit([make_record(2)], "sql")
    assert on_postgres.ids() == []
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 6)
    emit([make_record(3)], "sql")
    assert len(on_postgres.ids()) == 3
    assert on_postgres.spool.count() == 0
