"""A whole DAG in Airflow's own task runner: mapping, XComs and deferral, with a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.job_server import JobServer

PROGRAM = """
import json, os, sys
from airflow.sdk import DAG, task
from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor, AsyncJob

job = AsyncJob(poll_interval=0.05, result_request="{status_url}/result")
with DAG("whole", schedule=None, params={"zone": "eu"}) as dag:
    @task
    def numbers():
        return [1, 2]

    @task
    def total(results):
        return sum(result["rows"] for result in results)

    mapped = ApiCallOperator.partial(
        task_id="mapped", api_conn_id="api", endpoint="/jobs", params={"z": "{{ params.zone }}"}, job=job
    ).expand(body=numbers())
    start = ApiCallOperator(
        task_id="start", api_conn_id="api", endpoint="/jobs", body=total(mapped.output), job=job,
        wait_for_completion=False,
    )
    ApiStatusSensor(
        task_id="wait", api_conn_id="api", handle=start.output["api_job"], job=job, deferrable=True,
        poke_interval=0.05,
    )

if __name__ == "__main__":
    run = dag.test()
    print("STATE", run.state)
"""


# Half a minute, most of it Airflow starting: not among the unit tests.
@pytest.mark.e2e
def test_mapped_jobs_and_a_sensor(tmp_path: Path) -> None:
    file = tmp_path / "whole.py"
    file.write_text(PROGRAM)
    with JobServer() as jobs:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
            "AIRFLOW_CONN_API": f"apitask://{jobs.url}/?allow_http=true",
        }
        for command in (["-m", "airflow", "db", "migrate"], [str(file)]):
            done = subprocess.run(
                [sys.executable, *command],
                check=False,
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "STATE success" in done.stdout, done.stdout[-5000:] + done.stderr[-3000:]
    submits = [(request.target, request.json()) for request in jobs.history if request.method == "POST"]
    # Airflow promises no order among mapped tasks; what follows them has waited for both.
    assert sorted(submits[:2]) == [("/jobs?z=eu", 1), ("/jobs?z=eu", 2)]
    assert submits[2:] == [("/jobs", 6)]
    assert [job.polls for job in jobs.jobs.values()] == [3, 3, 3]
