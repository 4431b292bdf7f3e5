from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_apitask.drivers.transport import RateLimit
from tests.support import Tls, self_signed_tls


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return self_signed_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make names resolve to 127.0.0.1, and all others fail, without asking anybody."""
    real = socket.getaddrinfo

    def known(*hosts: str) -> None:
        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host == "127.0.0.1" or host in hosts:
                return real("127.0.0.1", *args, **kwargs)
            str(host).encode("idna")  # as the real one does
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return known


@pytest.fixture
def no_pause_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a transport waits for all its users is real time, and these tests have a clock of their own."""
    monkeypatch.setattr(RateLimit, "learn", lambda *_: None)
