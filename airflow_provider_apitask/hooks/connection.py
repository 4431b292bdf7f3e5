"""What the fields of an Airflow connection mean. No input or output: worker and triggerer share it."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.api import Api, as_timeout
from airflow_provider_apitask.core.auth import ApiKeyAuth, Auth, BasicAuth, BearerAuth, NoAuth
from airflow_provider_apitask.core.errors import ConnectionFieldError, OriginError, ParameterError
from airflow_provider_apitask.core.messages import Headers, Timeout
from airflow_provider_apitask.core.redaction import Redactor, is_secret_name
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.urls import join, origin, wire_text
from airflow_provider_apitask.drivers.transport import TransportOptions

__all__ = [
    "CONN_TYPE",
    "ApiConnection",
    "ConnectionLike",
    "checked_base_url",
    "field_error",
    "read_connection",
    "read_timeout",
    "secret_values",
    "truth",
]

log = logging.getLogger(__name__)

CONN_TYPE = "apitask"
AUTH_TYPES = ("none", "basic", "bearer", "api_key")
_KEY_PLACES = ("header", "query")
_FIELDS = frozenset({"auth_type", "api_key_name", "api_key_in", "headers", "allow_http", "timeout"})
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


class ConnectionLike(Protocol):
    """The fields of an Airflow connection that are read, alike in all versions."""

    @property
    def conn_id(self) -> str: ...  # noqa: D102 - Airflow's own names, here and below
    @property
    def conn_type(self) -> str | None: ...  # noqa: D102
    @property
    def host(self) -> str | None: ...  # noqa: D102
    @property
    def schema(self) -> str | None: ...  # noqa: D102
    @property
    def login(self) -> str | None: ...  # noqa: D102
    @property
    def password(self) -> str | None: ...  # noqa: D102
    @property
    def port(self) -> int | None: ...  # noqa: D102
    @property
    def extra_dejson(self) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class ApiConnection:
    """A connection read: the API, and how to reach it."""

    api: Api
    options: TransportOptions = field(default_factory=TransportOptions)


def read_connection(conn: ConnectionLike) -> ApiConnection:
    """Read a connection of type ``apitask`` or ``http``.

    :raises ConnectionFieldError: naming the connection, the field and what is allowed.
    """
    if conn.conn_type == CONN_TYPE:
        return _ApitaskReader(conn).read()
    if conn.conn_type == "http":
        from airflow_provider_apitask.hooks.http_transport import read_http_connection

        return read_http_connection(conn)
    raise field_error(conn, "conn_type", f"is {conn.conn_type!r}; an API needs {CONN_TYPE!r} or 'http'")


def field_error(conn: ConnectionLike, name: str, what: str) -> ConnectionFieldError:
    """The error of one field of a connection."""
    return ConnectionFieldError(
        f"The connection {conn.conn_id!r} cannot be used: its field {name} {what}.",
        conn_id=conn.conn_id,
        field=name,
    )


def truth(value: Any) -> bool | None:
    """What a flag in Extra says, which is text in a connection given as URI; None for neither."""
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def read_timeout(conn: ConnectionLike) -> Timeout | None:
    """The timeout in Extra: seconds, or a pair (connect, read); None where there is none.

    :raises ConnectionFieldError: where it is anything else.
    """
    value = (conn.extra_dejson or {}).get("timeout")
    if value in (None, ""):
        return None
    try:
        return as_timeout(checks.timeout(value))
    except (ParameterError, TypeError, ValueError):
        raise field_error(conn, "timeout", f"is {value!r}; it must be seconds above 0") from None


def secret_values(headers: Headers) -> list[str]:
    """The values of headers that sound like credentials, for the redactor."""
    return [value for name, value in headers if is_secret_name(name)]


def checked_base_url(conn: ConnectionLike, url: str, *, allow_http: bool) -> str:
    """Return a base URL that can be used.

    :raises ConnectionFieldError: where it is no http(s) URL, or plain and that is not wanted.
    """
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise field_error(conn, "host", "has a user name in it; use the fields login and password")
    try:
        scheme, _, _ = origin(url)
    except OriginError:
        shown = Redactor().url(url) if "//" in url else url
        raise field_error(
            conn,
            "host",
            f"(Base URL) makes {shown!r}; it must hold an absolute URL such as 'https://api.example.com/v1'",
        ) from None
    if scheme == "http" and not allow_http:
        raise field_error(
            conn,
            "allow_http",
            f"is not set, and {url!r} is plain HTTP, which sends credentials readable for all: use https, or "
            "set allow_http where that is really wanted",
        )
    return url


class _ApitaskReader:
    """Reads one connection of type ``apitask``, each field in one place."""

    def __init__(self, conn: ConnectionLike) -> None:
        self._conn = conn
        self._extra = conn.extra_dejson or {}

    def read(self) -> ApiConnection:
        conn = self._conn
        for name in sorted(set(self._extra) - _FIELDS):
            log.warning("The connection %r has an unknown field in Extra, ignored: %s", conn.conn_id, name)
        allow_http = self._boolean("allow_http")
        auth, headers, timeout = self._auth(), self._headers(), read_timeout(conn)
        api = Api(
            conn_id=conn.conn_id,
            base_url=checked_base_url(conn, self._base_url(), allow_http=allow_http),
            auth=auth,
            headers=headers,
            allow_http=allow_http,
            redactor=Redactor([*auth.secrets, *secret_values(headers)]),
        )
        return ApiConnection(replace(api, timeout=timeout) if timeout else api)

    def _base_url(self) -> str:
        """The base URL: all of it in host, or in pieces as a connection given as URI has them."""
        conn = self._conn
        host = (conn.host or "").strip()
        if not host:
            raise self._error(
                "host", "is empty; it must hold the base URL, such as 'https://api.example.com/v1'"
            )
        if _is_ipv6(host):
            host = f"[{host}]"
        schema = conn.schema or ""
        scheme = schema.lower() if schema.lower() in ("http", "https") else None
        url = host if "://" in host else f"{scheme or 'https'}://{host}"
        if scheme and not url.lower().startswith(f"{scheme}://"):
            raise self._error("schema", f"is {schema!r}, and host says {url.partition(':')[0]!r}")
        if conn.port:
            url = self._with_port(url, conn.port)
        # apitask://api.example.com/v1: Airflow's reading of a URI puts the path into schema.
        return join(url, schema) if schema and not scheme else url

    def _with_port(self, url: str, port: int) -> str:
        parts = urlsplit(url)
        try:
            own = parts.port
        except ValueError:
            return url  # refused as no URL
        if own is None:
            return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()
        if own != port:
            raise self._error("port", f"is {port}, and host says {own}")
        return url

    def _auth(self) -> Auth:
        conn = self._conn
        kind = self._extra.get("auth_type") or ("basic" if conn.login else "none")
        if kind not in AUTH_TYPES:
            raise self._error("auth_type", f"is {kind!r}; it must be one of {', '.join(AUTH_TYPES)}")
        if kind == "none":
            if conn.login or conn.password:
                raise self._error("auth_type", "is 'none', and there is a login or password")
            return NoAuth()
        if not conn.password and not (kind == "basic" and conn.password is not None):
            raise self._error("password", f"is empty, and auth_type {kind!r} needs it")
        if kind == "basic":
            if not conn.login:
                raise self._error("login", "is empty, and auth_type 'basic' needs it")
            return BasicAuth(conn.login, conn.password)
        if kind == "bearer":
            return BearerAuth(conn.password)
        place = self._extra.get("api_key_in") or "header"
        if place not in _KEY_PLACES:
            raise self._error("api_key_in", f"is {place!r}; it must be one of {', '.join(_KEY_PLACES)}")
        default_name = "X-API-Key" if place == "header" else "api_key"
        return ApiKeyAuth(str(self._extra.get("api_key_name") or default_name), conn.password, place)

    def _headers(self) -> Headers:
        value = self._extra.get("headers") or {}
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        if not isinstance(value, Mapping):
            raise self._error("headers", "must be a JSON object of header names and values")
        try:
            RequestSpec(headers=value).checked()
        except ParameterError as error:
            raise self._error("headers", f"cannot be sent ({error.message.rstrip('.')})") from None
        return Headers(
            [
                (str(name), wire_text(item))
                for name, items in value.items()
                for item in (items if isinstance(items, list) else [items])
                if item is not None
            ]
        )

    def _boolean(self, name: str) -> bool:
        value = self._extra.get(name)
        found = truth("" if value is None else value)
        if found is None:
            raise self._error(name, f"is {value!r}; it must be true or false")
        return found

    def _error(self, name: str, what: str) -> ConnectionFieldError:
        return field_error(self._conn, name, what)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
