"""The record of a call in Airflow's task state store, which outlives the task's process (Airflow 3.3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.durable import Record, is_notable
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.storable import storable
from airflow_provider_apitask.triggers.handover import plain_json

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.job import AsyncJob

__all__ = ["RECORD_KEY", "Journal"]

log = logging.getLogger(__name__)

#: Key in the task state store.
RECORD_KEY = "api_job"


class Journal:
    """Reads and writes the record of one task instance.

    :param context: of the task.
    :param job: that the call follows; None to read alone.
    :param eager: record the state before anything is sent too.
    """

    def __init__(self, context: Context, job: AsyncJob | None = None, *, eager: bool = True) -> None:
        self._job = job
        ti: Any = context["ti"]
        # Airflow raises the number of tries when a user clears the task, and at no other time.
        self.generation = int(getattr(ti, "max_tries", 0) or 0)
        self._store: Any = context.get("task_state_store")
        self._written: State | None = None if eager else State()
        self._cleared = False

    @property
    def lasts(self) -> bool:
        """Whether this Airflow can keep a record."""
        return self._store is not None

    def read(self) -> Record | None:
        """What an earlier try left, None for nothing that can be used."""
        if self._store is None:
            return None
        found = self._store.get(RECORD_KEY)
        if found is not None:
            self._written = None  # whatever it says, the next state replaces it
        try:
            record = Record.from_dict(found)
        except ApiTaskError as error:
            log.warning("The record of an earlier try cannot be read and is not used: %s", error.message)
            return None
        if record is None and found is not None:
            log.warning(
                "The record of an earlier try is of another version of this package, and is not used."
            )
        return record

    def intend(self, state: State) -> None:
        """Record that the submission is about to be sent; an error here prevents the submission."""
        if state != self._written:
            self._write(state)

    def note(self, state: State) -> None:
        """Record where the call stands, where that matters to a later try."""
        if not is_notable(self._written, state):
            return
        try:
            self._write(state)
        except Exception as error:  # noqa: BLE001 - the job runs: it must not be lost over its record
            log.warning(
                "Where the job stands could not be recorded, so a retry may not find it again: %r", error
            )

    def clear(self, state: State | None) -> None:
        """Record that the task was cleared while it ran: its next try is to start another job.

        :param state: where the call stands, None before its first record.
        """
        self._cleared = True
        state = state if state is not None else self._written
        if state is None:
            return
        try:
            self._write(state)
        except Exception as error:  # noqa: BLE001 - the process is being killed: nobody else can help
            log.warning("The Clear could not be recorded, so the next try goes on with this job: %r", error)

    def _write(self, state: State) -> None:
        if self._store is not None:
            kept = state if self._job is None else storable(state, self._job)
            record = Record(generation=self.generation, state=kept, cleared=self._cleared)
            self._store.set(RECORD_KEY, plain_json(record.to_dict()))
        self._written = state
