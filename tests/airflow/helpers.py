"""Stand-ins for what Airflow has around a task: the supervisor's channel and the task instance."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time import comms as messages
from airflow.sdk.execution_time.xcom import XCom

from airflow_provider_apitask import ApiCallOperator, ApiStatusTrigger

Connect = Callable[..., None]
#: Whether this Airflow keeps state of a task (3.3).
HAS_STORE = hasattr(messages, "GetTaskStateStore")
needs_store = pytest.mark.skipif(not HAS_STORE, reason="this Airflow keeps no state of a task")
FAST = {"poll_interval": 0.02}


class KilledError(BaseException):
    """The process is gone: nothing of it goes on, and nobody catches it."""


@dataclass
class Comms:
    """Keeps XComs and the state of a task as JSON, by task id, map index and key.

    :param store: of the one task of a test, by key.
    :param states: what a task's state is, by task id.
    :param before: sees each message first, and may raise.
    :param broken: whether XComs cannot be read or written.
    """

    values: dict[tuple[str, int, str], str] = field(default_factory=dict)
    store: dict[str, str] = field(default_factory=dict)
    states: dict[str, str | None] = field(default_factory=dict)
    before: Callable[[Any], None] = lambda message: None
    broken: bool = False

    def send(self, message: Any) -> Any:
        self.before(message)
        kind = type(message).__name__
        if kind.endswith("TaskStateStore"):
            return self._stored(kind, message)
        if isinstance(message, messages.GetTaskStates):
            states = {task: self.states.get(task) for task in message.task_ids or ()}
            return messages.TaskStatesResult(task_states=dict.fromkeys(message.run_ids or (), states))
        if self.broken:
            raise RuntimeError("the API server is down")
        key = (message.task_id, message.map_index if message.map_index is not None else -1, message.key)
        if isinstance(message, messages.SetXCom):
            self.values[key] = json.dumps(carried(message.value))
        elif isinstance(message, messages.DeleteXCom):
            self.values.pop(key, None)
        elif isinstance(message, messages.GetXCom):
            text = self.values.get(key)
            return messages.XComResult(key=message.key, value=None if text is None else json.loads(text))
        return None

    def _stored(self, kind: str, message: Any) -> Any:
        if kind == "SetTaskStateStore":
            self.store[message.key] = json.dumps(carried(message.value))
        elif kind == "DeleteTaskStateStore":
            self.store.pop(message.key, None)
        elif kind == "GetTaskStateStore" and message.key in self.store:
            return messages.TaskStateStoreResult(value=json.loads(self.store[message.key]))
        elif kind == "GetTaskStateStore":
            error: Any = messages.ErrorType.TASK_STORE_NOT_FOUND
            return messages.ErrorResponse(error=error)
        return None

    def record(self) -> Any:
        """The record of the call, None for none."""
        text = self.store.get("api_job")
        return None if text is None else json.loads(text)

    async def asend(self, message: Any) -> Any:
        return self.send(message)

    def pushed(self, task_id: str, key: str) -> Any:
        """What a task left, None for nothing."""
        task = TaskInstance(task_id)
        return task.xcom_pull(task_ids=task_id, key=key)


@dataclass
class TaskInstance:
    """The part of a task instance that operators use."""

    task_id: str = "t"
    dag_id: str = "d"
    run_id: str = "r"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        names = {"dag_id": self.dag_id, "task_id": self.task_id, "run_id": self.run_id}
        XCom.set(key, value, map_index=self.map_index, **names)

    def xcom_pull(self, task_ids: str, key: str = "return_value", **_: Any) -> Any:
        return XCom.get_one(
            key=key, task_id=task_ids, dag_id=self.dag_id, run_id=self.run_id, map_index=self.map_index
        )

    @staticmethod
    def get_task_states(**criteria: Any) -> Any:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        return RuntimeTaskInstance.get_task_states(**criteria)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def context_for(task: Any, **more: Any) -> Any:
    """A context as a task sees it, its fields rendered."""
    ti = more.pop("ti", None) or TaskInstance(task.task_id)
    context = {"ti": ti, "task": task, "params": {}, "logical_date": datetime(2026, 1, 2, tzinfo=UTC), **more}
    if HAS_STORE:
        context.setdefault("task_state_store", _store_of(ti))
    task.render_template_fields(context)
    return context


def _store_of(ti: TaskInstance) -> Any:
    from airflow.sdk._shared.state import TaskScope
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

    scope = TaskScope(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)
    return TaskStateStoreAccessor(ti_id=uuid.uuid5(uuid.NAMESPACE_OID, repr(scope)), scope=scope)


def call(**kwargs: Any) -> ApiCallOperator:
    """An operator with what most tests share."""
    return ApiCallOperator(**{"task_id": "t", "api_conn_id": "api", "endpoint": "/jobs", **kwargs})


def deferred(task: Any, context: Any) -> TaskDeferred:
    """Execute a task that is expected to defer, and does so at once."""
    task.job = {"defer_after": 0, **(task.job or {})}
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context)
    return caught.value


def carried(value: Any) -> Any:
    """What the supervisor gets of a value: Airflow's processes talk msgpack, which has no larger numbers."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def restored(
    trigger: ApiStatusTrigger, task: TaskInstance | None = None, guard: float = 0.0
) -> ApiStatusTrigger:
    """The trigger as another process gets it: through a message and a database.

    :param guard: seconds after the deferral without an event; most tests have no scheduler to wait for.
    """
    _, kwargs = trigger.serialize()
    made = ApiStatusTrigger(**json.loads(json.dumps(carried({**kwargs, "guard": guard}))))
    made.task_instance = task  # type: ignore[assignment]
    return made


async def event(trigger: ApiStatusTrigger) -> Any:
    """The payload of the one event of a trigger, as it is stored."""
    events = [item.payload async for item in trigger.run()]
    assert len(events) == 1
    return json.loads(json.dumps(carried(events[0])))


def awaited(trigger: Any, task: TaskInstance | None = None) -> Any:
    """Run a trigger in a triggerer of its own."""
    return asyncio.run(event(restored(trigger, task)))


def run(task: Any, **more: Any) -> Any:
    """Run a task from worker to triggerer and back."""
    context = context_for(task, **more)
    resume = deferred(task, context)
    payload = awaited(resume.trigger, context["ti"])
    return getattr(task, resume.method_name)(context, payload)


@contextmanager
def clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> Iterator[None]:
    """Let the wall clock be ahead."""
    import time

    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + ahead)
        yield
