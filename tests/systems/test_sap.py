"""An SAP Datasphere API task as a task of Airflow: what its page asks for, against a system behind HTTPS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_apitask import AsyncJob, exceptions
from airflow_provider_apitask.drivers import blocking, event_loop
from tests.airflow.helpers import Comms, Connect, awaited, call, clock, context_for, deferred, needs_store
from tests.support import Answer, Recorded
from tests.support.real.tls import Certificates
from tests.systems.servers.sap import LOGIN, PASSWORD, SapServer
from tests.systems.shell import Shell
from tests.systems.ways import BOTH, Kept, carry_out, kill

WEEK = 7 * 24 * 3600.0  # seconds
#: The words of the page; by default they are understood as well.
WORDS = {"success_values": ["COMPLETED"], "failure_values": ["FAILED"], "running_values": ["RUNNING"]}
BY_LOCATION = {**WORDS, "poll_interval": 0.02}
BY_ENDPOINT = {**BY_LOCATION, "status_request": "/api/runs/{runId}/status"}
ASYNC = {"endpoint": "/api/jobs", "headers": {"Prefer": "respond-async"}}
EITHER = pytest.mark.parametrize(
    "given",
    [{**ASYNC, "job": BY_LOCATION}, {"endpoint": "/api/runs", "job": BY_ENDPOINT}],
    ids=["Location", "status endpoint"],
)


@pytest.fixture
def system(comms: Comms, connect: Connect, certificates: Certificates) -> Iterator[Callable[..., SapServer]]:
    """Starts the system; the connection ``api`` is that of an HTTP connection in SAP Datasphere."""
    started: list[SapServer] = []

    def start(csrf: Any = "none") -> SapServer:
        server = SapServer(csrf=csrf, ssl_context=certificates.good)
        server.start()
        started.append(server)
        extra = {"allow_http": False, "ca_bundle": certificates.ca_file}
        connect(server.url, login=LOGIN, password=PASSWORD, extra=extra)
        return server

    yield start
    for server in started:
        server.stop()
        assert server.errors == []


@pytest.fixture
def sap(system: Callable[..., SapServer]) -> SapServer:
    """The system, which asks for no CSRF token."""
    return system()


def task_of(**given: Any) -> Any:
    return call(**{"body": {"seconds": 0.1}, **given})


def test_names_of_the_task(sap: SapServer, comms: Comms) -> None:
    carry_out(task_of(task_id="load_sales", **ASYNC, job=BY_LOCATION))
    assert comms.pushed("load_sales", "api_job")["job_id"] == "1"


# -- the request ---------------------------------------------------------------------------------


@pytest.mark.feature("sap", "start")
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_method_and_json_body(sap: SapServer, method: str) -> None:
    task = call(method=method, endpoint="/api/loads", body={"seconds": 0, "table": "{{ params.table }}"})
    assert carry_out(task, params={"table": "SALES"})["status"] == "COMPLETED"
    (request,) = sap.history
    assert (request.method, request.json()) == (method, {"seconds": 0, "table": "SALES"})
    assert request.header("Content-Type") == "application/json"
    assert "application/json" in (request.header("Accept") or "")


@pytest.mark.feature("sap", "start")
def test_post_is_the_default(sap: SapServer) -> None:
    carry_out(call(endpoint="/api/loads", body={}))
    assert [request.method for request in sap.history] == ["POST"]


@pytest.mark.feature("sap", "credential")
def test_credentials_come_from_the_connection(sap: SapServer, connect: Connect, certificates: Any) -> None:
    extra = {"allow_http": False, "ca_bundle": certificates.ca_file}
    connect(sap.url, login=LOGIN, password="wrong-one", extra=extra)
    with pytest.raises(exceptions.ApiTaskError, match="401") as caught:
        carry_out(call(endpoint="/api/loads", body={}))
    assert "wrong-one" not in str(caught.value)
    assert sap.tasks == []


@pytest.mark.feature("sap", "options")
def test_headers_prefer_and_x(sap: SapServer) -> None:
    """Several values with a comma, or the same name several times."""
    headers = {"Prefer": "respond-async", "X-Tenant": "eu10, us20", "X-Source": ["S4", "{{ ds }}"]}
    carry_out(call(endpoint="/api/loads", headers=headers, body={}), ds="2026-01-02")
    (request,) = sap.history
    assert request.header("Prefer") == "respond-async"
    assert request.headers_all("X-Tenant") == ["eu10, us20"]
    assert request.headers_all("X-Source") == ["S4", "2026-01-02"]


@pytest.mark.feature("sap", "options")
def test_nothing_is_forwarded(sap: SapServer) -> None:
    carry_out(call(endpoint="/api/loads", body={}))
    (request,) = sap.history
    assert [name for name, _ in request.headers if name.lower().startswith("x-")] == []


@pytest.mark.feature("sap", "options")
def test_headers_of_the_connection_are_sent_with_every_request(
    sap: SapServer, connect: Connect, certificates: Certificates
) -> None:
    headers = {"Accept": "application/json", "X-Client": "chain"}
    extra = {"allow_http": False, "ca_bundle": certificates.ca_file, "headers": headers}
    connect(sap.url, login=LOGIN, password=PASSWORD, extra=extra)
    carry_out(task_of(**ASYNC, job=BY_LOCATION))
    assert {request.header("X-Client") for request in sap.history} == {"chain"}
    assert {request.header("Accept") for request in sap.history} == {"application/json"}


# -- HTTPS and host ------------------------------------------------------------------------------


@pytest.mark.feature("sap", "options")
def test_https_only(sap: SapServer, connect: Connect) -> None:
    connect(sap.url.replace("https", "http"), login=LOGIN, password=PASSWORD, extra={"allow_http": False})
    with pytest.raises(exceptions.ApiTaskError, match="allow_http"):
        carry_out(call(endpoint="/api/loads", body={}))
    assert sap.history == []


@pytest.mark.feature("sap", "options")
def test_certificate_is_checked(sap: SapServer, connect: Connect) -> None:
    connect(sap.url, login=LOGIN, password=PASSWORD, extra={"allow_http": False})
    with pytest.raises(exceptions.ApiTaskError, match="certificate"):
        carry_out(call(endpoint="/api/loads", body={}))
    assert sap.history == []


@pytest.mark.feature("sap", "options")
def test_host_and_port_are_those_of_the_connection(sap: SapServer) -> None:
    for other in ("https://elsewhere.example/api/loads", sap.url.rpartition(":")[0] + ":1/api/loads"):
        with pytest.raises(exceptions.ApiTaskError, match=r"127\.0\.0\.1"):
            carry_out(call(endpoint=other, body={}))
    assert sap.history == []
    carry_out(call(endpoint=f"{sap.url}/api/loads", body={}))


# -- CSRF ----------------------------------------------------------------------------------------


@pytest.mark.feature("sap", "credential")
def test_csrf_token_of_its_own_url(system: Callable[..., SapServer]) -> None:
    sap = system(csrf="separate")
    task = call(endpoint="/api/loads", body={}, require_csrf_token=True, csrf_token_endpoint="/api/token")
    assert carry_out(task)["status"] == "COMPLETED"
    assert [(r.method, r.path) for r in sap.history] == [("GET", "/api/token"), ("POST", "/api/loads")]


@pytest.mark.feature("sap", "credential")
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_csrf_token_of_the_request_s_own_url(system: Callable[..., SapServer], method: str) -> None:
    sap = system(csrf="any")
    carry_out(call(method=method, endpoint="/api/loads", body={}, require_csrf_token=True))
    assert [(r.method, r.path) for r in sap.history] == [("GET", "/api/loads"), (method, "/api/loads")]


@pytest.mark.feature("sap", "credential")
def test_without_a_csrf_token_the_system_refuses(system: Callable[..., SapServer]) -> None:
    sap = system(csrf="any")
    with pytest.raises(exceptions.RequestFailedError, match="CSRF token validation failed"):
        carry_out(call(endpoint="/api/loads", body={}))
    assert sap.tasks == []


@pytest.mark.feature("sap", "credential", "kill")
def test_csrf_token_that_has_expired_is_fetched_again(system: Callable[..., SapServer], comms: Comms) -> None:
    """The one for the cancel request, here: it was fetched for the submit, perhaps days ago."""
    sap = system(csrf="separate")
    job = {**BY_LOCATION, "cancel_request": {"method": "DELETE"}}
    csrf = {"require_csrf_token": True, "csrf_token_endpoint": "/api/token"}
    task = task_of(**ASYNC, **csrf, body={"seconds": 60}, job=job, deferrable=False)

    def expired(request: Recorded) -> Answer:
        sap.rotate()
        return sap.unscripted(request)

    sap.once("GET", "/api/jobs/1", expired)
    kill(task, sap, comms, "/api/jobs/1")
    assert len(sap.requests("GET", "/api/token")) == 2
    assert [r.path for r in sap.requests("DELETE")] == ["/api/jobs/1", "/api/jobs/1"]
    assert sap.tasks[0].cancelled


# -- synchronous ---------------------------------------------------------------------------------


@pytest.mark.feature("sap", "answer at once")
@pytest.mark.parametrize("code", [200, 201, 202])
def test_synchronous_success_by_http_code(sap: SapServer, code: int) -> None:
    assert carry_out(call(endpoint="/api/loads", body={"code": code}))["message"] == "Loaded 42 records"


@pytest.mark.feature("sap", "answer at once", "error answer")
def test_synchronous_failure_by_http_code(sap: SapServer) -> None:
    with pytest.raises(exceptions.ApiTaskError, match="SALES_ORDERS is locked"):
        carry_out(call(endpoint="/api/loads", body={"code": 422}))


def test_synchronous_code_alone_does_not_see_a_failure_in_the_body(sap: SapServer) -> None:
    assert carry_out(call(endpoint="/api/loads", body={"fail": True}))["status"] == "FAILED"


@pytest.mark.feature("sap", "answer at once")
@pytest.mark.parametrize("fail", [False, True])
def test_synchronous_success_by_http_code_and_body(sap: SapServer, fail: bool) -> None:
    rules = {
        "success_when": {"status_code": "2xx", "$.status": "COMPLETED"},
        "failure_when": {"$.status": "FAILED"},
    }
    task = call(endpoint="/api/loads", body={"fail": fail}, response_validation=rules)
    if not fail:
        assert carry_out(task)["status"] == "COMPLETED"
        return
    with pytest.raises(exceptions.ApiTaskError, match="FAILED"):
        carry_out(task)


# -- asynchronous --------------------------------------------------------------------------------


@pytest.mark.feature("sap", "running", "success", "result")
@BOTH
@EITHER
def test_asynchronous_success(sap: SapServer, given: dict[str, Any], deferrable: bool) -> None:
    answer = carry_out(task_of(**given, deferrable=deferrable))
    assert answer == {"id": "1", "status": "COMPLETED", "message": "Loaded 42 records"}
    polls = [r for r in sap.history if r.method == "GET"]
    assert len(polls) > 1
    assert len(sap.tasks) == 1


@pytest.mark.feature("sap", "failure")
@BOTH
@EITHER
def test_asynchronous_failure_with_its_message(
    sap: SapServer, given: dict[str, Any], deferrable: bool
) -> None:
    with pytest.raises(exceptions.JobFailedError, match="SALES_ORDERS is locked"):
        carry_out(task_of(**given, body={"seconds": 0.1, "fail": True}, deferrable=deferrable))


@pytest.mark.feature("sap", "success")
def test_the_words_of_the_page_are_known(sap: SapServer) -> None:
    assert carry_out(task_of(**ASYNC, job={"poll_interval": 0.02}))["status"] == "COMPLETED"


@pytest.mark.feature("sap", "answer at once")
def test_prefer_that_the_system_ignores_is_a_synchronous_answer(sap: SapServer) -> None:
    task = task_of(endpoint="/api/jobs", job=BY_LOCATION, deferrable=False)
    assert carry_out(task)["status"] == "COMPLETED"
    assert sap.requests("GET") == []


@pytest.mark.feature("sap", "error answer")
def test_start_that_is_refused_fails_at_once(sap: SapServer) -> None:
    sap.once("POST", "/api/jobs", Answer(400, {"error": {"code": "400", "message": "No such table"}}))
    with pytest.raises(exceptions.RequestFailedError, match="No such table"):
        carry_out(task_of(**ASYNC, job=BY_LOCATION))
    assert sap.requests("GET") == []


@pytest.mark.feature("sap", "answer at once")
def test_answer_that_says_it_is_done(sap: SapServer) -> None:
    sap.once("POST", "/api/jobs", Answer(json={"status": "COMPLETED"}))
    task = task_of(**ASYNC, job={**BY_LOCATION, "status_path": "$.status"}, deferrable=False)
    assert carry_out(task) == {"status": "COMPLETED"}
    assert sap.requests("GET") == []


# -- as long as it is healthy --------------------------------------------------------------------


@pytest.mark.feature("sap", "bad check")
@BOTH
@pytest.mark.parametrize("fault", [Answer(503), Answer(500), Answer(429), Answer(drop="before")])
def test_bad_checks_are_survived(sap: SapServer, fault: Answer, deferrable: bool) -> None:
    sap.once("GET", "/api/jobs/1", *[fault] * 3)
    assert carry_out(task_of(**ASYNC, job=BY_LOCATION, deferrable=deferrable))["status"] == "COMPLETED"


@pytest.mark.feature("sap", "bad check")
@BOTH
@pytest.mark.parametrize("code", [401, 403, 400])
def test_check_that_is_refused_fails_at_once(sap: SapServer, code: int, deferrable: bool) -> None:
    """Five minutes do not cure it."""
    sap.on("GET", "/api/jobs/1", Answer(code, {"error": {"message": "Not allowed"}}))
    with pytest.raises(exceptions.ApiTaskError, match=f"{code} .*Not allowed"):
        carry_out(task_of(**ASYNC, job=BY_LOCATION, deferrable=deferrable))
    assert len(sap.requests("GET")) == 1


@pytest.mark.feature("sap", "limit")
def test_grace_is_five_minutes_by_default() -> None:
    assert AsyncJob().status_grace == 300


@pytest.mark.feature("sap", "bad check", "limit")
@BOTH
@pytest.mark.parametrize(("seconds", "survives"), [(290, True), (310, False)])
def test_checks_may_fail_for_five_minutes(
    sap: SapServer, monkeypatch: pytest.MonkeyPatch, seconds: int, survives: bool, deferrable: bool
) -> None:
    """The clock of the waiting side goes ahead between two checks that fail."""
    ahead = 0

    def time_passes(request: Recorded) -> Answer:
        nonlocal ahead
        ahead = seconds
        return Answer(503)

    for driver in (blocking, event_loop):
        monkeypatch.setitem(driver.drive.__kwdefaults__, "clock", lambda: time.time() + ahead)
        monkeypatch.setitem(driver.drive.__kwdefaults__, "ticks", lambda: time.monotonic() + ahead)
    sap.once("GET", "/api/jobs/1", Answer(503), time_passes)
    task = task_of(**ASYNC, job=BY_LOCATION, deferrable=deferrable)
    if survives:
        assert carry_out(task)["status"] == "COMPLETED"
        return
    with pytest.raises(exceptions.RequestFailedError, match=r"could not be read for 310 s .* 503"):
        carry_out(task)


@pytest.mark.feature("sap", "one job")
@needs_store
def test_retry_goes_on_with_the_job_that_runs(sap: SapServer, comms: Comms) -> None:
    """What the task was doing when it died does not matter: there is one job."""
    given = {**ASYNC, "body": {"seconds": 0.3}, "job": BY_LOCATION}
    task = task_of(**given)
    deferred(task, context_for(task))
    assert carry_out(task_of(**given))["status"] == "COMPLETED"
    assert len(sap.tasks) == 1


@pytest.mark.feature("sap", "limit")
def test_no_hard_timeout(sap: SapServer, comms: Comms, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was submitted a week ago, and it is healthy."""
    assert AsyncJob().deadline is None
    task = task_of(**ASYNC, job=BY_LOCATION)
    context = context_for(task)
    with clock(monkeypatch, -WEEK):
        trigger: Any = deferred(task, context).trigger
    payload = awaited(trigger, context["ti"])
    assert task.execute_complete(context, payload)["status"] == "COMPLETED"


