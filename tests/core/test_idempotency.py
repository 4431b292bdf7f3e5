"""The idempotency key anywhere in the submission."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.durable import first_state
from airflow_provider_apitask.core.idempotency import Idempotency
from airflow_provider_apitask.core.request_spec import RequestSpec

from .helpers import BASE, READ_TIMEOUT, Driven, make_call, make_job

KEY = Idempotency(seed="a key/1", header=None, fixed=True)
SEARCH = {
    "request": "/jobs",
    "items": "$.jobs",
    "match": {"$.token": "{idempotency_key}"},
    "exists_codes": [409],
}


def driven(request: dict[str, Any], *, sync: bool = False, key: Idempotency = KEY, **job: Any) -> Driven:
    spec = RequestSpec(**{"method": "POST", "endpoint": "/jobs", **request}).checked()
    call = make_call(sync=sync, request=spec, idempotency=key, retries=1, job=make_job(**job))
    return Driven(call, state=first_state(call, 0))


@pytest.mark.parametrize("sync", [True, False])
def test_the_placeholder_is_filled_in_each_part(sync: bool) -> None:
    request = driven(
        {
            "endpoint": "/jobs/{idempotency_key}",
            "params": {"token": "{idempotency_key}"},
            "headers": {"X-Key": "k={idempotency_key}", "X-Other": "{other}"},
            "body": {"token": "{idempotency_key}", "{idempotency_key}": ["{other}", 1]},
        },
        sync=sync,
    ).request()
    assert request.url == f"{BASE}/jobs/a%20key%2F1?token=a+key%2F1"
    assert (request.headers.get("X-Key"), request.headers.get("X-Other")) == ("k=a key/1", "{other}")
    assert json.loads(request.body) == {"token": "a key/1", "a key/1": ["{other}", 1]}  # type: ignore[arg-type]
    assert "Idempotency-Key" not in request.headers


def test_the_header_and_the_placeholder_carry_the_same_key() -> None:
    request = driven({"body": {"token": "{idempotency_key}"}}, key=Idempotency(seed="s")).request()
    key = request.headers.get("Idempotency-Key")
    assert key is not None
    assert json.loads(request.body) == {"token": key}  # type: ignore[arg-type]


def test_a_submission_that_is_resent_has_the_same_key() -> None:
    one = driven({"body": "<token>{idempotency_key}</token>", "body_format": "xml"})
    one.tell(READ_TIMEOUT)
    one.request()
    assert [request.body for request in one.requests] == [b"<token>a key/1</token>"] * 2


def test_the_job_is_found_by_the_key_that_was_sent() -> None:
    """Sent literally, each run would adopt the job of the first one."""
    call = driven({"body": {"token": "{idempotency_key}"}}, status_request="/s/{id}", reconcile=SEARCH)
    call.answer(409)
    call.answer(200, {"jobs": [{"id": 1, "token": "{idempotency_key}"}, {"id": 2, "token": "a key/1"}]})
    assert call.request().url == f"{BASE}/s/2"


def test_the_request_for_the_result_of_a_synchronous_call_has_it_too() -> None:
    one = driven({"headers": {"X-Key": "{idempotency_key}"}}, sync=True)
    one.answer(303, None, {"Location": "/done"})
    assert one.request().headers.get("X-Key") == "a key/1"
