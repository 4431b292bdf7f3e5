"""What the tests of all systems share: Airflow's surroundings, certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow.conftest import _outside_of_a_task_runner, comms, connect
from tests.support.real.tls import Certificates, make_certificates

__all__ = ["_outside_of_a_task_runner", "certificates", "comms", "connect"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for stand-ins that speak TLS."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return make_certificates(folder)
