"""The sink that writes to a database, by way of the spool."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_apitask.core.records import OperationRecord
from airflow_provider_apitask.oplog.hooks import configured_timeout
from airflow_provider_apitask.oplog.spool import spool, try_flush

__all__ = ["SqlSink"]


class SqlSink:
    """Keeps records in the spool, and moves them to the database of ``operation_log_conn_id``."""

    def write(self, records: Sequence[OperationRecord]) -> None:
        """Keep records: from here on the death of this process does not lose them."""
        spool().put(records)

    def flush(self) -> None:
        """Move what waits to the database; a long queue is left to the next processes."""
        try_flush(configured_timeout() / 2)
