"""Storing a callback in Airflow's database, and waking the task that waits for it.

One transaction: see ``triggers.callbacks`` for why nothing falls in between.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.redaction import MASK
from airflow_provider_apitask.hooks.callback_url import ROUTE, URL_PREFIX, Claim
from airflow_provider_apitask.triggers.callbacks import (
    DELIVERIES_KEY,
    EXPECTED_KEY,
    Delivery,
    as_record,
    deliveries_in,
)
from airflow_provider_apitask.triggers.handover import woken_event

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["Outcome", "deliver", "record"]

#: Deliveries that are kept for one task; of more the last ones.
_KEPT = 8
#: Longest of them together, bytes.
_LARGEST = 256 * 1024
#: What a task that has ended is.
_OVER = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})
_TRIGGER = "airflow_provider_apitask.triggers.api_status.ApiStatusTrigger"


class Outcome(Enum):
    """What became of a delivery, as the end of a sentence."""

    WOKEN = "stored, and the deferred task goes on"
    STORED = "stored, for the task to find"
    DUPLICATE = "known already, nothing was done"
    LATE = "too late, the task has ended; nothing was done"
    STALE = "for a submit that is not waited for any more, nothing was done"
    UNKNOWN = "refused, there is no such task"


_TAKEN = (Outcome.WOKEN, Outcome.STORED)


def deliver(claim: Claim, body: bytes, content_type: str | None, now: float) -> tuple[Outcome, str | None]:
    """Store a delivery and wake the task.

    :param now: Unix time.
    :returns: what became of it, and the id of the call in the operation log, where that is known.
    """
    from airflow.utils.session import create_session

    with create_session() as session:
        expected = _xcom(session, EXPECTED_KEY, _owner(claim))
        outcome = _deliver(session, claim, body, content_type, now)
    of_this = isinstance(expected, dict) and expected.get("id") == claim.callback_id
    return outcome, expected.get("operation_id") if of_this else None


def record(
    claim: Claim, outcome: Outcome, operation_id: str | None, size: int, begun: float, ended: float
) -> None:
    """Give the record of a delivery to the operation log; may take as long as its hooks are given.

    :param size: of the body, bytes.
    :param begun: Unix time.
    :param ended: Unix time.
    """
    from airflow_provider_apitask.core.records import OperationRecord, OperationStatus, Subtype
    from airflow_provider_apitask.oplog import emit, new_id

    known = outcome is not Outcome.UNKNOWN
    emit(
        [
            OperationRecord(
                record_id=new_id(),
                operation_id=operation_id or new_id(),
                subtype=Subtype.CALLBACK,
                status=OperationStatus.SUCCESS if known else OperationStatus.FAILED,
                started_at=begun,
                ended_at=ended,
                **_owner(claim),
                method="POST",
                url=f"{URL_PREFIX}{ROUTE}/{MASK}",
                http_status=200 if known else 404,
                requests=1,
                bytes_received=size,
                error_message=None if outcome in _TAKEN else f"The callback was {outcome.value}.",
            )
        ]
    )


def _deliver(session: Session, claim: Claim, body: bytes, content_type: str | None, now: float) -> Outcome:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    whose = {"dag_id": claim.dag_id, "task_id": claim.task_id, "run_id": claim.run_id}
    whose_row = (getattr(TaskInstance, name) == value for name, value in whose.items())
    ti: Any = session.scalar(
        select(TaskInstance)
        .where(*whose_row, TaskInstance.map_index == claim.map_index)
        .with_for_update(of=TaskInstance)
    )
    if ti is None:
        return Outcome.UNKNOWN
    if str(getattr(ti.state, "value", ti.state)) in _OVER:
        return Outcome.LATE
    owner = {**whose, "map_index": claim.map_index}
    expected = _xcom(session, EXPECTED_KEY, owner)
    if isinstance(expected, dict):
        if expected.get("id") != claim.callback_id:
            return Outcome.STALE
        if expected.get("ended"):
            return Outcome.DUPLICATE
    known = deliveries_in(_kept(session, owner), claim.callback_id)
    fresh = all(one.body != body for one in known)
    if fresh:
        number = known[-1].number + 1 if known else 1
        _keep(session, owner, claim.callback_id, [*known, Delivery(number, now, content_type, body)])
    woken = _wake(session, ti, claim, now)
    if not fresh:
        return Outcome.DUPLICATE
    return Outcome.WOKEN if woken else Outcome.STORED


def _wake(session: Session, ti: Any, claim: Claim, now: float) -> bool:
    """Have a deferred task go on that waits for this callback and has not taken all of it."""
    from airflow.models.trigger import Trigger
    from airflow.triggers.base import TriggerEvent

    session.refresh(ti)
    if str(getattr(ti.state, "value", ti.state)) != "deferred" or ti.trigger_id is None:
        return False
    trigger = session.get(Trigger, ti.trigger_id)
    if trigger is None or trigger.classpath != _TRIGGER:
        return False
    kwargs = trigger.kwargs
    state = kwargs.get("state") or {}
    taken = state.get("called_back", 0)
    pending = deliveries_in(_kept(session, _owner(claim)), claim.callback_id, taken)
    # The database's own time of the deferral: the clock of the worker may differ.
    guarded = now < trigger.created_date.timestamp() + kwargs.get("guard", 0.0)
    if state.get("callback_id") != claim.callback_id or not pending or guarded:
        return False
    event = woken_event(state, kwargs.get("since") or 0.0)
    Trigger.submit_event(trigger.id, TriggerEvent(event), session=session)
    return True


def _owner(claim: Claim) -> dict[str, Any]:
    return {
        "dag_id": claim.dag_id,
        "task_id": claim.task_id,
        "run_id": claim.run_id,
        "map_index": claim.map_index,
    }


def _kept(session: Session, owner: dict[str, Any]) -> Any:
    """The record of the deliveries: where Airflow keeps the state of a task, that of earlier tries too."""
    backend, scope = _task_state(owner)
    if backend is None:
        return _xcom(session, DELIVERIES_KEY, owner)
    text = backend.get(scope, DELIVERIES_KEY, session=session)
    return json.loads(text) if text else None


def _keep(session: Session, owner: dict[str, Any], callback_id: str, deliveries: list[Delivery]) -> None:
    from airflow.models.xcom import XComModel

    deliveries = deliveries[-_KEPT:]
    while len(deliveries) > 1 and sum(len(one.body) for one in deliveries) > _LARGEST:
        del deliveries[0]
    record = as_record(callback_id, deliveries)
    # For the trigger, which cannot read the other one.
    XComModel.set(DELIVERIES_KEY, record, serialize=False, session=session, **owner)
    backend, scope = _task_state(owner)
    if backend is not None:
        backend.set(scope, DELIVERIES_KEY, json.dumps(record), session=session)


def _task_state(owner: dict[str, Any]) -> tuple[Any, Any]:
    """Airflow's store of the state of tasks, and the task's place in it; None before Airflow 3.3."""
    try:
        from airflow.state import TaskScope, get_state_backend
    except ImportError:
        return None, None
    return get_state_backend(), TaskScope(**owner)


def _xcom(session: Session, key: str, owner: dict[str, Any]) -> Any:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    value = session.scalar(
        select(XComModel.value).where(
            XComModel.key == key, *(getattr(XComModel, name) == item for name, item in owner.items())
        )
    )
    return json.loads(value) if isinstance(value, str) else value
