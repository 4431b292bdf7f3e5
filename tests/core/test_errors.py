"""One tree of errors that carry data and cross processes."""

from __future__ import annotations

import json

import pytest

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.core import errors
from airflow_provider_apitask.core.errors import (
    AnswerError,
    ApiTaskError,
    SubmitUnknownError,
    error_from_dict,
)
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.redaction import Redactor

_CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ApiTaskError)
]


@pytest.mark.parametrize("cls", _CLASSES)
def test_every_error_crosses_as_json(cls: type[ApiTaskError]) -> None:
    error = cls("it failed", status_code=500, url=None)
    again = error_from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(again) is cls
    assert (again.message, again.data, again.retryable) == ("it failed", {"status_code": 500}, cls.retryable)


def test_kinds_are_all_different() -> None:
    assert len({cls.kind for cls in _CLASSES}) == len(_CLASSES)


def test_one_error_may_be_worse_than_its_class() -> None:
    error = AnswerError("x").with_data(retryable=False, job_id=7)
    again = error_from_dict(error.redacted(Redactor()).to_dict())
    assert not again.retryable
    assert AnswerError("y").retryable
    assert again.with_data(job_id=8).data["job_id"] == 7, "what it has already stays"


@pytest.mark.parametrize(
    "record", [{}, {"kind": "no such"}, {"message": None, "data": [1]}, {"data": {"message": "x"}}]
)
def test_an_error_of_another_version(record: dict[str, object]) -> None:
    error = error_from_dict(record)
    assert type(error) is ApiTaskError
    assert error.message


def test_a_class_derived_further_does_not_take_the_kind() -> None:
    type("SubmitUnknownError", (SubmitUnknownError,), {})
    assert type(error_from_dict({"kind": "submit_unknown", "message": "x"})) is SubmitUnknownError


def test_redacted() -> None:
    error = AnswerError("saw hunter2", url="https://h/?token=x", values=["hunter2"]).redacted(
        Redactor(["hunter2"])
    )
    assert "hunter2" not in str(error)
    assert error.data == {"url": "https://h/?token=***", "values": ["***"]}
    event = Event(EventKind.STATUS, "saw hunter2", {"status": "hunter2"}).redacted(Redactor(["hunter2"]))
    assert (event.message, event.data) == ("saw ***", {"status": "***"})


def test_the_public_module_has_them_all() -> None:
    assert set(exceptions.__all__) == set(errors.__all__)
    for name in errors.__all__:
        assert getattr(exceptions, name) is getattr(errors, name)
