"""Whatever is killed, a job is submitted once, is never lost, and its task ends knowing what became of it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.processes import wait_until
from tests.crash.dags_of import CRASH_DAGS, JOBS
from tests.crash.faults import REQUEST_FAULTS, FaultInjector, dags_for
from tests.crash.processes import busy_tasks, kill
from tests.crash.stack import CrashStack
from tests.crash.verdict import Row, judge, markdown

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

#: Only the faults that happen at a request and a kill of both triggerers, as everyday: see tox.ini.
EVERYDAY = os.environ.get("APITASK_CRASH") == "everyday"
ENOUGH = 100 if EVERYDAY else 200  # jobs in all
HELD = -1  # seconds of work of a job that goes on until it is released
WAVE_TIMEOUT = 500  # seconds
PLAIN_DAGS = [dag_id for dag_id in CRASH_DAGS if not dag_id.endswith("_token")]
DEFERRED_DAGS = [dag_id for dag_id in PLAIN_DAGS if dag_id.endswith("_deferred")]


class Campaign:
    """All faults, one after the other where one would disturb the next."""

    def __init__(self, stack: CrashStack, seed: int) -> None:
        self.stack = stack
        self.airflow = stack.airflow
        self.seed = seed
        self.random = random.Random(seed)
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.injector = FaultInjector(stack.airflow, stack.server, seed)

    def run(self) -> None:
        """Run everything."""
        self._request_faults()
        wave = self._wave
        if EVERYDAY:
            wave("both triggerers killed", "triggerers", DEFERRED_DAGS, self._kill_both_triggerers)
            self.injector.close()
            return
        wave("a triggerer killed", "triggerer", DEFERRED_DAGS, self._kill_triggerer, runs=3)
        wave("both triggerers killed", "triggerers", DEFERRED_DAGS, self._kill_both_triggerers, runs=3)
        title = "a triggerer stopped, taken over, continued"
        wave(title, "pause", DEFERRED_DAGS, self._pause_triggerer, runs=3)
        wave("scheduler and its tasks killed", "scheduler", PLAIN_DAGS, self._kill_scheduler, seconds=5)
        wave("scheduler killed, its tasks go on", "leader", PLAIN_DAGS, self._kill_scheduler_alone)
        wave("kills at random", "random", PLAIN_DAGS, self._kill_at_random, runs=3, seconds=5)
        self.injector.close()

    # -- faults that happen when a request arrives: all at the same time ----------------------

    def _request_faults(self) -> None:
        with self._timed("faults at requests"):
            count = 0
            for run_id, fault in REQUEST_FAULTS.items():
                dag_ids = dags_for(fault, CRASH_DAGS)
                self.stack.trigger(dag_ids, run_id, {"seconds": 2})
                count += JOBS * len(dag_ids)
            dag_ids = PLAIN_DAGS
            names = {f"{dag_id}/fails/{number}" for dag_id in dag_ids for number in range(JOBS)}
            self.stack.server.failing |= names
            self.stack.trigger(dag_ids, "fails", {"seconds": 1})
            count += JOBS * len(dag_ids)
            self.stack.wait_ended([*REQUEST_FAULTS, "fails"], count, WAVE_TIMEOUT)
        for run_id, fault in REQUEST_FAULTS.items():
            self._judge(fault.title, [run_id], fault.loses_answer)
        self._judge("the job fails, its successor does not", ["fails"], loses_answer=False)

    # -- faults that happen to many tasks -----------------------------------------------------

    def _wave(
        self,
        title: str,
        run_id: str,
        dag_ids: Sequence[str],
        fault: Callable[[Sequence[str], int], None],
        runs: int = 1,
        seconds: int = HELD,
    ) -> None:
        """Start runs, do something to them, wait for their end; jobs are held until it is done."""
        with self._timed(title):
            run_ids = [f"{run_id}-{number}" for number in range(runs)]
            for each in run_ids:
                self.stack.trigger(dag_ids, each, {"seconds": seconds})
            count = JOBS * len(dag_ids) * runs
            fault(run_ids, count)
            self.stack.server.release(*run_ids)
            self.stack.wait_ended(run_ids, count, WAVE_TIMEOUT)
        self._judge(title, run_ids, loses_answer=dag_ids is not DEFERRED_DAGS)

    def _kill_triggerer(self, run_ids: Sequence[str], count: int) -> None:
        self.stack.wait_deferred(run_ids, count, WAVE_TIMEOUT)
        self._restart("triggerer")

    def _kill_both_triggerers(self, run_ids: Sequence[str], count: int) -> None:
        self.stack.wait_deferred(run_ids, count, WAVE_TIMEOUT)
        self._restart("triggerer", "triggerer-2")

    def _pause_triggerer(self, run_ids: Sequence[str], count: int) -> None:
        self.stack.wait_deferred(run_ids, count, WAVE_TIMEOUT)
        had = self.stack.pause_until_taken_over()
        self.notes.append(f"{had} of {count} triggers were taken over from a triggerer that was stopped.")

    def _kill_scheduler(self, run_ids: Sequence[str], count: int) -> None:
        self._wait_submitted(run_ids, count // 3)
        self._restart("scheduler")

    def _kill_scheduler_alone(self, run_ids: Sequence[str], count: int) -> None:
        self._wait_submitted(run_ids, count // 3)
        self.airflow.abandon_component("scheduler")
        self.airflow.start_component("scheduler")
        self.airflow.wait_ready()
        self.stack.database.end_abandoned_transactions()
        # Two processes work on a task then, until the older one is told that it is not wanted.
        self.stack.wait_tried_again(run_ids, WAVE_TIMEOUT)

    def _kill_at_random(self, run_ids: Sequence[str], count: int) -> None:
        """Kill something again and again, until most tasks have ended."""
        kills: dict[str, int] = {}
        until = time.monotonic() + 30
        while time.monotonic() < until:
            (what,) = self.random.choices(["task", "supervisor", "triggerer", "triggerer-2"], [8, 2, 1, 1])
            if what.startswith("triggerer"):
                self._restart(what)
            else:
                self._kill_a_task(supervisor=what == "supervisor")
            kills[what] = kills.get(what, 0) + 1
            threading.Event().wait(self.random.uniform(0.3, 1.5))
        done = sum(task.state == "success" for task in self.stack.expanded(run_ids))
        self.notes.append(
            f"At random (seed {self.seed}): {kills}; {done} of {count} tasks had succeeded by then."
        )

    def _kill_a_task(self, supervisor: bool) -> None:
        if tasks := busy_tasks(self.airflow):
            process = self.random.choice(tasks)
            kill(process.parent() if supervisor else process)

    def _restart(self, *names: str) -> None:
        for name in names:
            self.airflow.kill_component(name)
        for name in names:
            self.airflow.start_component(name)
        if "scheduler" in names:
            self.airflow.wait_ready()

    def _wait_submitted(self, run_ids: Sequence[str], count: int) -> None:
        def submitted() -> bool:
            names = [job["name"] for job in self.stack.server.listing()]
            return sum(name.split("/")[1] in run_ids for name in names) >= count

        wait_until(submitted, WAVE_TIMEOUT, f"{count} jobs of {run_ids} are not submitted")

    @contextmanager
    def _timed(self, title: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.notes.append(f"{title}: {time.monotonic() - start:.0f} s")
        print(self.notes[-1], flush=True)

    def _judge(self, title: str, run_ids: Sequence[str], loses_answer: bool) -> None:
        rows = judge(self.stack, title, run_ids, loses_answer)
        self.rows += rows
        for row in rows:
            print(" | ".join(row.cells()), *row.details, sep="\n  ", flush=True)


@pytest.fixture(scope="module")
def campaign(stack: CrashStack, seed: int, reports: Path) -> Campaign:
    """Everything has happened; what came of it is printed and written down."""
    campaign = Campaign(stack, seed)
    print(f"\nseed {seed}")
    try:
        campaign.run()
    finally:
        database = stack.database.note or "PostgreSQL"
        notes = "".join(f"- {note}\n" for note in [f"Database: {database}", *campaign.notes])
        report = f"# Jobs and crashes\n\n{markdown(campaign.rows)}\n{notes}"
        reports.mkdir(exist_ok=True)
        (reports / "crash.md").write_text(report, encoding="utf-8")
        print(f"\n{report}")
    return campaign


def test_every_job_is_submitted_once_and_none_is_lost(campaign: Campaign) -> None:
    bad = [detail for row in campaign.rows for detail in row.details]
    assert not bad, f"{len(bad)} jobs (seed {campaign.seed}):\n" + "\n".join(bad[:40])


def test_enough_jobs_were_submitted(campaign: Campaign) -> None:
    assert sum(len(row.tries) for row in campaign.rows) >= ENOUGH


def test_every_fault_happened(campaign: Campaign) -> None:
    """A table of zeros proves nothing where nothing was killed."""
    acted = campaign.injector.acted
    for run_id, fault in REQUEST_FAULTS.items():
        names = {f"{dag_id}/{run_id}/{n}" for dag_id in dags_for(fault, CRASH_DAGS) for n in range(JOBS)}
        assert {name: acted[name] for name in names} == dict.fromkeys(names, fault.times), run_id
    assert not campaign.injector.missed


def test_only_a_lost_answer_without_key_is_unknown(campaign: Campaign) -> None:
    """The task says so, and is not tried again."""
    lost = [row for row in campaign.rows if row.fault == REQUEST_FAULTS["dropped"].title]
    assert {row.variant: row.unknown for row in lost} == {"key": 0, "plain": 2 * JOBS, "reconcile": 0}
    assert [row for row in campaign.rows if row.unknown and not row.may_be_unknown] == []


def test_metadata_database_is_postgresql(stack: CrashStack) -> None:
    if stack.database.note:
        pytest.skip(f"SQLite was used: {stack.database.note}")
