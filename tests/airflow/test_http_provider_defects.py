"""What the HTTP provider does wrong, and this package does not; what it promises, and this keeps.

Where it is cheap, the HTTP provider (6.0 to 6.3) is shown beside.
"""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import PokeReturnValue
from requests.auth import AuthBase

from airflow_provider_apitask import ApiHook, ApiStatusSensor, exceptions
from airflow_provider_apitask.drivers.wire import KEEP_ALIVE
from tests.airflow.helpers import FAST, Comms, Connect, awaited, call, context_for, deferred, run
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t-value"


def methods(server: JobServer) -> list[str]:
    return [f"{request.method} {request.target}" for request in server.history]


def execute(**kwargs: Any) -> Any:
    task = call(**kwargs)
    return task.execute(context_for(task))


def sensor(**kwargs: Any) -> ApiStatusSensor:
    given = {"task_id": "s", "api_conn_id": "api", "status_request": "/orders/7", "poke_interval": 0.02}
    return ApiStatusSensor(**{**given, **kwargs})


def waited(task: ApiStatusSensor) -> Any:
    """Run a sensor, on the triggerer as often as it defers."""
    from airflow.sdk.exceptions import TaskDeferred

    context = context_for(task)
    if not task.deferrable:
        return task.execute(context)
    step = lambda: task.execute(context)  # noqa: E731
    while True:
        try:
            return step()
        except TaskDeferred as resume:
            event = awaited(resume.trigger, context["ti"])
            kwargs = {**(resume.kwargs or {}), "event": event}
            step = lambda: task.execute_complete(context, **kwargs)  # noqa: B023, E731 - called at once


def plain_http(monkeypatch: pytest.MonkeyPatch, server: JobServer) -> None:
    """Define the connection ``plain`` of type http, which the HTTP provider can use."""
    monkeypatch.setenv("AIRFLOW_CONN_PLAIN", f'{{"conn_type": "http", "host": "{server.url}"}}')


each_way = pytest.mark.parametrize("deferrable", [False, True])


# -- the page -------------------------------------------------------------------------------------


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs/migration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    rows = [row for row in rows if not row.endswith("| test |")]
    assert len(rows) > 50
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row.rpartition("|")[0])
        assert named, f"no test in {row}"
        for path, name in named:
            assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), row
            assert (ROOT / path).is_file(), row


@pytest.mark.parametrize("kind", ["operators.http.HttpOperator", "sensors.http.HttpSensor"])
def test_every_parameter_is_on_the_page(kind: str) -> None:
    from importlib import import_module
    from inspect import signature

    module, _, name = f"airflow.providers.http.{kind}".rpartition(".")
    page = (ROOT / "docs/migration.md").read_text(encoding="utf-8")
    part = page.partition(f"## {name}")[2].partition("\n## ")[0]
    given = [p for p in signature(getattr(import_module(module), name).__init__).parameters if p != "self"]
    missing = [p for p in given if f"`{p}`" not in part and not p.startswith("tcp_keep_alive")]
    assert [p for p in missing if p != "kwargs"] == []


# -- requests -------------------------------------------------------------------------------------


def test_data_of_a_post_is_a_form(jobs: JobServer) -> None:
    jobs.on("POST", "/t", Answer(json=1))
    execute(endpoint="t", body={"a": "x y", "b": [1, 2]}, body_format="form")
    assert jobs.history[0].body == b"a=x+y&b=1&b=2"


def test_data_of_a_post_is_a_text(jobs: JobServer) -> None:
    jobs.on("POST", "/t", Answer(json=1))
    execute(endpoint="t", body='{"a": 1}', headers={"Content-Type": "application/json"})
    execute(endpoint="t", body="plain", body_format="raw")
    assert [request.body for request in jobs.history] == [b'{"a": 1}', b"plain"]


@each_way
def test_json_body_is_the_same_sync_and_deferred(jobs: JobServer, deferrable: bool) -> None:
    """HttpOperator: deferred, the body is empty."""
    task = call(body={"a": 1}, job=FAST, deferrable=deferrable)
    run(task) if deferrable else task.execute(context_for(task))
    assert jobs.history[0].json() == {"a": 1}


@each_way
def test_booleans_and_none_in_the_query(jobs: JobServer, deferrable: bool) -> None:
    """HttpOperator: deferred, both raise a TypeError."""
    request = {"endpoint": "/orders", "params": {"open": True, "after": None}}
    jobs.on("GET", "/orders", Answer(json={"status": "done"}))
    waited(sensor(status_request=request, deferrable=deferrable))
    assert {request.target for request in jobs.history} == {"/orders?open=true"}


def test_redirect_of_a_get_is_followed(jobs: JobServer) -> None:
    jobs.on("GET", "/old", Answer(302, headers={"Location": "/new"}))
    jobs.on("GET", "/new", Answer(json=7))
    assert execute(method="GET", endpoint="/old") == 7


