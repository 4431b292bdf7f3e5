"""An API is watched by a real triggerer: an asset event arrives, and its DAG runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import airflow
import pytest

from demo.airflow_service import ComponentAirflow
from demo.processes import Services
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "watcher_dags"
BOOT_TIMEOUT = 150  # seconds
SHARES = tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 3)


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.5)
    return found


def test_event_arrives_and_its_dag_runs(services: Services, tmp_path: Path) -> None:
    answer = {"state": "draft", "version": 1, "rows": 5}

    def dataset(request: Recorded) -> Answer:
        # A check that fails now and then harms nobody.
        return Answer(503) if len(server.history) % 5 == 0 else Answer(json=answer)

    with ScriptedServer() as server:
        server.on("GET", "/dataset", dataset)
        record = {"conn_type": "apitask", "host": server.url, "extra": {"allow_http": True}}
        env = {
            "AIRFLOW_CONN_WATCHED": json.dumps(record),
            # A watcher begins when its asset is known to be in use, and its DAG is read again.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "5",
        }
        service = ComponentAirflow(services, tmp_path / "airflow", DAGS, env=env)
        try:
            service.start(BOOT_TIMEOUT)
            _watch(service, server, answer)
        finally:
            service.stop()


def _watch(service: ComponentAirflow, server: ScriptedServer, answer: dict[str, Any]) -> None:
    api = service.api

    def runs(name: str) -> list[Any]:
        found: list[Any] = api.request("GET", f"/dags/use_{name}/dagRuns")["dag_runs"]
        return [run for run in found if run["state"] == "success"]

    for name in ("published", "large"):
        api.wait_for_dag(f"use_{name}", timeout=60)
        api.unpause(f"use_{name}")
    server.wait_for(3, timeout=120)
    assert not runs("published")

    answer |= {"state": "published", "version": 2}
    (run,) = wait_for(lambda: runs("published"))
    (extra,) = api.xcom("use_published", run["dag_run_id"], "read")
    told = extra["payload"]
    assert told["watermark"] == 2
    assert told["values"] == {"rows": 5}
    assert told["url"] == f"{server.url}/dataset"

    # The same answer does not fire twice, also not for a triggerer that begins anew (3.3).
    if SHARES:
        service.kill_component("triggerer")
        service.start_component("triggerer")
        service.wait_ready(BOOT_TIMEOUT)
    before = len(server.history)
    server.wait_for(before + 5, timeout=90)
    assert len(runs("published")) == 1
    assert not runs("large")

    answer |= {"version": 3, "rows": 500}
    wait_for(lambda: len(runs("published")) == 2 and runs("large"))

    if SHARES:
        # One poll for both watchers: about one request in a second, not two.
        began, count = time.monotonic(), len(server.history)
        time.sleep(10)  # the rate is what is measured: there is no event to wait for
        asked, seconds = len(server.history) - count, time.monotonic() - began
        print(f"{asked} checks in {seconds:.1f} s by two watchers at an interval of 1 s")
        assert 3 <= asked <= seconds * 1.2 + 1
