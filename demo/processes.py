"""Child processes that cannot outlive the program which started them.

Every child leads a session of its own. A session keeps together what a child starts in its turn, whatever
process groups are made there, so that stopping the session stops all of it; and a Ctrl-C in the terminal
reaches only the program, which then stops its children in order.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

import psutil

__all__ = [
    "LOOPBACK",
    "Child",
    "DemoError",
    "ServiceError",
    "Services",
    "free_port",
    "is_running",
    "require_free_port",
    "stop_signals_raise",
    "wait_until",
]

LOOPBACK = "127.0.0.1"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """Something which may well happen: its text says all that the user needs, without a traceback."""


class ServiceError(DemoError):
    """A server did not start, has died or does not get on: its log is worth keeping."""


def free_port() -> int:
    """Return a TCP port which nobody listens to on the loopback address at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free_port(port: int, purpose: str) -> None:
    """Raise DemoError when somebody listens to ``port`` already, or it may not be listened to."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this a port which was closed a minute ago would count as taken; a listener still refuses us.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise DemoError(
                f"Port {port} on {LOOPBACK}, wanted for {purpose}, cannot be used: {error.strerror}. "
                "Stop the program that uses it, or choose another port."
            ) from error


def wait_until(condition: Callable[[], bool], timeout: float, what: str, interval: float = 0.2) -> float:
    """Call ``condition`` every ``interval`` seconds until it holds; return the seconds that took.

    Raises DemoError after ``timeout`` seconds.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout:
            raise DemoError(f"Gave up after {timeout:g} s: {what}.")
        time.sleep(interval)
    return time.monotonic() - start


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back the signals that ask the program to stop; the first that came is delivered at the end.

    Between the start of a process and its registration, or in the middle of a clean-up, an exception would
    leave a process behind. Functions, not SIG_IGN, because children would inherit the latter.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


@contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit (128 + the signal's number): ``with`` blocks clean up then."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in STOP_SIGNALS if number != signal.SIGINT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_running(pid: int) -> bool:
    """Whether a process lives; one that has ended counts as dead even if nobody has waited for it yet."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def session_members(session: int) -> list[psutil.Process]:
    """Return the living processes of a session (see ``is_running``)."""
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def stop_session(session: int, grace: float) -> None:
    """Send SIGTERM to a session's processes, and SIGKILL to those that are left after ``grace`` seconds.

    With a grace of 0 there is no SIGTERM at all.
    """
    if grace > 0:
        for process in session_members(session):
            with suppress(psutil.Error):
                process.terminate()
    deadline = time.monotonic() + grace
    while members := session_members(session):
        if time.monotonic() >= deadline:
            for process in members:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(members, timeout=5)
            return
        time.sleep(0.05)


class Child:
    """A process with a session of its own; its output goes to the file ``log``, whose folder it works in."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs. It is not waited for here: that would free its id for somebody else."""
        return self._process.returncode is None and is_running(self.pid)

    def processes(self) -> list[psutil.Process]:
        """Return this process and all that it started, as long as they live."""
        return [] if self._process.returncode is not None else session_members(self.pid)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of what the process and its children wrote."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def require_alive(self) -> None:
        """Raise ServiceError with the end of the log if the process has ended."""
        if not self.alive:
            self.stop()
            raise ServiceError(
                f"{self.name} ended with exit code {self._process.returncode}. Its last words:\n{self.tail()}"
            )

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> float:
        """Wait until ``ready`` holds; return the seconds waited.

        Raises ServiceError with the end of the log if the process ends first, or after ``timeout`` seconds.
        """

        def ready_or_dead() -> bool:
            self.require_alive()
            return ready()

        try:
            return wait_until(ready_or_dead, timeout, f"{self.name} is not ready")
        except ServiceError:
            raise
        except DemoError as error:
            raise ServiceError(f"{error} Its last words:\n{self.tail()}") from error

    def wait(self, timeout: float) -> int:
        """Wait until the process ends and return its exit code; ServiceError after ``timeout`` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise ServiceError(f"{self.name} took more than {timeout:g} s:\n{self.tail()}") from None

    def stop(self, grace: float = 5) -> None:
        """End the process and everything it started: SIGTERM first, SIGKILL after ``grace`` seconds."""
        if self._process.returncode is None:
            stop_session(self.pid, grace)
            self._process.wait(timeout=5)


class Services:
    """The children of one program, which are stopped, the youngest first, when the ``with`` block is left.

    A guard process does the same if the program itself is killed and can clean up nothing.

    :param scrap: a folder to remove after that; it stays after a ServiceError, for the logs in it
    """

    def __init__(self, scrap: Path | None = None) -> None:
        self._scrap = scrap
        self._children: list[Child] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The stack runs them last to first, each of them even if another fails.
        with signals_held(), ExitStack() as steps:
            if self._scrap is not None and not isinstance(error, ServiceError):
                steps.callback(shutil.rmtree, self._scrap, ignore_errors=True)
            steps.callback(self._dismiss_guard)
            for child in self._children:
                steps.callback(self.stop, child)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> Child:
        """Start a child process; ``name`` is for messages."""
        with signals_held():
            if self._guard is None:
                self._guard = _start_guard(self._scrap)
            try:
                child = Child(name, command, env, log)
            except OSError as error:
                raise ServiceError(f"{name} cannot be started ({command[0]}): {error.strerror}.") from error
            self._children.append(child)
            self._tell_guard("+", child)
        return child

    def stop(self, child: Child, grace: float = 5) -> None:
        """Stop one child; it is no concern of this object any more."""
        child.stop(grace)
        if child in self._children:
            self._children.remove(child)
            self._tell_guard("-", child)

    def _dismiss_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(timeout=30)

    def _tell_guard(self, sign: str, child: Child) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with suppress(BrokenPipeError):  # It was killed; the clean-up at the end needs no guard.
                self._guard.stdin.write(f"{sign}{child.pid}\n".encode())
                self._guard.stdin.flush()


def _start_guard(scrap: Path | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.guard", *([] if scrap is None else [str(scrap)])],
        stdin=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
