"""What the services do with their child processes; no Airflow is needed here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from demo.processes import (
    DemoError,
    ServiceError,
    Services,
    free_port,
    is_running,
    require_free_port,
    wait_until,
)

pytestmark = pytest.mark.e2e

# Starts a grandchild with a process group of its own that ignores SIGTERM, and prints the grandchild's id.
STUBBORN = """
import os, signal, subprocess, sys, time
ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", ignore], process_group=0, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_stop_reaches_grandchildren_in_other_groups(services: Services, tmp_path: Path) -> None:
    child = services.start("stubborn", [sys.executable, "-c", STUBBORN], os.environ, tmp_path / "log")
    child.wait_ready(lambda: child.tail() != "", timeout=20)
    grandchild = int(child.tail())
    assert grandchild in [process.pid for process in child.processes()]
    services.stop(child, grace=0.5)
    assert not is_running(grandchild)
    assert not child.alive


def test_dead_child_is_reported_with_its_last_words(services: Services, tmp_path: Path) -> None:
    code = "import sys; sys.exit('no such table: dag')"
    child = services.start("worker", [sys.executable, "-c", code], os.environ, tmp_path / "log")
    with pytest.raises(ServiceError, match=r"worker ended with exit code 1\. (.|\n)*no such table: dag"):
        child.wait_ready(lambda: False, timeout=20)


def test_child_that_is_never_ready(services: Services, tmp_path: Path) -> None:
    code = "import time; print('thinking', flush=True); time.sleep(60)"
    child = services.start("worker", [sys.executable, "-c", code], os.environ, tmp_path / "log")
    with pytest.raises(ServiceError, match=r"Gave up after 2 s: worker is not ready\.(.|\n)*thinking"):
        child.wait_ready(lambda: False, timeout=2)
    services.stop(child)


def test_command_that_does_not_exist(services: Services, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="worker cannot be started"):
        services.start("worker", [str(tmp_path / "nothing")], os.environ, tmp_path / "log")


def test_guard_stops_what_a_killed_program_has_started(repository: Path, tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys, time; from demo.processes import Services\n"
        f"child = Services().start('child', [sys.executable, '-c', {STUBBORN!r}], os.environ, "
        f"pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "child.wait_ready(lambda: child.tail() != '', 20)\n"
        "print(child.pid, child.tail(), flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=repository, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
        process.kill()
    wait_until(lambda: not any(map(is_running, pids)), 15, "processes outlived the program that started them")


def test_free_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    require_free_port(port, "a test")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(DemoError, match="wanted for a test"):
        require_free_port(port, "a test")
