"""Ready-made descriptions of jobs, for conventions that many APIs follow.

Each is a plain :class:`~airflow_provider_apitask.core.job.AsyncJob`, or a function that returns
one, and can be changed before it is used::

    from dataclasses import replace
    from airflow_provider_apitask.jobs import OGC_PROCESSES

    ApiCallOperator(..., job=replace(OGC_PROCESSES, poll_interval=2, deadline=3600))
    ApiCallOperator(..., job={**OGC_PROCESSES.to_dict(), "poll_interval": "{{ params.pause }}"})

Where an endpoint stands in a description, it is joined to the base URL of the connection.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_apitask.core.job import AsyncJob

__all__ = [
    "GA4GH_WES",
    "LOCATION",
    "OGC_PROCESSES",
    "OPERATION_LOCATION",
    "PULP",
    "airflow_dag_run",
    "databricks_run",
    "google_operation",
    "slurm_job",
    "status_endpoint",
]

#: 201 or 202 with a ``Location`` (or one of its relatives) where the status is, and common status
#: words there. The same as naming no job at all, in async mode. RFC 9110 §15.3.3.
LOCATION = AsyncJob()

#: Azure: ``Operation-Location`` or ``Azure-AsyncOperation`` is the status monitor; a ``Location``
#: beside it is the result. Any status but the three final ones means that it goes on.
#: https://github.com/Azure/azure-resource-manager-rpc/blob/master/v1.0/async-api-reference.md
OPERATION_LOCATION = AsyncJob(
    status_path="$.status",
    success_values=["Succeeded"],
    failure_values=["Failed"],
    cancelled_values=["Canceled", "Cancelled"],
    running_values=["NotStarted", "Running"],
    unknown_status="running",
    error_path="$.error.message",
)

#: OGC API - Processes, part 1: send the execute request with ``Prefer: respond-async``. The result is
#: the document of all outputs; a kill dismisses the job. Where the job is says the ``Location`` of the answer
#: alone: that its body is the job's status is a recommendation, and pygeoapi's is ``null``.
#: https://docs.ogc.org/is/18-062r2/18-062r2.html#toc54
OGC_PROCESSES = AsyncJob(
    status_request={"headers": {"Accept": "application/json"}},
    status_path="$.status",
    success_values=["successful"],
    failure_values=["failed"],
    cancelled_values=["dismissed"],
    running_values=["accepted", "running"],
    error_path="$.message",
    progress_path="$.progress",
    message_path="$.message",
    # A browser gets a page there.
    link_path="{status_url}",
    result_request={"endpoint": "{status_url}/results", "headers": {"Accept": "application/json"}},
    cancel_request={"method": "DELETE"},
)

#: GA4GH Workflow Execution Service 1.x; the base URL ends in ``/ga4gh/wes/v1``, the submit is a
#: ``POST /runs``. The result is the log of the run, its outputs are in ``$.outputs``.
#: https://ga4gh.github.io/workflow-execution-service-schemas/docs/
GA4GH_WES = AsyncJob(
    job_id="run_id",
    status_request="/runs/{run_id}/status",
    status_path="$.state",
    success_values=["COMPLETE"],
    failure_values=["EXECUTOR_ERROR", "SYSTEM_ERROR", "PREEMPTED"],
    cancelled_values=["CANCELED"],
    # UNKNOWN: "the state of the task is unknown", for example while a worker cannot be reached.
    running_values=["QUEUED", "INITIALIZING", "RUNNING", "PAUSED", "CANCELING", "UNKNOWN"],
    error_request="/runs/{run_id}",
    error_path="$.run_log.stderr",
    result_request="/runs/{run_id}",
    cancel_request={"method": "POST", "endpoint": "/runs/{run_id}/cancel"},
)

#: Pulp 3: a 202 names its task, whose last response (with ``created_resources``) is the result; what Pulp
#: does at once it returns with a 201 and no task.
#: https://pulpproject.org/pulpcore/restapi/
PULP = AsyncJob(
    extract={"task": "$.task"},
    job_id="task",
    status_request="{task}",
    status_path="$.state",
    success_values=["completed"],
    failure_values=["failed", "skipped"],
    cancelled_values=["canceled"],
    running_values=["waiting", "running", "canceling", "unblocked"],
    error_path="$.error.description",
    message_path="$.progress_reports[0].message",
    cancel_request={"method": "PATCH", "endpoint": "{task}", "body": {"state": "canceled"}},
    required=False,
)


def status_endpoint(
    endpoint: str,
    *,
    job_id: str = "id",
    status_path: str = "$.status",
    result: str | None = None,
    cancel: Any = None,
    **fields: Any,
) -> AsyncJob:
    """A job whose submit answers with an id, and whose status is at an endpoint with that id in it.

    ``status_endpoint("/jobs/{job_id}", result="/jobs/{job_id}/result", cancel="/jobs/{job_id}")``

    :param endpoint: where to ask for the status; ``{job_id}``, or any path of the submit's answer.
    :param job_id: path of the id in the answer to the submit.
    :param status_path: path of the status in the answer to a check.
    :param result: endpoint of the result; by default the last status answer is the result.
    :param cancel: request that cancels the job; a text is a ``DELETE`` of that endpoint.
    :param fields: further fields of the ``AsyncJob``.
    """
    return AsyncJob(
        job_id=job_id,
        status_request=endpoint,
        status_path=status_path,
        result_request=result,
        cancel_request=cancel,
        **fields,
    )


def google_operation(prefix: str = "/v1", **fields: Any) -> AsyncJob:
    """A Google-style long-running operation: ``name``, ``done``, and then ``error`` or ``response``.

    Source: https://google.aip.dev/151 and google.longrunning.Operations.

    :param prefix: path before the operation's name: ``/v1`` for ``/v1/operations/7``; empty where the
        base URL of the connection ends in it.
    :param fields: fields of the ``AsyncJob`` that differ, such as ``result_path=None`` for the whole
        operation in place of its ``response``.
    """
    prefix = prefix.rstrip("/")
    given: dict[str, Any] = {
        "job_id": "name",
        "status_request": f"{prefix}/{{+name}}",
        "success_when": {"$.done": True, "$.error": {"absent": True}},
        "failure_when": {"$.error": {"type": "object"}},
        # google.rpc.Code: what Operations.CancelOperation ends an operation with.
        "cancelled_when": {"$.error.code": 1},
        "error_path": "$.error.message",
        "progress_path": "$.metadata.progressPercent",
        "result_path": "$.response",
        "cancel_request": {"method": "POST", "endpoint": f"{prefix}/{{+name}}:cancel", "body": {}},
    }
    return AsyncJob(**{**given, **fields})


def airflow_dag_run(dag_id: str, run_id: str | None = None, **fields: Any) -> AsyncJob:
    """A DAG run of an Airflow, started by its REST API; the base URL ends in ``/api/v2``.

    The submit is ``POST /dags/{dag_id}/dagRuns`` with ``{"dag_run_id": …, "logical_date": None}``. A
    kill sets the run to failed, as Airflow has no other way to stop one.

    Source: https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html

    :param dag_id: the DAG, also a template.
    :param run_id: the ``dag_run_id`` that is sent. With it a submit whose answer was lost finds its
        run again, and so does one that is told that there is such a run (409).
    :param fields: fields of the ``AsyncJob`` that differ.
    """
    given: dict[str, Any] = {
        "job_id": "dag_run_id",
        "status_request": f"/dags/{dag_id}/dagRuns/{{dag_run_id}}",
        "status_path": "$.state",
        "success_values": ["success"],
        "failure_values": ["failed"],
        "running_values": ["queued", "running"],
        # Of an Airflow that is at the root of its host.
        "link_path": f"/dags/{dag_id}/runs/{{dag_run_id}}",
        "cancel_request": {
            "method": "PATCH",
            "endpoint": f"/dags/{dag_id}/dagRuns/{{dag_run_id}}",
            "body": {"state": "failed"},
        },
    }
    if run_id is not None:
        given["reconcile"] = {"request": f"/dags/{dag_id}/dagRuns/{run_id}", "exists_codes": [409]}
    return AsyncJob(**{**given, **fields})


def slurm_job(version: str = "v0.0.40", **fields: Any) -> AsyncJob:
    """A batch job of slurmrestd; the submit is ``POST /slurm/{version}/job/submit``.

    A job has several states at once (``["COMPLETED", "COMPLETING"]``), one before version 0.0.40; it
    is done when none of them says that something still goes on.

    Source: https://slurm.schedmd.com/rest_api.html and https://slurm.schedmd.com/job_state_codes.html

    :param version: of the API plugin.
    :param fields: fields of the ``AsyncJob`` that differ.
    """
    job = f"/slurm/{version}/job/{{job_id}}"
    given: dict[str, Any] = {
        "job_id": "job_id",
        "status_request": job,
        "status_path": "$.jobs[0].job_state",
        "success_when": _slurm_states("COMPLETED"),
        "failure_when": _slurm_states(
            *("BOOT_FAIL", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
            *("LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED"),
        ),
        "cancelled_when": _slurm_states("CANCELLED"),
        "running_when": _slurm_states(
            *("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "EXPEDITING", "POWER_UP_NODE"),
            *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD", "SIGNALING"),
            *("SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "UPDATE_DB"),
        ),
        "unknown_status": "running",
        # ESLURM_INVALID_JOB_ID: slurmrestd returns a 500 for a job that it does not know.
        "lost_when": {"status_code": 500, "$.errors[*].error_number": 2017},
        "error_path": "$.jobs[0].state_reason",
        "cancel_request": {"method": "DELETE", "endpoint": job},
    }
    return AsyncJob(**{**given, **fields})


def _slurm_states(*states: str) -> list[dict[str, Any]]:
    return [{"$.jobs[0].job_state[*]": list(states)}, {"$.jobs[0].job_state": list(states)}]


def databricks_run(prefix: str = "/api/2.2", **fields: Any) -> AsyncJob:
    """A run of a Databricks job; the submit is ``POST {prefix}/jobs/run-now`` or ``…/runs/submit``.

    ``"idempotency_token": "{idempotency_key}"`` in the body makes Databricks return the same run for a
    submission that is sent twice; it needs ``idempotency_key="task"`` and ``idempotency_header=None``.

    Source: https://docs.databricks.com/api/workspace/jobs/getrun

    :param prefix: of the API; empty where the base URL of the connection ends in it.
    :param fields: fields of the ``AsyncJob`` that differ.
    """
    prefix = prefix.rstrip("/")
    given: dict[str, Any] = {
        "job_id": "run_id",
        "status_request": {"endpoint": f"{prefix}/jobs/runs/get", "params": {"run_id": "{run_id}"}},
        "status_path": "$.state.life_cycle_state",
        "success_when": {"$.state.result_state": "SUCCESS"},
        "failure_when": [
            {
                "$.state.result_state": [
                    *("FAILED", "TIMEDOUT", "SUCCESS_WITH_FAILURES", "UPSTREAM_FAILED", "EXCLUDED"),
                    *("MAXIMUM_CONCURRENT_RUNS_REACHED", "DISABLED"),
                ]
            },
            {"$.state.life_cycle_state": ["INTERNAL_ERROR", "SKIPPED"]},
        ],
        "cancelled_when": {"$.state.result_state": ["CANCELED", "UPSTREAM_CANCELED"]},
        "unknown_status": "running",
        "error_path": "$.state.state_message",
        "message_path": "$.state.state_message",
        "link_path": "$.run_page_url",
        "cancel_request": {
            "method": "POST",
            "endpoint": f"{prefix}/jobs/runs/cancel",
            "body": {"run_id": "{run_id}"},
        },
    }
    return AsyncJob(**{**given, **fields})