def test_every_code_can_be_a_good_one(jobs: JobServer) -> None:
    jobs.on("GET", "/t", Answer(418, {"tea": True}))
    rules = {"expected_status_code": "100-599"}
    assert execute(method="GET", endpoint="/t", response_validation=rules) == {"tea": True}


def test_pages_in_a_loop(jobs: JobServer) -> None:
    def page(request: Recorded) -> Answer:
        number = int(dict(request.query).get("page", 1))
        return Answer(json={"items": [number], "next": number + 1 if number < 3 else None})

    jobs.on("GET", "/items", page)
    items, number = [], 1
    hook = ApiHook("api")
    with hook.get_conn() as session:
        while number:
            body = session.get(f"{hook.api.base_url}/items", params={"page": number}).json()
            items += body["items"]
            number = body["next"]
    assert items == [1, 2, 3]


@each_way
def test_post_on_503_is_sent_once(jobs: JobServer, deferrable: bool) -> None:
    """HttpOperator: three times where it is deferred."""
    jobs.on("POST", "/jobs", Answer(503))
    with pytest.raises(exceptions.RequestFailedError):
        execute(job=FAST, deferrable=deferrable)
    assert methods(jobs) == ["POST /jobs"]


def test_restart_of_the_triggerer_sends_no_submit(jobs: JobServer) -> None:
    """HttpOperator: the trigger sends the POST, each time that it begins."""
    task = call(job=FAST)
    context = context_for(task)
    trigger = deferred(task, context).trigger
    for _ in range(2):
        awaited(trigger, context["ti"])
    assert methods(jobs).count("POST /jobs") == 1


