from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

# Before Airflow is imported by anybody: it makes its home at import.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="apitask-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

if TYPE_CHECKING:
    from tests.airflow.helpers import Comms, Connect
    from tests.support.job_server import JobServer


@pytest.fixture(autouse=True)
def _outside_of_a_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.bases.operator import ExecutorSafeguard

    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    """What XCom talks to, in place of the supervisor."""
    from airflow.sdk.execution_time import task_runner

    from tests.airflow.helpers import Comms

    made = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", made, raising=False)
    return made


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define the connection ``api``, or one of another id, for a base URL."""
    import json

    def define(host: str, conn_id: str = "api", **fields: Any) -> None:
        extra = {"allow_http": True, **fields.pop("extra", {})}
        record = {"conn_type": "apitask", "host": host, "extra": extra, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(record))

    return define


@pytest.fixture
def jobs(comms: Comms, connect: Connect) -> Iterator[JobServer]:
    """An asynchronous API, with the connection ``api`` to it."""
    from tests.support.job_server import JobServer

    with JobServer() as server:
        connect(server.url)
        yield server
