"""What becomes of an answer: rules, functions of the author, and what is handed on."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.exceptions import ParameterError, RequestFailedError, ResponseValidationError
from tests.support import Answer
from tests.support.job_server import JobServer

from .helpers import FAST, call, context_for, run

GOOD = {"status": "ok", "data": {"id": 7}, "items": [1, 2]}
RULES: dict[str, Any] = {
    "expected_status_code": [200, "404"],
    "required_fields": ["data.id"],
    "field_checks": {"status": {"type": "str", "value": "ok"}},
}


def answered(jobs: JobServer, answer: Answer, **kwargs: Any) -> Any:
    """What a synchronous call returns."""
    jobs.on(kwargs.get("method", "POST"), "/jobs", answer)
    task = call(**kwargs)
    return task.execute(context_for(task, **kwargs.pop("context", {})))


def test_a_good_answer_is_returned(jobs: JobServer) -> None:
    rules = ResponseValidation(**RULES)
    assert answered(jobs, Answer(json=GOOD), response_validation=rules) == GOOD


def test_a_code_that_is_expected_is_a_good_one(jobs: JobServer) -> None:
    gone = {"status": "ok", "data": {"id": None}}
    assert answered(jobs, Answer(404, gone), response_validation=RULES) == gone


def test_a_code_that_is_not_is_none(jobs: JobServer) -> None:
    with pytest.raises(RequestFailedError, match="503"):
        answered(jobs, Answer(503, GOOD), response_validation=RULES)
    with pytest.raises(ResponseValidationError, match="201"):
        answered(jobs, Answer(201, GOOD), response_validation=RULES)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_all_that_is_wrong_is_said_at_once(jobs: JobServer, method: str) -> None:
    with pytest.raises(ResponseValidationError) as caught:
        answered(jobs, Answer(202, {"status": 5}), method=method, response_validation=RULES)
    assert [violation["rule"] for violation in caught.value.data["violations"]] == [
        "expected_status_code",
        "required_fields",
        "field_checks.type",
    ]
    assert isinstance(caught.value, AirflowFailException) is (method == "POST"), "a POST is not done twice"


@pytest.mark.parametrize("deferrable", [True, False])
def test_of_a_job_the_result_is_checked(jobs: JobServer, deferrable: bool) -> None:
    jobs.result = GOOD
    more = {"job": {**FAST, "result_request": "/jobs/{job_id}/result"}, "deferrable": deferrable}
    rules = {"required_fields": ["data.id", "rows"]}
    task = call(**more, response_validation=RULES)
    value = run(task) if deferrable else task.execute(context_for(task))
    assert value == GOOD
    task = call(**more, response_validation=rules)
    with pytest.raises(ResponseValidationError, match="rows"):
        run(task) if deferrable else task.execute(context_for(task))


def test_rules_are_rendered(jobs: JobServer) -> None:
    rules = {"field_checks": {"data.id": {"value": "{{ params.id }}"}}}
    jobs.on("POST", "/jobs", Answer(json={"data": {"id": "7"}}))
    task = call(response_validation=rules)
    assert task.execute(context_for(task, params={"id": "7"})) == {"data": {"id": "7"}}
    task = call(response_validation=rules)
    with pytest.raises(ResponseValidationError):
        task.execute(context_for(task, params={"id": "8"}))


# -- response_handling ---------------------------------------------------------------------------


def test_what_is_only_checked_is_not_handed_on(jobs: JobServer) -> None:
    kwargs = {"response_handling": "validate", "response_validation": RULES}
    assert answered(jobs, Answer(json=GOOD), **kwargs) is None
    with pytest.raises(ResponseValidationError):
        answered(jobs, Answer(json={}), **kwargs)


def test_what_is_ignored_is_not_even_read(jobs: JobServer) -> None:
    broken = Answer(body=b"{", headers=[("Content-Type", "application/json")])
    assert answered(jobs, broken, response_handling="ignore") is None
    with pytest.raises(RequestFailedError):
        answered(jobs, Answer(500), method="GET", response_handling="ignore")


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_handling": "keep"},
        {"response_handling": "validate"},
        {"response_handling": "ignore", "response_validation": RULES},
        {"response_handling": "ignore", "response_filter": str},
        {"response_validation": {"status": 200}},
        {"response_check": "no path"},
        {"response_check": 7},
        {"response_filter": "alone"},
    ],
)
def test_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        call(**wrong)


# -- the author's functions ----------------------------------------------------------------------


def is_complete(response: Any, params: dict[str, Any]) -> bool:
    """A check as HttpOperator takes it: the answer, and of the context what it names."""
    return bool(response.json()["data"]["id"] == params["id"] and response.status_code == 200)


def names(response: Any, **context: Any) -> Any:
    return [response.headers["content-type"], response.text[:2], response.ok, context["params"]["id"]]


IDS = {"params": {"id": 7}}


@pytest.mark.parametrize("check", [is_complete, f"{__name__}.is_complete", f"{__name__}:is_complete"])
def test_a_check(jobs: JobServer, check: Any) -> None:
    jobs.on("POST", "/jobs", Answer(json=GOOD))
    task = call(response_check=check)
    assert task.execute(context_for(task, **IDS)) == GOOD
    with pytest.raises(ResponseValidationError, match="returned False") as caught:
        task.execute(context_for(task, params={"id": 8}))
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_filter_of_a_jobs_result(jobs: JobServer, deferrable: bool) -> None:
    task = call(
        job={**FAST, "result_request": "/jobs/{job_id}/result"},
        deferrable=deferrable,
        response_check=lambda response: response.json() == {"rows": 3},
        response_filter=names,
    )
    value = run(task, **IDS) if deferrable else task.execute(context_for(task, **IDS))
    assert value == ["application/json", '{"', True, 7]


def test_a_filter_of_what_is_only_checked(jobs: JobServer) -> None:
    seen: list[Any] = []
    kwargs = {"response_handling": "validate", "response_check": lambda r: seen.append(r) or True}
    assert answered(jobs, Answer(json=GOOD), **kwargs) is None
    assert seen[0].json() == GOOD


def test_a_check_that_returns_nothing_is_no_yes(jobs: JobServer) -> None:
    with pytest.raises(ResponseValidationError, match="returned None"):
        answered(jobs, Answer(json=GOOD), response_check=lambda response: None)


def _raises(error: Exception) -> Any:
    def function(response: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize(("method", "error"), [("POST", ResponseValidationError), ("GET", KeyError)])
def test_a_function_that_raises(jobs: JobServer, method: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="rows") as caught:
        answered(jobs, Answer(json=GOOD), method=method, response_filter=_raises(KeyError("rows")))
    if method == "POST":
        assert isinstance(caught.value, AirflowFailException)
        assert "carried out" in str(caught.value)
        assert isinstance(caught.value.__cause__, KeyError) or caught.value.__suppress_context__


def test_a_function_can_say_what_airflow_shall_do(jobs: JobServer) -> None:
    with pytest.raises(AirflowSkipException):
        answered(jobs, Answer(json=GOOD), response_check=_raises(AirflowSkipException("nothing new")))


def test_a_function_that_is_not_there(jobs: JobServer) -> None:
    with pytest.raises(ParameterError, match="nowhere"):
        answered(jobs, Answer(json=GOOD), response_check="nowhere.is_complete")


# -- retries within the task ---------------------------------------------------------------------


def test_a_code_that_is_worth_another_try(jobs: JobServer) -> None:
    jobs.once("POST", "/jobs", Answer(409))
    jobs.once("POST", "/jobs", Answer(409))
    kwargs = {"retry_count": 2, "retry_wait": 0.05, "retry_factor": 1, "retry_codes": [409, "423-425"]}
    assert answered(jobs, Answer(json=GOOD), **kwargs) == GOOD
    assert len(jobs.requests("POST")) == 3


@pytest.mark.parametrize("wrong", [{"retry_codes": 42}, {"retry_codes": []}, {"retry_factor": 0.5}])
def test_what_is_no_retry(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        call(**wrong)
