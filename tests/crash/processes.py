"""Finding and killing the processes of an Airflow, by what they are doing."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

from demo.airflow_service import ComponentAirflow

__all__ = ["busy_tasks", "kill", "sender"]

_TASK = "airflow worker -- "
_EXECUTOR = "airflow worker -- LocalExecutor"


def sender(airflow: ComponentAirflow, port: int) -> psutil.Process | None:
    """The process of a task that has a TCP connection from ``port``; None where it has ended."""
    for process in _scheduled(airflow):
        with suppress(psutil.Error):
            if any(end.laddr and end.laddr.port == port for end in process.net_connections("tcp4")):
                return process
    return None


def busy_tasks(airflow: ComponentAirflow) -> list[psutil.Process]:
    """The processes that run the code of a task; the parent of each is its supervisor."""
    found = []
    for process in _scheduled(airflow):
        with suppress(psutil.Error, IndexError):
            title = " ".join(process.cmdline())
            if title.startswith(_TASK) and not title.startswith(_EXECUTOR):
                found.append(process)
    return found


def kill(process: psutil.Process | None) -> bool:
    """End a process that this test has started, at once; False where it has ended."""
    # psutil knows the time it was started at: another process with the same id is not meant.
    with suppress(psutil.NoSuchProcess):
        if process is not None and process.pid != os.getpid():
            process.kill()
            return True
    return False


def _scheduled(airflow: ComponentAirflow) -> list[psutil.Process]:
    scheduler = airflow.components.get("scheduler")
    return scheduler.processes() if scheduler is not None else []