@BOTH
@pytest.mark.feature("sap", "limit")
def test_deadline_where_one_is_wanted(sap: SapServer, deferrable: bool) -> None:
    job = {**BY_LOCATION, "deadline": 0.2, "cancel_request": {"method": "DELETE"}}
    with pytest.raises(exceptions.JobTimedOutError):
        carry_out(task_of(**ASYNC, body={"seconds": 60}, job=job, deferrable=deferrable))
    assert sap.tasks[0].cancelled


# -- cancelling ----------------------------------------------------------------------------------


@pytest.mark.feature("sap", "kill")
@BOTH
def test_kill_leaves_the_job_alone_and_says_so(
    sap: SapServer, comms: Comms, capsys: pytest.CaptureFixture[str], deferrable: bool
) -> None:
    """As in a task chain: the task fails, the job may go on."""
    task = task_of(endpoint="/api/runs", body={"seconds": 60}, job=BY_ENDPOINT, deferrable=deferrable)
    kill(task, sap, comms, "/api/runs/1/status")
    assert "Job 1 may go on on the server: its task was ended by hand" in capsys.readouterr().out
    assert sap.tasks[0].status == "RUNNING"
    assert {request.method for request in sap.history} == {"POST", "GET"}


@pytest.mark.feature("sap", "kill")
@BOTH
def test_kill_cancels_where_the_system_can(
    system: Callable[..., SapServer], comms: Comms, deferrable: bool
) -> None:
    sap = system(csrf="any")
    job = {**BY_LOCATION, "cancel_request": {"method": "DELETE"}}
    given = {**ASYNC, "body": {"seconds": 60}, "require_csrf_token": True, "job": job}
    kill(task_of(**given, deferrable=deferrable), sap, comms, "/api/jobs/1")
    assert sap.tasks[0].cancelled


