"""A real pygeoapi server (OGC API - Processes) with the process ``slow``, as a child process."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import requests

from demo.processes import LOOPBACK, Child, DemoError, Services, free_port, require_free_port

__all__ = ["PygeoapiService"]

REPOSITORY = Path(__file__).resolve().parent.parent
REQUEST_TIMEOUT = 10  # seconds
OBSERVER = "demo-observer"  # The user agent of our own requests, which do not count as the client's.


class PygeoapiService:
    """The server and what its API says of its jobs.

    :param services: stops the server in the end
    :param folder: receives configuration, jobs, results and log; it is created
    :param port: on the loopback address; 0 for any free one
    """

    def __init__(self, services: Services, folder: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.child: Child | None = None
        self.boot_seconds = 0.0
        self._services = services
        self._folder = folder
        self._http = requests.Session()
        # A proxy named in the environment does not reach this machine's loopback address.
        self._http.trust_env = False
        self._http.headers["User-Agent"] = OBSERVER
        self._started = 0.0

    @property
    def connection(self) -> dict[str, str]:
        """The environment variable that tells Airflow of this server, as the connection ``pygeoapi``."""
        connection = {"conn_type": "apitask", "host": self.url, "extra": {"allow_http": True}}
        return {"AIRFLOW_CONN_PYGEOAPI": json.dumps(connection)}

    def launch(self) -> None:
        """Start the process and return at once."""
        require_free_port(self.port, "pygeoapi")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        self.child = self._services.start(
            "pygeoapi",
            [sys.executable, "-m", "demo.ogc.server", str(self._folder), str(self.port)],
            {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
            self._folder / "pygeoapi.log",
        )

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait at most ``timeout`` seconds until the launched server answers."""
        assert self.child is not None, "launch() comes first"
        self.child.wait_ready(self._answers, timeout)
        self.boot_seconds = time.monotonic() - self._started

    def start(self, timeout: float = 60) -> None:
        """Start the server and wait at most ``timeout`` seconds until it answers."""
        self.launch()
        self.wait_ready(timeout)

    def stop(self) -> None:
        """Stop the server; jobs that are still working are lost."""
        self._http.close()
        if self.child is not None:
            self._services.stop(self.child)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job: ``status``, ``progress``, ``message``, ``created``, ``finished``."""
        answer: dict[str, Any] = self._get(f"/jobs/{job_id}")
        return answer

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs that were ever submitted to this server, as :meth:`job` does."""
        answer: list[dict[str, Any]] = self._get("/jobs", limit="1000")["jobs"]
        return answer

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests which the server received from others, oldest first.

        Keys: ``time`` (ISO, UTC), ``method``, ``path``, ``query``, ``agent``, ``status``.
        """
        record = self._folder / "requests.jsonl"
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["agent"] != OBSERVER]

    def _answers(self) -> bool:
        try:
            return self._http.get(self.url, params={"f": "json"}, timeout=REQUEST_TIMEOUT).ok
        except requests.ConnectionError:
            return False

    def _get(self, path: str, **params: str) -> Any:
        url = f"{self.url}{path}"
        try:
            answer = self._http.get(url, params={"f": "json", **params}, timeout=REQUEST_TIMEOUT)
            answer.raise_for_status()
            return answer.json()
        except requests.RequestException as error:
            raise DemoError(f"pygeoapi did not answer GET {url} as it should: {error}") from error
