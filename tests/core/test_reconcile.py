"""Looking for a job whose submit got no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ParameterError, SubmitUnknownError
from airflow_provider_apitask.core.idempotency import Idempotency
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.state import Phase

from .helpers import BASE, HTML, NO_CONNECTION, READ_TIMEOUT, T0, TOO_LARGE, Driven, make_call, make_job

SPEC: dict[str, Any] = {"request": "/jobs", "items": "$.jobs", "match": {"$.name": "nightly", "$.n": 3}}
MINE = {"id": 5, "name": "nightly", "n": "3", "state": "running"}


def lost(spec: dict[str, Any] | None = None, **fields: Any) -> Driven:
    """A call whose submit was sent and got no answer."""
    job = make_job(status_request="/jobs/{id}", deadline=1000, reconcile={**SPEC, **(spec or {})})
    job = AsyncJob.parse(json.loads(json.dumps(job.to_dict()))).compiled()
    driven = Driven(make_call(job=job, **fields))
    driven.request()
    driven.operation.intend(driven.now)
    driven.tell(READ_TIMEOUT)
    assert driven.phase is Phase.RECONCILE
    driven.requests.clear()
    return driven


@pytest.mark.parametrize("inbound", [READ_TIMEOUT, TOO_LARGE])
def test_a_lost_answer_is_looked_for(inbound: Any) -> None:
    driven = Driven(make_call(job=make_job(status_request="/s", reconcile=SPEC)))
    event = driven.tell(inbound)
    assert "asked for the job" in (event.message if event else "")
    request = driven.request()
    assert (request.purpose, request.method, request.url) == (Purpose.RECONCILE, "GET", f"{BASE}/jobs")


def test_what_is_safe_to_send_again_is_not_looked_for() -> None:
    driven = Driven(make_call(job=make_job(status_request="/s", reconcile=SPEC), retries=1))
    driven.tell(NO_CONNECTION)
    assert driven.phase is Phase.SUBMIT


def test_the_one_that_matches_is_the_job() -> None:
    driven = lost()
    others = [{"id": 1, "name": "nightly", "n": 2}, {"id": 2, "n": 3}, {"id": 3, "name": {}, "n": 3}, 7, None]
    driven.answer(200, {"jobs": [*others, MINE]})
    assert driven.phase is Phase.POLL
    assert (driven.state.job_id, driven.state.values) == (5, {"id": 5})
    assert (driven.state.submitted_at, driven.state.deadline_at) == (T0, T0 + 1000), "from the submit on"
    assert driven.state.intent_at is None
    assert driven.request().url == f"{BASE}/jobs/5"
    driven.answer(200, {"status": "failed"})
    assert driven.phase is Phase.FAILED, "it is this try's own job"


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ({"items": None}, [MINE]),
        ({"items": None}, MINE),
        ({"items": "$.jobs[*]"}, {"jobs": [MINE]}),
        ({"match": None}, {"jobs": [MINE]}),
        ({"match": None, "job_id": "$.state"}, {"jobs": [MINE]}),
        ({"match": {"name": "{idempotency_key}ly"}}, {"jobs": [MINE]}),
    ],
)
def test_ways_to_list(spec: dict[str, Any], answer: Any) -> None:
    driven = lost(spec)
    driven.operation.state = driven.state.at(Phase.RECONCILE, idempotency_key="night")
    driven.answer(200, answer)
    assert driven.phase is Phase.POLL
    assert driven.state.job_id == ("running" if spec.get("job_id") else 5)


def test_names_can_be_elsewhere_in_the_list() -> None:
    job = make_job(
        extract={"run": "$.runId"},
        job_id="run",
        status_request="/runs/{run}",
        reconcile={"request": "/runs", "extract": {"run": "$.run.id"}},
    )
    driven = Driven(make_call(job=job))
    driven.tell(READ_TIMEOUT)
    driven.answer(200, {"run": {"id": "r7"}})
    assert (driven.state.job_id, driven.request().url) == ("r7", f"{BASE}/runs/r7")


def test_several_cannot_be_told_apart() -> None:
    driven = lost()
    driven.answer(200, {"jobs": [MINE, {**MINE, "id": 6}]})
    error = driven.error()
    assert isinstance(error, SubmitUnknownError)
    assert "5, 6" in error.message
    assert not error.retryable


@pytest.mark.parametrize("answer", [(200, {"jobs": []}), (200, {"jobs": None}), (204, None), (404, None)])
def test_none_is_none_after_a_while_and_then_it_is_sent_again_once(answer: Any) -> None:
    driven = lost({"settle": 5})
    while driven.phase is Phase.RECONCILE:
        driven.answer(*answer)
    assert driven.now == T0 + 5, "a list may lag behind"
    assert driven.phase is Phase.SUBMIT
    assert driven.request().purpose is Purpose.SUBMIT
    driven.operation.intend(driven.now)
    driven.tell(READ_TIMEOUT)
    while driven.phase is Phase.RECONCILE:
        driven.answer(*answer)
    assert driven.phase is Phase.SUBMIT_UNKNOWN
    assert "each of two submits" in driven.error().message


def test_the_error_quotes_what_came_of_the_submission() -> None:
    """Not "got no answer": the server did say what it thinks of the request."""
    driven = Driven(make_call(job=make_job(status_request="/s", reconcile={**SPEC, "settle": 0})))
    for _ in range(2):
        driven.answer(500, {"errors": [{"error": "Invalid account"}]})
        driven = driven.through_json()
        driven.answer(200, {"jobs": []})
    error = driven.error()
    assert isinstance(error, SubmitUnknownError)
    for part in (
        "POST",
        "500 Internal Server Error",
        "Invalid account",
        "rejected_status_codes",
        "two submits",
    ):
        assert part in error.message
    assert "no answer" not in error.message


def test_a_rejected_submission_is_not_looked_for() -> None:
    job = make_job(status_request="/s", reconcile=SPEC)
    driven = Driven(make_call(job=job, rejected_status_codes=(500,)))
    driven.answer(500)
    assert driven.phase is Phase.FAILED


def test_a_job_that_exists_already_is_followed_and_its_event_claims_nothing_else() -> None:
    job = make_job(status_request="/jobs/{id}", reconcile={**SPEC, "exists_codes": [409]})
    driven = Driven(make_call(job=job))
    begun = driven.answer(409, {"detail": "job nightly exists"})
    found = driven.answer(200, {"jobs": [MINE]})
    assert begun is not None
    assert "409 Conflict: job nightly exists. The job exists already." in begun.message
    assert found is not None
    assert "lists the job. Job 5 is followed." in found.message
    assert "no answer" not in found.message
    assert driven.state.cause is None


@pytest.mark.parametrize("inbound", [NO_CONNECTION, 503, 500, 429, HTML, b"", b"{}", b'{"error": "busy"}'])
def test_a_search_that_fails_is_repeated_for_a_while(inbound: Any) -> None:
    driven = lost()
    for _ in range(500):
        if driven.phase is not Phase.RECONCILE:
            break
        if isinstance(inbound, int):
            driven.answer(inbound)
        elif isinstance(inbound, bytes):
            driven.answer(200, inbound, content_type="text/html" if inbound is HTML else None)
        else:
            driven.tell(inbound)
    assert driven.phase is Phase.SUBMIT_UNKNOWN
    assert 300 <= driven.now - T0 < 330, "job.status_grace"
    assert len(driven.events) == 3, "the lost answer, the first failure and the end"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_search_that_is_refused_ends_it(status: int) -> None:
    driven = lost()
    driven.answer(status, {"detail": "no"})
    assert driven.phase is Phase.SUBMIT_UNKNOWN
    assert str(status) in driven.error().message


def test_a_job_that_is_found_but_cannot_be_followed() -> None:
    driven = lost()
    driven.answer(200, {"jobs": [{"name": "nightly", "n": 3}]})
    assert driven.phase is Phase.SUBMIT_UNKNOWN
    assert "{id}" in driven.error().message


def test_with_a_key_nothing_is_looked_for() -> None:
    job = make_job(status_request="/s", reconcile=SPEC)
    driven = Driven(make_call(job=job, idempotency=Idempotency(seed="x"), retries=1))
    driven.tell(READ_TIMEOUT)
    assert driven.phase is Phase.SUBMIT


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        (7, "job.reconcile"),
        ({}, "job.reconcile.request"),
        ({"items": "$.x"}, "job.reconcile.request"),
        ({"request": {"method": "GET"}}, "job.reconcile.request"),
        ({"request": "/x", "items": "$.["}, "job.reconcile.items"),
        ({"request": "/x", "match": []}, "job.reconcile.match"),
        ({"request": "/x", "match": {"$.[": 1}}, "job.reconcile.match['$.[']"),
        ({"request": "/x", "settle": -1}, "job.reconcile.settle"),
        ({"request": "/x", "where": 1}, "job.reconcile"),
    ],
)
def test_what_cannot_be_read(given: Any, parameter: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make_job(status_request="/s", reconcile=given)
    assert caught.value.data["parameter"] == parameter


def test_a_job_that_is_found_must_be_one_that_can_be_asked_for() -> None:
    with pytest.raises(ParameterError, match=r"job\.status_request"):
        make_job(reconcile=SPEC)
