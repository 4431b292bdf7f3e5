"""The guard against Airflow's resume race: a task does not resume soon after its deferral.

The scheduler fails a deferred task that is queued again before it has processed the end of the process that
deferred it ("finished with state success, but the task instance's state attribute is queued"). That end is
reported up to ``[workers] min_heartbeat_interval`` seconds late, and a busy machine adds some more.
"""

from __future__ import annotations

import asyncio
import time

from airflow.providers.common.compat.sdk import conf

__all__ = ["CLOCK_SKEW_SECONDS", "ResumeGuard", "guard_seconds"]

_SHORTEST_SECONDS = 10.0
#: From the report of a process's end until the scheduler has processed it.
_PROCESSING_SECONDS = 5.0
#: By how much the clocks of a worker and a triggerer may differ.
CLOCK_SKEW_SECONDS = 5.0


def guard_seconds() -> float:
    """Return for how long after its deferral a task must not resume, by the configuration of this worker."""
    interval: float = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
    return max(_SHORTEST_SECONDS, interval + _PROCESSING_SECONDS)


class ResumeGuard:
    """The time in which a trigger holds its event; begins when the trigger does.

    The deferral comes before the trigger starts, so waiting from there is always long enough, whatever the
    clocks say. A trigger that starts again after a restart of the triggerer must not wait once more: its
    wait also ends ``CLOCK_SKEW_SECONDS`` after the guard's end by the worker's clock.

    :param seconds: of the guard, see :func:`guard_seconds`; 0 for no guard.
    :param since: Unix time of the deferral by the worker's clock; None if unknown.
    """

    def __init__(self, seconds: float, since: float | None) -> None:
        wait = seconds
        if since is not None:
            wait = min(wait, since + seconds + CLOCK_SKEW_SECONDS - time.time())
        self._ends = time.monotonic() + wait

    def seconds_left(self, after: float = 0.0) -> float:
        """Return the seconds until the task can resume.

        :param after: seconds that are added to the guard.
        """
        return max(0.0, self._ends + after - time.monotonic())

    async def wait(self) -> None:
        """Wait until the task can resume."""
        await asyncio.sleep(self.seconds_left())
