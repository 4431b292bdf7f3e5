"""Certificates of a throw-away CA made by trustme, and a front that ends TLS for a plain server.

::

    certificates = make_certificates(tmp_path)
    with HttpbinServer(ssl_context=certificates.mutual) as server:
        requests.get(f"{server.url}/get", verify=certificates.ca_file, cert=certificates.client)
"""

from __future__ import annotations

import datetime as dt
import select
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.support.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trustme

__all__ = ["Certificates", "make_certificates", "tls_front"]

_PATIENCE: Final = 2.0
"""Seconds that a client may take for one step of a handshake."""


@dataclass(frozen=True)
class Certificates:
    """Contexts for servers, paths of PEM files for clients."""

    good: ssl.SSLContext
    """For 127.0.0.1 and localhost."""
    expired: ssl.SSLContext
    """For the same names; expired yesterday."""
    wrong_host: ssl.SSLContext
    """For other.example only."""
    mutual: ssl.SSLContext
    """As ``good``; a client without a certificate of the CA is refused."""
    ca_file: str
    """The CA that signed all of the above."""
    other_ca_file: str
    """A CA that signed none of them."""
    client_cert: str
    client_key: str
    client_pem: str
    """Certificate and key of the client in one file."""
    stranger_cert: str
    stranger_key: str
    """A client certificate of the other CA."""

    @property
    def client(self) -> tuple[str, str]:
        """Certificate and key as ``requests`` takes them."""
        return self.client_cert, self.client_key


def make_certificates(directory: Path) -> Certificates:
    """Make a CA, its certificates and the files of the client in ``directory``."""
    import trustme

    authority, other = trustme.CA(), trustme.CA()
    ca_file, other_ca_file = directory / "ca.pem", directory / "other-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    other.cert_pem.write_to_path(str(other_ca_file))
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    good = authority.issue_cert("127.0.0.1", "localhost")
    expired = authority.issue_cert("127.0.0.1", "localhost", not_before=now - 9 * day, not_after=now - day)
    mutual = _server_context(good)
    authority.configure_trust(mutual)
    mutual.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("client@example.com", common_name="client")
    stranger = other.issue_cert("stranger@example.com", common_name="stranger")
    client_pem = directory / "client.pem"
    client.private_key_and_cert_chain_pem.write_to_path(str(client_pem))
    client_cert, client_key = _write_pair(client, directory, "client")
    stranger_cert, stranger_key = _write_pair(stranger, directory, "stranger")
    return Certificates(
        good=_server_context(good),
        expired=_server_context(expired),
        wrong_host=_server_context(authority.issue_cert("other.example")),
        mutual=mutual,
        ca_file=str(ca_file),
        other_ca_file=str(other_ca_file),
        client_cert=client_cert,
        client_key=client_key,
        client_pem=str(client_pem),
        stranger_cert=stranger_cert,
        stranger_key=stranger_key,
    )


def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _write_pair(certificate: trustme.LeafCert, directory: Path, name: str) -> tuple[str, str]:
    cert_file, key_file = directory / f"{name}-cert.pem", directory / f"{name}-key.pem"
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(cert_file), append=True)
    certificate.private_key_pem.write_to_path(str(key_file))
    return str(cert_file), str(key_file)


@contextmanager
def tls_front(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """End TLS on another port of 127.0.0.1, given, and carry the bytes to the plain server at ``port``.

    One connection behind it for each one in front, so keep-alive and connection counts stay as they are. One
    thread carries both ways, as an SSL object wants it.
    """
    woken, stopper = socket.socketpair()

    def carry(server: RawServer, connection: socket.socket) -> None:
        poll = _poll(connection, woken)
        if woken.fileno() in dict(poll.poll()):  # before that the client may be silent for ever
            return
        connection.settimeout(_PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            try:
                tls.do_handshake()
            except OSError:
                _let_the_alert_arrive(tls)
                return
            tls.settimeout(None)
            with socket.create_connection(("127.0.0.1", port)) as behind:
                behind.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _pump(tls, behind, woken)
            tls.setblocking(False)
            tls.unwrap()  # says goodbye, and does not wait for an answer (an OSError)

    with woken, RawServer(carry) as server, stopper:  # closing it wakes every thread
        yield int(server.address.rpartition(":")[2])


def _poll(*ends: socket.socket) -> select.poll:
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    return poll


def _let_the_alert_arrive(tls: ssl.SSLSocket) -> None:
    """Read what the client still sends: closing with it unread would reset the connection."""
    socket.socket.shutdown(tls, socket.SHUT_WR)
    while socket.socket.recv(tls, 65536):
        pass


def _pump(tls: ssl.SSLSocket, behind: socket.socket, woken: socket.socket) -> None:
    poll = _poll(tls, behind, woken)
    while True:
        ready = dict(poll.poll(0 if tls.pending() else None))
        if woken.fileno() in ready:
            return
        if tls.pending() or tls.fileno() in ready:
            if not (data := tls.recv(65536)):
                return
            behind.sendall(data)
        if behind.fileno() in ready:
            if not (data := behind.recv(65536)):
                return
            tls.sendall(data)
