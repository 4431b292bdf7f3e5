"""``python -m demo`` where it does not end well: clear words, the right exit code, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from demo.airflow_api import AirflowApi
from demo.processes import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DEMO = [sys.executable, "-m", "demo"]


def test_port_in_use(repository: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _demo(repository, tmp_path, "--port", str(port), timeout=30)
    assert ended.returncode == 1
    assert f"Port {port} on 127.0.0.1, wanted for Airflow, cannot be used" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("option", "complaint"),
    [("--port=65536", "'65536' is not a port number"), ("--seconds=-1", "'-1' is not a number of seconds")],
)
def test_wrong_option(repository: Path, tmp_path: Path, option: str, complaint: str) -> None:
    ended = _demo(repository, tmp_path, option, timeout=30)
    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_boot_takes_too_long(repository: Path, tmp_path: Path) -> None:
    ended = _demo(repository, tmp_path, "--timeout", "3", timeout=60)
    assert ended.returncode == 1
    assert "Gave up after 3 s" in ended.stdout
    assert "The logs are kept in" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_failed_job_with_the_web_ui_kept(repository: Path, tmp_path: Path) -> None:
    with _started_demo(repository, tmp_path, "--fail", "--seconds=1", "--keep") as demo:
        output = _read_until(demo, "Ctrl-C stops everything")
        assert "pygeoapi says: InvalidParameterValue: Error executing process: asked to fail" in output
        assert "job ended: failed" in output
        found = re.search(r"web UI: (\S+)  user: (\S+)  password: (\S+)", output)
        assert found is not None, output
        api = AirflowApi(*found.groups())
        assert "example_ogc_process" in [dag["dag_id"] for dag in api.request("GET", "/dags")["dags"]]
        api.close()
        demo.send_signal(signal.SIGINT)
        output += _rest(demo)
    # Ctrl-C is the expected end here, so that the exit code tells of the job.
    assert demo.returncode == 1
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir())
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", output):
        assert not _is_listening(int(port))


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
    ids=lambda value: getattr(value, "name", None),
)
def test_ended_by_a_signal(repository: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    with _started_demo(repository, tmp_path) as demo:
        output = _read_until(demo, "pygeoapi is up")
        # Airflow is still busy with its boot.
        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 3, "guard, pygeoapi and Airflow"
        demo.send_signal(number)
        output += _rest(demo)
    assert demo.returncode == code
    assert "Traceback" not in output
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    wait_until(lambda: not list(tmp_path.iterdir()), 10, "the demo's folder is still there")


def _demo(repository: Path, folder: Path, *options: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *options],
        cwd=repository,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def _started_demo(repository: Path, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, running; a test that fails meanwhile ends it rather than waits for it."""
    with subprocess.Popen(
        [*DEMO, *options],
        cwd=repository,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            yield demo
        except BaseException:
            demo.terminate()
            raise


def _read_until(demo: subprocess.Popen[str], words: str) -> str:
    assert demo.stdout is not None
    output = ""
    for line in demo.stdout:
        output += line
        if words in line:
            return output
    raise AssertionError(f"{words!r} was not said:\n{output}")


def _rest(demo: subprocess.Popen[str]) -> str:
    assert demo.stdout is not None
    output = demo.stdout.read()
    demo.wait(60)
    return output


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
