"""How a task goes: on a worker alone, or on the triggerer and back; to its end, or until somebody ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import pytest

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.core.records import OperationRecord
from airflow_provider_apitask.operators.run import CallRun
from airflow_provider_apitask.triggers import api_status
from tests.airflow.helpers import (
    Comms,
    KilledError,
    TaskInstance,
    context_for,
    deferred,
    event,
    restored,
    run,
)

__all__ = ["BOTH", "Kept", "Waiting", "carry_out", "kill"]

#: Waits on a worker, waits on the triggerer.
BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
#: What the triggerer cancels the task of a trigger with when somebody has acted on it.
_BY_USER = "__airflow_user_action__"


class Waiting(Protocol):
    """A server that can be asked for what it has received."""

    def wait_for(self, count: int, method: str, path: str | None) -> None:
        """Block until so many such requests arrived; a path of None is any."""


class Kept:
    """An operation log that keeps what it is given; for ``operation_log`` of a task."""

    def __init__(self) -> None:
        self.records: list[OperationRecord] = []

    def write(self, records: Sequence[OperationRecord]) -> None:
        """Take records, as a sink does."""
        self.records += records

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was done, and how it ended."""
        return [(record.subtype.value, record.status.value) for record in self.records]


def carry_out(task: Any, **more: Any) -> Any:
    """Run a task to its end, from worker to triggerer and back where it defers."""
    if task.deferrable and task.mode == "async":
        return run(task, **more)
    return task.execute(context_for(task, **more))


def kill(task: Any, server: Waiting, comms: Comms, path: str | None) -> None:
    """Let somebody mark the task as failed, once the status at ``path`` was asked for."""
    comms.states[task.task_id] = "failed"
    if task.deferrable:
        trigger: Any = deferred(task, context_for(task)).trigger
        asyncio.run(_killed_on_triggerer(trigger, server, path))
    else:
        _killed_on_worker(task, server, path)


def _killed_on_worker(task: Any, server: Waiting, path: str | None) -> None:
    """A task that does not end by itself is ended with SIGKILL by Airflow: here by its next sleep."""

    def on_kill() -> None:
        try:
            server.wait_for(1, "GET", path)
            task.on_kill()
        finally:
            told.set()

    def sleep(seconds: float) -> None:
        if told.wait(seconds) and not task._current.killed:
            raise KilledError

    told = threading.Event()
    killer = threading.Thread(target=on_kill)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CallRun, "_sleep", lambda run, seconds: sleep(seconds))
        killer.start()
        with pytest.raises((exceptions.JobCancelledError, KilledError)):
            task.execute(context_for(task))
        killer.join()


async def _killed_on_triggerer(trigger: Any, server: Waiting, path: str | None) -> None:
    made = restored(trigger, TaskInstance("t"))
    running = asyncio.create_task(event(made))
    await asyncio.to_thread(server.wait_for, 1, "GET", path)
    running.cancel(_BY_USER)
    await asyncio.gather(running, return_exceptions=True)
    await made.on_kill()
    await asyncio.gather(*api_status._cancelling)
