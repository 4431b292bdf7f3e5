"""What a restarted triggerer must not forget of a waiting job.

A trigger begins again from its first arguments after a restart. The deadline is among them and is
absolute; what was counted since is not: the checks (``max_polls``), since when they fail
(``status_grace``), where the server has moved the job to. That is kept in XCom, when it changes.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.storable import is_masked, storable
from airflow_provider_apitask.triggers.xcom import aget_xcom, aset_xcom

__all__ = ["PROGRESS_KEY", "Progress"]

log = logging.getLogger(__name__)

#: XCom key, removed by the worker when the task goes on.
PROGRESS_KEY = "api_job_progress"
#: A trigger that begins later than this after its task was deferred may be one that begins again, seconds.
_FIRST_START = 5.0


class Progress:
    """Keeps what has changed since a trigger was made.

    :param task_instance: of the trigger; None under ``dag.test()``, where nothing is kept.
    :param since: Unix time at which the task was deferred, which tells this deferral from others.
    """

    def __init__(self, task_instance: Any, job: AsyncJob, since: float | None) -> None:
        self._ti = task_instance
        self._job = job
        self._since = since
        self._kept: tuple[object, ...] | None = None
        #: Whether there is something to be removed in the end.
        self.left = False

    async def restored(self, state: State) -> State:
        """The state that an earlier run of this trigger left, else the one given."""
        self._kept = self._notable(state)
        if self._ti is None or self._since is None or 0 <= time.time() - self._since < _FIRST_START:
            return state  # a clock that was set back says nothing of when that was
        try:
            record = await aget_xcom(PROGRESS_KEY, self._ti)
            if not isinstance(record, dict) or record.get("since") != self._since:
                return state
            found = State.from_dict(record["state"])
        except (ApiTaskError, KeyError) as error:
            log.warning("What was kept of the job cannot be read and is not used: %s", error)
            return state
        except Exception as error:  # noqa: BLE001 - the job runs: it is waited for all the same
            log.warning("What was kept of the job could not be asked for: %r", error)
            return state
        self.left = True
        if is_masked(found.status_url):
            found = replace(found, status_url=state.status_url)
        self._kept = self._notable(found)
        return found

    async def keep(self, state: State) -> None:
        """Keep a state where a restart must not forget it."""
        notable = self._notable(state)
        if self._ti is None or notable == self._kept:
            return
        self._kept = notable
        try:
            await aset_xcom(
                PROGRESS_KEY, {"since": self._since, "state": storable(state, self._job).to_dict()}, self._ti
            )
        except Exception as error:  # noqa: BLE001 - the job runs: it is waited for all the same
            log.warning("Where the job stands could not be kept for a restart of the triggerer: %r", error)
            return
        self.left = True

    def _notable(self, state: State) -> tuple[object, ...]:
        polls = state.polls if self._job.max_polls is not None else None
        return (state.phase, state.failing_since, state.status_url, state.reattached, polls)
