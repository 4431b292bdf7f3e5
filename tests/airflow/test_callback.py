"""Callbacks on worker and triggerer, the URL and its key, and the route without a database."""

from __future__ import annotations

import asyncio
import json
import socket
import string
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.exceptions import JobFailedError, ParameterError
from airflow_provider_apitask.hooks import callback_url as urls
from airflow_provider_apitask.plugins import callback as route
from airflow_provider_apitask.plugins.deliver import Outcome
from airflow_provider_apitask.plugins.rate import Buckets
from airflow_provider_apitask.triggers import callbacks
from airflow_provider_apitask.triggers.callbacks import (
    DELIVERIES_KEY,
    EXPECTED_KEY,
    Delivery,
    as_record,
    deliveries_in,
)
from airflow_provider_apitask.triggers.handover import woken_event
from tests.airflow.helpers import (
    FAST,
    HAS_STORE,
    Comms,
    KilledError,
    call,
    context_for,
    deferred,
    event,
    restored,
)
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

BASE = "https://airflow.example.com/prefix"
KEY = "a-long-random-text"
BODY = {"hook": "{callback_url}"}
CLAIM = urls.Claim("d", "t", "r", -1, f"n.{int(time.time()) + 1000}.0")


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__APITASK__CALLBACK_BASE_URL", f"{BASE}/")
    monkeypatch.setenv("AIRFLOW__APITASK__CALLBACK_SECRET", KEY)


def stored(comms: Comms, callback_id: str | None, *payloads: Any) -> None:
    """What the route leaves for task ``t``."""
    deliveries = [
        Delivery(number, time.time(), "application/json", json.dumps(payload).encode())
        for number, payload in enumerate(payloads, 1)
    ]
    text = json.dumps(as_record(str(callback_id), deliveries))
    comms.values["t", -1, DELIVERIES_KEY] = text
    if HAS_STORE:
        comms.store[DELIVERIES_KEY] = text


def expected(comms: Comms) -> Any:
    return json.loads(comms.values["t", -1, EXPECTED_KEY])


def hook_of(request: Recorded) -> str:
    return str(json.loads(request.body)["hook"])


