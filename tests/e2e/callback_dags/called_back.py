"""Jobs whose service calls back: with a status to be asked for, without one, waiting on the worker."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_apitask import ApiCallOperator

MANY = 24
#: Most of these tests are about tasks that are deferred.
AT_ONCE = {"defer_after": 0}
SUBMIT = {"name": "{{ run_id }}", "callbackURL": "{callback_url}"}

with DAG(dag_id="confirmed", schedule=None, max_active_runs=16):
    ApiCallOperator(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        body=SUBMIT,
        job={**AT_ONCE, "status_request": "/jobs/{id}", "poll_interval": 1},
        callback={"poll_interval": "{{ dag_run.conf.get('poll_interval', 300) }}"},
    )

with DAG(dag_id="confirmed_on_worker", schedule=None):
    ApiCallOperator(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        body=SUBMIT,
        job={"status_request": "/jobs/{id}", "poll_interval": 1},
        callback=True,
        deferrable=False,
    )

with DAG(dag_id="many", schedule=None):
    ApiCallOperator.partial(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        job={**AT_ONCE, "status_request": "/jobs/{id}", "poll_interval": 1, "cancel_request": "/jobs/{id}"},
        callback=True,
    ).expand(body=[{"name": f"many-{number}", "callbackURL": "{callback_url}"} for number in range(MANY)])

with DAG(dag_id="race", schedule=None):
    ApiCallOperator.partial(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        job={**AT_ONCE, "deadline": 120},
        callback=True,
    ).expand(body=[{"name": f"race-{number}", "callbackURL": "{callback_url}"} for number in range(MANY)])

with DAG(dag_id="killed", schedule=None):
    ApiCallOperator(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        body=SUBMIT,
        idempotency_key="task",
        callback=True,
        retries=1,
        retry_delay=1,
    )

with DAG(dag_id="alone", schedule=None, max_active_runs=16):
    ApiCallOperator(
        task_id="call",
        api_conn_id="service",
        endpoint="/jobs",
        body=SUBMIT,
        job={
            **AT_ONCE,
            "deadline": "{{ dag_run.conf.get('deadline', 300) }}",
            "cancel_request": "/jobs/{id}",
        },
        callback={"job_id_path": "$.runId", "expires": "{{ dag_run.conf.get('expires', 600) }}"},
    )
