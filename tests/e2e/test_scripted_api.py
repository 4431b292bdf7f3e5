"""What a real Airflow makes of an API that says exactly what a test wants: events, and odd numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import airflow
import pytest

from demo.airflow_service import ComponentAirflow
from demo.processes import Services
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "scripted_dags"
BOOT_TIMEOUT = 150  # seconds
SHARES = tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 3)


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.5)
    return found


def conn(server: ScriptedServer) -> str:
    return json.dumps({"conn_type": "apitask", "host": server.url, "extra": {"allow_http": True}})


@pytest.fixture(scope="module")
def watched() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="module")
def numbers() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="module")
def service(
    services: Services,
    tmp_path_factory: pytest.TempPathFactory,
    watched: ScriptedServer,
    numbers: ScriptedServer,
) -> Iterator[ComponentAirflow]:
    env = {
        "AIRFLOW_CONN_WATCHED": conn(watched),
        "AIRFLOW_CONN_NUMBERS": conn(numbers),
        # A watcher begins when its asset is known to be in use, and its DAG is read again.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "5",
    }
    service = ComponentAirflow(services, tmp_path_factory.mktemp("scripted") / "airflow", DAGS, env=env)
    try:
        service.start(BOOT_TIMEOUT)
        yield service
    finally:
        service.stop()


def test_numbers_pass_through_all_processes(service: ComponentAirflow, numbers: ScriptedServer) -> None:
    """Whole numbers of more than 64 bits end a task that gives one to Airflow as it is."""
    big, amount = "123456789012345678901234567890", "12345678901234567.89"
    job = f'{{"id": {big}, "amount": {amount}}}'.encode()
    kind = {"Content-Type": "application/json"}
    numbers.on("POST", "/jobs", Answer(202, body=job, headers=kind))
    checks = [Answer(json={"status": status}) for status in ("running", "done")]
    numbers.on("POST", "/status", *checks)
    numbers.on("POST", "/result", Answer(body=job, headers=kind))
    service.api.wait_for_dag("numbers", timeout=60)
    service.api.unpause("numbers")
    run = service.api.trigger("numbers", {})
    assert service.wait("numbers", run, timeout=120) == "success"
    for name in ("call", "start", "wait"):
        assert service.api.xcom("numbers", run, name) == {"id": big, "amount": amount}
    assert service.api.xcom("numbers", run, "read") == ["str", "str"]
    asked = {(request.path, request.body.decode()) for request in numbers.history if request.path != "/jobs"}
    # People, and a sensor, have the id of a handle as a text.
    assert asked == {
        ("/status", f'{{"id":{big},"of":{amount}}}'),
        ("/result", f"[{big},{amount}]"),
        ("/status", f'{{"id":"{big}","of":{amount}}}'),
        ("/result", f'["{big}",{amount}]'),
    }


def test_event_arrives_and_its_dag_runs(service: ComponentAirflow, watched: ScriptedServer) -> None:
    answer = {"state": "draft", "version": 1, "rows": 5}

    def dataset(request: Recorded) -> Answer:
        # A check that fails now and then harms nobody.
        return Answer(503) if len(watched.history) % 5 == 0 else Answer(json=answer)

    watched.on("GET", "/dataset", dataset)
    _watch(service, watched, answer)


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
        server.wait_for(count + 8, timeout=200)
        asked, seconds = len(server.history) - count, time.monotonic() - began
        print(f"{asked} checks in {seconds:.1f} s by two watchers at an interval of 1 s")
        assert asked <= seconds * 1.2 + 2
