"""Connections of Airflow's own type ``http``, read by the HTTP provider's hook.

The hook is used as a factory of sessions alone: what it makes of login, Extra and the rest is what
HttpOperator users have today, headers in Extra included.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import requests
from airflow.providers.http.hooks.http import HttpHook
from requests.auth import HTTPBasicAuth

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Auth, BasicAuth, NoAuth
from airflow_provider_apitask.core.messages import Headers
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.drivers.transport import TransportOptions
from airflow_provider_apitask.hooks.connection import (
    ApiConnection,
    checked_base_url,
    read_timeout,
    secret_values,
)
from airflow_provider_apitask.hooks.fields import ConnectionLike, field_error, truth

__all__ = ["read_http_connection"]


class _SessionFactory(HttpHook):
    """The hook for a connection that was looked up already, blocking or not."""

    def __init__(self, conn: ConnectionLike) -> None:
        super().__init__(http_conn_id=conn.conn_id, tcp_keep_alive=False)
        self._conn = conn

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override]  # a classmethod there
        return self._conn


def read_http_connection(conn: ConnectionLike) -> ApiConnection:
    """Read a connection of type ``http``.

    Plain HTTP is that type's default, so it counts as wanted.

    :raises ConnectionFieldError: naming the connection, the field and what is wrong.
    """
    if truth((conn.extra_dejson or {}).get("srv_lookup")):
        raise field_error(conn, "srv_lookup", "is set; a host found by DNS SRV records is not supported")
    factory = _SessionFactory(conn)
    try:
        session = factory.get_conn()
    except (ValueError, TypeError) as error:
        raise field_error(conn, "host", f"or extra is refused by HttpHook ({error})") from None
    with session:
        headers = _given_headers(session)
        auth = _auth(conn, session)
        api = Api(
            conn_id=conn.conn_id,
            base_url=_base_url(conn, factory.base_url),
            auth=auth,
            headers=headers,
            allow_http=True,
            redactor=Redactor([*auth.secrets, *secret_values(headers)]),
        )
        timeout = read_timeout(conn)
        return ApiConnection(replace(api, timeout=timeout) if timeout else api, _options(conn, session))


def _base_url(conn: ConnectionLike, url: str) -> str:
    url = checked_base_url(conn, url, allow_http=True)
    if conn.port and urlsplit(url).port != conn.port:
        # HttpHook writes the port behind a path in host, and would ask the default port for a wrong path.
        raise field_error(
            conn, "port", f"cannot be added to a host with a path ({url!r}); write it into host"
        )
    return url


def _options(conn: ConnectionLike, session: requests.Session) -> TransportOptions:
    proxies: Any = session.proxies or {}
    if isinstance(proxies, str):
        proxies = {"http": proxies, "https": proxies}
    if not isinstance(proxies, dict):
        raise field_error(conn, "proxies", "must be a JSON object of schemes and proxy URLs")
    # Text, as a connection given as URI has it, is a flag or else the path of a CA bundle.
    verify = True if session.verify in (None, "") else session.verify
    flag = truth(verify)
    cert: Any = session.cert or None
    return TransportOptions(
        verify=verify if flag is None else flag,
        cert=tuple(cert) if isinstance(cert, list) else cert,
        proxies={str(scheme): str(url) for scheme, url in proxies.items()},
    )


def _given_headers(session: requests.Session) -> Headers:
    """The headers of the connection, less those that requests adds to each session."""
    own = requests.utils.default_headers()
    return Headers([(name, str(value)) for name, value in session.headers.items() if own.get(name) != value])


def _auth(conn: ConnectionLike, session: requests.Session) -> Auth:
    if session.auth is None:
        return NoAuth()
    if isinstance(session.auth, HTTPBasicAuth):
        return BasicAuth(conn.login or "", conn.password or "")
    raise field_error(
        conn,
        "auth_type",
        f"is {type(session.auth).__name__}, which works on a worker alone; use a connection of type apitask",
    )
