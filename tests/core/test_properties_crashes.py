"""Any answers, any errors, and a process that dies anywhere: what holds all the same.

The worker is imitated as it is: it records an intent right before the submit goes out, and after each
answer what matters to a later try. A crash forgets everything but that record.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.durable import Record, begin, is_notable
from airflow_provider_apitask.core.idempotency import Idempotency
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.messages import Headers, NetworkFailure, Purpose, Request, Response
from airflow_provider_apitask.core.operation import Done, Inbound, Operation, Wait
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import DEFAULT_WORDS, Verdict, fold

from .helpers import BASE, DROPPED, HTML, NO_CONNECTION, READ_TIMEOUT, T0, TOO_LARGE

pytestmark = pytest.mark.once

IDEMPOTENT = {"GET", "PUT"}
SETTLE = 10
MOST_CRASHES = 6
MINE = {"id": "7", "name": "nightly"}

_STATUS = st.sampled_from(["succeeded", "running", "running", "FAILED", "cancelled", "odd", None])
_DOCUMENTS = st.one_of(
    st.fixed_dictionaries({"id": st.just("7"), "status": _STATUS}),
    st.lists(st.sampled_from([MINE, {"id": "8", "name": "other"}]), max_size=2).map(lambda j: {"jobs": j}),
    st.sampled_from([{}, [], 7, None]),
)
_BODIES = st.one_of(
    _DOCUMENTS.map(lambda document: json.dumps(document).encode()), st.sampled_from([b"", HTML, b"{"])
)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "Location": st.sampled_from([f"{BASE}/jobs/7", "/v1/jobs/7", "https://evil.example/"]),
        "Retry-After": st.sampled_from(["0", "3", "99999"]),
    },
)
_CODES = st.sampled_from(
    [*(200, 200, 200, 200, 201, 202, 202, 202, 204, 303, 304), *(400, 401, 404, 409, 410, 429, 500, 502, 503)]
)
_ANSWERS = st.one_of(
    st.tuples(_CODES, _FIELDS, _BODIES),
    st.tuples(_CODES, _FIELDS, _BODIES),
    st.tuples(_CODES, _FIELDS, _BODIES),
    st.sampled_from([NO_CONNECTION, READ_TIMEOUT, DROPPED, TOO_LARGE]),
)
_JOBS = st.fixed_dictionaries(
    {"poll_interval": st.sampled_from([1, 60]), "status_grace": st.sampled_from([0, 50])},
    optional={
        "status_request": st.just("/jobs/{id}"),
        "max_polls": st.integers(1, 4),
        "deadline": st.sampled_from([5, 500]),
        "not_found_grace": st.just(0),
        "result_request": st.just("/jobs/{id}/result"),
        "cancel_request": st.sampled_from([{"method": "DELETE"}, "/stop/{id}", "/stop/{nothing}"]),
        "on_lost": st.just("submit"),
        "reattach": st.just(False),
    },
)


def _call(method: str, job: dict[str, Any], key: str | None, search: bool, count: int) -> Call:
    if search and "status_request" in job:
        job = {**job, "reconcile": {"request": "/jobs", "items": "jobs", "match": {"name": "nightly"}}}
    return Call(
        request=RequestSpec(method=method, endpoint="/jobs", body={"a": 1}),
        mode=Mode.ASYNC,
        job=AsyncJob(**job).compiled(),
        retry=RetryPolicy(count=count, delay=1.0),
        idempotency=None if key is None else Idempotency(seed=key, fixed=key == "fixed"),
    )


_CALLS = st.builds(
    _call,
    st.sampled_from(["POST", "POST", "POST", "PUT"]),
    _JOBS,
    st.sampled_from([None, None, "task", "fixed"]),
    st.booleans(),
    st.integers(0, 2),
)


#: Explaining a failure would take minutes.
_PHASES = tuple(phase for phase in HypothesisPhase if phase is not HypothesisPhase.explain)


class World:
    """A task with its tries, the record that outlives them, and a server that is watched."""

    def __init__(self, call: Call, draw: Any) -> None:
        self.call, self.draw, self.now = call, draw, T0
        self.api = Api(conn_id="c", base_url=BASE)
        self.record: str | None = None
        self.written: State | None = None
        #: Why the submit must not be sent, None where it may.
        self.forbidden: str | None = None
        #: Keys that the server knows: a submit with one of them starts nothing.
        self.keys: set[str] = set()
        self.sent_at = T0
        self.answers = self.crashes = 0
        self.began()

    # -- the worker ------------------------------------------------------------------------------

    def began(self) -> None:
        record = Record.from_dict(json.loads(self.record)) if self.record is not None else None
        self.written = None
        start = begin(record, self.call, 0)
        assert start.stale is None, "nobody has cleared the task"
        if record is not None and not self.call.job.reattach:
            self.forbidden = None  # its author wants another job each time
        self.operation = Operation(self.call, self.api, start=start.move)

    def note(self, state: State) -> None:
        if is_notable(self.written, state):
            record = Record(generation=0, state=state)
            self.record, self.written = json.dumps(record.to_dict(), allow_nan=False), state

    def crash(self, where: str) -> bool:
        if self.crashes == MOST_CRASHES or not self.draw(st.sampled_from([False] * 7 + [True])):
            return False
        event(f"crash {where}")
        self.crashes += 1
        self.began()
        return True

    def exchange(self, request: Request) -> Inbound | None:
        """Send the request; None where the process died over it."""
        if request.purpose is Purpose.SUBMIT:
            if self.crash("before the intent"):
                return None
            self.operation.intend(self.now)
            self.note(self.operation.state)
            self.watch(request)
            was, self.forbidden = self.forbidden, "nobody knows"
            if self.crash("before the submit"):
                return None
            self.forbidden = was
        inbound = self.server(request)
        self.learn(request, inbound)
        return None if self.crash(f"over the answer to the {request.purpose}") else inbound

    # -- the server ------------------------------------------------------------------------------

    def server(self, request: Request) -> Response | NetworkFailure:
        self.answers += 1
        given = self.draw(_ANSWERS) if self.answers < 40 else (202, {}, b"")
        if isinstance(given, NetworkFailure):
            return given
        code, fields, body = given
        return Response(code, request.url, Headers(fields), body)

    def watch(self, request: Request) -> None:
        key = request.headers.get("Idempotency-Key")
        safe = request.method in IDEMPOTENT or key in self.keys
        assert safe or self.forbidden is None, f"submitted twice: {self.forbidden}"
        if key is not None:
            self.keys.add(key)
        self.sent_at = self.now

    def learn(self, request: Request, inbound: Response | NetworkFailure) -> None:
        """What the server did, judged without the code under test."""
        if request.purpose is Purpose.SUBMIT:
            if isinstance(inbound, NetworkFailure):
                self.forbidden = "the answer was lost" if inbound.possibly_received else None
            elif inbound.ok or inbound.status == 303:
                self.forbidden = None if self._is_over(inbound) else "a job runs"
            elif inbound.status in (500, 502):
                self.forbidden = "nobody knows what a 5xx did"
            else:
                self.forbidden = None
        elif request.purpose is Purpose.RECONCILE and isinstance(inbound, Response):
            listed = inbound.status in (204, 404, 410) or (inbound.ok and MINE not in _jobs(inbound.body))
            if listed and self.now >= self.sent_at + SETTLE:
                self.forbidden = None
        elif request.purpose is Purpose.POLL and isinstance(inbound, Response) and self._is_over(inbound):
            self.forbidden = None

    def _is_over(self, inbound: Response) -> bool:
        if inbound.status in (404, 410):
            return self.call.job.on_lost == "submit" or self.operation.state.cancel is not None
        word = _status(inbound.body)
        over = {*DEFAULT_WORDS[Verdict.FAILED], *DEFAULT_WORDS[Verdict.CANCELLED]}
        return inbound.ok and isinstance(word, str) and fold(word) in over


def _jobs(body: bytes) -> list[Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return [MINE]  # it cannot be read, so nobody knows
    if not isinstance(document, dict) or "jobs" not in document:
        return [MINE]  # that nothing can be seen does not mean that there is nothing
    found = document["jobs"]
    return found if isinstance(found, list) else []


def _status(body: bytes) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document.get("status") if isinstance(document, dict) else None


@settings(
    max_examples=300,
    phases=_PHASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(call=_CALLS, data=st.data())
def test_a_process_that_dies_anywhere(call: Call, data: st.DataObject) -> None:
    world = World(call, data.draw)
    tries = 1
    for _ in range(600):
        step = world.operation.step(world.now)
        world.note(world.operation.state)
        if isinstance(step, Wait):
            assert world.now < step.until < math.inf
            if not world.crash("while it waits"):
                world.now = step.until
            continue
        if isinstance(step, Done):
            if step.error is None or tries == 5:
                break
            assert step.error.message.strip()
            if not step.error.retryable:
                break
            tries += 1
            world.began()
            continue
        inbound = world.exchange(step.request)
        if inbound is None:
            continue
        before = world.operation.state
        world.operation.receive(inbound, world.now)
        after = world.operation.state
        if before.phase.waiting and after.phase in (Phase.FETCH, Phase.SUCCEEDED):
            assert isinstance(inbound, Response)
            word = _status(inbound.body)
            said = fold(word) in DEFAULT_WORDS[Verdict.SUCCEEDED] if isinstance(word, str) else inbound.ok
            # 303: the result is over there, whatever else the answer holds.
            assert said or inbound.status == 303, "success that the server did not say"
        if not world.crash("before the record"):
            world.note(after)
    else:
        raise AssertionError("it goes on for ever")
    event(f"ended {world.operation.state.phase} in try {tries}")
