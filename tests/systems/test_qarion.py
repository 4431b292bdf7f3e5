"""A Qarion API call task as a task of Airflow: each property of its page, and its five examples."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_apitask import exceptions
from airflow_provider_apitask.hooks.connection import DEFAULT_TIMEOUT
from tests.airflow.helpers import Comms, Connect, TaskInstance, call
from tests.airflow.oplog_support import Log, new_log
from tests.support import Answer, refused_url
from tests.systems.servers.qarion import (
    API_KEY,
    BEARER,
    CLIENT_ID,
    CLIENT_SECRET,
    LOGIN,
    PASSWORD,
    QarionServer,
)
from tests.systems.shell import Shell
from tests.systems.ways import carry_out, kill

#: What stands in the credential store there, as fields of a connection.
CREDENTIALS: dict[str, dict[str, Any]] = {
    "basic": {"login": LOGIN, "password": PASSWORD},
    "oauth2": {
        "extra": {
            "auth_type": "oauth2",
            "oauth2_endpoint": "/oauth/token",
            "oauth2_client_id": CLIENT_ID,
            "oauth2_client_secret": CLIENT_SECRET,
        }
    },
    "api_key": {"extra": {"auth_type": "api_key", "key_name": "X-API-Key", "key_secret": API_KEY}},
    "bearer": {"extra": {"auth_type": "bearer", "bearer_token": BEARER}},
}
WRONG: dict[str, dict[str, Any]] = {
    "basic": {"login": LOGIN, "password": "not-the-one"},
    "oauth2": {"extra": {**CREDENTIALS["oauth2"]["extra"], "oauth2_client_secret": "not-the-one"}},
    "api_key": {"extra": {**CREDENTIALS["api_key"]["extra"], "key_secret": "not-the-one"}},
    "bearer": {"extra": {"auth_type": "bearer", "bearer_token": "not-the-one"}},
}
EACH_KIND = pytest.mark.parametrize("kind", list(CREDENTIALS))


@pytest.fixture
def qarion(comms: Comms, connect: Connect) -> Iterator[QarionServer]:
    """The API, and the connection ``api`` to it, without a credential."""
    with QarionServer() as server:
        connect(server.url)
        yield server


def get(endpoint: str = "/data", **given: Any) -> Any:
    return call(**{"method": "GET", "endpoint": endpoint, **given})


def post(endpoint: str = "/records", **given: Any) -> Any:
    return call(**{"endpoint": endpoint, "body": {"name": "Test Record", "status": "active"}, **given})


def leave(task_id: str, value: Any) -> None:
    """Let an earlier task of the run return a value."""
    TaskInstance(task_id).xcom_push("return_value", value)


# -- url and operation ---------------------------------------------------------------------------


@pytest.mark.feature("qarion", "start", "success")
@pytest.mark.parametrize(
    ("method", "endpoint", "answer"),
    [
        ("GET", "/users/7", {"user_id": 7, "status": "active", "told": {}}),
        ("POST", "/records", {"id": 1, "name": "A"}),
        ("PUT", "/records/1", {"id": 1, "name": "A"}),
        ("PATCH", "/records/1", {"id": 1, "name": "A"}),
        ("DELETE", "/records/1", None),
    ],
)
def test_operation(qarion: QarionServer, method: str, endpoint: str, answer: Any) -> None:
    body = None if method in ("GET", "DELETE") else {"name": "A"}
    assert carry_out(call(method=method, endpoint=endpoint, body=body)) == answer
    assert [(r.method, r.path) for r in qarion.history] == [(method, endpoint)]


@pytest.mark.feature("qarion", "start")
def test_url_may_stand_in_the_task_whole(qarion: QarionServer) -> None:
    assert carry_out(get(f"{qarion.url}/data"))["status"] == "success"


@pytest.mark.feature("qarion", "start")
def test_url_of_another_host_is_refused(qarion: QarionServer) -> None:
    """The credential of a connection is for its own host."""
    with pytest.raises(exceptions.OriginError, match=r"elsewhere\.example"):
        carry_out(get("https://elsewhere.example/data"))


# -- auth_type and credential_id -----------------------------------------------------------------


@pytest.mark.feature("qarion", "credential")
@EACH_KIND
def test_credential(qarion: QarionServer, connect: Connect, kind: str) -> None:
    connect(qarion.url, **CREDENTIALS[kind])
    assert carry_out(get("/protected")) == {"admitted": kind}
    assert qarion.admitted == [kind]


@pytest.mark.feature("qarion", "credential")
def test_no_credential(qarion: QarionServer) -> None:
    assert carry_out(get())["status"] == "success"
    (request,) = qarion.history
    assert request.header("Authorization") is None
    assert request.header("X-API-Key") is None


@pytest.mark.feature("qarion", "credential", "error answer")
@EACH_KIND
def test_wrong_credential_is_told_and_not_shown(
    qarion: QarionServer, connect: Connect, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(qarion.url, **WRONG[kind])
    with pytest.raises(exceptions.ApiTaskError, match="401") as caught:
        carry_out(get("/protected"))
    shown = f"{caught.value!r} {caught.value} {caught.value.data} {capsys.readouterr()}"
    pair = base64.b64encode(f"{LOGIN}:not-the-one".encode()).decode()
    assert [form for form in ("not-the-one", pair) if form in shown] == []
    assert qarion.admitted == []


@pytest.mark.feature("qarion", "credential")
def test_access_token_is_fetched_again_when_it_is_refused(qarion: QarionServer, connect: Connect) -> None:
    connect(qarion.url, **CREDENTIALS["oauth2"])
    carry_out(get("/protected/data"))
    qarion.expire_tokens()
    assert carry_out(get("/protected/data")) == {"admitted": "oauth2"}


@pytest.mark.feature("qarion", "credential")
def test_credential_id_is_the_connection_and_may_be_a_template(
    qarion: QarionServer, connect: Connect
) -> None:
    connect(qarion.url, conn_id="api_basic", **CREDENTIALS["basic"])
    task = get("/protected", api_conn_id="{{ params.credential }}")
    assert carry_out(task, params={"credential": "api_basic"}) == {"admitted": "basic"}


# -- headers, params, body, body_format ----------------------------------------------------------


@pytest.mark.feature("qarion", "options")
def test_headers_and_params(qarion: QarionServer) -> None:
    leave("previous_task", {"user_id": 7, "filter_value": "a & b"})
    task = get(
        "/users/{{ ti.xcom_pull('previous_task').user_id }}",
        headers={"X-User-ID": "{{ ti.xcom_pull('previous_task').user_id }}"},
        params={"filter": "{{ ti.xcom_pull('previous_task').filter_value }}", "days": [1, 2]},
    )
    assert carry_out(task)["user_id"] == 7
    (request,) = qarion.history
    assert request.header("X-User-ID") == "7"
    assert request.query == [("filter", "a & b"), ("days", "1"), ("days", "2")]


@pytest.mark.feature("qarion", "options")
@pytest.mark.parametrize(
    ("body_format", "body", "kind", "read"),
    [
        ("json", {"name": "Ä", "n": 5}, "application/json", {"name": "Ä", "n": 5}),
        ("json", '{"name": "Ä"}', "application/json", {"name": "Ä"}),
        (
            "form",
            {"name": "Ä & B", "n": 5},
            "application/x-www-form-urlencoded",
            {"name": "Ä & B", "n": "5"},
        ),
        ("form", "name=A", "application/x-www-form-urlencoded", {"name": "A"}),
        ("raw", "name;Ä", None, "name;Ä"),
        ("xml", {"record": {"name": "Ä<B"}}, "application/xml", {"name": "Ä<B"}),
        ("xml", "<record><name>A</name></record>", "application/xml", {"name": "A"}),
    ],
)
def test_body_formats(qarion: QarionServer, body_format: str, body: Any, kind: str, read: Any) -> None:
    carry_out(post(body=body, body_format=body_format))
    assert qarion.records == [read]
    assert (qarion.history[0].header("Content-Type") or "").partition(";")[0] == (kind or "")


@pytest.mark.feature("qarion", "options")
def test_json_is_the_default_format(qarion: QarionServer) -> None:
    carry_out(post())
    assert qarion.records == [{"name": "Test Record", "status": "active"}]


@pytest.mark.feature("qarion", "options")
def test_templates_know_the_run(qarion: QarionServer) -> None:
    """What the page calls batch_id, execution_date, flow_id, node_id and flow variables."""
    names = {
        "batch_id": "{{ run_id }}",
        "execution_date": "{{ logical_date.isoformat() }}",
        "flow_id": "{{ dag_id }}",
        "node_id": "{{ task.task_id }}",
        "variable": "{{ params.variable }}",
    }
    task = post(body=names, params={"batch": "{{ run_id }}"})
    carry_out(task, run_id="r1", dag_id="d1", params={"variable": "v1"})
    day = "2026-01-02T00:00:00+00:00"
    assert qarion.records == [
        {"batch_id": "r1", "execution_date": day, "flow_id": "d1", "node_id": "t", "variable": "v1"}
    ]
    assert qarion.history[0].query == [("batch", "r1")]


@pytest.mark.feature("qarion", "options")
def test_token_of_an_earlier_task_in_a_header_is_not_shown(
    qarion: QarionServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the page's example; a connection is the better place."""
    leave("auth_task", {"token": "t0ken-that-is-wrong"})
    token = "Bearer {{ ti.xcom_pull('auth_task').token }}"
    with pytest.raises(exceptions.ApiTaskError, match="401") as caught:
        carry_out(get("/protected", headers={"Authorization": token}))
    assert qarion.history[0].header("Authorization") == "Bearer t0ken-that-is-wrong"
    assert "t0ken-that" not in f"{caught.value!r} {caught.value} {capsys.readouterr()}"