# -- monitoring ----------------------------------------------------------------------------------


@pytest.mark.feature("sap", "result")
@BOTH
def test_what_a_task_leaves_for_people(sap: SapServer, comms: Comms, deferrable: bool) -> None:
    carry_out(task_of(**ASYNC, job=BY_LOCATION, deferrable=deferrable))
    handle = comms.pushed("t", "api_job")
    assert (handle["job_id"], handle["status_url"]) == ("1", f"{sap.url}/api/jobs/1")
    assert handle["submitted_at"].startswith("20")


@BOTH
@pytest.mark.feature("sap", "operation log")
@pytest.mark.parametrize("fail", [False, True])
def test_operation_log(system: Callable[..., SapServer], fail: bool, deferrable: bool) -> None:
    sap, log = system(csrf="any"), Kept()
    body = {"seconds": 0.1, "fail": fail}
    given = {**ASYNC, "job": BY_LOCATION, "require_csrf_token": True, "body": body}
    task = task_of(**given, deferrable=deferrable, operation_log=log)
    if fail:
        with pytest.raises(exceptions.JobFailedError):
            carry_out(task)
    else:
        carry_out(task)
    polled = "failed" if fail else "success"
    # The token comes with an answer of 405.
    assert log.told == [("login", "success"), ("invoke", "success"), ("poll", polled)]
    _, invoke, poll = log.records
    assert (invoke.method, invoke.url, invoke.http_status) == ("POST", f"{sap.url}/api/jobs", 202)
    assert (poll.job_id, poll.job_status) == ("1", "FAILED" if fail else "COMPLETED")
    assert ("SALES_ORDERS is locked" in (poll.error_message or "")) is fail
    assert PASSWORD not in repr(log.records)


