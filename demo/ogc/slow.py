"""The pygeoapi process ``slow``: it takes some seconds, reports its progress and answers a JSON value.

Inputs may be of the right type or strings, since a template in a DAG always renders to a string.
"""

from __future__ import annotations

import csv
import io
import time
from typing import Any

from pygeoapi.config import get_config
from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError
from pygeoapi.process.manager.base import get_manager
from pygeoapi.util import JobStatus, get_current_datetime

__all__ = ["SlowProcessor"]

LONGEST = 3600.0  # seconds
STEP = 0.5  # seconds between two reports of progress

METADATA = {
    "version": "1.0.0",
    "id": "slow",
    "title": {"en": "Slow greeting"},
    "description": {"en": "Works for some seconds and then greets, or fails."},
    "jobControlOptions": ["sync-execute", "async-execute"],
    "keywords": ["demo"],
    "links": [],
    "inputs": {
        name: {"title": title, "schema": {"type": kind}, "minOccurs": 0, "maxOccurs": 1}
        for name, title, kind in (
            ("seconds", "Seconds to work", "number"),
            ("fail", "Fail in the end", "boolean"),
            ("csv", "Answer CSV, not JSON", "boolean"),
        )
    },
    "outputs": {"result": {"title": "What was done", "schema": {"type": "object"}}},
    "example": {"inputs": {"seconds": 5}},
}


class SlowProcessor(BaseProcessor):  # type: ignore[misc]  # pygeoapi has no type information
    """See the module."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def, METADATA)
        self._job_id: str | None = None

    def set_job_id(self, job_id: str) -> None:
        """Take the id under which the job manager knows this execution."""
        self._job_id = job_id

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        """Work, then return the media type and the value."""
        seconds = _seconds(data.get("seconds", 5))
        fail, as_csv = _flag("fail", data.get("fail", False)), _flag("csv", data.get("csv", False))
        self._work(seconds)
        if fail:
            raise ProcessorExecuteError(user_msg=f"asked to fail after {seconds:g} s")
        result = {"slept": seconds, "greeting": f"Hello after {seconds:g} s of work"}
        return ("text/csv", _csv(result)) if as_csv else ("application/json", result)

    def _work(self, seconds: float) -> None:
        # pygeoapi hands a process no way to report progress: write to the job manager's store ourselves.
        manager = get_manager(get_config())
        start = time.monotonic()
        while (done := time.monotonic() - start) < seconds:
            progress = {
                "status": JobStatus.running.value,
                "message": f"worked for {done:.1f} of {seconds:g} s",
                "progress": 5 + int(90 * done / seconds),
                "updated": get_current_datetime(),
            }
            manager.update_job(self._job_id, progress)
            time.sleep(min(STEP, seconds - done))


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        raise ProcessorExecuteError(
            user_msg=f"input 'seconds' must be a number from 0 to {LONGEST:g}, not {value!r}"
        )
    return seconds


def _flag(name: str, value: Any) -> bool:
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ProcessorExecuteError(user_msg=f"input {name!r} must be true or false, not {value!r}")
    return word == "true"


def _csv(row: dict[str, Any]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row))
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue().encode()
