"""The example DAGs on a real Airflow, each with a job that succeeds, fails, and is cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from demo.processes import wait_until
from tests.systems.servers import invision, panoply
from tests.systems.servers.informatica import BROKEN, ENDLESS, NIGHTLY, TOLD_TWICE, Run
from tests.systems.stack import JWT_SECONDS, WORK_SECONDS, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

LONG = 600  # seconds, which nobody waits for
#: The run of another DAG that a run of the example DAG starts.
STARTED = "example_airflow_dag_run__{}".format
AIRFLOW = {"dag": "example_sap_datasphere"}


#: What a triggerer logs when the trigger runs; before, it may never hear of the end of the task.
TRIGGER_RUNS = ") starting"


@dataclass(frozen=True)
class Case:
    """A run of an example DAG.

    :param task: the one that waits for the job.
    :param cancelled: whether the task is marked as failed while it waits.
    :param deferred: whether it waits on the triggerer.
    """

    dag: str
    task: str
    conf: dict[str, Any]
    cancelled: bool = False
    deferred: bool = True

    @property
    def dag_id(self) -> str:
        return f"example_{self.dag}"


CASES = {
    "sap-success": Case("sap_datasphere", "load", {"seconds": WORK_SECONDS}),
    "sap-failure": Case("sap_datasphere", "load", {"seconds": WORK_SECONDS, "fail": True}),
    "sap-cancel": Case("sap_datasphere", "load", {"seconds": LONG}, cancelled=True),
    "informatica-success": Case("informatica", "run_task", {"task": NIGHTLY.id, "type": "Workflow"}),
    "informatica-failure": Case("informatica", "run_task", {"task": BROKEN.id, "type": "MTT"}),
    "informatica-cancel": Case(
        "informatica", "run_task", {"task": ENDLESS.id, "type": "MTT"}, cancelled=True
    ),
    "callback-success": Case("informatica_callback", "run_task", {"task": TOLD_TWICE.id, "type": "MTT"}),
    "callback-failure": Case("informatica_callback", "run_task", {"task": BROKEN.id, "type": "MTT"}),
    "callback-cancel": Case(
        "informatica_callback", "run_task", {"task": ENDLESS.id, "type": "MTT"}, cancelled=True
    ),
    "pygeoapi-success": Case("ogc_process", "run_process", {"seconds": WORK_SECONDS}),
    "pygeoapi-failure": Case("ogc_process", "run_process", {"seconds": WORK_SECONDS, "fail": True}),
    "pygeoapi-cancel": Case("ogc_process", "run_process", {"seconds": LONG}, cancelled=True),
    "airflow-success": Case(
        "airflow_dag_run", "run_dag", {**AIRFLOW, "conf": {"seconds": 2 * JWT_SECONDS, "fail": False}}
    ),
    "airflow-failure": Case("airflow_dag_run", "run_dag", {**AIRFLOW, "conf": {"seconds": 1, "fail": True}}),
    "airflow-conflict": Case("airflow_dag_run", "run_dag", {**AIRFLOW, "conf": {"seconds": 1}}),
    "airflow-cancel": Case(
        "airflow_dag_run", "run_dag", {**AIRFLOW, "conf": {"seconds": LONG}}, cancelled=True
    ),
    "qarion-success": Case("qarion", "validated_api", {}, deferred=False),
    "qarion-failure": Case("qarion", "validated_api", {"status": "error"}, deferred=False),
    "qarion-cancel": Case("qarion", "fetch_data", {"seconds": LONG}, cancelled=True, deferred=False),
    "invision-success": Case("invision", "run_flow", {"flow": invision.SALES}),
    "invision-failure": Case("invision", "run_flow", {"flow": invision.BROKEN}),
    "invision-cancel": Case("invision", "run_flow", {"flow": invision.ENDLESS}, cancelled=True),
    "panoply-success": Case("panoply", "collect", {"table": panoply.ORDERS}),
    "panoply-failure": Case("panoply", "collect", {"table": panoply.BROKEN}),
    "panoply-cancel": Case("panoply", "collect", {"table": panoply.ENDLESS}, cancelled=True),
}
#: What a task asks for that is marked as failed while it waits for the answer.
SLOW = f"/data?seconds={LONG}"


@pytest.fixture(scope="module", autouse=True)
def _started(stack: Stack) -> None:
    """All cases were started; the ones to cancel were cancelled."""
    stack.know("example_sap_datasphere")
    # Somebody else has started this one, or a start whose answer was lost.
    stack.trigger("example_sap_datasphere", {"seconds": 4}, STARTED("airflow-conflict"))
    for run_id, case in CASES.items():
        stack.trigger(case.dag_id, case.conf, run_id)
    for run_id, case in CASES.items():
        if case.cancelled and case.deferred:
            stack.fail_task(case.dag_id, run_id, case.task, TRIGGER_RUNS)
        elif case.cancelled:
            wait_until(lambda: slow_requests(stack) > 0, 60, "nothing slow was asked for")
            stack.fail_task(case.dag_id, run_id, case.task, "", "running")


def slow_requests(stack: Stack) -> int:
    """How often the slow answer was asked for."""
    return len([request for request in stack.qarion.requests("GET") if request.target == SLOW])


def outcome(stack: Stack, name: str) -> tuple[Any, str]:
    """What a run's task returned, and its log; the run ended as its name says."""
    case = CASES[name]
    state = stack.wait(case.dag_id, name)
    log = stack.log(case.dag_id, name, case.task)
    good = name.endswith(("success", "conflict"))
    assert state == ("success" if good else "failed"), log
    events = [event["event"] for event in stack.airflow.api.event_log(case.dag_id, name, case.task)]
    assert ("deferred" in events) is case.deferred
    return stack.airflow.api.xcom(case.dag_id, name, case.task), log


