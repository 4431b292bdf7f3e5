"""State crosses processes as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.state import STATE_VERSION, Phase, State

from .helpers import T0

FULL = State(
    phase=Phase.POLL_GRACE,
    job_id=7,
    values={"run": "r", "nested": {"a": [1, None]}},
    status_url="https://h/jobs/7",
    result_url="https://h/r/7",
    status="running",
    progress=0.5,
    submitted_at=T0,
    deadline_at=T0 + 5.5,
    next_at=T0 + 1,
    polls=3,
    attempts=2,
    failing_since=T0 + 0.25,
    inline=True,
    error={"kind": "answer", "message": "x", "data": {}},
)


@pytest.mark.parametrize("state", [State(), FULL, *(State(phase=phase) for phase in Phase)])
def test_round_trip(state: State) -> None:
    record = json.loads(json.dumps(state.to_dict(), allow_nan=False))
    assert State.from_dict(record) == state
    assert record["version"] == STATE_VERSION


def test_defaults_are_left_out() -> None:
    assert State().to_dict() == {"version": STATE_VERSION, "phase": "submit"}


def test_fields_of_a_later_minor_version_are_ignored() -> None:
    assert State.from_dict({**State().to_dict(), "new": 1}) == State()


_RECORD: dict[str, Any] = {"version": STATE_VERSION, "phase": "poll"}


@pytest.mark.parametrize("record", [None, [], "x", {}, {"phase": "poll"}, {"version": STATE_VERSION}])
def test_what_is_no_state_at_all(record: Any) -> None:
    with pytest.raises(ParameterError, match="no state of a call in version"):
        State.from_dict(record)


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 0},
        {"version": 2},
        {"version": "1"},
        {"phase": "odd"},
        {"phase": None},
        {"values": [1]},
        {"polls": "3"},
        {"polls": True},
        {"next_at": "soon"},
        {"deadline_at": [1]},
        {"status_url": 5},
        {"inline": 1},
        {"job_id": {"a": 1}},
        {"job_id": True},
        {"error": "x"},
    ],
)
def test_a_state_with_a_wrong_field_is_refused(wrong: dict[str, Any]) -> None:
    assert State.from_dict(_RECORD).phase is Phase.POLL
    with pytest.raises(ParameterError, match="no state of a call in version"):
        State.from_dict(_RECORD | wrong)


def test_phases() -> None:
    assert {phase for phase in Phase if not phase.ended} == {
        Phase.SUBMIT,
        Phase.RECONCILE,
        Phase.POLL,
        Phase.POLL_GRACE,
        Phase.EXPLAIN,
        Phase.CANCEL,
        Phase.FETCH,
    }
    assert {phase for phase in Phase if phase.for_triggerer} == {
        Phase.POLL,
        Phase.POLL_GRACE,
        Phase.EXPLAIN,
        Phase.CANCEL,
    }
    assert {phase for phase in Phase if phase.waiting} == {Phase.POLL, Phase.POLL_GRACE}


def test_repr_is_short() -> None:
    assert repr(FULL) == "<State poll_grace job=7 status='running' polls=3>"
