"""What templates, XComs and mapped values may choose: neither a file of the worker, nor another path."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor
from airflow_provider_apitask.cli.dags import dag_of_call
from airflow_provider_apitask.exceptions import ParameterError
from tests.airflow.helpers import Connect, TaskInstance, call, context_for
from tests.support import Answer
from tests.support.job_server import JobServer


@pytest.fixture
def file(tmp_path: Path) -> dict[str, str]:
    found = tmp_path / "secret.txt"
    found.write_bytes(b"of the worker")
    return {"path": str(found)}


@pytest.fixture(autouse=True)
def _sync(jobs: JobServer) -> None:
    jobs.on("POST", "/jobs", Answer(json=1))


def mapped(made: Any, **more: Any) -> tuple[Any, Any]:
    """The task that Airflow makes of a mapped one, and its context."""
    run = SimpleNamespace(conf={})
    ti = TaskInstance("t", map_index=0)
    context = {"ti": ti, "dag": made.dag, "dag_run": run, "params": {}, "task": made, **more}
    made.render_template_fields(context)
    return context["task"], context


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["native", "xcom", "xcom of a part"])
@pytest.mark.parametrize("body_format", ["multipart", "raw"])
def test_a_rendered_value_names_no_file(
    jobs: JobServer, comms: Any, file: dict[str, str], way: str, body_format: str
) -> None:
    body = file if body_format == "raw" else {"f": file}
    TaskInstance("start").xcom_push("body", body)
    TaskInstance("start").xcom_push("f", file)
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        start = BaseOperator(task_id="start").output
        part = start["body"] if body_format == "raw" else {"f": start["f"]}
        written = {"native": "{{ params.body }}", "xcom": start["body"], "xcom of a part": part}[way]
        made = call(body_format=body_format, body=written)
    context = context_for(made, params={"body": body})
    assert made.body == body
    with pytest.raises(ParameterError, match="names a file to send"):
        made.execute(context)
    assert jobs.history == []


def test_a_job_from_an_xcom_names_no_file(jobs: JobServer, comms: Any, file: dict[str, str]) -> None:
    request = {"method": "POST", "endpoint": "/status", "body_format": "raw", "body": file}
    TaskInstance("start").xcom_push("return_value", {"status_request": request})
    with DAG("d", schedule=None):
        made = call(job=BaseOperator(task_id="start").output)
        waits = ApiStatusSensor(task_id="s", api_conn_id="api", job=BaseOperator(task_id="start2").output)
    TaskInstance("start2").xcom_push("return_value", {"status_request": request})
    for operator in (made, waits):
        context = context_for(operator)
        with pytest.raises(ParameterError, match="names a file to send") as caught:
            operator.execute(context)
        assert caught.value.data["parameter"] == "job.status_request.body"
    assert jobs.history == []


@pytest.mark.parametrize("way", ["expand", "expand_kwargs"])
def test_files_of_mapped_tasks(jobs: JobServer, comms: Any, file: dict[str, str], way: str) -> None:
    shared = {"task_id": "t", "api_conn_id": "api", "body_format": "multipart"}
    TaskInstance("start", map_index=0).xcom_push("return_value", [{"f": file}])
    TaskInstance("starts", map_index=0).xcom_push(
        "return_value", [{"body": {"f": file}, "endpoint": "/jobs"}]
    )
    with DAG("d", schedule=None):
        partial = ApiCallOperator.partial(**shared, endpoint="/jobs")
        literal = (
            partial.expand(body=[{"f": {"path": "{{ where }}"}}])
            if way == "expand"
            else partial.expand_kwargs([{"body": {"f": {"path": "{{ where }}"}}}])
        )
    made, context = mapped(literal, where=file["path"])
    assert made.execute(context) == 1
    assert b"of the worker" in jobs.history[0].body
    with DAG("e", schedule=None):
        start, starts = (BaseOperator(task_id=name).output for name in ("start", "starts"))
        foreign = (
            ApiCallOperator.partial(**shared, endpoint="/jobs").expand(body=start)
            if way == "expand"
            else ApiCallOperator.partial(**shared).expand_kwargs(starts)
        )
    made, context = mapped(foreign)
    with pytest.raises(ParameterError, match="names a file to send"):
        made.execute(context)
    assert len(jobs.history) == 1


def test_defaults_of_the_dag_are_rendered_beside_what_an_upstream_returns(
    jobs: JobServer, comms: Any
) -> None:
    TaskInstance("start", map_index=0).xcom_push("return_value", [{"headers": {"X-A": "{{ where }}"}}])
    with DAG(
        "d", schedule=None, default_args={"endpoint": "/{{ where }}", "query_params": {"a": "{{ where }}"}}
    ):
        start = BaseOperator(task_id="start").output
        foreign = ApiCallOperator.partial(task_id="t", api_conn_id="api").expand_kwargs(start)
    made, context = mapped(foreign, where="jobs")
    assert made.execute(context) == 1
    assert jobs.history[0].target == "/jobs?a=jobs"
    assert jobs.history[0].header("X-A") == "{{ where }}"


def test_what_a_command_names_counts_as_written(jobs: JobServer, file: dict[str, str]) -> None:
    given = {"api_conn_id": "api", "endpoint": "/jobs", "body_format": "raw", "body": file}
    _, made = dag_of_call(given)
    assert made.execute(context_for(made)) == 1
    assert jobs.history[0].body == b"of the worker"


def test_what_a_decorated_function_returns_is_the_authors(jobs: JobServer, file: dict[str, str]) -> None:
    with DAG("d", schedule=None, render_template_as_native_obj=True):

        @task.api_call(task_id="t", api_conn_id="api", body_format="multipart", endpoint="/jobs")
        def build(of_template: bool) -> dict[str, Any]:
            return {"body": {"f": "{{ params.f }}" if of_template else file}}

        good, bad = build(False).operator, build(True).operator
    assert good.execute(context_for(good)) == 1
    assert b"of the worker" in jobs.history[0].body
    with pytest.raises(ParameterError, match="names a file to send"):
        bad.execute(context_for(bad, params={"f": file}))
    assert len(jobs.history) == 1


def test_a_subclass_sets_what_it_wants(jobs: JobServer, file: dict[str, str]) -> None:
    class Sends(ApiCallOperator):
        def execute(self, context: Any) -> Any:
            self.body = file
            return super().execute(context)

    made = Sends(task_id="t", api_conn_id="api", endpoint="/jobs", body="{{ ds }}", body_format="raw")
    assert made.execute(context_for(made, ds="2026-01-02")) == 1


# -- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["../../admin", "%2e%2e/admin", "7?admin=1", "7#"])
def test_a_rendered_endpoint_stays_below_the_base_url(jobs: JobServer, connect: Connect, value: str) -> None:
    connect(f"{jobs.url}/api/v1")
    for given in (
        {"endpoint": "/jobs/{{ params.x }}"},
        {"csrf_token_endpoint": "{{ params.x }}", "require_csrf_token": True},
        {"job": {"status_request": "/jobs/{{ params.x }}"}},
    ):
        made = call(**given)
        context = context_for(made, params={"x": value})
        with pytest.raises(ParameterError, match=r"adds ('\.\.'|\?|#) to the endpoint"):
            made.execute(context)
    assert jobs.history == []


def test_a_rendered_absolute_url_stays_below_the_base_url(jobs: JobServer, connect: Connect) -> None:
    connect(f"{jobs.url}/api/v1")
    jobs.on("POST", "/api/v1/jobs", Answer(json=1))
    jobs.on("POST", "/admin", Answer(json=2))
    templated = call(endpoint="{{ params.url }}")
    with pytest.raises(ParameterError, match="not below the base URL"):
        templated.execute(context_for(templated, params={"url": f"{jobs.url}/admin"}))
    assert jobs.history == []
    below = call(endpoint="{{ params.url }}")
    assert below.execute(context_for(below, params={"url": f"{jobs.url}/api/v1/jobs"})) == 1
    literal = call(endpoint=f"{jobs.url}/admin")
    assert literal.execute(context_for(literal)) == 2


@pytest.mark.parametrize("path", ["/admin/7", "{url}/admin/7", "/api/v1/../../admin", "/api/v1/%2e%2e/x"])
def test_a_rendered_job_id_that_is_a_url_stays_below_the_base_url(
    jobs: JobServer, connect: Connect, path: str
) -> None:
    connect(f"{jobs.url}/api/v1")
    jobs.on("GET", "/api/v1/jobs/7", Answer(json={"status": "succeeded"}))
    jobs.on("GET", "/admin/7", Answer(json={"status": "succeeded"}))

    def waits(job_id: str) -> ApiStatusSensor:
        return ApiStatusSensor(
            task_id="s", api_conn_id="api", job_id=job_id, job={"status_path": "$.status"}, poke_interval=0.02
        )

    value = path.replace("{url}", jobs.url)
    templated = waits("{{ params.id }}")
    with pytest.raises(ParameterError, match="job_id was rendered to a URL that is not below the base URL"):
        templated.execute(context_for(templated, params={"id": value}))
    assert jobs.history == []
    below = waits("{{ params.id }}")
    below.execute(context_for(below, params={"id": "/api/v1/jobs/7?v=1"}))
    if path == "/admin/7":
        literal = waits(value)
        literal.execute(context_for(literal))
        assert jobs.history[-1].path == "/admin/7"


def test_a_mapped_value_is_not_rendered(jobs: JobServer, comms: Any) -> None:
    """An upstream task must not read Airflow's variables through the templates of a mapped one."""
    TaskInstance("start", map_index=0).xcom_push("return_value", [{"status_request": "/x/{{ 6 * 7 }}"}])
    with DAG("d", schedule=None):
        start = BaseOperator(task_id="start").output
        foreign = ApiCallOperator.partial(task_id="t", api_conn_id="api", endpoint="/jobs").expand(job=start)
    made, _ = mapped(foreign)
    assert "{{ 6 * 7 }}" in str(made.job)


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"timeout": "{{ params.x }}"}, "timeout"),
        ({"headers": {"X-Day": "{{ params.x }}"}}, "headers"),
        ({"method": "{{ params.x }}"}, "method"),
        ({"job": {"link_path": "{{ params.x }}{job_id}"}}, "job.link_path"),
    ],
)
def test_braces_in_a_rendered_value_are_checked_like_any_other(
    jobs: JobServer, given: dict[str, Any], parameter: str
) -> None:
    made = call(**given)
    context = context_for(made, params={"x": "javascript:{{ 7 }}\r\n"})
    with pytest.raises(ParameterError) as caught:
        made.execute(context)
    assert caught.value.data["parameter"] == parameter
    assert jobs.history == []
