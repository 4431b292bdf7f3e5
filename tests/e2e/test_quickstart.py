"""The quick start, followed to the letter by somebody who has nothing but a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DOCS = REPOSITORY / "docs"
PAGE = (DOCS / "quickstart.md").read_text()


def saved() -> Iterator[tuple[str, str]]:
    """The files that the page asks for: where, and what."""
    found = re.findall(r"Save this as `([^`]+)`:\n\n```\{literalinclude\} (\S+)\n", PAGE)
    for name, source in found:
        yield name, (DOCS / source).read_text()


def commands() -> str:
    """The shell blocks of the page, in one shell; what is to be installed is installed already."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    lines = "\n".join(blocks).splitlines()
    left_out = ("python3 -m venv", "pip install")
    return "\n".join(line for line in lines if not line.startswith(left_out))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    for name, content in saved():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-e", "-c", commands()],
        cwd=tmp_path,
        env={**kept, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield shell
    # With it goes the API, which the page starts in the background.
    os.killpg(shell.pid, signal.SIGKILL)
    shell.communicate()


def test_quick_start(shell: subprocess.Popen[str], tmp_path: Path) -> None:
    assert [name for name, _ in saved()] == ["reports_api.py", "airflow/dags/quickstart.py"]
    assert shell.stdout is not None
    seen = ""
    for line in shell.stdout:
        seen += line
        if "DagRun Finished" in line:
            break
    assert "state=success" in seen, seen[-6000:]
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for line in shown.splitlines():
        # How far the report is at the first check is a matter of milliseconds.
        pattern = re.sub(r"(progress\\ )\d+", r"\1\\d+", re.escape(line))
        assert re.search(pattern, seen), line + "\n" + seen[-6000:]
