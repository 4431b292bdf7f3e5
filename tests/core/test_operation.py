"""The machine itself: asking twice, errors of the core, other processes, secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import BearerAuth
from airflow_provider_apitask.core.errors import (
    JobFailedError,
    NothingToFollowError,
    OriginError,
    ParameterError,
)
from airflow_provider_apitask.core.operation import Done, Operation, Send, Wait
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State

from .helpers import BASE, T0, Driven, make_api, make_call, make_job, make_response

JOB = {"Location": "/v1/jobs/7"}


def test_asking_twice_changes_nothing() -> None:
    operation = Operation(make_call(), make_api())
    first = operation.step(T0)
    assert isinstance(first, Send)
    assert operation.step(T0) == first
    operation.receive(make_response(202, None, {**JOB, "Retry-After": "30"}), T0)
    assert operation.step(T0) == Wait(T0 + 30)
    assert operation.step(T0 + 29.9) == Wait(T0 + 30)
    assert isinstance(operation.step(T0 + 30), Send)


def test_nothing_was_asked_for() -> None:
    operation = Operation(make_call(), make_api())
    with pytest.raises(RuntimeError):
        operation.receive(make_response(200), T0)
    ended = Operation(make_call(), make_api(), State(phase=Phase.FAILED))
    with pytest.raises(RuntimeError):
        ended.receive(make_response(200), T0)


def test_an_error_of_the_core_ends_the_call() -> None:
    driven = Driven.polling()
    event = driven.tell(OriginError("refused", url="https://evil/"))
    error = driven.error()
    assert isinstance(error, OriginError)
    assert error.data == {"url": "https://evil/", "job_id": "7"}
    assert event is not None
    assert (event.kind, event.message) == ("ended", "refused")


def test_a_request_that_cannot_be_built_ends_the_call() -> None:
    driven = Driven(make_call(request=RequestSpec(method="POST", endpoint="/x", body={1}, body_format="raw")))
    assert isinstance(driven.error(), ParameterError)
    assert driven.phase is Phase.FAILED
    lost = Driven.polling(status_url=None)
    assert isinstance(lost.error(), NothingToFollowError)
    assert "job.status_request" in lost.error().message


def test_an_ended_call_stays_ended_in_another_process() -> None:
    driven = Driven.polling()
    driven.answer(200, {"status": "failed", "message": "disk full"})
    other = driven.through_json()
    assert isinstance(other.error(), JobFailedError)
    assert other.error().message == driven.error().message
    assert other.error().data == driven.error().data
    assert other.requests == driven.requests
    assert Operation(make_call(), make_api(), State(phase=Phase.SUCCEEDED)).step(T0) == Done()


@pytest.mark.parametrize("hops", [False, True])
def test_one_history_whether_or_not_processes_change(hops: bool) -> None:
    job = make_job(
        extract={"run": "$.runId"},
        status_request="/runs/{run}/status",
        result_request="/runs/{run}/rows/{file}",
        deadline=500,
        poll_factor=2,
    )
    driven = Driven(make_call(job=job))
    answers: list[tuple[int, Any]] = [
        (202, {"runId": "a:1"}),
        (404, None),
        (200, {"status": "queued"}),
        (503, None),
        (200, {"status": "running"}),
        (200, {"status": "done", "file": "f 1"}),
        (404, None),
        (200, [1, 2]),
    ]
    for status, body in answers:
        driven.answer(status, body)
        if hops and not driven.phase.ended:
            driven = driven.through_json()
    assert driven.done().value == [1, 2]
    assert [(r.method, r.url.removeprefix(BASE)) for r in driven.requests] == [
        ("POST", "/jobs"), *[("GET", "/runs/a%3A1/status")] * 5, *[("GET", "/runs/a%3A1/rows/f%201")] * 2
    ]  # fmt: skip
    assert driven.now == T0 + 10 + 20 + 40 + 80 + 10


def test_a_restart_keeps_the_time_of_the_next_check() -> None:
    driven = Driven.polling()
    driven.answer(200, {"status": "running"})
    assert driven.through_json().next_wait() == 10


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "answers",
    [
        [(400, {"message": f"bad token {SECRET}"})],
        [(400, f"echo: {SECRET}".encode())],
        [(500, f"x-api-key: {SECRET}".encode())],
        [(202, {"echo": SECRET})],
        [(202, {"echo": SECRET}, {"Location": f"https://evil.example/{SECRET}"})],
        [(202, None, JOB), (200, {"status": SECRET})],
        [(202, None, JOB), (200, {"status": "failed", "message": SECRET})],
        [(202, None, JOB), (503, SECRET.encode()), (410, {"detail": SECRET})],
        [(202, None, JOB), (303, None, {"Location": f"https://{SECRET}.example/"})],
    ],
)
def test_no_secret_in_events_errors_and_state(answers: list[tuple[Any, ...]]) -> None:
    api = make_api(auth=BearerAuth(SECRET), redactor=Redactor([SECRET]))
    driven = Driven(make_call(), api)
    for answer in answers:
        driven.answer(*answer)
    error = driven.error()
    state = driven.state
    seen = [error.message, repr(error), json.dumps([error.to_dict(), state.error, state.status])]
    seen += [text for event in driven.events for text in (event.message, json.dumps(event.data))]
    assert not [text for text in seen if "hunter2" in text]


def test_a_request_shows_no_secret_parameters() -> None:
    request = RequestSpec(method="POST", endpoint="/x", params={"api_key": SECRET})
    driven = Driven(make_call(request=request))
    driven.answer(500)
    assert "hunter2" not in driven.error().message
    assert "api_key=***" in driven.error().message


def test_messages_are_short_enough_for_a_log() -> None:
    driven = Driven(make_call())
    driven.answer(400, {"message": "x" * 100_000}, {"X": "y" * 100_000})
    assert len(driven.error().message) < 1000


def test_handle_data() -> None:
    assert Driven.polling().operation.handle_data() == {
        "job_id": "7",
        "status": None,
        "status_url": f"{BASE}/jobs/7",
    }
