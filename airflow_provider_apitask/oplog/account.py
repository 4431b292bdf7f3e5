"""The operations of one task in one process, given to its hooks when the process is done with them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from airflow_provider_apitask.core.errors import ResponseValidationError
from airflow_provider_apitask.core.ledger import Ledger
from airflow_provider_apitask.core.records import OperationRecord, Owner
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.oplog.dispatch import emit

__all__ = ["Account", "new_id", "owner_of", "with_id"]


def new_id() -> str:
    """Make an id that nobody else has."""
    return uuid.uuid4().hex


def owner_of(task_instance: Any, api_conn_id: str | None) -> Owner:
    """The owner of a task's operations.

    :param task_instance: as Airflow gives it to a task or trigger; None where it gives none.
    """
    ti = task_instance
    return Owner(
        dag_id=getattr(ti, "dag_id", None),
        task_id=getattr(ti, "task_id", None),
        run_id=getattr(ti, "run_id", None),
        map_index=_number(getattr(ti, "map_index", -1), -1),
        try_number=_number(getattr(ti, "try_number", None), None),
        api_conn_id=api_conn_id,
    )


def with_id(state: State) -> State:
    """The state of a call with its id in the operation log, a new one where it has none."""
    return state if state.operation_id is not None else replace(state, operation_id=new_id())


class Account:
    """Gathers what a task does; a context manager that gives it to the hooks in the end.

    :param task_instance: whose operations these are.
    :param api_conn_id: of the connection they go through.
    :param hooks: of the task, see ``hooks.resolved``; None for those of the configuration.
    :param records: what another process left, such as a trigger.
    """

    def __init__(
        self,
        task_instance: Any,
        api_conn_id: str | None,
        hooks: Any = None,
        records: Iterable[OperationRecord] = (),
    ) -> None:
        self.owner = owner_of(task_instance, api_conn_id)
        self._hooks = hooks
        self._left = [record.owned_by(self.owner) for record in records]
        self._ledgers: list[Ledger] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ResponseValidationError) and self._ledgers:
            self._ledgers[0].overrule(error)
        # A deferral is the usual end of a process, though it is raised like an interrupt.
        deferred = kind is not None and kind.__name__ == "TaskDeferred"
        self.emit(interrupted=not (error is None or deferred or isinstance(error, Exception)))

    def ledger(self, api_conn_id: str | None = None) -> Ledger:
        """Open the ledger of an operation: each has one of its own, as a kill cancels from a thread.

        :param api_conn_id: of the connection, where that is known by now only.
        """
        owner = replace(self.owner, api_conn_id=api_conn_id or self.owner.api_conn_id)
        ledger = Ledger(owner, new_id)
        self._ledgers.append(ledger)
        return ledger

    def emit(self, *, interrupted: bool = False) -> None:
        """Give to the hooks what has gathered.

        :param interrupted: whether the process was stopped in the middle of it.
        """
        records, self._left = self._left, []
        for ledger in self._ledgers:
            records += ledger.take(interrupted=interrupted)
        emit(records, self._hooks)


def _number(value: Any, default: int | None) -> Any:
    return value if isinstance(value, int) else default
