"""Spans and metrics, by the OpenTelemetry SDK's own exporters in memory."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.core.records import OperationStatus, Subtype
from airflow_provider_apitask.oplog import emit
from airflow_provider_apitask.oplog.hooks import configured
from tests.airflow.helpers import HAS_STORE, Comms, Connect, call, context_for
from tests.airflow.oplog_support import make_record
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # OpenTelemetry lets nobody set the provider of a process twice.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def test_a_call_is_a_span_below_the_one_of_its_task(
    spans: InMemorySpanExporter, connect: Connect, comms: Comms
) -> None:
    with ScriptedServer() as server:
        server.on("GET", "/x", Answer(503), Answer(json={"a": 1}))
        connect(server.url)
        task = call(method="GET", endpoint="/x", retry_count=1, retry_wait=0, operation_log="otel")
        with trace.get_tracer("test").start_as_current_span("task") as parent:
            task.execute(context_for(task))
        span, outer = spans.get_finished_spans()
        assert span.parent == parent.get_span_context()
        assert span.name == "invoke GET"
        assert outer.start_time <= span.start_time + 1_000_000
        assert span.start_time < span.end_time
        assert span.attributes["url.full"] == f"{server.url}/x"
    kept = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.request.resend_count": 1,
        "apitask.task_id": "t",
        "apitask.subtype": "invoke",
    }
    assert {name: span.attributes[name] for name in kept} == kept
    assert span.status.status_code is trace.StatusCode.UNSET


@pytest.mark.parametrize(
    ("on", "hooks"),
    [
        ({}, ["task_log"]),
        ({"TRACES__OTEL_ON": "True"}, ["task_log", "otel"]),
        ({"METRICS__STATSD_ON": "True"}, ["task_log", "metrics"]),
        ({"TRACES__OTEL_ON": "True", "METRICS__OTEL_ON": "True"}, ["task_log", "otel", "metrics"]),
        ({"TRACES__OTEL_ON": "True", "APITASK__OPERATION_LOG": "sql"}, ["sql"]),
        ({"TRACES__OTEL_ON": "True", "APITASK__OPERATION_LOG": ""}, []),
    ],
)
def test_what_airflow_has_on_is_told_by_default(
    on: dict[str, str], hooks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in on.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    assert configured() == hooks


def test_spans_need_no_more_than_that(
    spans: InMemorySpanExporter, connect: Connect, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TRACES__OTEL_ON", "True")
    with ScriptedServer() as server:
        server.on("GET", "/x", Answer(json={"a": 1}))
        connect(server.url)
        task = call(method="GET", endpoint="/x")
        task.execute(context_for(task))
    assert [span.name for span in spans.get_finished_spans()] == ["invoke GET"]


def test_a_failure_is_an_error(spans: InMemorySpanExporter, connect: Connect, comms: Comms) -> None:
    connect("http://127.0.0.1:9")
    task = call(method="GET", endpoint="/x", operation_log="otel")
    with pytest.raises(exceptions.RequestFailedError) as caught:
        task.execute(context_for(task))
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (
        trace.StatusCode.ERROR,
        caught.value.message,
    )
    assert span.attributes["error.type"] == "request_failed"


def test_what_goes_on_is_no_span_yet(spans: InMemorySpanExporter) -> None:
    emit([make_record(1, status=OperationStatus.RUNNING, ended_at=None)], "otel")
    assert spans.get_finished_spans() == ()


@pytest.mark.skipif(not HAS_STORE, reason="before Airflow 3.3 metrics cannot be led to an exporter in memory")
def test_operations_are_counted_and_timed() -> None:
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from airflow.sdk.observability import stats

    reader = InMemoryMetricReader()
    provider: Any = MeterProvider([reader], shutdown_on_exit=False)
    stats.initialize(factory=lambda: SafeOtelLogger(provider), export_legacy_names=False)
    try:
        poll = make_record(3, subtype=Subtype.POLL, requests=7, retries=2, api_conn_id="api")
        emit([make_record(1), make_record(2), poll], "metrics")
        data = reader.get_metrics_data()
    finally:
        stats.initialize(factory=stats_off, export_legacy_names=False)
        provider.shutdown()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    points = {
        (metric.name.partition(".")[2], point.attributes["subtype"]): point
        for metric in metrics
        for point in metric.data.data_points
    }
    assert points["apitask.operations", "invoke"].value == 2
    assert points["apitask.requests", "poll"].value == 7
    assert points["apitask.retries", "poll"].value == 2
    assert points["apitask.operations", "poll"].attributes["api_conn_id"] == "api"
    duration = points["apitask.operation_duration", "poll"]
    assert getattr(duration, "value", getattr(duration, "sum", None)) == 1500


def stats_off() -> Any:
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger

    return NoStatsLogger()
