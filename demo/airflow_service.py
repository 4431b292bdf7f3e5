"""A real Airflow as child processes: ``airflow standalone``, or its components one by one.

Everything it writes lies in a folder of its own, its database is SQLite there unless told otherwise, and it
listens to the loopback address only.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from demo.airflow_api import AirflowApi, Snapshot
from demo.processes import LOOPBACK, Child, DemoError, ServiceError, Services, free_port, require_free_port

__all__ = ["COMPONENTS", "Airflow", "ComponentAirflow", "StandaloneAirflow"]

USER = "admin"
MIGRATION_TIMEOUT = 120  # seconds
HEARTS = ("scheduler", "dag-processor", "triggerer")  # They note a heartbeat in the database.
COMPONENTS = ("api-server", *HEARTS)

# Shorter rounds than a production system would want: here somebody waits for each of them.
QUICK = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
}

# The log servers of scheduler and triggerer listen to every network interface, there is no option for the
# address, and nobody needs them where all components share a disk. `airflow standalone` has no option to
# leave them out, but it finds `airflow` through the PATH, where this stands first.
WITHOUT_LOG_SERVERS = """\
#!/bin/sh
case "$1" in scheduler | triggerer) set -- "$@" --skip-serve-logs ;; esac
exec {python} -m airflow "$@"
"""


class Airflow(ABC):
    """What both ways to run Airflow have in common.

    :param services: stops the processes in the end
    :param folder: becomes AIRFLOW_HOME and receives the logs; it is created
    :param dags_folder: the DAG files
    :param port: of UI and API on the loopback address; 0 for any free one
    :param env: further environment variables, such as connections; they win over the settings made here
    :param database_url: for SQLAlchemy; a SQLite file in ``folder`` by default
    """

    def __init__(
        self,
        services: Services,
        folder: Path,
        dags_folder: Path,
        *,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        database_url: str | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.user = USER
        self.password = secrets.token_urlsafe(9)
        self.api = AirflowApi(self.url, self.user, self.password)
        self.boot_seconds = 0.0
        self.components: dict[str, Child] = {}
        self._services = services
        self._folder = folder
        self._env = self._environment(dags_folder, database_url, env or {})
        self._started = 0.0
        self._since: dict[str, datetime] = {}

    def launch(self) -> None:
        """Start the processes and return without waiting until they are ready."""
        require_free_port(self.port, "Airflow")
        self._started = time.monotonic()
        self._since = dict.fromkeys(HEARTS, datetime.now(UTC))
        bin_folder = self._folder / "bin"
        bin_folder.mkdir(parents=True)
        command = bin_folder / "airflow"
        command.write_text(WITHOUT_LOG_SERVERS.format(python=shlex.quote(sys.executable)), encoding="utf-8")
        command.chmod(0o755)
        self._passwords_file.write_text(json.dumps({self.user: self.password}), encoding="utf-8")
        self._launch()

    @abstractmethod
    def _launch(self) -> None:
        """Start the processes."""

    def wait_ready(self, timeout: float = 120) -> None:
        """Wait at most ``timeout`` seconds until all components, restarted ones included, work.

        Raises ServiceError with the end of the log of a component that died.
        """
        first = next(iter(self.components.values()))

        def ready() -> bool:
            self.require_alive()
            beats = self.api.heartbeats()
            # A component that was killed counts as healthy for a while, hence the comparison.
            return (
                all(name in beats and beats[name] > self._since[name] for name in HEARTS)
                and self._all_triggerers_beat()
            )

        first.wait_ready(ready, timeout)
        self.boot_seconds = self.boot_seconds or time.monotonic() - self._started

    def _all_triggerers_beat(self) -> bool:
        """Whether each of several triggerers has shown signs of life; of one the health check knows."""
        triggerers = [name for name in self.components if name.startswith("triggerer")]
        if len(triggerers) < 2:
            return True
        since = max(self._since[name] for name in triggerers)
        return len(self.api.beating("TriggererJob", since)) >= len(triggerers)

    def require_alive(self) -> None:
        """Raise ServiceError with the end of its log if a component has died."""
        for child in self.components.values():
            child.require_alive()

    def follow(self, dag_id: str, run_id: str, timeout: float, interval: float = 0.5) -> Iterator[Snapshot]:
        """Look at a run as ``AirflowApi.watch`` does; a component that dies ends it with ServiceError."""
        for snapshot in self.api.watch(dag_id, run_id, timeout, interval):
            yield snapshot
            if not snapshot.finished:
                self.require_alive()

    def wait(self, dag_id: str, run_id: str, timeout: float) -> str:
        """Wait until a run is finished and return its state: success or failed."""
        state = ""
        for snapshot in self.follow(dag_id, run_id, timeout):
            state = snapshot.run_state
        return state

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, state: str, timeout: float, map_index: int = -1
    ) -> dict[str, Any]:
        """Wait until a task instance is in ``state`` and return it; DemoError if the run ends before."""
        for snapshot in self.follow(dag_id, run_id, timeout, interval=0.2):
            for change in snapshot.changes:
                if (change.task_id, change.map_index, change.state) == (task_id, map_index, state):
                    return dict(change.instance)
        raise DemoError(f"Run {run_id} of {dag_id} is over; task {task_id} was not seen {state}.")

    def start(self, timeout: float = 120) -> None:
        """Start everything and wait at most ``timeout`` seconds until it works."""
        self.launch()
        self.wait_ready(timeout)

    def stop(self) -> None:
        """Stop all processes."""
        self.api.close()
        while self.components:
            self._services.stop(self.components.popitem()[1])

    def cli(self, *arguments: str, timeout: float = 60) -> str:
        """Run ``airflow`` with arguments, such as ``apitask log flush``; return the end of what it printed.

        Raises ServiceError if it fails, or takes more than ``timeout`` seconds.
        """
        child = self._start_child(" ".join(arguments), *arguments)
        code = child.wait(timeout)
        self._services.stop(child)
        if code != 0:
            raise ServiceError(f"{child.name} failed (exit code {code}):\n{child.tail()}")
        return child.tail()

    def task_processes(self, instance_id: str, pid: int | None = None) -> list[int]:
        """Return the ids of living processes that work on a task instance (its ``id`` from the API).

        Airflow puts the instance's id in the title of the process (not on macOS); a process of this Airflow
        with the number ``pid`` counts too.
        """
        return [
            process.pid
            for child in self.components.values()
            for process in child.processes()
            if process.pid == pid or instance_id in _command_line(process)
        ]

    def _start_child(self, name: str, *arguments: str) -> Child:
        command = [str(self._folder / "bin" / "airflow"), *arguments]
        log = self._folder / f"{name.replace(' ', '-')}.log"
        return self._services.start(f"airflow {name}", command, self._env, log)

    @property
    def _passwords_file(self) -> Path:
        return self._folder / "passwords.json"

    def _environment(
        self, dags_folder: Path, database_url: str | None, env: Mapping[str, str]
    ) -> dict[str, str]:
        # An Airflow which somebody has configured on this machine must not shine through.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        # Half a dozen processes import the same modules; compiled only once, they are up in half the time.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY", os.environ.get("no_proxy")), LOOPBACK]))
        return {
            **inherited,
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "AIRFLOW_HOME": str(self._folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.user}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._passwords_file),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url or f"sqlite:///{self._folder / 'airflow.db'}",
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            **QUICK,
            **env,
        }


class StandaloneAirflow(Airflow):
    """``airflow standalone``: one command, its components are children of it."""

    def _launch(self) -> None:
        self.components["standalone"] = self._start_child("standalone", "standalone")


class ComponentAirflow(Airflow):
    """Each component is a child of its own, so that a test can kill one and start it again.

    :param triggerers: how many; ``triggerer``, ``triggerer-2`` and so on
    """

    def __init__(self, *args: Any, triggerers: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.triggerers = ["triggerer", *(f"triggerer-{number}" for number in range(2, triggerers + 1))]

    def _launch(self) -> None:
        self.cli("db", "migrate", timeout=MIGRATION_TIMEOUT)
        for name in (*COMPONENTS, *self.triggerers[1:]):
            self.start_component(name)

    def start_component(self, name: str) -> Child:
        """Start a component (again) and return without waiting until it works; see ``wait_ready``."""
        self._since[name] = datetime.now(UTC)
        command = "triggerer" if name in self.triggerers else name
        self.components[name] = self._start_child(name, command)
        return self.components[name]

    def kill_component(self, name: str) -> None:
        """End a component and all its processes at once, with SIGKILL."""
        self._services.stop(self.components.pop(name), grace=0)

    def stop_component(self, name: str) -> None:
        """End a component and all its processes in order, with SIGTERM."""
        self._services.stop(self.components.pop(name))

    def abandon_component(self, name: str) -> None:
        """End only the first process of a component, with SIGKILL; what it started goes on until the end."""
        os.kill(self.components.pop(name).pid, signal.SIGKILL)

    def pause_component(self, name: str) -> None:
        """Stop the clocks of a component and all its processes, with SIGSTOP."""
        for process in self.components[name].processes():
            process.suspend()

    def resume_component(self, name: str) -> None:
        """Let a paused component go on, with SIGCONT."""
        for process in self.components[name].processes():
            process.resume()


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # It has just ended.
        return ""