# -- what authors write --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ({"callback": True}, "callback_url} is nowhere"),
        ({"callback": True, "body": {"hook": "callback_url"}}, "callback_url} is nowhere"),
        ({"body": BODY}, "give callback=True"),
        ({"callback": False, "headers": {"X-Hook": "{callback_url}"}}, "give callback=True"),
        ({"callback": True, "body": BODY, "mode": "sync"}, "mode='async'"),
        ({"callback": True, "body": BODY, "wait_for_completion": False}, "wait_for_completion"),
        ({"callback": {"expires": 0}, "body": BODY}, "callback.expires"),
        ({"callback": 7, "body": BODY}, "Callback or a dict"),
    ],
)
def test_what_cannot_be_is_refused_while_the_file_is_parsed(given_: dict[str, Any], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        call(**given_)


@pytest.mark.parametrize(
    "part",
    [
        {"body": {"a": [{"b": "x{callback_url}"}]}},
        {"body": b"<hook>{callback_url}</hook>", "body_format": "raw"},
        {"params": {"hook": "{callback_url}"}},
        {"headers": {"X-Hook": "{callback_url}"}},
        {"endpoint": "/jobs?hook={callback_url}"},
        {"body": "{{ params.body }}"},
    ],
)
def test_where_the_url_can_stand(part: dict[str, Any]) -> None:
    assert call(**{"callback": True, **part}).mode == "async"


# -- the URL -------------------------------------------------------------------------------------


def test_the_configuration_is_asked_for_before_anything_is_sent(
    jobs: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = call(callback=True, body=BODY)
    for name, value, match in (
        ("CALLBACK_BASE_URL", "", "callback_base_url"),
        ("CALLBACK_BASE_URL", "airflow.example.com", "http"),
        ("CALLBACK_BASE_URL", "https://me:pw@airflow.example.com", "user name"),
        ("CALLBACK_SECRET", "", "callback_secret"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
            patch.setenv(f"AIRFLOW__APITASK__{name}", value)
            with pytest.raises(ParameterError, match=match):
                task.execute(context_for(task))
    assert jobs.requests() == []


def test_the_key_can_be_changed_and_be_that_of_fernet(monkeypatch: pytest.MonkeyPatch) -> None:
    token = urls.sign(CLAIM)
    assert urls.read_token(token, time.time()) == CLAIM
    assert urls.read_token(token, time.time() + 1001) is None
    monkeypatch.setenv("AIRFLOW__APITASK__CALLBACK_SECRET", f"newer, {KEY}")
    assert urls.read_token(token, time.time()) == CLAIM
    assert urls.sign(CLAIM) != token
    monkeypatch.setenv("AIRFLOW__APITASK__CALLBACK_SECRET", "newer")
    assert urls.read_token(token, time.time()) is None
    monkeypatch.setenv("AIRFLOW__APITASK__CALLBACK_SECRET", "")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", KEY)
    assert urls.read_token(urls.sign(CLAIM), time.time()) == CLAIM


@given(st.integers(min_value=0), st.sampled_from(string.ascii_letters + string.digits + "-_."))
def test_no_character_of_a_token_can_be_changed(place: int, character: str) -> None:
    token = urls.sign(CLAIM)
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    found = urls.read_token(changed, time.time())
    # The last character of Base64 holds bits that nobody reads.
    assert found is None or found == CLAIM


@given(st.text())
def test_any_text_is_no_token(text: str) -> None:
    assert urls.read_token(text, time.time()) is None


# -- the worker ----------------------------------------------------------------------------------


def test_the_place_to_wait_in_is_there_before_the_submit(jobs: JobServer, comms: Comms) -> None:
    seen: list[Any] = []

    def submit(request: Recorded) -> Answer:
        seen.append((hook_of(request), expected(comms)))
        return jobs.unscripted(request)

    jobs.once("POST", "/jobs", submit)
    task = call(callback=True, body=BODY, job=FAST)
    trigger = deferred(task, context_for(task)).trigger
    ((url, place),) = seen
    assert url.startswith(f"{BASE}/apitask/callback/")
    claim = urls.read_token(urls.token_of_url(url), time.time())
    assert claim is not None
    assert (claim.dag_id, claim.task_id, claim.run_id, claim.map_index) == ("d", "t", "r", -1)
    assert place["id"] == claim.callback_id == State.from_dict(trigger.serialize()[1]["state"]).callback_id
    token = urls.token_of_url(url)
    assert token not in str([comms.values, comms.store, trigger.serialize()])
    assert token not in str(vars(task))


def test_what_came_before_the_answer_is_taken_before_the_task_is_deferred(
    jobs: JobServer, comms: Comms
) -> None:
    def submit(request: Recorded) -> Answer:
        stored(comms, expected(comms)["id"], {"status": "COMPLETED"})
        return jobs.unscripted(request)

    jobs.statuses = ("succeeded",)
    jobs.once("POST", "/jobs", submit)
    task = call(callback=True, body=BODY, job={"initial_delay": 60})
    assert task.execute(context_for(task))["status"] == "succeeded"
    assert expected(comms)["ended"] is True
    assert ("t", -1, DELIVERIES_KEY) not in comms.values
    assert DELIVERIES_KEY not in comms.store


def test_what_is_not_confirmed_is_waited_for_on(jobs: JobServer, comms: Comms) -> None:
    def submit(request: Recorded) -> Answer:
        stored(comms, expected(comms)["id"], {"status": "COMPLETED"})
        return jobs.unscripted(request)

    jobs.statuses = ("running", "running", "running", "failed")
    jobs.once("POST", "/jobs", submit)
    task = call(callback=True, body=BODY, job=FAST)
    context = context_for(task)
    resume = deferred(task, context)
    assert State.from_dict(resume.trigger.serialize()[1]["state"]).called_back == 1
    payload = asyncio.run(event(restored(resume.trigger, context["ti"])))
    with pytest.raises(JobFailedError):
        task.execute_complete(context, payload)


def test_the_worker_that_waits_finds_it(jobs: JobServer, comms: Comms) -> None:
    jobs.on("POST", "/fire", Answer(200, {"id": 7}))
    task = call(callback=True, body=BODY, endpoint="/fire", deferrable=False)

    def later() -> None:
        jobs.wait_for(1, "POST", "/fire")
        time.sleep(0.2)
        stored(comms, expected(comms)["id"], {"status": "RUNNING"}, {"status": "done", "n": 1})

    thread = threading.Thread(target=later)
    thread.start()
    assert task.execute(context_for(task)) == {"status": "done", "n": 1}
    thread.join()


def test_a_result_that_repeats_the_url_comes_without_it(jobs: JobServer, comms: Comms) -> None:
    def submit(request: Recorded) -> Answer:
        stored(comms, expected(comms)["id"], {"status": "done", "hook": hook_of(request)})
        return Answer(200, {"id": 7})

    jobs.on("POST", "/fire", submit)
    task = call(callback=True, body=BODY, endpoint="/fire")
    assert task.execute(context_for(task))["hook"] == f"{BASE}/apitask/callback/***"


@pytest.mark.skipif(not HAS_STORE, reason="this Airflow keeps no state of a task")
def test_a_try_after_a_crash_takes_what_was_taken_and_not_finished(jobs: JobServer, comms: Comms) -> None:
    jobs.on("POST", "/fire", Answer(200, {"id": 7}))
    task = call(callback=True, body=BODY, endpoint="/fire", response_check=_killed)
    deferred(task, context := context_for(task))
    stored(comms, expected(comms)["id"], {"status": "done"})
    state = json.loads(comms.store["api_job"])["state"]
    with pytest.raises(KilledError):
        task.execute_complete(context, woken_event(state, None))
    # Airflow removes the XComs when the next try begins.
    comms.values.clear()
    again = call(callback=True, body=BODY, endpoint="/fire")
    assert again.execute(context_for(again)) == {"status": "done"}
    assert len(jobs.requests("POST", "/fire")) == 1


def _killed(response: Any, **context: Any) -> bool:
    raise KilledError


# -- the trigger ---------------------------------------------------------------------------------


def test_the_trigger_looks_once_when_the_task_can_resume(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "LOOK_AFTER_SECONDS", 0.1)
    task = call(callback=True, body=BODY, job={"initial_delay": 60})
    context = context_for(task)
    trigger = deferred(task, context).trigger
    state = State.from_dict(trigger.serialize()[1]["state"])
    stored(comms, "another", {"status": "done"})
    stored(comms, state.callback_id, {"status": "done"})
    payload = asyncio.run(event(restored(trigger, context["ti"], guard=0.1)))
    assert State.from_dict(payload["state"]) == state
    assert jobs.requests("GET") == []


def test_a_woken_task_knows_what_its_trigger_has_counted(jobs: JobServer, comms: Comms) -> None:
    jobs.statuses = ("succeeded",)
    task = call(callback=True, body=BODY, job={"max_polls": 9, "initial_delay": 60})
    context = context_for(task)
    _, kwargs = deferred(task, context).trigger.serialize()
    kept = {**kwargs["state"], "polls": 4}
    comms.values["t", -1, "api_job_progress"] = json.dumps({"since": kwargs["since"], "state": kept})
    stored(comms, kwargs["state"]["callback_id"], {"status": "done"})
    task.execute_complete(context, woken_event(kwargs["state"], kwargs["since"]))
    assert comms.pushed("t", "api_job")["polls"] == 5
    assert comms.pushed("t", "api_job_progress") is None


def test_what_is_no_record_is_no_delivery() -> None:
    for record in (None, 7, {}, {"id": "a"}, {"id": "a", "deliveries": [{}]}, {"id": "a", "deliveries": 7}):
        assert deliveries_in(record, "a") == []
    assert deliveries_in({"id": None, "deliveries": []}, None) == []


# -- the route -----------------------------------------------------------------------------------


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the route would store, in place of a database."""
    seen: list[tuple[Any, ...]] = []

    def deliver(*given_: Any) -> tuple[Outcome, None]:
        seen.append(given_)
        return Outcome.STORED, None

    monkeypatch.setattr(route, "deliver", deliver)
    monkeypatch.setattr(route, "record", lambda *given_: None)
    monkeypatch.setattr(route, "_of_url", Buckets(burst=3, per_second=0.2))
    monkeypatch.setattr(route, "_of_stranger", Buckets(burst=3, per_second=1))
    return seen


def post(*paths: str, **kwargs: Any) -> list[httpx.Response]:
    async def sent() -> list[httpx.Response]:
        transport = httpx.ASGITransport(route.routes)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            return [await client.request(kwargs.pop("method", "POST"), path, **kwargs) for path in paths]

    return asyncio.run(sent())


def path_of(claim: urls.Claim = CLAIM) -> str:
    return f"/apitask/callback/{urls.sign(claim)}"


def test_a_delivery_is_stored_as_it_came(delivered: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        (answer,) = post(path_of(), content=b"a=1", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()) == (200, {"status": 200})
    ((claim, body, content_type, _),) = delivered
    assert (claim, body, content_type) == (CLAIM, b"a=1", "text/plain")
    assert "task t of DAG d, run r" in caplog.text
    assert urls.sign(CLAIM) not in caplog.text


def test_whatever_is_wrong_with_a_token_is_answered_alike(delivered: list[Any]) -> None:
    expired = urls.Claim("d", "t", "r", -1, f"n.{int(time.time()) - 1}.0")
    answers = post(path_of(expired), f"{path_of()}x", "/apitask/callback/", content=b"{}")
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, b'{"status":404}')}
    assert delivered == []


def test_a_flood_is_held_off(delivered: list[Any]) -> None:
    answers = post(*[path_of()] * 4)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "10"
    assert [answer.status_code for answer in post(*["/apitask/callback/x"] * 4)] == [404, 404, 404, 429]
    other = urls.Claim("d", "other", "r", -1, CLAIM.callback_id.replace("n.", "m."))
    assert post(path_of(other))[0].status_code == 200, "one that has its own URL is not held off by others"


def test_a_database_that_hangs_or_fails_is_not_waited_for(
    delivered: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    released, ended = threading.Event(), threading.Event()

    def hangs(*given_: Any) -> None:
        released.wait(60)
        ended.set()

    monkeypatch.setattr(route, "deliver", hangs)
    (answer,) = post(path_of())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert not ended.is_set(), "the response did not wait for the database"
    released.set()

    def broken(*given_: Any) -> Any:
        raise RuntimeError("no database")

    monkeypatch.setattr(route, "deliver", broken)
    (answer,) = post(path_of())
    assert (answer.status_code, answer.content) == (503, b'{"status":503}')


def test_a_body_that_does_not_arrive_is_a_timeout_and_one_that_is_too_long_is_too_large(
    delivered: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "_BODY_PATIENCE", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def long() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (route.MAX_BODY // 2)

    (slow,) = post(path_of(), content=stuck())
    (too_long,) = post(path_of(), content=long())
    assert (slow.status_code, slow.json(), slow.headers["Connection"]) == (408, {"status": 408}, "close")
    assert too_long.status_code == 413
    assert delivered == []


def test_a_clock_that_steps_does_not_refill_the_bucket(
    delivered: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    far = urls.Claim("d", "t", "r", -1, f"n.{int(now) + 100_000}.0")
    seen = []
    for step in (0, 0, 0, 0, -7200, 0, 7200):
        with monkeypatch.context() as clock:
            clock.setattr(route.time, "time", lambda step=step: now + step)
            seen += [answer.status_code for answer in post(path_of(far))]
    assert seen == [200, 200, 200, 429, 429, 429, 429]


def test_a_websocket_is_refused_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    # The other implementations of WebSockets warn that they are deprecated, depending on their release.
    config = uvicorn.Config(route.routes, port=0, lifespan="off", log_config=None, ws="websockets-sansio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    with caplog.at_level("INFO"):
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        with socket.create_connection((host, port), timeout=30) as client:
            client.sendall(
                f"GET {path_of()} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            status_line = client.makefile("rb").readline()
        server.should_exit = True
        thread.join()
    assert status_line.split()[:2] == [b"HTTP/1.1", b"403"]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert urls.sign(CLAIM) not in caplog.text


def test_records_that_the_operation_log_does_not_take_are_dropped(
    delivered: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free, written = threading.Event(), []

    def hangs(*given_: Any) -> None:
        free.wait()
        written.append(given_)

    monkeypatch.setattr(route, "record", hangs)
    monkeypatch.setattr(route, "_records", pool := route._Pool(1, 2, "test"))
    answers = post(*[path_of()] * 3)
    free.set()
    pool._threads.shutdown()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len(written) == 2
    assert "the record of this callback is dropped" in caplog.text


def test_deliveries_beyond_the_queue_are_to_be_sent_again(
    delivered: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(route, "deliver", lambda *given_: free.wait())
    monkeypatch.setattr(route, "_DATABASE_PATIENCE", 0.05)
    monkeypatch.setattr(route, "_deliveries", pool := route._Pool(1, 2, "test"))
    answers = post(*[path_of()] * 3)
    waiting = pool._threads._work_queue.qsize()
    free.set()
    pool._threads.shutdown()
    assert [answer.status_code for answer in answers] == [503] * 3
    assert waiting == 1, "one runs, one waits, and the third was not queued"


def test_a_token_bucket_fills_up_again_and_forgets() -> None:
    buckets = Buckets(burst=2, per_second=0.5)
    assert [buckets.take("a", 0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0)
    assert [buckets.take("a", 2), buckets.take("a", 2), buckets.take("a", 1000)] == [True, False, True]
    for number in range(10_001):
        buckets.take(str(number), 1000)
    assert [buckets.take("a", 1000) for _ in range(3)] == [True, True, False]
