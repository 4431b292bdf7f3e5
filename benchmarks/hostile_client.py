"""A worker or a triggerer that gets hostile answers: a process of its own, so that its memory is its own.

Run as ``python -m benchmarks.hostile_client URL SIDE PATH CONNECT READ``; prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.extraction import compile_path
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.operation import Done, Operation
from airflow_provider_apitask.core.request_spec import RequestSpec

#: Runs an operation to its end, and tells of its events.
Run = Callable[[Operation, Callable[[Event], None]], Done | None]


def main(url: str, side: str, path: str, connect: str, read: str) -> None:
    """Ask as each kind of request, and print what came of it."""
    api = Api(conn_id="hostile", base_url=url, allow_http=True)
    patience = (float(connect), float(read))
    if side == "worker":
        from airflow_provider_apitask.drivers.blocking import BlockingTransport, drive

        with BlockingTransport(api) as transport:
            _report(api, lambda o, told: drive(o, transport.send, on_event=told), path, patience)
    else:
        from airflow_provider_apitask.drivers import event_loop

        async def made() -> event_loop.EventLoopTransport:
            return event_loop.EventLoopTransport(api)

        with asyncio.Runner() as runner:
            on_loop = runner.run(made())
            _report(
                api,
                lambda o, told: runner.run(event_loop.drive(o, on_loop.send, on_event=told)),
                path,
                patience,
            )
            runner.run(on_loop.close())


def _report(api: Api, run: Run, path: str, patience: tuple[float, float]) -> None:
    def ask(call: Call) -> dict[str, Any]:
        events: list[str] = []
        start = time.monotonic()
        done = run(Operation(call, api), lambda event: events.append(event.message))
        took = time.monotonic() - start
        error = done.error if done is not None else None
        outcome = "value" if error is None else error.kind
        return {
            "outcome": outcome,
            "message": error.message if error else "",
            "events": events,
            "seconds": took,
        }

    def job(endpoint: str, status: str) -> Call:
        spec = RequestSpec(method="POST", endpoint=endpoint, body={}, timeout=patience).checked()
        check = {"endpoint": status, "timeout": patience}
        return Call(
            request=spec,
            mode=Mode.ASYNC,
            job=AsyncJob(status_request=check, status_path=path or "a", poll_interval=0.05).compiled(),
        )

    good = Call(request=RequestSpec(method="GET", endpoint="good").checked())
    hostile = RequestSpec(method="GET", endpoint="hostile", timeout=patience).checked()
    compile_path(path or "a")  # what is imported at the first use is imported now
    ask(good)
    idle = _peak_bytes()
    asked = {
        "result": ask(Call(request=hostile, response_path=path or None)),
        "status": ask(job("jobs", "once")),
        "submit": ask(job("hostile", "good")),
    }
    found = {"asked": asked, "growth": _peak_bytes() - idle, "idle": idle, "after": ask(good)["outcome"]}
    print(json.dumps(found))


def _peak_bytes() -> int:
    """Most memory that this process has had.

    Linux's ``ru_maxrss`` is that of the parent where the parent had more, so it is asked elsewhere alone.
    """
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    match = re.search(r"VmHWM:\s*(\d+) kB", text)
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    main(*sys.argv[1:])
