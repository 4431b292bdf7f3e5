"""The trigger of an ``AssetWatcher``: fires for news, shares its poll, outlives failing checks."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher

from airflow_provider_apitask import ApiEventTrigger
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.watch import next_look
from airflow_provider_apitask.hooks import clients
from tests.airflow.helpers import Connect
from tests.support import Answer, refused_url
from tests.support.scripted_server import ScriptedServer

READY = {"fire_when": {"$.state": "ready"}, "poll_interval": 0.02}


@pytest.fixture
def server(connect: Connect) -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        connect(made.url)
        yield made


class Stores:
    """The asset state store of Airflow 3.3, of a trigger that watches for one asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.broken:
            raise RuntimeError("no answer")
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        if self.broken:
            raise RuntimeError("no answer")
        self.values[key] = value


def made(**kwargs: Any) -> ApiEventTrigger:
    """A trigger as a triggerer makes it: from JSON."""
    path, given = ApiEventTrigger(**{"api_conn_id": "api", "endpoint": "/s", **READY, **kwargs}).serialize()
    assert path == "airflow_provider_apitask.triggers.api_event.ApiEventTrigger"
    return ApiEventTrigger(**json.loads(json.dumps(given)))


def events(trigger: ApiEventTrigger, server: ScriptedServer | None = None, polls: int = 0) -> list[Any]:
    """What a trigger fires until so many checks have arrived, and been looked at."""

    async def collect() -> list[Any]:
        found: list[Any] = []

        async def run() -> None:
            async for event in trigger.run():
                found.append(event.payload)  # noqa: PERF401 - it is cancelled

        task = asyncio.create_task(run())
        if server is not None:
            # One more: when it arrives, the one before has been looked at.
            await asyncio.to_thread(server.wait_for, polls + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    return asyncio.run(collect())


def states(server: ScriptedServer, *answers: Any) -> int:
    """Script answers, the last for ever; how many there are."""
    server.on("GET", "/s", *[item if isinstance(item, Answer) else Answer(json=item) for item in answers])
    return len(answers)


def test_fires_once_while_the_condition_holds(server: ScriptedServer) -> None:
    ready = {"state": "Ready", "version": 7}
    count = states(server, {"state": "busy"}, ready, ready, ready)
    trigger = made(watermark="$.version", extract={"v": "$.version", "none": "$.nothing"})
    assert events(trigger, server, count) == [
        {
            "api_conn_id": "api",
            "method": "GET",
            "url": f"{server.url}/s",
            "status_code": 200,
            "watermark": 7,
            "values": {"v": 7, "none": None},
        }
    ]


def test_fires_for_each_new_answer(server: ScriptedServer) -> None:
    count = states(
        server, *[{"state": "ready", "version": n, "now": m} for m, n in enumerate((1, 1, 2, 2, 3))]
    )
    found = events(made(watermark="$.version"), server, count)
    assert [event["watermark"] for event in found] == [1, 2, 3]


def test_without_a_watermark_the_body_tells(server: ScriptedServer) -> None:
    count = states(server, *[{"state": "ready", "n": n} for n in (1, 1, 2)])
    assert len(events(made(), server, count)) == 2


def test_fires_again_when_the_condition_has_ceased(server: ScriptedServer) -> None:
    count = states(server, {"state": "ready"}, {"state": "busy"}, {"state": "ready"}, {"state": "ready"})
    assert len(events(made(), server, count)) == 2


def test_a_session_is_closed_if_it_ends_while_a_response_is_read(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(self: ApiEventTrigger, look: Any) -> Any:
        begun.set()
        go_on.wait(30)
        return None, {}

    monkeypatch.setattr(ApiEventTrigger, "_news", slow)
    states(server, {"state": "ready"})

    async def collect() -> bool:
        task = asyncio.create_task(anext(aiter(made().run())))
        await asyncio.to_thread(begun.wait, 30)
        (client,) = clients.pool_of_this_loop()._clients.values()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go_on.set()
        return client.retired

    assert asyncio.run(collect())


def test_any_answer_of_2xx_by_default(server: ScriptedServer) -> None:
    count = states(server, Answer(404), Answer(204), Answer(204))
    assert [event["status_code"] for event in events(made(fire_when=None), server, count)] == [204]


def test_code_can_be_the_condition(server: ScriptedServer) -> None:
    count = states(server, Answer(json={}), Answer(404, {}), Answer(404, {}))
    found = events(made(fire_when={"status_code": 404}), server, count)
    assert [event["status_code"] for event in found] == [404]


def test_failing_checks_are_no_events_and_do_not_end_it(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    ready = {"state": "ready"}
    failures = [Answer(503, ready), Answer(500, ready), Answer(401, ready), Answer(drop="before")]
    html = Answer(text="<html>state: ready</html>", headers={"Content-Type": "text/html"})
    broken = Answer(text="{", headers={"Content-Type": "application/json"})
    count = states(server, ready, *failures, html, broken, ready, ready)
    with caplog.at_level(logging.INFO):
        assert len(events(made(), server, count)) == 1
    told = [record.message for record in caplog.records if "api_event" in record.name]
    assert [number for number in range(1, 9) if any(f"Check {number} in a row" in line for line in told)] == [
        1,
        2,
        4,
    ]
    assert any("can be asked again" in line for line in told)


def test_server_and_connection_that_are_not_there(connect: Connect) -> None:
    async def first(trigger: ApiEventTrigger) -> Any:
        return await anext(aiter(trigger.run()))

    async def tried(trigger: ApiEventTrigger) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first(trigger), 0.3)

    connect(refused_url())
    asyncio.run(tried(made()))
    asyncio.run(tried(made(api_conn_id="nowhere")))


def test_retry_after_is_obeyed() -> None:
    assert next_look(60, 0, None) == 60
    assert next_look(60, 0, 120) == 120
    assert next_look(60, 0, 0) == 1
    assert next_look(0.5, 0, 0) == 0.5
    assert next_look(60, 0, 10**9) == 3600
    assert [next_look(60, failures, None) for failures in (1, 2, 4, 99)] == [120, 240, 960, 960]
    assert next_look(1000, 9, None) == 3600


def test_mark_outlives_the_triggerer(server: ScriptedServer) -> None:
    states(server, {"state": "ready"})
    store = Stores()
    fired = []
    for _ in range(2):
        trigger = made()
        trigger.asset_state_store = store  # type: ignore[assignment]
        fired.append(len(events(trigger, server, len(server.history) + 3)))
    assert fired == [1, 0]
    other = made(extract={"a": "$.a"})
    other.asset_state_store = store  # type: ignore[assignment]
    assert len(events(other, server, len(server.history) + 2)) == 1


def test_store_that_fails_costs_no_event(server: ScriptedServer) -> None:
    count = states(server, {"state": "ready"}, {"state": "ready"}, {"state": "ready"})
    trigger, store = made(), Stores()
    store.broken = True
    trigger.asset_state_store = store  # type: ignore[assignment]
    assert len(events(trigger, server, count)) == 1


def test_two_watchers_share_one_poll(server: ScriptedServer) -> None:
    stream = pytest.importorskip("airflow.triggers.shared_stream")
    states(server, {"state": "busy", "rows": 0}, {"state": "ready", "rows": 0}, {"state": "ready", "rows": 5})
    triggers = [made(poll_interval=0.2), made(poll_interval=0.2, fire_when={"$.rows": {"min": 1}})]
    assert triggers[0].shared_stream_key() == triggers[1].shared_stream_key()
    assert made(poll_interval=5).shared_stream_key() != triggers[0].shared_stream_key()
    assert made(endpoint="/t").shared_stream_key() != made().shared_stream_key()
    found: list[list[int]] = [[], []]

    async def collect() -> None:
        manager = stream.SharedStreamManager()

        async def run(number: int) -> None:
            trigger = triggers[number]
            key = trigger.shared_stream_key()
            shared = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
            async for event in trigger.filter_shared_stream(shared):
                found[number].append(event.payload["status_code"])

        tasks = [asyncio.create_task(run(number)) for number in range(2)]
        await asyncio.to_thread(server.wait_for, 4)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await manager.stop_all()

    asyncio.run(collect())
    assert found == [[200, 200], [200]]
    assert len(server.history) == 4


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"fire_when": "ready"}, "fire_when"),
        ({"fire_when": "{{ ds }}"}, "template"),
        ({"watermark": "$["}, "watermark"),
        ({"extract": ["$.a"]}, "extract"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"headers": {"Authorization": "Bearer s3cr3t"}}, "credential"),
        ({"query_params": {"api_key": "s3cr3t"}}, "credential"),
        ({"body": object()}, "JSON"),
        ({"method": "no method"}, "method"),
        ({"endpoint": None}, "endpoint"),
    ],
)
def test_mistakes_are_named(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says) as caught:
        made(**kwargs)
    assert "s3cr3t" not in str(caught.value)
    # What a triggerer survives.
    assert isinstance(caught.value, TypeError)


