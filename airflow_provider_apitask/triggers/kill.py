"""Whether a task was ended by a person, or only its process was told to stop.

Airflow calls ``on_kill`` for both: a pod that is evicted, a triggerer that was thought dead, look
from inside like a task that somebody has marked as failed. The state of the task tells them apart.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["atask_state", "reason_of"]

#: Seconds that Airflow is waited for; without its answer nothing is cancelled. It may take a minute where
#: this is the first that a busy triggerer asks: nobody waits for it here.
_PATIENCE = 300.0

#: What a person (or a dagrun_timeout) makes of a task, and why its job is cancelled then.
_REASONS = {
    "failed": "kill",
    "success": "kill",
    "skipped": "kill",
    "removed": "kill",
    # A running task that was cleared, until its process has ended.
    "restarting": "clear",
}


def reason_of(state: str | None) -> str | None:
    """Why the job of a task in this state is to be cancelled, one of ``job.CANCEL_REASONS``.

    :param state: of the task instance, as Airflow says now.
    :returns: None where the task goes on, in another process or try.
    """
    return _REASONS.get(str(getattr(state, "value", state)))


async def atask_state(task_instance: Any) -> str | None:
    """The state of a task instance as Airflow says now, asked from a trigger.

    :raises TimeoutError: where Airflow does not answer.
    """
    from airflow.sdk.execution_time.comms import GetTaskStates
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    asked = GetTaskStates(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=task_instance.map_index,
    )
    answer = await asyncio.wait_for(SUPERVISOR_COMMS.asend(asked), _PATIENCE)
    states = getattr(answer, "task_states", {}).get(task_instance.run_id, {})
    return next(iter(states.values()), None)
