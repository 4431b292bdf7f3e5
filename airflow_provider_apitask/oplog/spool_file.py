"""The file that keeps records on their way to a database: SQLite, shared by all processes of a host.

What is in it survives the death of the process that wrote it. A record leaves it when the database has
committed it; that this may happen twice is why a database keeps each ``record_id`` once.

``running`` has what a triggerer does just now: when it dies, the next process to look finishes it.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.records import OperationRecord, OperationStatus

__all__ = ["SpoolFile"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rejected (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS running (
    record_id TEXT PRIMARY KEY, body TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
    begun TEXT NOT NULL, touched REAL NOT NULL, handed_over INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE IF NOT EXISTS holder (
    id INTEGER PRIMARY KEY CHECK (id = 1), host TEXT NOT NULL, pid INTEGER NOT NULL, begun TEXT NOT NULL);
"""
#: Most rejected records that are kept.
_REJECTED = 1000
#: Seconds that another process is waited for.
_BUSY = 5.0
#: Seconds that the flush of one process keeps the others from it, from its last sign of life.
_LEASE = 30.0
#: Seconds after which the database is tried again, doubled with each failure in a row up to the longest.
_BACKOFF, _LONGEST_BACKOFF = 5.0, 300.0
#: Seconds without a sign of life after which a process of another host (or container) counts as dead.
_SILENT = 900.0
#: Seconds after which the worker has surely got what a trigger has handed over.
_HANDED_OVER = 600.0


class SpoolFile:
    """One such file; opened for each use, as a connection does not survive a fork.

    :param path: made at its first use, readable by its user alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # -- records -----------------------------------------------------------------------------

    def put(self, records: Iterable[OperationRecord]) -> None:
        """Keep records."""
        with self._open() as db:
            db.executemany("INSERT INTO records (body) VALUES (?)", [(_text(record),) for record in records])

    def batch(self, size: int) -> list[tuple[int, OperationRecord | None]]:
        """The oldest records with their numbers; None for what cannot be read."""
        with self._open() as db:
            rows = db.execute("SELECT seq, body FROM records ORDER BY seq LIMIT ?", (size,)).fetchall()
        return [(seq, _record(body)) for seq, body in rows]

    def remove(self, numbers: Sequence[int]) -> None:
        """Forget records: they are where they belong."""
        with self._open() as db:
            db.executemany("DELETE FROM records WHERE seq = ?", [(number,) for number in numbers])

    def reject(self, number: int, why: str) -> None:
        """Put a record aside that the database refuses, so that the others are not kept waiting."""
        with self._open() as db:
            moved = "INSERT OR REPLACE INTO rejected SELECT seq, body, ? FROM records WHERE seq = ?"
            db.execute(moved, (why[:1000], number))
            db.execute("DELETE FROM records WHERE seq = ?", (number,))
            db.execute(
                "DELETE FROM rejected WHERE seq NOT IN (SELECT seq FROM rejected ORDER BY seq DESC LIMIT ?)",
                (_REJECTED,),
            )

    def count(self) -> int:
        """How many records wait."""
        if not self.path.exists():
            return 0
        with self._open() as db:
            return int(db.execute("SELECT COUNT(*) FROM records").fetchone()[0])

    # -- who may flush, and when -------------------------------------------------------------

    def claim(self, now: float, *, force: bool = False) -> bool:
        """Ask to be the one process that flushes.

        :param force: also while the database is known to be down.
        :returns: False where there is nothing to flush, another process is at it, or it is too early to
            try the database again.
        """
        if not self.path.exists():
            return False
        with self._open() as db:
            state = dict(db.execute("SELECT name, CAST(value AS REAL) FROM state").fetchall())
            lease, retry_at = state.get("lease_until", 0.0), state.get("retry_at", 0.0)
            if _is_held(db, lease, now):
                return False
            if lease and not force:
                # Who had it was killed or is stuck: that counts as a failure of the database.
                self._failed(db, now, state.get("failures", 0.0))
                _set(db, lease_until=0.0)
                return False
            if not force and now < retry_at <= now + _LONGEST_BACKOFF:
                return False
            _bury(db, now)
            if db.execute("SELECT 1 FROM records LIMIT 1").fetchone() is None:
                return False
            _set(db, lease_until=now + _LEASE)
            me = (socket.gethostname(), os.getpid(), _begun(os.getpid()))
            db.execute("INSERT OR REPLACE INTO holder VALUES (1, ?, ?, ?)", me)
            return True

    def is_busy(self, now: float) -> bool:
        """Whether records wait that another process is about to move."""
        if not self.path.exists():
            return False
        with self._open() as db:
            lease = _value(db, "lease_until")
            waits = db.execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None
            return waits and _is_held(db, lease, now)

    def renew(self, now: float) -> None:
        """Say that the flush gets on."""
        with self._open() as db:
            _set(db, lease_until=now + _LEASE, failures=0.0, retry_at=0.0)

    def release(self) -> None:
        """Say that the flush is over."""
        with self._open() as db:
            _set(db, lease_until=0.0)

    def fail(self, now: float) -> int:
        """Say that the database cannot be reached; how often in a row."""
        with self._open() as db:
            failures = self._failed(db, now, _value(db, "failures"))
            _set(db, lease_until=0.0)
            return failures

    @staticmethod
    def _failed(db: sqlite3.Connection, now: float, failures: float) -> int:
        wait = min(_BACKOFF * 2 ** min(failures, 10), _LONGEST_BACKOFF)
        _set(db, failures=failures + 1, retry_at=now + wait)
        return int(failures) + 1

    # -- what is under way -------------------------------------------------------------------

    def note(self, records: Iterable[OperationRecord], now: float, *, handed_over: bool = False) -> None:
        """Keep what this process does just now.

        :param handed_over: whether it is done, and on its way to a worker, which will log it.
        """
        host, pid, begun = socket.gethostname(), os.getpid(), _begun(os.getpid())
        rows = [(r.record_id, _text(r), host, pid, begun, now, int(handed_over)) for r in records]
        with self._open() as db:
            db.executemany("INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            alive = "UPDATE running SET touched = ? WHERE host = ? AND pid = ? AND handed_over = 0"
            db.execute(alive, (now, host, pid))
            db.execute(
                "DELETE FROM running WHERE handed_over = 1 AND touched < ?",
                (now - _HANDED_OVER,),
            )

    def end(self, records: Sequence[OperationRecord]) -> None:
        """Log at once what was under way in this process: nobody comes after it."""
        with self._open() as db:
            db.executemany("DELETE FROM running WHERE record_id = ?", [(r.record_id,) for r in records])
            db.executemany("INSERT INTO records (body) VALUES (?)", [(_text(record),) for record in records])

    def _check(self) -> None:
        """Make the file, or refuse what another user may have put there.

        :raises OSError: for a link, and for anything but a regular file.
        """
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            self._make()
            mode = self.path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "The spool is not a regular file", str(self.path))

    def _make(self) -> None:
        # Closed before it has its name: to close a file ends the locks that SQLite has on it in this process.
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new")
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        try:
            with suppress(FileExistsError):  # another process was faster
                os.link(new, self.path)
        finally:
            new.unlink()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection, and a transaction that is committed at the end."""
        self._check()
        db = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)
        # What cannot be decoded must not keep others from being read.
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if db.execute("PRAGMA user_version").fetchone()[0] != 1:
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = 1; COMMIT;")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()


