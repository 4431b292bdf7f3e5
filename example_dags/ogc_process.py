"""Run a process on an OGC API - Processes server and use its result.

The submit is answered at once with the address of a job (the Location header). The task then gives its worker
slot back; the triggerer asks for the job's status until it has ended. The next task receives the result.

The connection ``pygeoapi`` (type API task) holds the address of the server.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_ogc_process",
    schedule=None,
    params={
        "seconds": Param(8, type="number", minimum=0, description="How long the process works"),
        "fail": Param(False, type="boolean", description="Let the process fail in the end"),
    },
    tags=["example"],
):
    run_process = ApiCallOperator(
        task_id="run_process",
        api_conn_id="pygeoapi",
        method="POST",
        endpoint="/processes/slow/execution",
        headers={"Prefer": "respond-async"},
        body={"inputs": {"seconds": "{{ params.seconds }}", "fail": "{{ params.fail }}"}},
        mode="async",
        job={
            "success_values": ["successful"],
            "failure_values": ["failed"],
            "cancelled_values": ["dismissed"],
            "running_values": ["accepted", "running"],
            "poll_interval": 2,  # seconds
            "progress_path": "$.progress",
            "message_path": "$.message",
            "link_path": "{status_url}",
            # Without f=json the server answers HTML.
            "result_request": {"endpoint": "{status_url}/results", "params": {"f": "json"}},
            "cancel_request": {"method": "DELETE"},  # whoever ends the task dismisses the job
        },
    )

    @task
    def use_result(result: Any) -> str:
        return f"{result['greeting']} (measured: {result['slept']} s)"

    use_result(run_process.output)
