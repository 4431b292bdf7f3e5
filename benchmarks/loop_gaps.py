"""Status responses that could block the event loop of a triggerer: the longest gap, and the memory they take.

Each response meets a trigger in a process of its own; the server runs in another one. Run one alone with
``python -m benchmarks.loop_gaps NAME``.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.server
import json
import logging
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["CASES", "report"]

MIB = 2**20
#: As much as a triggerer reads, with what stands around the repeated piece.
FITTING = MIB - 100
#: How often the loop is asked for a turn, seconds.
BEAT = 0.005
#: Seconds for one case.
LONGEST = 120.0


@dataclass(frozen=True)
class Case:
    """One response, and the job whose status it is.

    :param jobs: triggers at a time.
    """

    body: Callable[[], bytes]
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)
    jobs: int = 1


def names(size: int) -> bytes:
    return b'{"status":"running",' + b",".join(b'"%06x":0' % n for n in range(size // 11)) + b"}"


def filled(start: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    return start + piece * ((size - len(start) - len(end)) // len(piece)) + end


def in_list(piece: bytes, size: int) -> bytes:
    return filled(b'{"status":"running","a":[', piece + b",", b"0]}", size)


def tasks(size: int) -> bytes:
    return filled(b'{"tasks":[', b'{"id":1,"status":"done"},', b'{"id":7,"status":"running"}]}', size)


FILTER = {"status_path": "$.tasks[?(@.id == 7)].status"}
PATTERN = {"success_when": {"$.status": {"pattern": "(a|aa)+$"}}}
QUADRATIC = {"status_path": "/a/b[count(preceding-sibling::b) = count(following-sibling::b)]/@s"}
XML = "application/xml"

CASES = {
    "a short response, for comparison": Case(lambda: b'{"status":"running"}', jobs=60),
    "object names, 30 MiB": Case(lambda: names(30 * MIB)),
    "object names, 1 MiB": Case(lambda: names(FITTING)),
    "50,000 object names, 540 KiB": Case(lambda: names(49_990 * 11)),
    "object names, 256 KiB": Case(lambda: names(MIB // 4)),
    "lists, 1 MiB": Case(lambda: in_list(b"[]", FITTING)),
    "objects, 1 MiB": Case(lambda: in_list(b"{}", FITTING)),
    "numbers with 18 digits, 1 MiB": Case(lambda: in_list(b"0.123456789012345678", FITTING)),
    "JSONPath filter, 9 MiB": Case(lambda: tasks(9 * MIB), job=FILTER),
    "JSONPath filter, 1 MiB": Case(lambda: tasks(FITTING), job=FILTER),
    "JSONPath filter, 6,000 items": Case(lambda: tasks(6000 * 25), job=FILTER),
    "charset=idna, 4 MiB": Case(lambda: names(4 * MIB), "application/json; charset=idna"),
    "charset=idna, 1 MiB": Case(lambda: names(FITTING), "application/json; charset=idna"),
    "invalid bytes in windows-1253, 1 MiB": Case(
        lambda: filled(b"<a>", b"\x81", b"</a>", FITTING),
        f"{XML}; charset=windows-1253",
        job={"status_path": "/a"},
    ),
    "XML of 260,000 elements, 1 MiB": Case(
        lambda: filled(b"<a>", b"<b/>", b"</a>", FITTING), XML, job={"status_path": "/a/s"}
    ),
    "XPath over 20,000 nodes": Case(lambda: b"<a>" + b'<b s="1"/>' * 9_999 + b"</a>", XML, job=QUADRATIC),
    "pattern with catastrophic backtracking": Case(
        lambda: json.dumps({"status": "a" * 38 + "!"}).encode(), job=PATTERN
    ),
    "gzip, 1 GiB in 1 MiB": Case(
        lambda: gzip.compress(bytes(MIB)) * 1024, headers={"Content-Encoding": "gzip"}
    ),
    "60 jobs, 30 MiB each": Case(lambda: names(30 * MIB), jobs=60),
    "60 jobs, 540 KiB each": Case(lambda: names(49_990 * 11), jobs=60),
}


def serve(pipe: Connection, name: str) -> None:
    """Serve one case until the other end of the pipe closes; ``/small`` has a short response."""
    case = CASES[name]
    bodies = {"/small": b'{"status":"running"}', "/": case.body()}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = bodies[self.path]
            self.send_response(200)
            large = self.path == "/"
            self.send_header("Content-Type", case.content_type if large else "application/json")
            for header, value in case.headers.items() if large else ():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pipe.send(f"http://127.0.0.1:{server.server_address[1]}")
        try:
            pipe.recv()
        except EOFError:
            server.shutdown()


async def outcome(url: str, job: dict[str, Any]) -> str:
    from airflow_provider_apitask import ApiStatusTrigger
    from airflow_provider_apitask.core.state import Phase, State

    state = State(phase=Phase.POLL, job_id=1, status_url=url, submitted_at=time.time())
    trigger = ApiStatusTrigger(api_conn_id="api", state=state.to_dict(), job={"max_polls": 1, **job})
    (payload,) = [item.payload async for item in trigger.run()]
    reached = payload["state"]
    if reached.get("needs_worker"):
        return "left to a worker"
    return (
        str(reached["status"])[:20]
        if reached.get("status")
        else str(reached["error"]["message"].split("; ")[-1])
    )


async def measure(url: str, case: Case) -> dict[str, Any]:
    gaps: list[float] = []

    async def beat() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT)
            gaps.append(time.perf_counter() - began - BEAT)

    await outcome(f"{url}/small", {})  # imports
    gc.collect()
    gc.freeze()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    beating = asyncio.create_task(beat())
    began = time.perf_counter()
    outcomes = await asyncio.gather(*(outcome(f"{url}/", case.job) for _ in range(case.jobs)))
    took = time.perf_counter() - began
    await asyncio.sleep(2 * BEAT)  # the last gap ends after the last response
    beating.cancel()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "gap": max(gaps, default=took),
        "seconds": took,
        "mib": grown / 1024,
        "outcomes": sorted(set(outcomes)),
    }


def run(name: str) -> dict[str, Any]:
    """Measure one case in this process."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, name), daemon=True)
    process.start()
    theirs.close()
    try:
        url = ours.recv()
        record = {"conn_type": "apitask", "host": url, "extra": {"allow_http": True}}
        os.environ["AIRFLOW_CONN_API"] = json.dumps(record)
        return asyncio.run(measure(url, CASES[name]))
    finally:
        ours.close()
        process.join(5)
        process.kill()


def report() -> str:
    """Return the table that the documentation shows."""
    return "\n".join([f"{'response':<42}{'gap, s':>7}{'seconds':>9}{'MiB':>7}  outcome", *map(line, CASES)])


def line(name: str) -> str:
    command = [sys.executable, "-m", "benchmarks.loop_gaps", name]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=LONGEST)
    found = json.loads(out.stdout.splitlines()[-1])
    outcomes = "; ".join(text[:80] for text in found["outcomes"])
    return f"{name:<42}{found['gap']:>7.3f}{found['seconds']:>9.2f}{found['mib']:>7.0f}  {outcomes}"


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
