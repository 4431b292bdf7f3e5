"""A real pygeoapi, an OGC API - Processes server that nobody here wrote."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import requests

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.jobs import OGC_PROCESSES
from demo.processes import Services, wait_until
from demo.pygeoapi_service import PygeoapiService
from tests.airflow.helpers import Comms, Connect, awaited, call, context_for, deferred, needs_store
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer
from tests.systems.shell import Shell
from tests.systems.ways import BOTH, Kept, carry_out, kill

pytestmark = pytest.mark.e2e

JOB = replace(OGC_PROCESSES, poll_interval=0.2)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PygeoapiService]:
    with Services() as services:
        service = PygeoapiService(services, tmp_path_factory.mktemp("pygeoapi"))
        service.start()
        yield service
        service.stop()


@pytest.fixture
def pygeoapi(running: PygeoapiService, comms: Comms, connect: Connect) -> PygeoapiService:
    connect(running.url)
    return running


def process(seconds: float = 0.5, **given: Any) -> Any:
    """A task that runs the process ``slow``."""
    inputs = {"seconds": seconds, **given.pop("inputs", {})}
    headers = {"Prefer": "respond-async"}
    endpoint = "/processes/slow/execution"
    return call(**{"endpoint": endpoint, "headers": headers, "body": {"inputs": inputs}, "job": JOB, **given})


class Since:
    """What the server has received from now on."""

    def __init__(self, service: PygeoapiService) -> None:
        self.service = service
        self.seen = len(service.requests())

    def requests(self) -> list[tuple[str, str, int]]:
        received = self.service.requests()[self.seen :]
        return [(entry["method"], entry["path"], entry["status"]) for entry in received]

    def wait_for(self, count: int, method: str, path: str | None, timeout: float = 20) -> None:
        """As ``ScriptedServer`` does; a path of None is any."""

        def arrived() -> bool:
            return len([r for r in self.requests() if r[0] == method and path in (None, r[1])]) >= count

        wait_until(arrived, timeout, f"{method} {path} was not received")


@pytest.mark.feature("ogc", "start", "running", "success", "result")
@BOTH
def test_success_is_the_document_of_the_outputs(pygeoapi: PygeoapiService, deferrable: bool) -> None:
    since = Since(pygeoapi)
    result = carry_out(process(deferrable=deferrable))
    assert (result["slept"], result["greeting"]) == (0.5, "Hello after 0.5 s of work")
    (_, path, code), *polls, last = since.requests()
    assert (path, code) == ("/processes/slow/execution", 201)
    assert len({path for _, path, _ in polls}) == 1
    assert last == ("GET", f"{polls[0][1]}/results", 200)


@pytest.mark.feature("ogc", "failure")
@BOTH
def test_failed_process(pygeoapi: PygeoapiService, deferrable: bool) -> None:
    with pytest.raises(exceptions.JobFailedError, match=r"asked to fail after 0\.5 s"):
        carry_out(process(inputs={"fail": True}, deferrable=deferrable))


@pytest.mark.feature("ogc", "kill")
@BOTH
def test_dismiss(pygeoapi: PygeoapiService, comms: Comms, deferrable: bool) -> None:
    since = Since(pygeoapi)
    kill(process(60, deferrable=deferrable), since, comms, None)
    (dismissed,) = [request for request in since.requests() if request[0] == "DELETE"]
    assert dismissed[2] == 200
    assert dismissed[1].rpartition("/")[2] not in [job["jobID"] for job in pygeoapi.jobs()]


@pytest.mark.feature("ogc", "answer at once")
@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"Prefer": "respond-async, wait=5"}},
        {"headers": {"Prefer": "respond-async, wait=5"}, "job": {"poll_interval": 0.2}},
        {"headers": None, "job": None, "mode": "sync"},
    ],
    ids=["ready-made job", "no description", "synchronous"],
)
def test_synchronous_answer(pygeoapi: PygeoapiService, given: dict[str, Any]) -> None:
    """pygeoapi does not understand a list of preferences, does the work, and names a job all the same."""
    since = Since(pygeoapi)
    task = process(**given, deferrable=False)
    assert carry_out(task)["greeting"] == "Hello after 0.5 s of work"
    assert since.requests() == [("POST", "/processes/slow/execution", 200)]


@pytest.mark.feature("ogc", "answer at once", "error answer")
def test_synchronous_failure(pygeoapi: PygeoapiService) -> None:
    with pytest.raises(exceptions.RequestFailedError, match="asked to fail"):
        carry_out(process(inputs={"fail": True}, headers=None, job=None, mode="sync"))


@pytest.mark.feature("ogc", "error answer")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"endpoint": "/processes/nope/execution"}, "identifier not found"),
        ({"body": "no JSON", "body_format": "raw"}, "invalid request data"),
    ],
    ids=["no such process", "no request"],
)
def test_refused(pygeoapi: PygeoapiService, given: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.RequestFailedError, match=said):
        carry_out(process(**given))


@pytest.mark.feature("ogc", "limit")
@BOTH
def test_deadline_dismisses(pygeoapi: PygeoapiService, deferrable: bool) -> None:
    since = Since(pygeoapi)
    with pytest.raises(exceptions.JobTimedOutError):
        carry_out(process(60, job=replace(JOB, deadline=0.5), deferrable=deferrable))
    assert [method for method, _, _ in since.requests() if method == "DELETE"] == ["DELETE"]


@pytest.mark.feature("ogc", "one job")
@needs_store
def test_retry_goes_on_with_the_job(pygeoapi: PygeoapiService, comms: Comms) -> None:
    since = Since(pygeoapi)
    task = process()
    deferred(task, context_for(task))
    assert carry_out(process())["slept"] == 0.5
    assert [method for method, _, _ in since.requests()].count("POST") == 1


@pytest.mark.feature("ogc", "failure")
def test_job_that_somebody_dismissed_is_lost(pygeoapi: PygeoapiService, comms: Comms) -> None:
    task = process(60, job=replace(JOB, not_found_grace=0))
    context = context_for(task)
    trigger: Any = deferred(task, context).trigger
    requests.delete(comms.pushed("t", "api_job")["status_url"], timeout=10).raise_for_status()
    payload = awaited(trigger, context["ti"])
    with pytest.raises(exceptions.JobLostError):
        task.execute_complete(context, payload)


@BOTH
@pytest.mark.feature("ogc", "bad check")
def test_server_that_does_not_answer_for_a_while(
    pygeoapi: PygeoapiService, comms: Comms, deferrable: bool
) -> None:
    """Its process is stopped, and goes on."""
    task = process(1, timeout=0.5, deferrable=deferrable)
    with paused(pygeoapi, Since(pygeoapi)):
        assert carry_out(task)["slept"] == 1
    assert comms.pushed("t", "api_job")["polls"] > 1


@contextmanager
def paused(pygeoapi: PygeoapiService, since: Since) -> Iterator[None]:
    """Stop the server's process for 1.5 seconds, once it was asked for a status."""

    assert pygeoapi.child is not None
    processes = pygeoapi.child.processes()

    def pause() -> None:
        since.wait_for(1, "GET", None)
        for running in processes:
            running.suspend()
        time.sleep(1.5)
        for running in processes:
            running.resume()

    pauser = threading.Thread(target=pause)
    pauser.start()
    yield
    pauser.join()


