"""No secret is ever seen: every path on a real Airflow, then a search of all that it has written."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from demo.airflow_service import ComponentAirflow
from demo.processes import Services
from tests.e2e.canary import (
    Canaries,
    CanaryServer,
    Sampler,
    connections,
    database_texts,
    file_texts,
    search,
    sent,
)
from tests.support import refused_url

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

DAGS = Path(__file__).parent / "canary_dags"
BOOT_TIMEOUT = 150  # seconds
RUN_TIMEOUT = 150
#: Never sent, because the connection cannot be used or a signature stands in for it.
NOT_SENT = (
    *("password (digest)", "key_secret (unreachable)", "headers_secret that is no JSON"),
    *("refresh token (handed out)", "CSRF token"),
    *("oauth1_rsa_private_key", "oauth1_rsa_private_key (broken)"),
)


class Aviary:
    """An Airflow that has run everything, and where to look for the canaries."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.canaries = Canaries()
        self.fernet_key = Fernet.generate_key().decode()
        self.folder = folder
        self.states: dict[str, str] = {}
        self.server = CanaryServer(self.canaries)
        self.operations = folder / "operations.db"
        env = {
            **_operation_log(self.operations),
            "AIRFLOW__CORE__FERNET_KEY": self.fernet_key,
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS / "plugins"),
        }
        self.airflow = ComponentAirflow(services, folder, DAGS, env=env)
        self.sampler = Sampler(folder / "airflow.db", self.fernet_key)

    def run(self) -> None:
        """Run every path."""
        airflow, api = self.airflow, self.airflow.api
        airflow.start(BOOT_TIMEOUT)
        for record in connections(self.server.url, refused_url(), self.canaries):
            api.request("POST", "/connections", json=record)
        token = {"key": "author_token", "value": self.canaries.new("a header of the author", "")}
        api.request("POST", "/variables", json=token)
        api.wait_for_dag("canary", timeout=60)
        api.unpause("canary")
        with self.sampler:
            run_id = self.run_id = api.trigger("canary")
            for snapshot in airflow.follow("canary", run_id, RUN_TIMEOUT):
                self.states |= {change.task_id: change.state for change in snapshot.changes}
            self.rendered = api.request("GET", f"/dags/canary/dagRuns/{run_id}/taskInstances?limit=100")
            self.logs = {name: json.dumps(api.task_log("canary", run_id, name)) for name in self.states}
            time.sleep(1)  # what is still on its way to the logs

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """All that can be seen of the run."""
        database = self.folder / "airflow.db"
        yield from database_texts(database, self.fernet_key)
        for kept in (self.operations, self.folder / "apitask-operations.db"):
            yield from database_texts(kept, self.fernet_key)
        yield from file_texts(self.folder)
        yield from self.sampler.texts
        for name, log in self.logs.items():
            yield f"log of {name} in the UI", log.encode()
        yield "task instances in the UI", json.dumps(self.rendered).encode()


def _operation_log(database: Path) -> dict[str, str]:
    """Settings by which operations are logged to a database, which is made."""
    from airflow_provider_apitask.oplog import migrations

    database.parent.mkdir(parents=True, exist_ok=True)
    env = {"AIRFLOW_CONN_OPLOG": json.dumps({"conn_type": "sqlite", "host": str(database)})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_OPLOG", env["AIRFLOW_CONN_OPLOG"])
        migrations.upgrade("oplog")
    names = {"OPERATION_LOG": "task_log,sql", "OPERATION_LOG_CONN_ID": "oplog"}
    return {**env, **{f"AIRFLOW__APITASK__{name}": value for name, value in names.items()}}


@pytest.fixture(scope="module")
def aviary(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aviary]:
    made = Aviary(tmp_path_factory.mktemp("canary") / "airflow", services)
    with made.server:
        try:
            made.run()
            yield made
        finally:
            made.airflow.stop()


def test_every_path_was_taken(aviary: Aviary) -> None:
    """A search proves something only where the secrets have been under way."""
    expected = {name: "success" if name.startswith("ok_") else "failed" for name in aviary.states}
    assert aviary.states == expected
    assert len(expected) > 50
    # The exceptions that nobody expects did happen, where they were meant to.
    triggerer = (aviary.folder / "triggerer.log").read_text(encoding="utf-8")
    failures = triggerer + "".join(aviary.logs[name] for name in aviary.states if name.startswith("broken_"))
    assert "a defect of the library" in failures
    assert "a defect of the trigger" in failures
    used = {value for request in aviary.server.history for value in sent(request, aviary.canaries)}
    never = {place for place, value in aviary.canaries.by_place.items() if value not in used}
    assert {place.partition(" #")[0] for place in never} <= {*NOT_SENT}
    assert aviary.sampler.triggers >= 15
    with closing(sqlite3.connect(aviary.operations)) as database:
        columns = "task_id, operation_subtype, status"
        found = set(database.execute(f"select distinct {columns} from apitask_operation_log"))
    assert {"invoke", "poll", "result", "login"} <= {subtype for _, subtype, _ in found}
    assert {"success", "failed"} <= {status for _, _, status in found}
    assert len({task for task, _, _ in found}) > 40


def test_no_secret_is_seen(aviary: Aviary) -> None:
    hits, count = search(aviary.canaries, aviary.texts())
    print(f"{len(aviary.canaries.by_place)} canaries, {len(aviary.states)} tasks, {count} texts")
    found = sorted({f"{hit.place} in {hit.where}: …{hit.around}…" for hit in hits})
    assert not found, f"{len(found)} places:\n" + "\n".join(found[:60])


def test_planted_canary_is_found(aviary: Aviary) -> None:
    """The search can fail: a canary in a log, in an XCom and in a trigger is found, and no other."""
    canaries = aviary.canaries.by_place
    with (aviary.folder / "triggerer.log").open("a", encoding="utf-8") as log:
        pair = base64.b64encode(f"ada:{canaries['password (basic)']}".encode()).decode()
        log.write(f"planted: {pair}\n")
    planted = {"key": "planted", "value": {"url": f"/?k={quote(canaries['bearer_token'], safe='')}"}}
    path = f"/dags/canary/dagRuns/{quote(aviary.run_id, safe='')}/taskInstances/ok_sync/xcomEntries"
    aviary.airflow.api.request("POST", path, json=planted)
    arguments = json.dumps({"state": {"status_url": f"/?k={canaries['key_secret (query)']}"}})
    encrypted = Fernet(aviary.fernet_key).encrypt(arguments.encode()).decode()
    with closing(sqlite3.connect(aviary.folder / "airflow.db", timeout=30)) as database, database:
        row = ("planted.Trigger", encrypted, "2026-01-01 00:00:00")
        database.execute("insert into trigger (classpath, kwargs, created_date) values (?, ?, ?)", row)
    hits, _ = search(aviary.canaries, aviary.texts())
    where = {(hit.place, hit.where) for hit in hits if not hit.where.startswith("file airflow.db")}
    assert where == {
        ("password (basic)", "file triggerer.log"),
        ("bearer_token", "table xcom.value"),
        ("bearer_token", "table log.extra"),  # Airflow's audit log has what was posted
        ("key_secret (query)", "trigger arguments, decrypted"),
    }
