"""The retry policy: when the API asks, and not at all what cannot succeed (Airflow 3.3)."""

from __future__ import annotations

import importlib
import json
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.triggers.handover import for_airflow
from tests.airflow.helpers import HAS_STORE, Comms, call, context_for
from tests.support import Answer
from tests.support.job_server import JobServer

newer = pytest.mark.skipif(not HAS_STORE, reason="this Airflow has no retry policies")


@pytest.mark.skipif(HAS_STORE, reason="this Airflow has retry policies")
def test_older_airflow_says_what_it_needs() -> None:
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or newer"):
        importlib.import_module("airflow_provider_apitask.retry_policy")


def decided(error: BaseException, **options: Any) -> tuple[str, float | None]:
    from airflow_provider_apitask import ApiRetryPolicy

    decision: Any = ApiRetryPolicy(**options).evaluate(error, try_number=1, max_tries=3)
    delay = decision.retry_delay
    return decision.action.value, None if delay is None else delay.total_seconds()


@newer
@pytest.mark.parametrize(
    ("error", "options", "expected"),
    [
        (exceptions.RequestFailedError("x", retry_after=7), {}, ("retry", 7)),
        (exceptions.RequestFailedError("x", retry_after=0), {}, ("retry", 0)),
        (exceptions.RequestFailedError("x", retry_after=1e9), {}, ("retry", 3600)),
        (exceptions.RequestFailedError("x", retry_after=99), {"max_delay": 30}, ("retry", 30)),
        (exceptions.RequestFailedError("x"), {}, ("default", None)),
        (exceptions.RequestFailedError("x", retry_after="soon"), {}, ("default", None)),
        (exceptions.JobFailedError("x"), {}, ("default", None)),
        (exceptions.JobFailedError("x", retryable=False), {}, ("fail", None)),
        (exceptions.SubmitUnknownError("x", retry_after=7), {}, ("fail", None)),
        (for_airflow(exceptions.ParameterError("x")), {}, ("fail", None)),
        (ValueError("x"), {}, ("default", None)),
        (KeyboardInterrupt(), {}, ("default", None)),
    ],
)
def test_decisions(error: BaseException, options: dict[str, Any], expected: Any) -> None:
    assert decided(error, **options) == expected


@newer
@pytest.mark.parametrize("status", [429, 503])
def test_what_the_server_asks_for_reaches_the_policy(jobs: JobServer, comms: Comms, status: int) -> None:
    jobs.on("POST", "/jobs", Answer(status, headers={"Retry-After": "42"}))
    task = call(job={})
    with pytest.raises(exceptions.RequestFailedError) as caught:
        task.execute(context_for(task))
    assert decided(caught.value) == ("retry", 42)


@newer
@pytest.mark.parametrize("wrong", [0, -1, "x", None, "{{ x }}", float("nan")])
def test_longest_wait_must_be_a_number(wrong: Any) -> None:
    from airflow_provider_apitask import ApiRetryPolicy

    with pytest.raises(exceptions.ParameterError, match="max_delay"):
        ApiRetryPolicy(max_delay=wrong)


@newer
def test_round_trip() -> None:
    from airflow_provider_apitask import ApiRetryPolicy

    made = ApiRetryPolicy(max_delay=90)
    again = ApiRetryPolicy.deserialize(json.loads(json.dumps(made.serialize())))
    assert again == made != ApiRetryPolicy()
    assert hash(again) == hash(made)
    assert ApiRetryPolicy.deserialize({}) == ApiRetryPolicy()


@newer
def test_dag_with_a_policy_is_serialized() -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_apitask import ApiRetryPolicy

    with DAG("d", schedule=None) as dag:
        call(job={}, retries=2, retry_delay=timedelta(seconds=1), retry_policy=ApiRetryPolicy())
        call(task_id="other", job={})
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    read: Any = DagSerialization.from_dict(stored)
    assert read.get_task("t").has_retry_policy is True
    assert read.get_task("other").has_retry_policy is False
