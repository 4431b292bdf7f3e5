"""A real Airflow with the example DAGs, the stand-ins, and a real pygeoapi."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from demo.airflow_api import ApiError
from demo.airflow_service import ComponentAirflow
from demo.processes import Services, free_port, wait_until
from demo.pygeoapi_service import PygeoapiService
from tests.crash.database import metadata_database
from tests.support.real.tls import Certificates
from tests.systems.servers import informatica, invision, panoply, qarion, sap

__all__ = ["WORK_SECONDS", "Stack", "airflow_connection", "systems_stack"]

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
DAGS = Path(__file__).parent / "dags"
BOOT_TIMEOUT = 150  # seconds
RUN_TIMEOUT = 400  # seconds; a busy machine takes its time
#: How long a job works: longer than a worker polls before it defers.
WORK_SECONDS = 12
#: Seconds that a token of Airflow's REST API is good for: less than the runs that are waited for take.
JWT_SECONDS = 5
ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})


@dataclass
class Stack:
    """The servers, and questions to Airflow."""

    airflow: ComponentAirflow
    pygeoapi: PygeoapiService
    sap: sap.SapServer
    informatica: informatica.InformaticaServer
    qarion: qarion.QarionServer
    invision: invision.InvisionServer
    panoply: panoply.PanoplyServer
    #: Why Airflow's database is not PostgreSQL; empty where it is.
    note: str = ""
    known: set[str] = field(default_factory=set)

    def trigger(self, dag_id: str, conf: Mapping[str, Any], run_id: str) -> str:
        """Start a run of a DAG and return its id."""
        self.know(dag_id)
        _written(lambda: self.airflow.api.trigger(dag_id, conf, run_id))
        return run_id

    def know(self, dag_id: str) -> None:
        """Wait until Airflow knows the DAG, and let it run."""
        if dag_id not in self.known:
            self.airflow.api.wait_for_dag(dag_id, timeout=60)
            _written(lambda: self.airflow.api.unpause(dag_id))
            self.known.add(dag_id)

    def fail_task(self, dag_id: str, run_id: str, task_id: str, said: str, state: str = "deferred") -> None:
        """Mark a task as failed, as somebody does in the UI, once it waits in ``state``.

        :param said: what its log says then.
        """
        self.airflow.wait_for_task(dag_id, run_id, task_id, state, RUN_TIMEOUT)
        wait_until(
            lambda: said in self.log(dag_id, run_id, task_id), RUN_TIMEOUT, f"nothing waits for {dag_id}"
        )
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        _written(lambda: self.airflow.api.request("PATCH", path, json={"new_state": "failed"}))

    def wait(self, dag_id: str, run_id: str) -> str:
        """Wait for the end of a run: success or failed."""
        return self.airflow.wait(dag_id, run_id, RUN_TIMEOUT)

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The log of a task's first try as text, a line of JSON for each message."""
        lines = self.airflow.api.task_log(dag_id, run_id, task_id)
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


def _written(write: Callable[[], Any]) -> None:
    """Make a change in Airflow, again where another one came between: its SQLite answers with 500 then."""
    for tries_left in reversed(range(10)):
        try:
            write()
        except ApiError as error:
            # What was written after all is there.
            if error.status == 409:
                return
            if error.status != 500 or not tries_left:
                raise
            time.sleep(1)
        else:
            return


