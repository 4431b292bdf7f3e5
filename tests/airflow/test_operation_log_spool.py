"""A spool file in a place where others write: hostile records, and what is no spool."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.oplog import spool
from tests.airflow.oplog_support import Log, make_record, new_log


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    yield from new_log("sqlite", tmp_path, monkeypatch)


def _bodies() -> list[Any]:
    """Bodies that are no record: of another type, not text, nested too deep, or with hostile fields."""
    good = make_record(9).to_dict()
    fields: list[dict[str, Any]] = [
        {"started_at": "soon"}, {"started_at": 1e300}, {"ended_at": [1]}, {"requests": 10**30},
        {"requests": True}, {"http_status": {"a": 1}}, {"map_index": None}, {"error_message": 7},
        {"record_id": "x" * 1_000_000}, {"record_id": None}, {"subtype": ["invoke"]}, {"status": {}},
        {"version": 2}, {"url": ["a"]},
    ]  # fmt: skip
    hostile = [json.dumps({**good, **changes}) for changes in fields]
    surrogate = json.dumps({**good, "job_id": "\ud800"})
    not_a_time = json.dumps({**good, "started_at": float("nan")})
    return [
        *(b"\xff\xfe\x00", 7, 1.5, "", "{", "[]", "null", "[" * 100_000, '{"version": 1}'),
        *(surrogate, not_a_time),
        *hostile,
    ]


def test_a_hostile_record_neither_stops_the_queue_nor_drops_others(log: Log) -> None:
    log.spool.put([make_record(1)])
    with log.spool._open() as db:
        for body in _bodies():
            db.execute("INSERT INTO records (body) VALUES (?)", (body,))
            # Text that is not UTF-8, which SQLite keeps all the same.
        db.execute("INSERT INTO records (body) VALUES (CAST(X'22FFFE22' AS TEXT))")
    log.spool.put([make_record(2)])
    spool.flush()
    assert sorted(log.ids()) == [make_record(1).record_id, make_record(2).record_id]
    assert log.spool.count() == 0
    with log.spool._open() as db:
        assert db.execute("SELECT COUNT(*) FROM rejected").fetchone() == (len(_bodies()) + 1,)


def test_hostile_rows_beside_the_records_do_not_stop_the_queue(log: Log) -> None:
    log.spool.put([make_record(1)])
    running = "INSERT INTO running VALUES (?, ?, ?, ?, ?, ?, ?)"
    with log.spool._open() as db:
        for number, pid in enumerate(("x", -1, 10**18, 1.5, b"\xff")):
            db.execute(running, (f"r{number}", "{", socket.gethostname(), pid, "never", "soon", 0))
        db.execute(running, ("other", "{", "another-host", 1, "never", b"\xff", 0))
        db.execute("INSERT OR REPLACE INTO holder VALUES (1, ?, ?, ?)", (socket.gethostname(), "x", "never"))
        for name, value in (("lease_until", "soon"), ("retry_at", b"\xff"), ("failures", "many")):
            db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))
    assert spool.flush() == 1
    assert len(log.ids()) == 1


def test_rejected_records_are_bounded(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_apitask.oplog import spool_file

    monkeypatch.setattr(spool_file, "_REJECTED", 3)
    with log.spool._open() as db:
        db.executemany("INSERT INTO records (body) VALUES (?)", [(str(number),) for number in range(9)])
    spool.flush()
    with log.spool._open() as db:
        assert db.execute("SELECT body FROM rejected ORDER BY seq").fetchall() == [("6",), ("7",), ("8",)]


def test_the_file_is_private(log: Log) -> None:
    log.spool.put([make_record(1)])
    with log.spool._open():
        found = {path.name: path.stat().st_mode & 0o777 for path in log.spool.path.parent.glob("*spool.db*")}
    assert set(found.values()) == {0o600}
    assert "spool.db" in found


@pytest.mark.parametrize("kind", ["FIFO", "symbolic link", "directory"])
def test_only_a_regular_file_is_a_spool(log: Log, kind: str) -> None:
    other = log.spool.path.with_name("other")
    other.write_text("mine")
    if kind == "FIFO":
        os.mkfifo(log.spool.path)
    elif kind == "directory":
        log.spool.path.mkdir()
    else:
        log.spool.path.symlink_to(other)
    with pytest.raises(OSError, match="not a regular file"):
        log.spool.put([make_record(1)])
    assert other.read_text() == "mine"


def test_of_two_who_make_it_at_once_both_use_the_same_file(log: Log) -> None:
    log.spool._make()
    log.spool.put([make_record(1)])
    log.spool._make()
    assert log.spool.count() == 1
    assert log.spool.claim(time.time())
    assert sorted(path.name for path in log.spool.path.parent.glob(".*.new")) == []
