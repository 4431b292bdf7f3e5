"""What may go over the wire: header fields as they are sent and taken, and the limits of both."""

from __future__ import annotations

import re
import socket

from airflow_provider_apitask.core.messages import Failure, Headers, Request, Timeout

__all__ = [
    "IDLE_SECONDS",
    "KEEP_ALIVE",
    "UnusableError",
    "total_seconds",
    "wire_headers",
]

#: A request may take so many read timeouts altogether, however steadily its answer drips.
READ_PERIODS = 10
#: Bytes per second that a body from files is sent with at least, or an answer to a storage comes with.
SLOWEST_UPLOAD = 256 * 1024
#: An idle connection is used again for so long. Balancers and NAT forget connections in silence after
#: a minute or more, and a request on such a one is lost without an answer.
IDLE_SECONDS = 60.0
#: Socket options by which a connection that waits for a slow answer is not forgotten on its way: a probe
#: after 120 seconds, then each 30, and 20 without an answer end it.
KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *[
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 20))
        if hasattr(socket, name)
    ],
]
#: Methods that say nothing of a length where there is no body, as RFC 9110 §8.6 wants it. DELETE belongs here
#: too, but aiohttp insists, and ``Content-Length: 0`` harms nobody.
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: As RFC 9110 §5.5 has it: the null byte and line breaks could end a field early. UTF-8 has no surrogates.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class UnusableError(Exception):
    """A request that cannot be written, or an answer that cannot be read."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


def total_seconds(timeout: Timeout, upload_size: int = 0) -> float:
    """How long one request may take altogether, from the connecting to the last byte of the answer.

    :param upload_size: bytes of a body that is sent from files.
    """
    connect, read = timeout
    return connect + READ_PERIODS * read + upload_size / SLOWEST_UPLOAD


def wire_headers(request: Request, upload_size: int | None = None) -> Headers:
    """The header fields to send: those of the core, the length, and no default of a library.

    The content codings are those that ``body`` can read.

    :param upload_size: bytes of a body that is sent from files.
    :raises UnusableError: where a value cannot be written; often a token that was read with its line break.
    """
    defaults = (("User-Agent", "airflow-provider-apitask"), ("Accept-Encoding", "gzip, deflate"))
    added = [(name, value) for name, value in defaults if request.headers.get(name) is None]
    if request.body is not None or request.method not in _WITHOUT_BODY:
        size = upload_size if not isinstance(request.body, bytes) else len(request.body)
        added.append(("Content-Length", str(size or 0)))
    headers = request.headers.merged(added)
    for name, value in headers:
        if _CONTROL.search(value):
            # The value stays out of the message, as it may be a credential.
            raise UnusableError(
                Failure.CONNECT, f"a line break or control character in the header field {name}"
            )
    return headers
