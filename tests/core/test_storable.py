"""What may be stored of a call: nothing that only its holder may have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import NothingToFollowError, ParameterError
from airflow_provider_apitask.core.handle import handle_of
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.storable import refuse_stored_secrets, storable

from .helpers import BASE, T0, Driven, make_api, make_call, make_job

SECRET = "s3cret-value"


@pytest.mark.parametrize("name", ["status_request", "result_request", "cancel_request"])
@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"headers": {"Authorization": f"Bearer {SECRET}"}}, "headers: Authorization"),
        ({"params": {"api_key": SECRET}}, "params: api_key"),
        ({"body": {"user": "me", "password": SECRET}}, "body: password"),
        ({"body": {"password": "lowercase"}}, "body: password"),
        ({"body": {"login": [{"secret": SECRET}]}}, "body: login.secret"),
        ({"body": {"auth": {"token": SECRET}}}, "body: auth.token"),
        ({"body": {"auth": {"value": SECRET}}}, "body: auth.value"),
        ({"body": {"credentials": [SECRET]}}, "body: credentials"),
        ({"body": {"password": 12345678}}, "body: password"),
        ({"body": {"token": SECRET.encode()}}, "body: token"),
        ({"body": f"user=me&password={SECRET}", "body_format": "raw"}, "body: the text"),
        ({"body": f'{{"api_key": "{SECRET}"}}', "body_format": "raw"}, "body: the text"),
        ({"endpoint": f"/jobs/7?api_key={SECRET}&a=1"}, "endpoint: api_key"),
        ({"endpoint": f"https://h/7?X-Amz-Signature={SECRET}"}, "endpoint: X-Amz-Signature"),
        ({"headers": {"Authorization": f"Bearer {SECRET}{{id}}"}}, "headers: Authorization"),
    ],
)
def test_a_credential_that_would_be_stored_is_refused(
    name: str, request_: dict[str, Any], named: str
) -> None:
    job = AsyncJob.parse({name: {"endpoint": "/jobs/7", **request_}})
    with pytest.raises(ParameterError) as caught:
        refuse_stored_secrets(job)
    assert f"job.{name}.{named} looks like a credential" in caught.value.message
    assert "deferrable=False" in caught.value.message
    assert SECRET not in str(caught.value.data) + caught.value.message


@pytest.mark.parametrize(
    "request_",
    [
        {"headers": {"Authorization": "Bearer {json.token}", "X-Api-Key": "{key}"}},
        {"headers": {"Cookie": "session={json.sid}; path"}},
        {"params": {"token": "{$.token}", "max_tokens": 1000, "page_token": "abcdefgh"}},
        {"body": {"auth": {"token": "{json.token}", "type": "basic"}, "password": None}},
        {"body": {"token": "", "secret": True, "key": "orders", "code": "E100"}},
        {"body": "user=me&password={json.password}", "body_format": "raw"},
        {"endpoint": "/jobs/{job_id}?sig={json.sig}&next_page_token=abcdefgh"},
        {"endpoint": "{status_url}"},
    ],
)
def test_a_placeholder_or_another_value_passes(request_: dict[str, Any]) -> None:
    refuse_stored_secrets(AsyncJob.parse({"status_request": {"endpoint": "/jobs/7", **request_}}))


def test_the_csrf_endpoint_is_stored_too() -> None:
    refuse_stored_secrets(AsyncJob(), "/csrf?kind=a")
    with pytest.raises(ParameterError, match=r"csrf_token_endpoint\.endpoint: api_key"):
        refuse_stored_secrets(AsyncJob(), f"/csrf?api_key={SECRET}")


SIGNED = [
    f"{BASE}/jobs/7?sig={SECRET}&a=1",
    f"{BASE}/jobs/7?X-Amz-Credential=x&X-Amz-Signature={SECRET}",
    f"{BASE}/jobs/7?Expires=1&Signature={SECRET}",
    f"{BASE}/jobs/7?access_token={SECRET}",
    f"{BASE}/jobs/7?taskHub=a&code={SECRET}-that-is-a-function-key",
]


@pytest.mark.parametrize("url", SIGNED)
@pytest.mark.parametrize("phase", list(Phase))
def test_a_signed_url_is_not_stored(url: str, phase: Phase) -> None:
    job = make_job()
    fields: dict[str, Any] = {
        "status_url": url,
        "result_url": url,
        "values": {"links.result": url, "more": [{"url": url}]},
        "paging": {"next": url},
    }
    kept = storable(State(phase=phase, job_id="7", **fields), job)
    assert SECRET not in json.dumps(kept.to_dict())
    assert SECRET not in json.dumps(handle_of(State(phase=phase, job_id="7", **fields), "api"))
    assert kept.phase is (Phase.POLL if phase is Phase.FETCH else phase)


@pytest.mark.parametrize(
    "url", [f"{BASE}/jobs/7", f"{BASE}/jobs/7?key=orders&code=E1&page_token=abc", "/a?b"]
)
def test_another_url_is_stored_as_it_is(url: str) -> None:
    state = State(phase=Phase.FETCH, status_url=url, result_url=url, values={"a": url})
    assert storable(state, make_job()) is state


def test_a_value_that_is_sent_as_a_credential_is_not_stored_and_masked() -> None:
    job = make_job(
        job_id="$.id",
        status_request={"endpoint": "/jobs/{job_id}", "headers": {"Authorization": "Bearer {ticket}"}},
        message_path="$.m",
    )
    driven = Driven(make_call(job=job), make_api(redactor=Redactor()))
    driven.answer(202, {"id": "7", "ticket": SECRET})
    assert driven.state.values["ticket"] == SECRET
    assert SECRET not in json.dumps(storable(driven.state, job).to_dict())
    event = driven.answer(200, {"status": "running", "m": f"your {SECRET}", "ticket": SECRET})
    assert ("Authorization", f"Bearer {SECRET}") in list(driven.requests[-1].headers)
    assert event is not None
    assert "your ***" in event.message
    driven.answer(200, {"status": "running"})
    assert ("Authorization", f"Bearer {SECRET}") in list(driven.requests[-1].headers)


@pytest.mark.parametrize("field", ["status_url", "result_url"])
def test_what_was_not_stored_is_not_asked_for(field: str) -> None:
    given = {"status_url": f"{BASE}/jobs/7", field: SIGNED[0]}
    phase = Phase.FETCH if field == "result_url" else Phase.POLL
    kept = storable(State(phase=phase, job_id="7", submitted_at=T0, **given), make_job())
    driven = Driven(make_call(), state=kept.at(phase))
    error = driven.error()
    assert isinstance(error, NothingToFollowError)
    assert "may still be running" in error.message
    assert "job.status_request" in error.message
