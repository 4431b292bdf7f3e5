"""A job of Informatica as a task of Airflow: the login, and what the page of the job resource asks for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_apitask import exceptions
from tests.airflow.helpers import Comms, Connect, call, context_for, deferred, needs_store
from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer
from tests.systems.servers.informatica import (
    BROKEN,
    ENDLESS,
    LEDGER,
    LOGIN,
    NIGHTLY,
    PASSWORD,
    InformaticaServer,
    Task,
)
from tests.systems.shell import Shell
from tests.systems.ways import BOTH, Kept, carry_out, kill

ACTIVITY = "/saas/api/v2/activity/activityLog"
#: As in the example DAG.
SESSION = {
    "auth_type": "session",
    "session_body": {"@type": "login", "username": "{login}", "password": "{password}"},
    "session_path": "$.icSessionId",
    "session_header": "icSessionId",
    "session_template": "{token}",
    "session_base_url_path": "$.serverUrl",
}
JOB = {
    "job_id": "runId",
    "status_request": {
        "endpoint": "/api/v2/activity/activityLog",
        "params": {"taskId": "{taskId}", "runId": "{runId}"},
    },
    # The list does not have a running run.
    "running_when": {"$": {"length": 0}},
    "success_when": {"$[0].state": 1},
    "failure_when": {"$[0].state": [2, 3]},
    "error_path": "$[0].errorMsg",
    "poll_interval": 0.02,
    "defer_after": 0,
    "cancel_request": {
        "method": "POST",
        "endpoint": "/api/v2/job/stop",
        "body": {"@type": "job", "taskId": "{taskId}", "taskType": "{type}"},
    },
}


@pytest.fixture
def informatica(comms: Comms, connect: Connect) -> Iterator[InformaticaServer]:
    """The service, and the connection ``api`` to its login."""
    with InformaticaServer() as server:
        log_in(connect, server)
        yield server


def log_in(connect: Connect, server: InformaticaServer, password: str = PASSWORD) -> None:
    extra = {**SESSION, "session_endpoint": f"{server.url}/ma/api/v2/user/login"}
    connect(server.api_url, login=LOGIN, password=password, extra=extra)


def start(task: Task = NIGHTLY, **given: Any) -> Any:
    body = given.pop("body", {"@type": "job", "taskId": task.id, "taskType": task.type})
    return call(**{"endpoint": "/api/v2/job", "body": body, "job": JOB, **given})


def bodies(server: InformaticaServer, path: str) -> list[Any]:
    return [request.json() for request in server.requests("POST", f"/saas/api/v2{path}")]


# -- login ---------------------------------------------------------------------------------------


@pytest.mark.feature("informatica", "credential")
@BOTH
def test_login_gives_session_and_base_url(informatica: InformaticaServer, deferrable: bool) -> None:
    """The API is of another origin than the login: what the answer says counts."""
    carry_out(start(deferrable=deferrable))
    login, first = informatica.history[:2]
    assert login.path == "/ma/api/v2/user/login"
    assert login.json() == {"@type": "login", "username": LOGIN, "password": PASSWORD}
    assert first.path == "/saas/api/v2/job"
    assert (first.header("Host") or "").startswith("localhost:")
    assert first.header("icSessionId") is not None
    assert first.header("Authorization") is None


@pytest.mark.feature("informatica", "credential")
def test_login_is_made_once_for_all_requests_of_a_process(informatica: InformaticaServer) -> None:
    carry_out(start(deferrable=False))
    assert len(informatica.history) > 3
    assert informatica.logins == 1


@pytest.mark.feature("informatica", "credential")
def test_login_that_is_refused_tells_the_error_object_and_no_password(
    informatica: InformaticaServer, connect: Connect
) -> None:
    log_in(connect, informatica, password="wrong-one")
    with pytest.raises(exceptions.AuthenticationError, match="user name or the password") as caught:
        carry_out(start())
    assert "wrong-one" not in str(caught.value)
    assert informatica.runs == []


@pytest.mark.feature("informatica", "credential")
@BOTH
def test_session_that_expires_while_the_job_runs(informatica: InformaticaServer, deferrable: bool) -> None:
    def expired(request: Recorded) -> Answer:
        informatica.expire_sessions()
        return informatica.unscripted(request)

    informatica.once("GET", ACTIVITY, expired)
    assert carry_out(start(deferrable=deferrable))[0]["state"] == 1
    assert len(informatica.runs) == 1
    assert informatica.logins >= 2


# -- start ---------------------------------------------------------------------------------------


@pytest.mark.feature("informatica", "start")
@pytest.mark.parametrize(
    ("task", "names"),
    [
        (NIGHTLY, {"taskId": NIGHTLY.id}),
        (NIGHTLY, {"taskName": NIGHTLY.name}),
        (NIGHTLY, {"taskFederatedId": NIGHTLY.federated_id}),
        (LEDGER, {"taskFederatedId": LEDGER.federated_id}),
    ],
    ids=["taskId", "taskName", "taskFederatedId", "taskFederatedId of a folder"],
)
@pytest.mark.parametrize("kind", ["type", "taskType"])
def test_start(informatica: InformaticaServer, task: Task, names: dict[str, str], kind: str) -> None:
    body = {"@type": "job", **names, kind: task.type}
    (entry,) = carry_out(start(body=body))
    assert (entry["objectId"], entry["runId"], entry["state"]) == (task.id, 1, 1)
    assert bodies(informatica, "/job") == [body]
    assert [run.task for run in informatica.runs] == [task]


@pytest.mark.feature("informatica", "options")
def test_ids_may_come_from_templates(informatica: InformaticaServer) -> None:
    task = start(body={"taskName": "{{ params.name }}", "type": "Workflow"})
    carry_out(task, params={"name": NIGHTLY.name})
    assert [run.task for run in informatica.runs] == [NIGHTLY]


@pytest.mark.feature("informatica", "error answer")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"taskId": NIGHTLY.id}, "type of the task is missing"),
        ({"taskType": "MTT"}, "taskFederatedId"),
        ({"taskId": LEDGER.id, "taskType": "MTT"}, "There is no task"),
    ],
    ids=["no type", "no task", "not in the Default folder"],
)
def test_error_object_is_what_the_task_fails_with(
    informatica: InformaticaServer, body: dict[str, Any], said: str
) -> None:
    with pytest.raises(exceptions.RequestFailedError, match=said):
        carry_out(start(body=body))
    assert informatica.runs == []


@pytest.mark.feature("informatica", "result")
def test_job_object_is_what_is_known_of_the_job(informatica: InformaticaServer, comms: Comms) -> None:
    job = {**JOB, "extract": {"name": "$.taskName"}}
    carry_out(start(job=job))
    handle = comms.pushed("t", "api_job")
    assert handle["job_id"] == 1
    assert handle["values"]["name"] == NIGHTLY.name


@pytest.mark.feature("informatica", "answer at once")
def test_stop_as_a_task_of_its_own(informatica: InformaticaServer) -> None:
    """The success object is the answer; the error object fails the task."""
    deferred(task := start(ENDLESS), context_for(task))
    body = {"@type": "job", "taskName": ENDLESS.name, "type": ENDLESS.type}
    stop = call(endpoint="/api/v2/job/stop", body=body)
    assert carry_out(stop)["@type"] == "success"
    assert informatica.runs[0].stopped.wait(5)
    time.sleep(0.1)
    with pytest.raises(exceptions.RequestFailedError, match="does not run"):
        carry_out(stop)


@pytest.mark.feature("informatica", "options")
def test_request_is_what_the_page_shows(informatica: InformaticaServer) -> None:
    carry_out(start(headers={"Accept": "application/json"}))
    (request,) = informatica.requests("POST", "/saas/api/v2/job")
    assert request.header("Content-Type") == "application/json"
    assert request.header("Accept") == "application/json"


# -- outcome -------------------------------------------------------------------------------------


@pytest.mark.feature("informatica", "running", "success", "result")
@BOTH
def test_success(informatica: InformaticaServer, deferrable: bool) -> None:
    informatica.once("GET", ACTIVITY, Answer(json=[]))
    (entry,) = carry_out(start(deferrable=deferrable))
    assert (entry["runId"], entry["state"]) == (1, 1)
    asked = informatica.requests("GET", ACTIVITY)
    assert len(asked) > 1
    assert {tuple(request.query) for request in asked} == {(("taskId", NIGHTLY.id), ("runId", "1"))}


@pytest.mark.feature("informatica", "failure")
@BOTH
def test_failure_tells_the_message(informatica: InformaticaServer, deferrable: bool) -> None:
    with pytest.raises(exceptions.JobFailedError, match=r"TM_6292 .* table ORDERS does not exist"):
        carry_out(start(BROKEN, deferrable=deferrable))


@pytest.mark.feature("informatica", "bad check")
@BOTH
def test_bad_checks_are_survived(informatica: InformaticaServer, deferrable: bool) -> None:
    faults = [Answer(503), Answer(drop="before"), Answer(500, {"@type": "error", "code": "UI_1"})]
    informatica.once("GET", ACTIVITY, *faults)
    assert carry_out(start(deferrable=deferrable))[0]["state"] == 1


@pytest.mark.feature("informatica", "limit", "kill")
@BOTH
def test_deadline_stops_the_job(informatica: InformaticaServer, deferrable: bool) -> None:
    with pytest.raises(exceptions.JobTimedOutError):
        carry_out(start(ENDLESS, job={**JOB, "deadline": 0.2}, deferrable=deferrable))
    assert informatica.runs[0].stopped.is_set()


@pytest.mark.feature("informatica", "one job")
@needs_store
def test_retry_goes_on_with_the_run(informatica: InformaticaServer) -> None:
    task = start()
    deferred(task, context_for(task))
    # The run may have ended by then, so that this try need not defer.
    assert carry_out(start(deferrable=False))[0]["state"] == 1
    assert len(informatica.runs) == 1


@pytest.mark.feature("informatica", "one job")
def test_lost_answer_starts_no_second_run(informatica: InformaticaServer) -> None:
    informatica.once("POST", "/saas/api/v2/job", informatica.lose)
    with pytest.raises(exceptions.SubmitUnknownError):
        carry_out(start(retry_count=3, retry_wait=0.01))
    assert len(informatica.runs) == 1


# -- stop ----------------------------------------------------------------------------------------


@pytest.mark.feature("informatica", "kill")
@BOTH
@pytest.mark.parametrize("name", ["taskId", "taskName"])
def test_kill_stops_the_run(
    informatica: InformaticaServer, comms: Comms, name: str, deferrable: bool
) -> None:
    body = {"@type": "job", name: f"{{{name}}}", "type": "{type}"}
    cancel = {"method": "POST", "endpoint": "/api/v2/job/stop", "body": body}
    task = start(ENDLESS, job={**JOB, "cancel_request": cancel}, deferrable=deferrable)
    kill(task, informatica, comms, ACTIVITY)
    assert informatica.runs[0].stopped.is_set()
    named = {"taskId": ENDLESS.id, "taskName": ENDLESS.name}[name]
    assert bodies(informatica, "/job/stop") == [{"@type": "job", name: named, "type": "MTT"}]


@pytest.mark.feature("informatica", "kill")
def test_stop_that_is_refused_is_told(
    informatica: InformaticaServer, comms: Comms, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = replace_body(JOB, {"@type": "job", "taskId": "{taskId}"})
    kill(start(ENDLESS, job=stop, deferrable=False), informatica, comms, ACTIVITY)
    told = capsys.readouterr().out.replace("\n", " ")
    assert "The cancel request did not succeed" in told
    assert "type of the task is missing" in told


def replace_body(job: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    return {**job, "cancel_request": {**job["cancel_request"], "body": body}}


@BOTH
@pytest.mark.feature("informatica", "operation log")
def test_operation_log(informatica: InformaticaServer, deferrable: bool) -> None:
    log = Kept()
    with pytest.raises(exceptions.JobFailedError):
        carry_out(start(BROKEN, deferrable=deferrable, operation_log=log))
    assert [one for one in log.told if one[0] != "login"] == [("invoke", "success"), ("poll", "failed")]
    poll = log.records[-1]
    assert poll.job_id in (1, "1")
    assert "table ORDERS does not exist" in (poll.error_message or "")
    secrets = [PASSWORD, *(request.header("icSessionId") or PASSWORD for request in informatica.history)]
    assert [secret for secret in secrets if secret in repr(log.records)] == []


@pytest.mark.once
@pytest.mark.feature("informatica", "test run")
@pytest.mark.parametrize("task", [NIGHTLY, BROKEN], ids=["succeeds", "fails"])
def test_test_run(informatica: InformaticaServer, shell: Shell, task: Task) -> None:
    extra = {**SESSION, "session_endpoint": f"{informatica.url}/ma/api/v2/user/login", "allow_http": True}
    shell.connect("informatica", host=informatica.api_url, login=LOGIN, password=PASSWORD, extra=extra)
    with shell.test_run("informatica", "run_task", {"task": task.id, "type": task.type}) as run:
        assert run.finish() == (1 if task.fails else 0)
    assert (BROKEN.fails and "table ORDERS does not exist" in run.text) is task.fails
    assert [started.task for started in informatica.runs] == [task]
    assert PASSWORD not in run.text


# -- the stand-in's callback ---------------------------------------------------------------------


def called_back(receiver: ScriptedServer, answer: Answer, attempts: int, task: Task = NIGHTLY) -> Any:
    """Start a run whose outcome goes to a receiver that answers so; what was posted, and how it went."""
    receiver.on("POST", "/hook", answer)
    with InformaticaServer(seconds=0, patience=0.3, pause=0.05) as server:
        answer = server.unscripted(_login_request())
        session = json.loads(answer.content or b"")["icSessionId"]
        body = {"taskId": task.id, "taskType": task.type, "callbackURL": f"{receiver.url}/hook"}
        url = f"{server.api_url}/api/v2/job"
        started = requests.post(url, json=body, headers={"icSessionId": session}, timeout=5)
        assert started.json()["callbackURL"] == body["callbackURL"]
        deadline = time.monotonic() + 5
        while len(server.deliveries) < attempts and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # a further attempt would come by then
        assert len(server.deliveries) == attempts
        return [request.json() for request in receiver.history], [d.status for d in server.deliveries]


def _login_request() -> Recorded:
    body = json.dumps({"username": LOGIN, "password": PASSWORD}).encode()
    return Recorded("POST", "/ma/api/v2/user/login", "/ma/api/v2/user/login", [], [], body, 0.0, 1)


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        (Answer(200), [200]),
        (Answer(204), [204, 204, 204]),
        (Answer(500), [500, 500, 500]),
        (Answer(200, delay=1), [None, None, None]),
        (Answer(drop="before"), [None, None, None]),
    ],
    ids=["200", "another 2xx", "500", "too late", "dropped"],
)
def test_stand_in_calls_back_three_times(answer: Answer, statuses: list[int | None]) -> None:
    """Only 200 within 30 seconds (0.3 here) is an answer."""
    with ScriptedServer() as receiver:
        posted, seen = called_back(receiver, answer, len(statuses))
    assert seen == statuses
    assert posted[0].pop("endTime").endswith("Z")
    assert posted[0] == {
        "@type": "callbackUrlResponse",
        "objectId": NIGHTLY.id,
        "objectName": NIGHTLY.name,
        "runId": 1,
        "status": "COMPLETED",
    }


def test_stand_in_calls_back_with_a_failure() -> None:
    with ScriptedServer() as receiver:
        posted, _ = called_back(receiver, Answer(200), 1, BROKEN)
    assert [body["status"] for body in posted] == ["FAILED"]


def test_patience_of_the_stand_in_is_that_of_the_page() -> None:
    assert InformaticaServer().patience == 30