def _is_held(db: sqlite3.Connection, lease: float, now: float) -> bool:
    """Whether another process flushes: one that is gone does not, however long it had asked for."""
    # A clock that was set back must not lock everybody out.
    if not now < lease <= now + _LEASE:
        return False
    holder = db.execute("SELECT host, CAST(pid AS INTEGER), begun FROM holder").fetchone()
    return holder is None or holder[0] != socket.gethostname() or _alive(holder[1], holder[2])


def _bury(db: sqlite3.Connection, now: float) -> None:
    """Log what processes had under way that are dead."""
    # SQLite keeps a value of any type in a column of any type.
    columns = "record_id, body, host, CAST(pid AS INTEGER), begun, CAST(touched AS REAL)"
    rows = db.execute(f"SELECT {columns} FROM running").fetchall()  # noqa: S608 - of constants
    alive: dict[tuple[str, int, str], bool] = {}
    buried = []
    for record_id, body, host, pid, begun, touched in rows:
        key = (host, pid, begun)
        if key not in alive:
            here = host == socket.gethostname()
            alive[key] = _alive(pid, begun) if here else now - touched < _SILENT
        if not alive[key]:
            buried.append((record_id, _record(body)))
    done = [(_text(_interrupted(record, now)),) for _, record in buried if record is not None]
    db.executemany("INSERT INTO records (body) VALUES (?)", done)
    db.executemany("DELETE FROM running WHERE record_id = ?", [(record_id,) for record_id, _ in buried])


def _value(db: sqlite3.Connection, name: str) -> float:
    found = db.execute("SELECT CAST(value AS REAL) FROM state WHERE name = ?", (name,)).fetchone()
    return float(found[0]) if found else 0.0


def _set(db: sqlite3.Connection, **values: float) -> None:
    db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(values.items()))


def _text(record: OperationRecord) -> str:
    return json.dumps(record.to_dict())


def _record(body: str) -> OperationRecord | None:
    """Return the record, None for one of another version of this package, or for anything else."""
    try:
        return OperationRecord.from_dict(json.loads(body))
    except (ApiTaskError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _interrupted(record: OperationRecord, now: float) -> OperationRecord:
    if record.status is not OperationStatus.RUNNING:
        return record
    message = record.error_message or "The process was ended in the middle."
    return replace(record, status=OperationStatus.INTERRUPTED, ended_at=now, error_message=message)


def _alive(pid: int, begun: str) -> bool:
    """Whether a process of this host still is the one that has written."""
    return _begun(pid) == begun


def _begun(pid: int) -> str | None:
    """When a process began, None where there is none."""
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError, OverflowError):
        return None
