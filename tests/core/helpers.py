"""An operation driven by hand: no network, no clock but the one given here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.messages import Failure, Headers, NetworkFailure, Request, Response
from airflow_provider_apitask.core.operation import Done, Inbound, Operation, Send, Wait
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import Phase, State

BASE = "https://api.example.com/v1"
#: Unix time at which every test begins.
T0 = 1_700_000_000.0

NO_CONNECTION = NetworkFailure(Failure.CONNECT, "connection refused", possibly_received=False)
READ_TIMEOUT = NetworkFailure(Failure.TIMEOUT, "read timed out", possibly_received=True)
DROPPED = NetworkFailure(Failure.DROPPED, "reset by peer", possibly_received=True)
TOO_LARGE = NetworkFailure(Failure.TOO_LARGE, "over 10 bytes", possibly_received=True)

HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"


def make_api(**fields: Any) -> Api:
    return Api(**{"conn_id": "my_api", "base_url": BASE, **fields})


def make_response(
    status: int = 200,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    url: str = f"{BASE}/jobs",
    content_type: str | None = None,
) -> Response:
    """A response; what is neither bytes nor None becomes JSON."""
    given = dict(headers or {})
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    if content_type is None and content and not isinstance(body, bytes):
        content_type = "application/json"
    if content_type:
        given["Content-Type"] = content_type
    return Response(status, url, Headers(given), content)


def make_job(**fields: Any) -> AsyncJob:
    return AsyncJob(**{"poll_interval": 10, **fields}).compiled()


def make_call(*, method: str = "POST", sync: bool = False, retries: int = 0, **fields: Any) -> Call:
    return Call(
        **{
            "request": RequestSpec(method=method, endpoint="/jobs", body={"a": 1}),
            "mode": Mode.SYNC if sync else Mode.ASYNC,
            "job": make_job(),
            "retry": RetryPolicy(count=retries, delay=1.0),
            **fields,
        }
    )


class Driven:
    """An operation, its clock and all that came out of it."""

    def __init__(
        self, call: Call, api: Api | None = None, state: State | None = None, **options: Any
    ) -> None:
        self.now = T0
        self.operation = Operation(call, api or make_api(), state, **options)
        self.requests: list[Request] = []
        self.waits: list[float] = []
        self.events: list[Event] = []

    @classmethod
    def polling(cls, job: AsyncJob | None = None, **changes: Any) -> Driven:
        """One whose job was submitted at ``T0`` and has a monitor URL."""
        fields = {"job_id": "7", "status_url": f"{BASE}/jobs/7", "submitted_at": T0, **changes}
        return cls(make_call(job=job or make_job()), state=State(phase=Phase.POLL, **fields))

    @property
    def state(self) -> State:
        return self.operation.state

    @property
    def phase(self) -> Phase:
        return self.state.phase

    def request(self) -> Request:
        """The next request, after the waiting before it."""
        step = self.operation.step(self.now)
        if isinstance(step, Wait):
            assert step.until > self.now, "a wait has to be in the future"
            self.waits.append(step.until - self.now)
            self.now = step.until
            step = self.operation.step(self.now)
        assert isinstance(step, Send), step
        self.requests.append(step.request)
        return step.request

    def tell(self, inbound: Inbound) -> Event | None:
        """Send the next request and give this as what came of it."""
        request = self.request()
        if isinstance(inbound, Response) and inbound.url == f"{BASE}/jobs":
            inbound = Response(inbound.status, request.url, inbound.headers, inbound.body)
        event = self.operation.receive(inbound, self.now)
        if event is not None:
            self.events.append(event)
        return event

    def answer(
        self, status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Event | None:
        return self.tell(make_response(status, body, headers, **more))

    def next_wait(self) -> float:
        """Seconds until the next request is due."""
        step = self.operation.step(self.now)
        return step.until - self.now if isinstance(step, Wait) else 0.0

    def done(self) -> Done:
        step = self.operation.step(self.now)
        assert isinstance(step, Done), step
        return step

    def error(self) -> Any:
        """The error that it ended with."""
        error = self.done().error
        assert error is not None
        assert error.message.strip()
        return error

    def through_json(self, *, keep_answer: bool = False) -> Driven:
        """The same call in another process."""
        state = State.from_dict(json.loads(json.dumps(self.state.to_dict())))
        answer = self.operation.answer if keep_answer else None
        other = Driven(self.operation.call, self.operation.api, state, answer=answer)
        other.now, other.requests = self.now, self.requests
        return other
