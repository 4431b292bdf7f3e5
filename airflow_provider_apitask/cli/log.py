"""The operation log in its database: ``airflow apitask history``, ``db`` and ``log``."""

from __future__ import annotations

import re
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import IO

from airflow_provider_apitask.cli.failures import FAILED, CommandError
from airflow_provider_apitask.cli.output import prepared_output
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.records import OperationRecord, OperationStatus, Subtype
from airflow_provider_apitask.core.visible import visible

__all__ = ["check_table", "flush", "history", "migrate"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEADINGS = ("started (UTC)", "operation", "status", "task", "http", "requests", "time", "job", "")
#: Longest text of a column but the last, characters.
_WIDEST = 40


def history(args: Namespace) -> None:
    """Show records, the newest first."""
    _done("history", args, _history)


def migrate(args: Namespace) -> None:
    """Create the table, or bring it up to date."""
    _done("db migrate", args, _migrate)


def check_table(args: Namespace) -> None:
    """Say whether the table is there and up to date."""
    _done("db check", args, _check_table)


def flush(args: Namespace) -> None:
    """Move what waits on this host to the database."""
    _done("log flush", args, _flush)


def _done(name: str, args: Namespace, run: Callable[[Namespace, IO[str]], None]) -> None:
    """Run a command, and end the process with its exit code."""
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
    from sqlalchemy.exc import SQLAlchemyError

    out, code, said = prepared_output(), FAILED, ""
    try:
        run(args, out)
        code = 0
    except CommandError as error:
        code, said = error.code, str(error)
    except ApiTaskError as error:
        said = error.message
    except AirflowNotFoundException:
        said = f"There is no connection {args.conn_id or 'of [apitask] operation_log_conn_id'}."
    except AirflowException as error:  # a type of connection whose provider is not installed
        said = f"The connection of the operation log cannot be used: {error}."
    except SQLAlchemyError as error:
        # Without the statement, and what it was given.
        first = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        said = f"The database of the operation log cannot be used: {first}"
        if re.search("no such table|does not exist|doesn't exist", first):
            said += ". Is the table there? airflow apitask db migrate makes it."
    if said:
        sys.stderr.write(f"airflow apitask {name}: {said}\n")
    out.flush()
    sys.exit(code)


def _history(args: Namespace, out: IO[str]) -> None:
    from airflow_provider_apitask.oplog.history import Filters, query

    for option, kind in (("subtype", Subtype), ("status", OperationStatus)):
        given = getattr(args, option)
        if given is not None and given not in {member.value for member in kind}:
            names = ", ".join(member.value for member in kind)
            raise CommandError(f"--{_OPTIONS.get(option, option)} must be one of {names}.")
    filters = Filters(
        **{name: getattr(args, name) for name in _FILTERS},
        since=_time_of(args.since, "--since"),
        until=_time_of(args.until, "--until"),
    )
    found = query(args.conn_id, filters)
    if args.json:
        for record in found:
            out.write(visible(json_text(record.to_dict(), spaced=True)) + "\n")
        return
    rows = [_row(record) for record in found]
    if not rows:
        out.write("No operations.\n")
        return
    _write_table(out, [_HEADINGS, *rows])


_FILTERS = (
    *("subtype", "status", "dag_id", "task_id", "run_id", "map_index", "operation_id", "job_id"),
    "limit",
)
#: Options whose name is not that of the filter.
_OPTIONS = {"subtype": "type"}


def _time_of(given: str | None, option: str) -> float | None:
    """A Unix time: of an ISO 8601 time, or so long ago (``90s``, ``30m``, ``12h``, ``7d``)."""
    if given is None:
        return None
    if match := re.fullmatch(r"(\d{1,9})([smhd])", given):
        return time.time() - int(match[1]) * _UNITS[match[2]]
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise CommandError(f"{option} must be a time such as 2026-01-31T06:00, or 12h ago as 12h.") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _row(record: OperationRecord) -> tuple[str, ...]:
    task = ".".join(part for part in (record.dag_id, record.task_id) if part)
    spent = "" if record.ended_at is None else f"{record.ended_at - record.started_at:.2f} s"
    job = " ".join(part for part in (record.job_id, record.job_status) if part)
    return (
        datetime.fromtimestamp(record.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        record.subtype.value,
        record.status.value,
        task if record.map_index < 0 else f"{task}[{record.map_index}]",
        str(record.http_status or ""),
        str(record.requests),
        spent,
        job,
        record.error_message or " ".join(part for part in (record.method, record.url) if part),
    )


def _write_table(out: IO[str], rows: Iterable[tuple[str, ...]]) -> None:
    # A record can come from an older version, or from a database that others write to.
    plain = [tuple(map(visible, row)) for row in rows]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*plain, strict=True)]
    for row in plain:
        cells = [cell[:width].ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        out.write("  ".join([*cells, row[-1]]).rstrip() + "\n")


def _migrate(args: Namespace, out: IO[str]) -> None:
    from airflow_provider_apitask.oplog.migrations import upgrade

    out.write(f"The table of the operation log is there, version {upgrade(args.conn_id)}.\n")


def _check_table(args: Namespace, out: IO[str]) -> None:
    from airflow_provider_apitask.oplog.database import engine_of
    from airflow_provider_apitask.oplog.migrations import current, head

    engine = engine_of(args.conn_id)
    try:
        with engine.connect() as connection:
            found, wanted = current(connection), head()
    finally:
        engine.dispose()
    if found != wanted:
        state = "There is no table" if found is None else f"The table is of version {found}, not {wanted}"
        raise CommandError(f"{state}: call airflow apitask db migrate.", FAILED)
    out.write(f"The table of the operation log is up to date, version {wanted}.\n")


def _flush(args: Namespace, out: IO[str]) -> None:
    from airflow_provider_apitask.oplog import spool

    moved = spool.flush(args.conn_id)
    out.write(f"{moved} records moved to the database, {spool.spool().count()} wait on this host.\n")
