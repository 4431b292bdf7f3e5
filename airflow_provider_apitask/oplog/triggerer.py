"""The operation log in a triggerer: nothing of it waits on the event loop, and a kill loses nothing.

What a trigger did goes to the worker that comes after it, in its event. Until then it is noted in the
spool, by a thread, about every second; where the triggerer dies, the next process to look finds it there.
All of this is for the sink ``sql`` alone, and does nothing where that is not configured.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from airflow_provider_apitask.core.ledger import Ledger
from airflow_provider_apitask.core.records import OperationRecord
from airflow_provider_apitask.oplog.hooks import configured
from airflow_provider_apitask.oplog.spool import spool, try_flush

__all__ = ["began", "drain_soon", "ended", "interrupted"]

log = logging.getLogger(__name__)

#: Seconds between two looks at what is under way.
_EVERY = 1.0
#: Seconds between two times that the spool is moved to the database, which workers do besides.
_DRAIN_EVERY = 30.0


def began(ledger: Ledger) -> None:
    """A trigger begins; also the time to move to the database what an earlier triggerer has left."""
    if _is_on():
        _recorder().watched[id(ledger)] = ledger
        drain_soon()


def ended(ledger: Ledger, records: Sequence[OperationRecord]) -> None:
    """A trigger has handed over its records to a worker."""
    if _is_on():
        _recorder().forget(ledger, records, handed_over=True)


def interrupted(ledger: Ledger) -> None:
    """A trigger is stopped: by a person, or with its triggerer, and no worker comes after it."""
    if _is_on():
        _recorder().forget(ledger, ledger.take(interrupted=True), handed_over=False)


def drain_soon() -> None:
    """Move what is in the spool to the database, in the background and not too often."""
    if not _is_on() or _drains or time.monotonic() < _next_drain[0]:
        return
    _next_drain[0] = time.monotonic() + _DRAIN_EVERY
    task = asyncio.create_task(_drain())
    _drains.add(task)
    task.add_done_callback(_drains.discard)


#: The one drain under way: the event loop itself keeps no task alive.
_drains: set[asyncio.Task[None]] = set()
_next_drain = [0.0]


async def _drain() -> None:
    from airflow.providers.common.compat.sdk import BaseHook
    from asgiref.sync import sync_to_async

    from airflow_provider_apitask.oplog.database import configured_conn_id

    try:
        await asyncio.sleep(2 * _EVERY)  # what was noted just now goes along
        conn_id = configured_conn_id()
        if conn_id is None or not await asyncio.to_thread(_is_left):
            return
        connection = await BaseHook.aget_connection(conn_id)
        # In a thread that Airflow knows of: what reads a connection tells the supervisor what to mask.
        await sync_to_async(_moved, thread_sensitive=False)(connection)
    except Exception as error:  # noqa: BLE001 - the records are kept, and others try too
        log.warning("The operation log could not be written to its database: %r", error)


def _is_left() -> bool:
    kept = spool()
    kept.bury(time.time())
    return kept.count() > 0


def _moved(connection: Any) -> None:
    from airflow_provider_apitask.oplog.database import engine_of_connection

    engine = engine_of_connection(connection)
    try:
        try_flush(engine=engine)
    finally:
        engine.dispose()


class _Recorder:
    """The thread that notes what is under way."""

    def __init__(self) -> None:
        self.watched: dict[int, Ledger] = {}
        self._noted: dict[int, tuple[int, int]] = {}
        self._over: queue.SimpleQueue[tuple[Sequence[OperationRecord], bool]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="apitask-oplog-recorder", daemon=True).start()

    def forget(self, ledger: Ledger, records: Sequence[OperationRecord], *, handed_over: bool) -> None:
        """Take what a trigger did in the end."""
        self.watched.pop(id(ledger), None)
        self._noted.pop(id(ledger), None)
        if records:
            self._over.put((records, handed_over))

    def _run(self) -> None:
        failing = False
        while True:
            time.sleep(_EVERY)
            try:
                self._note()
                failing = False
            except Exception:
                if not failing:
                    log.exception("What triggers do cannot be noted for the operation log")
                failing = True

    def _note(self) -> None:
        records: list[OperationRecord] = []
        for key, ledger in list(self.watched.items()):
            if (progress := ledger.progress) != self._noted.get(key):
                self._noted[key] = progress
                records += ledger.so_far()
        handed_over: list[OperationRecord] = []
        over: list[OperationRecord] = []
        while not self._over.empty():
            last, to_worker = self._over.get()
            (handed_over if to_worker else over).extend(last)
        kept, now = spool(), time.time()
        if records or self.watched:
            kept.note(records, now)
        if handed_over:
            kept.note(handed_over, now, handed_over=True)
        if over:
            kept.end(over)


@functools.cache
def _recorder() -> _Recorder:
    return _Recorder()


def _is_on() -> bool:
    return "sql" in configured()
