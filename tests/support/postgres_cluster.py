"""A PostgreSQL of one's own, which can really be stopped and started."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

__all__ = ["PostgresCluster"]


class PostgresCluster:
    """A context manager that has made and started it when it is entered.

    :param folder: empty, for its data.
    """

    #: Why there cannot be one here, None where there can.
    missing: str | None = None if shutil.which("initdb") else "initdb of PostgreSQL is not on the PATH"

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

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
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = self._data / "server.log"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """End its sessions, and stop it."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "fast", "stop")

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
