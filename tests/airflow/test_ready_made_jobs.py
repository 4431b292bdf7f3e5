"""Ready-made job descriptions against servers that behave as the page of each convention says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from airflow_provider_apitask import ApiStatusSensor, exceptions, jobs
from airflow_provider_apitask.core.job import AsyncJob
from tests.airflow.helpers import Comms, Connect, call, context_for, run
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

AZURE = "/subscriptions/s/operations/7"
TASK = "/pulp/api/v3/tasks/0193/"
DAG_RUNS = "/api/v2/dags/etl/dagRuns"
SLURM = "/slurm/v0.0.40/job"
WES = "/ga4gh/wes/v1/runs"


@dataclass(frozen=True)
class Convention:
    """One convention: its description, and what its server says.

    The last of ``running`` is what it goes on saying until it is cancelled.
    """

    job: AsyncJob
    submit: str
    accepted: Answer
    status: str
    running: list[Any]
    succeeded: Any
    failed: Any
    reason: str
    result: Any
    cancelled: Any = None
    cancel: tuple[str, str, Any] | None = None
    other: dict[str, Any] = field(default_factory=dict)


def slurm(*states: str, reason: str = "None") -> dict[str, Any]:
    return {"jobs": [{"job_id": 7, "job_state": list(states), "state_reason": reason}], "errors": []}


def databricks(life: str, result: str | None = None, message: str = "") -> dict[str, Any]:
    return {
        "run_id": 9007199254740993,
        "state": {
            "life_cycle_state": life,
            "state_message": message,
            **({"result_state": result} if result else {}),
        },
    }


def dag_run(state: str) -> dict[str, Any]:
    return {"dag_id": "etl", "dag_run_id": "manual/2026", "state": state, "conf": {}}


CONVENTIONS = {
    "location": Convention(
        job=jobs.LOCATION,
        submit="/work",
        accepted=Answer(202, headers={"Location": "/queue/7"}),
        status="/queue/7",
        running=[{"status": "Pending"}, {"status": "In progress"}],
        succeeded={"status": "Completed", "rows": 3},
        failed={"status": "Error", "message": "disk full"},
        reason="disk full",
        result={"status": "Completed", "rows": 3},
    ),
    "azure": Convention(
        job=jobs.OPERATION_LOCATION,
        submit="/subscriptions/s/things",
        accepted=Answer(
            202,
            {"properties": {"provisioningState": "Accepted"}},
            headers={"Azure-AsyncOperation": AZURE, "Location": "/things/7"},
        ),
        status=AZURE,
        # "Any other value indicates that the operation is still running."
        running=[{"status": "ResolvingContainer"}, {"status": "Running", "percentComplete": 50}],
        succeeded={"status": "Succeeded"},
        failed={"status": "Failed", "error": {"code": "BadArgument", "message": "SKU not available"}},
        reason="SKU not available",
        cancelled={"status": "Canceled"},
        result={"name": "thing"},
        other={"/things/7": Answer(json={"name": "thing"})},
    ),
    "ogc": Convention(
        job=jobs.OGC_PROCESSES,
        submit="/processes/slow/execution",
        accepted=Answer(201, {"jobID": "81", "status": "accepted"}, headers={"Location": "/jobs/81"}),
        status="/jobs/81",
        running=[{"jobID": "81", "status": "accepted"}, {"jobID": "81", "status": "running", "progress": 5}],
        succeeded={"jobID": "81", "status": "successful", "progress": 100},
        failed={"jobID": "81", "status": "failed", "message": "input X is missing"},
        reason="input X is missing",
        cancelled={"jobID": "81", "status": "dismissed"},
        result={"out": 1},
        cancel=("DELETE", "/jobs/81", None),
        other={"/jobs/81/results": Answer(json={"out": 1})},
    ),
    "google": Convention(
        job=jobs.google_operation(),
        submit="/v1/projects/p/locations/l/clusters",
        # Proto3 JSON leaves out what is false.
        accepted=Answer(json={"name": "projects/p/locations/l/operations/op-7", "metadata": {}}),
        status="/v1/projects/p/locations/l/operations/op-7",
        running=[{"name": "n", "metadata": {"progressPercent": 4}}, {"name": "n", "done": False}],
        succeeded={"name": "n", "done": True, "response": {"@type": "t", "endpoint": "1.2.3.4"}},
        failed={"name": "n", "done": True, "error": {"code": 8, "message": "quota exceeded"}},
        reason="quota exceeded",
        cancelled={"name": "n", "done": True, "error": {"code": 1, "message": "Cancelled"}},
        result={"@type": "t", "endpoint": "1.2.3.4"},
        cancel=("POST", "/v1/projects/p/locations/l/operations/op-7:cancel", {}),
    ),
    "wes": Convention(
        job=replace(
            jobs.GA4GH_WES,
            status_request="/ga4gh/wes/v1/runs/{run_id}/status",
            result_request="/ga4gh/wes/v1/runs/{run_id}",
            cancel_request={"method": "POST", "endpoint": "/ga4gh/wes/v1/runs/{run_id}/cancel"},
        ),
        submit=WES,
        accepted=Answer(json={"run_id": "r-7"}),
        status=f"{WES}/r-7/status",
        running=[{"run_id": "r-7", "state": "UNKNOWN"}, {"run_id": "r-7", "state": "CANCELING"}],
        succeeded={"run_id": "r-7", "state": "COMPLETE"},
        failed={"run_id": "r-7", "state": "EXECUTOR_ERROR"},
        reason="EXECUTOR_ERROR",
        cancelled={"run_id": "r-7", "state": "CANCELED"},
        result={"run_id": "r-7", "outputs": {"bam": "s3://b/x"}},
        cancel=("POST", f"{WES}/r-7/cancel", None),
        other={f"{WES}/r-7": Answer(json={"run_id": "r-7", "outputs": {"bam": "s3://b/x"}})},
    ),
    "airflow": Convention(
        job=replace(
            jobs.airflow_dag_run("etl"),
            status_request="/api/v2/dags/etl/dagRuns/{dag_run_id}",
            cancel_request={
                "method": "PATCH",
                "endpoint": "/api/v2/dags/etl/dagRuns/{dag_run_id}",
                "body": {"state": "failed"},
            },
        ),
        submit=DAG_RUNS,
        accepted=Answer(json=dag_run("queued")),
        status=f"{DAG_RUNS}/manual%2F2026",
        running=[dag_run("queued"), dag_run("running")],
        succeeded=dag_run("success"),
        failed=dag_run("failed"),
        reason="status 'failed'",
        result=dag_run("success"),
        cancel=("PATCH", f"{DAG_RUNS}/manual%2F2026", {"state": "failed"}),
    ),
    "slurm": Convention(
        job=jobs.slurm_job(),
        submit=f"{SLURM}/submit",
        accepted=Answer(json={"job_id": 7, "step_id": "batch", "errors": [], "result": {"job_id": 7}}),
        status=f"{SLURM}/7",
        # A job is COMPLETED while its nodes are still being cleaned up.
        running=[slurm("PENDING", reason="Priority"), slurm("COMPLETED", "COMPLETING")],
        succeeded=slurm("COMPLETED"),
        failed=slurm("OUT_OF_MEMORY", reason="OutOfMemory"),
        reason="OutOfMemory",
        cancelled=slurm("CANCELLED"),
        result=slurm("COMPLETED"),
        cancel=("DELETE", f"{SLURM}/7", None),
    ),
    "pulp": Convention(
        job=jobs.PULP,
        submit="/pulp/api/v3/repositories/rpm/rpm/9/sync/",
        accepted=Answer(202, {"task": TASK}),
        status=TASK,
        running=[{"pulp_href": TASK, "state": "waiting"}, {"pulp_href": TASK, "state": "running"}],
        succeeded={"pulp_href": TASK, "state": "completed", "created_resources": ["/x/"], "error": None},
        failed={"pulp_href": TASK, "state": "failed", "error": {"description": "404 from the mirror"}},
        reason="404 from the mirror",
        cancelled={"pulp_href": TASK, "state": "canceled", "error": None},
        result={"pulp_href": TASK, "state": "completed", "created_resources": ["/x/"], "error": None},
        cancel=("PATCH", TASK, {"state": "canceled"}),
    ),
    "databricks": Convention(
        job=jobs.databricks_run(),
        submit="/api/2.2/jobs/run-now",
        accepted=Answer(json={"run_id": 9007199254740993, "number_in_job": 1}),
        status="/api/2.2/jobs/runs/get",
        running=[databricks("QUEUED"), databricks("RUNNING")],
        succeeded=databricks("TERMINATED", "SUCCESS"),
        failed=databricks("TERMINATED", "FAILED", "Task main failed"),
        reason="Task main failed",
        cancelled=databricks("TERMINATED", "CANCELED", "Run cancelled."),
        result=databricks("TERMINATED", "SUCCESS"),
        cancel=("POST", "/api/2.2/jobs/runs/cancel", {"run_id": 9007199254740993}),
    ),
    "status endpoint": Convention(
        job=jobs.status_endpoint(
            "/jobs/{job_id}", job_id="data.id", result="/jobs/{job_id}/result", cancel="/jobs/{job_id}"
        ),
        submit="/jobs",
        accepted=Answer(json={"data": {"id": "a b"}}),
        status="/jobs/a%20b",
        running=[{"status": "queued"}, {"status": "running"}],
        succeeded={"status": "done"},
        failed={"status": "failed", "error": "out of paper"},
        reason="out of paper",
        cancelled={"status": "cancelled"},
        result=[1, 2],
        cancel=("DELETE", "/jobs/a%20b", None),
        other={"/jobs/a%20b/result": Answer(json=[1, 2])},
    ),
}
EACH = pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS.keys())


@pytest.fixture
def server(comms: Comms, connect: Connect) -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        connect(made.url)
        yield made


def script(server: ScriptedServer, convention: Convention, last: Any) -> None:
    server.on("POST", convention.submit, convention.accepted)
    for path, answer in convention.other.items():
        server.on("GET", path, answer)
    answers = [Answer(json=body) for body in convention.running]
    server.on("GET", convention.status, *answers, *([] if last is None else [Answer(json=last)]))


def job_of(convention: Convention, **fields: Any) -> AsyncJob:
    return replace(convention.job, poll_interval=0.02, **fields)


@EACH
def test_success(server: ScriptedServer, convention: Convention) -> None:
    script(server, convention, convention.succeeded)
    assert run(call(endpoint=convention.submit, body={}, job=job_of(convention))) == convention.result
    assert len(server.requests("GET", convention.status)) == 3


@EACH
def test_failure(server: ScriptedServer, convention: Convention) -> None:
    script(server, convention, convention.failed)
    with pytest.raises(exceptions.JobFailedError) as caught:
        run(call(endpoint=convention.submit, body={}, job=job_of(convention)))
    assert convention.reason in str(caught.value)


@EACH
def test_cancelled_on_the_server(server: ScriptedServer, convention: Convention) -> None:
    if convention.cancelled is None:
        pytest.skip("the convention has no such outcome")
    script(server, convention, convention.cancelled)
    with pytest.raises(exceptions.JobCancelledError):
        run(call(endpoint=convention.submit, body={}, job=job_of(convention)))


@EACH
def test_job_is_cancelled_at_its_deadline(server: ScriptedServer, convention: Convention) -> None:
    script(server, convention, None)
    job = job_of(convention, deadline=0.15)
    if convention.cancel is None:
        assert job.cancel_request is None  # the convention has no way to cancel
        return
    method, path, body = convention.cancel
    server.on(method, path, Answer(202, {}))
    task = call(endpoint=convention.submit, body={}, job=job, deferrable=False)
    with pytest.raises(exceptions.JobTimedOutError):
        task.execute(context_for(task))
    (request,) = server.requests(method, path)
    assert (request.json() if request.body else None) == body


@EACH
def test_description_can_be_changed_and_stored(convention: Convention) -> None:
    changed = replace(convention.job, deadline=7)
    assert changed.deadline == 7
    assert changed != convention.job
    as_dict = {**convention.job.to_dict(), "deadline": "{{ params.seconds }}"}
    assert AsyncJob.parse({**as_dict, "deadline": 7}).to_dict() == changed.to_dict()
    AsyncJob.parse(as_dict).compiled()


#: The id of each convention's job, as a sensor gets it.
IDS = {
    "location": "/queue/7",
    "azure": AZURE,
    "ogc": "81",
    "google": "projects/p/locations/l/operations/op-7",
    "wes": "r-7",
    "airflow": "manual/2026",
    "slurm": 7,
    "pulp": TASK,
    "databricks": 9007199254740993,
    "status endpoint": "a b",
}


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("way", [{}, {"deferrable": True}])
def test_a_sensor_needs_an_id_alone(server: ScriptedServer, name: str, way: dict[str, Any]) -> None:
    convention = CONVENTIONS[name]
    script(server, convention, convention.succeeded)
    task = ApiStatusSensor(
        task_id="s", api_conn_id="api", job_id=IDS[name], job=convention.job, poke_interval=0.02, **way
    )
    # The location of the result is in the response to the submission, which a sensor does not know.
    wanted = convention.succeeded if name == "azure" else convention.result
    assert (run(task) if way else task.execute(context_for(task))) == wanted
    assert {request.method for request in server.history} == {"GET"}


def test_an_id_may_be_the_url_of_the_job(server: ScriptedServer) -> None:
    convention = CONVENTIONS["location"]
    script(server, convention, convention.succeeded)
    task = ApiStatusSensor(
        task_id="s", api_conn_id="api", job_id=f"{server.url}/queue/7", job=convention.job, poke_interval=0.02
    )
    assert task.execute(context_for(task)) == convention.result


def test_a_sensor_adds_the_endpoint_that_a_ready_made_job_lacks(server: ScriptedServer) -> None:
    convention = CONVENTIONS["ogc"]
    server.on("GET", "/ogc/jobs/81", Answer(json=convention.succeeded))
    server.on("GET", "/ogc/jobs/81/results", Answer(json=convention.result))
    task = ApiStatusSensor(
        task_id="s", api_conn_id="api", job_id="81", status_request="/ogc/jobs/{job_id}", job=convention.job
    )
    assert task.execute(context_for(task)) == convention.result
    assert server.history[0].header("Accept") == "application/json"


def test_databricks_asks_with_the_run_id(server: ScriptedServer) -> None:
    convention = CONVENTIONS["databricks"]
    script(server, convention, convention.succeeded)
    run(call(endpoint=convention.submit, body={}, job=job_of(convention)))
    asked = server.requests("GET", convention.status)
    assert {request.target for request in asked} == {f"{convention.status}?run_id=9007199254740993"}


def test_slurm_before_states_were_lists(server: ScriptedServer) -> None:
    convention = CONVENTIONS["slurm"]
    old = [{"jobs": [{"job_state": state}]} for state in ("RUNNING", "COMPLETED")]
    script(server, replace(convention, running=old[:1]), old[1])
    assert run(call(endpoint=convention.submit, body={}, job=job_of(convention))) == old[1]


@pytest.mark.parametrize("answer", ["lost", "conflict"])
def test_dag_run_of_a_chosen_id_is_found_again(server: ScriptedServer, answer: str) -> None:
    """Airflow answers 409 to a run id that exists; a lost answer leaves a run behind that can be found."""
    started: list[str] = []

    def submit(request: Recorded) -> Answer:
        started.append(request.json()["dag_run_id"])
        return Answer(409, {"detail": "exists"}) if answer == "conflict" else Answer(drop="before")

    server.on("POST", "/dags/etl/dagRuns", submit)
    server.on(
        "GET",
        "/dags/etl/dagRuns/nightly-7",
        *[Answer(json={**dag_run(state), "dag_run_id": "nightly-7"}) for state in ("running", "success")],
    )
    job = replace(jobs.airflow_dag_run("etl", "nightly-7"), poll_interval=0.02)
    task = call(endpoint="/dags/etl/dagRuns", body={"dag_run_id": "nightly-7", "logical_date": None}, job=job)
    assert run(task)["state"] == "success"
    assert started == ["nightly-7"]


def test_what_pulp_does_at_once_is_the_result(server: ScriptedServer) -> None:
    created = {"pulp_href": "/pulp/api/v3/remotes/rpm/rpm/1/", "name": "mirror"}
    server.on("POST", "/remotes/", Answer(201, created, headers={"Location": created["pulp_href"]}))
    task = call(endpoint="/remotes/", body={}, job=jobs.PULP)
    assert task.execute(context_for(task)) == created
    assert len(server.history) == 1


def test_the_last_response_is_azures_result_if_the_author_says_so(server: ScriptedServer) -> None:
    convention = CONVENTIONS["azure"]
    script(server, convention, convention.succeeded)
    job = job_of(convention, result_request=False)
    assert run(call(endpoint=convention.submit, body={}, job=job)) == convention.succeeded


def test_bad_input_that_slurm_answers_with_500_is_a_failure(server: ScriptedServer) -> None:
    server.on("POST", f"{SLURM}/submit", Answer(500, {"errors": [{"error": "Invalid account"}]}))
    with pytest.raises(exceptions.RequestFailedError, match="Invalid account"):
        run(call(endpoint=f"{SLURM}/submit", body={}, job=jobs.slurm_job(), rejected_status_codes=500))
    assert len(server.history) == 1


def test_conflict_without_a_chosen_id_is_an_error(server: ScriptedServer) -> None:
    server.on("POST", "/dags/etl/dagRuns", Answer(409, {"detail": "DAGRun with dag_id exists"}))
    with pytest.raises(exceptions.RequestFailedError, match="409"):
        run(call(endpoint="/dags/etl/dagRuns", body={}, job=jobs.airflow_dag_run("etl")))
