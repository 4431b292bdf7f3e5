"""What one status check means: by code, by body and by what the author declared, on both drivers.

The tables below are the rule. Each cell is one real request on each driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Renewal, TokenAuth
from airflow_provider_apitask.core.auth.token import Token
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.errors import (
    AuthenticationError,
    OriginError,
    UnknownStatusError,
    error_from_dict,
)
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.operation import Operation, Send
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.drivers.blocking import BlockingTransport
from airflow_provider_apitask.drivers.event_loop import EventLoopTransport
from tests.drivers.contract import make_api
from tests.support import Answer
from tests.support.scripted_server import ScriptedServer

NOW = 1_800_000_000.0

#: What an author can declare. With a condition for success, nothing else means success.
DECLARED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "path": {"status_path": "$.status"},
    "words": {"success_values": ["done"], "failure_values": ["failed"], "running_values": ["running"]},
    "condition": {"success_when": {"$.status": "done"}},
    "request": {"status_request": {"headers": {"X-Mine": "1"}}},
}

BODIES: dict[str, Answer] = {
    "empty": Answer(),
    "null": Answer(json=None),
    "{}": Answer(json={}),
    "[]": Answer(json=[]),
    "running": Answer(json={"status": "running"}),
    "done": Answer(json={"status": "done"}),
    "failed": Answer(json={"status": "failed"}),
    "odd": Answer(json={"status": "odd"}),
    "state": Answer(json={"state": "Running"}),
    "provisioning": Answer(json={"properties": {"provisioningState": "Running"}}),
    "phase": Answer(json={"job": {"phase": "RUNNING"}}),
    "word": Answer(text="running\n"),
    "xml": Answer(body=b"<job><phase>running</phase></job>", headers={"Content-Type": "application/xml"}),
    "rows": Answer(json={"rows": 3}),
    "csv": Answer(text="a,b\n1,2\n"),
    "html": Answer(body=b"<!DOCTYPE html><html>Sign in</html>", headers={"Content-Type": "text/html"}),
    "broken": Answer(body=b'{"status": "done"', headers={"Content-Type": "application/json"}),
}

#: A 200, by its body and by what is declared, in the order of DECLARED.
TABLE = """
               nothing    path       words      condition  request
