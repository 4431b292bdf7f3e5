"""Collect data as Panoply's flex connector does with an asynchronous API: trigger, status check, main call.

What the trigger answers at ``result.id`` stands in the status check, and what the status check answers at
``result.identifier`` in the main call, whose rows the task returns. The API cannot stop an export: whoever
ends the task reads in its log that it goes on.

The connection ``panoply`` (type API task) holds the address of the API and its token.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_panoply",
    schedule=None,
    params={"table": Param("orders", type="string", description="What to collect")},
    tags=["example"],
):
    ApiCallOperator(
        task_id="collect",
        api_conn_id="panoply",
        endpoint="/exports",
        body={"table": "{{ params.table }}"},
        job={
            "job_id": "result.id",
            "status_request": {"endpoint": "/exports/status", "params": {"export_id": "{result.id}"}},
            "status_path": "result.state",
            "success_values": ["done"],
            "failure_values": ["broken"],
            "unknown_status": "running",
            "error_path": "result.message",
            "poll_interval": 2,  # seconds
            "max_polls": 300,
            "result_request": {"endpoint": "/files", "params": {"file": "{result.identifier}"}},
            "result_path": "rows",
        },
    )