@contextmanager
def systems_stack(folder: Path, certificates: Certificates) -> Iterator[Stack]:
    """Start everything, and stop it."""
    with ExitStack() as stack:
        # Many runs at a time: SQLite answers some of them with "database is locked".
        database = stack.enter_context(metadata_database(folder))
        services = stack.enter_context(Services())
        of_sap = stack.enter_context(sap.SapServer(csrf="separate", ssl_context=certificates.good))
        of_informatica = stack.enter_context(informatica.InformaticaServer(seconds=WORK_SECONDS))
        of_qarion = stack.enter_context(qarion.QarionServer())
        of_invision = stack.enter_context(invision.InvisionServer(seconds=WORK_SECONDS))
        of_panoply = stack.enter_context(panoply.PanoplyServer(seconds=WORK_SECONDS))
        pygeoapi = PygeoapiService(services, folder / "pygeoapi")
        port = free_port()
        env = {
            "AIRFLOW__APITASK__CALLBACK_BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__APITASK__CALLBACK_SECRET": "signs the addresses at which services call back",
            "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": str(JWT_SECONDS),
            "AIRFLOW__API_AUTH__JWT_LEEWAY": "0",
            "AIRFLOW__CORE__PARALLELISM": "6",
            **database.env,
            **pygeoapi.connection,
            **_connection("sap", of_sap.url, sap.LOGIN, sap.PASSWORD, ca_bundle=certificates.ca_file),
            **_connection(
                "informatica",
                of_informatica.api_url,
                informatica.LOGIN,
                informatica.PASSWORD,
                allow_http=True,
                session_endpoint=f"{of_informatica.url}/ma/api/v2/user/login",
                **INFORMATICA_LOGIN,
            ),
            **_connection("qarion", of_qarion.url, qarion.LOGIN, qarion.PASSWORD, allow_http=True),
            **_connection("qarion_oauth", of_qarion.url, allow_http=True, **QARION_OAUTH),
            **_connection("invision", of_invision.base_url, allow_http=True, **INVISION_KEY),
            **_connection(
                "panoply", of_panoply.url, allow_http=True, auth_type="bearer", bearer_token=panoply.TOKEN
            ),
        }
        dags = folder / "dags"
        for source in (EXAMPLES, DAGS):
            shutil.copytree(source, dags, dirs_exist_ok=True)
        home = folder / "airflow"
        airflow = ComponentAirflow(services, home, dags, port=port, env=env, database_url=database.url)
        pygeoapi.launch()
        airflow.launch()
        stack.callback(pygeoapi.stop)
        stack.callback(airflow.stop)
        pygeoapi.wait_ready(BOOT_TIMEOUT)
        airflow.wait_ready(BOOT_TIMEOUT)
        _connect_to_itself(airflow)
        servers = (of_sap, of_informatica, of_qarion, of_invision, of_panoply)
        yield Stack(airflow, pygeoapi, *servers, note=database.note)


#: What the how-to page says of the connection.
INFORMATICA_LOGIN = {
    "auth_type": "session",
    "session_body": {"@type": "login", "username": "{login}", "password": "{password}"},
    "session_path": "$.icSessionId",
    "session_header": "icSessionId",
    "session_template": "{token}",
    "session_base_url_path": "$.serverUrl",
}
QARION_OAUTH = {
    "auth_type": "oauth2",
    "oauth2_endpoint": "/oauth/token",
    "oauth2_client_id": qarion.CLIENT_ID,
    "oauth2_client_secret": qarion.CLIENT_SECRET,
}
INVISION_KEY = {
    "auth_type": "api_key",
    "key_in": "query",
    "key_name": "api_key",
    "key_secret": invision.API_KEY,
}


def _connection(
    conn_id: str, host: str, login: str | None = None, password: str | None = None, **extra: Any
) -> dict[str, str]:
    given = {"conn_type": "apitask", "host": host, "login": login, "password": password, "extra": extra}
    return {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(given)}


def _connect_to_itself(airflow: ComponentAirflow) -> None:
    """Its password is known only now; and a connection is made in its database for once."""
    given = airflow_connection(airflow)
    connection = {**given, "extra": json.dumps(given["extra"]), "conn_type": "apitask"}
    airflow.api.request("POST", "/connections", json={"connection_id": "airflow_api", **connection})


def airflow_connection(airflow: ComponentAirflow) -> dict[str, Any]:
    """The fields of a connection to the REST API of an Airflow."""
    extra = {
        "auth_type": "session",
        "session_endpoint": f"{airflow.url}/auth/token",
        "session_path": "$.access_token",
        "allow_http": True,
    }
    host = f"{airflow.url}/api/v2"
    return {"host": host, "login": airflow.user, "password": airflow.password, "extra": extra}
