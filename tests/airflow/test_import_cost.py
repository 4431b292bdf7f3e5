"""What importing the operator costs a DAG file, over ``airflow.sdk``."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
before = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - before))
"""
FORBIDDEN = ("requests", "aiohttp", "jsonpath_ng", "yarl", "oauthlib", "airflow.providers.http")
LATER = (
    *("hooks", "drivers", "triggers", "core.operation", "core.state", "core.handle", "core.messages"),
    *("core.bodies", "core.request_body", "core.uploads", "core.redaction", "core.retry"),
)


def loaded(statement: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", PROBE.format(statement=statement)], check=True, capture_output=True, text=True
    ).stdout.split()


USE = """
from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor, AsyncJob
AsyncJob(status_path='$.a[0]', extract={'run': '$.id'}, status_request='/x/{run}')
ApiCallOperator(task_id='t', endpoint='/x', response_path='$.a')
ApiStatusSensor(task_id='s', status_request='/x')
"""


def test_parsing_imports_neither_clients_nor_hooks() -> None:
    modules = loaded(USE)
    unwanted = [m for m in modules if m.startswith(FORBIDDEN) or m == "pydantic"]
    unwanted += [m for m in modules for part in LATER if m.startswith(f"airflow_provider_apitask.{part}")]
    assert unwanted == []
    assert len(modules) < 36
