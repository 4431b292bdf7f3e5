"""Fixtures for every proof here: a plain session, certificates, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests

from tests.support.real.tls import Certificates, make_certificates


@pytest.fixture(autouse=True)
def nothing_left(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No thread, and nothing said on stdout or stderr."""
    threads = set(threading.enumerate())
    yield
    # A thread that has done its work may still be on its way out of a busy machine.
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=2)
    assert set(threading.enumerate()) <= threads
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))
