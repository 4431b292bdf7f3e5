"""The sink that counts operations in Airflow's metrics (StatsD, Datadog, OpenTelemetry)."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_apitask.core.records import OperationRecord

__all__ = ["MetricsSink"]


class MetricsSink:
    """Counts operations, requests, repetitions and bytes, and takes the time of each operation.

    The tags are few on purpose: each value of one is a series of its own.
    """

    #: Airflow's client sends a datagram, or hands over to OpenTelemetry.
    inline = True

    def write(self, records: Sequence[OperationRecord]) -> None:
        """Count each operation that is over."""
        from airflow.providers.common.compat.sdk import Stats

        for record in records:
            if record.ended_at is None:
                continue
            tags = {
                "subtype": record.subtype.value,
                "status": record.status.value,
                "api_conn_id": record.api_conn_id or "",
            }
            Stats.incr("apitask.operations", tags=tags)
            Stats.incr("apitask.requests", record.requests, tags=tags)
            if record.retries:
                Stats.incr("apitask.retries", record.retries, tags=tags)
            Stats.incr("apitask.bytes_received", record.bytes_received, tags=tags)
            # Milliseconds, as Airflow has them.
            took = (record.ended_at - record.started_at) * 1000
            Stats.timing("apitask.operation_duration", took, tags=tags)
