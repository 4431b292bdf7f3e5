"""The connection form in a real browser on a real Airflow, against a real OAuth2 server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.sdk import Connection

from airflow_provider_apitask.core.auth import NoAuth, OAuth2Auth
from airflow_provider_apitask.get_provider_info import get_provider_info
from airflow_provider_apitask.hooks.connection import CONN_TYPE, KNOWN_FIELDS, read_connection
from demo.airflow_service import Airflow
from demo.processes import LOOPBACK, Services
from tests.e2e.browser import ConnectionForm, ConnectionsPage, chromium
from tests.support.real.oauth2_server import BASIC, OAuth2Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BOOT_TIMEOUT = 150  # seconds
COMMAND_TIMEOUT = 90
# A folder for pictures of the form, such as docs/images; none are taken without it.
PICTURES = os.environ.get("APITASK_TEST_PICTURES")

FIELDS: dict[str, dict[str, Any]] = get_provider_info()["connection-types"][0]["conn-fields"]
SECRETS = {name for name, field in FIELDS.items() if field["schema"].get("format") == "password"}
# "proxy" is one of the words that Airflow masks by. No harm: it holds no more than a host and a port.
MASKED_BESIDES = {"proxy", "proxy_login"}


class ApiServer(Airflow):
    """An Airflow of database and API server; the form needs no more."""

    def _launch(self) -> None:
        migration = self._start_child("db migrate", "db", "migrate")
        assert migration.wait(BOOT_TIMEOUT) == 0, migration.tail()
        self._services.stop(migration)
        self.components["api-server"] = self._start_child("api-server", "api-server")

    def wait_ready(self, timeout: float = 120) -> None:
        """Wait until the server answers."""

        def ready() -> bool:
            try:
                return requests.get(f"{self.url}/api/v2/version", timeout=5).ok
            except requests.ConnectionError:
                return False

        self.components["api-server"].wait_ready(ready, timeout)

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run an ``airflow`` command; its exit code and what it wrote."""
        child = self._start_child(" ".join(arguments[:3]), *arguments)
        code = child.wait(COMMAND_TIMEOUT)
        self._services.stop(child)
        return code, child.log.read_text(encoding="utf-8")

    def stored(self, conn_id: str) -> dict[str, Any]:
        """A connection as it is stored, secrets included, its Extra read."""
        file = self._folder / "connections.json"
        code, output = self.command("connections", "export", "--file-format", "json", str(file))
        assert code == 0, output
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))[conn_id]
        file.unlink()
        return {**found, "extra": json.loads(found["extra"] or "{}")}

    def shown(self, conn_id: str) -> dict[str, Any]:
        """A connection as the REST API shows it."""
        answer: dict[str, Any] = self.api.request("GET", f"/connections/{conn_id}")
        return answer


