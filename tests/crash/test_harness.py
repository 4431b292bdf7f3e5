"""What the crash tests rely on: a harness that sees nothing would find nothing wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
import requests
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from demo.airflow_service import ComponentAirflow
from tests.crash import database as databases
from tests.crash.database import URL_VARIABLE, metadata_database
from tests.crash.processes import busy_tasks, kill, sender
from tests.crash.server import CrashServer, Moment
from tests.crash.stack import CrashStack, TaskRecord
from tests.crash.verdict import Row, judge, markdown
from tests.support import Answer, Recorded, refused_url

NAME = "crash_plain_worker/dropped/0"


@pytest.fixture
def server() -> Iterator[CrashServer]:
    with CrashServer() as server:
        yield server


def submit(server: CrashServer, name: str = NAME, seconds: float = 0, **headers: str) -> str:
    body = {"name": name, "seconds": seconds}
    answer = requests.post(f"{server.url}/jobs", json=body, headers=headers, timeout=5)
    assert answer.status_code == 202
    return str(answer.json()["id"])


# -- the job server ------------------------------------------------------------------------------


def test_server_tells_each_moment_with_the_name_of_the_task(server: CrashServer) -> None:
    seen: list[tuple[Moment, str, int]] = []

    def hook(moment: Moment, name: str, _request: Recorded) -> None:
        seen.append((moment, name, len(server.jobs)))

    server.on_moment = hook
    requests.get(f"{server.url}/token/{NAME}", timeout=5)
    job_id = submit(server)
    requests.get(f"{server.url}/jobs/{job_id}", timeout=5)
    moments = [(Moment.TOKEN, 0), (Moment.ARRIVED, 0), (Moment.PROCESSED, 1), (Moment.POLL, 1)]
    assert seen == [(moment, NAME, jobs) for moment, jobs in moments]


@pytest.mark.parametrize(("moment", "jobs"), [(Moment.ARRIVED, 0), (Moment.PROCESSED, 1)])
def test_server_drops_an_answer_before_or_after_processing(
    server: CrashServer, moment: Moment, jobs: int
) -> None:
    server.on_moment = lambda now, _name, _request: Answer(drop="before") if now is moment else None
    with pytest.raises(requests.ConnectionError):
        submit(server)
    assert len(server.listing()) == jobs


def test_server_lists_jobs_replays_keys_and_counts_cancels(server: CrashServer) -> None:
    job_id = submit(server, seconds=60, **{"Idempotency-Key": "k"})
    assert submit(server, seconds=60, **{"Idempotency-Key": "k"}) == job_id
    job = {"id": job_id, "name": NAME, "key": "k", "status": "running"}
    assert requests.get(f"{server.url}/jobs", timeout=5).json() == {"jobs": [job]}
    for _ in range(2):
        requests.delete(f"{server.url}/jobs/{job_id}", timeout=5)
    assert server.wait_for_cancels(job_id, 2, timeout=5)
    assert not server.wait_for_cancels(job_id, 3, timeout=0.01)
    assert server.state_of(server.jobs[job_id]) == "cancelled"


def test_first_job_of_a_failing_task_fails(server: CrashServer) -> None:
    server.failing.add(NAME)
    states = [server.state_of(server.jobs[submit(server)]) for _ in range(2)]
    assert states == ["failed", "succeeded"]


def test_held_jobs_go_on_until_they_are_released(server: CrashServer) -> None:
    jobs = [server.jobs[submit(server, f"dag/{run_id}/0", seconds=-1)] for run_id in ("one", "two")]
    server.release("two")
    assert [server.state_of(job) for job in jobs] == ["running", "succeeded"]


# -- processes -----------------------------------------------------------------------------------


def test_sender_is_found_by_its_port_and_killed(server: CrashServer) -> None:
    code = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=30)"
    children: list[subprocess.Popen[bytes]] = []
    killed: list[bool] = []

    def hook(_moment: Moment, _name: str, request: Recorded) -> None:
        killed.append(kill(sender(airflow_of(children[0].pid), request.peer)))

    server.on_moment = hook
    command = [sys.executable, "-c", code, f"{server.url}/token/{NAME}"]
    children.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
    assert children[0].wait(timeout=20) == -9
    assert killed == [True]
    assert busy_tasks(airflow_of(children[0].pid)) == []


def airflow_of(pid: int) -> ComponentAirflow:
    scheduler = SimpleNamespace(processes=lambda: [psutil.Process(pid)] if psutil.pid_exists(pid) else [])
    return cast(ComponentAirflow, SimpleNamespace(components={"scheduler": scheduler}))


# -- the count -----------------------------------------------------------------------------------


def row_of(
    server: CrashServer,
    state: str | None,
    *,
    result: str | None = None,
    handle: str | None = None,
    log: str = "",
    name: str = NAME,
    loses_answer: bool = True,
) -> Row:
    """The verdict on one task."""
    dag_id, run_id, index = name.split("/")
    xcoms = {"return_value": {name: {"id": result}}, "api_job": {name: {"job_id": handle}}}
    record = TaskRecord(dag_id, run_id, int(index), state, 2, None)
    fake: Any = SimpleNamespace(
        server=server, xcoms=xcoms.__getitem__, expanded=lambda _ids: [record], log=lambda _task: log
    )
    (row,) = judge(cast(CrashStack, fake), "a fault", [run_id], loses_answer)
    return row


def counts(row: Row) -> tuple[int, ...]:
    return (row.duplicates, row.lost, row.cancelled, row.wrong, row.unknown)


def test_a_job_that_its_task_knows_is_clean(server: CrashServer) -> None:
    row = row_of(server, "success", result=submit(server))
    assert counts(row) == (0, 0, 0, 0, 0)
    assert row.clean
    assert not row.details


def test_a_second_job_is_a_duplicate_and_the_first_is_lost(server: CrashServer) -> None:
    submit(server)
    row = row_of(server, "success", result=submit(server))
    assert counts(row) == (1, 1, 0, 0, 0)
    assert "job-1 succeeded, job-2 succeeded" in row.details[0]


def test_a_job_after_a_failed_one_is_no_duplicate(server: CrashServer) -> None:
    server.failing.add(NAME)
    submit(server)
    assert counts(row_of(server, "success", result=submit(server))) == (0, 0, 0, 0, 0)


def test_a_cancel_that_nobody_wanted_counts(server: CrashServer) -> None:
    job_id = submit(server)
    requests.delete(f"{server.url}/jobs/{job_id}", timeout=5)
    assert counts(row_of(server, "success", result=job_id)) == (0, 0, 1, 0, 0)


@pytest.mark.parametrize("state", ["failed", "deferred", None])
def test_a_task_that_does_not_succeed_with_its_job_is_wrong(server: CrashServer, state: str | None) -> None:
    assert counts(row_of(server, state, handle=submit(server))) == (0, 0, 0, 1, 0)


def test_success_without_a_successful_job_is_wrong(server: CrashServer) -> None:
    assert counts(row_of(server, "success")) == (0, 0, 0, 1, 0)
    running = submit(server, seconds=60)
    assert counts(row_of(server, "success", result=running)) == (0, 0, 0, 1, 0)


def test_unknown_is_wrong_except_where_the_protocol_cannot_know(server: CrashServer) -> None:
    submit(server)
    log = "SubmitUnknownError: it may or may not run"
    assert counts(row_of(server, "failed", log=log)) == (0, 0, 0, 0, 1)
    assert counts(row_of(server, "failed", log=log, loses_answer=False)) == (0, 0, 0, 1, 1)
    keyed = NAME.replace("plain", "key")
    submit(server, keyed)
    assert counts(row_of(server, "failed", log=log, name=keyed)) == (0, 0, 0, 1, 1)


def test_table_adds_up() -> None:
    rows = [Row("a", "key", False, tries=[1, 3], duplicates=1), Row("b", "plain", True, tries=[2], unknown=1)]
    table = markdown(rows).splitlines()
    assert table[2] == "| a | key | 2 | 2.0 / 3 | 1 | 0 | 0 | 0 | 0 |"
    assert table[-1] == "| **all** |  | 3 | 2.0 / 3 | 1 | 0 | 0 | 0 | 1 |"


# -- the database --------------------------------------------------------------------------------


def test_postgresql_database_is_created_and_dropped(tmp_path: Path) -> None:
    with metadata_database(tmp_path) as database:
        if database.note:
            pytest.skip(database.note)
        assert database.rows("select 1") == [(1,)]
        assert make_url(database.url).database != "postgres"
    gone = create_engine(database.url)
    with pytest.raises(OperationalError, match="does not exist"), gone.connect() as connection:
        connection.execute(text("select 1"))


def test_sqlite_is_used_and_says_so_where_nothing_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    nobody = f"postgresql://{refused_url().removeprefix('http://')}/postgres"
    monkeypatch.setattr(databases, "DEFAULT_URL", nobody)
    with metadata_database(tmp_path) as database:
        assert database.url.startswith("sqlite:///")
        assert nobody in database.note
        assert URL_VARIABLE in database.note
        assert database.rows("select 1") == [(1,)]


def test_a_named_postgresql_has_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, f"postgresql://{refused_url().removeprefix('http://')}/postgres")
    with pytest.raises(OperationalError), metadata_database(tmp_path):
        pass
