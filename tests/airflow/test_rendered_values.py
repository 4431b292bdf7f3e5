"""What Jinja rendered is never quoted: a template may put a secret into any parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from typing import Any

import pytest
from airflow.sdk import DAG
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor, ApiStatusTrigger
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.exceptions import ApiTaskError, ParameterError
from tests.airflow.helpers import Connect, TaskInstance, awaited, call, context_for

#: No number, word, path, method or name of a header.
CANARY = "canary-s3cr3t [+&:="
WORD = "canary"


def _own(cls: type[Any]) -> list[str]:
    names = signature(cls.__init__).parameters
    return [name for name in names if name not in ("self", "kwargs")]


#: Shapes that a template can give to a parameter.
SHAPES: dict[str, Callable[[str], Any]] = {
    "text": str,
    "list": lambda text: [text],
    "pair": lambda text: (text, text, text),
    "key": lambda text: {text: 1},
    "value": lambda text: {"a": text, "endpoint": "/x"},
    "bytes": lambda text: text.encode(),
}
JOB = [field.name for field in fields(AsyncJob)]
REQUEST = [field.name for field in fields(RequestSpec)]


def _called(operator: ApiCallOperator) -> Callable[[], Any]:
    """The check of all parameters when the task runs."""
    return lambda: operator.call({"ti": TaskInstance()})  # type: ignore[typeddict-item]


def _refusals(run: Callable[[], Any]) -> bool:
    """Run what may refuse a parameter; nothing of the error holds the canary."""
    refused: ApiTaskError | None = None
    try:
        run()
    except ApiTaskError as error:
        refused = error
    if refused is None:
        return False
    for text in (str(refused), repr(refused), str(refused.data)):
        assert WORD not in text, text
    assert refused.__cause__ is None
    assert refused.__suppress_context__ or refused.__context__ is None
    return True


def _at_run_time(**changed: Any) -> ApiCallOperator:
    operator = call()
    for name, value in changed.items():
        setattr(operator, name, value)
    return operator


def _refused_at_run_time(value: Any) -> set[str]:
    found = set()
    is_name = isinstance(value, dict) and "a" not in value  # of a header or in extract: Jinja renders no keys
    for name in _own(ApiCallOperator):
        if name != "api_conn_id" and not (is_name and name == "headers"):
            found |= {name} if _refusals(_called(_at_run_time(**{name: value}))) else set()
    for name in JOB:
        if not (is_name and name == "extract"):
            task = _at_run_time(mode="async", job={name: value})
            found |= {f"job.{name}"} if _refusals(_called(task)) else set()
    for name in REQUEST:
        if not (is_name and name == "headers"):
            request = {"endpoint": "/x", name: value}
            task = _at_run_time(mode="async", job={"status_request": request})
            found |= {f"job.status_request.{name}"} if _refusals(_called(task)) else set()
    return found


def test_every_parameter() -> None:
    refused = set[str]().union(*(_refused_at_run_time(shape(CANARY)) for shape in SHAPES.values()))
    assert refused >= {
        *("method", "endpoint", "query_params", "headers", "body_format", "timeout", "mode", "job"),
        *("retry_count", "retry_wait", "response_path", "max_response_bytes", "deferrable"),
        *("wait_for_completion", "require_csrf_token", "csrf_token_endpoint"),
        *(f"job.{name}" for name in JOB if name not in ("success_values", "failure_values")),
        *(f"job.status_request.{name}" for name in REQUEST if name != "body"),
    } - {"job.cancelled_values", "job.running_values"}


@settings(deadline=None)  # a library is imported at the first use
@given(st.text(min_size=1, max_size=12), st.sampled_from(sorted(SHAPES)))
def test_whatever_stands_around_it(around: str, shape: str) -> None:
    _refused_at_run_time(SHAPES[shape](f"{around}{WORD}{around}"))


def test_two_meanings_of_one_word() -> None:
    job = {"success_values": [CANARY], "failure_values": [CANARY]}
    assert _refusals(_called(_at_run_time(mode="async", job=job)))


@pytest.mark.parametrize("name", ["timeout", "method", "csrf_token_endpoint", "response_path"])
def test_a_template_in_an_operator(connect: Connect, name: str) -> None:
    connect("http://127.0.0.1:1")
    more = {"require_csrf_token": True} if name == "csrf_token_endpoint" else {}
    task = call(**{name: "{{ secret }}", "retry_count": 0, **more})
    context = context_for(task, secret=CANARY)
    if name == "csrf_token_endpoint":
        assert task.call(context).csrf_endpoint == CANARY  # any text is one
    else:
        assert _refusals(lambda: task.execute(context))


@pytest.mark.parametrize("value", [CANARY, {"version": CANARY, "job_id": CANARY}, {CANARY: 1}])
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_handle(connect: Connect, value: Any, deferrable: bool) -> None:
    connect("http://127.0.0.1:1")
    task = ApiStatusSensor(task_id="t", handle="{{ secret }}", deferrable=deferrable)
    context = context_for(task, secret=str(value))
    assert _refusals(lambda: task.execute(context))


@pytest.mark.parametrize("name", ["poll_interval", "status_path", "final_status_codes", "unknown_status"])
def test_a_template_in_a_sensor(connect: Connect, name: str) -> None:
    connect("http://127.0.0.1:1")
    handle = {"version": 1, "job_id": 7, "status_url": "http://127.0.0.1:1/jobs/7"}
    task = ApiStatusSensor(task_id="t", handle=handle, job={name: "{{ secret }}"}, deferrable=True)
    context = context_for(task, secret=CANARY)
    assert _refusals(lambda: task.execute(context))


@pytest.mark.parametrize("field", ["job", "state"])
def test_the_arguments_of_a_trigger(field: str) -> None:
    given = {"api_conn_id": "api", "state": {"version": 1, "phase": "poll"}, "job": {}, "timeout": None}
    given[field] = {"poll_interval": CANARY, "version": CANARY}
    assert WORD not in str(awaited(ApiStatusTrigger(**given))["state"]["error"]["message"])


def test_the_event_of_a_trigger() -> None:
    for event in (CANARY, {"version": CANARY}, {"version": 1, "state": {"version": 1, "phase": CANARY}}):
        task = call(job={})
        assert _refusals(lambda task=task, event=event: task.execute_complete(context_for(task), event))


@pytest.mark.parametrize(
    ("cls", "mapped"),
    [
        (ApiCallOperator, {"timeout": CANARY, "endpoint": "/x"}),
        (ApiCallOperator, {"job": {"poll_interval": CANARY}, "endpoint": "/x"}),
        (ApiStatusSensor, {"request_timeout": CANARY, "status_request": "/x"}),
        (ApiStatusSensor, {"job": {"poll_interval": CANARY}, "status_request": "/x"}),
    ],
)
def test_a_mapped_task_is_made_while_it_runs(cls: Any, mapped: dict[str, Any]) -> None:
    """As Airflow makes it of what an upstream gave; where the author maps literals, they are quoted."""
    with DAG("d", schedule=None):
        assert _refusals(lambda: cls(task_id="t", **mapped, _airflow_from_mapped=True))
        with pytest.raises(ParameterError, match="canary-s3cr3t"):
            cls(task_id="u", **mapped)