@pytest.fixture(scope="module")
def airflow(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("form")
    (folder / "dags").mkdir()
    env = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    airflow = ApiServer(services, folder / "airflow", folder / "dags", env=env)
    airflow.start(BOOT_TIMEOUT)
    yield airflow
    airflow.stop()


@pytest.fixture(scope="module")
def oauth2() -> Iterator[OAuth2Server]:
    with OAuth2Server() as server:
        yield server


@pytest.fixture(scope="module")
def logged_in(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ConnectionsPage]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        airflow: ApiServer = request.getfixturevalue("airflow")  # not started for nothing
        page = ConnectionsPage(driver, airflow.url)
        page.log_in(airflow.user, airflow.password)
        yield page


@pytest.fixture
def page(logged_in: ConnectionsPage) -> ConnectionsPage:
    logged_in.open()
    return logged_in


def picture(form: ConnectionForm, name: str, height: int) -> None:
    if PICTURES:
        form.picture(Path(PICTURES) / name, height)


def sections() -> list[str]:
    return list(dict.fromkeys(field["schema"]["section"] for field in FIELDS.values()))


def expected_widget(schema: dict[str, Any]) -> str:
    kind = schema["type"][0]
    if "enum" in schema:
        return "dropdown"
    if schema.get("format") == "password":
        return "password"
    return {"boolean": "switch", "object": "json", "array": "lines", "number": "number"}.get(kind, "text")


def as_connection(conn_id: str, stored: dict[str, Any]) -> Connection:
    names = ("conn_type", "host", "login", "password", "schema", "port")
    given = {name: stored[name] or None for name in names}
    return Connection(conn_id=conn_id, **given, extra=json.dumps(stored["extra"]))


def fill_oauth2(form: ConnectionForm, conn_id: str, server: OAuth2Server, secret: str) -> None:
    form.fill("connection_id", conn_id)
    form.fill("host", f"http://{LOOPBACK}")
    # Airflow 3.3 sends port 0 where none is stored, and then refuses to test with the stored secret.
    form.fill("port", str(server.port))
    form.open_section("Authentication")
    form.choose("auth_type", "OAuth 2.0")
    form.open_section("Headers and test")
    form.fill("element_health_endpoint", "me")
    form.open_section("Where requests may go")
    form.switch("allow_http")
    form.open_section("OAuth 2.0")
    form.fill("element_oauth2_endpoint", "token")
    form.fill("element_oauth2_client_id", BASIC.client_id)
    form.fill("element_oauth2_client_secret", secret)


def test_form_has_a_section_for_each_topic(page: ConnectionsPage) -> None:
    form = page.add("API Task")

    assert form.sections() == ["Standard Fields", *sections(), "Extra Fields JSON"]
    assert form.labels() == ["Description", "Base URL", "Login", "Password", "Port"]
    picture(form, "connection-form.png", height=1400)
    assert {name: form.widget(name) for name in FIELDS} == {
        name: expected_widget(field["schema"]) for name, field in FIELDS.items()
    }
    for section in sections():
        form.open_section(section)
        labels = [field["label"] for field in FIELDS.values() if field["schema"]["section"] == section]
        assert form.labels() == labels


def test_form_with_nothing_but_a_base_url_can_be_saved_and_read(
    page: ConnectionsPage, airflow: ApiServer
) -> None:
    form = page.add("API Task")
    form.fill("connection_id", "plain")
    form.fill("host", "https://api.example.com/v1")
    form.save()

    stored = airflow.stored("plain")
    assert stored["extra"].keys() <= KNOWN_FIELDS
    read = read_connection(as_connection("plain", stored))
    assert read.api.base_url == "https://api.example.com/v1"
    assert isinstance(read.api.auth, NoAuth)
    assert (read.options.verify, read.api.allow_http, read.api.timeout) == (True, False, (10.0, 30.0))

    form = page.edit("plain")
    form.fill("description", "changed")
    form.save()
    again = read_connection(as_connection("plain", airflow.stored("plain")))
    assert (again.api.base_url, again.options) == (read.api.base_url, read.options)


def test_oauth2_is_filled_in_saved_tested_and_saved_again(
    page: ConnectionsPage, airflow: ApiServer, oauth2: OAuth2Server
) -> None:
    form = page.add("API Task")
    fill_oauth2(form, "works", oauth2, BASIC.client_secret)
    picture(form, "connection-form-oauth2.png", height=960)
    form.save()

    title, report = page.test("works")
    assert title == "Test Connection Successful", report
    assert f"Reached: {LOOPBACK}:{oauth2.port}." in report
    assert "Authenticated: the credentials were accepted." in report

    stored = airflow.stored("works")
    assert stored["extra"]["oauth2_client_secret"] == BASIC.client_secret
    auth = read_connection(as_connection("works", stored)).api.auth
    assert isinstance(auth, OAuth2Auth)
    assert auth._settings.token_url == oauth2.token_url
    assert BASIC.client_secret in auth.secrets
    # Defaults are stored, and what was left empty as null.
    filled = {name: value for name, value in stored["extra"].items() if value is not None}
    assert filled == {
        **{name: f["schema"]["default"] for name, f in FIELDS.items() if "default" in f["schema"]},
        "auth_type": "oauth2",
        "allow_http": True,
        "health_endpoint": "me",
        "oauth2_endpoint": "token",
        "oauth2_client_id": BASIC.client_id,
        "oauth2_client_secret": BASIC.client_secret,
    }

    form = page.edit("works")
    assert BASIC.client_secret not in form.everything()
    assert BASIC.client_secret not in json.dumps(airflow.shown("works"))
    form.open_section("Headers and test")
    form.fill("element_health_endpoint", "me?again=1")
    form.save()
    again = airflow.stored("works")
    assert again["extra"] == {**stored["extra"], "health_endpoint": "me?again=1"}
    assert {**again, "extra": None} == {**stored, "extra": None}


def test_saved_with_no_change_at_all(page: ConnectionsPage, airflow: ApiServer) -> None:
    """Opened and saved again, a connection is what it was, its secrets too."""
    form = page.add("API Task")
    form.fill("connection_id", "same")
    form.fill("host", "https://api.example.com/v1")
    form.fill("login", "ada")
    form.fill("password", "canary-of-a-password")
    form.open_section("Authentication")
    form.choose("auth_type", "OAuth 2.0")
    form.open_section("OAuth 2.0")
    form.fill("element_oauth2_endpoint", "token")
    form.fill("element_oauth2_client_id", "airflow")
    form.fill("element_oauth2_client_secret", "canary-of-a-client")
    form.save()
    stored = airflow.stored("same")
    assert stored["extra"]["oauth2_client_secret"] == "canary-of-a-client"
    assert stored["password"] == "canary-of-a-password"

    form = page.edit("same")
    form.save()
    assert airflow.stored("same") == stored


def test_wrong_secret_is_reported_and_not_shown(page: ConnectionsPage, oauth2: OAuth2Server) -> None:
    secret = "canary-of-a-wrong-secret"
    form = page.add("API Task")
    fill_oauth2(form, "refused", oauth2, secret)
    form.save()

    title, report = page.test("refused")
    assert title == "Test Connection Failed"
    assert "invalid_client" in report
    assert "The client cannot authenticate" in report  # the server's error_description
    assert secret not in form.everything()


def test_command_line_tests_a_connection_too(airflow: ApiServer, oauth2: OAuth2Server) -> None:
    for conn_id, secret in (("cli_works", BASIC.client_secret), ("cli_refused", "canary-of-the-command")):
        extra = {
            "auth_type": "oauth2",
            "oauth2_endpoint": "token",
            "oauth2_client_id": BASIC.client_id,
            "oauth2_client_secret": secret,
            "allow_http": True,
            "health_endpoint": "me",
        }
        keep(airflow, conn_id, host=oauth2.url, extra=extra)

    code, output = airflow.command("connections", "test", "cli_works")
    assert code == 0, output
    assert "Connection success!" in output  # Airflow leaves the report out where all is well.
    code, output = airflow.command("connections", "test", "cli_refused")
    assert code == 1, output
    assert "invalid_client" in output
    assert "The client cannot authenticate" in " ".join(output.split())
    assert "canary-of-the-command" not in output


def test_documentation_has_every_field_and_recipes_that_work(repository: Path) -> None:
    text = (repository / "docs" / "connections.md").read_text(encoding="utf-8")
    assert {name for name in KNOWN_FIELDS | FIELDS.keys() if f"`{name}`" not in text} == set()
    recipes = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    kinds = {recipe["auth_type"] for recipe in recipes}
    assert kinds == set(FIELDS["auth_type"]["schema"]["enum"]) - {"basic"}  # in the words above one of them
    for recipe in recipes:
        if recipe["auth_type"] == "requests":
            continue  # names a package that is not installed here
        given: dict[str, Any] = {
            "conn_type": CONN_TYPE,
            "host": "https://api.example.com",
            "extra": json.dumps(recipe),
        }
        if recipe["auth_type"] in ("digest", "session"):
            given |= {"login": "me", "password": "secret"}
        read_connection(Connection(conn_id="recipe", **given))


def test_secrets_are_masked_and_nothing_else(airflow: ApiServer) -> None:
    extra = {name: f"canary-{name}" for name in FIELDS}
    keep(airflow, "masked", host="https://api.example.com", extra=extra)

    shown = json.loads(airflow.shown("masked")["extra"])
    assert {name for name, value in shown.items() if value == "***"} == SECRETS | MASKED_BESIDES
    assert {name for name, value in shown.items() if value == f"canary-{name}"} == (
        FIELDS.keys() - SECRETS - MASKED_BESIDES
    )


def keep(airflow: ApiServer, conn_id: str, *, host: str, extra: dict[str, Any]) -> None:
    body = {"connection_id": conn_id, "conn_type": CONN_TYPE, "host": host, "extra": json.dumps(extra)}
    airflow.api.request("POST", "/connections", json=body)
