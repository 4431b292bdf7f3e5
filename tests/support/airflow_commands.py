"""The ``airflow`` command, each call in a process that is forked from one that has Airflow imported.

Importing Airflow takes seconds, which a suite of command-line tests pays once instead of once per call.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any, Self

__all__ = ["AirflowCommands", "Command"]

_PRELOADED = (
    "airflow.__main__",
    "airflow.dag_processing.dagbag",
    "airflow_provider_apitask.cli.check",
    "airflow_provider_apitask.cli.test_run",
)


class AirflowCommands:
    """A process with Airflow imported, which forks for each command; a context manager that ends it.

    :param env: the whole environment. Airflow reads its home and its database from it when it is imported,
        so a command can change neither.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)

    def __enter__(self) -> Self:
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env=self._env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ours.close()
        self._process.wait()

    def start(
        self,
        args: tuple[str, ...],
        env: Mapping[str, str],
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Command:
        """Start a command.

        :param env: the whole environment.
        :param stdout: descriptor, or ``subprocess.PIPE`` or ``DEVNULL``; the same for ``stderr``.
        """
        read_out, out = _pipe(stdout)
        read_errors, errors = _pipe(stderr)
        status, report = os.pipe()
        given = json.dumps({"args": args, "env": dict(env)}).encode()
        socket.send_fds(self._ours, [len(given).to_bytes(4, "big")], [out, errors, report])
        self._ours.sendall(given)
        os.close(report)
        for descriptor, asked in ((out, stdout), (errors, stderr)):
            if descriptor != asked:
                os.close(descriptor)
        return Command(os.fdopen(status, encoding="ascii"), read_out, read_errors)


class Command:
    """A running command, with those attributes of :class:`subprocess.Popen` that tests use.

    :param status: says its process id, and its exit code when it has ended.
    """

    def __init__(self, status: IO[str], stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.stdout, self.stderr = stdout, stderr
        self._status = status
        self.pid = int(status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        :raises TimeoutError: after ``timeout`` seconds.
        """
        if (code := self._ended(timeout)) is None:
            raise TimeoutError(f"the command (process {self.pid}) has not ended after {timeout} s")
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both outputs to their ends, and wait for that of the command.

        :raises TimeoutError: after ``timeout`` seconds.
        """
        texts = ["", ""]

        def read(index: int, pipe: IO[str]) -> None:
            texts[index] = pipe.read()

        pipes = [(i, pipe) for i, pipe in enumerate((self.stdout, self.stderr)) if pipe is not None]
        threads = [threading.Thread(target=read, args=each, daemon=True) for each in pipes]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes."""
        for pipe in (self._status, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.readline())
        return self.returncode


def _pipe(asked: int) -> tuple[IO[str] | None, int]:
    """Return the end that the test reads, if there is one, and the descriptor that the command writes to."""
    if asked == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    if asked != subprocess.PIPE:
        return None, asked
    ours, theirs = os.pipe()
    return os.fdopen(ours, encoding="utf-8"), theirs


def _serve(requests: socket.socket) -> None:
    """Fork for each command. The first child only waits for the command, and reports how it ended."""
    for module in _PRELOADED:
        importlib.import_module(module)
    importlib.import_module("airflow.cli.cli_parser").get_parser()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        size, descriptors, _, _ = socket.recv_fds(requests, 4, 3)
        if not size:
            return
        given = json.loads(requests.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            _run(given, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _run(given: dict[str, Any], out: int, errors: int, report: int) -> None:
    if pid := os.fork():
        os.close(out)
        os.close(errors)
        os.write(report, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    for descriptor, target in ((out, 1), (errors, 2)):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.close(report)
    os.environ.clear()
    os.environ.update(given["env"])
    # Buffered as at the start of an interpreter: a terminal by lines.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", buffering=1 if os.isatty(1) else -1)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
    sys.argv = ["airflow", *given["args"]]
    from airflow.__main__ import main

    raise SystemExit(main())


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        _serve(inherited)
