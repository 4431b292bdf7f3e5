"""Airflow's own REST API, that of a running Airflow: runs of a DAG as jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.jobs import airflow_dag_run
from demo.processes import wait_until
from tests.airflow.helpers import Comms, Connect, call, context_for, deferred, needs_store
from tests.systems.shell import Shell
from tests.systems.stack import Stack, airflow_connection
from tests.systems.ways import BOTH, Kept, carry_out, kill

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DAG = "sleepy"
RUNS = f"/dags/{DAG}/dagRuns"
#: What the task of the DAG returned.
XCOM = f"{RUNS}/{{dag_run_id}}/taskInstances/work/xcomEntries/return_value"
#: Ids as Airflow makes them, with characters that a path has to escape.
IDS = (f"manual__2026-01-02T03:04:05+00:00_{number}" for number in count(1))


@pytest.fixture
def rest(stack: Stack, comms: Comms, connect: Connect) -> Stack:
    """The stack, with the connection ``api`` to its REST API."""
    log_in(stack, connect)
    stack.know(DAG)
    return stack


def log_in(stack: Stack, connect: Connect, **other: Any) -> None:
    connection = {**airflow_connection(stack.airflow), **other}
    connect(connection.pop("host"), **connection)


def dag_run(run_id: str, seconds: float = 0, *, fail: bool = False, job: Any = None, **given: Any) -> Any:
    body = {"dag_run_id": run_id, "logical_date": None, "conf": {"seconds": seconds, "fail": fail}}
    job = airflow_dag_run(DAG, run_id, poll_interval=0.3, **(job or {}))
    return call(**{"endpoint": RUNS, "body": body, "job": job, **given})


def state_of(stack: Stack, run_id: str) -> str:
    return str(stack.airflow.api.run(DAG, run_id)["state"])


class Running:
    """Knows when a run runs."""

    def __init__(self, stack: Stack, run_id: str) -> None:
        self.stack, self.run_id = stack, run_id

    def wait_for(self, count: int, method: str, path: str | None) -> None:
        wait_until(lambda: _exists(self.stack, self.run_id), 60, f"{self.run_id} was not started")
        wait_until(lambda: state_of(self.stack, self.run_id) == "running", 60, f"{self.run_id} does not run")


@pytest.mark.feature("airflow", "credential")
def test_wrong_password(rest: Stack, connect: Connect) -> None:
    log_in(rest, connect, password="wrong-one")
    with pytest.raises(exceptions.AuthenticationError, match="Invalid credentials") as caught:
        carry_out(dag_run(next(IDS)))
    assert "wrong-one" not in str(caught.value)


@BOTH
@pytest.mark.feature("airflow", "start", "running", "success", "result")
def test_run_and_what_its_task_returned(rest: Stack, comms: Comms, deferrable: bool) -> None:
    run_id = next(IDS)
    job = {"result_request": XCOM, "result_path": "$.value"}
    assert carry_out(dag_run(run_id, 0.5, job=job, deferrable=deferrable)) == {"slept": 0.5}
    handle = comms.pushed("t", "api_job")
    assert handle["job_id"] == run_id
    assert handle["polls"] > 1


@BOTH
@pytest.mark.feature("airflow", "failure")
def test_run_that_fails(rest: Stack, deferrable: bool) -> None:
    run_id = next(IDS)
    with pytest.raises(exceptions.JobFailedError, match="'failed'"):
        carry_out(dag_run(run_id, fail=True, deferrable=deferrable))
    assert state_of(rest, run_id) == "failed"


@pytest.mark.feature("airflow", "options")
def test_id_note_and_parameters_of_a_run(rest: Stack) -> None:
    run_id = next(IDS)
    body = {
        "dag_run_id": run_id,
        "logical_date": "{{ params.date }}",
        "conf": {"seconds": 0, "fail": False},
        "note": "from {{ ti.dag_id }}",
    }
    carry_out(dag_run(run_id, body=body), params={"date": "2026-01-02T00:00:00+00:00"})
    run = rest.airflow.api.run(DAG, run_id)
    assert run["logical_date"].startswith("2026-01-02T00:00:00")
    assert run["note"] == "from d"


@pytest.mark.feature("airflow", "error answer")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"endpoint": "/dags/nope/dagRuns"}, "404.*nope"),
        ({"body": {"conf": {}}}, "422.*Field required"),
    ],
    ids=["no such DAG", "no logical_date"],
)
def test_refused(rest: Stack, given: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.RequestFailedError, match=said):
        carry_out(dag_run(next(IDS), **given))


@pytest.mark.feature("airflow", "error answer")
def test_conflict_without_an_id_of_ones_own(rest: Stack) -> None:
    run_id = next(IDS)
    rest.airflow.api.trigger(DAG, {}, run_id)
    with pytest.raises(exceptions.RequestFailedError, match="409"):
        carry_out(dag_run(run_id, job={"reconcile": None}))


@pytest.mark.feature("airflow", "answer at once")
def test_question_that_is_answered_at_once(rest: Stack) -> None:
    task = call(method="GET", endpoint=f"/dags/{DAG}", response_path="$.dag_id")
    assert carry_out(task) == DAG


@pytest.mark.feature("airflow", "bad check")
def test_api_server_that_does_not_answer_for_a_while(
    rest: Stack, comms: Comms, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is stopped, and goes on."""
    run_id = next(IDS)
    with paused(rest, run_id):
        assert carry_out(dag_run(run_id, 3, timeout=1, deferrable=False))["state"] == "success"
    assert "The check failed, not the job" in capsys.readouterr().out


