"""Certificates and handshakes: checked alike, and a failure is known to have sent nothing."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.drivers.transport import TransportOptions
from tests.drivers.contract import BEFORE, WAYS, Seen, check, contract, failing, make_api, run, sync
from tests.support import Answer, Tls
from tests.support.raw_server import Conversation, close, silent
from tests.support.scripted_server import ScriptedServer


def secured(
    tls: Tls,
    method: str = "POST",
    host: str = "127.0.0.1",
    way: Callable[..., Seen] = contract,
    **kwargs: Any,
) -> Seen:
    """Call a server whose certificate is for 127.0.0.1 and localhost."""
    return way(
        lambda s: s.on(method, "/a", Answer(json=1)),
        sync(method),
        server=lambda: ScriptedServer(ssl_context=tls.context),
        api=lambda s: make_api(s.url.replace("127.0.0.1", host), allow_http=False),
        options=lambda s: TransportOptions(**kwargs),
    )


def test_a_trusted_server(tls: Tls, names: Callable[..., None]) -> None:
    names("localhost")
    for host in ("127.0.0.1", "localhost"):
        assert secured(tls, host=host, verify=tls.ca_file).value == 1


def test_a_server_that_is_not_trusted(tls: Tls) -> None:
    seen = secured(tls)
    check(seen, "POST", "the certificate is not accepted: self-signed certificate", received=False)
    assert "the TLS handshake failed" in seen.error.message
    assert seen.targets == []


def test_a_server_of_another_name(tls: Tls, names: Callable[..., None]) -> None:
    names("elsewhere.invalid")
    seen = secured(tls, host="elsewhere.invalid", verify=tls.ca_file)
    assert "certificate is not valid for 'elsewhere.invalid'" in seen.error.message
    assert seen.targets == []


def test_certificates_are_not_checked_where_that_is_wanted(tls: Tls) -> None:
    assert secured(tls, verify=False).value == 1


def test_a_client_certificate(tls: Tls, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = str(Path(tls.ca_file).with_name("key.pem"))
    context.load_cert_chain(tls.ca_file, key)
    context.load_verify_locations(tls.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    strict = Tls(context, tls.ca_file)
    assert secured(strict, verify=tls.ca_file, cert=(tls.ca_file, key)).value == 1
    both = tmp_path / "both.pem"
    both.write_text(Path(tls.ca_file).read_text() + Path(key).read_text())
    assert secured(strict, verify=tls.ca_file, cert=str(both)).value == 1
    for way in WAYS:
        seen = secured(strict, verify=tls.ca_file, way=functools.partial(run, way))
        assert seen.failed[0] == "submit_unknown"
        # TLS 1.3 tells the client after it has sent its request, unless it is too busy sending to hear it.
        assert f"({BEFORE})" in seen.error.message or "alert certificate required" in seen.error.message


@pytest.mark.parametrize(
    ("conversation", "text"),
    [
        (close, "the server closed the connection"),
        (lambda server, connection: connection.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), "wrong version number"),
    ],
)
def test_a_handshake_that_breaks_off(conversation: Conversation, text: str) -> None:
    seen = failing("POST", conversation, api=lambda s: make_api(f"https://{s.address}"))
    check(seen, "POST", text, received=False)
    assert "the TLS handshake failed" in seen.error.message


def test_a_handshake_that_takes_too_long() -> None:
    seen = failing("POST", silent, timeout=(0.2, 5), api=lambda s: make_api(f"https://{s.address}"))
    check(seen, "POST", "not within 0.2 s", received=False)


@pytest.mark.parametrize("drop", ["before", "reset"])
def test_a_tls_connection_dropped_without_an_answer(tls: Tls, drop: Any) -> None:
    seen = contract(
        lambda s: s.on("POST", "/a", Answer(drop=drop)),
        sync("POST"),
        server=lambda: ScriptedServer(ssl_context=tls.context),
        options=lambda s: TransportOptions(verify=tls.ca_file),
    )
    check(seen, "POST", BEFORE, received=True)
    assert seen.targets == ["POST /a"]
