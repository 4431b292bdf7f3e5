"""The sensor in its three ways of waiting: poke, reschedule and deferrable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralTimeout,
)

from airflow_provider_apitask import ApiStatusSensor, exceptions
from airflow_provider_apitask.core.messages import MAX_TRIGGERER_BYTES
from airflow_provider_apitask.drivers import blocking
from airflow_provider_apitask.triggers import resume_guard
from tests.airflow.helpers import Comms, Connect, TaskInstance, awaited, call, context_for, deferred
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

WAYS = ("poke", "reschedule", "deferrable")


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scheduler fails these tasks, so none has to wait for it between two pokes."""
    monkeypatch.setattr(resume_guard, "guard_seconds", lambda: 0.0)


class Store(dict[str, Any]):
    """The task state store of Airflow 3.3: JSON values that outlive the process."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        assert value is not None
        self[key] = json.loads(json.dumps(value))


def sensor(way: str = "poke", **kwargs: Any) -> ApiStatusSensor:
    given = {"task_id": "s", "api_conn_id": "api", "poke_interval": 0.02, "timeout": 60, **kwargs}
    return ApiStatusSensor(
        **given, **{"poke": {}, "reschedule": {"mode": way}, "deferrable": {way: True}}[way]
    )


def wait(
    make: Callable[[], ApiStatusSensor], *, store: Store | None = None, ti: TaskInstance | None = None
) -> Any:
    """Run a sensor to its end as Airflow does, a process for each poke of mode reschedule."""
    ti = ti or TaskInstance("s")
    while True:
        task = make()
        context = context_for(task, ti=ti, task_state_store=store)
        if task.deferrable:
            return in_triggerer(task, context)
        try:
            return task.execute(context)
        except AirflowRescheduleException as again:
            ti.first_reschedule = ti.first_reschedule or datetime.now(UTC)
            time.sleep(max(0.0, (again.reschedule_date - datetime.now(UTC)).total_seconds()))


def in_triggerer(task: ApiStatusSensor, context: Any) -> Any:
    from airflow.sdk.exceptions import TaskDeferred

    try:
        return task.execute(context)
    except TaskDeferred as resume:
        payload = awaited(resume.trigger, context["ti"])
        return task.resume_execution(resume.method_name, {"event": payload}, context)


@pytest.fixture
def handle(jobs: JobServer, comms: Comms) -> dict[str, Any]:
    """The handle of a job that was just submitted."""
    (task := call(mode="async", wait_for_completion=False)).execute(context_for(task))
    jobs.history.clear()
    found: dict[str, Any] = comms.pushed("t", "api_job")
    return found


@pytest.mark.parametrize("polls", [1, 4])
def test_a_worker_reads_a_status_response_that_is_too_large_for_a_triggerer(
    jobs: JobServer, handle: dict[str, Any], polls: int
) -> None:
    large = {"n": 5, "blob": "x" * MAX_TRIGGERER_BYTES}
    jobs.on(
        "GET",
        "/jobs/job-1",
        Answer(json={"status": "running"}),
        *[Answer(json={"status": "running"} | large)] * polls,
        Answer(json={"status": "done"} | large),
    )
    assert wait(lambda: sensor("deferrable", handle=handle, job={"result_path": "$.n"})) == 5
    assert len(jobs.history) == polls + 2


# -- success -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", [dict, json.dumps, str])
def test_result_of_the_job(
    jobs: JobServer, comms: Comms, handle: dict[str, Any], way: str, form: Callable[[Any], Any]
) -> None:
    job = {"result_request": "{status_url}/result", "result_path": "rows"}
    assert wait(lambda: sensor(way, handle=form(handle), job=job)) == 3
    targets = [request.target for request in jobs.history]
    assert targets == [*["/jobs/job-1"] * 3, "/jobs/job-1/result"]
    assert comms.pushed("s", "api_job")["phase"] == "succeeded"


@pytest.mark.parametrize("way", WAYS)
def test_last_status_answer_is_the_result(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    assert wait(lambda: sensor(way, handle=handle))["status"] == "succeeded"
    assert len(jobs.history) == 3


@pytest.mark.parametrize("way", WAYS)
def test_job_id_and_status_request_alone(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    made = lambda: sensor(way, api_conn_id="api", job_id="{{ 'job-1' }}", status_request="/jobs/{job_id}")  # noqa: E731
    assert wait(made)["id"] == "job-1"


def test_handle_as_xcom_arg_and_as_template(jobs: JobServer, handle: dict[str, Any]) -> None:
    with DAG("d", schedule=None):
        start = call(mode="async", wait_for_completion=False)
        task = sensor(handle=start.output["api_job"])
        text = sensor(task_id="text", handle="{{ ti.xcom_pull('t', key='api_job') }}")
    assert task.upstream_task_ids == {"t"}
    for made in (task, text):
        assert made.execute(context_for(made))["id"] == "job-1"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", ["dict", "text"])
def test_a_handle_never_chooses_the_connection(
    jobs: JobServer, handle: dict[str, Any], connect: Connect, given: str, way: str
) -> None:
    connect("http://127.0.0.1:1", "other")
    of_other = {**handle, "api_conn_id": "other"}
    task = sensor(way, handle=of_other if given == "dict" else json.dumps(of_other))
    asked = len(jobs.requests())
    with pytest.raises(exceptions.ParameterError, match="another connection than 'api'") as caught:
        task.execute(context_for(task))
    assert caught.value.data["parameter"] == "api_conn_id"
    assert len(jobs.requests()) == asked
    own = {name: value for name, value in handle.items() if name != "api_conn_id"}
    assert wait(lambda: sensor(handle=own))["status"] == "succeeded"
    connect("", "unusable")
    with pytest.raises(exceptions.ConnectionFieldError, match="'unusable'"):
        sensor(handle=own, api_conn_id="unusable").execute({"ti": TaskInstance("s")})


def test_job_that_is_over_needs_no_trigger(jobs: JobServer, handle: dict[str, Any]) -> None:
    jobs.statuses = ("done",)
    task = sensor("deferrable", handle=handle)
    assert task.execute(context_for(task))["status"] == "done"


def test_deferral_takes_the_sensors_own_settings(jobs: JobServer, handle: dict[str, Any]) -> None:
    given = {
        "poke_interval": 7,
        "timeout": 99,
        "exponential_backoff": True,
        "max_wait": timedelta(seconds=60),
    }
    resume = deferred(task := sensor("deferrable", handle=handle, **given), context_for(task))
    assert resume.timeout == timedelta(seconds=99)
    at_once = {"defer_after": 0}
    assert resume.trigger.job == {**at_once, "poll_interval": 7, "poll_factor": 2, "max_poll_interval": 60}
    task = sensor("deferrable", handle=handle, job={"poll_interval": 3})
    assert deferred(task, context_for(task)).trigger.job == {**at_once, "poll_interval": 3}


# -- what ends the wait --------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("statuses", "job", "kind", "final"),
    [
        (["running", "failed"], {}, exceptions.JobFailedError, False),
        (["running", "cancelled"], {}, exceptions.JobCancelledError, False),
        (["running", "strange"], {}, exceptions.UnknownStatusError, True),
        (["running"] * 99, {"max_polls": 3}, exceptions.JobTimedOutError, False),
        (["running"] * 99, {"deadline": 0.3}, exceptions.JobTimedOutError, False),
    ],
)
def test_job_that_does_not_succeed(
    jobs: JobServer,
    handle: dict[str, Any],
    way: str,
    statuses: list[str],
    job: dict[str, Any],
    kind: type[Exception],
    final: bool,
) -> None:
    jobs.statuses = tuple(statuses)
    store = Store()
    with pytest.raises(kind) as caught:
        wait(lambda: sensor(way, handle=handle, job=job), store=store)
    assert isinstance(caught.value, AirflowFailException) is final
    if "max_polls" in job:
        assert len(jobs.history) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quiet", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("status", ["failed", "strange"])
def test_soft_fail_and_never_fail_skip(
    jobs: JobServer, handle: dict[str, Any], way: str, quiet: str, status: str
) -> None:
    jobs.statuses = ("running", status)
    with pytest.raises(AirflowSkipException):
        wait(lambda: sensor(way, handle=handle, **{quiet: True}))


def test_never_fail_skips_whatever_goes_wrong_before_the_wait(comms: Comms, handle: dict[str, Any]) -> None:
    task = sensor("deferrable", handle=handle, api_conn_id="nowhere", never_fail=True)
    with pytest.raises(AirflowSkipException, match="nowhere"):
        task.execute(context_for(task))


@pytest.mark.parametrize("way", ["poke", "reschedule"])
def test_timeout_of_the_sensor(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    jobs.statuses = ("running",) * 99
    with pytest.raises(AirflowSensorTimeout):
        wait(lambda: sensor(way, handle=handle, timeout=0.1))
    with pytest.raises(AirflowSkipException):
        wait(lambda: sensor(way, handle=handle, timeout=0.1, soft_fail=True))


def test_timeout_while_deferred(jobs: JobServer, handle: dict[str, Any]) -> None:
    def resumed(task: ApiStatusSensor) -> None:
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context_for(task))

    with pytest.raises((AirflowSensorTimeout, TaskDeferralTimeout)):
        resumed(sensor("deferrable", handle=handle))
    with pytest.raises(AirflowSkipException):
        resumed(sensor("deferrable", handle=handle, soft_fail=True))


@pytest.mark.parametrize("way", WAYS)
def test_deadline_of_the_handle_holds(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    jobs.statuses = ("running",) * 99
    handle["deadline_at"] = "2026-01-01T00:00:00+00:00"
    with pytest.raises(exceptions.JobTimedOutError):
        wait(lambda: sensor(way, handle=handle))
    assert len(jobs.history) == 1


def test_deadline_needs_to_know_when_the_job_was_submitted(jobs: JobServer) -> None:
    task = sensor(api_conn_id="api", status_request="/jobs/1", job={"deadline": 5})
    with pytest.raises(exceptions.ParameterError, match=r"job\.deadline counts from the submit"):
        task.execute(context_for(task))


# -- pace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_retry_after_is_obeyed(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    jobs.once("GET", "/jobs/job-1", Answer(json={"status": "running"}, headers={"retry-after-ms": "400"}))
    wait(lambda: sensor(way, handle=handle, poke_interval=0.1))
    first, second, *_ = (request.at for request in jobs.history)
    assert second - first >= 0.4


@pytest.mark.parametrize("way", ["poke", "reschedule"])
def test_retry_after_does_not_outlast_the_timeout(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": "running"}, headers={"Retry-After": "600"}))
    with pytest.raises(AirflowSensorTimeout):
        wait(lambda: sensor(way, handle=handle, timeout=0.1), store=Store())
    assert len(jobs.history) == 1


@pytest.mark.parametrize("way", WAYS)
def test_failing_checks_are_not_a_failed_job(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    jobs.once("GET", "/jobs/job-1", Answer(503), Answer(drop="before"), Answer(500), Answer(429))
    assert wait(lambda: sensor(way, handle=handle), store=Store())["status"] == "succeeded"


@pytest.mark.parametrize("way", WAYS)
def test_failing_checks_end_after_the_window(jobs: JobServer, handle: dict[str, Any], way: str) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(503))
    with pytest.raises(exceptions.RequestFailedError, match="status_grace"):
        wait(lambda: sensor(way, handle=handle, job={"status_grace": 0.2}), store=Store())


def test_without_a_store_the_window_begins_anew_and_timeout_ends_it(
    jobs: JobServer, handle: dict[str, Any]
) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(503))
    with pytest.raises(AirflowSensorTimeout):
        wait(lambda: sensor("reschedule", handle=handle, timeout=0.3, job={"status_grace": 0.05}))


def test_store_of_another_try_is_not_used(jobs: JobServer, handle: dict[str, Any]) -> None:
    store = Store()
    jobs.once("GET", "/jobs/job-1", Answer(503))
    make = lambda: sensor("reschedule", handle=handle, job={"status_grace": 0.05})  # noqa: E731
    with pytest.raises(AirflowRescheduleException):
        (task := make()).execute(context_for(task, ti=TaskInstance("s"), task_state_store=store))
    time.sleep(0.1)
    jobs.once("GET", "/jobs/job-1", Answer(503))
    # Cleared or retried: the window begins anew, and the job may be another one.
    assert wait(make, store=store, ti=TaskInstance("s", try_number=2))["status"] == "succeeded"


# -- handles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["None", "{}", "no handle", {}, {"job_id": 1}, {"version": 2, "job_id": 1}, [1], 7, "[" * 500]
)
@pytest.mark.parametrize("way", ["poke", "deferrable"])
def test_what_is_no_handle_is_refused(jobs: JobServer, way: str, given: Any) -> None:
    task = sensor(way, handle=given)
    with pytest.raises(exceptions.ParameterError, match="handle") as caught:
        task.execute(context_for(task))
    assert len(str(caught.value)) < 400
    assert jobs.history == []


def test_upstream_that_left_no_handle(jobs: JobServer, comms: Comms) -> None:
    with DAG("d", schedule=None):
        task = sensor(api_conn_id="api", handle=call().output["api_job"])
    with pytest.raises(exceptions.ParameterError, match="handle is missing"):
        task.execute(context_for(task))


def test_event_of_another_version_is_final(handle: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="version is 7"):
        sensor("deferrable", handle=handle).execute_complete({"ti": TaskInstance("s")}, {"version": 7})


# -- what is kept between pokes ---------------------------------------------------------------------

SESSION = {"auth_type": "session", "session_endpoint": "/login", "session_path": "$.token"}


class Echo:
    """An API whose tokens are good for two requests, and that repeats them in the job's message."""

    def __init__(self, jobs: JobServer, connect: Connect) -> None:
        self.tokens: list[str] = []
        self._asked = 0
        jobs.on("POST", "/login", self._login)
        jobs.on("GET", "/echo/7", self._status)
        connect(jobs.url, "echo", login="me", password="my-password", extra=SESSION)

    def _login(self, request: Recorded) -> Answer:
        self.tokens.append(f"renewed-token-{len(self.tokens)}")
        return Answer(json={"token": self.tokens[-1]})

    def _status(self, request: Recorded) -> Answer:
        token = str(request.header("Authorization")).removeprefix("Bearer ")
        if token != self.tokens[-1] or self._asked == 2:
            self._asked = 0
            return Answer(401, json={"error": "expired"})
        self._asked += 1
        n = len(self.tokens)
        status = "done" if n >= 3 else "running"
        return Answer(json={"status": status, "at": n, "message": f"seen {token}, {self._asked} of 2"})


