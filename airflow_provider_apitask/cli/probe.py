"""The way to a server, step by step: its name, a TCP connection, TLS. Nothing is asked of it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow_provider_apitask.hooks.connection import ApiConnection

__all__ = ["Probed", "probe"]

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Probed:
    """One step.

    :param ok: None where it was not taken.
    :param seconds: it took, None where it was not taken.
    """

    name: str
    ok: bool | None
    text: str
    seconds: float | None = None


def probe(connection: ApiConnection) -> Iterator[Probed]:
    """Go the way to the server of a connection, until a step fails.

    :raises ConnectionFieldError: where a certificate of the connection cannot be read.
    """
    url = connection.api.base_url
    if (proxy := connection.options.proxy_for(url)) is not None:
        shown = connection.api.redactor.url(proxy)
        yield Probed("Resolve", None, f"not here: the proxy {shown} does it.")
        yield Probed("Reach", None, "by the proxy alone.")
        return
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    begun = time.monotonic()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Probed("Resolve", False, f"{host}: {error}.", time.monotonic() - begun)
        return
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    yield Probed("Resolve", True, f"{host} is {', '.join(addresses)}.", time.monotonic() - begun)
    begun = time.monotonic()
    try:
        reached = socket.create_connection((host, port), timeout=connection.api.timeout[0])
    except OSError as error:
        yield Probed("Reach", False, f"{host} port {port}: {error}.", time.monotonic() - begun)
        return
    with reached:
        yield Probed("Reach", True, f"{reached.getpeername()[0]} port {port}.", time.monotonic() - begun)
        if parts.scheme == "https":
            yield _handshake(connection, reached, host)


def _handshake(connection: ApiConnection, reached: socket.socket, host: str) -> Probed:
    from airflow_provider_apitask.drivers.transport import tls_context

    context = tls_context(connection.api, connection.options)
    if context is None:
        raise RuntimeError("there is no TLS context for an https URL")
    begun = time.monotonic()
    try:
        with context.wrap_socket(reached, server_hostname=host) as secured:
            spent = time.monotonic() - begun
            said = f"{secured.version()}, {_certificate(secured.getpeercert())}"
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "verify_message", "") or getattr(error, "reason", None) or error
        return Probed("TLS", False, f"{why}.", time.monotonic() - begun)
    if context.verify_mode is ssl.CERT_NONE:
        return Probed("TLS", None, f"{secured.version()}, certificate not verified (verify is off).", spent)
    return Probed("TLS", True, said, spent)


def _certificate(found: Any) -> str:
    until = ""
    with suppress(KeyError, TypeError, ValueError):
        seconds = ssl.cert_time_to_seconds(found["notAfter"])
        until = time.strftime(", valid until %Y-%m-%d", time.gmtime(seconds))
    return f"certificate verified{until}."
