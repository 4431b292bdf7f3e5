"""What a large answer costs that goes to a file: time, and memory over the idle process.

A server in a process of its own sends zeros as fast as it can. Each download happens in a fresh interpreter,
which has done a small one before, so that all of them have loaded what they need; the candidates in turn in
one run, so that they meet the same machine and disk. Linux only: the peak is that of ``/proc/self/status``.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Download", "measure", "report"]

MEBIBYTE = 1024 * 1024

_COMMON = """
import re, sys, time
url, target, chunk = sys.argv[1], sys.argv[2], 64 * 1024

def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

def measured(download):
    download("/small")
    open("/proc/self/clear_refs", "w").write("5")
    idle, start = memory("VmRSS"), time.perf_counter()
    download("/large")
    print(time.perf_counter() - start, memory("VmHWM") - idle)
"""

_REQUESTS = """
import hashlib, requests

def download(path):
    digest = hashlib.sha256()
    with requests.get(url + path, stream=True, timeout=30) as answer, open(target, "wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_content(chunk):
            file.write(piece)
            {extra}

measured(download)
"""

_OPERATOR = """
from types import SimpleNamespace
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow_provider_apitask import ApiCallOperator

ExecutorSafeguard.test_mode = True
ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1, max_tries=0)

def download(path):
    task = ApiCallOperator(task_id="t", api_conn_id="bench", method="GET", endpoint=path, output_path=target)
    task.execute({"ti": ti})

measured(download)
"""

CANDIDATES = {
    "ApiCallOperator": _OPERATOR,
    "requests": _REQUESTS.format(extra=""),
    "requests + sha256": _REQUESTS.format(extra="digest.update(piece)"),
}


@dataclass(frozen=True, slots=True)
class Download:
    """What one candidate costs: seconds and MiB over the idle process, of each run."""

    name: str
    size: int
    seconds: tuple[float, ...]
    mebibytes: tuple[float, ...]

    def __str__(self) -> str:
        middle = statistics.median(self.seconds)
        return (
            f"{self.name:<18}{min(self.seconds):>9.2f}{middle:>9.2f}{max(self.seconds):>9.2f}"
            f"{self.size / MEBIBYTE / middle:>9.0f}{max(self.mebibytes):>11.1f}"
        )


def measure(runs: int = 5, size: int = 1024 * MEBIBYTE) -> list[Download]:
    """Measure all candidates.

    :param size: of the large answer, bytes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    memory: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    with tempfile.TemporaryDirectory(prefix="apitask-bench-") as folder, _server(size) as url:
        extra = json.dumps({"allow_http": True})
        connection = json.dumps({"conn_type": "apitask", "host": url, "extra": extra})
        environment = {
            **os.environ,
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW_CONN_BENCH": connection,
        }
        target = Path(folder, "large.bin")
        for _ in range(runs):
            for name, code in CANDIDATES.items():
                out = subprocess.run(
                    [sys.executable, "-c", _COMMON + code, url, str(target)],
                    check=True,
                    capture_output=True,
                    text=True,
                    env=environment,
                )
                if target.stat().st_size != size:
                    raise RuntimeError(f"{name} has stored {target.stat().st_size} bytes")
                target.unlink()
                took, over = out.stdout.split()[-2:]
                seconds[name].append(float(took))
                memory[name].append(float(over))
    return [Download(name, size, tuple(seconds[name]), tuple(memory[name])) for name in CANDIDATES]


def report(runs: int = 5, size: int = 1024 * MEBIBYTE) -> str:
    """The table that the documentation shows."""
    head = f"{'download with':<18}{'min s':>9}{'median':>9}{'max':>9}{'MiB/s':>9}{'peak MiB':>11}"
    return "\n".join([head, *map(str, measure(runs, size))])


@contextmanager
def _server(size: int) -> Iterator[str]:
    """A server in a process of its own; gives its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.download", str(size)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout is not None else ""
        finally:
            process.terminate()


def _serve(size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, size), daemon=True).start()


def _answer(connection: socket.socket, size: int) -> None:
    zeros = memoryview(bytes(MEBIBYTE))
    with connection, connection.makefile("rb") as stream, suppress(OSError):
        while line := stream.readline():
            while stream.readline().strip():
                pass
            left = size if b"/large" in line else 1
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\r\n"
            )
            connection.sendall(head.encode())
            while left:
                piece = zeros[: min(left, len(zeros))]
                connection.sendall(piece)
                left -= len(piece)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