# -- timeout, retry_count, retry_delay -----------------------------------------------------------


@pytest.mark.feature("qarion", "running")
def test_answer_that_takes_its_time_is_waited_for(qarion: QarionServer) -> None:
    begin = time.monotonic()
    assert carry_out(get(params={"seconds": 0.5}, timeout=60))["status"] == "success"
    assert time.monotonic() - begin >= 0.5


@pytest.mark.feature("qarion", "limit")
def test_timeout(qarion: QarionServer) -> None:
    with pytest.raises(exceptions.RequestFailedError, match=r"0\.2 s"):
        carry_out(get(params={"seconds": 30}, timeout=0.2))


@pytest.mark.feature("qarion", "limit")
def test_timeout_is_30_seconds_by_default() -> None:
    """To connect, 10."""
    assert DEFAULT_TIMEOUT == (10, 30)


@pytest.mark.feature("qarion", "bad check", "one job")
@pytest.mark.parametrize("fault", [Answer(503), Answer(502), Answer(429), Answer(drop="before")])
def test_retries(qarion: QarionServer, fault: Answer) -> None:
    qarion.once("GET", "/data", *[fault] * 2)
    assert carry_out(get(retry_count=3, retry_wait=0.02))["status"] == "success"
    assert len(qarion.history) == 3


