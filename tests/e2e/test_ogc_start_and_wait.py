"""One task starts a job, a sensor waits for it: the answer that is the result crosses from the triggerer."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DAG_ID = "example_ogc_start_and_wait"
RUN_TIMEOUT = 120  # seconds


def test_the_sensor_returns_the_last_status_answer_without_asking_again(stack: Stack) -> None:
    api = stack.airflow.api
    earlier_requests = len(stack.pygeoapi.requests())
    run_id = stack.trigger(DAG_ID, {})
    state = stack.airflow.wait(DAG_ID, run_id, RUN_TIMEOUT)
    assert state == "success", stack.log(DAG_ID, run_id, "wait")
    answer = api.xcom(DAG_ID, run_id, "wait")
    assert answer["status"] == "successful"
    assert api.xcom(DAG_ID, run_id, "report") == f"job {answer['jobID']} is successful"
    # The sensor was deferred, and the worker took the answer that the trigger had left for it.
    events = [event["event"] for event in api.event_log(DAG_ID, run_id, "wait")]
    assert events == ["running", "deferred", "running", "success"]
    assert api.xcom(DAG_ID, run_id, "wait", "api_job_answer") is None
    # Every request to the job was a check: none was made to get the answer once more.
    requests = stack.pygeoapi.requests()[earlier_requests:]
    asked = [r for r in requests if r["method"] == "GET" and r["path"].startswith("/jobs/")]
    assert len(asked) == api.xcom(DAG_ID, run_id, "wait", "api_job")["polls"] >= 2
