"""Services that call a running Airflow back: the table of what comes and what becomes of it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from airflow.triggers.base import BaseTrigger

from demo.airflow_service import ComponentAirflow
from demo.processes import Services, wait_until
from tests.crash.database import URL_VARIABLE, metadata_database
from tests.support.scripted_server import Answer, Recorded, ScriptedServer

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "callback_dags"
MANY = 24
#: For how long after their submits jobs are called back, which is longer than a deferral takes, seconds.
AROUND = 20.0
#: Whether this Airflow tells a trigger that its task was ended, and keeps the state of a task (3.3).
HAS_TRIGGER_KILL = hasattr(BaseTrigger, "on_kill")
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
    cancelled: bool = False


class Service(ScriptedServer):
    """Takes jobs with a URL to call; the test says how they stand, and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        #: A submit that is repeated is a job of its own here.
        self.numbers = itertools.count(1)
        #: What happens between the arrival of a submit and its answer, by the name of the job.
        self.before: dict[str, Callable[[Job], Any]] = {}

    def unscripted(self, request: Recorded) -> Answer:
        if request.method == "POST" and request.path == "/jobs":
            given = json.loads(request.body)
            job = Job(str(next(self.numbers)), given["callbackURL"])
            self.jobs[given["name"]] = job
            if (act := self.before.get(given["name"])) is not None:
                act(job)
            # As servers do, it repeats what it was given.
            return Answer(200, {"id": job.id, "callbackURL": job.url})
        for job in list(self.jobs.values()):
            if request.path == f"/jobs/{job.id}" and request.method == "DELETE":
                job.cancelled = True
                return Answer(204)
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
    answer = requests.post(url, json=SAMPLE if payload is None else payload, timeout=60, **kwargs)
    assert len(answer.content) < 50, "the route gives nothing away"
    return answer.status_code


