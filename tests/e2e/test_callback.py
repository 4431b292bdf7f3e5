"""Services that call a running Airflow back: the table of what comes and what becomes of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from demo.airflow_service import ComponentAirflow
from demo.processes import Services
from tests.support.scripted_server import Answer, Recorded, ScriptedServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "callback_dags"
BOOT_TIMEOUT = 150  # seconds
RUN_TIMEOUT = 90  # seconds
#: The sample of Informatica's page on its job resource.
SAMPLE = {
    "@type": "callbackUrlResponse",
    "endTime": "2013-02-27T18:57:52.000Z",
    "objectId": "0034J90000000M",
    "objectName": "taskName",
    "runId": 5,
    "status": "COMPLETED",
}


@dataclass
class Job:
    id: str
    url: str
    status: str = "running"
    checks: list[float] = field(default_factory=list)


class Service(ScriptedServer):
    """Takes jobs with a URL to call; the test says how they stand, and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        #: What happens between the arrival of a submit and its answer, by the name of the job.
        self.before: dict[str, Callable[[Job], Any]] = {}

    def unscripted(self, request: Recorded) -> Answer:
        if request.method == "POST" and request.path == "/jobs":
            given = json.loads(request.body)
            job = Job(str(len(self.jobs) + 1), given["callbackURL"])
            self.jobs[given["name"]] = job
            if (act := self.before.get(given["name"])) is not None:
                act(job)
            # As servers do, it repeats what it was given.
            return Answer(200, {"id": job.id, "callbackURL": job.url})
        for job in list(self.jobs.values()):
            if request.path == f"/jobs/{job.id}":
                job.checks.append(time.monotonic())
                return Answer(200, {"status": job.status, "callbackURL": job.url, "rows": 3})
        return super().unscripted(request)


@dataclass
class Called:
    """Airflow, and the service that calls it."""

    airflow: ComponentAirflow
    service: Service
    folder: Path
    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def run(self, dag_id: str, name: str, **conf: Any) -> str:
        self.airflow.api.wait_for_dag(dag_id, timeout=60)
        self.airflow.api.unpause(dag_id)
        return self.airflow.api.trigger(dag_id, conf, name)

    def job(self, name: str) -> Job:
        end = time.monotonic() + RUN_TIMEOUT
        while name not in self.service.jobs:
            assert time.monotonic() < end, f"{name} was not submitted"
            time.sleep(0.1)
        return self.service.jobs[name]

    def deferred(self, dag_id: str, name: str) -> Job:
        job = self.job(name)
        self.airflow.wait_for_task(dag_id, name, "call", "deferred", RUN_TIMEOUT)
        return job

    def ended(self, dag_id: str, name: str) -> str:
        return self.airflow.wait(dag_id, name, RUN_TIMEOUT)

    def state(self, dag_id: str, name: str) -> str:
        return str(self.airflow.api.task_instance(dag_id, name, "call")["state"])

    def log(self, dag_id: str, name: str) -> str:
        lines = self.airflow.api.task_log(dag_id, name, "call")
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)

    def tell(self, what: str, answered: Any, then: str) -> None:
        self.rows.append((what, str(answered), then))


def call(url: str, payload: Any = None, **kwargs: Any) -> int:
    begun = time.monotonic()
    answer = requests.post(url, json=SAMPLE if payload is None else payload, timeout=10, **kwargs)
    assert time.monotonic() - begun < 1, "the route answers within a second"
    assert len(answer.content) < 50, "the route gives nothing away"
    return answer.status_code


@pytest.fixture(scope="module")
def called(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    folder = tmp_path_factory.mktemp("callback")
    with Service() as service:
        connection = {"conn_type": "apitask", "host": service.url, "extra": {"allow_http": True}}
        airflow = ComponentAirflow(
            services,
            folder / "airflow",
            DAGS,
            env={
                "AIRFLOW_CONN_SERVICE": json.dumps(connection),
                "AIRFLOW__APITASK__CALLBACK_SECRET": "a long random text of a test, new one,an old one",
            },
        )
        # Its port is known only now.
        airflow._env["AIRFLOW__APITASK__CALLBACK_BASE_URL"] = airflow.url
        airflow.start(BOOT_TIMEOUT)
        seen = Called(airflow, service, folder)
        yield seen
        airflow.stop()
    print()
    for row in seen.rows:
        print("| {:<44} | {:<9} | {:<60} |".format(*row))


def test_a_callback_wakes_the_task_and_is_confirmed(called: Called) -> None:
    called.run("confirmed", "good")
    job = called.deferred("confirmed", "good")
    time.sleep(3)  # the trigger has begun
    job.status = "completed"
    before, checks = time.monotonic(), len(job.checks)
    assert checks <= 2, "checks are slow while a callback is expected"
    codes = [call(job.url), call(job.url)]
    assert codes == [200, 200]
    assert called.ended("confirmed", "good") == "success"
    assert time.monotonic() - before < 15
    assert len(job.checks) >= checks + 1
    log = called.log("confirmed", "good")
    assert "The service called back with the status 'COMPLETED'" in log
    assert called.airflow.api.xcom("confirmed", "good", "call")["rows"] == 3
    assert call(job.url) == 200, "late"
    assert called.state("confirmed", "good") == "success"
    called.tell("while deferred, twice, and late", "200 ×3", "confirmed by a status request; success once")
