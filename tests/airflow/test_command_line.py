"""``airflow apitask``, called as a person does: real processes, a real database of Airflow, real HTTP."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import Answer, Recorded, refused_url, self_signed_tls
from tests.support.airflow_commands import AirflowCommands, Command
from tests.support.job_server import JobServer
from tests.support.scripted_server import ScriptedServer

SECRET = "pw-s3cret-1"
DAG = """
from airflow.sdk import DAG, task
from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor

print("a DAG file may print")
with DAG("shop", schedule=None, params={"region": "eu"}):
    job = {"poll_interval": 0.1, "cancel_request": {}, "result_request": "/jobs/{job_id}/result"}
    report = ApiCallOperator(
        task_id="report", api_conn_id="shop", endpoint="/jobs", job=job,
        body={"day": "{{ ds }}", "region": "{{ params.region }}"},
    )
    ApiCallOperator(task_id="left", api_conn_id="shop", endpoint="/jobs", job={"poll_interval": 0.1})
    ApiStatusSensor(task_id="wait", api_conn_id="shop", handle=report.output["api_job"], poke_interval=0.1)
    ApiCallOperator.partial(
        task_id="each", api_conn_id="shop", method="GET", endpoint="/things"
    ).expand(query_params=[{"n": 1}, {"n": 2}])

    @task.api_call(api_conn_id="shop", job=job)
    def made(params=None):
        return {"endpoint": "/jobs", "body": {"made": params["region"]}}

    made()
