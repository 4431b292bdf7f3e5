"""From the spool to the database, in batches, by one process of a host at a time.

Nobody waits for a database that is down: the first who finds out notes it in the spool, and all
processes of the host leave it alone for a while, 5 seconds at first and 5 minutes in the end.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_apitask.core.records import OperationRecord
from airflow_provider_apitask.oplog.database import engine_of, write
from airflow_provider_apitask.oplog.spool_file import SpoolFile

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

__all__ = ["flush", "spool", "try_flush"]

log = logging.getLogger(__name__)

#: Records in one transaction.
_BATCH = 200
#: Seconds that another process is waited for: a little longer than it may be silent.
_PATIENCE = 35.0


def spool() -> SpoolFile:
    """The spool of this host: ``[apitask] operation_log_spool``."""
    from airflow.providers.common.compat.sdk import conf

    path = conf.get("apitask", "operation_log_spool", fallback=None)
    if not path:
        return SpoolFile(_airflow_home() / "apitask-operations.db")
    return SpoolFile(Path(path).expanduser())


def flush(conn_id: str | None = None) -> int:
    """Move all that waits to the database, also while that is noted as down.

    Where another process is at it, that is waited for; for as long as its claim holds at most.

    :param conn_id: by default ``[apitask] operation_log_conn_id``.
    :returns: how many records were moved.
    :raises ConnectionFieldError: where there is no such connection, or it is not one of a database.
    :raises sqlalchemy.exc.SQLAlchemyError: where the database cannot be written to.
    """
    kept, until = spool(), time.monotonic() + _PATIENCE
    moved = _flush(kept, None, conn_id, force=True, until=None)
    while kept.is_busy(time.time()) and time.monotonic() < until:
        time.sleep(0.1)
        moved += _flush(kept, None, conn_id, force=True, until=None)
    return moved


def try_flush(seconds: float | None = None, engine: Engine | None = None) -> int:
    """Move what waits to the database, unless another process does, or it is known to be down.

    :param seconds: after which no further batch is begun.
    :param engine: of the database, for who must not look a connection up.
    :returns: how many records were moved.
    """
    until = None if seconds is None else time.monotonic() + seconds
    kept = spool()
    try:
        return _flush(kept, engine, None, force=False, until=until)
    except Exception as error:  # noqa: BLE001 - the records are kept, and the next process tries again
        log.warning(
            "The operation log could not be written to its database, %d records are kept in %s: %s",
            kept.count(),
            kept.path,
            _why(error),
        )
        return 0


def _flush(
    kept: SpoolFile, engine: Engine | None, conn_id: str | None, *, force: bool, until: float | None
) -> int:
    moved = 0
    while kept.claim(time.time(), force=force):
        try:
            made = engine or engine_of(conn_id)
            try:
                moved += _move(kept, made, until)
            finally:
                if engine is None:
                    made.dispose()
        except Exception:
            kept.fail(time.time())
            raise
        kept.release()
        # Who came meanwhile has left their records to us.
        if until is not None and time.monotonic() > until:
            break
    return moved


def _move(kept: SpoolFile, engine: Engine, until: float | None) -> int:
    moved = 0
    while batch := kept.batch(_BATCH):
        for number in [number for number, record in batch if record is None]:
            kept.reject(number, "Not an operation record of this version of the package.")
        good = [(number, record) for number, record in batch if record is not None]
        try:
            with engine.begin() as connection:
                write(connection, [record for _, record in good])
        except Exception as error:
            if not _is_refusal(error):
                raise
            _move_singly(kept, engine, good)
        kept.remove([number for number, _ in good])
        kept.renew(time.time())
        moved += len(good)
        if until is not None and time.monotonic() > until:
            break
    return moved


def _move_singly(kept: SpoolFile, engine: Engine, batch: list[tuple[int, OperationRecord]]) -> None:
    """Write what the database takes; what it refuses is put aside."""
    for number, record in batch:
        try:
            with engine.begin() as connection:
                write(connection, [record])
        except Exception as error:
            if not _is_refusal(error):
                raise
            log.warning("The database refuses a record, it is put aside: %s", _why(error))
            kept.reject(number, _why(error))


def _is_refusal(error: Exception) -> bool:
    """Whether a record cannot be written, in contrast to a database that cannot be reached."""
    from sqlalchemy import exc

    if isinstance(error, exc.DBAPIError):
        return isinstance(error, (exc.DataError, exc.IntegrityError))
    return isinstance(error, (exc.StatementError, ValueError, TypeError, OverflowError))


def _why(error: Exception) -> str:
    """The reason in one line, without the statement and its values."""
    from sqlalchemy import exc

    if isinstance(error, exc.ProgrammingError):
        return f"{_first_line(error.orig)}. Has `airflow apitask db migrate` been run?"
    return _first_line(getattr(error, "orig", None) or error)


def _first_line(error: object) -> str:
    return (str(error) or repr(error)).splitlines()[0]


def _airflow_home() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
