"""What importing an operator costs a DAG file, over ``airflow.sdk`` which every DAG file imports.

Each import happens in a fresh interpreter, the candidates in turn in one run, so that all of them
meet the same machine. Reported are milliseconds: minimum, median and maximum.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass

__all__ = ["Cost", "measure", "report"]

CANDIDATES = {
    "ApiCallOperator": "airflow_provider_apitask.operators.api_call",
    "ApiStatusSensor": "airflow_provider_apitask.sensors.api_status",
    "HttpOperator": "airflow.providers.http.operators.http",
    "HttpSensor": "airflow.providers.http.sensors.http",
}

_PROBE = """
import sys, time
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
before = set(sys.modules)
start = time.perf_counter()
__import__(sys.argv[1])
print((time.perf_counter() - start) * 1000, len(set(sys.modules) - before))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one candidate costs: milliseconds of each run, and modules that were loaded."""

    name: str
    milliseconds: tuple[float, ...]
    modules: int

    def __str__(self) -> str:
        times = self.milliseconds
        return (
            f"{self.name:<18}{min(times):>9.1f}{statistics.median(times):>9.1f}{max(times):>9.1f}"
            f"{self.modules:>9}"
        )


def measure(runs: int = 7) -> list[Cost]:
    """Measure all candidates, one warm-up run of each first."""
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    # The warm-up compiles what is not compiled yet, as the installation of a package does.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    modules: dict[str, int] = {}
    for run in range(runs + 1):
        for name, module in CANDIDATES.items():
            out = subprocess.run(
                [sys.executable, "-c", _PROBE, module],
                check=True,
                capture_output=True,
                text=True,
                env=environment,
            )
            took, loaded = out.stdout.split()[-2:]
            modules[name] = int(loaded)
            if run:
                times[name].append(float(took))
    return [Cost(name, tuple(times[name]), modules[name]) for name in CANDIDATES]


def report(runs: int = 7) -> str:
    """The table that the documentation shows."""
    head = f"{'import of':<18}{'min ms':>9}{'median':>9}{'max':>9}{'modules':>9}"
    return "\n".join([head, *map(str, measure(runs))])
