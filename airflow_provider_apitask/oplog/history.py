"""Reading the operation log from its database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_provider_apitask.core.records import OperationRecord, OperationStatus, Subtype
from airflow_provider_apitask.oplog.database import engine_of, record_of, table

__all__ = ["Filters", "query"]

#: Rows that are fetched at a time.
_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which records are wanted; None for all.

    :param since: Unix time; those that began then or later.
    :param until: Unix time; those that began before it.
    :param limit: how many at most.
    """

    subtype: Subtype | str | None = None
    status: OperationStatus | str | None = None
    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    map_index: int | None = None
    operation_id: str | None = None
    job_id: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int | None = 100


def query(conn_id: str | None = None, filters: Filters | None = None) -> Iterator[OperationRecord]:
    """Read records, the newest first.

    :param conn_id: Airflow connection of the database; by default ``[apitask] operation_log_conn_id``.
    :raises ConnectionFieldError: where there is no such connection, or it is not one of a database.
    """
    from sqlalchemy import select

    wanted = filters or Filters()
    log = table()
    names = ("status", "dag_id", "task_id", "run_id", "map_index", "operation_id", "job_id")
    equal = {log.c[name]: getattr(wanted, name) for name in names}
    equal[log.c.operation_subtype] = wanted.subtype
    asked = select(log).where(
        *(column == getattr(value, "value", value) for column, value in equal.items() if value is not None)
    )
    if wanted.since is not None:
        asked = asked.where(log.c.start_time >= datetime.fromtimestamp(wanted.since, UTC))
    if wanted.until is not None:
        asked = asked.where(log.c.start_time < datetime.fromtimestamp(wanted.until, UTC))
    asked = asked.order_by(log.c.start_time.desc(), log.c.record_id.desc()).limit(wanted.limit)
    engine = engine_of(conn_id)
    try:
        # Closed also where the caller does not read on.
        with (
            engine.connect() as connection,
            connection.execution_options(yield_per=_ROWS).execute(asked) as found,
        ):
            for row in found.mappings():
                yield record_of(dict(row))
    finally:
        engine.dispose()