def wait_for_word_of(stack: Stack, name: str, job_id: str) -> None:
    """Wait until the task's log says that its job, which nothing cancels, goes on."""
    case, word = CASES[name], f"Job {job_id} may go on on the server"
    wait_until(lambda: word in stack.log(case.dag_id, name, case.task), 100, "the log does not say so")


@pytest.mark.feature("sap", "DAG success")
def test_sap_success(stack: Stack) -> None:
    answer, _ = outcome(stack, "sap-success")
    assert (answer["status"], answer["message"]) == ("COMPLETED", "Loaded 42 records")
    check = stack.airflow.api.xcom("example_sap_datasphere", "sap-success", "check")
    assert check["status"] == "COMPLETED"


@pytest.mark.feature("sap", "DAG failure")
def test_sap_failure(stack: Stack) -> None:
    _, log = outcome(stack, "sap-failure")
    assert "SALES_ORDERS is locked" in log


@pytest.mark.feature("sap", "DAG cancel")
def test_sap_cancel(stack: Stack) -> None:
    outcome(stack, "sap-cancel")
    job_id = stack.airflow.api.xcom("example_sap_datasphere", "sap-cancel", "load", "api_job")["job_id"]
    (job,) = [task for task in stack.sap.tasks if task.id == job_id]
    wait_until(lambda: job.cancelled, 100, "the job was not cancelled")


@pytest.mark.feature("informatica", "DAG success")
def test_informatica_success(stack: Stack) -> None:
    (entry,), _ = outcome(stack, "informatica-success")
    assert (entry["objectId"], entry["state"]) == (NIGHTLY.id, 1)


@pytest.mark.feature("informatica", "DAG failure")
def test_informatica_failure(stack: Stack) -> None:
    _, log = outcome(stack, "informatica-failure")
    assert "table ORDERS does not exist" in log


@pytest.mark.feature("informatica", "DAG cancel")
def test_informatica_cancel(stack: Stack) -> None:
    outcome(stack, "informatica-cancel")
    (run,) = [run for run in stack.informatica.runs if run.task == ENDLESS and run.callback_url is None]
    wait_until(run.stopped.is_set, 100, "the run was not stopped")


def called_back(stack: Stack, name: str) -> tuple[Run, list[int | None]]:
    """The run that a run of the example with a callback has started, and how its callbacks were answered."""
    handle = stack.airflow.api.xcom("example_informatica_callback", name, "run_task", "api_job")
    (run,) = [run for run in stack.informatica.runs if run.id == handle["job_id"]]
    asked = [dict(request.query) for request in stack.informatica.requests("GET")]
    assert str(run.id) not in [query["runId"] for query in asked], "nothing but the callback was to tell"
    return run, [delivery.status for delivery in stack.informatica.deliveries if delivery.run_id == run.id]


@pytest.mark.feature("informatica", "DAG success")
def test_informatica_callback_that_comes_twice(stack: Stack) -> None:
    """The second attempt, after an answer that the service did not see, changes nothing."""
    answer, log = outcome(stack, "callback-success")
    run, statuses = called_back(stack, "callback-success")
    assert statuses == [200, 200]
    assert (answer["objectId"], answer["runId"], answer["status"]) == (TOLD_TWICE.id, run.id, "COMPLETED")
    assert run.callback_url is not None
    assert run.callback_url not in log


@pytest.mark.feature("informatica", "DAG failure")
def test_informatica_callback_of_a_failure(stack: Stack) -> None:
    outcome(stack, "callback-failure")
    _, statuses = called_back(stack, "callback-failure")
    assert statuses == [200]


@pytest.mark.feature("informatica", "DAG cancel")
def test_informatica_run_that_is_to_call_back_is_stopped(stack: Stack) -> None:
    outcome(stack, "callback-cancel")
    run, _ = called_back(stack, "callback-cancel")
    wait_until(run.stopped.is_set, 100, "the run was not stopped")


@pytest.mark.feature("ogc", "DAG success")
def test_pygeoapi_success(stack: Stack) -> None:
    answer, _ = outcome(stack, "pygeoapi-success")
    assert answer == {"greeting": f"Hello after {WORK_SECONDS} s of work", "slept": WORK_SECONDS}


@pytest.mark.feature("ogc", "DAG failure")
def test_pygeoapi_failure(stack: Stack) -> None:
    _, log = outcome(stack, "pygeoapi-failure")
    assert f"asked to fail after {WORK_SECONDS} s" in log


