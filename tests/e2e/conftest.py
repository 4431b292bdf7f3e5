"""A real pygeoapi and a real Airflow, started once for all tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.airflow_service import ComponentAirflow
from demo.processes import Services
from demo.pygeoapi_service import PygeoapiService

REPOSITORY = Path(__file__).resolve().parents[2]
BOOT_TIMEOUT = 150  # seconds


@dataclass(frozen=True)
class Stack:
    """The servers; each component of Airflow is a process of its own, so a test may end and restart it."""

    airflow: ComponentAirflow
    pygeoapi: PygeoapiService

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run of a DAG and return its id."""
        self.airflow.api.wait_for_dag(dag_id, timeout=60)
        self.airflow.api.unpause(dag_id)
        return self.airflow.api.trigger(dag_id, conf)

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the log of a task's first try as text, a line of JSON for each message."""
        lines = self.airflow.api.task_log(dag_id, run_id, task_id)
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder where ``python -m demo`` works."""
    return REPOSITORY


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Stops what the tests have started."""
    with Services() as services:
        yield services


@pytest.fixture(scope="session")
def stack(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Both servers, ready; the example DAGs are known to Airflow."""
    folder = tmp_path_factory.mktemp("stack")
    pygeoapi = PygeoapiService(services, folder / "pygeoapi")
    airflow = ComponentAirflow(
        services, folder / "airflow", REPOSITORY / "example_dags", env=pygeoapi.connection
    )
    pygeoapi.launch()
    airflow.launch()
    pygeoapi.wait_ready(BOOT_TIMEOUT)
    airflow.wait_ready(BOOT_TIMEOUT)
    yield Stack(airflow, pygeoapi)
    airflow.stop()
    pygeoapi.stop()
