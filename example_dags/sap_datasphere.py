"""Run an API task as SAP Datasphere runs one in a task chain, with the data that others can use.

The system answers with the address of a job (the Location header) and says how it goes: RUNNING, COMPLETED
or FAILED. A CSRF token is fetched before anything is changed. The task runs for as long as the job is
healthy; checks may fail for five minutes. Whoever ends the task ends the job, too.

The connection ``sap`` (type API task) holds the HTTPS address of the system, user and password.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_sap_datasphere",
    schedule=None,
    default_args={
        "api_conn_id": "sap",
        "require_csrf_token": True,
        "csrf_token_endpoint": "/api/token",
    },
    params={
        "seconds": Param(4, type="number", minimum=0, description="How long the load works"),
        "fail": Param(False, type="boolean", description="Let the load fail in the end"),
    },
    tags=["example"],
):
    load = ApiCallOperator(
        task_id="load",
        endpoint="/api/jobs",
        headers={"Prefer": "respond-async", "X-Source": "airflow"},
        body={"seconds": "{{ params.seconds }}", "fail": "{{ params.fail }}"},
        job={
            "success_values": ["COMPLETED"],
            "failure_values": ["FAILED"],
            "running_values": ["RUNNING"],
            "error_path": "$.message",
            "poll_interval": 2,  # seconds
            "status_grace": 300,
            "cancel_request": {"method": "DELETE"},
        },
    )
    check = ApiCallOperator(
        task_id="check",
        method="PUT",
        endpoint="/api/loads",
        body={"after": "{{ ti.xcom_pull(task_ids='load')['id'] }}"},
        response_validation={"success_when": {"status_code": "2xx", "$.status": "COMPLETED"}},
    )
    load >> check
