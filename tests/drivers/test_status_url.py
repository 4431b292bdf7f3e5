"""``{status_url}`` and a cancel without an endpoint mean the URL that is polled, on real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.state import Phase
from tests.drivers.contract import asynchronous, contract
from tests.support import Answer
from tests.support.job_server import JobServer

FOUND = {"request": "/list", "items": "$.jobs"}


def lost(server: JobServer) -> None:
    """The job is created and the response to its submission is lost."""
    server.once("POST", "/jobs", server.lose)
    server.on("GET", "/list", Answer(json={"jobs": [{"id": "job-1"}]}))


def beside_an_operation_location(server: JobServer) -> None:
    server.operation_location = "path"


@pytest.mark.parametrize(
    ("script", "more"), [(lost, {"reconcile": FOUND}), (beside_an_operation_location, {})]
)
def test_cancel_and_result_go_below_the_url_that_is_polled(script: Any, more: dict[str, Any]) -> None:
    wanted = {"status_request": "/jobs/{id}?v=1", "result_request": "{status_url}/result", **more}
    seen = contract(script, asynchronous(**wanted), server=JobServer)
    assert seen.value == {"rows": 3}
    assert seen.targets[-1] == "GET /jobs/job-1/result?v=1"

    limited = asynchronous(**wanted, deadline=40, cancel_request={"method": "DELETE"})
    seen = contract(script, limited, server=lambda: JobServer(["running"] * 99))
    assert (seen.phase, seen.targets[-1]) == (Phase.TIMED_OUT, "DELETE /jobs/job-1?v=1")
    assert seen.server.jobs["job-1"].cancelled


def test_a_success_in_the_response_to_the_submission_is_polled_for_its_result() -> None:
    def script(server: JobServer) -> None:
        server.on("POST", "/jobs", Answer(200, {"id": 7, "status": "SUCCESS"}))
        server.on("GET", "/jobs/7", Answer(json={"id": 7, "status": "SUCCESS", "rows": 3}))

    call = asynchronous(status_request="/jobs/{id}", status_path="$.status", result_path="$.rows")
    seen = contract(script, call, server=JobServer)
    assert (seen.value, seen.targets) == (3, ["POST /jobs", "GET /jobs/7"])
