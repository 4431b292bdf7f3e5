"""Rule 23: what a triggerer reads, which part of it on its event loop, and what it leaves to a worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.answers import MAX_PARSED_NODES, MAX_SEARCHED_NODES
from airflow_provider_apitask.core.errors import RequestFailedError
from airflow_provider_apitask.core.exchange import conversation
from airflow_provider_apitask.core.messages import (
    DEFAULT_MAX_BYTES,
    MAX_TRIGGERER_BYTES,
    Failure,
    NetworkFailure,
    Purpose,
    Request,
)
from airflow_provider_apitask.core.operation import Effort
from airflow_provider_apitask.core.state import Phase, State

from .helpers import BASE, T0, TOO_LARGE, Driven, make_api, make_call, make_job, make_response

FULL = NetworkFailure(Failure.MEMORY, "64 of 64 bytes in use after 30 s", possibly_received=True)


def polling(*, for_triggerer: bool = True, limit: int | None = None, **job: Any) -> Driven:
    call = make_call(job=make_job(**job), for_triggerer=for_triggerer, max_response_bytes=limit)
    return Driven(
        call, state=State(phase=Phase.POLL, job_id="7", status_url=f"{BASE}/jobs/7", submitted_at=T0)
    )


# -- how much is read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "for_triggerer", "most"),
    [
        (None, True, MAX_TRIGGERER_BYTES),
        (10 * MAX_TRIGGERER_BYTES, True, MAX_TRIGGERER_BYTES),
        (1000, True, 1000),
        (None, False, DEFAULT_MAX_BYTES),
        (10 * MAX_TRIGGERER_BYTES, False, 10 * MAX_TRIGGERER_BYTES),
    ],
)
def test_longest_status_response(limit: int | None, for_triggerer: bool, most: int) -> None:
    assert polling(for_triggerer=for_triggerer, limit=limit).request().max_bytes == most


def test_a_response_that_is_too_large_for_a_triggerer_is_read_by_a_worker() -> None:
    driven = polling()
    event = driven.tell(TOO_LARGE)
    assert event is not None
    assert "A worker polls from here on." in event.message
    assert (driven.phase, driven.state.needs_worker, driven.state.polls) == (Phase.POLL, True, 1)
    resumed = polling(for_triggerer=False)
    resumed.operation.state = State.from_dict(json.loads(json.dumps(driven.state.to_dict())))
    resumed.answer(200, {"status": "succeeded", "log": "x" * MAX_TRIGGERER_BYTES})
    assert resumed.phase is Phase.FETCH


@pytest.mark.parametrize(("for_triggerer", "limit"), [(False, None), (True, 1000), (False, 1000)])
def test_a_response_that_is_too_large_for_a_worker_too_fails(for_triggerer: bool, limit: int | None) -> None:
    driven = polling(for_triggerer=for_triggerer, limit=limit)
    driven.tell(TOO_LARGE)
    assert driven.phase is Phase.FAILED
    assert isinstance(driven.error(), RequestFailedError)
    assert not driven.state.needs_worker


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("$.tasks[?(@.last)].status", b'{"tasks":[%b{"last":1,"status":"succeeded"}]}', "application/json"),
        ("$..status", b'{"a":[%b{"status":"succeeded"}]}', "application/json"),
        ("//job[last()]/status", b"<a>%b<job><status>succeeded</status></job></a>", "application/xml"),
    ],
)
def test_a_triggerer_searches_few_nodes(path: str, body: bytes, content_type: str) -> None:
    item = b"<t/>" if body.startswith(b"<") else b"0,"
    for count, searched in ((10, True), (MAX_SEARCHED_NODES + 1, False)):
        response = make_response(200, body % (item * count), content_type=content_type)
        driven = polling(status_path=path)
        driven.tell(response)
        assert driven.phase is (Phase.FETCH if searched else Phase.POLL)
        assert driven.state.needs_worker is not searched
        on_worker = polling(status_path=path, for_triggerer=False)
        on_worker.tell(response)
        assert on_worker.phase is Phase.FETCH


@pytest.mark.parametrize("count", [MAX_SEARCHED_NODES + 1, MAX_PARSED_NODES + 1])
@pytest.mark.parametrize("code", [200, 500])
def test_a_triggerer_parses_more_nodes_than_it_searches(count: int, code: int) -> None:
    driven = polling(message_path="$.items[0]")
    driven.answer(code, {"items": [1] * count, "status": "running"})
    assert driven.phase is (Phase.POLL if code == 200 else Phase.POLL_GRACE)
    assert driven.state.needs_worker is (code == 200 and count > MAX_PARSED_NODES)


def test_a_response_that_gets_no_memory_is_a_failed_poll() -> None:
    driven = polling()
    event = driven.tell(FULL)
    assert event is not None
    assert (
        "was answered and not read: the responses that are being read leave no memory for it" in event.message
    )
    assert driven.phase is Phase.POLL_GRACE


def test_a_response_that_credentials_depend_on_is_short() -> None:
    flow = conversation(Request(Purpose.SUBMIT, "POST", f"{BASE}/jobs", csrf_url=f"{BASE}/csrf"), make_api())
    step: Any = next(flow)
    while not isinstance(step, Request):
        step = flow.send(None)
    assert (step.purpose, step.max_bytes) == (Purpose.CSRF, MAX_TRIGGERER_BYTES)
    step = flow.send(make_response(200, headers={"X-CSRF-Token": "t"}))
    assert (step.purpose, step.max_bytes) == (Purpose.SUBMIT, DEFAULT_MAX_BYTES)
    flow.close()


# -- what is read off the event loop -------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "job", "effort"),
    [
        (1000, {}, Effort.LITTLE),
        (256 * 1024, {}, Effort.LITTLE),
        (256 * 1024 + 1, {}, Effort.PARSE),
        (1000, {"status_path": "result.state", "message_path": "headers.X-Message"}, Effort.LITTLE),
        (1000, {"success_when": {"$.status": ["ok", "fine"], "status_code": 200}}, Effort.LITTLE),
        (1000, {"success_when": {"$.status": {"one_of": ["ok"]}}}, Effort.LITTLE),
        (1000, {"success_when": {"$.status": {"pattern": "(a+)+$"}}}, Effort.SEARCH),
        (1000, {"failure_when": [{"$.a": 1}, {"$.items[*].state": "failed"}]}, Effort.SEARCH),
        (1000, {"status_path": "$.a[?(@.b)]"}, Effort.SEARCH),
        (1000, {"progress_path": "//progress"}, Effort.SEARCH),
        (1000, {"result_request": "/results/{$.files[?(@.kind == 'x')].id}"}, Effort.SEARCH),
    ],
)
def test_effort(size: int, job: dict[str, Any], effort: Effort) -> None:
    driven = polling(**job)
    driven.request()
    assert driven.operation.effort(make_response(200, b" " * size)) is effort
    assert driven.operation.effort(TOO_LARGE) is Effort.LITTLE


def test_reading_changes_nothing_until_it_is_settled() -> None:
    driven = polling()
    driven.request()
    operation, before = driven.operation, driven.state
    response = make_response(200, {"status": "succeeded"})
    move = operation.judging(response, driven.now)()
    assert operation.state is before
    assert operation.judging(response, driven.now)().state == move.state
    operation.settle(move, response, driven.now)
    assert driven.phase is Phase.FETCH
