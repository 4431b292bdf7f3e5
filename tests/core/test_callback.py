"""A service that calls back: what that means for the job, in whatever order things come."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.callback_spec import Callback, expiry_of, seed_of
from airflow_provider_apitask.core.durable import Record, begin
from airflow_provider_apitask.core.errors import (
    JobCancelledError,
    JobFailedError,
    JobTimedOutError,
    ParameterError,
    UnknownStatusError,
)
from airflow_provider_apitask.core.operation import Operation, Send, Wait
from airflow_provider_apitask.core.redaction import Redactor, without_callback_urls
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State
from tests.core.helpers import T0, make_api, make_call, make_job, make_response

SEED = seed_of("n0nce", T0 + 1000)
URL = "https://airflow.example.com/apitask/callback/"
TOKEN = "WyJkYWciLCJ0YXNrIl0.c2lnbmF0dXJlLW9mLWl0"


def make_called(job: dict[str, Any] | None = None, **callback: Any) -> Call:
    return make_call(
        request=RequestSpec(
            method="POST", endpoint="/jobs", body={"hook": "{callback_url}", "raw": "{other}"}
        ),
        job=make_job(**(job or {})),
        callback=Callback(**callback),
        callback_seed=SEED,
        callback_url=lambda callback_id: f"{URL}{callback_id}",
    )


def submitted(call: Call, answer: Any = None) -> Operation:
    """The operation after its submit was taken, at T0."""
    operation = Operation(call, make_api())
    assert isinstance(operation.step(T0), Send)
    operation.receive(make_response(200, {"id": 7} if answer is None else answer), T0)
    return operation


def call_back(operation: Operation, payload: Any, at: float = T0 + 1, content_type: str | None = None) -> str:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    event = operation.called_back(body, content_type or "application/json", at)
    return event.message if event is not None else ""


ASKED = {"status_request": "/jobs/{id}"}


# -- the submit ----------------------------------------------------------------------------------


def test_the_url_is_put_into_the_submit_and_no_other_brace_is_touched() -> None:
    operation = Operation(make_called(), make_api())
    step = operation.step(T0)
    assert isinstance(step, Send)
    assert json.loads(step.request.body or b"") == {"hook": f"{URL}{SEED}.0", "raw": "{other}"}  # type: ignore[arg-type]
    assert expiry_of(operation.state.callback_id) == T0 + 1000


def test_the_same_submit_has_the_same_url_in_another_try_and_another_submit_has_another_one() -> None:
    call = make_called()
    unknown = replace(Operation(call, make_api()).state, intent_at=T0, idempotency_key="k")
    later = replace(call, callback_seed=seed_of("0ther", T0 + 9000))
    again = begin(Record(generation=0, state=unknown), later, 0).move.state
    assert again.callback_id == f"{SEED}.0"
    job = submitted(call).state
    assert begin(Record(generation=0, state=job), later, 0).move.state.callback_id == f"{SEED}.0"
    failed = replace(job, phase=Phase.FAILED, error=JobFailedError("x").to_dict())
    assert begin(Record(generation=0, state=failed), later, 0).move.state.callback_id == "0ther.1700009000.1"
    assert begin(Record(generation=0, state=job), later, 1).move.state.callback_id == "0ther.1700009000.0"


# -- with a status to be asked for ---------------------------------------------------------------


def test_checks_are_slow_until_the_service_calls_back() -> None:
    operation = submitted(make_called(ASKED))
    assert isinstance(operation.step(T0), Send)
    operation.receive(make_response(200, {"status": "running"}), T0)
    assert operation.step(T0 + 1) == Wait(T0 + 300)
    assert "to confirm that" in call_back(operation, {"status": "COMPLETED"})
    assert isinstance(operation.step(T0 + 1), Send)
    operation.receive(make_response(200, {"status": "running"}), T0 + 1)
    assert operation.state.phase is Phase.POLL
    assert operation.step(T0 + 1) == Wait(T0 + 11)


def test_a_check_that_fails_is_repeated_at_the_usual_pace() -> None:
    operation = submitted(make_called(ASKED))
    operation.step(T0)
    operation.receive(make_response(503), T0)
    assert operation.step(T0) == Wait(T0 + 10)


@pytest.mark.parametrize(
    "payload", [{"status": "COMPLETED"}, {"status": "FAILED"}, {"status": "HMM"}, {}, b"", b"{"]
)
def test_no_payload_ends_a_job_that_can_be_asked_for(payload: Any) -> None:
    operation = submitted(make_called(ASKED))
    call_back(operation, payload)
    assert operation.state.phase is Phase.POLL
    operation.step(T0 + 1)
    operation.receive(make_response(200, {"status": "completed", "rows": 3}), T0 + 1)
    done = operation.step(T0 + 1)
    assert done.value == {"status": "completed", "rows": 3}  # type: ignore[union-attr]


# -- without one ---------------------------------------------------------------------------------


def test_the_payload_decides_and_is_the_result() -> None:
    operation = submitted(make_called())
    assert operation.step(T0) == Wait(T0 + 1000)
    payload = {"@type": "callbackUrlResponse", "runId": 5, "status": "COMPLETED"}
    assert "is done" in call_back(operation, payload)
    assert operation.step(T0 + 1).value == payload  # type: ignore[union-attr]
    assert operation.state.phase is Phase.SUCCEEDED
    assert call_back(operation, {"status": "FAILED"}) == ""
    assert operation.state.phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "error"),
    [("FAILED", JobFailedError), ("STOPPED", JobCancelledError), ("HMM", UnknownStatusError)],
)
def test_any_other_word_means_what_it_means_in_a_check(status: str, error: type[Exception]) -> None:
    operation = submitted(make_called())
    call_back(operation, {"status": status, "message": "disk full"})
    assert isinstance(operation.step(T0 + 1).error, error)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "payload", [{"status": "RUNNING"}, {"status": None}, {}, b"", b"{", b"<html></html>"]
)
def test_what_says_nothing_of_the_end_changes_nothing(payload: Any) -> None:
    operation = submitted(make_called())
    call_back(operation, payload)
    assert operation.step(T0 + 1) == Wait(T0 + 1000)
    call_back(operation, {"status": "done"})
    assert operation.step(T0 + 1).error is None  # type: ignore[union-attr]


def test_a_form_is_read_as_json_is() -> None:
    operation = submitted(make_called(status_path="$.state", error_path="$.why"))
    form = "application/x-www-form-urlencoded; charset=utf-8"
    call_back(operation, b"state=failed&why=disk+full", content_type=form)
    assert "disk full" in str(operation.step(T0 + 1).error)  # type: ignore[union-attr]


def test_a_callback_about_another_job_is_ignored() -> None:
    operation = submitted(make_called({"job_id": "$.id"}, job_id_path="$.runId"))
    assert "'8', which is not that of this job" in call_back(operation, {"runId": "8", "status": "FAILED"})
    assert operation.step(T0 + 1) == Wait(T0 + 1000)
    call_back(operation, {"runId": "7", "status": "COMPLETED"})
    assert operation.step(T0 + 1).error is None  # type: ignore[union-attr]


def test_conditions_go_before_words() -> None:
    operation = submitted(make_called({"success_when": {"$.ok": True}}))
    call_back(operation, {"status": "completed"})
    assert operation.state.phase is Phase.POLL
    call_back(operation, {"status": "completed", "ok": True})
    assert operation.step(T0 + 1).error is None  # type: ignore[union-attr]


def test_it_never_comes() -> None:
    operation = submitted(make_called({"deadline": 60}))
    assert operation.step(T0) == Wait(T0 + 60)
    error = operation.step(T0 + 60).error  # type: ignore[union-attr]
    assert isinstance(error, JobTimedOutError)
    assert "was not called back for" in error.message


def test_it_never_comes_and_the_job_is_cancelled() -> None:
    operation = submitted(make_called({"deadline": 60, "cancel_request": "/jobs/{id}"}))
    step = operation.step(T0 + 60)
    assert isinstance(step, Send)
    assert step.request.method == "DELETE"


def test_another_try_waits_for_the_same_callback_again() -> None:
    call = make_called()
    taken = submitted(call)
    call_back(taken, {"status": "COMPLETED"})
    assert taken.state.called_back == 1
    start = begin(Record(generation=0, state=taken.state), call, 0)
    again = Operation(call, make_api(), start=start.move)
    assert (again.state.phase, again.state.called_back) == (Phase.POLL, 0)
    assert again.step(T0 + 1) == Wait(T0 + 1000)
    call_back(again, {"status": "COMPLETED"})
    assert again.step(T0 + 1).error is None  # type: ignore[union-attr]


# -- in any order --------------------------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["COMPLETED", "FAILED", "RUNNING", "HMM", ""]).map(lambda word: ("callback", word)),
        st.sampled_from(["running", "completed", "failed"]).map(lambda word: ("status", word)),
        st.just(("move", "")),
    ),
    max_size=25,
)


@given(EVENTS)
def test_where_a_status_can_be_asked_for_it_alone_ends_the_job(events: list[tuple[str, str]]) -> None:
    """Whatever is sent to the URL, and however often."""
    call, now, status = make_called(ASKED), T0, "running"
    operation = submitted(call)
    for kind, word in events:
        now += 1
        if kind == "callback":
            call_back(operation, {"status": word}, now)
        elif kind == "status":
            status = word
        else:  # another process goes on
            state = State.from_dict(operation.state.to_dict())
            operation = Operation(call, make_api(), state, answer=operation.answer)
        if isinstance(operation.step(now), Send):
            operation.receive(make_response(200, {"status": status}), now)
        ended = {"completed": Phase.SUCCEEDED, "failed": Phase.FAILED}.get(status)
        operation.step(now)
        assert operation.state.phase in (Phase.POLL, ended)
        if operation.state.phase.ended:
            return


@given(EVENTS)
def test_without_one_the_first_callback_that_ends_the_job_counts(events: list[tuple[str, str]]) -> None:
    ends = {"COMPLETED": Phase.SUCCEEDED, "FAILED": Phase.FAILED, "HMM": Phase.FAILED}
    expected, now = Phase.POLL, T0
    operation = submitted(make_called())
    for kind, word in events:
        now += 1
        if kind != "callback":
            continue
        if expected is Phase.POLL:
            expected = ends.get(word, Phase.POLL)
        call_back(operation, {"status": word}, now)
        operation.step(now)
        assert operation.state.phase is expected


# -- what authors write --------------------------------------------------------------------------


def test_a_callback_is_read_and_checked() -> None:
    assert Callback.as_template(True) == {}
    assert Callback.as_template(False) is None
    assert Callback.as_template({"expires": 60}) == {"expires": 60}
    assert Callback().lifetime(None) == 7 * 24 * 3600
    assert Callback().lifetime(10_000_000) == 10_003_600
    assert Callback(expires=5).lifetime(60) == 5
    for wrong in ({"expires": 0}, {"poll_interval": "soon"}, {"status_path": "$["}, {"url": "x"}, 7):
        with pytest.raises(ParameterError, match="callback"):
            Callback.as_template(wrong)


@pytest.mark.parametrize("text", ["", "a.b", "a.1.2.3", "a.-1.0", "a.x.0"])
def test_what_is_no_id(text: str) -> None:
    assert expiry_of(text) is None


# -- the secret ----------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["/", "\\/", "%2F", "%2f", "%252F"])
def test_a_url_that_a_server_repeats_is_masked_wherever_it_stands(slash: str) -> None:
    text = f"called https:{slash}{slash}airflow{slash}apitask{slash}callback{slash}{TOKEN}?x=1 and more"
    redactor = Redactor()
    for shown in (redactor.text(text), redactor.line(text), redactor.data({"a": [text]})["a"][0]):
        assert TOKEN not in shown
        assert "and more" in shown
    assert redactor.holds(text)
    assert TOKEN not in json.dumps(without_callback_urls({"a": [text, 7]}))
    assert TOKEN not in str(redactor.kept(f"{URL}{TOKEN}"))
