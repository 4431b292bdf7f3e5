"""A rendered request stays within what its author wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.written import check_rendered

OUT = [
    "../../admin",
    "..",
    "%2e%2e/admin",
    "%252e%252e%252fadmin",
    "..\\admin",
    "..%5cadmin",
    "..;/admin",
    "a/../b",
]
#: Where a request can stand among the parameters.
PLACES = {
    "endpoint": lambda value: {"endpoint": value},
    "csrf_token_endpoint": lambda value: {"csrf_token_endpoint": value},
    "status_request": lambda value: {"status_request": value},
    "job.status_request": lambda value: {"job": {"status_request": value}},
    "job.cancel_request.endpoint": lambda value: {"job": {"cancel_request": {"endpoint": value}}},
    "job.reconcile.request": lambda value: {"job": {"reconcile": {"request": value}}},
}


def refused(written: Any, rendered: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        list(check_rendered(written, rendered))
    return str(caught.value.data["parameter"])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("added", [*OUT, "7?admin=1", "7#"])
def test_a_rendered_value_adds_neither_steps_up_nor_a_query(place: str, added: str) -> None:
    of = PLACES[place]
    assert refused(of("/jobs/{{ params.id }}/stop"), of(f"/jobs/{added}/stop")) == place
    assert refused(of("{{ params.path }}"), of(added)) == place
    assert refused({}, of(f"/{added}")) == place, "nothing is written of what an upstream task returned"
    assert list(check_rendered(of(f"/{added}"), of(f"/{added}"))) == []


@pytest.mark.parametrize(
    ("written", "rendered"),
    [
        ("../v2/{{ x }}", "../v2/7"),
        ("/jobs?day={{ ds }}", "/jobs?day=2026-01-02?"),
        ("/jobs{% if x %}?all=1{% endif %}", "/jobs?all=1"),
        ("/jobs/{{ x }}", "/jobs/a/b..c/v1.2.;x"),
        ("/{{ x }}", "/a%20b%2Fc"),
        ("{{ x }}", "//evil.example/x"),
        ("/x/{{ a }}/{job_id}", "/x/{{ 7 }}/{job_id}"),
    ],
)
def test_what_an_author_wrote_and_a_template_fills_in(written: str, rendered: str) -> None:
    assert list(check_rendered({"endpoint": written}, {"endpoint": rendered})) == []


@pytest.mark.parametrize(
    "written", ["{{ a.split('?')[0] }}/{{ b }}", "{# ? # .. #}/{{ b }}", "/{{ '/../?' }}{{ b }}"]
)
def test_what_stands_in_an_expression_is_not_in_the_endpoint(written: str) -> None:
    for added in ("x?y", "x#y", "../x"):
        assert refused({"endpoint": written}, {"endpoint": f"/x/{added}"}) == "endpoint"


def test_an_absolute_url_that_a_template_makes_is_reported() -> None:
    url = "https://h/x"
    assert list(check_rendered({"endpoint": "{{ url }}"}, {"endpoint": url})) == [("endpoint", url)]
    assert list(check_rendered({"endpoint": "https://h/{{ x }}"}, {"endpoint": url})) == []


FILE = {"path": "/etc/passwd"}


@pytest.mark.parametrize("file", [FILE, {**FILE, "filename": "x"}, Path("/etc/passwd")])
def test_only_a_path_that_is_written_names_a_file(file: Any) -> None:
    for written in (
        None,
        "{{ params.body }}",
        object(),
        {"other": FILE},
        {"f": "{{ params.f }}"},
        {"f": [FILE]},
    ):
        form = {"body_format": "multipart", "body": {"f": file}}
        assert refused({"body": written}, form) == "body['f']"
    for written in ({"f": "{{ files }}"}, {"f": ["{{ file }}"]}, {"f": FILE}, {"f": [object()]}):
        assert refused({"body": written}, {"body_format": "MultiPart", "body": {"f": [file]}}) == "body['f']"
    assert refused({"body": "{{ body }}"}, {"body_format": "raw", "body": file}) == "body"
    request = {"method": "POST", "endpoint": "/x", "body_format": "raw", "body": file}
    job = {"job": {"status_request": request}}
    assert refused({"job": "{{ job }}"}, job) == "job.status_request.body"
    assert list(check_rendered(job, job)) == []


@pytest.mark.parametrize(
    ("body_format", "written", "rendered"),
    [
        ("multipart", {"f": {"path": "{{ x }}"}}, {"f": FILE}),
        ("multipart", {"f": [{"path": "{{ x }}"}, "{{ y }}"]}, {"f": [FILE, "z"]}),
        ("raw", {"path": object()}, FILE),
        ("raw", Path("{{ x }}"), Path("/etc/passwd")),
        ("json", "{{ x }}", FILE),
        (None, "{{ x }}", {"f": FILE}),
        ("multipart", "{{ x }}", {"f": {"content": FILE}}),
    ],
)
def test_the_value_of_a_written_path_may_be_rendered(body_format: Any, written: Any, rendered: Any) -> None:
    given = {"body": rendered, "body_format": body_format}
    assert list(check_rendered({"body": written}, given)) == []
