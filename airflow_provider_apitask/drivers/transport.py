"""What both transports share: the options of a connection, its TLS and its rate limit."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import TokenAuth
from airflow_provider_apitask.core.errors import ConnectionFieldError
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.core.retry import retry_after
from airflow_provider_apitask.drivers.upload import FileOpener, open_local

__all__ = ["RateLimit", "TransportOptions", "tls_context"]

#: Longest pause that a server can ask of all jobs together, seconds; each job waits for its own besides.
_LONGEST_PAUSE = 300.0
#: Seconds between two requests that such a pause held back.
_GAP_AFTER_PAUSE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """How to reach an API. Nothing of it comes from the environment or from ``.netrc``.

    :param verify: whether server certificates are checked, or the path of a CA bundle or directory.
    :param cert: path of a client certificate with its key, or of both.
    :param proxies: URL of a proxy by scheme of the target: ``http``, ``https``, or ``all``.
    :param rate_limit: requests per second at most, of all tasks or triggers of a process together.
    :param worker_auth: an authentication of the requests library, for a worker alone.
    :param ca_field: the connection's field that names the CA bundle, for errors.
    :param cert_fields: its fields that name the client certificate and the key.
    :param open_file: opens the files of a body; by default those of this machine alone.
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: dict[str, str] = field(default_factory=dict, repr=False)
    rate_limit: float | None = None
    worker_auth: Callable[[Any], Any] | None = field(default=None, repr=False)
    ca_field: str = "verify"
    cert_fields: tuple[str, str] = ("cert", "cert")
    open_file: FileOpener = field(default=open_local, repr=False, compare=False)

    def proxy_for(self, url: str) -> str | None:
        """URL of the proxy for a target, None without one."""
        proxy = self.proxies.get(urlsplit(url).scheme) or self.proxies.get("all")
        return proxy if not proxy or "://" in proxy else f"http://{proxy}"


class RateLimit:
    """Holds requests back, for all tasks or triggers that share a transport; whoever asks is told how long.

    :param rate: requests per second, which are spread evenly; None for no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._next = 0.0

    def reserve(self, request: Request, now: float) -> float:
        """Take the next place; returns the seconds until it comes. A cancel request waits for nobody.

        :param now: monotonic time.
        """
        if request.purpose is Purpose.CANCEL:
            return 0.0
        at = max(now, self._next)
        # Not all at once when the server's pause is over.
        self._next = at + (self._gap or (_GAP_AFTER_PAUSE if at > now else 0.0))
        return at - now

    def learn(self, request: Request, response: Response, now: float, clock: float) -> None:
        """Obey a server that asks for a pause: it asked one of us and means all.

        RFC 6585 §4 (429) and RFC 9110 §15.6.4 (503).

        :param now: monotonic time.
        :param clock: Unix time, against which an HTTP date is read.
        """
        if response.status not in (429, 503) or not request.credentials:
            return
        asked = retry_after(response.headers, clock)
        if asked:
            self._next = max(self._next, now + min(asked, _LONGEST_PAUSE))


def tls_context(api: Api, options: TransportOptions) -> ssl.SSLContext | None:
    """One TLS context for all connections of a transport, None where none of them can need it.

    Worker and triggerer then trust the same servers. Reading the CA bundle takes some 15 ms, which is
    why this happens once and not for each connection.

    :raises ConnectionFieldError: where a file is missing or is no certificate.
    """
    schemes = {urlsplit(url).scheme for url in (api.base_url, *options.proxies.values())}
    if "https" not in schemes | api.origins.schemes and not isinstance(api.auth, TokenAuth):
        return None
    context = _verifying(api, options) if options.verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert is not None:
        files = (options.cert,) if isinstance(options.cert, str) else options.cert
        try:
            context.load_cert_chain(*files)
        except OSError as error:  # ssl.SSLError is one
            # ssl does not say which of two it was, but one that is not there is found.
            named = dict(zip(options.cert_fields, files, strict=False))
            missing = {name: path for name, path in named.items() if not Path(path).is_file()}
            name, path = next(iter((missing or named).items()))
            raise _unreadable(api, name, path, error) from None
    return context


def _verifying(api: Api, options: TransportOptions) -> ssl.SSLContext:
    import certifi

    path = options.verify if isinstance(options.verify, str) else certifi.where()
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise _unreadable(api, options.ca_field, path, error) from None


def _unreadable(api: Api, name: str, path: str, error: OSError) -> ConnectionFieldError:
    why = error.strerror if not isinstance(error, ssl.SSLError) else "it is no PEM file of what is wanted"
    return ConnectionFieldError(
        f"The connection {api.conn_id!r} cannot be used: its field {name} names {path}, which cannot be "
        f"read: {why}.",
        conn_id=api.conn_id,
        field=name,
    )