@contextmanager
def paused(stack: Stack, run_id: str) -> Iterator[None]:
    """Stop the API server for three seconds, once the run runs."""

    def pause() -> None:
        wait_until(lambda: _exists(stack, run_id), 60, f"{run_id} was not started")
        stack.airflow.pause_component("api-server")
        time.sleep(3)
        stack.airflow.resume_component("api-server")

    pauser = threading.Thread(target=pause)
    pauser.start()
    yield
    pauser.join()


def _exists(stack: Stack, run_id: str) -> bool:
    known = stack.airflow.api.request("GET", RUNS, params={"limit": 100})["dag_runs"]
    return run_id in [run["dag_run_id"] for run in known]


@pytest.mark.feature("airflow", "one job")
def test_run_that_is_there_already_is_waited_for(rest: Stack) -> None:
    run_id = next(IDS)
    rest.airflow.api.trigger(DAG, {"seconds": 1.0, "fail": False}, run_id)
    assert carry_out(dag_run(run_id))["conf"] == {"seconds": 1.0, "fail": False}


@needs_store
@pytest.mark.feature("airflow", "one job")
def test_retry_goes_on_with_the_run(rest: Stack) -> None:
    run_id = next(IDS)
    deferred(task := dag_run(run_id, 1, job={"reconcile": None}), context_for(task))
    assert carry_out(dag_run(run_id, 1, job={"reconcile": None}))["state"] == "success"


@BOTH
@pytest.mark.feature("airflow", "kill")
def test_kill_sets_the_run_to_failed(rest: Stack, comms: Comms, deferrable: bool) -> None:
    run_id = next(IDS)
    kill(dag_run(run_id, 600, deferrable=deferrable), Running(rest, run_id), comms, None)
    assert state_of(rest, run_id) == "failed"


@pytest.mark.feature("airflow", "limit")
def test_deadline_sets_the_run_to_failed(rest: Stack) -> None:
    run_id = next(IDS)
    with pytest.raises(exceptions.JobTimedOutError):
        carry_out(dag_run(run_id, 600, job={"deadline": 3}))
    assert state_of(rest, run_id) == "failed"


@BOTH
@pytest.mark.feature("airflow", "operation log")
def test_operation_log(rest: Stack, deferrable: bool) -> None:
    log, run_id = Kept(), next(IDS)
    carry_out(dag_run(run_id, deferrable=deferrable, operation_log=log))
    assert [one for one in log.told if one[0] != "login"] == [("invoke", "success"), ("poll", "success")]
    assert (log.records[-1].job_id, log.records[-1].job_status) == (run_id, "success")
    assert rest.airflow.password not in repr(log.records)


@pytest.mark.feature("airflow", "test run")
def test_test_run(rest: Stack, shell: Shell) -> None:
    shell.connect("airflow_api", **airflow_connection(rest.airflow))
    conf = {"dag": DAG, "conf": {"seconds": 0.5, "fail": False}}
    with shell.test_run("airflow_dag_run", "run_dag", conf) as run:
        assert run.finish() == 0
    assert (run.value["dag_id"], run.value["state"]) == (DAG, "success")
    assert rest.airflow.password not in run.text