@pytest.fixture(scope="module")
def called(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    folder = tmp_path_factory.mktemp("callback")
    with Service() as service, ExitStack() as stack:
        # Its locks are what a delivery relies on; SQLite has one writer at a time anyway.
        database = None
        if os.environ.get(URL_VARIABLE):
            database = stack.enter_context(metadata_database(folder))
        connection = {"conn_type": "apitask", "host": service.url, "extra": {"allow_http": True}}
        airflow = ComponentAirflow(
            services,
            folder / "airflow",
            DAGS,
            database_url=database.url if database is not None else None,
            env={
                **(database.env if database is not None else {}),
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
    time.sleep(12)  # the trigger runs, and the task can resume
    job.status = "completed"
    checks = len(job.checks)
    assert checks <= 2, "checks are slow while a callback is expected"
    codes = [call(job.url), call(job.url)]
    assert codes == [200, 200]
    assert called.ended("confirmed", "good") == "success"
    assert len(job.checks) >= checks + 1
    log = called.log("confirmed", "good")
    assert "The service called back with the status 'COMPLETED'" in log
    assert called.airflow.api.xcom("confirmed", "good", "call")["rows"] == 3
    assert call(job.url) == 200, "late"
    assert called.state("confirmed", "good") == "success"
    called.tell("while deferred, twice, and late", "200, 3 x", "confirmed by a status request; success once")


def test_no_success_without_confirmation(called: Called) -> None:
    called.run("confirmed", "lied")
    job = called.deferred("confirmed", "lied")
    time.sleep(2)
    checks = len(job.checks)
    assert call(job.url) == 200
    # The callback says COMPLETED, the status does not: it is believed, and asked for at the usual pace now.
    end = time.monotonic() + 30
    while len(job.checks) < checks + 3 and time.monotonic() < end:
        time.sleep(0.2)
    assert len(job.checks) >= checks + 3
    assert called.state("confirmed", "lied") not in ("success", "failed")
    job.status = "failed"
    assert called.ended("confirmed", "lied") == "failed"
    called.tell("says COMPLETED, the status says running", 200, "checked every second; the status decides")


EARLY = {"early": "confirmed", "early-alone": "alone", "early-worker": "confirmed_on_worker"}


def test_before_the_answer_to_the_submit(called: Called) -> None:
    codes: list[int] = []
    for name, dag_id in EARLY.items():

        def at_once(job: Job) -> None:
            job.status = "completed"
            codes.append(call(job.url, {"status": "COMPLETED", "runId": int(job.id)}))

        called.service.before[name] = at_once
        called.run(dag_id, name)
    for name, dag_id in EARLY.items():
        assert called.ended(dag_id, name) == "success", called.log(dag_id, name)
        events = [event["event"] for event in called.airflow.api.event_log(dag_id, name, "call")]
        assert "deferred" not in events, "the callback was there before the task would have been deferred"
    assert codes == [200, 200, 200]
    called.tell("before the submit's answer", 200, "taken before the task is deferred: success")


def test_without_a_status_the_callback_decides(called: Called) -> None:
    for name in ("ok", "failed", "unknown"):
        called.run("alone", f"alone-{name}")
    outcomes = {"ok": ("COMPLETED", "success"), "failed": ("FAILED", "failed"), "unknown": ("HMM", "failed")}
    for name, (word, _) in outcomes.items():
        job = called.deferred("alone", f"alone-{name}")
        assert call(job.url, {"status": "COMPLETED", "runId": "another"}) == 200
        assert call(job.url, {"status": "RUNNING", "runId": int(job.id)}) == 200
        assert call(job.url, {**SAMPLE, "runId": int(job.id), "status": word}) == 200
        assert not job.checks
    for name, (_, state) in outcomes.items():
        assert called.ended("alone", f"alone-{name}") == state, called.log("alone", f"alone-{name}")
    log = called.log("alone", "alone-ok")
    assert "'another', which is not that of this job" in log
    assert called.airflow.api.xcom("alone", "alone-ok", "call")["objectName"] == "taskName"
    assert called.airflow.api.xcom("alone", "alone-ok", "call", "api_callback") is None
    assert "is in none of the lists" in called.log("alone", "alone-unknown")
    called.tell("no status request: another job's id", 200, "ignored, waits on")
    called.tell("no status request: RUNNING, then COMPLETED", 200, "success, the payload is the result")
    called.tell("no status request: FAILED, or an unknown word", 200, "failed, the error names it")


def test_what_is_refused(called: Called) -> None:
    called.run("confirmed", "refused")
    job = called.deferred("confirmed", "refused")
    base, _, token = job.url.rpartition("/")
    payload, _, signature = token.rpartition(".")
    flipped = "A" if payload[5] != "A" else "B"
    ending = "AA" if signature[-2:] != "AA" else "BB"
    tampered = {
        "forged": f"{base}/{'x' * len(token)}",
        "tampered with: the payload": f"{base}/{payload[:5]}{flipped}{payload[6:]}.{signature}",
        "tampered with: the signature": f"{base}/{payload}.{signature[:-2]}{ending}",
        "no token": f"{base}/",
        "a token that is very long": f"{base}/{token}{'a' * 5000}",
    }
    for what, url in tampered.items():
        assert call(url) == 404, what
        called.tell(what, 404, "nothing")
    assert requests.get(job.url, timeout=10).status_code == 404
    big = json.dumps({"status": "COMPLETED", "pad": "x" * 70_000}).encode()
    assert requests.post(job.url, data=big, timeout=10).status_code == 413
    assert requests.post(job.url, data=iter([big]), timeout=10).status_code == 413
    called.tell("oversized, with and without its length", 413, "nothing")
    codes = {call(job.url, {"status": "running", "n": n}) for n in range(40)}
    assert 429 in codes
    called.tell("too often", "200, 429", "the first ones count, the rest is refused with Retry-After")
    job.status = "completed"
    time.sleep(12)  # the task can resume
    call(job.url)
    assert called.ended("confirmed", "refused") == "success"


def test_expired_and_never(called: Called) -> None:
    called.run("alone", "expired", expires=8)
    called.run("alone", "never", deadline=8)
    job = called.job("expired")
    called.job("never")
    assert called.ended("alone", "never") == "failed"
    assert "was not called back for until its deadline" in called.log("alone", "never")
    called.tell("never", "-", "failed at the deadline, or when the URL expires")
    assert called.ended("alone", "expired") == "failed"
    assert call(job.url) == 404
    called.tell("expired", 404, "nothing")


def test_never_where_the_status_can_be_asked_for_the_slow_checks_find_out(called: Called) -> None:
    called.run("confirmed", "silent", poll_interval=5)
    job = called.deferred("confirmed", "silent")
    job.status = "completed"
    assert called.ended("confirmed", "silent") == "success"
    called.tell("never, with a status request", "-", "the slow checks see the end: success")


def test_many_at_once_and_none_is_cancelled_by_being_woken(called: Called) -> None:
    called.run("many", "many")
    jobs = [called.job(f"many-{number}") for number in range(MANY)]
    assert len({job.url for job in jobs}) == MANY

    def deferred() -> int:
        return [ti["state"] for ti in called.airflow.api.task_instances("many", "many")].count("deferred")

    wait_until(lambda: deferred() == MANY, RUN_TIMEOUT, "not all of the tasks are deferred")
    for job in jobs:
        job.status = "completed"

    def until_taken(job: Job) -> int:
        """Call as services do: again where it was not taken."""
        for tries in range(10):
            if (code := call(job.url)) == 200:
                return tries
            assert code == 503
            time.sleep(0.5)
        raise AssertionError("the callback was never taken")

    begun = time.monotonic()
    with ThreadPoolExecutor(MANY) as threads:
        again = sum(threads.map(until_taken, jobs))
    taken = time.monotonic() - begun
    assert called.airflow.wait("many", "many", RUN_TIMEOUT) == "success"
    time.sleep(4)  # the triggers are told to stop a moment after
    assert not [job.id for job in jobs if job.cancelled]
    then = f"{MANY} tasks woken, none cancelled; {taken:.1f} s, {again} sent again"
    called.tell(f"{MANY} at once", "200", then)


def test_none_is_lost_while_its_task_is_being_deferred(called: Called) -> None:
    """Nothing else tells how these jobs ended: each is called back at another moment around its deferral."""
    codes: list[int] = []

    def later(job: Job, seconds: float) -> None:
        time.sleep(seconds)
        while (code := call(job.url, {"status": "COMPLETED"})) == 503:
            time.sleep(0.2)
        codes.append(code)

    with ThreadPoolExecutor(MANY) as threads:

        def soon(seconds: float, job: Job) -> None:
            threads.submit(later, job, seconds)

        for number in range(MANY):
            called.service.before[f"race-{number}"] = partial(soon, number * AROUND / MANY)
        called.run("race", "race")
        assert called.airflow.wait("race", "race", RUN_TIMEOUT) == "success"
    assert codes == [200] * MANY
    deferred = sum(
        any(
            event["event"] == "deferred"
            for event in called.airflow.api.event_log("race", "race", "call")
            if event["map_index"] == number
        )
        for number in range(MANY)
    )
    then = f"{MANY} jobs, {deferred} of them deferred: all of them succeed"
    called.tell(f"0 to {AROUND:.0f} s after the submit, no status request", "200", then)


def test_a_person_who_ends_the_task_still_cancels_its_job(called: Called) -> None:
    called.run("alone", "ended")
    job = called.deferred("alone", "ended")
    time.sleep(3)
    path = "/dags/alone/dagRuns/ended/taskInstances/call"
    called.airflow.api.request("PATCH", path, json={"new_state": "failed"})
    if HAS_TRIGGER_KILL:
        wait_until(lambda: job.cancelled, 20, "the job was not cancelled")
    assert call(job.url, {"status": "COMPLETED", "runId": int(job.id)}) == 200
    assert called.state("alone", "ended") == "failed"
    called.tell("after somebody has marked the task as failed", 200, "nothing; the job was cancelled")


def test_it_comes_between_two_tries(called: Called) -> None:
    """The worker is killed in its submit; what comes then is for the next try, which submits the same."""
    held = threading.Event()
    urls: list[str] = []

    def hold(job: Job) -> None:
        urls.append(job.url)
        if len(urls) == 1:
            held.wait(60)

    called.service.before["killed"] = hold
    called.run("killed", "killed")
    job = called.job("killed")
    (instance,) = called.airflow.api.task_instances("killed", "killed")
    os.kill(instance["pid"], signal.SIGKILL)
    assert call(job.url, {"status": "COMPLETED"}) == 200
    held.set()
    if not HAS_TRIGGER_KILL:
        wait_until(lambda: len(urls) == 2, RUN_TIMEOUT, "it was not submitted again")
        job = called.job("killed")
        assert call(job.url, {"status": "COMPLETED"}) == 200
    assert called.ended("killed", "killed") == "success", called.log("killed", "killed")
    assert urls[1:] == [job.url]
    if HAS_TRIGGER_KILL:
        assert urls[0] == urls[1], "the repeated submit has the same URL"
        called.tell("between two tries, the worker was killed", 200, "the next try takes it: success")


def test_the_triggerer_is_down(called: Called) -> None:
    called.run("confirmed", "down")
    job = called.deferred("confirmed", "down")
    called.airflow.kill_component("triggerer")
    time.sleep(12)  # the task can resume
    job.status = "completed"
    assert call(job.url) == 200
    assert called.ended("confirmed", "down") == "success"
    called.airflow.start_component("triggerer")
    called.airflow.wait_ready(BOOT_TIMEOUT)
    called.tell("while the triggerer is down", 200, "a worker goes on at once: success")


def test_the_url_is_nowhere_to_be_read(called: Called) -> None:
    tokens = {name: job.url.rpartition("/")[2] for name, job in called.service.jobs.items()}
    assert len(tokens) >= 9
    found = [
        (str(path.relative_to(called.folder)), name)
        for path in called.folder.rglob("*")
        if path.is_file() and path.suffix != ".py"
        for name, token in tokens.items()
        if token.encode() in path.read_bytes()
    ]
    assert not found, "logs, the database with XComs, rendered fields, trigger rows and states"
    assert urlsplit(next(iter(called.service.jobs.values())).url).path.startswith("/apitask/callback/")
