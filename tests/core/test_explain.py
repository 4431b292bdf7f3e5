"""``error_request`` and ``lost_when``: why a job failed, and a job that the server does not know."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.errors import JobFailedError, JobLostError
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.state import Phase
from airflow_provider_apitask.jobs import GA4GH_WES, slurm_job

from .helpers import BASE, DROPPED, HTML, NO_CONNECTION, Driven, make_job

FAILED = {"status": "failed", "log": "L9"}
WHY = {"message": "disk full"}


def failed(**job: Any) -> Driven:
    """A job with an error request, at the request for the reason."""
    driven = Driven.polling(make_job(**{"error_request": "/logs/{log}", **job}))
    event = driven.answer(200, FAILED)
    assert event is not None
    assert "failed (status 'failed'). Requesting the reason." in event.message
    assert driven.phase is Phase.EXPLAIN
    return driven


def test_the_reason_comes_from_the_error_request() -> None:
    driven = failed()
    driven.answer(200, WHY)
    assert (driven.requests[-1].method, driven.requests[-1].url) == ("GET", f"{BASE}/logs/L9")
    assert driven.requests[-1].purpose is Purpose.POLL
    error = driven.error()
    assert (driven.phase, type(error)) == (Phase.FAILED, JobFailedError)
    assert error.message == "Job 7 failed (status 'failed'): disk full."
    assert error.data["reason"] == "disk full"
    assert error.data["job_id"] == "7"


def test_error_path_reads_the_response_of_the_error_request() -> None:
    driven = failed(error_path="$.run_log.stderr")
    driven.answer(200, {"run_log": {"stderr": "Traceback"}})
    assert driven.error().data["reason"] == "Traceback"


def test_a_condition_that_means_failure_requests_the_reason_too() -> None:
    driven = Driven.polling(make_job(failure_when={"$.ok": False}, error_request="/logs/{job_id}"))
    driven.answer(200, {"ok": False})
    driven.answer(200, WHY)
    assert "job.failure_when: $.ok): disk full." in driven.error().message


@pytest.mark.parametrize(
    "inbounds", [[(403, {"detail": "no"})], [(404, None)], [(503, None)] * 3, [(200, HTML)], [(200, b"{")]]
)
def test_a_failing_error_request_does_not_change_the_outcome(inbounds: list[tuple[int, Any]]) -> None:
    driven = failed(error_path="$.log")
    for code, body in inbounds:
        assert driven.phase is Phase.EXPLAIN
        content_type = "application/json" if body == b"{" else None
        driven.answer(code, body, content_type=content_type)
    error = driven.error()
    assert (driven.phase, type(error)) == (Phase.FAILED, JobFailedError)
    assert error.message.startswith(
        "Job 7 failed (status 'failed'): L9. The reason could not be requested: GET "
    )
    assert error.data["reason"] == "L9"


@pytest.mark.parametrize("failure", [NO_CONNECTION, DROPPED])
def test_a_failing_error_request_is_repeated_a_few_times(failure: Any) -> None:
    driven = failed()
    driven.tell(failure)
    driven.answer(503, None, {"Retry-After": "900"})
    driven.answer(200, WHY)
    assert driven.waits == [1, 5]
    assert driven.error().data["reason"] == "disk full"


def test_a_placeholder_without_a_value_does_not_change_the_outcome() -> None:
    driven = failed(error_request="/logs/{missing}")
    error = driven.error()
    assert (driven.phase, type(error)) == (Phase.FAILED, JobFailedError)
    assert "{missing} has no value" in error.message


def test_the_request_is_made_by_another_process() -> None:
    driven = failed().through_json()
    driven.answer(200, WHY)
    assert driven.error().message == "Job 7 failed (status 'failed'): disk full."


@pytest.mark.parametrize("status", ["cancelled", "no such word"])
def test_only_a_failed_job_is_asked_for_its_reason(status: str) -> None:
    driven = Driven.polling(make_job(error_request="/logs/{job_id}"))
    driven.answer(200, {"status": status})
    assert driven.phase.ended


def test_wes_asks_the_run_why_it_failed() -> None:
    driven = Driven.polling(GA4GH_WES, job_id="r1", values={"run_id": "r1"})
    driven.answer(200, {"run_id": "r1", "state": "EXECUTOR_ERROR"})
    driven.answer(200, {"run_id": "r1", "state": "EXECUTOR_ERROR", "run_log": {"stderr": "exit code 127"}})
    assert driven.requests[-1].url == f"{BASE}/runs/r1"
    assert driven.error().data["reason"] == "exit code 127"


# -- lost_when -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_lost", "retryable"), [("fail", False), ("submit", True)])
def test_lost_when(on_lost: str, retryable: bool) -> None:
    driven = Driven.polling(
        make_job(lost_when={"status_code": 500, "$.error": "Unknown job"}, on_lost=on_lost)
    )
    driven.answer(500, {"error": "Busy"})
    assert driven.phase is Phase.POLL_GRACE
    driven.answer(500, {"error": "Unknown job"})
    error = driven.error()
    assert (driven.phase, type(error), error.retryable) == (Phase.LOST, JobLostError, retryable)
    for part in ("Unknown job", "job.lost_when", "500"):
        assert part in error.message


def test_lost_goes_before_success_and_after_failure() -> None:
    job = make_job(failure_when={"$.e": 1}, lost_when={"$.lost": True}, success_when={"status_code": 200})
    for body, phase in (
        ({"lost": True}, Phase.LOST),
        ({"lost": True, "e": 1}, Phase.FAILED),
        ({"lost": False}, Phase.FETCH),
    ):
        driven = Driven.polling(job)
        driven.answer(200, body)
        assert driven.phase is phase


def test_slurm_forgets_a_job_with_a_500() -> None:
    unknown = {"errors": [{"error": "Invalid job id specified", "error_number": 2017}]}
    driven = Driven.polling(slurm_job(), job_id=7)
    driven.answer(500, {"errors": [{"error": "Unable to contact slurm controller", "error_number": 1800}]})
    assert driven.phase is Phase.POLL_GRACE
    driven.answer(500, unknown)
    assert driven.phase is Phase.LOST
