"""What a failed request means, told the same way whichever library it failed in.

The texts are ours: those of the libraries differ, hold addresses of objects, and may quote what was sent.
"""

from __future__ import annotations

import os
import socket
import ssl
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from airflow_provider_apitask.core.framing import FramingError, ResponseFraming
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Request
from airflow_provider_apitask.drivers.wire import UnusableError, total_seconds

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
    :param expired: it took longer than :func:`total_seconds`.
    :param upload_size: bytes of its body, if that is sent from files.
    :param received: bytes of the response, if that goes to a sink.
    :param reused: an earlier request has used its connection.
    :param framing: of its response; None before it is sent.
    """

    sent: bool = False
    expired: bool = False
    upload_size: int = 0
    received: int = 0
    reused: bool = False
    framing: ResponseFraming | None = None

    @property
    def lost_in_silence(self) -> bool:
        """Whether its connection had served another request and then gave no byte for this one."""
        return self.sent and self.reused and (self.framing is None or not self.framing.begun)


@dataclass(frozen=True, slots=True)
class Library:
    """Which errors of a library mean what.

    :param errors: the connection or what came over it.
    :param timeouts: waited too long.
    :param names: a host name that cannot be asked for, beside those that cannot be encoded.
    :param proxy: a proxy could not be reached or refused.
    """

    errors: tuple[type[BaseException], ...]
    timeouts: tuple[type[BaseException], ...]
    names: tuple[type[BaseException], ...]
    proxy: tuple[type[BaseException], ...]


def network_failure(
    error: BaseException, request: Request, progress: Progress, library: Library
) -> NetworkFailure:
    """Name a failure. The server may have got the request if, and only if, it was sent.

    :raises Exception: ``error`` itself, if nothing was sent and it is not an error of the network or of the
        request: a defect.
    """
    chain = _chain(error)
    framed = progress.framing.error if progress.framing is not None else None
    if own := framed or _first(chain, UnusableError) or _first(chain, FramingError):
        failure, detail = own.failure, str(own)
    elif progress.sent:
        failure, detail = _broken_off(chain, request, progress, library)
    elif _first(chain, OSError, ValueError, *library.errors):
        failure, detail = _not_connected(chain, request, progress, library)
    else:
        raise error
    return NetworkFailure(failure, detail, possibly_received=progress.sent)


def _broken_off(
    chain: list[BaseException], request: Request, progress: Progress, library: Library
) -> tuple[Failure, str]:
    if progress.expired:
        allowed = total_seconds(request.timeout, progress.upload_size + progress.received)
        return Failure.TIMEOUT, f"not complete after {allowed:g} s"
    if _first(chain, *library.timeouts):
        return Failure.TIMEOUT, f"no byte for {request.timeout[1]:g} s"
    if not _first(chain, *_CLOSED) and (refusal := _tls_words(chain)):
        # TLS 1.3 tells of a refused client certificate in place of the first answer.
        return Failure.DROPPED, refusal
    if not _first(chain, OSError, *library.errors):
        return Failure.UNREADABLE, _place(chain[0])
    answered = progress.framing is not None and progress.framing.head is not None
    return Failure.DROPPED, "in the middle of the answer" if answered else "before any answer"


def _place(error: BaseException) -> str:
    """Return the type of an error and the line that raised it; its text may quote a credential."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    where = f" at {Path(last.filename).name}:{last.lineno}" if last is not None else ""
    return f"{type(error).__name__}{where}"


def _not_connected(
    chain: list[BaseException], request: Request, progress: Progress, library: Library
) -> tuple[Failure, str]:
    proxy = "through the proxy: " if _first(chain, *library.proxy) else ""
    if unknown := _first(chain, socket.gaierror):
        return Failure.RESOLVE, proxy + (unknown.strerror or "unknown name")
    if _first(chain, UnicodeError, *library.names):
        return Failure.RESOLVE, f"{proxy}it is no valid name"
    if _first(chain, *_CLOSED):
        failure = Failure.TLS if proxy or request.url.startswith("https:") else Failure.CONNECT
        return failure, f"{proxy}the server closed the connection"
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
