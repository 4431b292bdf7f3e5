"""Jobs from submit to result: the same requests, waits, events and errors in each way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask.core.state import Phase
from tests.drivers.contract import Seen, asynchronous, contract, make_api, sync
from tests.support import Answer
from tests.support.job_server import Job, JobServer
from tests.support.scripted_server import ScriptedServer

RESULT = {"rows": 3}


def job(script: Callable[[Any], object] = lambda server: None, *, job: Any = None, **kwargs: Any) -> Seen:
    """Run a job on a JobServer whose result is asked for."""
    wanted = {"result_request": "{status_url}/result"} if job is None else job
    return contract(script, asynchronous(**wanted), server=lambda: JobServer(**kwargs))


@pytest.mark.parametrize("location", ["absolute", "path", "relative"])
def test_location(location: Any) -> None:
    seen = job(location=location)
    assert seen.value == RESULT
    assert seen.targets == ["POST /jobs", *["GET /jobs/job-1"] * 3, "GET /jobs/job-1/result"]
    assert seen.slept == [15, 15]
    assert seen.server.connections == 2, "one for the submission, one for all that follows"


def test_a_location_above_the_submit() -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/v1/x/jobs/", Answer(201, None, headers={"Location": "../../runs/7/?v=1"}))
        server.on("GET", "/v1/runs/7/", Answer(json={"status": "successful"}))

    seen = contract(script, asynchronous("v1/x/jobs/"))
    assert (seen.value, seen.targets[1:]) == ({"status": "successful"}, ["GET /v1/runs/7/?v=1"])


@pytest.mark.parametrize("form", ["absolute", "path", "relative"])
def test_operation_location_with_the_result_in_location(form: Any) -> None:
    seen = job(job={}, operation_location=form, location=form)
    assert seen.value == RESULT
    assert seen.targets[-2:] == ["GET /jobs/job-1", "GET /jobs/job-1/result"]


def test_an_id_that_needs_percent_encoding() -> None:
    wanted = {
        "status_request": "/jobs/{id}?of={id}",
        "result_request": {"endpoint": "/jobs/{id}/result", "params": {"id": "{id}"}},
    }
    seen = job(job=wanted, location=None, id_format="a:{}+/é %~")
    encoded = "a%3A1%2B%2F%C3%A9%20%25~"
    assert seen.value == RESULT
    assert seen.targets[1:] == [
        *[f"GET /jobs/{encoded}?of={encoded}"] * 3,
        f"GET /jobs/{encoded}/result?id=a%3A1%2B%2F%C3%A9+%25~",
    ]


def test_a_location_with_an_encoded_id() -> None:
    seen = job(id_format="a:{}+/")
    assert seen.targets[1] == "GET /jobs/a%3A1%2B%2F"
    assert seen.value == RESULT


def test_503_while_polling_and_a_relative_location() -> None:
    seen = job(lambda s: s.once("GET", "/jobs/job-1", Answer(503), Answer(503)), location="relative")
    assert seen.value == RESULT
    assert seen.targets.count("GET /jobs/job-1") == 5
    assert [kind for kind, _ in seen.events][:3] == ["submitted", "failing", "recovered"]


def test_retry_after(no_pause_for_all: None) -> None:
    seen = job(retry_after="7")
    assert (seen.value, seen.slept) == (RESULT, [7, 7, 7])
    seen = job(lambda s: s.once("GET", "/jobs/job-1", Answer(429, headers={"Retry-After": "33"})))
    assert seen.slept == [33, 15, 15]


@pytest.mark.parametrize("status", [303, 307, 308])
def test_a_redirected_submit(status: int) -> None:
    def script(server: JobServer) -> None:
        server.on("POST", "/old", Answer(status, headers={"Location": "/jobs"}))
        server.on("GET", "/jobs", Answer(202, headers={"Location": "/jobs/job-1"}))
        server.jobs["job-1"] = Job("job-1", b"")

    call = asynchronous("old", body={"a": 1}, result_request="{status_url}/result")
    seen = contract(script, call, server=JobServer)
    assert seen.value == RESULT
    again = seen.server.history[1]
    assert (again.method, again.body) == (("GET", b"") if status == 303 else ("POST", b'{"a":1}'))
    assert again.header("Content-Type") == (None if status == 303 else "application/json")
    assert again.header("Content-Length") == (None if status == 303 else "7")


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_that_would_change_the_method(status: int) -> None:
    """Followed as clients do it, a missing slash turns the POST into a GET that starts nothing."""
    script = Answer(status, headers={"Location": "/jobs/"})
    seen = contract(lambda s: s.on("POST", "/jobs", script), asynchronous())
    kind, message = seen.failed
    assert (kind, seen.targets) == ("request_failed", ["POST /jobs"])
    assert "HOST/jobs/" in message


def test_a_redirected_get() -> None:
    def script(server: ScriptedServer) -> None:
        server.on("GET", "/a", Answer(301, size=200_000, headers={"Location": "b?x=%2f"}))
        server.on("GET", "/b", Answer(302, headers={"Location": "/c"}))
        server.on("GET", "/c", Answer(json=1))

    seen = contract(script, sync())
    assert (seen.value, seen.targets) == (1, ["GET /a", "GET /b?x=%2f", "GET /c"])


def test_redirects_without_end() -> None:
    seen = contract(lambda s: s.on("GET", "/a", Answer(302, headers={"Location": "/a"})), sync())
    assert seen.failed[0] == "request_failed"
    assert len(seen.targets) == 6


@pytest.mark.parametrize("status", [302, 303])
def test_a_poll_that_is_redirected_to_the_result(status: int) -> None:
    answer = Answer(status, headers={"Location": "job-1/result"})
    seen = job(lambda s: s.once("GET", "/jobs/job-1", Answer(304), answer), job={}, statuses=["succeeded"])
    assert (seen.value, seen.targets[-1]) == (RESULT, "GET /jobs/job-1/result")


def test_the_result_is_inline() -> None:
    seen = job(job={"result_path": "message"})
    assert seen.value == "step 3 of 3"
    assert '"inline": true' in seen.states[-1]
    assert "step 3" not in seen.states[-1]


def test_an_early_404_means_not_yet() -> None:
    seen = job(lambda s: s.once("GET", "/jobs/job-1", *[Answer(404)] * 2), job={"poll_interval": 10})
    assert seen.slept == [10] * 4
    assert seen.done.error is None


@pytest.mark.parametrize("status", [404, 410])
def test_a_job_that_is_gone(status: int) -> None:
    seen = job(
        lambda s: s.once("GET", "/jobs/job-1", *[Answer(status, {"detail": "who?"})] * 5),
        job={"not_found_grace": 20},
    )
    assert (seen.phase, seen.failed[0]) == (Phase.LOST, "job_lost")
    assert "who?" in seen.error.message
    assert len(seen.targets) == (6 if status == 404 else 2)


def test_a_failing_job_gives_its_reason() -> None:
    body = {"status": "Failed", "error": {"code": "E7", "message": "disk füll"}}
    seen = job(lambda s: s.once("GET", "/jobs/job-1", Answer(json=body)))
    assert (seen.phase, seen.failed[0], seen.error.data["reason"]) == (
        Phase.FAILED,
        "job_failed",
        "E7: disk füll",
    )


def test_a_cancelled_job() -> None:
    assert job(statuses=["cancelled"]).failed[0] == "job_cancelled"


def test_an_unknown_status() -> None:
    seen = job(statuses=["queued", "flabbergasted"])
    assert seen.failed[0] == "unknown_status"
    assert "'flabbergasted'" in seen.error.message


@pytest.mark.parametrize(
    "answer", [Answer(text="<html>Log in</html>", headers={"Content-Type": "text/html"})]
)
def test_an_html_page(answer: Answer) -> None:
    seen = contract(lambda s: s.on("GET", "/a", answer), sync())
    assert seen.failed[0] == "answer"
    seen = contract(lambda s: s.on("POST", "/jobs", answer), asynchronous())
    assert seen.failed[0] == "answer"
    seen = job(lambda s: s.once("GET", "/jobs/job-1", answer))
    assert seen.value == RESULT


def test_a_result_that_is_late_and_then_failing() -> None:
    path = "/jobs/job-1/result"
    seen = job(lambda s: s.once("GET", path, Answer(404), Answer(202), Answer(502), Answer(drop="before")))
    assert seen.value == RESULT
    assert seen.targets.count(f"GET {path}") == 5


@pytest.mark.parametrize(
    "answer",
    [
        Answer(text="<html>Sign in</html>", headers={"Content-Type": "text/html"}),
        Answer(text='{"rows": ', headers={"Content-Type": "application/json"}),
        Answer(409, {"detail": "not ready"}),
    ],
)
def test_a_result_that_cannot_be_read_is_requested_again(answer: Answer) -> None:
    path = "/jobs/job-1/result"
    seen = job(lambda s: s.once("GET", path, answer, answer))
    assert seen.value == RESULT
    assert seen.targets.count(f"GET {path}") == 3
    assert seen.targets.count("POST /jobs") == 1
    seen = job(lambda s: s.on("GET", path, answer))
    assert (seen.failed[0], seen.error.retryable) == ("request_failed", True)
    assert "Job job-1 succeeded, but its result could not be fetched" in seen.error.message
    assert seen.slept[2:] == [15] * 20


def test_deadline_and_max_polls() -> None:
    seen = job(statuses=["running"], job={"max_polls": 4, "running_values": ["running"]})
    assert (seen.phase, seen.targets.count("GET /jobs/job-1")) == (Phase.TIMED_OUT, 4)
    seen = job(statuses=["running"], job={"deadline": 40})
    assert (seen.failed[0], seen.slept) == ("job_timed_out", [15, 15, 10])


def test_checks_that_never_succeed() -> None:
    seen = job(lambda s: s.on("GET", "/jobs/job-1", Answer(500)), job={"status_grace": 60})
    assert (seen.failed[0], seen.slept) == ("request_failed", [15] * 4)


def test_a_submit_with_nothing_to_follow() -> None:
    seen = contract(lambda s: s.on("POST", "/jobs", Answer(202, {"x": 1})), asynchronous())
    assert seen.failed[0] == "nothing_to_follow"


def test_a_submit_that_is_answered_at_once() -> None:
    answer = Answer(200, {"status": "done", "rows": 1})
    seen = contract(lambda s: s.on("POST", "/jobs", answer), asynchronous())
    assert (seen.value, seen.targets) == ({"status": "done", "rows": 1}, ["POST /jobs"])


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_refused_submit(status: int) -> None:
    answer = Answer(
        status, {"title": "No", "detail": "because"}, headers={"Content-Type": "application/problem+json"}
    )
    seen = contract(lambda s: s.on("POST", "/jobs", answer), asynchronous())
    assert seen.failed[0] == ("submit_unknown" if status == 500 else "request_failed")
    assert "No: because" in seen.error.message


def test_the_state_has_no_more_than_the_next_process_needs() -> None:
    states = [json.loads(state) for state in job().states]
    assert [state["phase"] for state in states] == ["poll", "fetch"]
    assert set(states[0]) <= {
        *("version", "phase", "job_id", "values", "status_url", "status", "submitted_at", "next_at", "as_of"),
    }


def test_a_base_path_is_kept() -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/api/v1/jobs", Answer(202, {"id": 3}))
        server.on("GET", "/api/v1/jobs/3", Answer(json={"status": "ok!"}))

    call = asynchronous("/jobs", status_request="/jobs/{id}", success_values=["ok!"])
    seen = contract(script, call, api=lambda s: make_api(f"{s.url}/api/v1/"))
    assert seen.value == {"status": "ok!"}
