"""A job is submitted once, wherever the task's process dies: each try of a task is a process of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_apitask import ApiCallOperator, exceptions
from airflow_provider_apitask.operators.journal import RECORD_KEY
from tests.airflow.helpers import (
    HAS_STORE,
    Comms,
    KilledError,
    TaskInstance,
    awaited,
    call,
    context_for,
    deferred,
    needs_store,
)
from tests.support import Answer, Recorded, refused_url
from tests.support.job_server import JobServer

JOB = {"poll_interval": 0.02, "result_request": "/jobs/{job_id}/result", "job_id": "$.id"}
FOUND = {"request": "/list", "items": "$.jobs", "match": {"$.name": "mine"}, "settle": 0}
ROWS = {"rows": 3}
Kill = Callable[[Comms, JobServer], None]


def attempt(try_number: int = 1, *, max_tries: int = 3, job: Any = None, **kwargs: Any) -> Any:
    """One try of the task in a new process: its value, or what it ended with."""
    given = {"job": {"defer_after": 0, **JOB, **(job or {})}, "deferrable": False, **kwargs}
    task: ApiCallOperator = call(**given)
    context = context_for(task, ti=TaskInstance("t", try_number=try_number, max_tries=max_tries))
    try:
        try:
            return task.execute(context)
        except TaskDeferred as deferral:
            payload = awaited(deferral.trigger, context["ti"])
            return getattr(task, deferral.method_name)(context, payload)
    except (Exception, KilledError) as error:  # noqa: BLE001 - whatever a process ends with
        return error


def posts(server: JobServer) -> int:
    return len(server.requests("POST"))


# -- where a process can die ---------------------------------------------------------------------


def die() -> None:
    raise KilledError


def at_write(number: int, after: bool = False) -> Kill:
    """Die when the record is written for the n-th time, or right after that."""

    def plan(comms: Comms, jobs: JobServer) -> None:
        count = 0

        def before(message: Any) -> None:
            nonlocal count
            if type(message).__name__ == "SetTaskStateStore" and message.key == RECORD_KEY:
                count += 1
                if count == number:
                    if after:
                        comms.store[message.key] = json.dumps(message.value)
                    die()

        comms.before = before

    return plan


def at_request(method: str, path: str, *, lost: bool = False) -> Kill:
    """Die while a request is under way; the server has taken it or (lost) never saw it."""

    def plan(comms: Comms, jobs: JobServer) -> None:
        from airflow_provider_apitask.drivers.blocking import BlockingTransport

        real = BlockingTransport._transmit

        def transmit(self: Any, request: Any, *more: Any) -> Any:
            if request.method == method and request.url.endswith(path):
                if not lost:
                    real(self, request, *more)
                die()
            return real(self, request, *more)

        comms.patch.setattr(BlockingTransport, "_transmit", transmit)  # type: ignore[attr-defined]

    return plan


@pytest.fixture
def plan(comms: Comms, jobs: JobServer) -> Any:
    """Makes the next try die."""
    patch = pytest.MonkeyPatch()
    comms.patch = patch  # type: ignore[attr-defined]

    def run(kill: Kill, **kwargs: Any) -> None:
        kill(comms, jobs)
        assert isinstance(attempt(**kwargs), KilledError)
        patch.undo()
        comms.before = lambda message: None

    return run


BEFORE = [at_write(1), at_write(2)]
UNSURE = [at_write(2, after=True), at_request("POST", "/jobs", lost=True)]
TAKEN = [at_request("POST", "/jobs"), at_write(3)]
AFTER = [
    at_write(3, after=True),
    at_request("GET", "/jobs/job-1"),
    at_request("GET", "/jobs/job-1", lost=True),
    at_request("GET", "/result"),
    at_request("GET", "/result", lost=True),
]


@needs_store
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kill", [*BEFORE, *AFTER])
def test_known_outcome_is_one_job(jobs: JobServer, plan: Any, kill: Kill, deferrable: bool) -> None:
    plan(kill)
    assert attempt(2, deferrable=deferrable) == ROWS
    assert posts(jobs) == len(jobs.jobs) == 1


@needs_store
@pytest.mark.parametrize("kill", [*UNSURE, *TAKEN])
def test_unknown_outcome_is_said_to_be_unknown(jobs: JobServer, plan: Any, kill: Kill) -> None:
    plan(kill)
    sent = posts(jobs)
    for number in (2, 3):
        error = attempt(number)
        assert isinstance(error, exceptions.SubmitUnknownError)
        assert isinstance(error, AirflowFailException), "a retry would not find out either"
        assert "idempotency_key" in str(error)
    assert posts(jobs) == sent


@needs_store
@pytest.mark.parametrize("key", ["task", "try", "mine-{{ ti.run_id }}"])
@pytest.mark.parametrize("kill", [*BEFORE, *UNSURE, *TAKEN, *AFTER])
def test_key_makes_it_one_job(jobs: JobServer, plan: Any, kill: Kill, key: str) -> None:
    plan(kill, idempotency_key=key)
    assert attempt(2, idempotency_key=key) == ROWS
    assert len(jobs.jobs) == 1
    assert posts(jobs) <= 2
    assert None not in {submit.key for submit in jobs.submits}


@needs_store
@pytest.mark.parametrize("key", ["task", "try"])
@pytest.mark.parametrize("second", [at_write(1, after=True), at_write(2), at_write(2, after=True)])
def test_key_stays_while_two_processes_die_in_doubt(
    jobs: JobServer, plan: Any, key: str, second: Kill
) -> None:
    plan(TAKEN[0], idempotency_key=key)
    plan(second, try_number=2, idempotency_key=key)
    assert attempt(3, idempotency_key=key) == ROWS
    assert len(jobs.jobs) == 1


@needs_store
@pytest.mark.parametrize(
    "answer", [Answer(503), Answer(429), Answer(409), Answer(400), Answer(drop="before")]
)
@pytest.mark.parametrize("key", ["task", "try"])
def test_key_stays_when_the_server_refuses_meanwhile(
    jobs: JobServer, plan: Any, key: str, answer: Answer
) -> None:
    plan(TAKEN[0], idempotency_key=key)
    jobs.once("POST", "/jobs", answer)
    assert isinstance(attempt(2, idempotency_key=key), exceptions.RequestFailedError)
    assert attempt(3, idempotency_key=key) == ROWS
    assert len(jobs.jobs) == 1


@needs_store
def test_key_stays_when_the_answer_is_lost_and_then_nothing_listens(
    jobs: JobServer, comms: Comms, connect: Any
) -> None:
    def lose(request: Recorded) -> Answer:
        jobs.once("POST", "/jobs", Answer(429))
        return jobs.lose(request)

    jobs.once("POST", "/jobs", lose)
    error = attempt(1, idempotency_key="task", retry_count=1, retry_wait=0.01)
    assert isinstance(error, exceptions.RequestFailedError)
    assert attempt(2, idempotency_key="task") == ROWS
    assert len(jobs.jobs) == 1


@needs_store
@pytest.mark.parametrize("kill", [*UNSURE, *TAKEN])
def test_idempotent_method_is_sent_again(jobs: JobServer, plan: Any, kill: Kill) -> None:
    answer = Answer(201, {"id": "a"}, headers={"Location": "/jobs/a"})
    jobs.on("PUT", "/jobs/a", answer)
    jobs.on("GET", "/jobs/a", Answer(json={"id": "a", "status": "done"}))
    jobs.on("GET", "/jobs/a/result", Answer(json=ROWS))
    plan(
        at_request("PUT", "/jobs/a") if kill in UNSURE[1:] + TAKEN[:1] else kill,
        method="PUT",
        endpoint="/jobs/a",
    )
    assert attempt(2, method="PUT", endpoint="/jobs/a") == ROWS


# -- looking the job up --------------------------------------------------------------------------


@needs_store
@pytest.mark.parametrize("kill", [UNSURE[1], *TAKEN])
def test_job_is_found_by_a_search(jobs: JobServer, plan: Any, kill: Kill) -> None:
    def listed(request: Recorded) -> Answer:
        names = ["other", *("mine" for _ in jobs.jobs)]
        return Answer(json={"jobs": [{"id": f"job-{n}", "name": name} for n, name in enumerate(names)]})

    job = {"reconcile": FOUND, "status_request": "/jobs/{job_id}"}
    jobs.on("GET", "/list", listed)
    plan(kill, job=job)
    assert attempt(2, job=job) == ROWS
    assert len(jobs.jobs) == posts(jobs) == 1, "none listed: it is sent again; one: it is taken"


@needs_store
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            [Answer(json={"jobs": [{"id": 1, "name": "mine"}, {"id": 2, "name": "mine"}]})],
            "2 jobs that match",
        ),
        ([Answer(403)], "403"),
        ([Answer(503)], "503"),
    ],
)
def test_search_that_does_not_tell(jobs: JobServer, plan: Any, answers: list[Answer], message: str) -> None:
    job = {"reconcile": FOUND, "status_request": "/jobs/{job_id}", "status_grace": 0}
    jobs.on("GET", "/list", *answers)
    plan(TAKEN[0], job=job)
    error = attempt(2, job=job)
    assert isinstance(error, exceptions.SubmitUnknownError)
    assert message in str(error)
    assert posts(jobs) == 1


@needs_store
def test_search_waits_until_the_list_has_settled(jobs: JobServer, plan: Any) -> None:
    job = {"reconcile": {**FOUND, "settle": 0.4}, "status_request": "/jobs/{job_id}"}
    item = {"id": "job-1", "name": "mine"}
    jobs.on("GET", "/list", Answer(json={"jobs": []}), Answer(json={"jobs": [item]}))
    plan(TAKEN[0], job=job)
    assert attempt(2, job=job) == ROWS
    assert posts(jobs) == 1
    assert len(jobs.requests("GET", "/list")) == 2


# -- what became of the job meanwhile ------------------------------------------------------------

HELD = AFTER[0]


@needs_store
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_job_that_ended_meanwhile_is_followed_by_another(
    jobs: JobServer, plan: Any, status: str, deferrable: bool
) -> None:
    plan(HELD, idempotency_key="task")
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": status}))
    assert attempt(2, idempotency_key="task", deferrable=deferrable) == ROWS
    first, second = jobs.submits
    assert first.key != second.key, "a known key would be answered with the job that failed"


@needs_store
def test_failure_that_was_reported_is_followed_by_another_job(jobs: JobServer, comms: Comms) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": "failed"}))
    assert isinstance(attempt(1), exceptions.JobFailedError)
    assert attempt(2) == ROWS
    assert (posts(jobs), len(jobs.requests("GET", "/jobs/job-1"))) == (2, 1)


@needs_store
@pytest.mark.parametrize(("on_lost", "expected"), [("fail", exceptions.JobLostError), ("submit", ROWS)])
def test_job_that_the_server_does_not_know(jobs: JobServer, plan: Any, on_lost: str, expected: Any) -> None:
    job = {"on_lost": on_lost}
    plan(HELD, job=job)
    jobs.on("GET", "/jobs/job-1", Answer(410))
    outcome = attempt(2, job=job)
    assert outcome == expected or isinstance(outcome, expected)
    assert posts(jobs) == (1 if on_lost == "fail" else 2)


@needs_store
def test_success_that_was_recorded_is_not_repeated(jobs: JobServer, comms: Comms) -> None:
    assert attempt(1) == attempt(2) == ROWS
    assert posts(jobs) == 1


@needs_store
def test_reattach_can_be_switched_off(jobs: JobServer, plan: Any) -> None:
    job = {"reattach": False}
    plan(HELD, job=job, idempotency_key="task")
    assert attempt(2, job=job, idempotency_key="task") == ROWS
    assert len(jobs.jobs) == 2


@needs_store
def test_task_that_does_not_wait_hands_on_the_same_job(jobs: JobServer, plan: Any, comms: Comms) -> None:
    plan(HELD, wait_for_completion=False)
    attempt(2, wait_for_completion=False)
    assert posts(jobs) == 1
    assert comms.pushed("t", "api_job")["job_id"] == "job-1"


@needs_store
def test_worker_that_dies_after_the_triggers_event_resumes_or_reattaches(
    jobs: JobServer, comms: Comms
) -> None:
    task = call(job=JOB)
    context = context_for(task, ti=TaskInstance("t", max_tries=3))
    awaited(deferred(task, context).trigger, context["ti"])  # and the worker that would take it over dies
    assert attempt(2) == ROWS
    assert posts(jobs) == 1


# -- synchronous requests ------------------------------------------------------------------------

MID_POST = [at_request("POST", "/things"), at_request("POST", "/things", lost=True)]


def sync_attempt(try_number: int = 1, *, max_tries: int = 3, **kwargs: Any) -> Any:
    """One try of a task with a synchronous request in a new process."""
    task: ApiCallOperator = call(endpoint="/things", **kwargs)
    context = context_for(task, ti=TaskInstance("t", try_number=try_number, max_tries=max_tries))
    try:
        return task.execute(context)
    except (Exception, KilledError) as error:  # noqa: BLE001 - whatever a process ends with
        return error


@pytest.fixture
def sync_plan(comms: Comms, jobs: JobServer) -> Any:
    """Makes the next try of a synchronous request die."""
    jobs.on("POST", "/things", Answer(json=1))
    jobs.on("PUT", "/things", Answer(json=1))
    patch = pytest.MonkeyPatch()
    comms.patch = patch  # type: ignore[attr-defined]

    def run(kill: Kill, **kwargs: Any) -> None:
        kill(comms, jobs)
        assert isinstance(sync_attempt(**kwargs), KilledError)
        patch.undo()
        comms.before = lambda message: None

    return run


@needs_store
@pytest.mark.parametrize("kill", [*MID_POST, at_write(1, after=True)])
def test_sync_post_is_not_sent_again_after_a_worker_died(jobs: JobServer, sync_plan: Any, kill: Kill) -> None:
    sync_plan(kill)
    sent = posts(jobs)
    for number in (2, 3):
        error = sync_attempt(number)
        assert isinstance(error, exceptions.SubmitUnknownError)
        assert isinstance(error, AirflowFailException), "a retry would not find out either"
        assert "clear the task" in str(error)
    assert posts(jobs) == sent


@needs_store
def test_sync_post_whose_result_was_lost_is_not_sent_again(jobs: JobServer, sync_plan: Any) -> None:
    assert sync_attempt(1) == 1  # and the worker dies before Airflow has stored that
    assert isinstance(sync_attempt(2), exceptions.SubmitUnknownError)
    assert posts(jobs) == 1


@needs_store
@pytest.mark.parametrize(
    "given",
    [
        {"method": "PUT"},
        {"idempotency_key": "task"},
        {"idempotency_key": "this search may be repeated", "idempotency_header": None},
    ],
)
def test_sync_request_that_may_be_repeated_is_sent_again(
    jobs: JobServer, comms: Comms, sync_plan: Any, given: dict[str, Any]
) -> None:
    sync_plan(at_request(given.get("method", "POST"), "/things"), **given)
    assert sync_attempt(2, **given) == 1
    assert "api_job" not in comms.store, "nothing depends on a record"


@needs_store
@pytest.mark.parametrize("answer", [Answer(503), Answer(409), Answer(302, headers=[("Location", "/x")])])
def test_sync_post_that_was_refused_is_sent_again(jobs: JobServer, comms: Comms, answer: Answer) -> None:
    jobs.on("POST", "/things", Answer(json=1))
    jobs.once("POST", "/things", answer)
    assert isinstance(sync_attempt(1), exceptions.RequestFailedError)
    assert sync_attempt(2) == 1


@needs_store
def test_clear_sends_the_sync_post_again(jobs: JobServer, sync_plan: Any) -> None:
    sync_plan(MID_POST[0])
    assert sync_attempt(2, max_tries=4) == 1


@needs_store
@pytest.mark.parametrize(("state", "again"), [("restarting", True), ("running", False)])
def test_clear_of_a_running_sync_post_sends_it_again(
    jobs: JobServer, comms: Comms, sync_plan: Any, state: str, again: bool
) -> None:
    """Airflow ends the process of a running task that is cleared, and does not raise the number of tries."""
    from airflow_provider_apitask.drivers.blocking import BlockingTransport

    def transmit(self: Any, request: Any, *more: Any) -> Any:
        comms.states["t"] = state
        task.on_kill()
        die()

    task = call(endpoint="/things")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockingTransport, "_transmit", transmit)
        with pytest.raises(KilledError):
            task.execute(context_for(task, ti=TaskInstance("t", max_tries=3)))
    comms.states.clear()
    found = sync_attempt(2)
    assert found == 1 if again else isinstance(found, exceptions.SubmitUnknownError)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_any_exception_after_bytes_were_sent_is_an_unknown_outcome(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    from airflow_provider_apitask.drivers.blocking import BlockingTransport

    real = BlockingTransport._transmit

    def transmit(self: Any, request: Any, *more: Any) -> Any:
        real(self, request, *more)
        raise ValueError("a chunk size of -2")

    monkeypatch.setattr(BlockingTransport, "_transmit", transmit)
    task = call(mode=mode)
    with pytest.raises(exceptions.SubmitUnknownError, match="a chunk size of -2"):
        task.execute(context_for(task))
    assert posts(jobs) == 1


def test_exception_before_bytes_were_sent_is_raised_as_it_is(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_apitask.core.auth import NoAuth

    def flow(self: Any, request: Any) -> Any:
        raise ValueError("a defect")
        yield

    monkeypatch.setattr(NoAuth, "flow", flow)
    task = call()
    with pytest.raises(ValueError, match="a defect"):
        task.execute(context_for(task))
    assert posts(jobs) == 0


@needs_store
def test_sync_request_without_retries_costs_nothing(jobs: JobServer, comms: Comms) -> None:
    """There is no try that could read the record: a Clear sends the request again."""
    jobs.on("POST", "/things", Answer(json=1))
    asked: list[Any] = []
    comms.before = lambda message: asked.append(type(message).__name__)
    assert sync_attempt(1, max_tries=0) == 1
    assert not [name for name in asked if "TaskStateStore" in name]
    assert sync_attempt(1, max_tries=1) == 1
    assert [name for name in asked if "TaskStateStore" in name] == ["GetTaskStateStore", "SetTaskStateStore"]


def test_synchronous_call_keeps_no_record(jobs: JobServer, comms: Comms) -> None:
    jobs.on("POST", "/things", Answer(json=1))
    assert attempt(1, job=None) is not None
    task = call(endpoint="/things")
    assert task.execute(context_for(task)) == 1
    assert "things" not in str(comms.store)


# -- Clear ---------------------------------------------------------------------------------------

STOP = {"cancel_request": {}}


@needs_store
@pytest.mark.parametrize(
    ("job", "status", "cancels"),
    [
        (STOP, "running", 1),
        (STOP, "failed", 0),
        (STOP, "succeeded", 0),
        ({}, "running", 0),
        ({**STOP, "cancel_on": ["kill", "timeout"]}, "running", 0),
        ({**STOP, "cancel_on": "clear"}, "running", 1),
    ],
)
@pytest.mark.parametrize("kill", [HELD, AFTER[1]])
def test_clear_starts_another_job(
    jobs: JobServer, plan: Any, kill: Kill, job: dict[str, Any], status: str, cancels: int
) -> None:
    plan(kill, job=job, idempotency_key="task")
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": status}))
    assert attempt(2, max_tries=4, job=job, idempotency_key="task") == ROWS
    assert len(jobs.requests("DELETE", "/jobs/job-1")) == len(jobs.requests("DELETE")) == cancels
    first, second = jobs.submits
    assert first.key != second.key


@needs_store
def test_clear_after_a_try_that_had_reattached_submits_once(jobs: JobServer, plan: Any) -> None:
    plan(HELD, job=STOP)
    jobs.on("GET", "/jobs/job-1", Answer(503), Answer(json={"status": "failed"}))
    plan(at_write(2), try_number=2, job={**STOP, "status_grace": 9})
    assert attempt(3, max_tries=5, job=STOP) == ROWS
    assert posts(jobs) == 2
    assert jobs.requests("DELETE") == []


@needs_store
def test_clear_after_success_cancels_nothing(jobs: JobServer, comms: Comms) -> None:
    assert attempt(1, job=STOP) == attempt(2, max_tries=4, job=STOP) == ROWS
    assert posts(jobs) == 2
    assert jobs.requests("DELETE") == []


@needs_store
@pytest.mark.parametrize("answer", [Answer(401), Answer(404), Answer(503), Answer(drop="before")])
def test_clear_cancels_a_job_whose_status_cannot_be_read(jobs: JobServer, plan: Any, answer: Answer) -> None:
    plan(HELD, job=STOP)
    jobs.on("GET", "/jobs/job-1", answer)
    assert attempt(2, max_tries=4, job={**STOP, "not_found_grace": 0}) == ROWS
    assert len(jobs.requests("DELETE", "/jobs/job-1")) == 1
    assert posts(jobs) == 2


@needs_store
@pytest.mark.parametrize("answer", [Answer(500), Answer(404), Answer(403), Answer(drop="before")])
def test_cancel_that_fails_does_not_hold_up_the_new_job(jobs: JobServer, plan: Any, answer: Answer) -> None:
    plan(HELD, job=STOP)
    jobs.on("DELETE", "/jobs/job-1", answer)
    assert attempt(2, max_tries=4, job=STOP) == ROWS
    assert posts(jobs) == 2


# -- the store itself ----------------------------------------------------------------------------


def fail_on(kind: str, number: int = 1) -> Callable[[Any], None]:
    count = 0

    def before(message: Any) -> None:
        nonlocal count
        if type(message).__name__ == kind:
            count += 1
            if count >= number:
                raise RuntimeError("the API server is down")

    return before


@needs_store
@pytest.mark.parametrize("kind", ["GetTaskStateStore", "SetTaskStateStore"])
def test_nothing_is_submitted_without_the_store(jobs: JobServer, comms: Comms, kind: str) -> None:
    comms.before = fail_on(kind)
    assert "API server is down" in str(attempt(1))
    assert jobs.history == []
    comms.before = lambda message: None
    assert attempt(2) == ROWS


@needs_store
def test_store_that_fails_later_does_not_fail_the_job(
    jobs: JobServer, comms: Comms, caplog: pytest.LogCaptureFixture
) -> None:
    comms.before = fail_on("SetTaskStateStore", 3)
    assert attempt(1) == ROWS
    assert "could not be recorded" in caplog.text


@needs_store
@pytest.mark.parametrize(
    "record",
    [7, "x", {}, {"version": 99, "generation": 3}, {"version": 1, "generation": 3, "state": {"phase": "no"}}],
)
def test_record_that_cannot_be_read_is_told_of(
    jobs: JobServer, comms: Comms, caplog: pytest.LogCaptureFixture, record: Any
) -> None:
    comms.store[RECORD_KEY] = json.dumps(record)
    assert attempt(1) == ROWS
    assert "is not used" in caplog.text


@needs_store
def test_record_holds_no_secret(jobs: JobServer, comms: Comms, connect: Any) -> None:
    connect(jobs.url, login="me", password="s3cret-password")
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": "failed", "message": "s3cret-password"}))
    assert isinstance(attempt(1), exceptions.JobFailedError)
    assert "s3cret" not in str(comms.store)


def test_refused_connection_leaves_no_doubt(comms: Comms, connect: Any, jobs: JobServer) -> None:
    connect(refused_url())
    assert isinstance(attempt(1), exceptions.RequestFailedError)
    connect(jobs.url)
    assert attempt(2) == ROWS


@pytest.mark.skipif(HAS_STORE, reason="this Airflow keeps state of a task")
@pytest.mark.parametrize(("kwargs", "told"), [({}, True), ({"idempotency_key": "task"}, False)])
def test_airflow_without_a_store_says_what_is_not_guaranteed(
    jobs: JobServer, comms: Comms, caplog: pytest.LogCaptureFixture, kwargs: Any, told: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        assert attempt(1, **kwargs) == attempt(2, **kwargs) == ROWS
    assert ("keeps no state of a task" in caplog.text) is told
    assert len(jobs.jobs) == (2 if told else 1)


@needs_store
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_result_that_is_not_to_be_had_is_fetched_by_a_retry(jobs: JobServer, deferrable: bool) -> None:
    """The server has removed the job in the meantime: its success is remembered, and nothing is submitted."""
    job = {"status_grace": 0, "on_lost": "submit"}
    path = "/jobs/job-1/result"
    page = Answer(text="<html>Sign in</html>", headers={"Content-Type": "text/html"})
    jobs.once("GET", path, page)
    error = attempt(1, job=job, deferrable=deferrable)
    assert isinstance(error, exceptions.RequestFailedError)
    assert not isinstance(error, AirflowFailException)
    assert "succeeded, but its result could not be fetched" in str(error)
    jobs.on("GET", "/jobs/job-1", Answer(404))
    assert attempt(2, job=job, deferrable=deferrable) == ROWS
    assert posts(jobs) == 1
