"""One call, driven in three ways that have to be the same: blocking, on the event loop, and by relay.

The relay is what a deferred task does: worker → JSON → triggerer → JSON → worker.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Auth, NoAuth
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.ledger import Ledger
from airflow_provider_apitask.core.operation import Done, Operation
from airflow_provider_apitask.core.records import OperationRecord, Owner
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.drivers import blocking, event_loop
from airflow_provider_apitask.drivers.transport import TransportOptions
from tests.support.raw_server import Conversation, RawServer
from tests.support.scripted_server import ScriptedServer

__all__ = [
    "BEFORE",
    "PATIENT",
    "WAYS",
    "Clock",
    "Seen",
    "Setup",
    "asynchronous",
    "check",
    "contract",
    "failing",
    "make_api",
    "nothing",
    "run",
    "sync",
]

Server: TypeAlias = ScriptedServer | RawServer

#: What an error says of a connection that was closed in place of an answer.
BEFORE = "before any answer"
#: Seconds to connect and to read where a test expects no timeout, on a slow machine either.
PATIENT = (5.0, 10.0)


class Clock:
    """Time that passes by being slept away, so that a test waits for nothing.

    :param real: seconds to really sleep each time.
    :param steps: seconds by which the wall clock is set, one at each sleep.
    """

    def __init__(self, real: float = 0.0, steps: Iterable[float] = ()) -> None:
        self.now = 1_800_000_000.0
        self.passed = 0.0
        self.slept: list[float] = []
        self.real = real
        self.steps = list(steps)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self._pass(seconds)
        time.sleep(self.real)

    async def asleep(self, seconds: float) -> None:
        self._pass(seconds)
        await asyncio.sleep(self.real)

    def _pass(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.passed += seconds
        self.now += seconds + (self.steps.pop(0) if self.steps else 0.0)

    def ticks(self) -> float:
        """Monotonic time."""
        return self.passed


@dataclass
class Seen:
    """What came of one way."""

    done: Done
    server: Any
    events: list[tuple[str, str]]
    slept: list[float]
    phase: Phase
    states: list[str] = field(default_factory=list)
    """States as they went from process to process."""
    records: list[OperationRecord] = field(default_factory=list)
    """What the operation log has of it, but not of the relay, whose processes keep accounts of their own."""

    @property
    def value(self) -> Any:
        """The result; the call must have succeeded."""
        assert self.done.error is None, self.done.error
        return self.done.value

    @property
    def error(self) -> ApiTaskError:
        """Why the call failed, which it must have."""
        assert self.done.error is not None, self.done.value
        return self.done.error

    @property
    def failed(self) -> tuple[str, str]:
        """Kind of the error, and its text without host and port."""
        return self.error.kind, self.without_address(self.error.message)

    @property
    def targets(self) -> list[str]:
        """Method and target of each request."""
        return [f"{r.method} {self.without_address(r.target)}" for r in self.server.history]

    def without_address(self, text: str) -> str:
        """The text with the server's address, other each time, as HOST."""
        host, _, port = self.server.url.rpartition("/")[2].partition(":")
        return text.replace(f"{host}:{port}", "HOST").replace(f":{port}", ":PORT")

    def comparable(self) -> dict[str, Any]:
        """All that must be the same in each way."""
        error = self.done.error
        return {
            "value": self.done.value,
            "error": error and json.loads(self.without_address(json.dumps(error.to_dict()))),
            "phase": self.phase,
            "events": [(kind, self.without_address(text)) for kind, text in self.events],
            "slept": self.slept,
            "sent": self._sent(),
        }

    def account(self) -> list[Any]:
        """What must be the same of the records: all but ids, times and the server's address.

        How much of an answer that breaks off was seen depends on how it was read.
        """
        other = {"record_id", "operation_id", "started_at", "ended_at"}
        kept = []
        for record in self.records:
            left_out = other if record.http_status else other | {"bytes_received"}
            kept.append({name: v for name, v in record.to_dict().items() if name not in left_out})
        accounted: list[Any] = json.loads(self.without_address(json.dumps(kept)))
        return accounted

    def _sent(self) -> list[Any]:
        if isinstance(self.server, RawServer):
            # Fields in the order of their names; clients may write them in an order of their own.
            texts = [self.without_address(request.decode()).lower() for request in self.server.requests]
            return [sorted(text.split("\r\n")) for text in texts]
        return [self._comparable(request) for request in self.server.history]

    def _comparable(self, request: Any) -> tuple[Any, ...]:
        """A request without the server's address, and without its boundary, other each time too."""
        mark = (request.header("Content-Type") or "").partition("boundary=")[2] or "\0"
        fields = [
            (name.lower(), self.without_address(value).replace(mark, "BOUNDARY"))
            for name, value in request.headers
        ]
        return (
            request.method,
            self.without_address(request.target),
            sorted(fields, key=lambda pair: pair[0]),
            request.body.replace(mark.encode(), b"BOUNDARY") if mark != "\0" else request.body,
        )