def test_http_trigger_sends_the_post_again(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect itself, beside."""
    plain_http(monkeypatch, jobs)
    from airflow.providers.http.triggers.http import HttpTrigger

    jobs.on("POST", "/t", Answer(json=1))

    async def begin() -> None:
        async for _ in HttpTrigger(http_conn_id="plain", endpoint="t").run():
            break

    for _ in range(2):
        asyncio.run(begin())
    assert methods(jobs) == ["POST /t"] * 2


def test_class_without_login_is_used(jobs: JobServer, connect: Connect) -> None:
    """HttpOperator drops it."""
    connect(jobs.url, extra={"auth_type": "requests", "requests_auth": f"{__name__}.Stamp"})
    jobs.on("GET", "/t", Answer(json=1))
    execute(method="GET", endpoint="/t")
    assert jobs.history[0].header("X-Stamp") == "7"


class Stamp(AuthBase):
    """An authentication class of the requests library that needs no login."""

    def __call__(self, request: Any) -> Any:
        request.headers["X-Stamp"] = "7"
        return request


@pytest.mark.parametrize("way", ["worker", "triggerer"])
def test_connections_are_kept_alive(jobs: JobServer, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in KEEP_ALIVE
    asked: list[tuple[int, ...]] = []
    real = socket.socket.setsockopt

    def noted(self: socket.socket, *option: Any) -> None:
        asked.append(option)
        real(self, *option)

    monkeypatch.setattr(socket.socket, "setsockopt", noted)
    if way == "worker":
        jobs.on("GET", "/t", Answer(json=1))
        execute(method="GET", endpoint="/t")
    else:
        task = call(job=FAST)
        context = context_for(task)
        trigger = deferred(task, context).trigger
        asked.clear()
        awaited(trigger, context["ti"])
    assert set(KEEP_ALIVE) <= set(asked)


# -- errors and logs ------------------------------------------------------------------------------


@pytest.mark.parametrize("on_triggerer", [False, True])
def test_timeout_says_so(jobs: JobServer, on_triggerer: bool) -> None:
    """HttpOperator: the error text is empty where it is deferred."""
    jobs.on("GET", "/jobs/job-1", Answer(json={}, delay=5))
    job = {**FAST, "status_grace": 0}
    task = call(job=job, timeout=(1, 0.05), deferrable=on_triggerer)
    with pytest.raises(exceptions.RequestFailedError, match="no answer within"):
        run(task) if on_triggerer else task.execute(context_for(task))


@each_way
def test_error_body_is_told_cut_and_redacted(
    jobs: JobServer, connect: Connect, deferrable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """HttpOperator: lost where it is deferred, else logged whole."""
    connect(jobs.url, login="ada", password=SECRET)
    body = {"detail": f"no such order, {SECRET} " + "x" * 100_000}
    jobs.on("GET", "/orders/7", Answer(400, body))
    with pytest.raises(exceptions.RequestFailedError, match="no such order") as caught:
        waited(sensor(deferrable=deferrable))
    said = str(caught.value) + capsys.readouterr().out
    assert SECRET not in said
    assert len(said) < 5000


def test_answer_in_the_log_is_bounded_and_redacted(
    jobs: JobServer, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(jobs.url, login="ada", password=SECRET)
    jobs.on(
        "GET", "/t", Answer(json={"n": 7, "echo": SECRET, "access_token": "t0k3n-value", "x": "y" * 50_000})
    )
    execute(method="GET", endpoint="/t", log_response=True)
    said = capsys.readouterr().out
    assert '"n": 7' in said
    assert SECRET not in said
    assert "t0k3n-value" not in said
    assert len(said) < 12_000
    execute(method="GET", endpoint="/t")
    assert '"n": 7' not in capsys.readouterr().out


# -- the sensor -----------------------------------------------------------------------------------

SHIPPED = {"success_when": {"$.state": "shipped"}, "running_when": {"status_code": 404}}


@each_way
def test_sensor_waits_for_a_condition(jobs: JobServer, deferrable: bool) -> None:
    answers = [Answer(404), Answer(json={"state": "new"}), Answer(json={"state": "shipped"})]
    jobs.on("POST", "/search", *answers)
    request = {
        "endpoint": "search",
        "method": "POST",
        "params": {"a": 1},
        "headers": {"X-A": "b"},
        "body": {"id": 7},
    }
    assert waited(sensor(status_request=request, job=SHIPPED, deferrable=deferrable)) == {"state": "shipped"}
    assert methods(jobs) == ["POST /search?a=1"] * 3
    assert {(request.header("X-A"), request.body) for request in jobs.history} == {("b", b'{"id":7}')}


@each_way
def test_codes_are_matched_whole(jobs: JobServer, deferrable: bool) -> None:
    """HttpSensor compares the beginning of a text: "40" allows each of 400 to 409, and so may a body."""
    job = {**SHIPPED, "running_when": {"status_code": [404, "500-503"]}}
    jobs.on("GET", "/orders/7", Answer(404), Answer(503), Answer(403, {"detail": "404 is not this"}))
    with pytest.raises(exceptions.RequestFailedError, match="403"):
        waited(sensor(job=job, deferrable=deferrable))
    assert len(jobs.history) == 3
    with pytest.raises(exceptions.ParameterError, match="40"):
        sensor(job={"running_when": {"status_code": "40"}})


def test_sensor_does_not_hammer_on_401(jobs: JobServer) -> None:
    """HttpSensorTrigger asks again at once, thousands of times."""
    jobs.on("GET", "/orders/7", Answer(json={"state": "new"}), Answer(401))
    with pytest.raises(exceptions.RequestFailedError, match="401"):
        waited(sensor(job=SHIPPED, deferrable=True))
    assert len(jobs.history) == 2


def test_http_sensor_trigger_hammers_on_401(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect itself, beside."""
    plain_http(monkeypatch, jobs)
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    jobs.on("GET", "/orders/7", Answer(401))

    async def half_a_second() -> None:
        trigger = HttpSensorTrigger(http_conn_id="plain", endpoint="orders/7", poke_interval=60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(aiter(trigger.run())), 1.5)

    asyncio.run(half_a_second())
    assert len(jobs.history) > 1


@each_way
def test_one_refused_connection_does_not_end_the_wait(jobs: JobServer, deferrable: bool) -> None:
    dropped = Answer(drop="before")
    jobs.on("GET", "/orders/7", Answer(json={"state": "new"}), dropped, Answer(json={"state": "shipped"}))
    assert waited(sensor(job=SHIPPED, deferrable=deferrable)) == {"state": "shipped"}


@each_way
def test_sensor_asks_a_function(jobs: JobServer, deferrable: bool) -> None:
    """HttpSensor: a response_check switches deferral off without a word."""
    answers = [Answer(404), *[Answer(json={"rows": rows}) for rows in (0, 0, 5)]]
    jobs.on("GET", "/orders/7", *answers)
    seen = []

    def check(response: Any, task: Any) -> bool:
        seen.append((response.status_code, task.task_id))
        return bool(response.json()["rows"])

    job = {"running_when": {"status_code": 404}, "success_when": {"status_code": 200}}
    task = sensor(job=job, response_check=check, deferrable=deferrable)
    assert waited(task) == {"rows": 5}
    assert seen == [(200, "s")] * 3
    assert len(jobs.history) == 4


@each_way
def test_function_of_a_sensor_can_return_the_value(jobs: JobServer, deferrable: bool) -> None:
    jobs.on("GET", "/orders/7", Answer(json={"status": "done", "rows": 5}))

    def check(response: Any) -> PokeReturnValue:
        return PokeReturnValue(is_done=True, xcom_value=response.json()["rows"])

    assert waited(sensor(response_check=check, deferrable=deferrable)) == 5


def test_timeout_of_a_sensor_counts_from_its_first_deferral(jobs: JobServer) -> None:
    from airflow.sdk.exceptions import TaskDeferralTimeout

    jobs.on("GET", "/orders/7", Answer(json={"status": "done"}))
    with pytest.raises(TaskDeferralTimeout):
        waited(sensor(response_check=lambda response: False, deferrable=True, timeout=0.3))
