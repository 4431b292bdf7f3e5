"""Any server, any network, any number of processes: what holds all the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import BearerAuth
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.exchange import exchange
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.core.operation import Done, Inbound, Operation, Send, Wait
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import DEFAULT_WORDS, Verdict, fold
from airflow_provider_apitask.core.urls import origin

from .helpers import BASE, DROPPED, HTML, NO_CONNECTION, READ_TIMEOUT, T0, TOO_LARGE

pytestmark = pytest.mark.once

SECRET = "hunter2-hunter2"
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}

# -- a hostile server ----------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        "succeeded",
        "Done",
        "running",
        "queued",
        "FAILED",
        "cancelled",
        "odd",
        "",
        None,
        True,
        0,
        1.5,
        {},
        [],
        "x" * 999,
    ]
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), _WORDS
)
_DOCUMENTS = st.one_of(
    _LEAVES,
    st.lists(_LEAVES, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "status": _WORDS,
            "id": _LEAVES,
            "runId": st.sampled_from(
                ["a:b+c", 7, "..", "/", "https://evil.example/", "\ud800", "", None, {"a": 1}]
            ),
            "error": st.dictionaries(st.sampled_from(["message", "code", "detail"]), _LEAVES),
            "result": _LEAVES,
            "title": _LEAVES,
            "detail": _LEAVES,
        },
    ),
)
_BODIES = st.one_of(
    st.just(b""),
    _DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    st.sampled_from(
        [
            HTML,
            b"null",
            b"{",
            b"NaN",
            b'{"status": NaN}',
            b"1e999",
            b"[" * 5000,
            b'{"a":' * 5000,
            b"\xff\xfe\x00",
            b"a,b\n",
        ]
    ),
    st.binary(max_size=20),
    st.just(f"echo {SECRET}".encode()),
)
_LOCATIONS = st.sampled_from(
    [
        f"{BASE}/jobs/7", "/v1/jobs/7", "7/", "../../x", "?a=1", "//evil.example/x", "https://evil.example/",
        "", "#",         "http://api.example.com/v1/jobs/7", "http://[", "mailto:a@b", "https://a..ü/", "ftp://api.example.com/",
        "https://api.example.com@evil.example/", "\\\\evil.example\\x", "/ä b", "/jobs/status",
    ]
)  # fmt: skip
_WAITS = st.sampled_from(
    ["0", "3", "-7", "99999999", "9" * 400, "soon", "", "nan", "Tue, 14 Nov 2023 22:14:20 GMT"]
)
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Location": _LOCATIONS,
        "Operation-Location": _LOCATIONS,
        "Azure-AsyncOperation": _LOCATIONS,
        "Retry-After": _WAITS,
        "retry-after-ms": _WAITS,
        "Content-Type": st.sampled_from(
            ["application/json", "text/html", "text/plain; charset=hex", "application/problem+json", "", "x"]
        ),
    },
)
_CODES = st.sampled_from(
    [
        *(200, 200, 200, 201, 202, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308),
        *(400, 401, 403, 404, 404, 405, 408, 409, 410, 422, 425, 429, 500, 501, 502, 503, 503, 504, 505),
        *(599, 600, 999),
    ]
)
_ANSWERS = st.one_of(
    st.tuples(_CODES, _HEADERS, _BODIES),
    st.tuples(_CODES, _HEADERS, _BODIES),
    st.tuples(_CODES, _HEADERS, _BODIES),
    st.sampled_from([NO_CONNECTION, READ_TIMEOUT, DROPPED, TOO_LARGE]),
    st.just(NetworkFailure(Failure.TLS, f"bad {SECRET}", possibly_received=False)),
)

# -- any call ------------------------------------------------------------------------------------

_JOBS = st.fixed_dictionaries(
    {"max_polls": st.integers(1, 6), "poll_interval": st.sampled_from([0.5, 5, 60])},
    optional={
        "status_request": st.sampled_from(["/runs/{runId}", "{runId}", "/fixed", {"headers": {"X": "{id}"}}]),
        "status_path": st.sampled_from(["$.status", "status", "error.code"]),
        "job_id": st.sampled_from(["$.id", "{runId}"]),
        "extract": st.just({"id": "$.id"}),
        "result_request": st.sampled_from(
            ["{status_url}/r", "/r/{result}", {"method": "POST", "endpoint": "/r"}]
        ),
        "result_path": st.sampled_from(["$.result", "$..result"]),
        "error_path": st.just("$.error"),
        "progress_path": st.just("$.result"),
        "message_path": st.just("$.error"),
        "link_path": st.sampled_from(["$.result", "headers.Location", "{status_url}", "https://ui/{runId}"]),
        "unknown_status": st.just("running"),
        "deadline": st.sampled_from([1, 30, 1000]),
        "status_grace": st.sampled_from([0, 10, 100]),
        "not_found_grace": st.sampled_from([0, 50]),
        "poll_factor": st.sampled_from([1, 3, 1e9]),
        "max_poll_interval": st.sampled_from([1, 100]),
        "initial_delay": st.sampled_from([0, 7]),
        "final_status_codes": st.just([404, 500]),
    },
)
_CALLS = st.builds(
    lambda method, mode, count, path, job: Call(
        request=RequestSpec(method=method, endpoint="/jobs", body={"a": 1}),
        mode=mode,
        job=AsyncJob(**job).compiled(),
        retry=RetryPolicy(count=count, delay=1.0),
        response_path=path,
    ),
    st.sampled_from(["POST", "POST", "PATCH", "PUT", "GET"]),
    st.sampled_from([Mode.ASYNC, Mode.ASYNC, Mode.SYNC]),
    st.integers(0, 3),
    st.sampled_from([None, "$.result"]),
    _JOBS,
)


class World:
    """A driver, its network and its clock, watching what passes."""

    def __init__(self, call: Call, draw: Any) -> None:
        self.api = Api(conn_id="c", base_url=BASE, auth=BearerAuth(SECRET), redactor=Redactor([SECRET]))
        self.operation = Operation(call, self.api)
        self.call, self.draw, self.now, self.answers = call, draw, T0, 0
        #: Whether sending the submit is safe now, and if not, why.
        self.may_submit = True

    def network(self) -> Response | NetworkFailure:
        # After some rounds only one answer comes: what goes on for ever would show.
        self.answers += 1
        given = self.draw(_ANSWERS) if self.answers < 20 else (202, {}, b"")
        if isinstance(given, NetworkFailure):
            return given
        code, fields, body = given
        return Response(code, "", Headers(fields), body)

    def send(self, request: Request) -> Inbound:
        """What both drivers do."""
        flow = exchange(request, self.api)
        try:
            wire = next(flow)
            while True:
                while not isinstance(wire, Request):
                    wire = flow.send(None)  # the connection cannot be looked up
                self.watch(wire)
                answer = self.network()
                self.learn(wire, answer)
                if isinstance(answer, NetworkFailure):
                    return answer
                wire = flow.send(Response(answer.status, wire.url, answer.headers, answer.body))
        except StopIteration as stop:
            response: Response = stop.value
            return response
        except ApiTaskError as error:
            return error

    def watch(self, wire: Request) -> None:
        assert origin(wire.url) == origin(BASE), "credentials never leave the origin"
        assert wire.headers.get("Authorization") == f"Bearer {SECRET}"
        if wire.purpose is Purpose.SUBMIT:
            assert self.may_submit, "submitted twice without a safe reason"

    def learn(self, wire: Request, answer: Response | NetworkFailure) -> None:
        if wire.purpose is not Purpose.SUBMIT or wire.method in IDEMPOTENT:
            return
        if isinstance(answer, NetworkFailure):
            self.may_submit = not answer.possibly_received
        else:
            # 307 and 308 say: not here, there.
            self.may_submit = answer.status in (425, 429, 503, 307, 308)

    def hop(self) -> None:
        """Another process takes over."""
        record = json.loads(json.dumps(self.operation.state.to_dict(), allow_nan=False))
        self.operation = Operation(self.call, self.api, State.from_dict(record))


def _said_success(inbound: Inbound) -> bool:
    """Whether an answer may be read as the success of a job, judged without the code under test."""
    if not isinstance(inbound, Response):
        return False
    if inbound.status in (302, 303):
        return True
    if not 200 <= inbound.status < 300:
        return False
    try:
        document = json.loads(inbound.body)
    except (ValueError, RecursionError):
        return True
    status = document.get("status") if isinstance(document, dict) else None
    return not isinstance(status, str) or fold(status) not in (
        *DEFAULT_WORDS[Verdict.FAILED], *DEFAULT_WORDS[Verdict.CANCELLED], *DEFAULT_WORDS[Verdict.RUNNING]
    )  # fmt: skip


@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(call=_CALLS, data=st.data())
def test_any_server(call: Call, data: st.DataObject) -> None:
    world = World(call, data.draw)
    inbound: Inbound = NO_CONNECTION
    for _ in range(500):
        step = world.operation.step(world.now)
        if isinstance(step, Wait):
            assert world.now < step.until < math.inf
            assert step.until - world.now <= 3600 * 2
            world.now = step.until
            continue
        if isinstance(step, Done):
            break
        assert isinstance(step, Send)
        before = world.operation.state
        inbound = world.send(step.request)
        event = world.operation.receive(inbound, world.now)
        after = world.operation.state
        if event is not None:
            assert event.message.strip()
            assert SECRET not in event.message + json.dumps(event.data)
        if before.phase.waiting and after.phase in (Phase.FETCH, Phase.SUCCEEDED):
            watched = call.job.status_path in (None, "$.status", "status")
            assert _said_success(inbound) or not watched, "success that the server did not say"
        assert after.polls <= call.job.max_polls
        if data.draw(st.booleans()):
            world.hop()
    else:
        raise AssertionError("it goes on for ever")
    _check_end(world, inbound)


def _check_end(world: World, inbound: Inbound) -> None:
    state, done = world.operation.state, world.operation.step(world.now)
    assert isinstance(done, Done)
    assert state.phase.ended
    json.dumps(state.to_dict(), allow_nan=False)
    if state.phase is Phase.SUCCEEDED:
        assert done.error is None
        assert isinstance(inbound, Response)
        assert inbound.ok, "a result comes from a 2xx"
    else:
        assert done.error is not None
        assert done.error.message.strip()
        assert SECRET not in done.error.message + json.dumps(done.error.to_dict())
        assert len(done.error.message) < 3000
