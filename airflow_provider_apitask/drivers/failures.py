"""What a failed request means, told the same way whichever library it failed in.

The texts are ours: those of the libraries differ, hold addresses of objects, and may quote what was sent.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Request
from airflow_provider_apitask.drivers.wire import MALFORMED, UnusableError, total_seconds

__all__ = ["Library", "Progress", "network_failure"]

_Link = TypeVar("_Link", bound=BaseException)

#: The connection was made, and closed by the other side.
_CLOSED = (
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)


@dataclass(slots=True)
class Progress:
    """How far one request has come: facts, noted as they happen.

    :param sent: its first byte may have left.
    :param answered: status and header fields of the answer are here.
    :param expired: it took longer than :func:`total_seconds`.
    :param upload_size: bytes of its body, where that is sent from files.
    """

    sent: bool = False
    answered: bool = False
    expired: bool = False
    upload_size: int = 0


@dataclass(frozen=True, slots=True)
class Library:
    """Which errors of a library mean what.

    :param timeouts: waited too long.
    :param names: a host name that cannot be asked for, beside those that cannot be encoded.
    :param proxy: a proxy could not be reached or refused.
    :param is_invalid: whether an error says that what came is not HTTP.
    """

    timeouts: tuple[type[BaseException], ...]
    names: tuple[type[BaseException], ...]
    proxy: tuple[type[BaseException], ...]
    is_invalid: Callable[[BaseException], bool]


def network_failure(
    error: BaseException, request: Request, progress: Progress, library: Library
) -> NetworkFailure:
    """Name a failure. The server may have got the request if, and only if, it was sent."""
    chain = _chain(error)
    if own := _first(chain, UnusableError):
        failure, detail = own.failure, str(own)
    elif progress.sent:
        failure, detail = _broken_off(chain, request, progress, library)
    else:
        failure, detail = _not_connected(chain, request, progress, library)
    return NetworkFailure(failure, detail, possibly_received=progress.sent)


def _broken_off(
    chain: list[BaseException], request: Request, progress: Progress, library: Library
) -> tuple[Failure, str]:
    if progress.expired:
        return (
            Failure.TIMEOUT,
            f"not complete after {total_seconds(request.timeout, progress.upload_size):g} s",
        )
    if any(map(library.is_invalid, chain)):
        return Failure.INVALID, MALFORMED
    if _first(chain, *library.timeouts):
        return Failure.TIMEOUT, f"no byte for {request.timeout[1]:g} s"
    if not _first(chain, *_CLOSED) and (refusal := _tls_words(chain)):
        # TLS 1.3 tells of a refused client certificate in place of the first answer.
        return Failure.DROPPED, refusal
    return Failure.DROPPED, "in the middle of the answer" if progress.answered else "before any answer"


def _not_connected(
    chain: list[BaseException], request: Request, progress: Progress, library: Library
) -> tuple[Failure, str]:
    proxy = "through the proxy: " if _first(chain, *library.proxy) else ""
    if unknown := _first(chain, socket.gaierror):
        return Failure.RESOLVE, proxy + (unknown.strerror or "unknown name")
    if _first(chain, UnicodeError, *library.names):
        return Failure.RESOLVE, f"{proxy}it is no valid name"
    if _first(chain, *_CLOSED):
        return Failure.TLS, f"{proxy}the server closed the connection"
    if refusal := _tls_words(chain):
        return Failure.TLS, proxy + refusal
    for link in chain:
        if isinstance(link, OSError) and link.errno:
            return Failure.CONNECT, proxy + os.strerror(link.errno)
    if progress.expired or _first(chain, *library.timeouts):
        return Failure.CONNECT, f"{proxy}not within {request.timeout[0]:g} s"
    return Failure.CONNECT, "the proxy refused" if proxy else "the request cannot be written as HTTP"


def _tls_words(chain: list[BaseException]) -> str | None:
    """What OpenSSL says, None where it says nothing. aiohttp's errors are of its type and have no reason."""
    for link in chain:
        if isinstance(link, ssl.SSLError):
            if message := getattr(link, "verify_message", None):
                return f"the certificate is not accepted: {message}"
            if reason := getattr(link, "reason", None):
                return str(reason).replace("_", " ").lower()  # such as WRONG_VERSION_NUMBER
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it wraps: requests and urllib3 keep causes in ``args`` and ``reason``."""
    chain: list[BaseException] = []
    queue: list[object] = [error]
    while queue and len(chain) < 20:
        link = queue.pop(0)
        if isinstance(link, BaseException) and link not in chain:
            chain.append(link)
            queue += [*link.args, getattr(link, "reason", None), link.__cause__]
    return chain


def _first(chain: list[BaseException], *kinds: type[_Link]) -> _Link | None:
    return next((link for link in chain if isinstance(link, kinds)), None)
