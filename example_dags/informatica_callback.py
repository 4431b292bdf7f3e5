"""Start a task of Informatica Intelligent Cloud Services, which calls Airflow when the run has ended.

Nothing is asked for meanwhile. What the service posts to the ``callbackURL`` tells how the run has ended.
Should it never call, the run is stopped at the deadline.

Airflow needs ``[apitask] callback_base_url``, an address of its API server at which the service reaches it.
The connection ``informatica`` (type API task) holds the address of the API, user, password and the login.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_informatica_callback",
    schedule=None,
    params={
        "task": Param("0034J90000000M", type="string", description="ID of the task"),
        "type": Param("Workflow", type="string", description="Its type, such as DSS, MTT or Workflow"),
    },
    tags=["example"],
):
    ApiCallOperator(
        task_id="run_task",
        api_conn_id="informatica",
        endpoint="/api/v2/job",
        body={
            "@type": "job",
            "taskId": "{{ params.task }}",
            "taskType": "{{ params.type }}",
            "callbackURL": "{callback_url}",
        },
        callback={"job_id_path": "$.runId"},
        job={
            "job_id": "runId",
            "success_values": ["COMPLETED"],
            "failure_values": ["FAILED"],
            "deadline": 24 * 3600,  # seconds
            "cancel_request": {
                "method": "POST",
                "endpoint": "/api/v2/job/stop",
                "body": {"@type": "job", "taskId": "{taskId}", "taskType": "{type}"},
            },
        },
    )
