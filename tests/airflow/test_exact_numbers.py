"""Numbers that neither a double nor 64 bits hold: exact in requests and files, texts in XCom."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask import ApiStatusSensor, Pagination
from airflow_provider_apitask.core.handle import HANDLE_KEY
from tests.airflow.helpers import FAST, Comms, TaskInstance, call, context_for, run
from tests.support import Answer
from tests.support.job_server import JobServer

AMOUNT = "12345678901234567.89"
BIG = "123456789012345678901234567890"
JOB = f'{{"job": {{"id": {BIG}, "amount": {AMOUNT}}}}}'.encode()
RESULT = f'{{"rows": [{{"id": {BIG}, "amount": {AMOUNT}, "price": 0.10000000000000001, "n": 1}}]}}'.encode()
IN_XCOM = {"rows": [{"id": BIG, "amount": AMOUNT, "price": 0.1, "n": 1}]}
JSON = {"Content-Type": "application/json"}


def as_xcom(value: Any) -> Any:
    """What the next task pulls of a return value."""
    ti = TaskInstance("returned")
    ti.xcom_push("return_value", value)
    return ti.xcom_pull("returned")


def described() -> dict[str, Any]:
    """A job whose requests carry the numbers of the submit's answer, and one of the author."""
    return {
        **FAST,
        "extract": {"amount": "$.job.amount"},
        "job_id": "$.job.id",
        "status_request": {
            "method": "POST",
            "endpoint": "/status/{amount}",
            "headers": {"X-Job": "{$.job.id}"},
            "body": {"job": "{$.job}", "amount": "{amount}", "factor": Decimal("0.12345678901234567890")},
        },
        "status_path": "$.code",
        "unknown_status": "running",
        "success_when": {"$.code": {"min": Decimal("2.00000000000000000001")}},
        "result_request": {"method": "POST", "endpoint": "/result", "body": ["{amount}", "{job_id}"]},
    }


def served(jobs: JobServer) -> None:
    jobs.on("POST", "/jobs", Answer(202, body=JOB, headers=JSON))
    codes = [b'{"code": 2.00000000000000000000}', b'{"code": 2.00000000000000000001}']
    jobs.on("POST", f"/status/{AMOUNT}", *(Answer(body=code, headers=JSON) for code in codes))
    jobs.on("POST", "/result", Answer(body=RESULT, headers=JSON))


def sent(jobs: JobServer, path: str) -> list[str]:
    return [request.body.decode() for request in jobs.requests("POST", path)]


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_numbers_of_a_job_stay_as_they_were(
    jobs: JobServer, comms: Comms, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    served(jobs)
    task = call(job=described(), deferrable=deferrable)
    with caplog.at_level(logging.WARNING):
        value = run(task) if deferrable else task.execute(context_for(task))
    status = f'{{"job":{{"id":{BIG},"amount":{AMOUNT}}},"amount":{AMOUNT},"factor":0.12345678901234567890}}'
    assert sent(jobs, f"/status/{AMOUNT}") == [status, status]
    assert [request.header("X-Job") for request in jobs.requests("POST", f"/status/{AMOUNT}")] == [BIG] * 2
    assert sent(jobs, "/result") == [f"[{AMOUNT},{BIG}]"]
    assert as_xcom(value) == IN_XCOM
    [told] = [record.getMessage() for record in caplog.records if "XCom cannot hold" in record.getMessage()]
    assert BIG in told
    assert comms.pushed("t", HANDLE_KEY)["job_id"] == BIG


def test_a_handle_carries_them_to_a_sensor(jobs: JobServer, comms: Comms) -> None:
    served(jobs)
    task = call(job=described(), wait_for_completion=False)
    value = task.execute(context_for(task))
    assert as_xcom(value) == {"job": {"id": BIG, "amount": AMOUNT}}
    waiting = ApiStatusSensor(
        task_id="s",
        api_conn_id="api",
        job=described(),
        handle=comms.pushed("t", HANDLE_KEY),
        poke_interval=0.02,
        timeout=60,
    )
    assert as_xcom(waiting.execute(context_for(waiting, ti=TaskInstance("s")))) == IN_XCOM
    assert sent(jobs, "/result") == [f'[{AMOUNT},"{BIG}"]'], "of the id, people have the text"


def test_lines_of_json_keep_them(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(body=RESULT, headers=JSON))
    path = tmp_path / "rows.jsonl"
    pages = Pagination(items="$.rows", link_header=True)
    task = call(method="GET", endpoint="/data", pagination=pages, output_path=str(path))
    task.execute(context_for(task))
    assert path.read_text() == f'{{"id":{BIG},"amount":{AMOUNT},"price":0.10000000000000001,"n":1}}\n'


def test_functions_of_the_author_get_them(jobs: JobServer) -> None:
    jobs.on("GET", "/data", Answer(body=RESULT, headers=JSON))

    def doubled(response: Any) -> Any:
        [row] = response.json(parse_float=Decimal)["rows"]
        return [row["amount"] * 2, Decimal("1.10"), row["id"]]

    task = call(method="GET", endpoint="/data", response_filter=doubled)
    assert as_xcom(task.execute(context_for(task))) == ["24691357802469135.78", Decimal("1.10"), BIG]


@pytest.mark.parametrize("limit", [None, 10_000])
def test_what_xcom_holds_exactly_is_left_alone(
    jobs: JobServer, limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"id": 2**63 - 1, "price": 0.1, "exact": 123456789.0123456, "sci": 1e300}
    jobs.on("GET", "/data", Answer(json=given))
    task = call(method="GET", endpoint="/data", max_xcom_bytes=limit)
    with caplog.at_level(logging.WARNING):
        assert as_xcom(task.execute(context_for(task))) == given
    assert not [record for record in caplog.records if "XCom" in record.getMessage()]
