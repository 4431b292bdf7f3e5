"""Jobs that go on for ever: each task has one clock that ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor

LIMIT = 25  # seconds
POLLS = 50

JOB = {"job_id": "$.id", "status_request": "/jobs/{job_id}", "poll_interval": 0.5, "defer_after": 0}
CLOCKS: dict[str, dict[str, Any]] = {
    "execution_timeout": {"job": JOB, "execution_timeout": timedelta(seconds=LIMIT)},
    "deadline": {"job": {**JOB, "deadline": LIMIT}},
    "status_grace": {"job": {**JOB, "status_grace": LIMIT}},
    "max_polls": {"job": {**JOB, "max_polls": POLLS}},
}

with DAG(dag_id="clocks", schedule=None, default_args={"retries": 0}) as dag:
    for clock, parameters in CLOCKS.items():
        ApiCallOperator(
            task_id=clock,
            api_conn_id="crash",
            endpoint="/jobs",
            body={"name": f"clocks/{clock}/0", "seconds": 3600},
            deferrable=True,
            **parameters,
        )
    ApiStatusSensor(
        task_id="sensor_timeout",
        api_conn_id="crash",
        job_id="{{ dag_run.conf['job_id'] }}",
        status_request="/jobs/{job_id}",
        job={"defer_after": 0},
        deferrable=True,
        poke_interval=0.5,
        timeout=LIMIT,
    )
