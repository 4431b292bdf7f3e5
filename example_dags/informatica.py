"""Start a task of Informatica Intelligent Cloud Services and wait until its run has ended.

The response to the login holds the base URL. The activity log lists a run when it has ended: an empty list
means running, state 1 is success, 2 and 3 are failures. A killed or cleared task stops the run.

The connection ``informatica`` (type API task) holds the address of the API, user, password and the login.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_informatica",
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
        body={"@type": "job", "taskId": "{{ params.task }}", "taskType": "{{ params.type }}"},
        job={
            "job_id": "runId",
            "status_request": {
                "endpoint": "/api/v2/activity/activityLog",
                "params": {"taskId": "{taskId}", "runId": "{runId}"},
            },
            "running_when": {"$": {"length": 0}},
            "success_when": {"$[0].state": 1},
            "failure_when": {"$[0].state": [2, 3]},
            "error_path": "$[0].errorMsg",
            "poll_interval": 2,  # seconds
            "cancel_request": {
                "method": "POST",
                "endpoint": "/api/v2/job/stop",
                "body": {"@type": "job", "taskId": "{taskId}", "taskType": "{type}"},
            },
        },
    )
