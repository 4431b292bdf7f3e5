"""A key in the body of the submission, on real HTTP: a server that knows a token starts one job for it."""

from __future__ import annotations

from typing import Any

from tests.airflow.helpers import Comms, TaskInstance, call, context_for
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

KEY_IN_BODY: dict[str, Any] = {
    "idempotency_key": "task",
    "idempotency_header": None,
    "body": {"token": "{idempotency_key}"},
}


def knows_tokens(server: JobServer) -> dict[str, Recorded]:
    """Let the server start one job for each token in a body; the first response is lost."""
    first: dict[str, Recorded] = {}

    def submit(request: Recorded) -> Answer:
        token, known = request.json()["token"], len(first)
        first.setdefault(token, request)
        job_id = f"job-{list(first).index(token) + 1}"
        answer = Answer(202, {"id": job_id}, headers={"Location": f"/jobs/{job_id}"})
        return Answer(drop="before") if known == 0 else answer

    server.on("POST", "/jobs", submit)
    server.on("GET", "/jobs/job-1", Answer(json={"id": "job-1", "status": "done"}))
    server.on("GET", "/jobs/job-2", Answer(json={"id": "job-2", "status": "done"}))
    return first


def run_of(run_id: str) -> Any:
    task = call(mode="async", deferrable=False, retry_count=1, retry_wait=0.01, **KEY_IN_BODY)
    return task.execute(context_for(task, ti=TaskInstance("t", run_id=run_id)))["id"]


def test_a_resent_submission_is_one_job_and_another_run_another_one(comms: Comms, jobs: JobServer) -> None:
    tokens = knows_tokens(jobs)
    assert run_of("monday") == "job-1"
    comms.store.clear()  # the state of another task instance
    assert run_of("tuesday") == "job-2"
    assert len(jobs.requests("POST")) == 3
    assert len(tokens) == 2
    assert "{idempotency_key}" not in tokens
