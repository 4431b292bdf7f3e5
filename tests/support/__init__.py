"""Servers on localhost that tests talk to over real sockets, and the messages such servers know.

``Recorded`` is a request that arrived, ``Answer`` what a test scripted for it. The server itself is in
``scripted_server``, an asynchronous job API on top of it in ``job_server``.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import json as jsonlib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Answer", "Recorded", "Scripted", "Tls", "refused_url", "self_signed_tls"]

_UNSET: Final[Any] = object()


@dataclass(frozen=True)
class Recorded:
    """A request as it arrived."""

    method: str
    target: str
    """Path and query exactly as sent, so a doubled slash or a wrong escape is visible."""
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: bytes
    at: float
    """``time.monotonic()`` at the end of the request."""
    connection: int
    """Which TCP connection carried it, counted from 1."""
    peer: int = field(default=0, compare=False, kw_only=True)
    """The sender's TCP port, by which its process can be found."""

    def headers_all(self, name: str) -> list[str]:
        """Every value of a header, in the order sent."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The first value of a header, None without it."""
        return next(iter(self.headers_all(name)), None)

    def json(self) -> Any:
        """The body parsed as JSON."""
        return jsonlib.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """One scripted answer. At most one of ``json``, ``text``, ``body`` and ``size`` is the content.

    Header values given here win over the ones derived from the content (Content-Type, Content-Length).
    """

    status: int = 200
    json: Any = _UNSET
    _: KW_ONLY
    text: str | None = None
    body: bytes = b""
    headers: Sequence[tuple[str, str]] | Mapping[str, str] = ()
    reason: str | None = None
    size: int | None = None
    """A body of so many bytes ``x``, made on the fly."""
    chunked: bool = False
    """Transfer-Encoding: chunked, so no length is announced."""
    delay: float = 0.0
    """Seconds before the first byte."""
    bytes_per_second: float | None = None
    """Drip the body at this rate."""
    truncate: int | None = None
    """Close the connection after so many bytes of a longer body."""
    hang: bool = False
    """Never answer: the connection is closed at the server's stop or its ``hang_limit``."""
    drop: Literal["before", "after", "reset"] | None = None
    """Close without an answer (``before``; ``reset`` does it with a TCP RST), or close unannounced after a
    complete answer (``after``), which leaves a stale connection in the client's pool."""

    def __post_init__(self) -> None:
        contents = (self.json is not _UNSET, self.text is not None, bool(self.body), self.size is not None)
        if sum(contents) > 1:
            raise ValueError("an answer has only one of json, text, body and size")

    @property
    def content(self) -> bytes | None:
        """The whole body, None when it is generated from ``size``."""
        if self.size is not None:
            return None
        if self.json is not _UNSET:
            return jsonlib.dumps(self.json).encode()
        return self.body if self.text is None else self.text.encode()

    def header_list(self, length: int) -> list[tuple[str, str]]:
        """The headers to send with a body of ``length`` bytes."""
        pairs = list(self.headers.items() if isinstance(self.headers, Mapping) else self.headers)
        derived = []
        if self.json is not _UNSET:
            derived.append(("Content-Type", "application/json"))
        elif self.text is not None:
            derived.append(("Content-Type", "text/plain; charset=utf-8"))
        if self.chunked:
            derived.append(("Transfer-Encoding", "chunked"))
        elif self.status >= 200 and self.status != 204:
            derived.append(("Content-Length", str(length)))
        given = {name.lower() for name, _ in pairs}
        return pairs + [(name, value) for name, value in derived if name.lower() not in given]


Scripted: TypeAlias = Answer | Callable[[Recorded], Answer]


@functools.cache
def refused_url() -> str:
    """An ``http://127.0.0.1:PORT`` where nothing listens.

    The port stays bound (not listening) until the process ends, so that no later server gets it.
    """
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    probe.detach()
    return f"http://127.0.0.1:{port}"


class Tls(NamedTuple):
    """A server's context and the file (PEM) a client has to trust for it."""

    context: ssl.SSLContext
    ca_file: str


def self_signed_tls(directory: Path) -> Tls:
    """A throw-away certificate for 127.0.0.1 and localhost, written to ``directory``."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    serial = x509.random_serial_number()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = directory / "ca.pem", directory / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    return Tls(context, str(ca_file))
