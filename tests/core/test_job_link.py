"""The link to a job: found in an answer, fit to be stored and clicked on."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.errors import OriginError, ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.job_link import public_link
from airflow_provider_apitask.core.redaction import Redactor

from .helpers import BASE, Driven, make_call, make_job

SECRET = "s3cret/value"
RUNNING = {"status": "running"}
UI = "https://ui.example.com/jobs/7"


def submitted(path: str, body: Any = None, headers: dict[str, str] | None = None, **job: Any) -> Driven:
    driven = Driven(make_call(job=make_job(link_path=path, **job)))
    driven.answer(202, body, {"Location": "/v1/jobs/7", **(headers or {})})
    return driven


@pytest.mark.parametrize(
    ("path", "body", "link"),
    [
        ("$.links.ui", {"links": {"ui": UI}}, UI),
        ("links.ui", {"links": {"ui": "/ui/7"}}, "https://api.example.com/ui/7"),
        ("$.links[?(@.rel=='ui')].href", {"links": [{"rel": "x"}, {"rel": "ui", "href": UI}]}, UI),
        ("$.links[*].href", {"links": [{"href": None}, {"href": "mailto:a@b"}, {"href": UI}]}, UI),
        ("headers.X-Job-Page", None, "https://api.example.com/page/7"),
        ("headers.Location", None, f"{BASE}/jobs/7"),
        ("https://ui.example.com/jobs/{job_id}", None, UI),
        ("https://ui.example.com/jobs/{run.id}", {"run": {"id": 7}}, UI),
        (
            "https://ui.example.com/#/runs/{$.run}/log",
            {"run": "a b"},
            "https://ui.example.com/#/runs/a%20b/log",
        ),
        ("{status_url}", None, f"{BASE}/jobs/7"),
        ("{$.ui}?tab=log", {"ui": UI}, f"{UI}?tab=log"),
        ("/ui/{job_id}", None, "https://api.example.com/ui/7"),
    ],
)
def test_found_in_the_answer_to_the_submit(path: str, body: Any, link: str | None) -> None:
    driven = submitted(path, body, {"X-Job-Page": "/page/7"})
    assert driven.state.link == link


def test_found_in_a_later_answer_and_kept() -> None:
    driven = submitted("$.ui", {"id": 7})
    assert driven.state.link is None
    driven.answer(200, RUNNING)
    driven.answer(200, RUNNING | {"ui": UI})
    assert driven.state.link == UI
    # It stays the one that people have been shown, in another process too.
    driven = driven.through_json()
    driven.answer(200, RUNNING | {"ui": f"{UI}?later"})
    assert driven.state.link == UI


def test_found_where_a_condition_tells_that_the_job_runs_or_fails() -> None:
    for condition in ("running_when", "failure_when"):
        driven = submitted("$.ui", **{condition: {"$.s": 1}})
        driven.answer(200, {"s": 1, "ui": UI})
        assert driven.state.link == UI


@pytest.mark.parametrize(
    "found",
    [
        *("javascript:alert(1)", "java\nscript:alert(1)", " JavaScript://h/%0aalert(1)", "data:text/html,x"),
        *("ftp://h/x", "file:///etc/passwd", "http://[", "", 7, None, True, {"a": 1}, []),
        f"https://ui.example.com/{SECRET}/x",
        f"https://ui.example.com/{'a' * 2000}",
        "https://ui.example.com/jobs;jsessionid=abcdef",
    ],
)
def test_what_is_no_link_is_left_out_and_the_job_goes_on(found: Any) -> None:
    driven = Driven(make_call(job=make_job(link_path="$.ui")))
    driven.operation.api.redactor.add(SECRET)
    driven.answer(202, {"ui": found}, {"Location": "/v1/jobs/7"})
    assert driven.state.link is None
    driven.answer(200, RUNNING | {"ui": found})
    assert driven.state.link is None
    event = driven.answer(200, {"status": "succeeded"})
    assert event is not None
    assert "job.link_path='$.ui'" in event.message


@pytest.mark.parametrize("path", ["https://ui.example.com/{nowhere}", "{nowhere}", "https://h/{$.list}"])
def test_a_template_without_its_values_gives_no_link(path: str) -> None:
    driven = submitted(path, {"list": [1, 2]})
    driven.answer(200, RUNNING)
    assert driven.state.link is None
    driven.answer(200, {"status": "succeeded"})
    assert driven.done().error is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://user:pass@h/x", "https://h/x"),
        ("https://h/x?a=1&sig=abc&token=abc", "https://h/x?a=1"),
        ("https://h/x?api_key=abc&X-Amz-Signature=0f&X-Amz-Credential=c&X-Amz-Date=1&v=2", "https://h/x?v=2"),
        ("https://h/x?X-Goog-Signature=1&X-Goog-Expires=60", "https://h/x"),
        (f"https://h/x?q={SECRET}&b=2", "https://h/x?b=2"),
        ("https://h/x?next=https%3A%2F%2Fh%2F%3Ftoken%3Dabcdef&b=2", "https://h/x?b=2"),
        ("https://h/x?next=https%3A%2F%2Fh%2F&b", "https://h/x?next=https%3A%2F%2Fh%2F&b"),
        ("https://h/?o=12#job/3/run/4", "https://h/?o=12#job/3/run/4"),
        ("https://h/x#access_token=abc&state=1", "https://h/x"),
        ("https://h/x#/runs?token=abc", "https://h/x"),
        (f"https://h/x#/{SECRET}", "https://h/x"),
        ("https://h/ä b", "https://h/%C3%A4%20b"),
        ("//other.example.com/x", "https://other.example.com/x"),
        ("../runs/7", "https://api.example.com/v1/runs/7"),
    ],
)
def test_credentials_are_cut_out(given: str, kept: str) -> None:
    assert public_link(given, f"{BASE}/jobs/7", Redactor([SECRET])) == kept


def test_no_http_url_is_no_link() -> None:
    with pytest.raises(OriginError):
        public_link("javascript:alert(1)", BASE, Redactor())


@pytest.mark.parametrize("path", ["", "a..[", "$.a[", "javascript:alert({job_id})", "ftp://h/{job_id}", 7])
def test_what_cannot_be_a_link_path_is_refused(path: Any) -> None:
    with pytest.raises(ParameterError, match=r"job\.link_path"):
        AsyncJob(link_path=path).compiled()


def test_a_template_of_jinja_is_checked_when_it_is_rendered() -> None:
    AsyncJob(link_path="{{ var.value.ui }}/{job_id}")