@pytest.mark.feature("qarion", "bad check")
def test_retries_end(qarion: QarionServer) -> None:
    qarion.on("GET", "/data", Answer(503))
    with pytest.raises(exceptions.RequestFailedError, match=r"503 .*\(3 tries\)"):
        carry_out(get(retry_count=2, retry_wait=0.02))
    assert len(qarion.history) == 3


@pytest.mark.feature("qarion", "bad check")
def test_delay_between_retries(qarion: QarionServer) -> None:
    """Half of it at least: clients that failed together do not come back together."""
    qarion.once("GET", "/data", Answer(503), Answer(503))
    carry_out(get(retry_count=2, retry_wait=0.4, retry_factor=1))
    first, second, third = (request.at for request in qarion.history)
    assert second - first >= 0.2
    assert third - second >= 0.2


@pytest.mark.feature("qarion", "bad check")
def test_no_retry_by_default(qarion: QarionServer) -> None:
    qarion.once("GET", "/data", Answer(503))
    with pytest.raises(exceptions.RequestFailedError, match="503"):
        carry_out(get())
    assert len(qarion.history) == 1


@pytest.mark.feature("qarion", "one job")
def test_post_whose_answer_is_lost_is_not_sent_again(qarion: QarionServer) -> None:
    qarion.once("POST", "/records", qarion.lose)
    with pytest.raises(exceptions.SubmitUnknownError, match="may have taken the request"):
        carry_out(post(retry_count=3, retry_wait=0.02))
    assert len(qarion.records) == 1


@pytest.mark.feature("qarion", "one job")
def test_post_with_a_key_is_sent_again(qarion: QarionServer) -> None:
    """And done once, where the API knows such keys."""
    qarion.once("POST", "/records", qarion.lose)
    assert carry_out(post(retry_count=3, retry_wait=0.02, idempotency_key="task"))["id"] == 1
    assert len(qarion.records) == 1
    first, second = (request.header("Idempotency-Key") for request in qarion.history)
    assert first == second


@pytest.mark.feature("qarion", "one job")
def test_post_that_was_not_taken_is_sent_again(qarion: QarionServer) -> None:
    qarion.once("POST", "/records", Answer(503))
    assert carry_out(post(retry_count=1, retry_wait=0.02))["id"] == 1
    assert len(qarion.records) == 1


@pytest.mark.feature("qarion", "kill")
def test_kill_while_it_waits_to_send_again(qarion: QarionServer, comms: Comms) -> None:
    qarion.on("GET", "/data", Answer(503))
    kill(get(retry_count=9, retry_wait=5, deferrable=False), qarion, comms, "/data")
    assert len(qarion.history) == 1


