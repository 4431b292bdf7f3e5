"""Files that a task sends: where Airflow finds them, and how an author names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, ObjectStoragePath

from airflow_provider_apitask.core.errors import ParameterError, RequestFailedError
from tests.airflow.helpers import FAST, TaskInstance, call, context_for, run
from tests.support import Answer
from tests.support.job_server import JobServer

CONTENT = b"a,b\r\n1,2\r\n" * 50_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rows 2026-01-02.csv"
    found.write_bytes(CONTENT)
    return found


def test_paths_are_rendered(jobs: JobServer, file: Path) -> None:
    jobs.on("POST", "/jobs", Answer(json=1))
    task = call(
        body_format="multipart",
        body={
            "day": "{{ ds }}",
            "file": {"path": "{{ params.dir }}/rows {{ ds }}.csv", "filename": "{{ ds }}"},
        },
    )
    assert task.execute(context_for(task, params={"dir": f"{file.parent}"}, ds="2026-01-02")) == 1
    body = jobs.history[0].body
    assert b'name="file"; filename="2026-01-02"\r\n' in body
    assert CONTENT in body


@pytest.mark.parametrize("kind", ["url", "object", "path object", "xcom"])
def test_object_storage(jobs: JobServer, comms: Any, file: Path, kind: str) -> None:
    jobs.on("POST", "/jobs", Answer(json=1))
    url = f"file://{file}"
    ways: dict[str, Any] = {"url": url, "object": ObjectStoragePath(url), "path object": file}
    if kind == "xcom":
        TaskInstance("start").xcom_push("return_value", url)
    with DAG("d", schedule=None):
        path = BaseOperator(task_id="start").output if kind == "xcom" else ways[kind]
        task = call(body_format="raw", body={"path": path, "content_type": "text/csv"})
    assert task.execute(context_for(task)) == 1
    assert jobs.history[0].body == CONTENT
    assert jobs.history[0].header("Content-Type") == "text/csv"
    assert jobs.history[0].header("Content-Length") == str(len(CONTENT))


def test_on_the_triggerer_too(jobs: JobServer, file: Path) -> None:
    jobs.on("POST", "/status", Answer(json={"status": "running"}), Answer(json={"status": "succeeded"}))
    status = {
        "method": "POST",
        "endpoint": "/status",
        "body_format": "multipart",
        "body": {"job": "{id}", "proof": {"path": f"file://{file}"}},
    }
    assert run(call(job={**FAST, "status_request": status})) == {"status": "succeeded"}
    asked = jobs.requests("POST", "/status")
    assert len(asked) == 2
    assert all(CONTENT in request.body and b"job-1" in request.body for request in asked)


@pytest.mark.parametrize(
    ("path", "why"),
    [("/no/such/file", "No such file or directory"), ("file:///no/such/file", "No such file or directory"),
     ("nosuch://b/k", "nosuch://b/k: ")],
)  # fmt: skip
def test_a_file_that_is_not_there(jobs: JobServer, path: str, why: str) -> None:
    task = call(body_format="raw", body={"path": path})
    with pytest.raises(RequestFailedError) as caught:
        task.execute(context_for(task))
    assert "its body could not be read" in caught.value.message
    assert path in caught.value.message
    assert why in caught.value.message
    assert jobs.history == []


def test_a_wrong_file_fails_when_the_dag_is_parsed() -> None:
    with pytest.raises(ParameterError, match=r"job\.result_request\.body\['f'\]\.path is '\{id\}'"):
        call(job={"result_request": {"body_format": "multipart", "body": {"f": {"path": "{id}"}}}})


def test_xml_jobs_are_followed_on_the_triggerer(jobs: JobServer) -> None:
    """The way of Panoply's Flex Connector: what stands in braces is the path in an earlier answer."""
    kind = {"Content-Type": "text/xml"}
    jobs.on("POST", "/jobs", Answer(202, text="<job><id>a/7</id></job>", headers=kind))
    states = [f"<r xmlns='urn:r'><state> {state} </state></r>" for state in ("RUNNING", "DONE")]
    jobs.on("GET", "/jobs/a%2F7", *(Answer(text=state, headers=kind) for state in states))
    jobs.on(
        "GET",
        "/rows",
        Answer(text="<rows><row n='1'/><row n='2'/></rows>", headers=kind),
    )
    task = call(
        body={"export": {"@day": "{{ ds }}", "table": "orders"}},
        body_format="xml",
        job={
            **FAST,
            "status_request": "/jobs/{/job/id}",
            "status_path": "/r/state",
            "success_values": ["DONE"],
            "result_request": {"endpoint": "/rows", "params": {"export_id": "{/job/id}"}},
            "result_path": "/rows/row/@n",
        },
    )
    assert run(task, ds="2026-01-02") == ["1", "2"]
    assert jobs.history[0].header("Content-Type") == "application/xml"
    assert jobs.history[0].body.endswith(b'<export day="2026-01-02"><table>orders</table></export>')
    assert jobs.history[-1].target == "/rows?export_id=a%2F7"
