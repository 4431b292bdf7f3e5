"""Rendered Templates in the UI: a job is JSON there, and what is secret is masked."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from airflow_provider_apitask import jobs
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.decorators.api_call import ApiCallDecoratedOperator, api_call_task
from tests.airflow.helpers import call, context_for


def shown(task: Any) -> dict[str, Any]:
    context_for(task, params={"seconds": 5})
    fields: dict[str, Any] = json.loads(json.dumps(_serialize_rendered_fields(task)))
    return fields


def test_job_is_json() -> None:
    task = call(job=jobs.google_operation(deadline="{{ params.seconds }}"))
    job = shown(task)["job"]
    assert job == {**jobs.google_operation().to_dict(), "deadline": "5"}
    assert task.template_fields_renderers["job"] == "json"


def test_credentials_in_requests_are_masked() -> None:
    request = {"endpoint": "/x", "headers": {"Authorization": "Bearer s3cr3t"}}
    task = call(job={"status_request": request}, headers={"Authorization": "s3cr3t", "X-A": "1"})
    fields = shown(task)
    assert fields["headers"]["X-A"] == "1"
    assert "s3cr3t" not in json.dumps(fields)


def test_decorated_function_shows_what_it_built() -> None:
    renderers = ApiCallDecoratedOperator.template_fields_renderers
    assert (renderers["job"], renderers["op_kwargs"]) == ("json", "py")
    decorated = api_call_task(job=AsyncJob(poll_interval=5))
    assert decorated(shown).kwargs["job"] == {"poll_interval": 5}  # type: ignore[attr-defined]
