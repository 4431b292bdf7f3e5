"""The examples of Qarion's page on API call tasks, as one DAG.

A simple call, a POST with authentication, data of an earlier task in URL and body, OAuth 2.0 with retries,
and an answer that has to fit rules. The parameters say how long the first answer takes, and what the last
one says.

The connections ``qarion`` and ``qarion_oauth`` (type API task) hold the address of the API and a credential
each: user and password, and the client of OAuth 2.0.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_apitask.operators.api_call import ApiCallOperator

with DAG(
    dag_id="example_qarion",
    schedule=None,
    default_args={"api_conn_id": "qarion"},
    params={"seconds": Param(0, type="number", minimum=0), "status": Param("success", type="string")},
    tags=["example"],
):
    ApiCallOperator(
        task_id="fetch_data", method="GET", endpoint="/data?seconds={{ params.seconds }}", timeout=60
    )
    create = ApiCallOperator(
        task_id="create_record", endpoint="/records", body={"name": "New Record", "status": "active"}
    )
    notify = ApiCallOperator(
        task_id="notify_api",
        endpoint="/notify/{{ ti.xcom_pull('create_record').id }}",
        body={"status": "{{ ti.xcom_pull('create_record').status }}", "batch_id": "{{ run_id }}"},
    )
    create >> notify
    ApiCallOperator(
        task_id="oauth_api_call",
        api_conn_id="qarion_oauth",
        method="GET",
        endpoint="/protected/data",
        retry_count=3,
        retry_wait=2.0,  # seconds
    )
    ApiCallOperator(
        task_id="validated_api",
        method="GET",
        endpoint="/data?status={{ params.status }}",
        response_validation={
            "required_fields": ["data", "timestamp"],
            "field_checks": {"status": {"type": "str", "value": "success"}},
        },
    )
