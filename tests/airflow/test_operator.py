"""The operator on a worker: one request, or a job that is submitted once and awaited."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.core.errors import ApiTaskError, error_from_dict
from airflow_provider_apitask.triggers import handover
from tests.airflow.helpers import FAST, Comms, awaited, call, context_for, deferred, run
from tests.support import Answer, Recorded, refused_url
from tests.support.job_server import JobServer

ENDED = {"id": "job-1", "status": "succeeded", "progress": 100, "message": "step 3 of 3"}


def methods(server: JobServer) -> list[str]:
    return [f"{request.method} {request.target}" for request in server.history]


# -- sync ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (Answer(json={"a": [1]}), {"a": [1]}),
        (Answer(json=None), None),
        (Answer(204), None),
        (Answer(text="plain"), "plain"),
        (Answer(201, {"id": 7}, headers={"Location": "/things/7"}), {"id": 7}),
    ],
)
def test_sync_answer_is_the_value(jobs: JobServer, comms: Comms, answer: Answer, value: Any) -> None:
    jobs.on("POST", "/things", answer)
    task = call(endpoint="/things", body={"x": 1})
    assert task.execute(context_for(task)) == value
    assert [request.json() for request in jobs.history] == [{"x": 1}]
    assert comms.values == {}


def test_response_path_and_request_fields(jobs: JobServer) -> None:
    jobs.on("PUT", "/things", Answer(json={"items": [{"id": 5}]}))
    task = call(
        method="put",
        endpoint="/things",
        params={"a": [1, 2], "b": None, "c": True},
        headers={"X-One": ["1", "2"]},
        body="<x/>",
        body_format="xml",
        response_path="$.items[0].id",
    )
    assert task.execute(context_for(task)) == 5
    (request,) = jobs.history
    assert request.query == [("a", "1"), ("a", "2"), ("c", "true")]
    assert request.headers_all("X-One") == ["1", "2"]
    assert request.header("Content-Type") == "application/xml"


def test_retry_count_sends_again_where_that_is_safe(jobs: JobServer) -> None:
    jobs.on("POST", "/things", Answer(503), Answer(429), Answer(json=1))
    assert (task := call(endpoint="/things", retry_count=2, retry_wait=0.01)).execute(context_for(task)) == 1


def test_timeout_of_one_request(jobs: JobServer) -> None:
    jobs.on("GET", "/things", Answer(json=1, delay=5))
    with pytest.raises(exceptions.RequestFailedError, match="no answer within"):
        (task := call(endpoint="/things", method="GET", timeout=(1, 0.05))).execute(context_for(task))


# -- async: worker, triggerer, worker ------------------------------------------------------------


def test_job_is_submitted_once_before_deferring(jobs: JobServer, comms: Comms) -> None:
    task = call(job=FAST, execution_timeout=timedelta(minutes=7))
    context = context_for(task)
    resume = deferred(task, context)
    assert methods(jobs) == ["POST /jobs"]
    assert resume.timeout == timedelta(minutes=7)
    assert comms.pushed("t", "api_job")["phase"] == "poll"
    payload = awaited(resume.trigger, context["ti"])
    assert set(payload) == {"version", "state", "records"}
    assert task.execute_complete(context, payload) == ENDED
    # The last answer holds the result and was handed over: nobody asked for it again.
    assert methods(jobs) == ["POST /jobs", *["GET /jobs/job-1"] * 3]
    handle = comms.pushed("t", "api_job")
    assert (handle["phase"], handle["status"], handle["polls"]) == ("succeeded", "succeeded", 3)
    assert comms.pushed("t", handover.ANSWER_KEY) is None


def test_result_request_is_sent_by_the_worker(jobs: JobServer) -> None:
    job = {**FAST, "result_request": "{status_url}/result", "result_path": "rows"}
    assert run(call(job=job)) == 3
    assert methods(jobs)[-1] == "GET /jobs/job-1/result"


def test_placeholders_cross_to_the_triggerer(jobs: JobServer) -> None:
    jobs.location = None
    jobs.id_format = "a/b:{}"
    job = {**FAST, "extract": {"run": "$.id"}, "job_id": "{run}", "status_request": "/jobs/{run}"}
    assert run(call(job=job))["id"] == "a/b:1"
    assert methods(jobs)[1:] == ["GET /jobs/a%2Fb%3A1"] * 3


@pytest.mark.parametrize("deferrable", [True, False])
def test_waiting_here_or_there_sends_the_same(jobs: JobServer, deferrable: bool) -> None:
    jobs.once(
        "GET", "/jobs/job-1", Answer(503), Answer(json={"status": "queued"}, headers={"Retry-After": "0"})
    )
    task = call(job={**FAST, "result_request": "{status_url}/result"}, deferrable=deferrable)
    result = run(task) if deferrable else task.execute(context_for(task))
    assert result == {"rows": 3}
    assert methods(jobs) == ["POST /jobs", *["GET /jobs/job-1"] * 5, "GET /jobs/job-1/result"]


def test_handle_is_left_before_the_wait_on_the_worker(jobs: JobServer, comms: Comms) -> None:
    seen = []

    def status(request: Recorded) -> Answer:
        seen.append(comms.pushed("t", "api_job")["phase"])
        return Answer(json={"status": "done"})

    jobs.on("GET", "/jobs/job-1", status)
    (task := call(job=FAST, deferrable=False)).execute(context_for(task))
    assert seen == ["poll"]


def test_without_waiting_the_submits_answer_is_the_value(jobs: JobServer, comms: Comms) -> None:
    task = call(job=FAST, wait_for_completion=False)
    assert task.execute(context_for(task)) == {"id": "job-1"}
    assert methods(jobs) == ["POST /jobs"]
    assert comms.pushed("t", "api_job")["job_id"] == "job-1"


def test_submit_that_says_json_and_is_not_still_leaves_its_job(jobs: JobServer, comms: Comms) -> None:
    broken = Answer(202, text="{", headers={"Content-Type": "application/json", "Location": "/jobs/9"})
    jobs.once("POST", "/jobs", broken)
    assert (task := call(mode="async", wait_for_completion=False)).execute(context_for(task)) == "{"
    assert comms.pushed("t", "api_job")["job_id"] == "9"


def test_job_that_is_over_at_once_does_not_defer(jobs: JobServer, comms: Comms) -> None:
    jobs.once("POST", "/jobs", Answer(200, {"status": "done", "x": 1}))
    assert (task := call(mode="async")).execute(context_for(task)) == {"status": "done", "x": 1}
    assert comms.pushed("t", "api_job")["phase"] == "succeeded"


@pytest.mark.parametrize("where", ["no XCom", "too large", "push fails", "pull fails"])
def test_answer_that_was_not_handed_over_is_asked_for_again(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    task = call(job=FAST)
    context = context_for(task)
    trigger = deferred(task, context).trigger
    if where == "too large":
        monkeypatch.setattr(handover, "_MAX_ANSWER", 10)
    comms.broken = where == "push fails"
    payload = awaited(trigger, None if where == "no XCom" else context["ti"])
    comms.broken = where == "pull fails"
    assert task.execute_complete(context, payload) == ENDED
    assert methods(jobs).count("GET /jobs/job-1") == 4


def test_handle_that_cannot_be_stored_does_not_lose_the_job(jobs: JobServer, comms: Comms) -> None:
    comms.broken = True
    deferred(task := call(job=FAST), context_for(task))
    with pytest.raises(RuntimeError, match="API server is down"):
        (task := call(job=FAST, wait_for_completion=False)).execute(context_for(task))


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "final"),
    [
        (Answer(400, {"detail": "no such thing"}), exceptions.RequestFailedError, False),
        (Answer(500), exceptions.SubmitUnknownError, True),
        (Answer(text="<html>", headers={"Content-Type": "text/html"}), exceptions.AnswerError, True),
        (Answer(302, headers={"Location": "http://other.example/"}), exceptions.OriginError, True),
    ],
)
def test_submit_errors(jobs: JobServer, answer: Answer, kind: type[ApiTaskError], final: bool) -> None:
    jobs.on("POST", "/things", answer)
    with pytest.raises(kind) as caught:
        (task := call(endpoint="/things")).execute(context_for(task))
    assert isinstance(caught.value, AirflowFailException) is final
    assert "/things" in str(caught.value)


@pytest.mark.parametrize(
    ("job", "statuses", "kind", "final"),
    [
        ({}, ["running", "failed"], exceptions.JobFailedError, False),
        ({}, ["running", "cancelled"], exceptions.JobCancelledError, False),
        ({}, ["running", "strange"], exceptions.UnknownStatusError, True),
        ({"max_polls": 2}, ["running"] * 9, exceptions.JobTimedOutError, False),
        ({"deadline": 0.1}, ["running"] * 99, exceptions.JobTimedOutError, False),
        ({"result_path": "$.nothing"}, ["done"], exceptions.AnswerError, True),
    ],
)
@pytest.mark.parametrize("deferrable", [True, False])
def test_job_errors(
    jobs: JobServer,
    comms: Comms,
    job: dict[str, Any],
    statuses: list[str],
    kind: type[ApiTaskError],
    final: bool,
    deferrable: bool,
) -> None:
    jobs.statuses = tuple(statuses)
    task = call(job={**FAST, **job}, deferrable=deferrable)
    with pytest.raises(kind) as caught:
        run(task) if deferrable else task.execute(context_for(task))
    assert isinstance(caught.value, AirflowFailException) is final
    assert caught.value.data["job_id"] == "job-1"
    assert comms.pushed("t", "api_job")["phase"] not in ("poll", "succeeded")
    assert methods(jobs).count("POST /jobs") == 1


def test_final_errors_keep_class_data_and_place_in_the_registry() -> None:
    error = exceptions.UnknownStatusError("what", job_id=7)
    first, second = handover.for_airflow(error), handover.for_airflow(error)
    assert isinstance(first, exceptions.UnknownStatusError)
    assert (str(first), first.data, type(first).__name__) == ("what", {"job_id": 7}, "UnknownStatusError")
    assert type(first) is type(second)
    assert type(handover.for_airflow(first)) is type(first)
    assert type(error_from_dict(error.to_dict())) is exceptions.UnknownStatusError
    assert type(error_from_dict(first.to_dict())) is exceptions.UnknownStatusError
    plain = exceptions.JobFailedError("no")
    assert handover.for_airflow(plain) is plain


@pytest.mark.parametrize("payload", [None, {}, "x", {"version": 99, "state": {}}, {"version": 1}])
def test_event_that_cannot_be_read_is_final(jobs: JobServer, payload: Any) -> None:
    task = call(job=FAST)
    # A retry would submit the job again.
    with pytest.raises(exceptions.ParameterError, match="version") as caught:
        task.execute_complete(context_for(task), payload)
    assert isinstance(caught.value, AirflowFailException)
    assert jobs.history == []


def test_missing_connection_is_named(comms: Comms) -> None:
    with pytest.raises(Exception, match="nowhere"):
        (task := call(api_conn_id="nowhere")).execute(context_for(task))


def test_connection_that_nobody_answers(comms: Comms, connect: Any) -> None:
    connect(refused_url())
    with pytest.raises(exceptions.RequestFailedError, match="no connection could be made"):
        (task := call()).execute(context_for(task))


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ({"status_request": {"endpoint": "/x", "headers": {"Authorization": "s3cret"}}}, "Authorization"),
        ({"result_request": {"endpoint": "/x", "params": {"api_key": "s3cret"}}}, "api_key"),
    ],
)
def test_credentials_are_not_stored_with_the_trigger(jobs: JobServer, job: dict[str, Any], name: str) -> None:
    with pytest.raises(exceptions.ParameterError, match=name) as caught:
        (task := call(job=job)).execute(context_for(task))
    assert "s3cret" not in str(caught.value)
    assert jobs.history == []


@pytest.mark.parametrize("part", ["headers", "params"])
def test_harmless_names_may_be_stored_with_the_trigger(jobs: JobServer, part: str) -> None:
    fields = {"key": "orders", "code": "A7", "max_tokens": "5"}
    request = {"endpoint": "/jobs/{task_id}", part: fields}
    task = call(job={**FAST, "extract": {"task_id": "$.id"}, "status_request": request})
    assert deferred(task, context_for(task)).trigger.job["status_request"][part] == fields


@pytest.mark.parametrize(
    ("kwargs", "configured", "expected"),
    [
        ({"mode": "async"}, "False", True),
        ({"job": {}}, "False", True),
        ({"mode": "async", "deferrable": False}, "True", False),
        ({}, "False", False),
        ({}, "True", True),
    ],
)
def test_default_of_deferrable(
    monkeypatch: pytest.MonkeyPatch, kwargs: dict[str, Any], configured: str, expected: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", configured)
    assert call(**kwargs).deferrable is expected


def test_sync_call_never_defers(jobs: JobServer) -> None:
    jobs.on("POST", "/things", Answer(json=1))
    task = call(endpoint="/things", deferrable=True)
    try:
        assert task.execute(context_for(task)) == 1
    except TaskDeferred:  # a BaseException, which would end the test run
        pytest.fail("a sync call deferred")
