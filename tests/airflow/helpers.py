"""Stand-ins for what Airflow has around a task: the supervisor's channel and the task instance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time import comms as messages
from airflow.sdk.execution_time.xcom import XCom

from airflow_provider_apitask import ApiCallOperator, ApiStatusTrigger

Connect = Callable[..., None]
FAST = {"poll_interval": 0.02}


@dataclass
class Comms:
    """Keeps XComs as JSON, by task id, map index and key."""

    values: dict[tuple[str, int, str], str] = field(default_factory=dict)
    broken: bool = False

    def send(self, message: Any) -> Any:
        if self.broken:
            raise RuntimeError("the API server is down")
        key = (message.task_id, message.map_index if message.map_index is not None else -1, message.key)
        if isinstance(message, messages.SetXCom):
            self.values[key] = json.dumps(message.value)
        elif isinstance(message, messages.DeleteXCom):
            self.values.pop(key, None)
        elif isinstance(message, messages.GetXCom):
            text = self.values.get(key)
            return messages.XComResult(key=message.key, value=None if text is None else json.loads(text))
        return None

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
    first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        names = {"dag_id": self.dag_id, "task_id": self.task_id, "run_id": self.run_id}
        XCom.set(key, value, map_index=self.map_index, **names)

    def xcom_pull(self, task_ids: str, key: str = "return_value", **_: Any) -> Any:
        return XCom.get_one(
            key=key, task_id=task_ids, dag_id=self.dag_id, run_id=self.run_id, map_index=self.map_index
        )

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def context_for(task: Any, **more: Any) -> Any:
    """A context as a task sees it, its fields rendered."""
    ti = more.pop("ti", None) or TaskInstance(task.task_id)
    context = {"ti": ti, "task": task, "params": {}, "logical_date": datetime(2026, 1, 2, tzinfo=UTC), **more}
    task.render_template_fields(context)
    return context


def call(**kwargs: Any) -> ApiCallOperator:
    """An operator with what most tests share."""
    return ApiCallOperator(**{"task_id": "t", "api_conn_id": "api", "endpoint": "/jobs", **kwargs})


def deferred(task: Any, context: Any) -> TaskDeferred:
    """Execute a task that is expected to defer."""
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context)
    return caught.value


def restored(trigger: ApiStatusTrigger, task: TaskInstance | None = None) -> ApiStatusTrigger:
    """The trigger as another process gets it: through JSON."""
    _, kwargs = trigger.serialize()
    made = ApiStatusTrigger(**json.loads(json.dumps(kwargs)))
    made.task_instance = task  # type: ignore[assignment]
    return made


async def event(trigger: ApiStatusTrigger) -> Any:
    """The payload of the one event of a trigger, as it is stored."""
    events = [item.payload async for item in trigger.run()]
    assert len(events) == 1
    return json.loads(json.dumps(events[0]))


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
