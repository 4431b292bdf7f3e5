"""The sink that makes a span of each operation, with the names of OpenTelemetry's HTTP conventions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_apitask.core.records import OperationRecord, OperationStatus

__all__ = ["OtelSink"]

#: Attributes that have a name of their own there; the others are called ``apitask.…``.
#: Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
_NAMES = {
    "method": "http.request.method",
    "url": "url.full",
    "http_status": "http.response.status_code",
    "bytes_sent": "http.request.body.size",
    "bytes_received": "http.response.body.size",
    "retries": "http.request.resend_count",
    "error_kind": "error.type",
}
#: What a span says in other ways.
_LEFT_OUT = frozenset({"started_at", "ended_at", "error_message", "version"})


class OtelSink:
    """Gives spans to the tracer of the process, where Airflow or the user has set one up.

    A span is a child of the one that is current in the task.
    """

    #: The current span is one of the thread.
    inline = True

    def write(self, records: Sequence[OperationRecord]) -> None:
        """Make a span of each operation that is over; it is sent when OpenTelemetry sends."""
        from opentelemetry import trace

        tracer = trace.get_tracer("airflow_provider_apitask")
        for record in records:
            if record.ended_at is None:
                continue
            span = tracer.start_span(
                f"{record.subtype.value} {record.method or ''}".rstrip(),
                kind=trace.SpanKind.CLIENT,
                start_time=_nanoseconds(record.started_at),
                attributes=_attributes(record),
            )
            if record.status is not OperationStatus.SUCCESS:
                span.set_status(trace.StatusCode.ERROR, record.error_message)
            span.end(_nanoseconds(record.ended_at))


def _attributes(record: OperationRecord) -> dict[str, Any]:
    return {
        _NAMES.get(name, f"apitask.{name}"): value
        for name, value in record.to_dict().items()
        if value is not None and name not in _LEFT_OUT
    }


def _nanoseconds(seconds: float) -> int:
    # By way of microseconds: a float has no more.
    return round(seconds * 1_000_000) * 1000
