"""The names of what the DAG files make, which only Airflow imports."""

from __future__ import annotations

__all__ = ["CRASH_DAGS", "JOBS"]

JOBS = 2  # tasks in a run
CRASH_DAGS = [
    f"crash_{variant}_{where}{token}"
    for variant in ("key", "reconcile", "plain")
    for where in ("worker", "deferred")
    for token in ("", "_token")
]
