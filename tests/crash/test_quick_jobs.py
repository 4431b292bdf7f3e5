"""Quick jobs on a busy machine: not one task fails because it resumes before Airflow expects it to.

The scheduler fails a deferred task that is queued again before it has processed the end of the process that
deferred it. Run on demand, for example with ``tox run -e crash_full -- tests/crash/test_quick_jobs.py``:

===============================  ==================================================================
``APITASK_QUICK_JOBS``           how many jobs; 200 by default, 24 in the everyday run
``APITASK_QUICK_BUSY``           busy processes beside it; as many as there are processors by default
``APITASK_QUICK_DEFER_AFTER``    ``job.defer_after``; the package's default if unset
===============================  ==================================================================
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from demo.processes import wait_until
from tests.crash.stack import ENDED, QUICK_TO_NOTICE, CrashStack, crash_stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

DAG_ID = "quick_jobs"
EVERYDAY = os.environ.get("APITASK_CRASH") == "everyday"
JOBS = int(os.environ.get("APITASK_QUICK_JOBS") or (24 if EVERYDAY else 200))
BUSY = int(os.environ.get("APITASK_QUICK_BUSY") or os.cpu_count() or 1)
SHORTEST, LONGEST = 0.1, 8.0  # seconds of work
WAIT = 1200  # seconds
#: What the scheduler logs when it fails a task that it has mistaken for one that was killed.
RACE = "finished with state success, but the task instance's state attribute is"
#: The shorter rounds of the other crash tests would hide the race: here Airflow's own defaults hold.
AS_INSTALLED = {
    **{name: value for name, value in QUICK_TO_NOTICE.items() if "__CORE__" in name},
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
}


@dataclass(frozen=True)
class Task:
    """What became of a task."""

    state: str
    seconds: float
    """From the first time it was queued to its end."""
    deferred: bool


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashStack]:
    """An Airflow as it is installed, in place of the one that notices deaths within seconds."""
    with crash_stack(tmp_path_factory.mktemp("quick") / "airflow", AS_INSTALLED) as stack:
        yield stack


@pytest.fixture(scope="module")
def tasks(stack: CrashStack, seed: int, reports: Path) -> list[Task]:
    """All jobs have ended; the figures are printed and written down."""
    step = (LONGEST - SHORTEST) / max(1, JOBS - 1)
    seconds = [round(SHORTEST + step * number, 2) for number in range(JOBS)]
    random.Random(seed).shuffle(seconds)
    jobs = [{"name": f"{DAG_ID}/run/{number}", "seconds": work} for number, work in enumerate(seconds)]
    with busy(BUSY):
        stack.trigger([DAG_ID], "run", {"jobs": jobs})
        found = _followed(stack)
    report = _report(stack, found)
    reports.mkdir(exist_ok=True)
    (reports / "quick_jobs.md").write_text(report, encoding="utf-8")
    print(f"\n{report}", flush=True)
    return found


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep processors busy while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _followed(stack: CrashStack) -> list[Task]:
    """Wait until all tasks have ended. The row of a task keeps only the last time that it was queued."""
    queued: dict[int, datetime] = {}
    deferred: set[int] = set()
    ended: dict[int, tuple[str, datetime]] = {}
    query = (
        "select map_index, state, queued_dttm, end_date, trigger_id from task_instance"
        " where dag_id = :dag_id and task_id = 'call' and map_index >= 0"
    )

    def look() -> bool:
        for index, state, queued_at, ended_at, trigger_id in stack.database.rows(query, dag_id=DAG_ID):
            if queued_at is not None:
                queued[index] = min(queued.get(index, queued_at), queued_at)
            if state == "deferred" or trigger_id is not None:
                deferred.add(index)
            if state in ENDED:
                ended[index] = (state, ended_at)
        return len(ended) == JOBS

    wait_until(look, WAIT, "not all quick jobs have ended", 0.25)
    return [
        Task(state, (at - queued[index]).total_seconds(), index in deferred)
        for index, (state, at) in sorted(ended.items())
    ]


def _report(stack: CrashStack, tasks: list[Task]) -> str:
    took = sorted(task.seconds for task in tasks if task.state == "success") or [float("nan")]
    failed = sum(task.state != "success" for task in tasks)
    return f"""# Quick jobs

- {len(tasks)} jobs of {SHORTEST:g} to {LONGEST:g} s, database: {stack.database.note or "PostgreSQL"}
- {os.cpu_count()} processors, {BUSY} busy processes, load {os.getloadavg()[0]:.1f}
- deferred: {sum(task.deferred for task in tasks)}
- not succeeded: {failed}, of these by the race: {len(_raced(stack))}
- from queued to success: median {statistics.median(took):.1f} s, 90 % within \
{took[int(len(took) * 0.9) - 1]:.1f} s, longest {took[-1]:.1f} s
"""


def _raced(stack: CrashStack) -> set[str]:
    """The lines with which the scheduler has failed tasks."""
    text = (stack.folder / "scheduler.log").read_text(encoding="utf-8", errors="replace")
    return {line for line in text.splitlines() if RACE in line}


def test_every_quick_job_succeeds(tasks: list[Task], stack: CrashStack) -> None:
    failed = [task for task in tasks if task.state != "success"]
    assert not failed
    assert not _raced(stack)


def test_each_job_was_submitted_once(tasks: list[Task], stack: CrashStack) -> None:
    assert len(stack.server.jobs) == len(tasks)
