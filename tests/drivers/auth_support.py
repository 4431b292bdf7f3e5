"""What the tests of authentication share: connections as Airflow has them, and tasks made from them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.operation import Done, Operation
from airflow_provider_apitask.core.state import Phase
from airflow_provider_apitask.hooks.connection import read_connection
from tests.drivers.contract import WAYS, Clock, Setup, asynchronous, sync
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

__all__ = ["PLACES", "RESULT", "Conn", "Guarded", "Outcome", "conn", "delete", "job", "perform"]

#: Where a call runs, and how ``contract`` names that. Deferred: worker, triggerer and worker again, each
#: a process that knows nothing of the others.
PLACES = {"worker": "blocking", "triggerer": "event loop", "deferred": "relay"}
RESULT = {"rows": 3}


@dataclass(frozen=True)
class Conn:
    """A connection as Airflow hands it out."""

    host: str
    extra_dejson: dict[str, Any]
    login: str | None = None
    password: str | None = None
    conn_id: str = "the_api"
    conn_type: str = "apitask"
    schema: str | None = None
    port: int | None = None


def conn(host: str, login: str | None = None, password: str | None = None, **extra: Any) -> Conn:
    """A connection that may use plain HTTP."""
    return Conn(host, {"allow_http": True, "connect_timeout": 5, "timeout": 10, **extra}, login, password)


def job(**fields: Any) -> Call:
    """A job whose result is asked for."""
    retry, csrf = fields.pop("retry", None), fields.pop("csrf_endpoint", None)
    endpoint = fields.pop("endpoint", "jobs")
    call = asynchronous(endpoint, body={"a": 1}, **{"result_request": "{status_url}/result", **fields})
    given = {name: value for name, value in (("retry", retry), ("csrf_endpoint", csrf)) if value is not None}
    return Call(request=call.request, mode=call.mode, job=call.job, timeout=call.timeout, **given)


def delete(endpoint: str = "jobs/job-1", *, csrf_endpoint: str | None = None) -> Call:
    """The request that a cancel sends."""
    call = sync("DELETE", endpoint)
    return Call(request=call.request, csrf_endpoint=csrf_endpoint)


class _Watched(Clock):
    """A clock that tells of each wait."""

    def __init__(self, real: float, at_wait: Callable[[int], object] | None) -> None:
        super().__init__(real)
        self._at_wait = at_wait

    def _pass(self, seconds: float) -> None:
        super()._pass(seconds)
        if self._at_wait is not None:
            self._at_wait(len(self.slept))


@dataclass
class _Task(Setup):
    """An operation whose connection is read in each process anew."""

    conn: Conn | None = None
    learned: list[str] = field(default_factory=list)

    async def event_loop(self, operation: Operation, **kwargs: Any) -> Done | None:
        try:
            return await super().event_loop(operation, **kwargs)
        finally:
            if self.api.base_url.startswith("https:"):
                await asyncio.sleep(0.05)  # TLS says goodbye; a triggerer's loop goes on for that

    def moved(self, operation: Operation) -> Operation:
        self.read()
        return super().moved(operation)

    def read(self) -> None:
        assert self.conn is not None
        found = read_connection(self.conn, self.learned.append)
        self.api, self.options = found.api, found.options


@dataclass
class Outcome:
    """What came of a call.

    :param learned: secrets that were got at run time.
    """

    done: Done
    phase: Phase
    events: list[tuple[str, str]]
    states: list[str]
    learned: list[str]

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
    def kinds(self) -> list[str]:
        """The kinds of the events."""
        return [kind for kind, _ in self.events]

    def assert_clean(self, *secrets: str) -> None:
        """None of these, and nothing got at run time, is seen by people or stored.

        The value is what the author asked for, whatever the server has put into it.
        """
        error = self.done.error
        text = repr((self.events, self.states, error, error and error.to_dict()))
        for secret in (*secrets, *self.learned):
            # Shorter ones are not replaced: they would turn whole texts into asterisks.
            assert len(secret) < 4 or secret not in text


def perform(
    place: str,
    connection: Conn,
    call: Call,
    *,
    real_sleep: float = 0.0,
    at_wait: Callable[[int], object] | None = None,
) -> Outcome:
    """Run a call in one place.

    :param real_sleep: seconds to really sleep for each wait of the call.
    :param at_wait: is called with the number of each wait, from 1, before it.
    """
    found = read_connection(connection)
    task = _Task(call, found.api, found.options, _Watched(real_sleep, at_wait), conn=connection)
    task.read()
    operation, done = WAYS[PLACES[place]](task)
    assert done is not None
    events = [(event.kind.value, event.message) for event in task.events]
    outcome = Outcome(done, operation.state.phase, events, task.states, task.learned)
    outcome.assert_clean(*_secrets(connection))
    return outcome


def _secrets(connection: Conn) -> list[str]:
    named = re.compile("secret|password|token$|_key$|requests_auth_params")
    found = [connection.password or ""]
    for name, value in connection.extra_dejson.items():
        if named.search(name) and name != "client_key":
            found += [str(v) for v in value.values()] if isinstance(value, dict) else [str(value)]
    return [secret for secret in found if len(secret) > 3]


class Guarded(JobServer):
    """A job API that answers 401 to whoever has no credentials.

    :param admits: whether a request has them.
    """

    def __init__(self, admits: Callable[[Recorded], bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.admits = admits
        self.refused = 0

    def unscripted(self, request: Recorded) -> Answer:
        if not self.admits(request):
            self.refused += 1
            return Answer(401, {"detail": "who are you?"})
        return super().unscripted(request)

    @property
    def targets(self) -> list[str]:
        """Method and path of each request."""
        return [f"{r.method} {r.path}" for r in self.history]
