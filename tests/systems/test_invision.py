"""A data flow of Invision as a task of Airflow: what the page of its execution API says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_apitask import exceptions
from tests.airflow.helpers import Comms, Connect, TaskInstance, call, context_for, deferred, needs_store
from tests.support import Answer, Recorded
from tests.systems.servers.invision import API_KEY, BROKEN, ENDLESS, SALES, InvisionServer
from tests.systems.shell import Shell
from tests.systems.ways import BOTH, Kept, carry_out, kill

FLOWS = "/api/pub/v1/dataflows"
#: As in the example DAG.
JOB: dict[str, Any] = {
    "job_id": "runId",
    "status_path": "$.status",
    "success_values": ["Succeeded"],
    "failure_values": ["Failed"],
    "running_values": ["Pending", "Running"],
    "poll_interval": 0.02,
}
#: The two places where the page lets the key stand.
KEYS = {
    "query": {"auth_type": "api_key", "key_in": "query", "key_name": "api_key", "key_secret": API_KEY},
    "header": {"auth_type": "api_key", "key_in": "header", "key_name": "x-api-key", "key_secret": API_KEY},
}
#: Forms in which the key must not be seen anywhere.
SHOWN = ("key of the flows", "key+of+the+flows", "key%20of%20the%20flows")


@pytest.fixture
def invision(comms: Comms, connect: Connect) -> Iterator[InvisionServer]:
    """The service, and the connection ``api`` to it with the key in the header."""
    with InvisionServer() as server:
        connect(server.base_url, extra=KEYS["header"])
        yield server


def start(flow: str = SALES, **given: Any) -> Any:
    status = f"{FLOWS}/{flow}/runs/{{runId}}/status"
    job = {**JOB, "status_request": status, **given.pop("job", {})}
    return call(**{"endpoint": f"{FLOWS}/{flow}/start", "job": job, **given})


def awaiting(flow: str = SALES, job: Any = JOB, **given: Any) -> Any:
    return start(flow, **given) if job is not None else call(endpoint=f"{FLOWS}/{flow}/start", **given)


def checks(server: InvisionServer) -> list[Recorded]:
    return server.requests("GET")


# -- the key -------------------------------------------------------------------------------------


@pytest.mark.feature("invision", "credential")
@BOTH
@pytest.mark.parametrize("place", list(KEYS))
def test_api_key(invision: InvisionServer, connect: Connect, place: str, deferrable: bool) -> None:
    connect(invision.base_url, extra=KEYS[place])
    assert carry_out(start(deferrable=deferrable))["status"] == "Succeeded"
    in_query = {("api_key", API_KEY) in request.query for request in invision.history}
    in_header = {request.header("x-api-key") == API_KEY for request in invision.history}
    assert (in_query, in_header) == ({place == "query"}, {place == "header"})


@pytest.mark.feature("invision", "credential")
@BOTH
@pytest.mark.parametrize("place", list(KEYS))
def test_api_key_is_shown_nowhere(
    invision: InvisionServer,
    connect: Connect,
    comms: Comms,
    capsys: pytest.CaptureFixture[str],
    place: str,
    deferrable: bool,
) -> None:
    """Not in the log, not in what is kept of a job, though it stands in every URL."""
    connect(invision.base_url, extra=KEYS[place])
    with pytest.raises(exceptions.JobFailedError) as caught:
        carry_out(start(BROKEN, deferrable=deferrable))
    left = f"{comms.values} {comms.store} {capsys.readouterr()} {caught.value!r} {caught.value.data}"
    assert invision.runs[0].id in left
    assert [form for form in SHOWN if form in left] == []


@pytest.mark.feature("invision", "credential", "error answer")
@pytest.mark.parametrize("place", list(KEYS))
def test_server_that_repeats_the_key(
    invision: InvisionServer, connect: Connect, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """As those do that put the URL or the headers of a request into their error."""

    def repeats(request: Recorded) -> Answer:
        return Answer(500, {"message": f"{request.target} failed, key {request.header('x-api-key')}"})

    connect(invision.base_url, extra=KEYS[place])
    invision.once("POST", f"/invision{FLOWS}/{SALES}/start", repeats)
    with pytest.raises(exceptions.SubmitUnknownError, match="failed, key") as caught:
        carry_out(start())
    shown = f"{caught.value!r} {caught.value} {caught.value.data} {capsys.readouterr()}"
    assert [form for form in SHOWN if form in shown] == []


@pytest.mark.feature("invision", "credential", "error answer")
@pytest.mark.parametrize("place", list(KEYS))
def test_wrong_key_is_a_500(invision: InvisionServer, connect: Connect, place: str) -> None:
    connect(invision.base_url, extra={**KEYS[place], "key_secret": "not-the-one"})
    with pytest.raises(exceptions.ApiTaskError, match=r"500 .*API key is not valid") as caught:
        carry_out(start())
    assert "not-the-one" not in f"{caught.value!r} {caught.value}"
    assert invision.runs == []


# -- start ---------------------------------------------------------------------------------------


@pytest.mark.feature("invision", "start", "options")
def test_start(invision: InvisionServer, comms: Comms) -> None:
    """The data flow may come from a template."""
    task = call(
        endpoint=f"{FLOWS}/{{{{ params.flow }}}}/start",
        job={**JOB, "status_request": f"{FLOWS}/{{{{ params.flow }}}}/runs/{{runId}}/status"},
    )
    carry_out(task, params={"flow": SALES})
    first = invision.history[0]
    assert (first.method, first.path) == ("POST", f"/invision{FLOWS}/{SALES}/start")
    assert (first.query, first.body) == ([], b"")
    assert comms.pushed("t", "api_job")["job_id"] == invision.runs[0].id


@pytest.mark.feature("invision", "error answer")
def test_500_to_the_start_is_not_sent_again(invision: InvisionServer) -> None:
    """As everywhere, a 500 may come after a run was started: the task says so, and ends."""
    with pytest.raises(exceptions.SubmitUnknownError, match=r"500 .*data flow does not exist") as caught:
        carry_out(start("no-such-flow", retry_count=3, retry_wait=0.01))
    assert "may have taken the request" in str(caught.value)
    assert len(invision.history) == 1


@pytest.mark.feature("invision", "error answer")
def test_500_can_be_the_refusal_that_the_page_means(invision: InvisionServer) -> None:
    with pytest.raises(exceptions.RequestFailedError, match=r"500 .*data flow does not exist") as caught:
        carry_out(start("no-such-flow", job={"final_status_codes": [500]}))
    assert "may have taken" not in str(caught.value)
    assert len(invision.history) == 1


# -- await=true ----------------------------------------------------------------------------------


@pytest.mark.feature("invision", "answer at once")
@pytest.mark.parametrize("mode", ["async", "sync"])
def test_await_true(invision: InvisionServer, mode: str) -> None:
    """The response to the start has the outcome; with a ``job``, it is polled once for the result."""
    given: dict[str, Any] = {"params": {"await": True}, "timeout": 60, "deferrable": False}
    if mode == "sync":
        rules = {"success_when": {"$.status": "Succeeded"}, "failure_when": {"$.status": "Failed"}}
        given |= {"job": None, "response_validation": rules}
    assert carry_out(awaiting(**given)) == {"runId": invision.runs[0].id, "status": "Succeeded"}
    request, *polls = invision.history
    assert request.query == [("await", "true")]
    assert len(polls) == (1 if mode == "async" else 0)


@pytest.mark.feature("invision", "answer at once", "failure")
def test_await_true_of_a_flow_that_fails(invision: InvisionServer) -> None:
    with pytest.raises(exceptions.JobFailedError, match="Failed"):
        carry_out(start(BROKEN, params={"await": True}, deferrable=False))
    assert checks(invision) == []


@pytest.mark.feature("invision", "limit", "one job")
def test_await_true_that_takes_longer_than_the_timeout(invision: InvisionServer) -> None:
    """The flow runs on: nobody knows how it ends, and it is not started again."""
    with pytest.raises(exceptions.SubmitUnknownError, match=r"0\.2 s"):
        carry_out(start(ENDLESS, params={"await": True}, timeout=0.2, retry_count=3, retry_wait=0.01))
    assert len(invision.runs) == 1


# -- status --------------------------------------------------------------------------------------


@pytest.mark.feature("invision", "running", "success", "result")
@BOTH
def test_success(invision: InvisionServer, deferrable: bool) -> None:
    answer = carry_out(start(deferrable=deferrable))
    (run,) = invision.runs
    assert answer == {"runId": run.id, "status": "Succeeded"}
    assert len(checks(invision)) > 1
    assert {request.path for request in checks(invision)} == {invision.status_path(run)}


@pytest.mark.feature("invision", "running")
def test_pending_and_running_are_told(invision: InvisionServer, capsys: pytest.CaptureFixture[str]) -> None:
    carry_out(start(deferrable=False))
    told = capsys.readouterr().out
    assert "status 'Pending'" in told
    assert "status 'Running'" in told


@pytest.mark.feature("invision", "failure")
@BOTH
def test_failure(invision: InvisionServer, deferrable: bool) -> None:
    with pytest.raises(exceptions.JobFailedError, match="Failed"):
        carry_out(start(BROKEN, deferrable=deferrable))


@pytest.mark.feature("invision", "failure")
@BOTH
def test_status_that_the_page_does_not_know(invision: InvisionServer, deferrable: bool) -> None:
    invision.once("POST", f"/invision{FLOWS}/{SALES}/start", Answer(json={"runId": "r", "status": "Pending"}))
    invision.on(
        "GET", f"/invision{FLOWS}/{SALES}/runs/r/status", Answer(json={"runId": "r", "status": "Skipped"})
    )
    with pytest.raises(exceptions.ApiTaskError, match="Skipped"):
        carry_out(start(deferrable=deferrable))


@pytest.mark.feature("invision", "bad check")
@BOTH
@pytest.mark.parametrize("fault", [Answer(500, {"message": "busy"}), Answer(503), Answer(drop="before")])
def test_500_to_a_check_is_survived(invision: InvisionServer, fault: Answer, deferrable: bool) -> None:
    def begin(request: Recorded) -> Answer:
        answer = invision.unscripted(request)
        invision.once("GET", invision.status_path(invision.runs[0]), fault, fault)
        return answer

    invision.once("POST", f"/invision{FLOWS}/{SALES}/start", begin)
    assert carry_out(start(deferrable=deferrable))["status"] == "Succeeded"
    assert len(invision.runs) == 1


@pytest.mark.feature("invision", "error answer", "limit")
@BOTH
@pytest.mark.parametrize("more", [{"final_status_codes": [500]}, {"status_grace": 0}])
def test_500_to_a_check_can_end_the_wait(
    invision: InvisionServer, more: dict[str, Any], deferrable: bool
) -> None:
    """Here because the run is not known; the task does not wait for it any longer than one wants."""
    invision.once("POST", f"/invision{FLOWS}/{SALES}/start", Answer(json={"runId": "r", "status": "Pending"}))
    with pytest.raises(exceptions.ApiTaskError, match=r"500 .*There is no run r"):
        carry_out(start(job=more, deferrable=deferrable))
    assert len(checks(invision)) == 1


@pytest.mark.feature("invision", "limit")
@BOTH
def test_deadline(invision: InvisionServer, deferrable: bool) -> None:
    with pytest.raises(exceptions.JobTimedOutError, match="may still be running on the server"):
        carry_out(start(ENDLESS, job={"deadline": 0.2}, deferrable=deferrable))


@pytest.mark.feature("invision", "one job")
@needs_store
def test_retry_goes_on_with_the_run(invision: InvisionServer) -> None:
    task = start()
    deferred(task, context_for(task))
    assert carry_out(start())["status"] == "Succeeded"
    assert len(invision.runs) == 1


@pytest.mark.feature("invision", "one job")
def test_lost_answer_starts_no_second_run(invision: InvisionServer) -> None:
    invision.once("POST", f"/invision{FLOWS}/{SALES}/start", invision.lose)
    with pytest.raises(exceptions.SubmitUnknownError):
        carry_out(start(retry_count=3, retry_wait=0.01))
    assert len(invision.runs) == 1


@pytest.mark.feature("invision", "kill")
@BOTH
def test_kill_tells_that_the_run_goes_on(
    invision: InvisionServer, comms: Comms, capsys: pytest.CaptureFixture[str], deferrable: bool
) -> None:
    """The API has nothing that stops a run."""
    kill(start(ENDLESS, deferrable=deferrable), invision, comms, None)
    (run,) = invision.runs
    assert f"Job {run.id} may go on on the server: its task was ended by hand" in capsys.readouterr().out
    assert {request.method for request in invision.history} == {"POST", "GET"}


@pytest.mark.feature("invision", "result")
def test_run_id_is_handed_on(invision: InvisionServer, comms: Comms) -> None:
    """To a task that looks at the run later, say; with ``wait_for_completion=False`` at once."""
    answer = carry_out(start(wait_for_completion=False, deferrable=False))
    (run,) = invision.runs
    assert answer["runId"] == comms.pushed("t", "api_job")["job_id"] == run.id
    TaskInstance("t").xcom_push("return_value", answer)
    status = f"{FLOWS}/{SALES}/runs/{{{{ ti.xcom_pull('t').runId }}}}/status"
    assert carry_out(call(task_id="later", method="GET", endpoint=status))["runId"] == run.id


# -- operation log, test run ---------------------------------------------------------------------


@pytest.mark.feature("invision", "operation log")
@BOTH
@pytest.mark.parametrize("flow", [SALES, BROKEN], ids=["succeeds", "fails"])
def test_operation_log(invision: InvisionServer, connect: Connect, flow: str, deferrable: bool) -> None:
    """The key stands in every URL, and in no record."""
    connect(invision.base_url, extra=KEYS["query"])
    log = Kept()
    task = start(flow, deferrable=deferrable, operation_log=log)
    if flow == BROKEN:
        with pytest.raises(exceptions.JobFailedError):
            carry_out(task)
    else:
        carry_out(task)
    assert log.told == [("invoke", "success"), ("poll", "failed" if flow == BROKEN else "success")]
    poll = log.records[-1]
    assert (poll.job_id, poll.job_status) == (invision.runs[0].id, invision.runs[0].status)
    assert [form for form in SHOWN if form in repr(log.records)] == []


@pytest.mark.once
@pytest.mark.feature("invision", "test run")
@pytest.mark.parametrize(("flow", "code"), [(SALES, 0), (BROKEN, 1)], ids=["succeeds", "fails"])
def test_test_run(invision: InvisionServer, shell: Shell, flow: str, code: int) -> None:
    shell.connect("invision", host=invision.base_url, extra={**KEYS["query"], "allow_http": True})
    with shell.test_run("invision", "run_flow", {"flow": flow}) as run:
        assert run.finish() == code
    assert [(one.flow, one.status) for one in invision.runs] == [(flow, "Failed" if code else "Succeeded")]
    assert [form for form in SHOWN if form in run.text] == []
