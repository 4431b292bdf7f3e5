"""Tasks of one request with two lists of hooks by turns, and a job that waits on the triggerer."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_apitask import ApiCallOperator

MANY = 20
HOOKS = [["task_log"], ["task_log", "sql"]]

with DAG(dag_id="timed", schedule=None):
    ApiCallOperator.partial(
        task_id="call", api_conn_id="service", method="GET", endpoint="/rows", retry_count=0
    ).expand(operation_log=HOOKS * MANY)

with DAG(dag_id="waits", schedule=None):
    ApiCallOperator(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        job={"defer_after": 0, "poll_interval": 0.25, "result_request": "/jobs/{id}/result"},
        deferrable=True,
    )
