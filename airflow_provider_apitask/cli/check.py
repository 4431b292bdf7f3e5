"""``airflow apitask check``: a connection, tested step by step."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_apitask.cli.failures import FAILED, SUCCEEDED
from airflow_provider_apitask.cli.output import prepared_output
from airflow_provider_apitask.cli.probe import Probed, probe
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response

if TYPE_CHECKING:
    from airflow_provider_apitask.hooks.connection import ApiConnection

__all__ = ["check_connection"]

_MARKS = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("-", "yellow")}


def check_connection(args: Namespace) -> None:
    """Run the command, and end the process with its exit code."""
    out = prepared_output()
    show = _as_json if args.json else _as_lines
    ok = True
    try:
        for step in _steps(args.conn_id, args.verbose):
            ok = ok and step.ok is not False
            show(out, step)
    except KeyboardInterrupt:
        sys.exit(130)
    last = "can be used" if ok else "cannot be used"
    show(out, Probed("Result", ok, f"Connection {args.conn_id} {last}."))
    sys.exit(SUCCEEDED if ok else FAILED)


def _steps(conn_id: str, verbose: bool) -> Iterator[Probed]:
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = yield from _read(conn_id)
        failed = False
        for step in probe(connection):
            failed = failed or step.ok is False
            yield step
        if not failed:
            yield from _asked(conn_id, connection, verbose)
    except AirflowNotFoundException:
        hint = f"airflow connections add {conn_id} --conn-type apitask --conn-host https://…"
        yield Probed("Connection", False, f"There is no connection {conn_id}. Make one: {hint}")
    except ApiTaskError as error:
        yield Probed("Connection", False, error.message)


def _read(conn_id: str) -> Any:
    from airflow_provider_apitask.hooks.api import ApiHook

    connection = ApiHook(conn_id).connection
    api = connection.api
    how = "with credentials" if api.auth.sends_credentials else "no credentials"
    yield Probed("Connection", True, f"{conn_id} is {api.redactor.url(api.base_url)}, {how}.")
    return connection


def _asked(conn_id: str, connection: ApiConnection, verbose: bool) -> Iterator[Probed]:
    """Credentials and status: by the one request that the Test button sends, too."""
    from airflow_provider_apitask.hooks.check import StepName, check
    from airflow_provider_apitask.hooks.watching import WatchedTransport

    seen = _Seen(connection)
    report = check(connection, lambda: WatchedTransport(connection.api, connection.options, seen))
    yield from seen.logins
    # The way to the server is known by now, unless it goes through a proxy.
    by_proxy = connection.options.proxy_for(connection.api.base_url) is not None
    network = (StepName.REACHED, StepName.TLS)
    for step in report.steps:
        if by_proxy or step.name not in network or (step.ok is False):
            spent = seen.seconds if step.name is StepName.STATUS else None
            yield Probed(step.name.value, step.ok, step.text, spent)
    if report.hint:
        yield Probed("Hint", None, report.hint)
    if verbose:
        yield from seen.headers


class _Seen:
    """What was sent: the logins that came before the request, and how long that took."""

    def __init__(self, connection: ApiConnection) -> None:
        self.logins: list[Probed] = []
        self.headers: list[Probed] = []
        self.seconds: float | None = None
        self._redactor = connection.api.redactor

    def asked(self, request: Request) -> None:
        """A request goes out; it is told of with its answer."""

    def answered(self, request: Request, came: Response | NetworkFailure, seconds: float) -> None:
        """Keep what there is to tell."""
        if request.purpose.is_of_the_call:
            self.seconds = (self.seconds or 0) + seconds  # with its redirects
        else:
            text = f"{request.method} {self._redactor.url(request.url)}"
            said = came.status if isinstance(came, Response) else self._redactor.line(str(came))
            ok = isinstance(came, Response) and came.status < 400
            # Whether a login has failed is said by the step that needs it.
            self.logins.append(Probed("Login", ok or None, f"{text} answered {said}.", seconds))
        if isinstance(came, Response) and request.purpose.is_of_the_call:
            fields = self._redactor.headers(came.headers)
            self.headers += [Probed("Header", None, f"{name}: {value}") for name, value in fields]


def _as_lines(out: IO[str], step: Probed) -> None:
    from rich.console import Console
    from rich.text import Text

    word, style = _MARKS[step.ok]
    spent = "" if step.seconds is None else f"{step.seconds * 1000:.0f} ms"
    line = Text(f"{step.name:<14}")
    line.append(f"{word:<7}", style=style)
    line.append(f"{spent:>8}  {step.text}")
    Console(file=out, soft_wrap=True, highlight=False).print(line)
    out.flush()


def _as_json(out: IO[str], step: Probed) -> None:
    seconds = None if step.seconds is None else round(step.seconds, 4)
    record = {"step": step.name.lower(), "ok": step.ok, "seconds": seconds, "message": step.text}
    out.write(json_text(record, spaced=True) + "\n")
    out.flush()
