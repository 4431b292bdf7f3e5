"""What passes between the route of callbacks, the trigger and the worker: two XComs of the task instance.

========================  ================  =========================================================
key                       written by        what it says
========================  ================  =========================================================
``api_callback_expected``  the worker alone  whose callback is waited for, and that the call has ended
``api_callback``           the route alone   the deliveries, numbered from 1
========================  ================  =========================================================

Each has one writer, so nothing that the one writes is lost by what the other does. The worker removes the
deliveries when the call has ended; what comes later finds ``ended`` and is not stored.

No delivery falls between two places to wait in, whatever comes first:

* Before the submit's answer: the worker expects the callback before it submits, the route stores it, and
  the worker looks before it defers.
* While the task is being deferred: the route stores and looks at the task in one transaction that holds the
  row of the task instance, which Airflow holds too while it defers a task. Either the delivery was stored
  first, and the trigger finds it when it looks; or the task was deferred first.
* Just after it was deferred: the route does not wake it, see ``resume_guard``. The trigger checks for
  deliveries once, ``LOOK_AFTER_SECONDS`` after the guard has ended: the route wakes the task by then.
* While it is deferred: the route wakes it. After a restart of the triggerer the trigger looks again.
* While the worker reads another delivery: the number of those that were taken is in the state of the call,
  and it is looked again before the task is deferred.
* While the task waits for its next try: Airflow removes the XComs of a task when another try begins. The
  record of the call says where to ask for the job; for one that can only call back, see ``Kept``.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.triggers.xcom import aget_xcom

if TYPE_CHECKING:
    from airflow_provider_apitask.core.state import State

__all__ = [
    "DELIVERIES_KEY",
    "EXPECTED_KEY",
    "LOOK_AFTER_SECONDS",
    "Delivery",
    "as_record",
    "called",
    "deliveries_in",
    "has_ended",
]

log = logging.getLogger(__name__)

#: When the trigger checks for deliveries after the end of its guard: the route counts from the row of the
#: trigger, which is older, but a transaction of it takes some time.
LOOK_AFTER_SECONDS = 2.0
DELIVERIES_KEY = "api_callback"
EXPECTED_KEY = "api_callback_expected"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback.

    :param number: in the order in which they came, from 1.
    :param at: Unix time.
    """

    number: int
    at: float
    content_type: str | None
    body: bytes


def as_record(callback_id: str, deliveries: list[Delivery]) -> dict[str, Any]:
    """The deliveries for the XCom."""
    return {
        "id": callback_id,
        "deliveries": [
            {
                "number": one.number,
                "at": one.at,
                "content_type": one.content_type,
                "body": base64.b64encode(one.body).decode(),
            }
            for one in deliveries
        ],
    }


def deliveries_in(record: Any, callback_id: str | None, after: int = 0) -> list[Delivery]:
    """The deliveries of a record.

    :param callback_id: of the submit whose callbacks are meant; others are those of an earlier one.
    :param after: the number of the last one that was taken.
    """
    if not isinstance(record, Mapping) or callback_id is None or record.get("id") != callback_id:
        return []
    try:
        found = [
            Delivery(int(one["number"]), float(one["at"]), one["content_type"], base64.b64decode(one["body"]))
            for one in record["deliveries"]
        ]
    except (KeyError, TypeError, ValueError):
        log.warning("What a service has sent as a callback cannot be read and is not used.")
        return []
    return [one for one in found if one.number > after]


async def called(task_instance: Any, state: State) -> bool:
    """Whether there is a callback that no worker has taken, asked from a trigger.

    :param task_instance: of the trigger; None under ``dag.test()``.
    """
    if task_instance is None or state.callback_id is None:
        return False
    try:
        record = await aget_xcom(DELIVERIES_KEY, task_instance)
    except Exception as error:  # noqa: BLE001 - the job runs: it is waited for all the same
        log.warning("It could not be asked whether the service has called back: %r", error)
        return False
    return bool(deliveries_in(record, state.callback_id, state.called_back))


async def has_ended(task_instance: Any, state: State) -> bool:
    """Whether the call has ended on a worker, by a callback that ended this trigger too.

    :param task_instance: of the trigger; None under ``dag.test()``.
    """
    expected = await aget_xcom(EXPECTED_KEY, task_instance) if task_instance is not None else None
    if not isinstance(expected, Mapping):
        return False
    return expected.get("id") == state.callback_id and expected.get("ended") is True
