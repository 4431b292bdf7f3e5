"""The callbacks of one call as its worker sees them: expected, taken, forgotten at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.triggers.callbacks import DELIVERIES_KEY, EXPECTED_KEY, Delivery, deliveries_in
from airflow_provider_apitask.triggers.xcom import xcom_key

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.events import Event
    from airflow_provider_apitask.core.operation import Operation

__all__ = ["Callbacks"]

log = logging.getLogger(__name__)

#: How often a call that waits on the worker looks for a callback, seconds.
_LOOK_EVERY = 2.0


class Callbacks:
    """Reads what the route of callbacks has stored for a task instance.

    :param context: of the task.
    """

    def __init__(self, context: Context) -> None:
        self._ti: Any = context["ti"]
        #: Outlives a try (Airflow 3.3).
        self._store: Any = context.get("task_state_store")
        self._expected: str | None = None
        self._ended = False

    def expect(self, state: State) -> None:
        """Make the place where a callback waits; before the submit, as it may come before its answer."""
        if state.callback_id is None or state.callback_id == self._expected:
            return
        try:
            self._ti.xcom_push(key=EXPECTED_KEY, value=self._expectation(state))
        except Exception as error:
            if state.phase is Phase.SUBMIT:
                raise
            # The job of an earlier try runs: it must not be lost over that.
            log.warning("That a callback is expected could not be stored: %r", error)
        self._expected = state.callback_id

    @staticmethod
    def _expectation(state: State) -> dict[str, Any]:
        return {"id": state.callback_id, "operation_id": state.operation_id}

    def resume(self, state: State) -> None:
        """A worker before this one has made that place."""
        self._expected = state.callback_id

    def pending(self, state: State) -> list[Delivery]:
        """What has come and was not taken yet."""
        try:
            if self._store is not None:
                record = self._store.get(DELIVERIES_KEY)
            else:
                record = self._ti.xcom_pull(
                    task_ids=self._ti.task_id, key=DELIVERIES_KEY, map_indexes=self._ti.map_index
                )
        except Exception as error:  # noqa: BLE001 - the job runs: it is waited for all the same
            log.warning("It could not be asked whether the service has called back: %r", error)
            return []
        return deliveries_in(record, state.callback_id, state.called_back)

    def take(self, operation: Operation, report: Callable[[Event], None]) -> bool:
        """Take what has come, in its order; whether there was anything.

        :param report: takes what is worth a line in the log.
        """
        pending = self.pending(operation.state)
        for delivery in pending:
            # Counted by their numbers: of many, the first are not kept.
            operation.state = replace(operation.state, called_back=delivery.number - 1)
            event = operation.called_back(delivery.body, delivery.content_type, time.time())
            if event is not None:
                report(event)
        return bool(pending)

    def sleep(self, seconds: float, operation: Operation, report: Callable[[Event], None]) -> None:
        """Wait on the worker; a callback ends it."""
        if not self.take(operation, report):
            time.sleep(min(seconds, _LOOK_EVERY))

    def end(self, state: State, *, good: bool) -> None:
        """Nothing is waited for any more; what has come is removed.

        :param good: whether the task has its result. Where it has not, another try may need what has come.
        """
        from airflow.providers.common.compat.sdk import XCom

        if state.callback_id is None:
            return
        try:
            if not self._ended:
                self._ti.xcom_push(key=EXPECTED_KEY, value={**self._expectation(state), "ended": True})
                XCom.delete(key=DELIVERIES_KEY, **xcom_key(self._ti))
                self._ended = True
            if self._store is not None and good:
                self._store.delete(DELIVERIES_KEY)
        except Exception as error:  # noqa: BLE001 - the call has ended: this must not change how
            log.warning("What the service has sent could not be removed: %r", error)