empty          fails      fails      fails      fails      fails
null           fails      fails      fails      fails      fails
{}             fails      fails      fails      fails      fails
[]             fails      fails      fails      fails      fails
running        runs       runs       runs       runs       runs
done           done       done       done       done       done
failed         failed     failed     failed     runs       failed
odd            unknown    unknown    unknown    runs       unknown
state          runs       fails      runs       runs       runs
provisioning   runs       fails      runs       runs       runs
phase          fails      fails      fails      runs       fails
word           fails      fails      fails      fails      fails
xml            fails      fails      fails      fails      fails
rows           done       fails      fails      runs       fails
csv            done       fails      fails      fails      fails
html           fails      fails      fails      fails      fails
broken         fails      fails      fails      fails      fails
"""
HEADS, *ROWS = (line.split() for line in TABLE.strip().splitlines())
OK = {(row[0], head): verdict for row in ROWS for head, verdict in zip(HEADS, row[1:], strict=True)}

#: Codes that mean a failed poll, and codes that end the task, whatever the body and the declaration.
FAILED_POLLS = (408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 599)
FINAL = (400, 401, 402, 403, 405, 406, 407, 409, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424)
FINAL += (426, 428, 431, 451, 499, 300, 301, 302, 303, 305, 306, 307, 308)
SOME_BODIES = ("empty", "done", "html")

REDIRECTS = (301, 302, 303, 307, 308)
#: Where a redirect leads, and what that means: a verdict, or the body whose row of the table counts.
TARGETS = {
    **{f"/b/200/{body}": body for body in BODIES},
    "/b/404/done": "fails",
    "/b/503/done": "fails",
    "/b/410/done": "lost",
    "/login": "refused",
    "/login/?next=%2Fjobs%2F7": "refused",
    "http://127.0.0.1:1/b/200/done": "origin",
    "https://api.example.com/b/200/done": "origin",
    "/r/circle": "ends",
}


class Cell(NamedTuple):
    """One status check and what it means."""

    path: str
    declared: str
    verdict: str


def ok_cells() -> Iterator[Cell]:
    for code in (200, 201, 202, 203, 206, 207, 226, 299):
        for (body, declared), verdict in OK.items():
            if code == 206:
                verdict_here = "fails"  # a part that was not requested
            elif code == 202 and body not in ("html", "broken") and verdict in ("fails", "done"):
                # Without a status a 202 means running.
                verdict_here = verdict if body == "done" else "runs"
            else:
                verdict_here = verdict
            yield Cell(f"/b/{code}/{body}", declared, verdict_here)
    for declared in DECLARED:
        yield Cell("/b/204/empty", declared, "done" if declared == "nothing" else "fails")
        yield Cell("/b/205/empty", declared, "fails")
        yield Cell("/b/304/empty", declared, "runs")


def error_cells() -> Iterator[Cell]:
    verdicts = {
        **dict.fromkeys(FAILED_POLLS, "fails"),
        **dict.fromkeys(FINAL, "ends"),
        404: "fails",
        410: "lost",
    }
    for code, verdict in verdicts.items():
        for body in SOME_BODIES:
            for declared in DECLARED:
                yield Cell(f"/b/{code}/{body}", declared, verdict)


def redirect_cells() -> Iterator[Cell]:
    for code in REDIRECTS:
        for number, verdict in enumerate(TARGETS.values()):
            for declared in DECLARED:
                named = code == 303 and declared == "nothing" and verdict not in ("refused", "origin")
                yield Cell(
                    f"/r/{code}/{number}", declared, "done" if named else OK.get((verdict, declared), verdict)
                )


class TokenOfNobody(TokenAuth):
    """A token that every server refuses in the same way."""

    def _obtain(self) -> Any:
        yield from ()
        return Token("token")

    def _with(self, request: Any, token: Token) -> Any:
        return request.with_headers(("Authorization", f"Bearer {token.value}"))


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        for code in {int(cell.path.split("/")[2]) for cells in (ok_cells, error_cells) for cell in cells()}:
            for name, body in BODIES.items():
                headers, content = dict(body.headers), body.content or b""
                if body.content and "Content-Type" not in headers:
                    headers["Content-Type"] = "text/plain" if body.text is not None else "application/json"
                answer = Answer(code, body=content, headers=headers)
                running.on("GET", f"/b/{code}/{name}", answer)
        for code in REDIRECTS:
            for number, target in enumerate(TARGETS):
                location = f"/r/{code}/{number}" if target == "/r/circle" else target
                running.on("GET", f"/r/{code}/{number}", Answer(code, headers={"Location": location}))
        yield running


@pytest.fixture
def api(server: ScriptedServer) -> Api:
    auth = TokenOfNobody(clock=lambda: NOW, renewal=Renewal(login_page="/login"))
    return make_api(server.url, auth)


def operation(api: Api, cell: Cell) -> Operation:
    """A job that was submitted long ago, before one status check."""
    call = Call(mode=Mode.ASYNC, job=AsyncJob(**DECLARED[cell.declared]))
    state = State(
        phase=Phase.POLL, job_id="7", status_url=f"{api.base_url}{cell.path}", submitted_at=NOW - 1000
    )
    return Operation(call, api, state)


def verdict(checked: Operation) -> str:
    """What a status check came to."""
    state = checked.state
    if state.phase is Phase.FAILED:
        error = error_from_dict(state.error or {})
        by_kind = {AuthenticationError: "refused", OriginError: "origin", UnknownStatusError: "unknown"}
        return by_kind.get(type(error), "failed" if error.kind == "job_failed" else "ends")
    return {Phase.POLL: "runs", Phase.POLL_GRACE: "fails", Phase.FETCH: "done"}.get(
        state.phase, state.phase.value
    )


def blocking(api: Api, cells: list[Cell]) -> list[str]:
    found = []
    with BlockingTransport(api) as transport:
        for cell in cells:
            checked = operation(api, cell)
            step = checked.step(NOW)
            assert isinstance(step, Send)
            checked.receive(transport.send(step.request), NOW)
            found.append(verdict(checked))
    return found


def event_loop(api: Api, cells: list[Cell]) -> list[str]:
    async def check() -> list[str]:
        found = []
        async with EventLoopTransport(api) as transport:
            for cell in cells:
                checked = operation(api, cell)
                step = checked.step(NOW)
                assert isinstance(step, Send)
                checked.receive(await transport.send(step.request), NOW)
                found.append(verdict(checked))
        return found

    return asyncio.run(check())


@pytest.mark.parametrize("driver", [blocking, event_loop])
@pytest.mark.parametrize("cells", [ok_cells, error_cells, redirect_cells])
def test_status_matrix(api: Api, cells: Any, driver: Any) -> None:
    expected = list(cells())
    found = driver(api, expected)
    wrong = [f"{cell}: {what}" for cell, what in zip(expected, found, strict=True) if what != cell.verdict]
    assert wrong == []