# -- xcom_pull, xcom_pull_key --------------------------------------------------------------------


@pytest.mark.feature("qarion", "options")
def test_xcom_pull(qarion: QarionServer) -> None:
    leave("get_user_id", {"user_id": 7})
    leave("get_plain_id", 8)
    assert carry_out(get("/users/{{ ti.xcom_pull('get_user_id')['user_id'] }}"))["user_id"] == 7
    assert carry_out(get("/users/{{ ti.xcom_pull('get_plain_id') }}"))["user_id"] == 8


@pytest.mark.feature("qarion", "options", "result")
def test_xcom_pull_of_a_whole_value_keeps_its_types(qarion: QarionServer) -> None:
    """``.output`` of a task is its value, and the order of the two tasks comes with it."""
    with DAG("d", schedule=None):
        earlier = get(task_id="earlier")
        later = post(task_id="later", body={"record": earlier.output, "numbers": [earlier.output]})
    assert later.upstream_task_ids == {"earlier"}
    leave("earlier", {"name": "A", "n": 5, "tags": [True, None]})
    carry_out(later)
    value = {"name": "A", "n": 5, "tags": [True, None]}
    assert qarion.records == [{"record": value, "numbers": [value]}]


# -- response_handling, response_validation ------------------------------------------------------


@pytest.mark.feature("qarion", "answer at once", "result")
def test_answer_is_stored(qarion: QarionServer) -> None:
    """What a task returns is pushed by Airflow; the next one has it in its templates."""
    answer = carry_out(get())
    assert answer == {"data": [1, 2, 3], "timestamp": "2026-01-02T00:00:00Z", "status": "success"}
    leave("api_call", answer)
    carry_out(post(body={"first": "{{ ti.xcom_pull('api_call').data[0] }}"}))
    assert qarion.records == [{"first": "1"}]


@pytest.mark.feature("qarion", "answer at once")
def test_answer_is_ignored(qarion: QarionServer) -> None:
    assert carry_out(get(response_handling="ignore")) is None
    qarion.once("GET", "/data", Answer(422, {"error": "no"}))
    with pytest.raises(exceptions.RequestFailedError, match="422"):
        carry_out(get(response_handling="ignore"))


@pytest.mark.feature("qarion", "answer at once", "success")
def test_answer_is_validated(qarion: QarionServer) -> None:
    rules = {
        "expected_status_code": 200,
        "required_fields": ["data", "status"],
        "field_checks": {"status": {"type": "str", "value": "success"}},
    }
    assert carry_out(get(response_handling="validate", response_validation=rules)) is None
    assert carry_out(get(response_validation=rules))["status"] == "success"


@pytest.mark.feature("qarion", "failure")
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"expected_status_code": 201}, "expected_status_code"),
        ({"expected_status_code": [201, 202]}, "201 or 202"),
        ({"required_fields": ["data", "total"]}, "at total"),
        ({"field_checks": {"status": {"value": "done"}}}, 'expected "done", found "success"'),
        ({"field_checks": {"data": {"type": "str"}}}, "field_checks.type"),
    ],
)
def test_answer_that_breaks_a_rule(qarion: QarionServer, rules: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.ResponseValidationError, match=said) as caught:
        carry_out(get(response_handling="validate", response_validation=rules))
    assert len(caught.value.data["violations"]) == 1


# -- error handling ------------------------------------------------------------------------------


@pytest.mark.feature("qarion", "error answer", "failure")
@pytest.mark.parametrize("code", [400, 403, 404, 422, 500, 503])
def test_code_of_400_and_above_is_a_failure(qarion: QarionServer, code: int) -> None:
    qarion.once("GET", "/data", Answer(code, {"error": "the table is locked"}))
    with pytest.raises(exceptions.RequestFailedError, match=f"{code} .*the table is locked"):
        carry_out(get())


@pytest.mark.feature("qarion", "error answer")
def test_api_that_is_not_there(qarion: QarionServer, connect: Connect) -> None:
    connect(refused_url())
    with pytest.raises(exceptions.RequestFailedError, match="refused"):
        carry_out(post())


# -- the examples of the page --------------------------------------------------------------------


@pytest.mark.feature("qarion", "start")
def test_example_1_simple_call(qarion: QarionServer) -> None:
    assert carry_out(get("/data", timeout=60))["data"] == [1, 2, 3]


