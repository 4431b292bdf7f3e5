"""A job whose id and amount are more than Airflow's messages can carry; the next task has them from XCom."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor

JOB = {
    "job_id": "$.id",
    "status_request": {
        "method": "POST",
        "endpoint": "/status",
        "body": {"id": "{job_id}", "of": "{$.amount}"},
    },
    "result_request": {"method": "POST", "endpoint": "/result", "body": ["{job_id}", "{$.amount}"]},
    "poll_interval": 1,
}

with DAG(dag_id="numbers", schedule=None):

    @task
    def read(result: Any) -> Any:
        return [type(value).__name__ for value in result.values()]

    call = ApiCallOperator(task_id="call", api_conn_id="numbers", endpoint="/jobs", job=JOB)
    start = ApiCallOperator(
        task_id="start", api_conn_id="numbers", endpoint="/jobs", job=JOB, wait_for_completion=False
    )
    wait = ApiStatusSensor(
        task_id="wait",
        api_conn_id="numbers",
        job={name: value for name, value in JOB.items() if name != "job_id"},
        handle="{{ ti.xcom_pull(task_ids='start', key='api_job') }}",
        deferrable=True,
    )
    start >> wait
    read(call.output)
