"""``airflow apitask test-run`` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

__all__ = ["Shell", "TestRun"]

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
LIMIT = 60  # seconds that a test run may take


class TestRun:
    """A test run that was started; a context manager that ends it."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)
        self.steps: list[dict[str, Any]] = []
        """What it has shown so far, as it came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=LIMIT)

    def until(self, kind: str, word: str = "") -> dict[str, Any]:
        """Read on until a step of that kind is shown with that word in it."""
        out: IO[str] | None = self._process.stdout
        for line in out or ():
            self.steps.append(json.loads(line))
            if self.steps[-1]["kind"] == kind and word in self.steps[-1].get("message", ""):
                return self.steps[-1]
        raise AssertionError(f"no {kind} {word!r} in {self.steps}: {self._process.communicate()}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def finish(self) -> int:
        """Read to the end and return the exit code; what it said is in ``steps``."""
        out, errors = self._process.communicate(timeout=LIMIT)
        self.steps += [json.loads(line) for line in out.splitlines()]
        if self._process.returncode == 2:
            raise AssertionError(errors)
        return self._process.returncode

    @property
    def value(self) -> Any:
        """The result."""
        return next(step["value"] for step in self.steps if step["kind"] == "result")

    @property
    def text(self) -> str:
        """All that it has shown."""
        return json.dumps(self.steps)


class Shell:
    """Where a person tries the example DAGs.

    :param home: AIRFLOW_HOME; nothing has to be there.
    """

    def __init__(self, home: Path) -> None:
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }

    def connect(self, conn_id: str, **fields: Any) -> None:
        """Define a connection."""
        self._env[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps({"conn_type": "apitask", **fields})

    def test_run(self, example: str, task_id: str, conf: Mapping[str, Any]) -> TestRun:
        """Start a test run of a task of an example DAG."""
        command = [sys.executable, "-m", "airflow", "apitask", "test-run", "--json"]
        command += ["--dag-id", f"example_{example}", "--task-id", task_id, "--conf", json.dumps(conf)]
        return TestRun([*command, "--subdir", str(EXAMPLES / f"{example}.py")], self._env)