@pytest.mark.feature("ogc", "credential")
def test_credential_of_the_connection(running: PygeoapiService, comms: Comms, connect: Connect) -> None:
    """pygeoapi asks for none by itself: what a proxy before it would look at arrives, and is told nowhere."""
    with ScriptedServer() as proxy:
        connect(proxy.url, login="geo", password="s3cret-of-geo")
        proxy.on("POST", "/processes/slow/execution", Answer(401, {"description": "who are you?"}))
        with pytest.raises(exceptions.ApiTaskError, match="401") as caught:
            carry_out(process())
        assert (proxy.history[0].header("Authorization") or "").startswith("Basic ")
    assert "s3cret" not in str(caught.value)


@pytest.mark.feature("ogc", "options")
@pytest.mark.parametrize("csv", [True, False])
def test_inputs_and_format_of_the_result(pygeoapi: PygeoapiService, csv: bool) -> None:
    result = carry_out(process(inputs={"csv": csv}))
    assert isinstance(result, str) is csv
    assert "slept" in result


@BOTH
@pytest.mark.feature("ogc", "operation log")
def test_operation_log(pygeoapi: PygeoapiService, deferrable: bool) -> None:
    log = Kept()
    carry_out(process(deferrable=deferrable, operation_log=log))
    assert log.told == [("invoke", "success"), ("poll", "success"), ("result", "success")]
    assert [record.http_status for record in log.records] == [201, 200, 200]
    assert len({record.job_id for record in log.records}) == 1


@pytest.mark.feature("ogc", "test run")
def test_test_run(pygeoapi: PygeoapiService, shell: Shell) -> None:
    shell.connect("pygeoapi", host=pygeoapi.url, extra={"allow_http": True})
    with shell.test_run("ogc_process", "run_process", {"seconds": 1, "fail": False}) as run:
        assert run.finish() == 0
    assert run.value == {"slept": 1, "greeting": "Hello after 1 s of work"}
