"""Jinja, XComArgs, dynamic mapping, and what of it is stored of a DAG."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import DAG, BaseOperator
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor, AsyncJob
from tests.airflow.helpers import FAST, TaskInstance, awaited, call, context_for, deferred, run
from tests.support import Answer
from tests.support.job_server import JobServer

JOB = AsyncJob(
    extract={"run": "$.id"},
    status_request={"endpoint": "/jobs/{run}", "headers": {"X-Zone": "{{ params.zone }}"}},
    success_values=["{{ params.word }}"],
    poll_interval="{{ params.n }}",
    max_polls="{{ params.n }}",
)


@pytest.mark.parametrize("native", [False, True])
def test_every_field_is_rendered(native: bool) -> None:
    with DAG("d", schedule=None, render_template_as_native_obj=native):
        task = ApiCallOperator(
            task_id="t",
            api_conn_id="{{ params.zone }}",
            method="{{ 'put' }}",
            endpoint="/{{ ds_nodash }}/x",
            params={"a": ["{{ params.n }}"]},
            headers={"X": ["{{ params.zone }}"]},
            body={"deep": [{"n": "{{ params.n }}"}]},
            timeout="{{ params.n }}",
            job=JOB,
        )
    context = context_for(task, params={"zone": "eu", "n": 3, "word": "ok"}, ds_nodash="20260102")
    n = 3 if native else "3"
    assert (task.api_conn_id, task.endpoint) == ("eu", "/20260102/x")
    assert (task.query_params, task.headers, task.body) == ({"a": [n]}, {"X": ["eu"]}, {"deep": [{"n": n}]})
    made = task.call(context)
    assert (made.request.method, made.timeout) == ("PUT", 3)
    # Numbers are numbers again, whatever Jinja made of them.
    assert (made.job.poll_interval, made.job.max_polls, made.job.success_values) == (3, 3, ["ok"])
    assert made.job.status_request.headers == {"X-Zone": "eu"}


def test_response_path_is_rendered(jobs: JobServer) -> None:
    jobs.on("POST", "/jobs", Answer(json={"b": 5}))
    task = call(response_path="$.{{ params.x }}")
    assert task.execute(context_for(task, params={"x": "b"})) == 5


def test_braces_of_placeholders_are_not_jinjas(jobs: JobServer) -> None:
    assert run(call(job={**FAST, "status_request": "/jobs/{id}"}))["id"] == "job-1"


PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "body": lambda arg: {"body": {"rows": [arg]}},
    "params": lambda arg: {"params": {"a": arg}},
    "headers": lambda arg: {"headers": {"X": arg}},
    "endpoint": lambda arg: {"endpoint": arg},
    "job dict": lambda arg: {"job": {"success_values": [arg]}},
    "job": lambda arg: {"job": AsyncJob(status_request={"endpoint": "/x", "params": {"a": arg}})},
    "whole job": lambda arg: {"job": arg},
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_xcom_arg_gives_the_dependency(place: str, mapped: bool) -> None:
    with DAG("d", schedule=None):
        arg = BaseOperator(task_id="start").output["id"]
        given = {"task_id": "t", "endpoint": "/x", **PLACES[place](arg)}
        if mapped:
            ApiCallOperator.partial(**given).expand(api_conn_id=["a"])
        else:
            ApiCallOperator(**given)
    assert arg.operator.downstream_task_ids == {"t"}


def test_xcom_arg_is_resolved_where_it_stands(jobs: JobServer, comms: Any) -> None:
    TaskInstance("start").xcom_push("return_value", {"n": 0.02, "zone": "eu"})
    with DAG("d", schedule=None):
        out = BaseOperator(task_id="start").output
        job = AsyncJob(poll_interval=out["n"], status_request={"params": {"z": out["zone"]}})
        task = call(body={"given": out}, job=job)
    # A key of an XComArg is the key of the XCom, as everywhere in Airflow.
    TaskInstance("start").xcom_push("n", 0.02)
    TaskInstance("start").xcom_push("zone", "eu")
    assert run(task)["status"] == "succeeded"
    assert jobs.history[0].json() == {"given": {"n": 0.02, "zone": "eu"}}
    assert {request.target for request in jobs.history[1:]} == {"/jobs/job-1?z=eu"}


@pytest.mark.parametrize("name", ["body", "query_params"])
def test_mapped_task_is_expanded_and_rendered(jobs: JobServer, name: str) -> None:
    job = AsyncJob(poll_interval=0.02, result_request={"params": {"z": "{{ params.zone }}"}})
    with DAG("d", schedule=None, params={"zone": "eu"}) as dag:
        shared = {"task_id": "t", "api_conn_id": "api", "endpoint": "/jobs", "job": job}
        mapped: Any = ApiCallOperator.partial(**shared).expand(
            **{name: [{"n": 1}, {"n": "{{ params.zone }}"}]}
        )
    results = []
    for index in (0, 1):
        ti = TaskInstance("t", map_index=index)
        context: dict[str, Any] = {"ti": ti, "task": mapped, "dag": dag, "dag_run": SimpleNamespace(conf={})}
        mapped.render_template_fields(context)
        task = context["task"]
        resume = deferred(task, context)
        results.append(task.execute_complete(context, awaited(resume.trigger, ti)))
    assert [result["id"] for result in results] == ["job-1", "job-2"]
    submits = [request for request in jobs.history if request.method == "POST"]
    expected = [{"n": 1}, {"n": "eu"}] if name == "body" else ["/jobs?n=1", "/jobs?n=eu"]
    assert [request.json() if name == "body" else request.target for request in submits] == expected
    assert [request.target for request in jobs.history if "z=eu" in request.target] == [
        "/jobs/job-1?z=eu",
        "/jobs/job-2?z=eu",
    ]


# -- what is stored of a DAG ---------------------------------------------------------------------


def example() -> DAG:
    """Everything at once: nested XComArgs, a job as value object, mapping in all its forms."""
    with DAG("d", schedule=None, params={"n": 3}) as dag:
        start = BaseOperator(task_id="start")
        plain = ApiCallOperator(
            task_id="plain",
            endpoint="/x",
            params={"a": [1, None, True]},
            headers={"X": ["1", "2"]},
            body={"rows": start.output, "when": "{{ ds }}"},
            timeout=(5, 30),
            job=JOB,
            wait_for_completion=False,
        )
        ApiStatusSensor(task_id="sensor", handle=plain.output["api_job"], job=JOB, deferrable=True)
        shared = {
            "endpoint": "/x",
            "job": AsyncJob(poll_interval=5, status_request={"params": {"a": start.output}}),
        }
        ApiCallOperator.partial(task_id="bodies", **shared).expand(body=[{"a": 1}, {"a": 2}])
        ApiCallOperator.partial(task_id="queries", **shared).expand(query_params=start.output)
        ApiCallOperator.partial(task_id="kwargs", **shared).expand_kwargs([{"body": 1}, {"body": 2}])
        ApiCallOperator.partial(task_id="jobs", endpoint="/x").expand(job=[AsyncJob(poll_interval=3), {}])
        ApiStatusSensor.partial(task_id="sensors", job=JOB).expand(handle=start.output)
    return dag


def test_serialization_round_trip_and_stable_hash() -> None:
    first, second = (json.loads(json.dumps(DagSerialization.to_dict(example()))) for _ in range(2))
    assert SerializedDagModel.hash(first) == SerializedDagModel.hash(second)
    restored = DagSerialization.from_dict(first)
    assert set(restored.task_ids) == {
        *("start", "plain", "sensor", "bodies"),
        *("queries", "kwargs", "jobs", "sensors"),
    }
    assert restored.get_task("start").downstream_task_ids == {
        "plain",
        "bodies",
        "queries",
        "kwargs",
        "sensors",
    }
    assert restored.get_task("sensor").upstream_task_ids == {"plain"}
    text = json.dumps(first)
    assert "object at 0x" not in text
    assert "AsyncJob(" not in text


def test_rendered_templates_show_the_job_as_a_dict() -> None:
    from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

    task = call(job=JOB)
    context_for(task, params={"zone": "eu", "n": 3, "word": "ok"})
    shown: Any = _serialize_rendered_fields(task)["job"]
    shown = json.loads(shown) if isinstance(shown, str) else shown
    assert shown["status_request"] == {"endpoint": "/jobs/{run}", "headers": {"X-Zone": "eu"}}
    assert shown["success_values"] == ["ok"]
