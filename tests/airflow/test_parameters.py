"""Wrong and missing parameters fail while the DAG file is parsed, naming parameter and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor, AsyncJob, ResponseValidation
from airflow_provider_apitask.core.call import Mode
from airflow_provider_apitask.exceptions import ParameterError
from airflow_provider_apitask.jobs import GA4GH_WES, OGC_PROCESSES, slurm_job
from airflow_provider_apitask.operators.parameters import MODES
from tests.airflow.helpers import call, context_for

HANDLE = {"version": 1, "job_id": 1}

CALL: list[tuple[dict[str, Any], str, str]] = [
    ({"mode": "later"}, "mode", "sync, async"),
    ({"mode": "{{ 1 }}"}, "mode", "sync, async"),
    ({"body_format": "yaml"}, "body_format", "json, form, multipart, xml, raw"),
    ({"body_format": "{{ 1 }}"}, "body_format", "template"),
    ({"method": "GE T"}, "method", "GET, POST"),
    ({"method": 1}, "method", "GET, POST"),
    ({"method": None}, "method", "GET, POST"),
    ({"endpoint": None}, "endpoint", "missing"),
    ({"endpoint": 7}, "endpoint", "text"),
    ({"api_conn_id": ""}, "api_conn_id", "id of a connection"),
    ({"params": "a=1"}, "params", "dict"),
    ({"params": {"a": 1}, "query_params": {"b": 1}}, "params", "both"),
    ({"headers": ["a"]}, "headers", "dict"),
    ({"headers": {"a b": "1"}}, "headers", "'a b'"),
    ({"headers": {"X": "1\nY: 2"}}, "headers", "line break"),
    *(
        ({"headers": {name: "1"}}, "headers", name)
        for name in ("Host", "content-length", "Transfer-Encoding")
    ),
    ({"timeout": 0}, "timeout", "above 0"),
    ({"timeout": (1, 2, 3)}, "timeout", "connect, read"),
    ({"timeout": "soon"}, "timeout", "above 0"),
    ({"retry_count": -1}, "retry_count", "at least 0"),
    ({"retry_count": 1.5}, "retry_count", "whole"),
    ({"retry_wait": "x"}, "retry_wait", "number"),
    ({"rejected_status_codes": "9xx"}, "rejected_status_codes", "100 to 599"),
    ({"rejected_status_codes": ["2xx"]}, "rejected_status_codes", "from 400 on"),
    ({"max_response_bytes": 0}, "max_response_bytes", "at least 1"),
    ({"response_path": "a["}, "response_path", "brackets"),
    ({"response_path": 3}, "response_path", "JSONPath"),
    ({"response_path": "a", "mode": "async"}, "response_path", "job.result_path"),
    ({"job": {}, "mode": "sync"}, "job", "mode='async'"),
    ({"headers": {"X": "{idempotency_key}"}}, "idempotency_key", "there is no key"),
    (
        {
            "job": {
                "status_request": "/s",
                "reconcile": {"request": "/jobs", "match": {"$.name": "{idempotency_key}"}},
            }
        },
        "idempotency_key",
        "there is no key",
    ),
    (
        {
            "query_params": {"x": "{idempotency_key}"},
            "idempotency_key": "task",
            "pagination": {"page_param": "page"},
        },
        "pagination",
        "each page",
    ),
    ({"wait_for_completion": "no"}, "wait_for_completion", "True or False"),
    ({"deferrable": 1}, "deferrable", "True or False"),
    ({"job": [1]}, "job", "AsyncJob or a dict"),
    ({"job": False}, "job", "AsyncJob or a dict"),
    ({"job": slurm_job}, "job", r"slurm_job was not called: write slurm_job\(…\)"),
    ({"job": AsyncJob}, "job", "AsyncJob was not called"),
    ({"job": {"status_request": slurm_job}}, "job.status_request", "was not called"),
    ({"response_validation": ResponseValidation}, "response_validation", "was not called"),
    ({"headers": dict}, "headers", "must be a dict"),
    ({"job": {"pol_interval": 1}}, "job", "'pol_interval'.*poll_interval"),
    ({"job": {"poll_interval": 0}}, "job.poll_interval", "above 0"),
    ({"job": {"deadline": -1}}, "job.deadline", "above 0"),
    ({"job": {"max_polls": 0}}, "job.max_polls", "at least 1"),
    ({"job": {"status_path": "a["}}, "job.status_path", "brackets"),
    ({"job": {"extract": {"x": ""}}}, "job.extract['x']", "JSONPath"),
    ({"job": {"status_request": {"url": "/x"}}}, "job.status_request", "'url'.*endpoint"),
    (
        {"job": {"status_request": {"endpoint": "/x", "headers": {"Host": "x"}}}},
        "job.status_request.headers",
        "Host",
    ),
    ({"job": {"success_values": ["ok"], "failure_values": ["OK"]}}, "job.failure_values", "success_values"),
    ({"job": {"unknown_status": "hope"}}, "job.unknown_status", "fail, running"),
    ({"job": {"final_status_codes": [42]}}, "job.final_status_codes", "100 to 599"),
]

#: What a mapped body may still cure.
NOT_MAPPED: list[tuple[dict[str, Any], str, str]] = [
    ({"idempotency_key": "task", "idempotency_header": None}, "idempotency_header", "nowhere in the request"),
    (
        {"idempotency_key": "try", "idempotency_header": None, "query_params": {"a": "{key}"}},
        "idempotency_header",
        "{idempotency_key}",
    ),
]

SENSOR: list[tuple[dict[str, Any], str, str]] = [
    ({}, "handle", "start.output"),
    ({"job_id": 7}, "handle", "status_request"),
    ({"status_request": "/jobs/{job_id}"}, "job_id", "{job_id}"),
    ({"job": {"status_request": "/jobs/{job_id}"}}, "job_id", "{job_id}"),
    ({"status_request": "/jobs/{run}", "job_id": 7}, "handle", "{run}"),
    ({"status_request": "/x", "job": {"status_request": "/y"}}, "status_request", "twice"),
    ({"job": GA4GH_WES}, "job_id", "{run_id}"),
    ({"job": slurm_job, "job_id": 7}, "job", "was not called"),
    ({"job": OGC_PROCESSES}, "handle", "start.output"),
    ({"job": {"status_request": "/jobs/{run}/{step}", "job_id": "run"}, "job_id": 7}, "handle", "{step}"),
    ({"status_request": {"url": "/x"}}, "status_request", "'url'"),
    ({"handle": HANDLE, "job": {"polls": 1}}, "job", "'polls'"),
    ({"handle": HANDLE, "poke_interval": 0}, "poke_interval", "above 0"),
    ({"handle": HANDLE, "request_timeout": 0}, "request_timeout", "above 0"),
    ({"handle": HANDLE, "max_response_bytes": 0}, "max_response_bytes", "at least 1"),
]


def named(function: Callable[[], Any], parameter: str, allowed: str) -> None:
    with pytest.raises(ParameterError, match=f"(?s){allowed}") as caught:
        function()
    assert caught.value.data["parameter"] == parameter
    assert parameter.rpartition(".")[2].partition("[")[0] in str(caught.value) or "status" in str(
        caught.value
    )


@pytest.mark.parametrize(("kwargs", "parameter", "allowed"), [*CALL, *NOT_MAPPED])
def test_operator(kwargs: dict[str, Any], parameter: str, allowed: str) -> None:
    named(lambda: call(**kwargs), parameter, allowed)


@pytest.mark.parametrize(("kwargs", "parameter", "allowed"), CALL)
def test_mapped_operator(kwargs: dict[str, Any], parameter: str, allowed: str) -> None:
    shared: dict[str, Any] = {"task_id": "t", "endpoint": "/x", **kwargs}
    named(lambda: ApiCallOperator.partial(**shared).expand(body=[1, 2]), parameter, allowed)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"body": {"token": "{idempotency_key}"}},
        {"body": {"token": "{{ var.value.token }}"}},
        {"endpoint": "/jobs/{idempotency_key}"},
        {"idempotency_key": "this search may be repeated"},
        {"idempotency_key": "{{ run_id }}", "query_params": {"token": "{{ run_id }}"}},
    ],
)
def test_a_key_that_is_in_the_request_needs_no_header(kwargs: dict[str, Any]) -> None:
    call(**{"idempotency_key": "task", "idempotency_header": None, **kwargs})


def test_a_template_that_leaves_the_key_out_is_found_before_anything_is_sent() -> None:
    task = call(idempotency_key="task", idempotency_header=None, body={"token": "{{ 'x' }}"})
    with pytest.raises(ParameterError, match="nowhere in the request"):
        task.execute(context_for(task))


@pytest.mark.parametrize(("kwargs", "parameter", "allowed"), SENSOR)
def test_sensor(kwargs: dict[str, Any], parameter: str, allowed: str) -> None:
    named(lambda: ApiStatusSensor(task_id="s", **kwargs), parameter, allowed)


@pytest.mark.parametrize("kind", [ApiCallOperator, ApiStatusSensor])
def test_unknown_name_is_refused_by_airflow(kind: type[BaseOperator]) -> None:
    with pytest.raises(TypeError, match="retry_dellay"):
        kind(task_id="t", endpoint="/x", handle=HANDLE, retry_dellay=1)


@pytest.mark.parametrize("mapped", ["endpoint", "job", "method", "query_params", "api_conn_id", "headers"])
def test_what_is_mapped_is_checked_when_it_is_known(mapped: str) -> None:
    shared = {"task_id": "t", "endpoint": "/x"}
    shared.pop(mapped, None)
    with DAG("d", schedule=None):
        ApiCallOperator.partial(**shared).expand(**{mapped: [{}]})


def test_mapped_operator_may_take_its_endpoint_from_default_args() -> None:
    with DAG("d", schedule=None, default_args={"endpoint": "/x"}):
        ApiCallOperator.partial(task_id="t").expand(body=[1])
    with DAG("e", schedule=None), pytest.raises(ParameterError, match="endpoint is missing"):
        ApiCallOperator.partial(task_id="t").expand(body=[1])
    with DAG("f", schedule=None):
        rows = BaseOperator(task_id="rows").output
        ApiCallOperator.partial(task_id="t").expand_kwargs(rows)
        with pytest.raises(ParameterError, match="endpoint is missing"):
            ApiCallOperator.partial(task_id="u").expand_kwargs([{"endpoint": "/x"}, {"body": 1}])


def test_mapped_subclass_with_parameters_of_its_own() -> None:
    class Load(ApiCallOperator):
        def __init__(self, *, table: str, **kwargs: Any) -> None:
            super().__init__(endpoint=f"/tables/{table}", **kwargs)

    with DAG("d", schedule=None):
        Load.partial(task_id="t").expand(table=["a", "b"])
    with DAG("e", schedule=None), pytest.raises(ParameterError, match="method"):
        Load.partial(task_id="t", method="G T").expand(table=["a", "b"])


@pytest.mark.parametrize(
    ("kwargs", "rendered", "message"),
    [
        ({"job": {"poll_interval": "{{ params.x }}"}}, "0", "job.poll_interval must be a number above 0"),
        ({"job": {"poll_interval": "{{ params.x }}"}}, "soon", "job.poll_interval must be a number"),
        ({"job": {"status_path": "{{ params.x }}"}}, "$.a..", "job.status_path: .* no valid JSONPath"),
        ({"method": "{{ params.x }}"}, "G T", "method must be"),
        ({"headers": {"X": "{{ params.x }}"}}, "a\nb", "line break"),
        ({"response_path": "{{ params.x }}"}, "$.a..", "response_path: .* no valid JSONPath"),
        ({"job": "{{ params.x }}"}, "text", "job must be an AsyncJob or a dict"),
        ({"timeout": "{{ params.x }}"}, "-1", "timeout must be a number above 0"),
    ],
)
def test_rendered_values_are_checked_before_anything_is_sent(
    jobs: Any, kwargs: dict[str, Any], rendered: str, message: str
) -> None:
    task = call(**kwargs)
    with pytest.raises(ParameterError, match=message):
        task.execute(context_for(task, params={"x": rendered}))
    assert jobs.history == []


def test_dag_processor_reports_the_parameter(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_provider_apitask import ApiCallOperator\n"
        "with DAG('wrong'):\n"
        "    ApiCallOperator(task_id='t', endpoint='/x', job={'poll_interval': 0})\n"
    )
    try:  # Airflow 3.3 has moved it
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]
    bag = DagBag(str(tmp_path))
    assert bag.dags == {}
    (report,) = bag.import_errors.values()
    assert "ParameterError: job.poll_interval must be a number above 0, not 0." in report


def test_modes_are_those_of_the_core() -> None:
    assert tuple(Mode) == MODES