def test_airflow_knows_it_again() -> None:
    """The hash by which Airflow tells watchers apart stays the same through JSON."""
    one, two = made(fire_when={"$.a": {1}}), made(fire_when=[{"$.a": [1]}])
    assert one.serialize() == two.serialize() == made(**one.serialize()[1]).serialize()
    assert ApiEventTrigger.hash(*one.serialize()) == ApiEventTrigger.hash(*two.serialize())
    for value in one.serialize()[1].values():
        assert isinstance(value, (str, int, float))
    asset = Asset("a", watchers=[AssetWatcher(name="w", trigger=one)])
    assert asset.watchers[0].trigger is one
    assert "s" in repr(one)


def test_airflow_stores_it_as_the_same() -> None:
    """Airflow reads what it has stored, and compares the hashes: others leave the asset unwatched."""
    from airflow.serialization.encoders import encode_trigger

    trigger = made(
        fire_when=[{"$.a": {"min": 1}}], extract={"a": "$.a"}, query_params={"b": [1, 2]}, timeout=(1, 2)
    )
    stored = encode_trigger(trigger)
    again = encode_trigger(json.loads(json.dumps(stored)))
    assert ApiEventTrigger.hash(**stored) == ApiEventTrigger.hash(**again)
    assert stored["kwargs"] == trigger.serialize()[1]


def test_secrets_of_the_connection_are_in_no_event(server: ScriptedServer, connect: Connect) -> None:
    connect(server.url, password="s3cr3t-value", login="ada")
    count = states(server, {"state": "ready", "echo": "s3cr3t-value"})
    (event,) = events(made(extract={"echo": "$.echo"}), server, count)
    assert event["values"] == {"echo": "***"}
