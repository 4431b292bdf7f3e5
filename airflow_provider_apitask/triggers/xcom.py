"""XCom from inside a trigger, on each Airflow that is supported."""

from __future__ import annotations

from typing import Any

__all__ = ["aget_xcom", "aset_xcom", "xcom_key"]


def xcom_key(task_instance: Any) -> dict[str, Any]:
    """What names the task instance that an XCom belongs to."""
    names = ("dag_id", "task_id", "run_id", "map_index")
    return {name: getattr(task_instance, name) for name in names}


async def aset_xcom(key: str, value: Any, task_instance: Any) -> None:
    """Set an XCom of the task instance."""
    from airflow.providers.common.compat.sdk import XCom

    owner = xcom_key(task_instance)
    if hasattr(XCom, "aset"):  # Airflow 3.3
        await XCom.aset(key, value, **owner)
    else:
        await _in_thread(XCom.set, key, value, **owner)


async def aget_xcom(key: str, task_instance: Any) -> Any:
    """An XCom of the task instance, None where there is none."""
    from airflow.providers.common.compat.sdk import XCom

    owner = xcom_key(task_instance)
    if hasattr(XCom, "aget_one"):  # Airflow 3.3
        return await XCom.aget_one(key=key, **owner)
    return await _in_thread(XCom.get_one, key=key, **owner)


async def _in_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    from asgiref.sync import sync_to_async

    # Not in any other kind of thread: the triggerer of 3.2 takes no messages from those.
    return await sync_to_async(function, thread_sensitive=False)(*args, **kwargs)
