"""The handle of a job: a public, versioned dict of JSON values without a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core import handle as module
from airflow_provider_apitask.core.handle import handle_of, read_handle
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.exceptions import ParameterError

STATE = State(
    phase=Phase.POLL_GRACE,
    job_id="a/b",
    values={"run": 5, "access_token": "s3cret", "$.session_id": "s3cret"},
    status_url="https://api.example.com/jobs/1?code=s3cret&x=1",
    result_url="https://api.example.com/results/1?x=1",
    status="running",
    link="https://ui.example.com/jobs/1",
    submitted_at=1_770_000_000.25,
    deadline_at=1_770_000_060.0,
    polls=3,
    error={"message": "s3cret"},
)


def test_fields() -> None:
    handle = handle_of(STATE, "api")
    assert handle == {
        "version": 1,
        "api_conn_id": "api",
        "job_id": "a/b",
        "status": "running",
        "phase": "poll_grace",
        "status_url": "https://api.example.com/jobs/1?code=***&x=1",
        "result_url": "https://api.example.com/results/1?x=1",
        "link": "https://ui.example.com/jobs/1",
        "submitted_at": "2026-02-02T02:40:00.250+00:00",
        "deadline_at": "2026-02-02T02:41:00.000+00:00",
        "polls": 3,
        "values": {"run": 5},
        "operation_id": None,
    }
    assert json.loads(json.dumps(handle)) == handle
    for name in handle:
        assert f"``{name}``" in (module.__doc__ or ""), f"{name} is not documented"


@pytest.mark.parametrize("form", [dict, json.dumps, str])
def test_read_again(form: Any) -> None:
    url = "https://api.example.com/jobs/1?a=%2F&b"
    state = State(
        phase=Phase.SUCCEEDED,
        job_id=7,
        status_url=url,
        link=url,
        submitted_at=1.5,
        values={"a": None},
        polls=9,
    )
    # What is waited for is polled, whatever was seen of it; the checks are counted anew.
    expected = State(
        phase=Phase.POLL, job_id=7, status_url=url, link=url, submitted_at=1.5, values={"a": None}
    )
    assert read_handle(form(handle_of(state, "api"))) == expected


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", 2, "version 2"),
        ("status_url", "https://x/?code=***", "status_request"),
        ("status_url", 5, "must be a URL"),
        ("result_url", ["x"], "must be a URL"),
        ("submitted_at", "yesterday", "ISO 8601"),
        ("deadline_at", 5, "ISO 8601"),
        ("values", [1], "must be a dict"),
        ("link", "javascript:alert(1)", "http"),
        ("link", 5, "http"),
    ],
)
def test_wrong_fields_are_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=f"(?s)handle.*{message}"):
        read_handle({"version": 1, "job_id": 1, field: value})


def test_time_without_a_zone_is_utc() -> None:
    assert read_handle({"version": 1, "job_id": 1, "submitted_at": "1970-01-01T00:00:01"}).submitted_at == 1.0
