"""What value objects show of themselves: the fields that were given, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask import jobs
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.pagination import Pagination
from airflow_provider_apitask.core.reconcile_spec import Reconcile
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.validation import ResponseValidation


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AsyncJob(), "AsyncJob()"),
        (
            AsyncJob(poll_interval=5, unknown_status="running"),
            "AsyncJob(unknown_status='running', poll_interval=5)",
        ),
        (RequestSpec(endpoint="/x", method="POST"), "RequestSpec(method='POST', endpoint='/x')"),
        (Reconcile(request="/jobs"), "Reconcile(request='/jobs')"),
        (FieldCheck(min=1), "FieldCheck(min=1)"),
        (FieldCheck(value=None), "FieldCheck(value=None)"),
        (ResponseValidation(expected_status_code=200), "ResponseValidation(expected_status_code=[200])"),
        (Pagination(next_link="$.next"), "Pagination(next_link='$.next')"),
        (jobs.LOCATION, "AsyncJob()"),
    ],
)
def test_only_what_was_given_is_shown(value: Any, text: str) -> None:
    assert repr(value) == text


def test_repr_makes_the_same_again() -> None:
    job = jobs.databricks_run(poll_interval=3)
    names = {"AsyncJob": AsyncJob, "RequestSpec": RequestSpec, "FieldCheck": FieldCheck}
    assert eval(repr(job), names) == job


@pytest.mark.parametrize(
    "part",
    [
        {"headers": {"Authorization": "Bearer s3cr3t-value"}},
        {"headers": {"X-Api-Key": ["s3cr3t-value"]}},
        {"params": {"api_key": "s3cr3t-value"}},
        {"body": {"user": {"password": "s3cr3t-value"}}},
        {"body": b"s3cr3t-value", "body_format": "raw"},
        {"endpoint": "/x?token=s3cr3t-value&a=1"},
        {"endpoint": "https://ada:s3cr3t-value@api.example.com/x"},
    ],
)
def test_secrets_are_masked(part: dict[str, Any]) -> None:
    request = RequestSpec(**part).checked()
    job = AsyncJob(status_request=request, reconcile={"request": {"endpoint": "/r", **part}})
    assert "s3cr3t" not in repr(request) + repr(job)


def test_long_text_is_cut() -> None:
    assert len(repr(RequestSpec(body="x" * 10_000))) < 2100
