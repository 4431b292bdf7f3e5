"""How a try of a task begins after one that was killed, and what a Clear changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.durable import Record, Start, begin, is_notable, still_unseen
from airflow_provider_apitask.core.errors import (
    AuthenticationError,
    JobFailedError,
    JobLostError,
    ParameterError,
    RequestFailedError,
    UnknownStatusError,
)
from airflow_provider_apitask.core.idempotency import Idempotency
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.operation import Operation
from airflow_provider_apitask.core.state import Phase, State

from .helpers import (
    BASE,
    DROPPED,
    HTML,
    READ_TIMEOUT,
    T0,
    Driven,
    make_api,
    make_call,
    make_job,
    make_response,
)

KEYED = Idempotency(seed="dag\ntask\nrun")
JOB = f"{BASE}/jobs/7"
ACCEPTED: dict[str, Any] = {"job_id": "7", "status_url": JOB, "submitted_at": T0}
RECONCILE = {
    "status_request": "/jobs/{job_id}",
    "job_id": "$.id",
    "reconcile": {"request": "/jobs", "items": "$.jobs", "match": {"$.name": "nightly"}},
}


def started(state: State, call: Call | None = None, generation: int = 2) -> Start:
    """How a try begins when the one before it left this state."""
    record = json.loads(json.dumps(Record(generation=2, state=state).to_dict(), allow_nan=False))
    return begin(Record.from_dict(record), call or make_call(), generation)


def gone_on(state: State, call: Call | None = None) -> Driven:
    """The next try, driven."""
    call = call or make_call()
    driven = Driven(call)
    driven.operation = Operation(call, make_api(), start=started(state, call).move)
    return driven


# -- where the next try begins -------------------------------------------------------------------


def test_nothing_recorded() -> None:
    start = begin(None, make_call(idempotency=KEYED), 0)
    assert start.move.state == State(idempotency_key=KEYED.key(0))
    assert start.move.event is None
    assert start.stale is None


@pytest.mark.parametrize("phase", [Phase.POLL, Phase.POLL_GRACE, Phase.SUCCEEDED, Phase.CANCEL])
def test_a_job_is_gone_on_with(phase: Phase) -> None:
    state = State(
        phase=phase, deadline_at=T0 + 99, polls=4, attempts=3, failing_since=T0, inline=True, **ACCEPTED
    )
    driven = gone_on(state)
    assert driven.state == replace(
        state, phase=Phase.POLL, attempts=0, failing_since=None, inline=False, reattached=True
    )
    assert "started by an earlier try" in (driven.operation.first_event or "").message  # type: ignore[union-attr]
    assert still_unseen(driven.state)
    driven.answer(200, {"status": "running"})
    assert not still_unseen(driven.state)
    assert [request.purpose for request in driven.requests] == [Purpose.POLL]


def test_a_result_that_was_being_fetched_is_fetched() -> None:
    driven = gone_on(State(phase=Phase.FETCH, result_url=f"{JOB}/result", attempts=2, **ACCEPTED))
    assert driven.request().url == f"{JOB}/result"


def test_a_job_that_ended_in_between_is_not_submitted_again() -> None:
    driven = gone_on(State(phase=Phase.POLL, **ACCEPTED))
    driven.answer(200, {"status": "succeeded", "rows": 3})
    assert driven.done().value == {"status": "succeeded", "rows": 3}
    assert [request.purpose for request in driven.requests] == [Purpose.POLL]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_failed_in_between_is_followed_by_another(status: str) -> None:
    driven = gone_on(State(phase=Phase.POLL, idempotency_key="k", **ACCEPTED), make_call(idempotency=KEYED))
    event = driven.answer(200, {"status": status})
    assert "another one is submitted" in (event.message if event else "")
    assert driven.state == State(submission=1, idempotency_key=KEYED.key(1))
    sent = driven.request()
    assert (sent.purpose, sent.headers.get("Idempotency-Key")) == (Purpose.SUBMIT, KEYED.key(1))


def test_a_job_that_fails_later_is_this_trys_failure() -> None:
    driven = gone_on(State(phase=Phase.POLL, **ACCEPTED))
    driven.answer(200, {"status": "running"})
    driven.answer(200, {"status": "failed"})
    assert isinstance(driven.error(), JobFailedError)


def test_a_word_that_nobody_knows_starts_no_second_job() -> None:
    driven = gone_on(State(phase=Phase.POLL, **ACCEPTED))
    driven.answer(200, {"status": "odd"})
    assert isinstance(driven.error(), UnknownStatusError)


@pytest.mark.parametrize(
    ("on_lost", "cancel", "phase"),
    [
        ("fail", None, Phase.LOST),
        ("submit", None, Phase.SUBMIT),
        ("fail", "timeout", Phase.SUBMIT),  # what was cancelled may be removed
    ],
)
def test_a_job_that_the_server_does_not_know(on_lost: str, cancel: str | None, phase: Phase) -> None:
    call = make_call(job=make_job(on_lost=on_lost, not_found_grace=0))
    driven = gone_on(State(phase=Phase.POLL, cancel=cancel, **ACCEPTED), call)
    for _ in range(4):
        assert driven.phase.waiting
        driven.answer(404)
    assert driven.phase is phase


@pytest.mark.parametrize("on_lost", ["fail", "submit"])
def test_only_where_another_job_may_be_started_is_a_lost_one_retried(on_lost: str) -> None:
    driven = Driven.polling(make_job(on_lost=on_lost, not_found_grace=0))
    driven.answer(410)
    assert driven.error().retryable is (on_lost == "submit")
    again = gone_on(driven.state, driven.operation.call)
    assert again.phase is Phase.POLL, "it is asked for once more"
    again.answer(410)
    assert again.phase is (Phase.SUBMIT if on_lost == "submit" else Phase.LOST)


def test_a_lost_job_that_is_found_again_is_resumed() -> None:
    driven = Driven.polling(make_job(on_lost="submit", not_found_grace=0))
    for _ in range(4):
        driven.answer(404)
    assert driven.phase is Phase.LOST
    again = gone_on(driven.state, driven.operation.call)
    again.answer(200, {"status": "running"})
    assert again.phase is Phase.POLL
    again.answer(200, {"status": "succeeded"})
    assert again.phase is Phase.FETCH


@pytest.mark.parametrize(
    ("code", "body", "phase"),
    [
        (404, {"detail": "unknown job"}, Phase.SUBMIT),
        (404, HTML, Phase.POLL_GRACE),
        (503, None, Phase.POLL_GRACE),
    ],
)
def test_a_lost_job_that_is_still_unknown_is_submitted_at_once(code: int, body: Any, phase: Phase) -> None:
    driven = Driven.polling(make_job(on_lost="submit", not_found_grace=0))
    for _ in range(4):
        driven.answer(404)
    again = gone_on(driven.state, driven.operation.call)
    again.now = driven.now
    again.answer(code, body)
    assert again.phase is phase


def ended_by(error: Any, phase: Phase = Phase.FAILED, **changes: Any) -> State:
    return State(phase=phase, error=error.to_dict(), **{**ACCEPTED, **changes})


@pytest.mark.parametrize(
    ("state", "phase", "submission"),
    [
        (ended_by(JobFailedError("It failed.")), Phase.SUBMIT, 1),
        (ended_by(UnknownStatusError("odd")), Phase.POLL, 0),
        (ended_by(RequestFailedError("The status could not be read for 300 s.")), Phase.POLL, 0),
        (ended_by(JobLostError("It is not known."), Phase.LOST), Phase.POLL, 0),
        (ended_by(RequestFailedError("401"), submitted_at=None, job_id=None), Phase.SUBMIT, 0),
        (State(), Phase.SUBMIT, 0),
    ],
)
def test_what_an_ended_try_leaves(state: State, phase: Phase, submission: int) -> None:
    found = started(state).move.state
    assert (found.phase, found.submission) == (phase, submission)
    assert found.error is None


def test_reattach_can_be_switched_off() -> None:
    call = make_call(job=make_job(reattach=False), idempotency=KEYED)
    found = started(State(phase=Phase.POLL, **ACCEPTED), call).move.state
    assert found == State(submission=1, idempotency_key=KEYED.key(1))


# -- a submit whose outcome is not known ---------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.SUBMIT, Phase.SUBMIT_UNKNOWN, Phase.FAILED])
def test_the_same_key_is_sent_again(phase: Phase) -> None:
    state = State(phase=phase, intent_at=T0, idempotency_key="the same", submission=3)
    driven = gone_on(state, make_call(idempotency=KEYED))
    assert driven.request().headers.get("Idempotency-Key") == "the same"
    assert driven.state.submission == 3


def test_what_may_be_repeated_is() -> None:
    assert gone_on(State(intent_at=T0), make_call(method="PUT")).request().method == "PUT"


def test_the_server_is_asked_for_the_job() -> None:
    driven = gone_on(State(intent_at=T0), make_call(job=make_job(**RECONCILE)))
    assert driven.request().purpose is Purpose.RECONCILE


def test_else_it_is_said_that_nobody_knows() -> None:
    driven = gone_on(State(intent_at=T0))
    assert driven.phase is Phase.SUBMIT_UNKNOWN
    error = driven.error()
    assert not error.retryable
    assert "not sent again" in error.message
    assert not driven.requests


# -- what is noted of a submit -------------------------------------------------------------------


def submitting(**fields: Any) -> Driven:
    driven = Driven(make_call(**fields))
    driven.request()
    driven.operation.intend(driven.now)
    assert driven.state.intent_at == T0
    return driven


@pytest.mark.parametrize(
    ("inbound", "known"), [(READ_TIMEOUT, False), (DROPPED, False), (400, True), (503, True), (500, False)]
)
def test_an_answer_that_decides_ends_the_intent(inbound: Any, known: bool) -> None:
    driven = submitting()
    driven.operation.receive(make_response(inbound) if isinstance(inbound, int) else inbound, driven.now)
    assert (driven.state.intent_at is None) is known


def test_an_accepted_submit_ends_the_intent() -> None:
    driven = submitting()
    driven.answer(202, None, {"Location": JOB})
    assert (driven.state.intent_at, driven.state.submitted_at) == (None, T0)


def test_with_a_key_a_lost_answer_is_retried_by_airflow() -> None:
    driven = submitting(idempotency=KEYED)
    driven.tell(READ_TIMEOUT)
    assert driven.error().retryable
    assert "same idempotency key" in driven.error().message
    again = gone_on(driven.state, driven.operation.call)
    assert again.request().headers.get("Idempotency-Key") == KEYED.key(0)


def test_with_a_key_a_lost_answer_is_sent_again_in_the_task() -> None:
    driven = submitting(idempotency=KEYED, retries=1)
    driven.tell(READ_TIMEOUT)
    assert driven.request().headers.get("Idempotency-Key") == KEYED.key(0)


def test_the_header_is_the_authors() -> None:
    def sent(**fields: Any) -> list[str | None]:
        headers = Driven(make_call(idempotency=replace(KEYED, **fields))).request().headers
        return [headers.get("Idempotency-Key"), headers.get("X-Request-Id")]

    assert sent(header="X-Request-Id") == [None, KEYED.key(0)]
    assert sent(header=None) == [None, None]
    assert sent(seed="mine", fixed=True) == ["mine", None]


def test_keys_differ() -> None:
    seeds = [Idempotency(seed=seed) for seed in ("a", "b")]
    assert len({seed.key(submission) for seed in seeds for submission in range(3)}) == 6
    assert Idempotency(seed="a", fixed=True).key(7) == "a"


# -- a Clear -------------------------------------------------------------------------------------

CANCELS = make_job(cancel_request={"method": "DELETE"})


def test_a_clear_starts_another_job_and_cancels_the_one_of_before() -> None:
    state = State(phase=Phase.POLL_GRACE, polls=9, attempts=2, failing_since=T0, **ACCEPTED)
    start = started(state, make_call(job=CANCELS), generation=3)
    assert start.move.state == State()
    assert start.stale == State(phase=Phase.POLL, polls=9, **ACCEPTED)


@pytest.mark.parametrize(
    ("state", "stale"),
    [
        (State(phase=Phase.SUCCEEDED, **ACCEPTED), False),
        (State(phase=Phase.FETCH, **ACCEPTED), False),
        (State(intent_at=T0), False),
        (ended_by(JobFailedError("It failed.")), False),
        (ended_by(JobLostError("Gone."), Phase.LOST), True),
        (ended_by(AuthenticationError("to the login page")), True),
        (ended_by(UnknownStatusError("odd")), True),
        (ended_by(RequestFailedError("no status for 300 s")), True),
    ],
)
def test_only_what_may_still_run_is_cancelled(state: State, stale: bool) -> None:
    assert (started(state, make_call(job=CANCELS), generation=3).stale is not None) is stale


@pytest.mark.parametrize("job", [{}, {"cancel_request": {"method": "DELETE"}, "cancel_on": ["kill"]}])
def test_a_clear_cancels_only_where_the_author_says_so(job: dict[str, Any]) -> None:
    state = State(phase=Phase.POLL, **ACCEPTED)
    assert started(state, make_call(job=make_job(**job)), generation=3).stale is None


# -- the record ----------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [None, {}, [], "x", {"version": 2}, {"version": 1, "generation": "2"}])
def test_what_is_no_record(record: Any) -> None:
    assert Record.from_dict(record) is None


def test_a_record_that_is_broken() -> None:
    with pytest.raises(ParameterError):
        Record.from_dict({"version": 1, "generation": 2, "state": {"version": 1, "phase": "odd"}})


def test_what_is_worth_a_record() -> None:
    state = State(phase=Phase.POLL, polls=1, status="running", **ACCEPTED)
    assert is_notable(None, state)
    assert not is_notable(state, replace(state, polls=2, status="nearly", progress=50, next_at=T0))
    for change in ({"phase": Phase.FETCH}, {"status_url": BASE}, {"intent_at": T0}, {"cancel": "kill"}):
        assert is_notable(state, replace(state, **change))


def test_a_task_that_was_cleared_while_it_ran() -> None:
    call = make_call(job=CANCELS, idempotency=KEYED)
    record = Record(generation=2, state=State(phase=Phase.POLL, submission=1, **ACCEPTED), cleared=True)
    start = begin(Record.from_dict(record.to_dict()), call, 2)
    assert start.move.state == State(submission=2, idempotency_key=KEYED.key(2)), "another job, another key"
    assert start.stale is not None


def test_what_this_package_has_cancelled_is_not_cancelled_again() -> None:
    state = State(phase=Phase.POLL, cancel="clear", **ACCEPTED)
    assert started(state, make_call(job=CANCELS), generation=3).stale is None


def test_a_clear_in_doubt_is_told() -> None:
    start = started(State(intent_at=T0), generation=3)
    assert "may run" in (start.move.event.message if start.move.event else "")


def test_a_job_that_nobody_can_ask_for_is_not_started_again() -> None:
    state = State(phase=Phase.SUCCEEDED, job_id="7", submitted_at=T0, inline=True)
    move = started(state).move
    assert move.state.phase is Phase.FAILED
    assert "clear the task" in (move.error.message if move.error else "")
