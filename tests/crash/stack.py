"""An Airflow with two triggerers that notices within seconds what has died, and its job server."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.airflow_service import ComponentAirflow
from demo.processes import Services, wait_until
from tests.crash.database import MetadataDatabase, metadata_database
from tests.crash.server import CrashServer

__all__ = ["ENDED", "CrashStack", "TaskRecord", "crash_stack"]

DAGS = Path(__file__).parent / "dags"
BOOT_TIMEOUT = 150  # seconds
#: Seconds after which a silent triggerer's triggers go to another. A triggerer is silent while it sets up its
#: access to Airflow's database, at the first question of a trigger: some seconds on a busy machine.
TRIGGERER_TIMEOUT = 10
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: Airflow imports this wherever it starts; tasks are forked from the scheduler and need not import it again.
#: That halves the work of starting one, which is most of what these tests do.
LOCAL_SETTINGS = "import aiohttp, jsonpath_ng, requests, airflow.providers.http.hooks.http\n"

#: What a triggerer says when a trigger that it runs is no longer its own.
_LATE = "Trigger cancelled by user action"

#: What in production takes minutes is to take seconds here; but a scheduler or a task that has to wait for a
#: processor must not count as dead.
QUICK_TO_NOTICE = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "0.5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_TIMEOUT),
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
}


@dataclass(frozen=True)
class TaskRecord:
    """What Airflow's database says of a task instance."""

    dag_id: str
    run_id: str
    map_index: int
    state: str | None
    tries: int
    seconds: float | None
    """From its start to its end, of the last try."""

    @property
    def name(self) -> str:
        """What the task is called on the server."""
        return f"{self.dag_id}/{self.run_id}/{self.map_index}"


