"""The sink that writes to the log of the task: one readable line per operation, with its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_apitask.core.records import OperationRecord, OperationStatus

__all__ = ["TaskLogSink", "line_of"]

#: What the log of a task says by itself.
_KNOWN = ("dag_id", "task_id", "run_id", "map_index", "try_number", "version", "error_message", "record_id")


class TaskLogSink:
    """Writes each operation as a line, and its fields beside it where logs are structured."""

    #: The log of a task is bound to its thread.
    inline = True

    def write(self, records: Sequence[OperationRecord]) -> None:
        """Write a line for each record."""
        # Airflow's own way into the log of a task, on workers and triggerers.
        import structlog

        log: Any = structlog.get_logger("airflow_provider_apitask.oplog")
        for record in records:
            fields = {
                name: value
                for name, value in record.to_dict().items()
                if value is not None and name not in _KNOWN
            }
            level = log.info if record.status is not OperationStatus.FAILED else log.warning
            level(line_of(record), **fields)


def line_of(record: OperationRecord) -> str:
    """The operation in one line."""
    took = "" if record.ended_at is None else f" in {record.ended_at - record.started_at:.2f} s"
    asked = f": {record.method} {record.url}" if record.method and record.url else ""
    code = f" → {record.http_status}" if record.http_status is not None else ""
    job = f", job {record.job_id}" if record.job_id is not None else ""
    status = f" ({record.job_status})" if record.job_status is not None else ""
    again = f", {record.retries} repeated" if record.retries else ""
    requests = f", {record.requests} requests{again}" if record.requests != 1 else ""
    why = f". {record.error_message}" if record.error_message else ""
    size = f", {record.bytes_sent} B sent, {record.bytes_received} B received"
    return f"API call {record.subtype}: {record.status}{took}{asked}{code}{job}{status}{requests}{size}{why}"
