"""The table of the operation log as SQLAlchemy sees it: writing records once, and reading them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.errors import ConnectionFieldError
from airflow_provider_apitask.core.records import OPERATION_TYPE, OperationRecord, OperationStatus, Subtype

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine

__all__ = ["configured_conn_id", "engine_of", "engine_of_connection", "record_of", "table", "write"]

#: Names of the table's columns that a record calls otherwise.
_NAMES = {"subtype": "operation_subtype"}
#: Columns that hold a time.
_TIMES = {"start_time": "started_at", "end_time": "ended_at"}
_PLAIN = (
    *("record_id", "operation_id", "status", "dag_id", "task_id", "run_id", "map_index", "try_number"),
    *("api_conn_id", "method", "url", "http_status", "job_id", "job_status", "requests", "retries"),
    *("bytes_sent", "bytes_received", "validation", "error_kind", "error_message", "version"),
)
#: What ``operation_details`` says, as JSON.
_DETAILS = (
    *("url", "method", "http_status", "job_id", "job_status", "requests", "retries", "bytes_sent"),
    *("bytes_received", "validation", "error_kind", "run_id", "map_index", "try_number", "api_conn_id"),
)
#: Longest text of a column that has a bound, characters.
_LONGEST = dict.fromkeys(("dag_id", "task_id", "run_id", "api_conn_id", "job_id", "job_status"), 250)


def configured_conn_id() -> str | None:
    """The connection of ``[apitask] operation_log_conn_id``, None where there is none."""
    from airflow.providers.common.compat.sdk import conf

    return conf.get("apitask", "operation_log_conn_id", fallback=None) or None


def engine_of(conn_id: str | None = None) -> Engine:
    """An engine for the database of an Airflow connection; to be disposed of.

    :param conn_id: by default that of the configuration.
    :raises ConnectionFieldError: where there is no such connection, or it is not one of a database.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    conn_id = conn_id or configured_conn_id()
    if conn_id is None:
        raise ConnectionFieldError(
            "No database is configured for the operation log: set operation_log_conn_id in the section "
            "[apitask] of Airflow's configuration to the id of a connection.",
            field="operation_log_conn_id",
        )
    return engine_of_connection(BaseHook.get_connection(conn_id))


def engine_of_connection(connection: Any) -> Engine:
    """An engine for the database of a connection that was looked up.

    :raises ConnectionFieldError: where it is not one of a database.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlalchemy.pool import NullPool

    hook: Any = connection.get_hook()
    if not isinstance(hook, DbApiHook):
        raise ConnectionFieldError(
            f"The connection {connection.conn_id!r} of the operation log is of type "
            f"{connection.conn_type!r}, which is not that of a database.",
            conn_id=connection.conn_id,
            field="conn_type",
        )
    # With the connection that is there: most hooks do not look it up again then.
    hook = type(hook)(**{hook.conn_name_attr: connection.conn_id}, connection=connection)
    engine: Engine = hook.get_sqlalchemy_engine({"poolclass": NullPool})
    return engine


def table() -> Table:
    """The table in its newest version."""
    import sqlalchemy as sa

    times = {name: sa.DateTime(timezone=True) for name in _TIMES}
    whole = dict.fromkeys(("map_index", "try_number", "http_status", "requests", "retries"), sa.Integer())
    large = dict.fromkeys(("bytes_sent", "bytes_received"), sa.BigInteger())
    kinds: dict[str, Any] = {**times, **whole, **large, "success": sa.Boolean(), "version": sa.Integer()}
    names = (*_PLAIN, *_TIMES, "operation_type", "operation_subtype", "success", "operation_details")
    columns = [sa.Column(name, kinds.get(name, sa.Text()), primary_key=name == "record_id") for name in names]
    return sa.Table("apitask_operation_log", sa.MetaData(), *columns)


def write(connection: Connection, records: Iterable[OperationRecord]) -> None:
    """Write records in the caller's transaction; one that is there is kept, unless it was not final."""
    latest: dict[str, OperationRecord] = {}
    for record in records:
        if record.record_id not in latest or _replaces(record.status, latest[record.record_id].status):
            latest[record.record_id] = record
    rows = [_row(record) for record in latest.values()]
    if not rows:
        return
    if connection.dialect.name in ("postgresql", "sqlite"):
        connection.execute(_upsert(connection.dialect.name, rows))
    else:
        _write_portably(connection, rows)


def record_of(row: Mapping[Any, Any]) -> OperationRecord:
    """The record of a row."""
    given = {name: row[name] for name in _PLAIN}
    given["subtype"] = Subtype(row["operation_subtype"])
    given["status"] = OperationStatus(row["status"])
    for name, field in _TIMES.items():
        at = row[name]
        # SQLite and MySQL keep no zone: what is written is UTC.
        given[field] = None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return OperationRecord(**given)


def _row(record: OperationRecord) -> dict[str, Any]:
    fields = record.to_dict()
    details = {name: fields[name] for name in _DETAILS if fields[name] is not None}
    row: dict[str, Any] = {name: fields[name] for name in _PLAIN}
    for name, field in _TIMES.items():
        row[name] = None if fields[field] is None else datetime.fromtimestamp(fields[field], UTC)
    row |= {
        "operation_type": OPERATION_TYPE,
        "operation_subtype": record.subtype.value,
        "status": record.status.value,
        "success": record.success,
        "operation_details": json.dumps(details),
    }
    return {name: _fitting(name, value) for name, value in row.items()}


def _fitting(name: str, value: Any) -> Any:
    """A value as every database takes it: PostgreSQL has no NUL in a text."""
    if not isinstance(value, str):
        return value
    value = value.replace("\x00", "")
    return value[: _LONGEST[name]] if name in _LONGEST else value


def _replaces(new: str, old: str) -> bool:
    """Whether a record takes the place of one with the same id."""
    if old == OperationStatus.RUNNING:
        return True
    return old == OperationStatus.INTERRUPTED and new in (OperationStatus.SUCCESS, OperationStatus.FAILED)


def _upsert(dialect: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    from sqlalchemy import and_, or_
    from sqlalchemy.dialects import postgresql, sqlite

    log = table()
    make: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    insert = make(log).values(list(rows))
    # The same as _replaces.
    finished = insert.excluded.status.in_([OperationStatus.SUCCESS.value, OperationStatus.FAILED.value])
    interrupted = and_(log.c.status == OperationStatus.INTERRUPTED.value, finished)
    return insert.on_conflict_do_update(
        index_elements=["record_id"],
        set_={column.name: insert.excluded[column.name] for column in log.c if column.name != "record_id"},
        where=or_(log.c.status == OperationStatus.RUNNING.value, interrupted),
    )


def _write_portably(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Where SQLAlchemy knows no insert-or-update of the database; another writer makes it fail as a whole."""
    from sqlalchemy import select

    log = table()
    ids = [row["record_id"] for row in rows]
    asked = select(log.c.record_id, log.c.status).where(log.c.record_id.in_(ids)).with_for_update()
    known = {found.record_id: found.status for found in connection.execute(asked)}
    if added := [row for row in rows if row["record_id"] not in known]:
        connection.execute(log.insert(), added)
    for row in rows:
        if row["record_id"] in known and _replaces(row["status"], known[row["record_id"]]):
            connection.execute(log.update().where(log.c.record_id == row["record_id"]).values(**row))
