"""Databases for the SQL sink, and records for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import Engine

from airflow_provider_apitask.core.records import OperationRecord, OperationStatus, Subtype
from airflow_provider_apitask.oplog import migrations, spool
from airflow_provider_apitask.oplog.spool_file import SpoolFile
from tests.crash.database import metadata_database

__all__ = ["Log", "database_lookups", "make_record", "new_log", "stopped_clock"]


class Log:
    """A database for the log, and its connection ``oplog``.

    :param url: for SQLAlchemy.
    """

    def __init__(self, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = url
        self.spool = SpoolFile(folder / "spool.db")
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("AIRFLOW__APITASK__OPERATION_LOG_CONN_ID", "oplog")
        monkeypatch.setenv("AIRFLOW__APITASK__OPERATION_LOG_SPOOL", str(self.spool.path))
        self.connect(make_url(url).port)

    def connect(self, port: int | None) -> None:
        """Let the connection lead to the database by this port."""
        url = make_url(self.url)
        record: dict[str, Any] = {"conn_type": "sqlite", "host": url.database}
        if url.get_backend_name() == "postgresql":
            record = {"conn_type": "postgres", "host": url.host, "port": port, "login": url.username}
            record |= {"schema": url.database, "password": url.password, "extra": {"connect_timeout": 5}}
        self._monkeypatch.setenv("AIRFLOW_CONN_OPLOG", json.dumps(record))

    def rows(self, query: str) -> list[Any]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(query)))
        finally:
            engine.dispose()

    def ids(self) -> list[str]:
        """The ids of all records, with repetitions."""
        return [row[0] for row in self.rows("SELECT record_id FROM apitask_operation_log")]


def new_log(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A database with the table in it."""
    if kind == "sqlite":
        made = Log(f"sqlite:///{folder / 'log.db'}", folder, monkeypatch)
        migrations.upgrade("oplog")
        yield made
        return
    with metadata_database(folder) as database:
        if database.note:
            pytest.skip(database.note)
        made = Log(database.url, folder, monkeypatch)
        migrations.upgrade("oplog")
        yield made


def make_record(number: int = 1, **more: Any) -> OperationRecord:
    given: dict[str, Any] = {
        "record_id": f"{os.getpid()}-{number}",
        "operation_id": f"o{number}",
        "subtype": Subtype.INVOKE,
        "status": OperationStatus.SUCCESS,
        "started_at": 1_800_000_000.0 + number,
        "ended_at": 1_800_000_001.5 + number,
        "dag_id": "d",
        "task_id": "t",
        "run_id": "r",
        "url": "https://api.example.com/x",
        "method": "POST",
        "http_status": 202,
        **more,
    }
    return OperationRecord(**given)


def database_lookups(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Record each attempt to reach the database; the list grows as the spool is flushed."""
    attempts: list[str | None] = []
    engine_of = spool.engine_of

    def recorded(conn_id: str | None) -> Engine:
        attempts.append(conn_id)
        return engine_of(conn_id)

    monkeypatch.setattr(spool, "engine_of", recorded)
    return attempts


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the spool's wall clock, so that the wait after a failure does not end on a slow machine."""
    now = time.time()
    monkeypatch.setattr(spool, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