@pytest.mark.parametrize("way", WAYS)
def test_renewed_tokens_are_masked_in_each_poke(
    jobs: JobServer, comms: Comms, connect: Connect, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    echo, store = Echo(jobs, connect), Store()
    job = {"message_path": "$.message", "progress_path": "$.at"}
    made = lambda: sensor(way, api_conn_id="echo", job_id="7", status_request="/echo/{job_id}", job=job)  # noqa: E731
    wait(made, store=store)
    log = capsys.readouterr().out
    assert len(echo.tokens) >= 3
    kept = [log, json.dumps(store), *comms.values.values()]
    assert "seen ***" in log
    assert [token for token in echo.tokens if any(token in text for text in kept)] == []


def test_pokes_share_a_lookup_a_login_and_a_session(
    jobs: JobServer, handle: dict[str, Any], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_apitask.hooks import api

    lookups: list[str] = []
    read = api.read_connection
    monkeypatch.setattr(
        api, "read_connection", lambda conn, learned: lookups.append(conn.conn_id) or read(conn, learned)
    )
    jobs.on("POST", "/login", Answer(json={"token": "one-token"}))
    connect(jobs.url, "echo", login="me", password="my-password", extra=SESSION)
    wait(lambda: sensor("poke", api_conn_id="echo", job_id="job-1", status_request="/jobs/{job_id}"))
    assert lookups == ["echo"]
    targets = [request.target for request in jobs.history]
    assert targets == ["/login", *["/jobs/job-1"] * 3]


# -- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["poke", "reschedule"])
@pytest.mark.parametrize("step", [5 * 3600.0, -5 * 3600.0])
def test_a_clock_that_is_set_does_not_delay_a_poke(
    jobs: JobServer, handle: dict[str, Any], monkeypatch: pytest.MonkeyPatch, way: str, step: float
) -> None:
    real, offset, store = time.time, [0.0], Store()

    def clock() -> float:
        return real() + offset[0]

    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setitem(blocking.drive.__kwdefaults__, "clock", clock)
    task = sensor(way, handle=handle, poke_interval=2)
    assert not task.poke(context_for(task, task_state_store=store)).is_done
    offset[0] = step
    if way == "reschedule":
        task = sensor(way, handle=handle, poke_interval=2)  # a process of its own
        task.poke(context_for(task, task_state_store=store))
    assert task._get_next_poke_interval(None, lambda: 0.0, 1) == 2
