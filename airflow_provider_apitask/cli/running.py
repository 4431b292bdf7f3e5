"""One test run of a call at a time on a machine: a new one ends the one still running."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from airflow_provider_apitask.cli.failures import FAILED, CommandError

__all__ = ["Running"]

#: Seconds for which a run is given time to cancel its job.
_PATIENCE = 60.0
_ROUND = 0.1


class Running:
    """The right to run a call, held while it runs; the kernel takes it back from a process that dies.

    :param folder: for the files, made if need be.
    :param identity: JSON that tells one call from another; only a hash of it is stored.
    :param told: is told when another run is ended.
    :raises CommandError: on entry, where the other run does not end.
    """

    def __init__(self, folder: Path, identity: Any, told: Callable[[str], None]) -> None:
        text = json.dumps(identity, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._path = folder / f"{name}.lock"
        self._next = folder / f"{name}.next"
        self._told = told
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"Test runs are noted in {self._path.parent}: {error}.", FAILED) from None
        ended: set[tuple[int, float]] = set()
        until = time.monotonic() + _PATIENCE
        while not _locked(file):
            self._end_other(file, ended)
            if time.monotonic() > until:
                file.close()
                raise CommandError(
                    f"Another test run of this call is still running after {_PATIENCE:.0f} s: "
                    f"{_named(ended)}. It was told to end; end it by hand.",
                    FAILED,
                )
            time.sleep(_ROUND)
        self._file = file
        self._next.unlink(missing_ok=True)
        self._write(file)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            # Not deleted: another run may have opened it, and would hold a file that nobody finds.
            self._file.close()

    def ended_by(self) -> int | None:
        """Process id of the newer run that wants this one to end, None without one."""
        import psutil

        with suppress(OSError, ValueError):
            pid = int(self._next.read_text(encoding="utf-8"))
            return pid if psutil.pid_exists(pid) else None
        return None

    def _write(self, file: IO[str]) -> None:
        import psutil

        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "started": psutil.Process().create_time()}, file)
        file.flush()

    def _end_other(self, file: IO[str], ended: set[tuple[int, float]]) -> None:
        """Tell the process that holds the file to end, once."""
        import psutil

        try:
            file.seek(0)
            holder = json.load(file)
            key = (int(holder["pid"]), float(holder["started"]))
            # A process id is used again; when it began tells whose it is.
            if key in ended or abs(psutil.Process(key[0]).create_time() - key[1]) > 1:
                return
            self._next.write_text(str(os.getpid()), encoding="utf-8")
            os.kill(key[0], signal.SIGTERM)
        except (ValueError, KeyError, TypeError, psutil.Error, ProcessLookupError):
            return  # not written yet, or just gone
        except OSError as error:
            file.close()
            raise CommandError(f"Another test run of this call cannot be ended: {error}.", FAILED) from None
        ended.add(key)
        self._told(f"A test run of the same call is still running (process {key[0]}): it is ended first.")


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _named(ended: set[tuple[int, float]]) -> str:
    return ", ".join(f"process {pid}" for pid, _ in sorted(ended)) or "its process is not known"