"""


class Shell:
    """A person at a shell.

    :param env: of each command.
    """

    def __init__(self, env: dict[str, str], commands: AirflowCommands) -> None:
        self.started: list[Command] = []
        self.env = dict(env)
        self._commands = commands

    def connect(self, url: str, conn_id: str = "shop", **extra: Any) -> None:
        record = {"conn_type": "apitask", "host": url, "login": "me", "password": SECRET}
        extra = {"allow_http": True, "health_endpoint": "/health", **extra}
        self.env[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps({**record, "extra": extra})

    def start(self, *args: str, **more: int) -> Command:
        process = self._commands.start(args, self.env, **more)
        self.started.append(process)
        return process

    def run(self, *args: str, code: int = 0) -> str:
        """What a command writes, to both its outputs; the secret is in neither."""
        out, errors = ended(self.start(*args), code)
        return out + errors

    def steps(self, *args: str, code: int = 0) -> list[Any]:
        """The steps of a test run."""
        out, _ = ended(self.start("apitask", "test-run", *args, "--json"), code)
        return [json.loads(line) for line in out.splitlines()]


def ended(process: Command, code: int) -> tuple[str, str]:
    out, errors = process.communicate(timeout=200)
    assert process.returncode == code, out + errors
    assert SECRET not in out + errors
    return out, errors


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a person whose Airflow has a DAG and a database."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags" / "shop.py").write_text(DAG)
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
    }
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    assert "done" in subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    return env


@pytest.fixture(scope="module")
def commands(env: dict[str, str]) -> Iterator[AirflowCommands]:
    with AirflowCommands(env) as made:
        yield made


@pytest.fixture
def jobs() -> Iterator[JobServer]:
    with JobServer(["queued", "running", "succeeded"]) as server:
        server.on("GET", "/things", Answer(json={"items": [1, 2], "api_key": "sk-1234567"}))
        server.on("GET", "/health", Answer(json={"up": True}))
        yield server


def endless() -> JobServer:
    """A server whose jobs run for as long as a test takes."""
    return JobServer(["running", "succeeded"], seconds_per_status=600)


@pytest.fixture
def shell(env: dict[str, str], commands: AirflowCommands, jobs: JobServer) -> Iterator[Shell]:
    made = Shell(env, commands)
    made.connect(jobs.url)
    yield made
    for process in made.started:
        process.kill()  # of a test that has failed
        process.close()


def arrived(server: ScriptedServer, wanted: Callable[[Recorded], bool]) -> Recorded:
    """The first request of a kind, once it is there."""
    until = time.monotonic() + 200
    while time.monotonic() < until:
        if (found := next(filter(wanted, list(server.history)), None)) is not None:
            return found
        time.sleep(0.02)
    raise AssertionError([(request.method, request.target) for request in server.history])


def polled(jobs: JobServer) -> None:
    arrived(jobs, lambda request: request.method == "GET" and request.path.startswith("/jobs/"))


TASK = ("--dag-id", "shop", "--task-id")


def test_the_command_as_a_process_from_the_start(env: dict[str, str]) -> None:
    """All others are forked from a process that has Airflow imported."""
    command = [sys.executable, "-m", "airflow", "apitask", "test-run", *TASK, "nix"]
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout) == (2, "")
    assert "has no task nix" in made.stderr


# -- a task of a DAG ---------------------------------------------------------------------------------


def test_a_task_is_run_with_its_templates(shell: Shell, jobs: JobServer) -> None:
    conf = ("--logical-date", "2026-01-31", "--conf", '{"region": "us"}')
    steps = shell.steps(*TASK, "report", *conf)
    assert steps[-1]["value"] == jobs.result
    assert steps[-2]["outcome"] == "succeeded"
    sent = [(step["purpose"], step["method"]) for step in steps if step["kind"] == "request"]
    assert sent[0] == ("submit", "POST")
    assert sent[-1] == ("result", "GET")
    assert json.loads(jobs.submits[0].body) == {"day": "2026-01-31", "region": "us"}


def test_plain_lines_tell_each_step(shell: Shell, jobs: JobServer) -> None:
    out, errors = ended(shell.start("apitask", "test-run", *TASK, "made"), 0)
    assert f"→ POST {jobs.url}/jobs" in out
    assert "← 202 Accepted" in out
    assert "Job job-1: status 'queued'." in out
    assert json.loads(out.partition("The result:\n")[2]) == jobs.result
    assert "a DAG file may print" not in out
    assert "a DAG file may print" in errors
    assert json.loads(jobs.submits[0].body) == {"made": "eu"}


def test_one_of_a_mapped_task(shell: Shell, jobs: JobServer) -> None:
    assert "--map-index" in shell.run("apitask", "test-run", *TASK, "each", code=2)
    shell.steps(*TASK, "each", "--map-index", "1")
    assert [request.target for request in jobs.history] == ["/things?n=2"]


def test_xcoms_are_those_of_a_run_that_is_named(shell: Shell, jobs: JobServer) -> None:
    said = shell.run("apitask", "test-run", *TASK, "wait", code=2)
    assert "task report" in said
    assert "--run-id" in said
    assert "has no run nix" in shell.run("apitask", "test-run", *TASK, "wait", "--run-id", "nix", code=2)
    assert jobs.history == []


def test_xcoms_of_a_run_are_used(shell: Shell, jobs: JobServer) -> None:
    with closing(sqlite3.connect(Path(shell.env["AIRFLOW_HOME"]) / "airflow.db")) as database, database:
        now = "2026-02-03 00:00:00.000000"
        run = {"id": 7, "dag_id": "shop", "run_id": "r7", "run_type": "manual", "state": "failed"}
        run |= {"logical_date": now, "run_after": now, "updated_at": now, "clear_number": 0}
        run["span_status"] = "not_started"
        have = {row[1] for row in database.execute("PRAGMA table_info(dag_run)")}
        insert(database, "dag_run", {name: value for name, value in run.items() if name in have})
        handle = {"version": 1, "job_id": "job-9", "status_url": f"{jobs.url}/jobs/job-9"}
        xcom = {"dag_run_id": 7, "task_id": "report", "map_index": -1, "key": "api_job", "dag_id": "shop"}
        insert(database, "xcom", {**xcom, "run_id": "r7", "value": json.dumps(handle), "timestamp": now})
    jobs.on("GET", "/jobs/job-9", Answer(json={"status": "succeeded", "rows": 9}))
    steps = shell.steps(*TASK, "wait", "--run-id", "r7")
    assert steps[-1]["value"] == {"status": "succeeded", "rows": 9}


def insert(database: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def test_checks_that_fail_end_it_at_once(shell: Shell, jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(503))
    steps = shell.steps(*TASK, "report", code=1)
    assert steps[-1]["outcome"] == "failed"
    assert "503" in steps[-1]["message"]
    assert sum(step.get("purpose") == "poll" for step in steps if step["kind"] == "request") == 1


def test_a_failed_run_cancels_its_job(shell: Shell, jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(503))
    steps = shell.steps(*TASK, "report", code=1)
    assert jobs.jobs["job-1"].cancelled
    assert steps[-1]["outcome"] == "failed"
    assert "503" in steps[-1]["message"]
    assert "Job job-1 is cancelled: its test run failed." in steps[-1]["message"]


def test_a_failed_run_says_that_its_job_may_run(shell: Shell, jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(503))
    steps = shell.steps(*TASK, "left", code=1)
    assert (
        "Job job-1 may still be running on the server: there is no job.cancel_request" in steps[-1]["message"]
    )


def test_a_job_with_an_unknown_status_is_left_alone(shell: Shell, jobs: JobServer) -> None:
    jobs.on("GET", "/jobs/job-1", Answer(json={"id": "job-1", "status": "published"}))
    steps = shell.steps(*TASK, "report", code=1)
    assert "Job job-1 may still be running on the server. It was not cancelled" in steps[-1]["message"]
    assert not jobs.requests("DELETE")


def test_a_job_that_has_ended_is_not_cancelled(shell: Shell, jobs: JobServer) -> None:
    """A DELETE would remove its result on many servers."""
    jobs.on("GET", "/jobs/job-1/result", Answer(400))
    steps = shell.steps(*TASK, "report", code=1)
    assert steps[-1]["outcome"] == "failed"
    assert "running" not in steps[-1]["message"]
    assert not jobs.requests("DELETE")


# -- a call that is given --------------------------------------------------------------------------


def test_a_call_of_options(shell: Shell, jobs: JobServer) -> None:
    call = ("--conn-id", "shop", "--method", "GET", "--endpoint", "/things")
    options = ("--param", "a=1", "--param", "a=2", "--header", f"X-Api-Key={SECRET}", "--verbose")
    out, _ = ended(shell.start("apitask", "test-run", *call, *options), 0)
    assert "X-Api-Key: ***" in out
    assert "sk-1234567" not in out
    (request,) = jobs.history
    assert request.target == "/things?a=1&a=2"
    assert request.header("X-Api-Key") == SECRET


def test_a_call_of_a_file_and_rules_that_it_breaks(shell: Shell, jobs: JobServer, tmp_path: Path) -> None:
    file = tmp_path / "call.yaml"
    file.write_text("api_conn_id: shop\nmethod: GET\nendpoint: /things\n")
    rules = '{"required_fields": ["nowhere"]}'
    args = ("--file", str(file), "--validation", rules)
    out, errors = ended(shell.start("apitask", "test-run", *args), 1)
    assert "ResponseValidationError" in out
    assert errors == ""  # the log of a task would say it once more
    assert shell.steps(*args, code=1)[-1]["error"] == "ResponseValidationError"
    assert shell.steps("--file", str(file), "--endpoint", "/health")[-1]["value"] == {"up": True}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Say what to run"),
        (("--dag-id", "shop"), "both"),
        ((*TASK, "report", "--endpoint", "/x"), "as it stands"),
        ((*TASK, "nix"), "has no task nix"),
        (("--dag-id", "nix", "--task-id", "t"), "no DAG nix"),
        (("--endpoint", "/x", "--mode", "later"), "mode must be"),
        (("--endpoint", "/x", "--job", "NIX"), "LOCATION"),
        (("--endpoint", "/x", "--body", "{"), "--body is no JSON"),
        (("--endpoint", "/x", "--param", "a"), "NAME=VALUE"),
    ],
)
def test_it_says_what_it_does_not_understand(
    shell: Shell, jobs: JobServer, args: tuple[str, ...], said: str
) -> None:
    out, errors = ended(shell.start("apitask", "test-run", *args), 2)
    assert out == ""
    assert said in errors
    assert "Traceback" not in errors
    assert jobs.history == []


# -- the end from outside ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_job(shell: Shell, number: int) -> None:
    with endless() as jobs:
        shell.connect(jobs.url)
        process = shell.start("apitask", "test-run", *TASK, "report")
        polled(jobs)
        process.send_signal(number)
        out, _ = ended(process, 130)
        assert jobs.jobs["job-1"].cancelled
        assert "DELETE" in out
        assert "answered 200 OK" in out


def test_a_job_is_cancelled_when_nobody_reads_any_more(shell: Shell) -> None:
    with endless() as jobs:
        shell.connect(jobs.url)
        process = shell.start("apitask", "test-run", *TASK, "report", stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(200) == 130
        # Told so at its next line, which may have been that of the submit.
        assert all(job.cancelled for job in jobs.jobs.values())


def test_a_signal_before_the_server_has_taken_anything(shell: Shell, jobs: JobServer) -> None:
    jobs.on("POST", "/busy", Answer(429, headers={"Retry-After": "60"}))
    file = Path(shell.env["AIRFLOW_HOME"]) / "busy.json"
    file.write_text('{"api_conn_id": "shop", "endpoint": "/busy", "mode": "async", "retry_count": 3}')
    process = shell.start("apitask", "test-run", "--file", str(file))
    arrived(jobs, lambda request: request.path == "/busy")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, _ = ended(process, 130)
    assert "The server has taken nothing." in out


def test_a_signal_while_the_submit_is_under_way_cancels_its_job(shell: Shell) -> None:
    with endless() as jobs:
        shell.connect(jobs.url)

        def slowly(request: Recorded) -> Answer:
            time.sleep(2)
            return Answer(202, json={"id": "late"}, headers={"Location": "/jobs/late"})

        jobs.on("POST", "/jobs", slowly)
        jobs.on("DELETE", "/jobs/late", Answer(204))
        process = shell.start("apitask", "test-run", *TASK, "report", stdout=subprocess.PIPE)
        assert process.stdout is not None
        seen = ""
        while "→ POST" not in seen:
            seen += process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        ended(process, 130)
        arrived(jobs, lambda request: (request.method, request.path) == ("DELETE", "/jobs/late"))


def test_a_job_that_cannot_be_cancelled_is_told_of(shell: Shell) -> None:
    with endless() as jobs:
        shell.connect(jobs.url)
        process = shell.start("apitask", "test-run", *TASK, "left")
        polled(jobs)
        process.send_signal(signal.SIGINT)
        out, _ = ended(process, 130)
        assert "goes on on the server" in out


def test_a_new_run_of_the_same_call_ends_the_old_one(shell: Shell) -> None:
    with endless() as jobs:
        shell.connect(jobs.url)
        old = shell.start("apitask", "test-run", *TASK, "report")
        polled(jobs)
        new = shell.start("apitask", "test-run", *TASK, "report")
        out, _ = ended(old, 1)
        assert f"a new test run of the same call (process {new.pid}) ended it" in out
        assert jobs.jobs["job-1"].cancelled
        arrived(jobs, lambda request: request.path == "/jobs/job-2")
        new.send_signal(signal.SIGINT)
        ended(new, 130)


def test_one_that_was_killed_is_in_nobodys_way(shell: Shell) -> None:
    with endless() as jobs:
        shell.connect(jobs.url)
        old = shell.start("apitask", "test-run", *TASK, "report")
        polled(jobs)
        old.kill()
        ended(old, -signal.SIGKILL)
    with JobServer(["succeeded"]) as jobs:
        shell.connect(jobs.url)
        assert "still running" not in shell.run("apitask", "test-run", *TASK, "report")


def test_a_signal_after_the_end_changes_nothing(shell: Shell, jobs: JobServer) -> None:
    process = shell.start("apitask", "test-run", *TASK, "report", "--json", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["kind"] != "result":
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(200) == 0


def test_a_terminal_has_colours_and_a_clock(shell: Shell, jobs: JobServer) -> None:
    ours, theirs = pty.openpty()
    shell.env["TERM"] = "xterm"
    process = shell.start("apitask", "test-run", *TASK, "report", stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    seen = b""
    until = time.monotonic() + 200
    with suppress(OSError):  # Linux says so when the other side is closed
        while time.monotonic() < until and (select.select([ours], [], [], 1)[0] or process.poll() is None):
            seen += os.read(ours, 65536) if select.select([ours], [], [], 0)[0] else b""
    os.close(ours)
    assert process.wait(200) == 0
    assert b"\x1b[" in seen
    assert "→ POST".encode() in seen
    assert b"job job-1, status" in seen


# -- check -------------------------------------------------------------------------------------------------


def check(shell: Shell, conn_id: str = "shop", code: int = 0) -> dict[str, Any]:
    out, _ = ended(shell.start("apitask", "check", conn_id, "--json"), code)
    return {step["step"]: step for step in map(json.loads, out.splitlines())}


def test_check_goes_step_by_step(shell: Shell, jobs: JobServer) -> None:
    steps = check(shell)
    assert list(steps) == ["connection", "resolve", "reach", "authenticated", "status", "result"]
    assert all(step["ok"] for step in steps.values())
    assert steps["status"]["seconds"] > 0
    assert [request.target for request in jobs.history] == ["/health"]
    assert "Result        ok" in shell.run("apitask", "check", "shop")


def test_check_reads_connections_of_the_database(shell: Shell, jobs: JobServer) -> None:
    extra = json.dumps({"allow_http": True, "health_endpoint": "/health"})
    added = ("--conn-type", "apitask", "--conn-host", jobs.url, "--conn-extra", extra)
    shell.run("connections", "add", "stored", *added)
    assert check(shell, "stored")["result"]["ok"]


def test_check_stops_at_the_step_that_fails(shell: Shell, jobs: JobServer) -> None:
    shell.connect(refused_url(), "refused")
    steps = check(shell, "refused", 1)
    assert list(steps) == ["connection", "resolve", "reach", "result"]
    assert not steps["reach"]["ok"]
    jobs.on("GET", "/health", Answer(401))
    assert not check(shell, code=1)["authenticated"]["ok"]
    assert "There is no connection nix" in check(shell, "nix", 1)["connection"]["message"]


def test_check_tells_of_tls(shell: Shell, tmp_path: Path) -> None:
    tls = self_signed_tls(tmp_path)
    with ScriptedServer(ssl_context=tls.context) as server:
        server.on("GET", "/health", Answer())
        shell.connect(server.url, "unknown")
        assert not check(shell, "unknown", 1)["tls"]["ok"]
        shell.connect(server.url, "known", ca_bundle=tls.ca_file)
        assert "valid until" in check(shell, "known")["tls"]["message"]


# -- the operation log ---------------------------------------------------------------------------------


def test_the_log_tells_what_was_called(shell: Shell, jobs: JobServer, tmp_path: Path) -> None:
    shell.env["AIRFLOW_CONN_OPLOG"] = f"sqlite:///{tmp_path / 'log.db'}"
    shell.env["AIRFLOW__APITASK__OPERATION_LOG_CONN_ID"] = "oplog"
    shell.env["AIRFLOW__APITASK__OPERATION_LOG_SPOOL"] = str(tmp_path / "spool.db")
    shell.env["AIRFLOW__APITASK__OPERATION_LOG"] = "sql"
    for command in ("history", "db check"):
        assert "db migrate" in shell.run("apitask", *command.split(), code=1)
    shell.run("apitask", "test-run", *TASK, "report")  # while there is no table
    shell.run("apitask", "db", "migrate")
    assert "up to date" in shell.run("apitask", "db", "check")
    assert "records moved" in shell.run("apitask", "log", "flush")

    def told(*filters: str) -> list[Any]:
        out, _ = ended(shell.start("apitask", "history", *filters, "--json"), 0)
        return [json.loads(line)["subtype"] for line in out.splitlines()]

    assert told() == ["result", "poll", "invoke"]
    assert told("--type", "poll", "--job-id", "job-1", "--since", "1h") == ["poll"]
    assert told("--dag-id", "nix") == []
    assert told("--until", "2026-01-01") == []
    assert told("--limit", "1") == ["result"]
    table = shell.run("apitask", "history", "--type", "invoke").splitlines()
    assert "shop.report" in table[1]
    assert f"POST {jobs.url}/jobs" in table[1]
    assert "must be one of" in shell.run("apitask", "history", "--type", "nix", code=2)
    assert "--since must be" in shell.run("apitask", "history", "--since", "nix", code=2)


def test_a_log_without_a_database_is_told_of(shell: Shell) -> None:
    assert "operation_log_conn_id" in shell.run("apitask", "history", code=1)
    assert "There is no connection nix" in shell.run("apitask", "history", "--conn-id", "nix", code=1)