# -- test run ------------------------------------------------------------------------------------


@pytest.fixture
def tried(system: Callable[..., SapServer], shell: Shell, certificates: Certificates) -> SapServer:
    """The system, and the connection ``sap`` to it for whoever tries the example."""
    server = system(csrf="separate")
    extra = {"ca_bundle": certificates.ca_file}
    shell.connect("sap", host=server.url, login=LOGIN, password=PASSWORD, extra=extra)
    return server


@pytest.mark.once
@pytest.mark.feature("sap", "test run")
def test_test_run_shows_progress_and_success(tried: SapServer, shell: Shell) -> None:
    with shell.test_run("sap_datasphere", "load", {"seconds": 0.5}) as run:
        assert run.finish() == 0
    assert run.value["status"] == "COMPLETED"
    said = [step["message"] for step in run.steps if step["kind"] == "event"]
    assert any("status 'RUNNING'" in line for line in said)
    assert len(tried.tasks) == 1  # the other task of the DAG takes no part
    assert PASSWORD not in run.text


@pytest.mark.once
@pytest.mark.feature("sap", "test run")
def test_test_run_shows_errors(tried: SapServer, shell: Shell) -> None:
    with shell.test_run("sap_datasphere", "load", {"seconds": 0, "fail": True}) as run:
        assert run.finish() == 1
    assert "SALES_ORDERS is locked" in run.text


