"""Rule 22 on both drivers, and across processes: the wall clock is set while a job is waited for."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.state import Phase
from tests.drivers.contract import asynchronous, contract
from tests.support import Answer
from tests.support.job_server import JobServer
from tests.support.scripted_server import ScriptedServer

HOURS = 3600.0
STEPS = pytest.mark.parametrize("step", [5 * HOURS, HOURS, -HOURS, -5 * HOURS])


@STEPS
def test_polls_are_neither_delayed_nor_hurried(step: float) -> None:
    seen = contract(
        lambda server: None,
        asynchronous(result_request="{status_url}/result", initial_delay=4),
        server=JobServer,
        steps=[step, step],
    )
    assert seen.slept == [4, 15, 15]
    assert seen.phase is Phase.SUCCEEDED


@STEPS
def test_two_failing_polls_do_not_use_up_the_grace(step: float) -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/jobs", Answer(202, headers={"Location": "/jobs/1"}))
        server.on("GET", "/jobs/1", *[Answer(502)] * 4, Answer(json={"status": "done"}))

    seen = contract(script, asynchronous(status_grace=100), steps=[step])
    assert seen.phase is Phase.SUCCEEDED
    assert seen.slept == [15] * 4


@STEPS
def test_the_grace_ends_in_time(step: float) -> None:
    def script(server: ScriptedServer) -> None:
        server.on("POST", "/jobs", Answer(202, headers={"Location": "/jobs/1"}))
        server.on("GET", "/jobs/1", Answer(502))

    seen = contract(script, asynchronous(status_grace=60), steps=[0.0, step])
    assert seen.failed[0] == "request_failed"
    assert seen.slept == [15] * 4
