"""One Airflow and one job server for all crash tests."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.stack import CrashStack, crash_stack

#: Set it to the number that a run has printed, for the same choices again.
SEED_VARIABLE = "APITASK_CRASH_SEED"


@pytest.fixture(scope="session")
def seed() -> int:
    """What the random choices are made from; printed with the report."""
    return int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(10**6))


@pytest.fixture(scope="session")
def reports() -> Path:
    """Where the reports go."""
    return Path(__file__).resolve().parents[2] / ".reports"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashStack]:
    """Everything, ready; each component of Airflow is a process of its own."""
    with crash_stack(tmp_path_factory.mktemp("crash") / "airflow") as stack:
        yield stack
