"""``@task.api_call``: a function that builds the request, or makes the result of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.definitions._internal.types import SET_DURING_EXECUTION
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.decorators.api_call import ApiCallDecoratedOperator, api_call_task
from tests.airflow import helpers
from tests.airflow.helpers import Comms, TaskInstance, awaited, context_for, deferred, needs_store, run
from tests.support import Answer
from tests.support.job_server import JobServer

#: The job is what the function returns: no helper changes it.
FAST = {**helpers.FAST, "defer_after": 0}

RESULT = {"id": "job-1", "status": "succeeded", "progress": 100, "message": "step 3 of 3"}


def made(decorated: Any, *args: Any, **kwargs: Any) -> Any:
    """The operator of a decorated function that is called in a DAG."""
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        if decorated.function.__name__ == "<lambda>":
            decorated = decorated.override(task_id="t")
        return decorated(*args, **kwargs).operator


def execute(operator: Any, **more: Any) -> Any:
    return operator.execute(context_for(operator, **more))


def resumed(operator: Any, context: Any, again: Any) -> Any:
    """Defer, wait on a triggerer, and go on in another process."""
    resume = deferred(operator, context)
    payload = awaited(resume.trigger, context["ti"])
    later = {**context, "task": again}
    again.render_template_fields(later)
    return again.resume_execution(resume.method_name, {**(resume.kwargs or {}), "event": payload}, later)


# -- the function builds the request --------------------------------------------------------------


def test_airflow_knows_the_decorator() -> None:
    assert task.api_call is not None
    assert isinstance(made(task.api_call(api_conn_id="api")(_nothing)), ApiCallDecoratedOperator)


def test_function_builds_the_request(jobs: JobServer) -> None:
    jobs.on("PUT", "/things/7", Answer(json={"ok": True}))

    @api_call_task(api_conn_id="api", method="PUT")
    def put(number: int, ds: str | None = None) -> dict[str, Any]:
        return {"endpoint": f"/things/{number}", "body": {"n": number, "ds": ds}, "params": {"a": [1, 2]}}

    operator = made(put, 7)
    assert operator.endpoint is SET_DURING_EXECUTION
    assert operator.multiple_outputs is False
    assert execute(operator, ds="2026-01-02") == {"ok": True}
    (request,) = jobs.history
    assert request.json() == {"n": 7, "ds": "2026-01-02"}
    assert request.query == [("a", "1"), ("a", "2")]


def test_what_it_returns_is_a_template(jobs: JobServer) -> None:
    jobs.on("POST", "/t", Answer(json=1))
    operator = made(
        api_call_task(api_conn_id="api")(lambda: {"endpoint": "/t", "body": "{{ task.task_id }}"})
    )
    execute(operator)
    assert jobs.history[0].body.decode() == operator.task_id
    assert operator.body == operator.task_id  # for Rendered Templates
    assert operator.overwrite_rtif_after_execution


def test_arguments_are_not_rendered_twice(jobs: JobServer) -> None:
    """What an upstream has returned is no template."""
    jobs.on("POST", "/t", Answer(json=1))
    seen = []

    @api_call_task(api_conn_id="api", endpoint="/t", headers={"X-A": "{{ params.a }}"})
    def build(text: str) -> dict[str, Any]:
        seen.append(text)
        return {}

    operator = made(build, text="{{ params.a }}")
    execute(operator, params={"a": "{{ 1 + 1 }}"})
    assert seen == ["{{ 1 + 1 }}"]
    assert jobs.history[0].header("X-A") == "{{ 1 + 1 }}"


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("/t", "must return a dict"),
        (None, "must return a dict"),
        ({"url": "/t"}, "no field"),
        ({"body": 1}, "endpoint is missing"),
        ({"endpoint": "/t", "method": "no method"}, "method"),
        ({"endpoint": "/t", "retries": 3}, "no field"),
        ({"endpoint": "/t", "job": {"poll": 3}}, "no field"),
    ],
)
def test_mistakes_are_named(jobs: JobServer, returned: Any, says: str) -> None:
    operator = made(api_call_task(api_conn_id="api")(lambda: returned))
    with pytest.raises(exceptions.ParameterError, match=says) as caught:
        execute(operator)
    # Another try would return the same.
    assert isinstance(caught.value, AirflowFailException)
    assert jobs.history == []


def test_mistakes_are_named_when_the_dag_is_parsed() -> None:
    with pytest.raises(exceptions.ParameterError, match="on must be"):
        made(api_call_task(on="answer")(_nothing))  # type: ignore[arg-type]
    with pytest.raises(exceptions.ParameterError, match="parameter `result`"):
        made(api_call_task(on="result", endpoint="/t")(lambda: 1))
    with pytest.raises(exceptions.ParameterError, match="endpoint is missing"):
        made(api_call_task(on="result")(lambda result: result))

    async def later() -> dict[str, Any]:
        return {}

    with pytest.raises(exceptions.ParameterError, match="async"):
        made(api_call_task(later))


@pytest.mark.parametrize("lasting", [True, False])
def test_function_runs_once_where_the_task_is_deferred(jobs: JobServer, lasting: bool) -> None:
    """With the state store of Airflow 3.3, and without it."""
    calls: list[int] = []

    @api_call_task(api_conn_id="api")
    def start() -> dict[str, Any]:
        calls.append(len(calls))
        job = {**FAST, "result_request": f"/jobs/{{id}}/result?call={len(calls)}"}
        return {"endpoint": "/jobs", "body": {"call": len(calls)}, "job": job}

    store: dict[str, Any] = {} if lasting else {"task_state_store": None}
    operator = made(start)
    context = context_for(operator, **store)
    assert resumed(operator, context, made(start)) == {"rows": 3}
    assert calls == [0]
    assert jobs.history[-1].target == "/jobs/job-1/result?call=1"


@needs_store
def test_retry_that_goes_on_with_the_job_does_not_run_it_again(jobs: JobServer) -> None:
    calls: list[int] = []

    @api_call_task(api_conn_id="api")
    def start() -> dict[str, Any]:
        calls.append(len(calls))
        return {"endpoint": "/jobs", "body": {"call": len(calls)}, "job": FAST}

    operator = made(start)
    deferred(operator, context_for(operator))
    second = made(start)
    context = context_for(second, ti=TaskInstance(second.task_id, try_number=2))
    assert resumed(second, context, made(start)) == RESULT
    assert calls == [0]
    assert len(jobs.submits) == 1


@needs_store
def test_retry_that_starts_another_job_runs_it_again(jobs: JobServer) -> None:
    jobs.once("POST", "/jobs", Answer(400, {"detail": "not today"}))
    calls: list[int] = []

    @api_call_task(api_conn_id="api")
    def start() -> dict[str, Any]:
        calls.append(len(calls))
        return {"endpoint": "/jobs", "body": {"call": len(calls)}, "job": FAST}

    first = made(start)
    with pytest.raises(exceptions.RequestFailedError):
        execute(first)
    second = made(start)
    context = context_for(second, ti=TaskInstance(second.task_id, try_number=2))
    assert resumed(second, context, made(start)) == RESULT
    assert calls == [0, 1]
    assert [request.json() for request in jobs.requests("POST")] == [{"call": 1}, {"call": 2}]


@needs_store
def test_same_key_goes_with_the_same_body(jobs: JobServer) -> None:
    """Servers refuse a key that comes with another body."""
    jobs.once("POST", "/jobs", Answer(503))
    calls: list[int] = []

    @api_call_task(api_conn_id="api", idempotency_key="task")
    def start() -> dict[str, Any]:
        calls.append(len(calls))
        return {"endpoint": "/jobs", "body": {"call": len(calls)}, "job": FAST}

    with pytest.raises(exceptions.RequestFailedError):
        execute(made(start))
    second = made(start)
    context = context_for(second, ti=TaskInstance(second.task_id, try_number=2))
    deferred(second, context)
    assert [request.json() for request in jobs.requests("POST")] == [{"call": 1}, {"call": 1}]


def test_clear_runs_it_again(jobs: JobServer) -> None:
    bodies = iter([{"n": 1}, {"n": 2}])
    start = api_call_task(api_conn_id="api")(lambda: {"endpoint": "/jobs", "body": next(bodies), "job": FAST})
    for max_tries in (0, 1):
        operator = made(start)
        ti = TaskInstance(operator.task_id)
        ti.max_tries = max_tries  # type: ignore[attr-defined]
        deferred(operator, context_for(operator, ti=ti))
    assert [request.json() for request in jobs.requests("POST")] == [{"n": 1}, {"n": 2}]


def test_mode_and_waiting_follow_what_it_returns(jobs: JobServer) -> None:
    operator = made(api_call_task(api_conn_id="api", deferrable=False)(_start))
    assert operator.mode == "sync"
    assert execute(operator) == RESULT
    assert operator.mode == "async"


def test_job_that_is_not_waited_for(jobs: JobServer) -> None:
    operator = made(api_call_task(api_conn_id="api", wait_for_completion=False)(_start))
    assert execute(operator) == {"id": "job-1"}


def _nothing() -> dict[str, Any]:
    return {}


def _start() -> dict[str, Any]:
    return {"endpoint": "/jobs", "job": FAST}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Authorization": "Bearer s3cr3t-token"}, False),
        ({"Authorization": "Bearer {{ params.token }}"}, True),
        ({"X-Trace": "abcdef"}, True),
    ],
)
def test_credential_is_not_stored(
    jobs: JobServer, comms: Comms, headers: dict[str, str], allowed: bool
) -> None:
    start = api_call_task(api_conn_id="api")(lambda: {"endpoint": "/jobs", "headers": headers, "job": FAST})
    operator = made(start)
    context = context_for(operator, params={"token": "t0p-s3cr3t"})
    if allowed:
        deferred(operator, context)
        assert [request.header(name) for request in jobs.history for name in headers]
    else:
        with pytest.raises(exceptions.ParameterError, match="credential") as caught:
            operator.execute(context)
        assert "s3cr3t" not in str(caught.value)
        assert jobs.history == []
    assert "s3cr3t" not in str(comms.store) + str(comms.values)


@pytest.mark.parametrize(
    "returned",
    [
        {"endpoint": "/jobs?api_key=s3cr3t-key"},
        {"endpoint": "/jobs", "body": {"auth": {"token": "s3cr3t-token"}}},
        {"endpoint": "/jobs", "job": {"status_request": {"body": {"password": "s3cr3t-1"}}}},
    ],
)
def test_credential_is_seen_anywhere(jobs: JobServer, comms: Comms, returned: dict[str, Any]) -> None:
    operator = made(api_call_task(api_conn_id="api")(lambda: {"job": FAST, **returned}))
    with pytest.raises(exceptions.ParameterError, match="returned a credential"):
        operator.execute(context_for(operator))
    assert jobs.history == []
    assert "s3cr3t" not in str(comms.store) + str(comms.values)


def test_what_is_no_json_cannot_be_stored(jobs: JobServer) -> None:
    start = api_call_task(api_conn_id="api")(lambda: {"endpoint": "/jobs", "body": {1, 2}, "job": FAST})
    with pytest.raises(exceptions.ParameterError, match="JSON"):
        execute(made(start))


# -- the function makes the result ----------------------------------------------------------------


def test_function_makes_the_result(jobs: JobServer) -> None:
    jobs.on("GET", "/rows", Answer(json={"rows": [1, 2, 3]}))

    @api_call_task(on="result", api_conn_id="api", method="GET", endpoint="/rows")
    def first(result: Any, count: int, ti: Any = None) -> list[int]:
        assert ti is not None
        return result["rows"][:count]

    assert execute(made(first, 2)) == [1, 2]
    assert execute(made(first, count=1)) == [1]


def test_function_makes_the_result_of_a_job_once(jobs: JobServer) -> None:
    calls = []

    @api_call_task(on="result", api_conn_id="api", endpoint="/jobs", job=FAST)
    def status(result: Any) -> str:
        calls.append(1)
        return str(result["status"])

    operator = made(status)
    assert resumed(operator, context_for(operator), made(status)) == "succeeded"
    assert calls == [1]


def test_multiple_outputs_follow_the_annotation() -> None:
    @api_call_task(on="result", endpoint="/rows")
    def several(result: Any) -> dict[str, Any]:
        return dict(result)

    assert made(several).multiple_outputs is True


# -- mapping and serialization --------------------------------------------------------------------


def test_mapped_function(jobs: JobServer) -> None:
    jobs.on("POST", "/things", Answer(json=1))

    @api_call_task(api_conn_id="api")
    def build(number: int) -> dict[str, Any]:
        return {"endpoint": "/things", "body": {"n": number}}

    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        mapped = build.expand(number=[1, 2, 3]).operator
    for index in range(3):
        operator = mapped.unmap({"op_kwargs": {"number": index + 1}})
        assert isinstance(operator, ApiCallDecoratedOperator)
        execute(operator)
    assert [request.json() for request in jobs.history] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_dag_can_be_serialized() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        built = task.api_call(task_id="a", api_conn_id="api", job={"poll_interval": 5})(_nothing)
        built()
        shown = task.api_call(task_id="b", on="result", endpoint="/x")(lambda result, n: result)
        shown.expand(n=[1, 2])
    stored = DagSerialization.to_dict(dag)
    tasks = [entry["__var"] for entry in stored["dag"]["tasks"]]
    assert [entry["_operator_name"] for entry in tasks] == ["@task.api_call"] * 2
    assert "DYNAMIC (set during execution)" in str(tasks[0]["endpoint"])
    assert len(DagSerialization.from_dict(stored).tasks) == 2


def test_several_in_one_dag_have_names_of_their_own(comms: Comms) -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        build = api_call_task(api_conn_id="api", endpoint="/x")

        @build
        def ping() -> dict[str, Any]:
            return {}

        assert [ping().operator.task_id for _ in range(2)] == ["ping", "ping__1"]


def test_run_helper_and_resume_agree(jobs: JobServer) -> None:
    start = api_call_task(api_conn_id="api")(lambda: {"endpoint": "/jobs", "job": FAST})
    assert run(made(start)) == RESULT