@dataclass(frozen=True)
class CrashStack:
    """The servers, and questions to them about many tasks at once."""

    airflow: ComponentAirflow
    server: CrashServer
    database: MetadataDatabase
    folder: Path
    unpaused: set[str] = field(default_factory=set)

    def trigger(self, dag_ids: Collection[str], run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run of each DAG."""
        for dag_id in dag_ids:
            if dag_id not in self.unpaused:
                self.airflow.api.wait_for_dag(dag_id, timeout=60)
                self.airflow.api.unpause(dag_id)
                self.unpaused.add(dag_id)
            self.airflow.api.trigger(dag_id, conf, run_id)

    def tasks(self, *run_ids: str) -> list[TaskRecord]:
        """The task instances of runs, by the run's id."""
        query = "select dag_id, run_id, map_index, state, try_number, duration from task_instance"
        return [task for row in self.database.rows(query) if (task := TaskRecord(*row)).run_id in run_ids]

    def expanded(self, run_ids: Collection[str]) -> list[TaskRecord]:
        """The same without a task that is not mapped yet, and without ones that cannot run."""
        return [task for task in self.tasks(*run_ids) if task.map_index >= 0]

    def wait_ended(self, run_ids: Collection[str], count: int, timeout: float) -> float:
        """Wait until all ``count`` mapped tasks of runs have ended; return the seconds that took."""

        def ended() -> bool:
            tasks = self.expanded(run_ids)
            return len(tasks) == count and all(task.state in ENDED for task in tasks)

        try:
            return wait_until(ended, timeout, f"not all tasks of {', '.join(run_ids)} have ended", 0.5)
        except Exception as error:
            left = [task for task in self.expanded(run_ids) if task.state not in ENDED]
            error.add_note(f"{len(left)} have not: {left[:10]}")
            raise

    def wait_tried_again(self, run_ids: Collection[str], timeout: float) -> None:
        """Wait until Airflow has given up the first try of a mapped task."""
        wait_until(
            lambda: any(task.tries > 1 for task in self.expanded(run_ids)),
            timeout,
            f"no task of {', '.join(run_ids)} is tried again",
        )

    def wait_deferred(self, run_ids: Collection[str], count: int, timeout: float) -> None:
        """Wait until a triggerer has asked for the status of ``count`` jobs of deferred tasks."""

        def deferred() -> bool:
            names = {task.name for task in self.expanded(run_ids) if task.state == "deferred"}
            jobs = list(self.server.jobs.values())
            polled = {json.loads(job.body)["name"] for job in jobs if job.polls}
            return len(names & polled) == count

        wait_until(deferred, timeout, f"{count} tasks of {', '.join(run_ids)} are not deferred")

    def pause_until_taken_over(self) -> int:
        """Stop a triggerer that has triggers until another has them, then let it go on.

        Returns how many it had, when it has seen that they are gone.
        """
        for name in self.airflow.triggerers:
            self.airflow.pause_component(name)
            try:
                owners = self._owners()
                heir = self._beating_triggerer()
                taken = [trigger for trigger, owner in owners.items() if owner not in (heir, None)]
                wait_until(
                    lambda heir=heir, taken=taken: all(  # type: ignore[misc]
                        owner == heir for trigger, owner in self._owners().items() if trigger in taken
                    ),
                    10 * TRIGGERER_TIMEOUT,
                    f"nobody takes over from {name}",
                )
            finally:
                self.airflow.resume_component(name)
            if taken:
                paused = {owners[trigger] for trigger in taken}
                wait_until(
                    lambda paused=paused: any(self._says_late(owner) for owner in paused),  # type: ignore[misc]
                    10 * TRIGGERER_TIMEOUT,
                    f"{name} does not see that its triggers are gone",
                )
                return len(taken)
        raise AssertionError("no triggerer had a trigger")

    def _says_late(self, triggerer_id: int) -> bool:
        # Each trigger writes to a file of its own, named after the triggerer's job.
        files = (self.folder / "logs").glob(f"dag_id=*/run_id=*/task_id=*/**/*.trigger.{triggerer_id}.log")
        return any(_LATE in file.read_text(encoding="utf-8", errors="replace") for file in files)

    def _owners(self) -> dict[int, int | None]:
        """The triggerer of each trigger that a task waits for; others are only left over."""
        query = (
            "select t.id, t.triggerer_id from trigger t join task_instance ti on ti.trigger_id = t.id"
            " where ti.state = 'deferred'"
        )
        return {row[0]: row[1] for row in self.database.rows(query)}

    def _beating_triggerer(self) -> int:
        """The id of the job of the one triggerer that still beats."""
        query = "select id, latest_heartbeat from job where job_type = 'TriggererJob' and end_date is null"
        before = {row[0]: row[1] for row in self.database.rows(query)}
        beating: set[int] = set()

        def beats() -> bool:
            beating.update(job for job, beat in self.database.rows(query) if beat != before.get(job))
            return bool(beating)

        wait_until(beats, 4 * TRIGGERER_TIMEOUT, "no triggerer beats")
        (heir,) = beating
        return heir

    def xcoms(self, key: str) -> dict[str, Any]:
        """The XCom of each task that has one, by the name of the task."""
        query = "select dag_id, run_id, map_index, value from xcom where key = :key"
        rows = self.database.rows(query, key=key)
        return {f"{dag_id}/{run_id}/{index}": _plain(value) for dag_id, run_id, index, value in rows}

    def log(self, task: TaskRecord) -> str:
        """The logs of all tries of a task, worker and triggerer."""
        folder = f"dag_id={task.dag_id}/run_id={task.run_id}"
        mapped = f"/map_index={task.map_index}" if task.map_index >= 0 else ""
        files = (self.folder / "logs" / folder).glob(f"task_id=*{mapped}/attempt=*")
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in sorted(files))

    def triggerer_log(self, words: str) -> list[str]:
        """Lines of the triggerers' own logs that hold these words.

        What a trigger says after its task has ended comes here, not into the log of the task.
        """
        texts = [
            file.read_text(encoding="utf-8", errors="replace") for file in self.folder.glob("triggerer*.log")
        ]
        return [line for text in texts for line in text.splitlines() if words in line]


def _plain(value: Any) -> Any:
    """The value of JSON, which some drivers read and others leave as it is."""
    while isinstance(value, str):
        value = json.loads(value)
    return value


@contextmanager
def crash_stack(folder: Path, env: Mapping[str, str] = QUICK_TO_NOTICE) -> Iterator[CrashStack]:
    """Start everything; end it, and drop the database, when the block is left.

    :param env: settings of Airflow, as environment variables
    """
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS, encoding="utf-8")
    with metadata_database(folder) as database, CrashServer() as server, Services() as services:
        connection = {"conn_type": "apitask", "host": server.url, "extra": {"allow_http": True}}
        env = {**env, **database.env, "AIRFLOW_CONN_CRASH": json.dumps(connection)}
        airflow = ComponentAirflow(services, folder, DAGS, env=env, database_url=database.url, triggerers=2)
        airflow.start(BOOT_TIMEOUT)
        try:
            yield CrashStack(airflow, server, database, folder)
        finally:
            airflow.stop()
