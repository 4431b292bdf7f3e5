"""What the tests of all systems share: Airflow's surroundings, certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.airflow.conftest import _outside_of_a_task_runner, comms, connect
from tests.support.real.tls import Certificates, make_certificates
from tests.systems.shell import Shell

if TYPE_CHECKING:
    from tests.systems.stack import Stack

__all__ = ["_outside_of_a_task_runner", "certificates", "comms", "connect", "shell", "stack"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Where a person tries a task of an example DAG."""
    return Shell(tmp_path / "home")


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, pytestconfig: pytest.Config
) -> Iterator[Stack]:
    """A real Airflow with the example DAGs, and the servers that they call."""
    from tests.systems.stack import systems_stack

    with systems_stack(tmp_path_factory.mktemp("systems"), certificates) as stack:
        if stack.note and (reporter := pytestconfig.pluginmanager.get_plugin("terminalreporter")):
            reporter.write_line(f"Airflow's database is SQLite: {stack.note}")
        yield stack


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for stand-ins that speak TLS."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return make_certificates(folder)
