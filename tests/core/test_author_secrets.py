"""Credentials that an author puts into requests are known, as a server may repeat them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.request_spec import RequestSpec


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"headers": {"Authorization": "Bearer abc", "Accept": "a/b"}}, {"Bearer abc", "abc"}),
        ({"headers": {"X-Api-Key": ["one", "two"]}}, {"one", "two"}),
        ({"params": {"api_key": "abc", "key": "orders", "a": "b"}}, {"abc"}),
        ({"body": {"user": {"name": "me", "password": "abc"}, "all": [{"token": b"def"}]}}, {"abc", "def"}),
        ({"body": [{"client_secret": "abc"}]}, {"abc"}),
        ({"body": {"token": 7, "secret": None, "max_tokens": "100"}}, set()),
        ({"body": "password=abc"}, set()),
        ({"headers": None, "params": "{{ later }}"}, set()),
    ],
)
def test_of_a_request(request_: dict[str, Any], found: set[str]) -> None:
    assert set(RequestSpec(**request_).secrets()) == found


def test_of_a_call() -> None:
    job = AsyncJob(
        status_request={"endpoint": "/s", "headers": {"X-Token": "status-token"}},
        result_request={"endpoint": "/r", "params": {"api_key": "result-key"}},
    )
    call = Call(request=RequestSpec(headers={"X-Token": "submit-token"}), job=job)
    assert set(call.secrets()) == {"submit-token", "status-token", "result-key"}
    assert set(Call().secrets()) == set()
