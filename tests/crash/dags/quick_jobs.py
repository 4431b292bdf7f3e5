"""Many short jobs with ``retries=0``: a task that the scheduler fails by mistake stays failed."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_apitask import ApiCallOperator

#: Seconds that the worker polls before it defers; the default of the package if unset.
DEFER_AFTER = os.environ.get("APITASK_QUICK_DEFER_AFTER")

JOB: dict[str, Any] = {"job_id": "$.id", "status_request": "/jobs/{job_id}", "poll_interval": 0.5}
if DEFER_AFTER:
    JOB["defer_after"] = float(DEFER_AFTER)

with DAG(dag_id="quick_jobs", schedule=None, default_args={"retries": 0}) as dag:

    @task
    def jobs() -> list[dict[str, Any]]:
        """Take the jobs from the run."""
        given: list[dict[str, Any]] = (get_current_context()["dag_run"].conf or {})["jobs"]
        return given

    ApiCallOperator.partial(
        task_id="call", api_conn_id="crash", endpoint="/jobs", job=JOB, deferrable=True
    ).expand(body=jobs())
