"""Value objects: each is the same as the dict that it makes, and takes no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.pagination import Pagination
from airflow_provider_apitask.core.reconcile_spec import Reconcile
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.core.value_object import ValueObject

_GIVEN: list[tuple[type[ValueObject], dict[str, Any]]] = [
    (
        AsyncJob,
        {
            "status_request": {"endpoint": "/jobs/{id}", "params": {"full": True}},
            "cancel_request": {"method": "DELETE", "endpoint": "/jobs/{id}"},
            "success_when": [{"$.done": [True], "$.code": {"min": 1}}],
            "reconcile": {"request": {"endpoint": "/jobs"}, "match": {"name": "x"}},
            "poll_interval": 3,
        },
    ),
    (Pagination, {"items": "$.items", "page_param": "page", "limit_param": "per_page", "limit": 50}),
    (
        ResponseValidation,
        {
            "expected_status_code": [200],
            "field_checks": {"status": {"value": None}, "n": {"type": ["integer"], "optional": True}},
            "failure_when": [{"status_code": [500]}],
        },
    ),
    (FieldCheck, {"value": None, "one_of": [1, None]}),
    (Reconcile, {"request": {"endpoint": "/jobs"}, "items": "$.jobs", "settle": 5}),
    (RequestSpec, {"method": "POST", "endpoint": "/x", "body": {"a": [1]}}),
]
_KINDS = pytest.mark.parametrize(("kind", "given"), _GIVEN, ids=lambda case: getattr(case, "__name__", ""))


@_KINDS
def test_what_is_given_is_what_comes_back(kind: type[ValueObject], given: dict[str, Any]) -> None:
    value = kind.parse(given, "here")
    assert value.to_dict() == given
    assert kind.parse(json.loads(json.dumps(value.to_dict())), "here") == value
    assert kind.parse(value, "here") == value
    assert kind.as_template(given, "here") == kind.as_template(value, "here") == given


@_KINDS
def test_what_is_given_stays_as_it_was(kind: type[ValueObject], given: dict[str, Any]) -> None:
    before = json.dumps(given)
    kind.parse(given, "here").to_dict()
    assert json.dumps(given) == before


@_KINDS
def test_a_template_of_the_whole_waits_for_the_run(kind: type[ValueObject], given: dict[str, Any]) -> None:
    assert kind.as_template("{{ var.json.x }}", "here") == "{{ var.json.x }}"
    assert kind.as_template(None, "here") is None


@_KINDS
@pytest.mark.parametrize("other", [7, ["x"], {"nobody_knows": 1}])
def test_anything_else_is_refused_by_name(kind: type[ValueObject], given: dict[str, Any], other: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        kind.parse(other, "here")
    assert str(caught.value).startswith("here ")
    assert caught.value.data["parameter"].startswith("here")
