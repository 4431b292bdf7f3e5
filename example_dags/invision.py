"""Run a data flow of Invision and wait until it has ended.

The answer to the start has the id of the run, by which its status is asked for: Pending, Running, Succeeded
or Failed. The API cannot stop a run: whoever ends the task reads in its log that the run goes on.

The connection ``invision`` (type API task) holds the address of Invision and the API key.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_invision",
    schedule=None,
    default_args={"api_conn_id": "invision"},
    params={
        "flow": Param(
            "2b081248-4963-43b3-ba06-5b7403d58b4d", type="string", description="ID of the data flow"
        ),
    },
    tags=["example"],
):
    run = ApiCallOperator(
        task_id="run_flow",
        endpoint="/api/pub/v1/dataflows/{{ params.flow }}/start",
        job={
            "job_id": "runId",
            "status_request": "/api/pub/v1/dataflows/{{ params.flow }}/runs/{runId}/status",
            "status_path": "$.status",
            "success_values": ["Succeeded"],
            "failure_values": ["Failed"],
            "running_values": ["Pending", "Running"],
            "poll_interval": 2,  # seconds
        },
    )
    again = ApiCallOperator(
        task_id="run_again_and_await",
        endpoint="/api/pub/v1/dataflows/{{ params.flow }}/start",
        params={"await": "true"},
        timeout=600,  # seconds
        response_validation={"success_when": {"$.status": "Succeeded"}},
    )
    run >> again