@pytest.mark.feature("qarion", "start", "credential")
def test_example_2_post_with_authentication(qarion: QarionServer, connect: Connect) -> None:
    connect(qarion.url, conn_id="api_credentials", **CREDENTIALS["basic"])
    task = post(
        api_conn_id="api_credentials",
        body={"name": "New Record", "status": "active"},
        body_format="json",
        headers={"Content-Type": "application/json"},
    )
    assert carry_out(task) == {"id": 1, "name": "New Record", "status": "active"}
    assert (qarion.history[0].header("Authorization") or "").startswith("Basic ")


@pytest.mark.feature("qarion", "options")
def test_example_3_xcom_data(qarion: QarionServer) -> None:
    leave("process_data", {"user_id": 7, "status": "done"})
    task = post(
        "/notify/{{ ti.xcom_pull('process_data').user_id }}",
        body={
            "user_id": "{{ ti.xcom_pull('process_data').user_id }}",
            "status": "{{ ti.xcom_pull('process_data').status }}",
            "batch_id": "{{ run_id }}",
        },
    )
    carry_out(task, run_id="r1")
    assert qarion.notified == [("7", {"user_id": "7", "status": "done", "batch_id": "r1"})]


@pytest.mark.feature("qarion", "credential", "bad check")
def test_example_4_oauth2_with_retries(qarion: QarionServer, connect: Connect) -> None:
    connect(qarion.url, conn_id="oauth_credentials", **CREDENTIALS["oauth2"])
    qarion.once("GET", "/protected/data", Answer(503))
    task = get("/protected/data", api_conn_id="oauth_credentials", retry_count=3, retry_wait=0.2, timeout=30)
    assert carry_out(task) == {"admitted": "oauth2"}


@pytest.mark.feature("qarion", "success", "failure")
def test_example_5_validation(qarion: QarionServer) -> None:
    rules = {"expected_status_code": [200, 201], "required_fields": ["data", "timestamp"]}
    task = get(response_handling="validate", response_validation=rules)
    carry_out(task)
    qarion.once("GET", "/data", Answer(200, {"data": []}))
    with pytest.raises(exceptions.ResponseValidationError, match="timestamp"):
        carry_out(task)


# -- history, test run ---------------------------------------------------------------------------

#: As it stands on the page.
HISTORY = """
SELECT
operation_id,
operation_subtype,
flow_id,
task_id,
status,
success,
operation_details
FROM xt_operation_logs
WHERE operation_type = 'api_call'
ORDER BY start_time DESC;
"""


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The database that the operation log is kept in."""
    yield from new_log(request.param, tmp_path, monkeypatch)


@pytest.mark.feature("qarion", "operation log")
def test_history_by_the_query_of_the_page(qarion: QarionServer, connect: Connect, log: Log) -> None:
    connect(qarion.url, **CREDENTIALS["basic"])
    rules = {"required_fields": ["total"]}
    carry_out(post(task_id="create", operation_log="sql"))
    with pytest.raises(exceptions.ResponseValidationError):
        carry_out(get(task_id="check", response_validation=rules, operation_log="sql"))
    qarion.once("GET", "/data", Answer(422, {"error": "the table is locked"}))
    with pytest.raises(exceptions.RequestFailedError):
        carry_out(get(task_id="fetch", operation_log="sql"))
    rows = log.rows(HISTORY)
    seen = [(row.operation_subtype, row.flow_id, row.task_id, row.status, bool(row.success)) for row in rows]
    assert seen == [
        ("invoke", "d", "fetch", "failed", False),
        ("invoke", "d", "check", "failed", False),
        ("invoke", "d", "create", "success", True),
    ]
    assert len({row.operation_id for row in rows}) == 3
    _, check, create = (json.loads(row.operation_details) for row in rows)
    # What the page promises: URL, method, status code, response size, validation results, error messages.
    assert (create["url"], create["method"], create["http_status"]) == (f"{qarion.url}/records", "POST", 201)
    assert create["bytes_received"] > 0
    assert check["validation"] == "failed"
    (row,) = log.rows("SELECT error_message FROM xt_operation_logs WHERE task_id = 'fetch'")
    assert "the table is locked" in row.error_message
    assert PASSWORD not in repr(rows)


@pytest.mark.once
@pytest.mark.feature("qarion", "test run")
@pytest.mark.parametrize(("status", "code"), [("success", 0), ("error", 1)])
def test_test_run(qarion: QarionServer, shell: Shell, status: str, code: int) -> None:
    shell.connect("qarion", host=qarion.url, extra={"allow_http": True})
    with shell.test_run("qarion", "validated_api", {"status": status}) as run:
        assert run.finish() == code
    assert code or run.value["data"] == [1, 2, 3]
    assert ('found \\"error\\"' in run.text) is bool(code)
    assert [request.target for request in qarion.history] == [f"/data?status={status}"]