@pytest.mark.feature("ogc", "DAG cancel")
def test_pygeoapi_cancel(stack: Stack) -> None:
    outcome(stack, "pygeoapi-cancel")
    handle = stack.airflow.api.xcom("example_ogc_process", "pygeoapi-cancel", "run_process", "api_job")
    dismissed = ("DELETE", f"/jobs/{handle['job_id']}", 200)
    wait_until(
        lambda: dismissed in [(r["method"], r["path"], r["status"]) for r in stack.pygeoapi.requests()],
        100,
        "the job was not dismissed",
    )


@pytest.mark.feature("airflow", "DAG success", "credential")
def test_airflow_success(stack: Stack) -> None:
    """The run takes longer than a token is good for."""
    answer, _ = outcome(stack, "airflow-success")
    assert (answer["dag_run_id"], answer["state"]) == (STARTED("airflow-success"), "success")
    assert answer["duration"] > JWT_SECONDS
    said = stack.airflow.api.xcom("example_airflow_dag_run", "airflow-success", "report")
    assert said == f"{STARTED('airflow-success')} was success"


@pytest.mark.feature("airflow", "DAG failure")
def test_airflow_failure(stack: Stack) -> None:
    _, log = outcome(stack, "airflow-failure")
    assert STARTED("airflow-failure") in log


@pytest.mark.feature("airflow", "one job")
def test_airflow_run_that_is_there_already_is_gone_on_with(stack: Stack) -> None:
    answer, log = outcome(stack, "airflow-conflict")
    assert "409" in log
    # It was started with these parameters, not with those of the task.
    assert answer["conf"] == {"seconds": 4}


@pytest.mark.feature("airflow", "DAG cancel")
def test_airflow_cancel(stack: Stack) -> None:
    outcome(stack, "airflow-cancel")
    run = STARTED("airflow-cancel")
    wait_until(
        lambda: stack.airflow.api.run("example_sap_datasphere", run)["state"] == "failed",
        100,
        "the other run was not set to failed",
    )


@pytest.mark.feature("qarion", "DAG success")
def test_qarion_success(stack: Stack) -> None:
    answer, _ = outcome(stack, "qarion-success")
    assert answer == {"data": [1, 2, 3], "timestamp": "2026-01-02T00:00:00Z", "status": "success"}
    created = stack.airflow.api.xcom("example_qarion", "qarion-success", "create_record")
    assert created["name"] == "New Record"
    told = {"status": "active", "batch_id": "qarion-success"}
    assert (str(created["id"]), told) in stack.qarion.notified
    admitted = stack.airflow.api.xcom("example_qarion", "qarion-success", "oauth_api_call")
    assert admitted == {"admitted": "oauth2"}


@pytest.mark.feature("qarion", "DAG failure")
def test_qarion_failure(stack: Stack) -> None:
    _, log = outcome(stack, "qarion-failure")
    assert "field_checks.value: at status expected" in log


@pytest.mark.feature("qarion", "DAG cancel")
def test_qarion_cancel(stack: Stack) -> None:
    """There is nothing to cancel: what was asked for is not asked for again, and nobody waits for it."""
    outcome(stack, "qarion-cancel")
    assert slow_requests(stack) == 1


@pytest.mark.feature("invision", "DAG success")
def test_invision_success(stack: Stack) -> None:
    answer, log = outcome(stack, "invision-success")
    awaited = stack.airflow.api.xcom("example_invision", "invision-success", "run_again_and_await")
    runs = {run.id: run for run in stack.invision.runs}
    assert [runs[told["runId"]].flow for told in (answer, awaited)] == [invision.SALES, invision.SALES]
    assert (answer["status"], awaited["status"]) == ("Succeeded", "Succeeded")
    assert invision.API_KEY not in log


@pytest.mark.feature("invision", "DAG failure")
def test_invision_failure(stack: Stack) -> None:
    _, log = outcome(stack, "invision-failure")
    assert "status 'Failed'" in log


@pytest.mark.feature("invision", "DAG cancel")
def test_invision_cancel(stack: Stack) -> None:
    outcome(stack, "invision-cancel")
    (run,) = [run for run in stack.invision.runs if run.flow == invision.ENDLESS]
    wait_for_word_of(stack, "invision-cancel", run.id)
    assert {r.method for r in stack.invision.history if run.id in r.path} == {"GET"}


@pytest.mark.feature("panoply", "DAG success")
def test_panoply_success(stack: Stack) -> None:
    answer, _ = outcome(stack, "panoply-success")
    assert answer == panoply.ROWS


@pytest.mark.feature("panoply", "DAG failure")
def test_panoply_failure(stack: Stack) -> None:
    _, log = outcome(stack, "panoply-failure")
    assert "table broken cannot be read" in log


@pytest.mark.feature("panoply", "DAG cancel")
def test_panoply_cancel(stack: Stack) -> None:
    outcome(stack, "panoply-cancel")
    (export,) = [export for export in stack.panoply.exports if export.table == panoply.ENDLESS]
    wait_for_word_of(stack, "panoply-cancel", export.id)
    assert export.state == "waiting"
