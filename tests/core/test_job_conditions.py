"""Conditions of an author on the answer to a status check: by HTTP code, by body, by both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import (
    JobCancelledError,
    JobFailedError,
    JobLostError,
    ParameterError,
    RequestFailedError,
)
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.state import Phase
from tests.core.helpers import BASE, HTML, Driven, make_job

DONE = {"success_when": {"$.done": True}, "failure_when": {"$.error": {"type": "object"}}}


def driven(**job: Any) -> Driven:
    return Driven.polling(make_job(**job))


def test_boolean_means_success_and_its_absence_that_the_job_goes_on() -> None:
    run = driven(**DONE)
    for body in ({"done": False}, {"done": False, "status": "success"}, {"metadata": {}}):
        run.answer(200, body)
        assert run.phase is Phase.POLL
    run.answer(200, {"done": True, "response": {"a": 1}})
    run.operation.step(run.now)
    assert run.done().value == {"done": True, "response": {"a": 1}}


def test_failure_goes_before_success_and_tells_the_reason() -> None:
    run = driven(**DONE)
    run.answer(200, {"done": True, "error": {"code": 5, "message": "no such bucket"}})
    error = run.error()
    assert isinstance(error, JobFailedError)
    assert "job.failure_when: $.error" in error.message
    assert "no such bucket" in error.message


def test_cancelled_goes_before_failure() -> None:
    run = driven(**DONE, cancelled_when={"$.error.code": 1})
    run.answer(200, {"done": True, "error": {"code": 1, "message": "x"}})
    assert isinstance(run.error(), JobCancelledError)
    assert run.phase is Phase.CANCELLED


def test_running_goes_before_success() -> None:
    run = driven(success_when={"status_code": 200}, running_when={"$.state": ["queued", "busy"]})
    run.answer(200, {"state": "Busy"})
    assert run.phase is Phase.POLL
    run.answer(200, {"state": "there"})
    assert run.phase is Phase.FETCH


@pytest.mark.parametrize("code", [404, 500, 409])
def test_code_can_mean_running(code: int) -> None:
    run = driven(running_when={"status_code": [404, 409, "500-599"]}, not_found_grace=0)
    run.answer(code, {"detail": "not there yet"})
    assert run.phase is Phase.POLL
    assert run.state.failing_since is None
    run.answer(200, {"status": "done"})
    assert run.phase is Phase.FETCH


@pytest.mark.parametrize("code", [404, 500, 410, 302])
def test_code_can_mean_failed(code: int) -> None:
    run = driven(failure_when={"status_code": [404, 410, 500, 302]})
    run.answer(code, {"detail": "the job is broken"})
    error = run.error()
    assert isinstance(error, JobFailedError)
    assert "the job is broken" in error.message


def test_code_and_body_together() -> None:
    run = driven(failure_when={"status_code": 500, "$.code": "JOB_FAILED"})
    run.answer(500, {"code": "OVERLOAD"})
    assert run.phase is Phase.POLL_GRACE
    run.answer(500, {"code": "JOB_FAILED"})
    assert isinstance(run.error(), JobFailedError)


@pytest.mark.parametrize("code", [429, 503, 500])
def test_gateway_error_is_not_the_jobs(code: int) -> None:
    """Google's gateway answers 503 with an ``error`` object, as a failed operation has one."""
    run = driven(**DONE)
    run.answer(code, {"error": {"code": code, "message": "try later"}})
    assert run.phase is Phase.POLL_GRACE


def test_unknown_job_stays_lost_without_a_condition_on_its_code() -> None:
    run = driven(**DONE, not_found_grace=0)
    for _ in range(4):
        run.answer(404, {"error": {"code": 404}})
    assert isinstance(run.error(), JobLostError)


def test_login_page_meets_no_condition() -> None:
    run = driven(success_when={"status_code": "2xx"})
    run.answer(200, HTML, content_type="text/html")
    assert run.phase is Phase.POLL_GRACE


def test_body_that_is_no_json_is_a_failed_check() -> None:
    run = driven(**DONE)
    run.answer(200, b"busy", content_type="text/plain")
    assert run.phase is Phase.POLL_GRACE
    run.answer(202, b"")
    assert run.phase is Phase.POLL


def test_condition_on_the_code_needs_no_body() -> None:
    run = driven(success_when={"status_code": 204}, running_when={"status_code": 200})
    run.answer(200, b"busy", content_type="text/plain")
    assert run.phase is Phase.POLL
    run.answer(204)
    assert run.phase is Phase.FETCH


def test_status_words_hold_beside_the_condition() -> None:
    """With a path for it, a status of failure counts; one of success does not."""
    job = {"success_when": {"$.rows": {"min": 1}}, "status_path": "$.state"}
    run = driven(**job)
    run.answer(200, {"state": "success", "rows": 0})
    assert run.phase is Phase.POLL
    run.answer(200, {"state": "failed", "rows": 0})
    assert isinstance(run.error(), JobFailedError)
    unknown = driven(**job)
    unknown.answer(200, {"state": "strange", "rows": 0})
    assert "strange" in unknown.error().message


def test_answer_to_the_submit_is_not_a_check() -> None:
    run = Driven(_call(success_when={"status_code": 200}, running_when={"status_code": 404}))
    run.answer(200, {"id": 7, "status": "done"})
    assert run.phase is Phase.POLL
    assert run.request().url == f"{BASE}/jobs/7"


def test_success_of_the_submit_is_not_that_of_the_job() -> None:
    run = Driven(_call(success_when={"$.finished": True}, status_path="$.status"))
    run.answer(200, {"id": 7, "status": "success"})
    assert run.phase is Phase.POLL


def _call(**job: Any) -> Any:
    from tests.core.helpers import make_call

    return make_call(job=make_job(status_request="/jobs/{id}", **job))


def test_conditions_survive_json() -> None:
    job = make_job(
        success_when=[{"$.a": {"min": 1, "pattern": "x"}, "status_code": "2xx"}, {"$.b": [True, None]}],
        running_when={"status_code": [404, "500-599"]},
    )
    again = AsyncJob.parse(json.loads(json.dumps(job.to_dict()))).compiled()
    assert again == job
    assert again.to_dict() == job.to_dict()


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("success_when", "done", "job.success_when"),
        ("failure_when", {}, "job.failure_when"),
        ("running_when", {"status_code": 999}, "job.running_when['status_code']"),
        ("cancelled_when", [{"$[": 1}], "job.cancelled_when[0]"),
    ],
)
def test_mistakes_are_named(field: str, value: Any, names: str) -> None:
    with pytest.raises(ParameterError) as caught:
        AsyncJob(**{field: value}).compiled()
    assert names in caught.value.message


def test_template_that_was_not_rendered_is_refused() -> None:
    job = AsyncJob(success_when="{{ params.when }}")
    with pytest.raises(ParameterError, match=r"job\.success_when"):
        job.compiled()


def test_failing_checks_end_after_the_window_as_ever() -> None:
    run = driven(**DONE, status_grace=5)
    run.answer(503)
    run.answer(503)
    assert isinstance(run.error(), RequestFailedError)