@pytest.mark.once
@pytest.mark.feature("sap", "test run")
def test_test_run_has_no_five_minutes(tried: SapServer, shell: Shell) -> None:
    tried.once("GET", "/api/jobs/1", Answer(503))
    with shell.test_run("sap_datasphere", "load", {"seconds": 0}) as run:
        assert run.finish() == 1
    assert len(tried.requests("GET", "/api/jobs/1")) == 1
    assert "503" in run.text


@pytest.mark.once
@pytest.mark.feature("sap", "test run")
def test_test_run_ends_the_one_that_still_runs(tried: SapServer, shell: Shell) -> None:
    with shell.test_run("sap_datasphere", "load", {"seconds": 600}) as first:
        first.until("event", "status 'RUNNING'")
        with shell.test_run("sap_datasphere", "load", {"seconds": 0}) as second:
            assert second.finish() == 0
        assert first.finish() != 0
    assert [task.status for task in tried.tasks] == ["CANCELLED", "COMPLETED"]


@pytest.mark.once
@pytest.mark.feature("sap", "test run")
def test_test_run_can_be_cancelled(tried: SapServer, shell: Shell) -> None:
    with shell.test_run("sap_datasphere", "load", {"seconds": 600}) as run:
        run.until("event", "status 'RUNNING'")
        run.interrupt()
        assert run.finish() == 130
    assert tried.tasks[0].cancelled
