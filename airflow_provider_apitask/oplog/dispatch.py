"""Giving records to hooks, within bounds: a hook never fails a task, and never holds it up for long."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any

from airflow_provider_apitask.core.records import OperationRecord
from airflow_provider_apitask.oplog.hooks import Hook, configured_timeout, resolved

__all__ = ["aemit", "emit"]

log = logging.getLogger(__name__)

#: Batches that wait for a hook that is stuck; the newer ones are dropped.
_MOST_WAITING = 100


def emit(records: Iterable[OperationRecord], hooks: Any = None, *, flush: bool = True) -> None:
    """Give records to hooks; blocks for ``[apitask] operation_log_timeout`` at most, and never raises.

    :param hooks: of the task: a name, a dotted path, a function, a sink, or a list of these; None for
        those of the configuration.
    :param flush: whether sinks may also pass on what they keep, for example to a database.
    """
    batch = tuple(records)
    if not batch:
        return
    try:
        _emit(batch, hooks, flush)
    except Exception:
        log.exception("The operation log could not be written")


async def aemit(records: Iterable[OperationRecord], hooks: Any = None) -> None:
    """Do the same from an event loop without holding it up; sinks keep what they have to pass on."""
    batch = tuple(records)
    if batch:
        await asyncio.to_thread(emit, batch, hooks, flush=False)


def _emit(batch: tuple[OperationRecord, ...], hooks: Any, flush: bool) -> None:
    timeout = configured_timeout()
    under_way: list[tuple[_Runner, threading.Event]] = []
    for hook in resolved(hooks):
        if isinstance(hook, Exception):
            log.warning("A hook of the operation log cannot be used: %s", hook)
        elif hook.inline:
            _write(hook, batch, flush)
        elif (done := (runner := _runner_of(hook)).give(batch, flush)) is not None:
            under_way.append((runner, done))
    until = time.monotonic() + timeout
    for runner, done in under_way:
        if not done.wait(max(0.0, until - time.monotonic())):
            runner.late = True
            log.warning(
                "The hook %s of the operation log is not done after %.1f s ([apitask] "
                "operation_log_timeout); it is not waited for any more.",
                runner.hook.name,
                timeout,
            )


def _write(hook: Hook, batch: tuple[OperationRecord, ...], flush: bool) -> None:
    try:
        hook.write(batch)
        if flush and hook.flush is not None:
            hook.flush()
    except Exception:
        log.exception("The hook %s of the operation log failed", hook.name)


class _Runner:
    """The thread of one hook. It ends with the process, whatever it is at."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        #: Whether it has kept a task waiting for too long, and is still at it.
        self.late = False
        self._waiting: queue.Queue[tuple[tuple[OperationRecord, ...], bool, threading.Event]] = queue.Queue(
            _MOST_WAITING
        )
        threading.Thread(target=self._run, name=f"apitask-oplog-{hook.name}", daemon=True).start()

    def give(self, batch: tuple[OperationRecord, ...], flush: bool) -> threading.Event | None:
        """Hand over a batch.

        :returns: is set when it is done; None where it is not to be waited for.
        """
        done = threading.Event()
        try:
            self._waiting.put_nowait((batch, flush, done))
        except queue.Full:
            log.warning(
                "The hook %s of the operation log is stuck: %d records are not given to it.",
                self.hook.name,
                len(batch),
            )
            return None
        return None if self.late else done

    def _run(self) -> None:
        while True:
            batch, flush, done = self._waiting.get()
            _write(self.hook, batch, flush)
            self.late = not self._waiting.empty() and self.late
            done.set()


_runners: dict[int, _Runner] = {}
_lock = threading.Lock()


def _runner_of(hook: Hook) -> _Runner:
    with _lock:
        # The key is kept alive by the hook of its runner, so that its id stays its own.
        key = hash(hook.key) if isinstance(hook.key, str) else id(hook.key)
        runner = _runners.get(key)
        if runner is None:
            runner = _runners[key] = _Runner(hook)
        return runner


def _begin_again() -> None:
    """Start a forked process without runners: their threads are gone, and a copied lock may stay locked."""
    if _lock.locked():
        _lock.release()
    _runners.clear()


os.register_at_fork(after_in_child=_begin_again)