@dataclass
class Setup:
    """One way's operation and all that it runs with."""

    call: Call
    api: Api
    options: TransportOptions
    clock: Clock
    events: list[Event] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=lambda: Ledger(Owner(), lambda: uuid.uuid4().hex))

    def blocking(self, operation: Operation, **kwargs: Any) -> Done | None:
        with blocking.BlockingTransport(self.api, self.options) as transport:
            return blocking.drive(
                operation,
                partial(transport.send, observe=operation.observe),
                on_event=self.events.append,
                clock=self.clock,
                ticks=self.clock.ticks,
                sleep=self.clock.sleep,
                **kwargs,
            )

    async def event_loop(self, operation: Operation, **kwargs: Any) -> Done | None:
        async with event_loop.EventLoopTransport(self.api, self.options) as transport:
            return await event_loop.drive(
                operation,
                partial(transport.send, observe=operation.observe),
                on_event=self.events.append,
                clock=self.clock,
                ticks=self.clock.ticks,
                sleep=self.clock.asleep,
                **kwargs,
            )

    def moved(self, operation: Operation) -> Operation:
        """The operation in another process."""
        self.states.append(json.dumps(operation.state.to_dict()))
        state = State.from_dict(json.loads(self.states[-1]))
        answer = operation.answer if state.inline else None
        return Operation(self.call, self.api, state, answer=answer)


def _blocking(setup: Setup) -> tuple[Operation, Done | None]:
    operation = Operation(setup.call, setup.api, ledger=setup.ledger)
    return operation, setup.blocking(operation)


def _event_loop(setup: Setup) -> tuple[Operation, Done | None]:
    operation = Operation(setup.call, setup.api, ledger=setup.ledger)
    return operation, asyncio.run(setup.event_loop(operation))


def _relay(setup: Setup) -> tuple[Operation, Done | None]:
    operation = Operation(setup.call, setup.api)
    setup.blocking(operation, until=lambda state: state.phase is not Phase.SUBMIT)
    if operation.state.phase.waiting:
        operation = setup.moved(operation)
        asyncio.run(setup.event_loop(operation, until=lambda state: not state.phase.waiting))
        operation = setup.moved(operation)
    return operation, setup.blocking(operation)


WAYS: dict[str, Callable[[Setup], tuple[Operation, Done | None]]] = {
    "blocking": _blocking,
    "event loop": _event_loop,
    "relay": _relay,
}


def sync(method: str = "GET", endpoint: str | None = "a", **kwargs: Any) -> Call:
    """A synchronous call; what is no field of the request is one of the call."""
    own = {
        name: kwargs.pop(name) for name in ("retry", "response_path", "max_response_bytes") if name in kwargs
    }
    spec = RequestSpec(method=method, endpoint=endpoint, **kwargs)
    return Call(request=spec.checked(), **own)


def asynchronous(endpoint: str = "jobs", *, body: Any = None, timeout: Any = PATIENT, **job: Any) -> Call:
    """A POST that starts a job, and how to follow it."""
    spec = RequestSpec(method="POST", endpoint=endpoint, body=body).checked()
    return Call(request=spec, mode=Mode.ASYNC, job=AsyncJob(**job).compiled(), timeout=timeout)


def make_api(base_url: str, auth: Auth | None = None, **kwargs: Any) -> Api:
    """An API that may be reached by plain HTTP, with a redactor that knows its secrets."""
    auth = auth or NoAuth()
    given = {"allow_http": True, "redactor": Redactor(auth.secrets), **kwargs}
    return Api(conn_id="the_api", base_url=base_url, auth=auth, **given)


def run(
    way: str,
    script: Callable[[Any], object],
    call: Call | Callable[[Any], Call],
    *,
    server: Callable[[], Server] = ScriptedServer,
    api: Callable[[Any], Api] = lambda server: make_api(server.url),
    options: Callable[[Any], TransportOptions] = lambda server: TransportOptions(),
    real_sleep: float = 0.0,
    steps: Iterable[float] = (),
) -> Seen:
    """Run a call in one way, against a server of its own.

    :param script: is given the server before the call.
    :param steps: seconds by which the wall clock is set, one at each sleep.
    """
    with server() as running:
        script(running)
        a_call = call if isinstance(call, Call) else call(running)
        setup = Setup(a_call, api(running), options(running), Clock(real_sleep, steps))
        operation, done = WAYS[way](setup)
        assert done is not None, way
        events = [(event.kind.value, event.message) for event in setup.events]
        phase, records = operation.state.phase, setup.ledger.take()
        return Seen(done, running, events, setup.clock.slept, phase, setup.states, records)


def contract(script: Callable[[Any], object], call: Call | Callable[[Any], Call], **kwargs: Any) -> Seen:
    """Run a call in each way and compare them; the arguments are those of :func:`run`.

    :returns: what was seen on the event loop, with the states of the relay.
    """
    runs = {way: run(way, script, call, **kwargs) for way in WAYS}
    reference = runs["blocking"].comparable()
    for way, seen in runs.items():
        for what, found in seen.comparable().items():
            assert found == reference[what], f"{way}: {what}: {found!r}, blocking: {reference[what]!r}"
    assert runs["event loop"].account() == runs["blocking"].account()
    runs["event loop"].states = runs["relay"].states
    return runs["event loop"]


def nothing(server: object) -> None:
    """Script nothing."""


def failing(method: str, conversation: Conversation, *, timeout: Any = None, **kwargs: Any) -> Seen:
    """Call a server that says anything."""
    call = sync(method, **({"timeout": timeout} if timeout else {}))
    seen = contract(nothing, call, server=lambda: RawServer(conversation), **kwargs)
    assert seen.done.error is not None, seen.done.value
    return seen


def check(seen: Seen, method: str, text: str, *, received: bool) -> None:
    """A POST that may have arrived has an unknown outcome; all else has failed."""
    unknown = received and method == "POST"
    assert seen.error.kind == ("submit_unknown" if unknown else "request_failed")
    assert f"({text})" in seen.error.message
    assert "0x" not in seen.error.message
