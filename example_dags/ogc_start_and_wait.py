"""Start a process in one task, do something else, and wait for it in another.

The first task ends as soon as the job is submitted; what identifies the job is in its XCom ``api_job``. The
sensor waits for it on the triggerer and returns the job's last status answer, as nothing says where a result
would be.

The connection ``pygeoapi`` (type API task) holds the address of the server.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_apitask.operators.api_call import ApiCallOperator
from airflow_provider_apitask.sensors.api_status import ApiStatusSensor

with DAG(dag_id="example_ogc_start_and_wait", schedule=None, tags=["example"]):
    start = ApiCallOperator(
        task_id="start",
        api_conn_id="pygeoapi",
        endpoint="/processes/slow/execution",
        headers={"Prefer": "respond-async"},
        body={"inputs": {"seconds": 12}},
        mode="async",
        wait_for_completion=False,
    )

    @task
    def meanwhile() -> str:
        return "something else"

    wait = ApiStatusSensor(
        task_id="wait",
        api_conn_id="pygeoapi",
        handle=start.output["api_job"],
        poke_interval=1,
        deferrable=True,
    )

    @task
    def report(answer: Any) -> str:
        return f"job {answer['jobID']} is {answer['status']}"

    start >> meanwhile()
    report(wait.output)
