"""A PostgreSQL of one's own, which can really be stopped and started."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

__all__ = ["PostgresCluster"]


class PostgresCluster:
    """A context manager that has made and started it when it is entered."""

    #: Why there cannot be one here, None where there can.
    missing: str | None = None if shutil.which("initdb") else "initdb of PostgreSQL is not on the PATH"

    def __init__(self) -> None:
        # Not in a folder of pytest's: each session of it anew closes these to other users.
        self._folder = tempfile.TemporaryDirectory(prefix="apitask-postgres-")
        self._data = Path(self._folder.name) / "data"
        #: Keeps the port for it while it is down; nobody listens there.
        self._held: socket.socket | None = None
        self.port = self._hold(0)

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://apitask@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        self._data.mkdir()
        # It does not run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            owner = pwd.getpwnam(self._user)
            os.chown(self._data, owner.pw_uid, owner.pw_gid)
            for parent in self._data.parents:
                if (mode := parent.stat().st_mode) & 0o001:
                    break  # from here on it is open to others, as a folder for temporary files is
                parent.chmod(mode | 0o011)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "apitask", "-N")
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._held is None:
            self.stop()
        self._release()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = self._data / "server.log"
        self._release()
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """End its sessions, and stop it."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "fast", "stop")
        self._hold(self.port)

    def _hold(self, port: int) -> int:
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", port))
        number: int = self._held.getsockname()[1]
        return number

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _run(self, *command: Any) -> None:
        with (self._data.parent / "commands.log").open("ab") as log:
            subprocess.run(
                [str(part) for part in command],
                user=self._user,
                cwd=self._data,
                check=True,
                stdout=log,
                stderr=log,
                timeout=60,
            )
