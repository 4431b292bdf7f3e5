"""The async API of Panoply's flex connector as a task of Airflow: trigger, status check, main call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_apitask import exceptions
from tests.airflow.helpers import Comms, Connect, call, context_for, deferred, needs_store
from tests.support import Answer
from tests.systems.servers.panoply import BROKEN, ENDLESS, ORDERS, ROWS, TOKEN, PanoplyServer
from tests.systems.shell import Shell
from tests.systems.ways import BOTH, Kept, carry_out, kill

STATUS = "/exports/status"
#: As in the example DAG.
JOB: dict[str, Any] = {
    "job_id": "result.id",
    "status_request": {"endpoint": STATUS, "params": {"export_id": "{result.id}"}},
    "status_path": "result.state",
    "success_values": ["done"],
    "failure_values": ["broken"],
    "unknown_status": "running",
    "error_path": "result.message",
    "poll_interval": 0.02,
    "result_request": {"endpoint": "/files", "params": {"file": "{result.identifier}"}},
    "result_path": "rows",
}
#: The same where all of it is XML.
XML = {"Accept": "application/xml"}
XML_JOB: dict[str, Any] = {
    "job_id": "/answer/result/id",
    "status_request": {
        "method": "POST",
        "endpoint": STATUS,
        "body": {"check": {"export_id": "{/answer/result/id}"}},
        "body_format": "xml",
    },
    "status_path": "/answer/result/state",
    "success_values": ["done"],
    "failure_values": ["broken"],
    "unknown_status": "running",
    "error_path": "/answer/result/message",
    "poll_interval": 0.02,
    "result_request": {
        "method": "POST",
        "endpoint": "/files",
        "body": {"main": {"file": "{/answer/result/identifier}"}},
        "body_format": "xml",
    },
    "result_path": "/answer/rows",
}
TRIGGERS: dict[str, dict[str, Any]] = {
    "JSON": {"body": {"table": ORDERS}},
    "XML": {"body": f"<export><table>{ORDERS}</table></export>", "body_format": "xml", "job": XML_JOB},
    "GET": {"method": "GET", "params": {"table": ORDERS}},
}
BEARER = {"auth_type": "bearer", "bearer_token": TOKEN}


@pytest.fixture
def panoply(comms: Comms, connect: Connect) -> Iterator[PanoplyServer]:
    """The service, and the connection ``api`` to it."""
    with PanoplyServer() as server:
        connect(server.url, extra=BEARER)
        yield server


def collect(table: str = ORDERS, **given: Any) -> Any:
    job = {**JOB, **given.pop("job", {})}
    return call(**{"endpoint": "/exports", "body": {"table": table}, "job": job, **given})


def asked(server: PanoplyServer) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in server.history]


# -- trigger -------------------------------------------------------------------------------------


@pytest.mark.feature("panoply", "start", "success")
@BOTH
@pytest.mark.parametrize("kind", ["JSON", "XML", "GET"])
def test_trigger(panoply: PanoplyServer, kind: str, deferrable: bool) -> None:
    given = {"endpoint": "/exports", "job": JOB, **TRIGGERS[kind]}
    rows = carry_out(call(**given, deferrable=deferrable))
    assert rows == (ROWS if kind != "XML" else [{"id": "1", "sum": "10"}, {"id": "2", "sum": "20"}])
    assert [export.table for export in panoply.exports] == [ORDERS]


@pytest.mark.feature("panoply", "options")
def test_url_parameters_and_headers(panoply: PanoplyServer) -> None:
    """Each of the three calls has its own."""
    job = {
        "status_request": {**JOB["status_request"], "headers": {"X-Step": "check"}},
        "result_request": {**JOB["result_request"], "headers": {"X-Step": "main"}},
    }
    task = collect(headers={"X-Step": "trigger"}, params={"day": "{{ ds }}"}, job=job)
    carry_out(task, ds="2026-01-02")
    steps = {request.path: request for request in panoply.history}
    assert {path: request.header("X-Step") for path, request in steps.items()} == {
        "/exports": "trigger",
        STATUS: "check",
        "/files": "main",
    }
    assert steps["/exports"].query == [("day", "2026-01-02")]


@pytest.mark.feature("panoply", "start")
@BOTH
def test_async_identifier_is_used_in_the_status_check(panoply: PanoplyServer, deferrable: bool) -> None:
    """``export_id={result.id}`` as on the page; it is encoded, whatever it holds."""
    carry_out(collect(deferrable=deferrable))
    (export,) = panoply.exports
    assert {tuple(r.query) for r in panoply.requests("GET", STATUS)} == {(("export_id", export.id),)}


@pytest.mark.feature("panoply", "start")
def test_async_identifier_that_is_not_there(panoply: PanoplyServer) -> None:
    panoply.once("POST", "/exports", Answer(json={"result": {"number": 7}}))
    with pytest.raises(exceptions.ApiTaskError, match=r"result\.id"):
        carry_out(collect())
    assert asked(panoply) == [("POST", "/exports")]


@pytest.mark.feature("panoply", "error answer")
def test_trigger_that_is_refused(panoply: PanoplyServer) -> None:
    with pytest.raises(exceptions.RequestFailedError, match=r"422 .*there is no table nope"):
        carry_out(collect("nope"))
    assert asked(panoply) == [("POST", "/exports")]


@pytest.mark.feature("panoply", "credential")
def test_credential_goes_with_all_calls_and_is_not_shown(
    panoply: PanoplyServer, connect: Connect, comms: Comms, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out(collect())
    assert {request.header("Authorization") for request in panoply.history} == {f"Bearer {TOKEN}"}
    assert TOKEN not in f"{comms.values} {comms.store} {capsys.readouterr()}"
    connect(panoply.url, extra={**BEARER, "bearer_token": "not-the-one"})
    with pytest.raises(exceptions.ApiTaskError, match=r"401 .*token is not valid") as caught:
        carry_out(collect(task_id="other"))
    assert "not-the-one" not in f"{caught.value!r} {caught.value}"


# -- status check --------------------------------------------------------------------------------


@pytest.mark.feature("panoply", "running")
@BOTH
def test_repeat_frequency(panoply: PanoplyServer, deferrable: bool) -> None:
    panoply.once("GET", STATUS, *[Answer(json={"result": {"state": "waiting"}})] * 2)
    carry_out(collect(job={"poll_interval": 0.2}, deferrable=deferrable))
    at = [request.at for request in panoply.requests("GET", STATUS)]
    waits = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert len(waits) >= 2
    assert all(wait >= 0.19 for wait in waits)


@pytest.mark.feature("panoply", "limit")
@BOTH
def test_maximum_iterations(panoply: PanoplyServer, deferrable: bool) -> None:
    """The job fails even though the export is still running, and says that it is."""
    with pytest.raises(exceptions.JobTimedOutError, match="may still be running on the server"):
        carry_out(collect(ENDLESS, job={"max_polls": 3}, deferrable=deferrable))
    assert len(panoply.requests("GET", STATUS)) == 3
    assert panoply.requests("GET", "/files") == []


@pytest.mark.feature("panoply", "success", "running")
@BOTH
def test_completion_key_and_value(panoply: PanoplyServer, deferrable: bool) -> None:
    """The checks stop at the completion value, and the main call comes next; any other value goes on."""
    carry_out(collect(deferrable=deferrable))
    trigger, *status, main = asked(panoply)
    assert (trigger, main) == (("POST", "/exports"), ("GET", "/files"))
    assert len(status) > 1
    assert set(status) == {("GET", STATUS)}


@pytest.mark.feature("panoply", "success")
@pytest.mark.parametrize("value", [True, 3, "100 %"])
def test_completion_value_may_be_any(panoply: PanoplyServer, value: Any) -> None:
    panoply.once("GET", STATUS, Answer(json={"result": {"state": "no, not yet"}}))
    panoply.on("GET", STATUS, Answer(json={"result": {"state": value, "identifier": "f"}}))
    panoply.on("GET", "/files", Answer(json={"rows": []}))
    assert carry_out(collect(job={"success_values": [value]})) == []


@pytest.mark.feature("panoply", "failure")
@BOTH
@pytest.mark.parametrize("kind", ["JSON", "XML"])
def test_failure_value(panoply: PanoplyServer, kind: str, deferrable: bool) -> None:
    given = {**TRIGGERS[kind], "job": JOB if kind == "JSON" else XML_JOB}
    given["body"] = {"table": BROKEN} if kind == "JSON" else {"export": {"table": BROKEN}}
    with pytest.raises(exceptions.JobFailedError, match="table broken cannot be read"):
        carry_out(call(endpoint="/exports", deferrable=deferrable, **given))
    assert panoply.requests(path="/files") == []


@pytest.mark.feature("panoply", "options")
@pytest.mark.parametrize("body_format", ["json", "xml"])
def test_status_check_by_post(panoply: PanoplyServer, body_format: str) -> None:
    body: Any = {"export_id": "{result.id}"}
    if body_format == "xml":
        # Its answer is XML, though that to the trigger was JSON.
        body = "<check><export_id>{result.id}</export_id></check>"
    check = {"method": "POST", "endpoint": STATUS, "body": body, "body_format": body_format}
    job: dict[str, Any] = {"status_request": check}
    if body_format == "xml":
        job |= {
            "status_path": "/answer/result/state",
            "result_request": {
                "endpoint": "/files",
                "params": {"file": "{/answer/result/identifier}"},
            },
        }
    assert carry_out(collect(job=job)) == ROWS
    assert {request.method for request in panoply.requests(path=STATUS)} == {"POST"}


@pytest.mark.feature("panoply", "bad check")
@BOTH
@pytest.mark.parametrize("fault", [Answer(503), Answer(500), Answer(drop="before"), Answer(text="<html>")])
def test_bad_checks_are_survived(panoply: PanoplyServer, fault: Answer, deferrable: bool) -> None:
    panoply.once("GET", STATUS, fault, fault)
    assert carry_out(collect(deferrable=deferrable)) == ROWS
    assert len(panoply.exports) == 1


@pytest.mark.feature("panoply", "one job")
@needs_store
def test_retry_goes_on_with_the_export(panoply: PanoplyServer) -> None:
    task = collect()
    deferred(task, context_for(task))
    assert carry_out(collect()) == ROWS
    assert len(panoply.exports) == 1


@pytest.mark.feature("panoply", "one job")
def test_lost_answer_triggers_no_second_export(panoply: PanoplyServer) -> None:
    panoply.once("POST", "/exports", panoply.lose)
    with pytest.raises(exceptions.SubmitUnknownError):
        carry_out(collect(retry_count=3, retry_wait=0.01))
    assert len(panoply.exports) == 1


@pytest.mark.feature("panoply", "kill")
@BOTH
def test_kill_tells_that_the_export_goes_on(
    panoply: PanoplyServer, comms: Comms, capsys: pytest.CaptureFixture[str], deferrable: bool
) -> None:
    """The page knows no call that ends one."""
    kill(collect(ENDLESS, deferrable=deferrable), panoply, comms, STATUS)
    assert "may go on on the server: its task was ended by hand" in capsys.readouterr().out
    assert {request.method for request in panoply.history} == {"POST", "GET"}


# -- main call -----------------------------------------------------------------------------------


@pytest.mark.feature("panoply", "result")
@BOTH
def test_result_identifier_is_used_in_the_main_call(panoply: PanoplyServer, deferrable: bool) -> None:
    assert carry_out(collect(deferrable=deferrable)) == ROWS
    (main,) = panoply.requests("GET", "/files")
    assert main.query == [("file", panoply.exports[0].file)]


@pytest.mark.feature("panoply", "result")
def test_identifiers_of_both_answers_in_a_path(panoply: PanoplyServer, comms: Comms) -> None:
    """Where both answers have one at the same path, the later call takes that of the later answer."""
    panoply.on("GET", "/exports/first/status", Answer(json={"result": {"id": "a/b", "state": "done"}}))
    panoply.once("POST", "/exports", Answer(json={"result": {"id": "first"}}))
    panoply.on("GET", "/files/a%2Fb", Answer(json={"rows": [1]}))
    job = {"status_request": "/exports/{result.id}/status", "result_request": "/files/{result.id}"}
    assert carry_out(collect(job=job)) == [1]
    assert comms.pushed("t", "api_job")["job_id"] == "first"


@pytest.mark.feature("panoply", "result")
def test_main_call_that_fails_is_made_again_and_no_other_export(panoply: PanoplyServer) -> None:
    panoply.once("GET", "/files", Answer(503), Answer(404))
    assert carry_out(collect()) == ROWS
    assert len(panoply.exports) == 1


@pytest.mark.feature("panoply", "answer at once")
def test_main_call_alone(panoply: PanoplyServer) -> None:
    """With the async API feature off."""
    assert carry_out(call(method="GET", endpoint=f"/tables/{ORDERS}", response_path="rows")) == ROWS
    xml = call(method="GET", endpoint=f"/tables/{ORDERS}", headers=XML, response_path="/answer/rows/sum")
    assert carry_out(xml) == ["10", "20"]


# -- operation log, test run ---------------------------------------------------------------------


@pytest.mark.feature("panoply", "operation log")
@BOTH
def test_operation_log(panoply: PanoplyServer, deferrable: bool) -> None:
    """A record of each of the three calls, the checks together in one."""
    log = Kept()
    carry_out(collect(deferrable=deferrable, operation_log=log))
    assert log.told == [("invoke", "success"), ("poll", "success"), ("result", "success")]
    _, poll, main = log.records
    assert (poll.job_id, poll.job_status) == (panoply.exports[0].id, "done")
    assert poll.requests == len(panoply.requests("GET", STATUS))
    assert main.method == "GET"
    assert TOKEN not in repr(log.records)


@pytest.mark.once
@pytest.mark.feature("panoply", "test run")
@pytest.mark.parametrize(("table", "code"), [(ORDERS, 0), (BROKEN, 1)])
def test_test_run(panoply: PanoplyServer, shell: Shell, table: str, code: int) -> None:
    shell.connect("panoply", host=panoply.url, extra={**BEARER, "allow_http": True})
    with shell.test_run("panoply", "collect", {"table": table}) as run:
        assert run.finish() == code
    assert code or run.value == ROWS
    assert ("table broken cannot be read" in run.text) is bool(code)
    assert TOKEN not in run.text
