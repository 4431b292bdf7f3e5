"""Order a report, wait for it without a worker, and use its rows.

The connection ``reports`` (type API task) holds the address of the API and its token.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_apitask import ApiCallOperator

with DAG(dag_id="quickstart", schedule=None, params={"day": Param("2026-01-02", type="string")}):
    report = ApiCallOperator(
        task_id="report",
        api_conn_id="reports",
        endpoint="/reports",
        body={"day": "{{ params.day }}"},
        job={
            "job_id": "reportId",
            "status_request": "/reports/{reportId}",
            "status_path": "state",
            "success_values": ["READY"],
            "failure_values": ["BROKEN"],
            "running_values": ["BUILDING"],
            "progress_path": "percent",
            "link_path": "page",
            "poll_interval": 2,
            "deadline": 3600,
            "result_request": "/reports/{reportId}/rows",
            "result_path": "rows",
        },
    )

    @task
    def total(rows: list[dict[str, Any]]) -> int:
        return sum(row["sold"] for row in rows)

    total(report.output)
