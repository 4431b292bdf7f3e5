"""Django's CSRF protection in front of a job API: ``csrf_app`` in a process of its own.

=========================  ==========================================================================
``GET /token/``            the token in the body, the cookie it goes with
``GET /jobs/``             how many jobs there are
``POST /jobs/``            202, Location ``/jobs/N/``; 403 without token and cookie
``GET /jobs/N/``           running, then succeeded
``GET /jobs/N/result/``    the result; 404 before
``DELETE /jobs/N/``        cancel; 403 without token and cookie
=========================  ==========================================================================

Two styles. ``django``: the header ``X-CSRFToken`` has to match the cookie ``csrftoken``. ``sap``: the token
belongs to the session; any GET with ``X-CSRF-Token: Fetch`` is answered with one in that header, and a
refusal says ``X-CSRF-Token: Required``::

    with CsrfServer("sap") as server, requests.Session() as session:
        token = session.get(f"{server.url}/jobs/", headers={"X-CSRF-Token": "Fetch"}).headers["X-CSRF-Token"]
        session.post(f"{server.url}/jobs/", headers={"X-CSRF-Token": token})
        server.rotate()  # the token is refused from here on; a fresh one is not
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self

from tests.support.real.tls import tls_front
from tests.support.real.wsgi import Handled, RequestLog

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

__all__ = ["PASSWORD", "USER", "CsrfServer"]

USER, PASSWORD = "robot", "pw-of-robot"

_ROOT: Final = Path(__file__).parents[3]
_STOP_SECONDS: Final = 10.0


class CsrfServer(RequestLog):
    """See the module's head; a context manager. What the process writes to stderr is raised at the end.

    :param header: the header of the token, when it is not that of the style.
    :param polls: how many status requests are answered ``running``.
    :param seconds: when given, the time a job runs instead.
    :param login: whether Django's own login stands before everything: the form at ``/login/`` with a hidden
        token, which ``/jobs/`` redirects to without a session.
    :param ssl_context: speak TLS. Django then asks unsafe requests for a Referer of its own origin, too.
    """

    def __init__(
        self,
        style: Literal["django", "sap"] = "django",
        *,
        header: str | None = None,
        polls: int = 2,
        seconds: float | None = None,
        login: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.header = header or {"django": "X-CSRFToken", "sap": "X-CSRF-Token"}[style]
        self._scheme = "https" if ssl_context else "http"
        self._options = {
            "sap": style == "sap",
            "header": self.header,
            "polls": polls,
            "seconds": seconds,
            "url_scheme": self._scheme,
        }
        self._ssl_context = ssl_context
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory()) if login else None
        self._options["database"] = str(Path(folder) / "users.sqlite3") if folder else None
        self._talk = threading.Lock()
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        complaints = self.stop()
        if kind is None and complaints:
            raise RuntimeError(f"the server failed:\n{complaints}")

    @property
    def url(self) -> str:
        """Scheme, address and port, without a slash at the end."""
        if not self._port:
            raise RuntimeError("the server was not started")
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def history(self) -> list[Handled]:
        pairs = ("query", "headers")
        records = [
            record
            | {"body": record["body"].encode("latin-1")}
            | {name: [(key, value) for key, value in record[name]] for name in pairs}
            for record in self._command("history")
        ]
        return [Handled(**record) for record in records]

    def rotate(self) -> None:
        """Refuse every token given out so far."""
        self._command("rotate")

    def start(self) -> None:
        """Start the process and wait until it listens; a server starts once."""
        if self._port:
            raise RuntimeError("this server was started before")
        self._stderr: IO[str] = self._stack.enter_context(
            tempfile.TemporaryFile("w+")  # noqa: SIM115 - the stack closes it
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.real.csrf_app", json.dumps(self._options)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        try:
            port = int(self._line())
        except RuntimeError:
            self.stop()
            raise
        if self._ssl_context is not None:
            port = self._stack.enter_context(tls_front(self._ssl_context, port))
        self._port = port

    def stop(self) -> str:
        """End the process; what it wrote to stderr."""
        with self._stack:
            try:
                self._process.communicate(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
            return self._complaints()

    def _command(self, name: str) -> Any:
        with self._talk:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()
            return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the server ended:\n{self._complaints()}")
        return line

    def _complaints(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()
