"""A default is a value: writing a documented default explicitly never changes behaviour."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.callback_spec import Callback
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.pagination import Pagination
from airflow_provider_apitask.core.reconcile_spec import Reconcile
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.core.value_object import ValueObject

from .helpers import Driven

#: Each declared object with fields that it cannot do without, and fields that an author may declare besides.
OBJECTS: dict[type[ValueObject], tuple[dict[str, Any], dict[str, Any]]] = {
    AsyncJob: (
        {},
        {
            "status_request": "/jobs/{job_id}",
            "status_path": "$.phase",
            "success_values": ["stopped", "ok"],
            "failure_values": ["bad"],
            "cancelled_values": ["done"],
            "running_values": ["failed"],
            "success_when": {"$.done": True},
            "failure_when": {"$.error": {"absent": False}},
            "unknown_status": "running",
            "poll_interval": 7200,
            "cancel_request": {"method": "DELETE"},
            "deadline": 60,
        },
    ),
    Callback: ({}, {"status_path": "$.s", "poll_interval": 9}),
    Pagination: ({"next_link": "$.next"}, {"items": "$.rows", "max_items": 5, "on_limit": "stop"}),
    Reconcile: ({"request": "/jobs"}, {"match": {"$.name": "n"}, "exists_codes": [409]}),
    RequestSpec: ({"endpoint": "/a"}, {"body": {"a": 1}, "params": {"b": 2}}),
    ResponseValidation: ({}, {"required_fields": ["a"], "success_when": {"$.ok": True}}),
}

#: What the reference says, so that a default cannot become another one unnoticed.
DOCUMENTED: dict[type[ValueObject], dict[str, Any]] = {
    AsyncJob: {
        "status_path": ("$.status", "$.state", "$.properties.provisioningState"),
        "unknown_status": "fail",
        "initial_delay": 0,
        "poll_interval": 15,
        "poll_factor": 1.0,
        "max_poll_interval": 3600,
        "status_grace": 300,
        "not_found_grace": 60,
        "cancel_on": ("kill", "timeout", "deadline", "clear"),
        "defer_after": 5,
        "required": True,
        "reattach": True,
        "on_lost": "fail",
    },
    Callback: {"expires": 7 * 24 * 3600, "poll_interval": 300},
    Pagination: {"missing_items": "fail", "next_method": "GET", "first_page": 1, "max_pages": 1000},
    Reconcile: {"settle": 10},
    RequestSpec: {"method": "GET", "body_format": "json"},
    ResponseValidation: {"expected_status_code": ("2xx",)},
}


def defaults(kind: type[ValueObject]) -> dict[str, Any]:
    """Every default that is a value, as an author writes it: JSON has lists."""
    found = {field.name: field.default for field in fields(kind) if field.default is not None}
    written = {name: json.loads(json.dumps(value)) for name, value in found.items()}
    required, _ = OBJECTS[kind]
    return {name: value for name, value in written.items() if name not in required}


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_defaults_are_the_documented_ones(kind: type[ValueObject]) -> None:
    real = {field.name: field.default for field in fields(kind)}
    assert {name: real[name] for name in DOCUMENTED[kind]} == DOCUMENTED[kind]


@settings(deadline=None)
@pytest.mark.parametrize("kind", OBJECTS)
@given(data=st.data())
def test_an_explicit_default_changes_nothing(kind: type[ValueObject], data: st.DataObject) -> None:
    required, optional = OBJECTS[kind]
    declared = {name: optional[name] for name in data.draw(st.sets(st.sampled_from(sorted(optional))))}
    written = defaults(kind)
    explicit = {name: written[name] for name in data.draw(st.sets(st.sampled_from(sorted(written))))}
    if kind is not RequestSpec and data.draw(st.booleans()):
        explicit = dict.fromkeys(explicit)  # YAML has "nothing" for a default
    without = kind.parse({**required, **declared}, "it")
    with_them = kind.parse({**required, **explicit, **declared}, "it")
    assert with_them == without
    assert with_them.to_dict() == without.to_dict()
    assert kind.parse(with_them.to_dict(), "it") == without


BODIES = [
    None,
    {},
    [],
    {"status": "done"},
    {"state": "Running"},
    {"status": "odd"},
    {"rows": 1},
    {"phase": "ok"},
]


@settings(deadline=None)
@given(data=st.data())
def test_an_explicit_default_changes_no_verdict(data: st.DataObject) -> None:
    optional, written = OBJECTS[AsyncJob][1], defaults(AsyncJob)
    declared = {name: optional[name] for name in data.draw(st.sets(st.sampled_from(sorted(optional))))}
    code = data.draw(st.sampled_from([200, 201, 202, 204, 206, 302, 304, 404, 410, 500]))
    body = data.draw(st.sampled_from(BODIES))
    seen = []
    for job in (declared, {**written, **declared}):
        driven = Driven.polling(AsyncJob(**job))
        for _ in range(2):
            if driven.phase.waiting:
                driven.answer(code, body)
        seen.append((driven.phase, driven.waits, driven.state.to_dict()))
    assert seen[0] == seen[1]
