"""``{status_url}`` is the URL that is polled, and ``{result_url}`` the server's."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.errors import NothingToFollowError, ParameterError
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.operation import Send
from airflow_provider_apitask.core.state import Phase

from .helpers import BASE, READ_TIMEOUT, Driven, make_call, make_job

CANCEL = {"cancel_request": {"method": "DELETE"}}
OPERATION = {"Operation-Location": f"{BASE}/operations/7", "Location": f"{BASE}/r/7"}


def polled(job: dict[str, Any], headers: dict[str, str] | None = None) -> Driven:
    """A call whose job was submitted and polled once."""
    driven = Driven(make_call(job=make_job(**job)))
    driven.answer(202, {"id": 7}, headers)
    driven.answer(200, {"status": "running"})
    return driven


def found(job: dict[str, Any]) -> Driven:
    """A call whose submission got no response, and whose job was found and polled once."""
    driven = Driven(make_call(job=make_job(**job, reconcile={"request": "/jobs", "items": "$.jobs"})))
    driven.tell(READ_TIMEOUT)
    driven.answer(200, {"jobs": [{"id": 7}]})
    driven.answer(200, {"status": "running"})
    return driven


@pytest.mark.parametrize(
    ("status_request", "headers", "url"),
    [
        ("/jobs/{id}", None, f"{BASE}/jobs/7"),
        ("/jobs/{id}", OPERATION, f"{BASE}/jobs/7"),
        ({"endpoint": "/get", "params": {"id": "{id}"}}, OPERATION, f"{BASE}/get?id=7"),
        ({"endpoint": "/jobs/{job_id}", "method": "POST", "body": {"a": 1}}, None, f"{BASE}/jobs/7"),
        ("{status_url}/state", OPERATION, f"{BASE}/operations/7/state"),
        ({"headers": {"X-Zone": "z"}}, OPERATION, f"{BASE}/operations/7"),
        (None, OPERATION, f"{BASE}/operations/7"),
    ],
)
def test_a_cancel_without_an_endpoint_goes_to_the_url_that_was_polled(
    status_request: Any, headers: dict[str, str] | None, url: str
) -> None:
    driven = polled({"status_request": status_request, **CANCEL}, headers)
    assert driven.requests[-1].url == url
    driven.operation.cancel("kill")
    request = driven.request()
    assert (request.purpose, request.method, request.url, request.body) == (
        Purpose.CANCEL, "DELETE", url, None
    )  # fmt: skip


@pytest.mark.parametrize("begun", [polled, found])
def test_requests_below_the_url_that_is_polled(begun: Any) -> None:
    job = {"status_request": "/jobs/{id}?v=1", "result_request": "{status_url}/result", **CANCEL}
    driven = begun(job).through_json()
    assert driven.requests[-1].url == f"{BASE}/jobs/7?v=1"
    driven.answer(200, {"status": "done", "status_url": "/elsewhere"})
    assert driven.request().url == f"{BASE}/jobs/7/result?v=1"


def test_a_job_that_was_found_is_cancelled_at_its_url() -> None:
    driven = found({"status_request": "/jobs/{id}", **CANCEL})
    driven.operation.cancel("deadline")
    assert driven.request().url == f"{BASE}/jobs/7"


def test_a_result_request_without_an_endpoint_asks_the_url_that_was_polled() -> None:
    driven = polled({"status_request": "/jobs/{id}", "result_request": {"headers": {"Accept": "text/csv"}}})
    driven.answer(200, {"status": "done"})
    assert driven.request().url == f"{BASE}/jobs/7"


def test_the_link_is_the_url_that_is_polled() -> None:
    driven = polled({"status_request": "/jobs/{id}", "link_path": "{status_url}"}, OPERATION)
    assert driven.state.link == f"{BASE}/jobs/7"


def test_the_result_url_stays_the_servers() -> None:
    driven = polled({"status_request": "/jobs/{id}", "result_request": "{result_url}?full=1"}, OPERATION)
    driven.answer(200, {"status": "done"})
    assert driven.request().url == f"{BASE}/r/7?full=1"


def test_a_name_of_the_author_goes_before() -> None:
    driven = polled(
        {
            "extract": {"status_url": "$.id"},
            "status_request": "/jobs/{status_url}",
            "result_request": "/r/{status_url}",
        }
    )
    driven.answer(200, {"status": "done"})
    assert driven.request().url == f"{BASE}/r/7"


def test_nothing_names_a_url() -> None:
    driven = Driven.polling(make_job(**CANCEL), status_url=None)
    driven.operation.cancel("kill")
    assert not isinstance(driven.operation.step(driven.now), Send)
    assert driven.phase is Phase.CANCELLED
    assert "names no endpoint" in driven.error().message
    assert not isinstance(driven.error(), NothingToFollowError), "it ends with what it was cancelled for"


@pytest.mark.parametrize(
    ("job", "parameter", "said"),
    [
        ({}, "job.reconcile", "needs an endpoint in job.status_request"),
        ({"status_request": {"headers": {"A": "b"}}}, "job.reconcile", "needs an endpoint"),
        ({"status_request": "{status_url}/state"}, "job.status_request", "job.reconcile.extract"),
        ({"status_request": "/s", "result_request": "{result_url}"}, "job.result_request", "{$.result_url}"),
        (
            {"status_request": "/s", "cancel_request": {"endpoint": "/c", "body": {"of": "{result_url}"}}},
            "job.cancel_request",
            "{result_url}",
        ),
    ],
)
def test_what_a_job_that_was_found_could_not_resolve_fails_at_parsing(
    job: dict[str, Any], parameter: str, said: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        make_job(**job, reconcile={"request": "/jobs"})
    assert caught.value.data["parameter"] == parameter
    assert said in caught.value.message


@pytest.mark.parametrize(
    "job",
    [
        {"status_request": "/s", "result_request": "{status_url}/r", "cancel_request": {"method": "DELETE"}},
        {"status_request": "/s", "result_request": "{$.result_url}"},
        {"extract": {"result_url": "$.r"}, "status_request": "/s", "result_request": "{result_url}"},
        {"status_request": "{{ params.endpoint }}"},
    ],
)
def test_what_can_be_resolved_passes(job: dict[str, Any]) -> None:
    make_job(**job, reconcile={"request": "/jobs"})


def test_a_path_of_the_list_passes() -> None:
    search = {"request": "/jobs", "extract": {"result_url": "$.links.result"}}
    make_job(status_request="/s", result_request="{result_url}", reconcile=search)
