"""Jobs that go on for ever, until their task is told to stop."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_apitask import ApiCallOperator

LIMIT = 8  # seconds of execution_timeout and deadline

JOB = {
    "job_id": "$.id",
    "status_request": "/jobs/{job_id}",
    "cancel_request": {"method": "DELETE"},
    "poll_interval": 0.5,
    "defer_after": 0,
}
LIMITS: dict[str, dict[str, Any]] = {
    "none": {"job": JOB},
    "timeout": {"job": JOB, "execution_timeout": timedelta(seconds=LIMIT)},
    "deadline": {"job": {**JOB, "deadline": LIMIT}},
}
NAME = "{{ ti.dag_id }}/{{ run_id }}/{{ ti.map_index }}"

for limit, parameters in LIMITS.items():
    for where in ("worker", "deferred"):
        dag_id = f"cancel_{limit}_{where}"
        with DAG(dag_id=dag_id, schedule=None, default_args={"retries": 0}) as dag:
            ApiCallOperator(
                task_id="call",
                api_conn_id="crash",
                endpoint="/jobs",
                body={"name": NAME, "seconds": 3600},
                deferrable=where == "deferred",
                **parameters,
            )
        globals()[dag_id] = dag
