"""A DAG that others start by the REST API: it works for some seconds and returns what it did, or fails."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import DAG, task

with DAG(dag_id="sleepy", schedule=None, params={"seconds": 0.0, "fail": False}):

    @task
    def work(params: Any) -> dict[str, float]:
        time.sleep(params["seconds"])
        if params["fail"]:
            raise RuntimeError("asked to fail")
        return {"slept": params["seconds"]}

    work()  # type: ignore[call-arg]  # Airflow gives it the params of the DAG
