"""Tasks whose jobs must survive whatever is killed: each way to recognise a job, each way to wait for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_apitask import ApiCallOperator

JOBS = 2  # tasks in a run

#: What a task is called on the server.
NAME = "{{ ti.dag_id }}/{{ run_id }}/{{ ti.map_index }}"
FOLLOW = {
    "job_id": "$.id",
    "status_request": "/jobs/{job_id}",
    "cancel_request": {"method": "DELETE"},
    "poll_interval": 0.5,
    "defer_after": 0,
    "not_found_grace": 0,
    "status_grace": 60,
}
RECONCILE = {"request": "/jobs", "items": "$.jobs", "match": {"$.name": NAME}}

#: How a job is recognised again when nobody knows whether its submit got through.
VARIANTS: dict[str, dict[str, Any]] = {
    "key": {"idempotency_key": "task", "job": FOLLOW},
    "reconcile": {"job": {**FOLLOW, "reconcile": RECONCILE}},
    "plain": {"job": FOLLOW},
}

for variant, parameters in VARIANTS.items():
    for where in ("worker", "deferred"):
        for token in ("", "_token"):
            dag_id = f"crash_{variant}_{where}{token}"
            with DAG(dag_id=dag_id, schedule=None, max_active_tasks=64, max_active_runs=64) as dag:
                ApiCallOperator.partial(
                    task_id="call",
                    api_conn_id="crash",
                    endpoint="/jobs",
                    timeout=20,
                    deferrable=where == "deferred",
                    # The request that goes before the submit has the task's name, too.
                    require_csrf_token=bool(token),
                    csrf_token_endpoint=f"/token/{NAME}" if token else None,
                    retries=12,
                    retry_delay=timedelta(seconds=0),
                    **parameters,
                ).expand(
                    body=[{"name": NAME, "seconds": "{{ dag_run.conf['seconds'] }}"} for _ in range(JOBS)]
                )
            globals()[dag_id] = dag
