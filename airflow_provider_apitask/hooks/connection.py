"""What the fields of an Airflow connection mean. No input or output: worker and triggerer share it."""

from __future__ import annotations

import base64
import ipaddress
import logging
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.api import Api, as_timeout
from airflow_provider_apitask.core.csrf import CsrfTokens
from airflow_provider_apitask.core.errors import ConnectionFieldError, OriginError, ParameterError
from airflow_provider_apitask.core.messages import Headers, Timeout
from airflow_provider_apitask.core.origins import OriginRules
from airflow_provider_apitask.core.redaction import Redactor, is_secret_name
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.urls import join, origin, wire_text
from airflow_provider_apitask.drivers.transport import TransportOptions
from airflow_provider_apitask.hooks.auth import AUTH_FIELDS, Learned, read_auth, read_worker_auth
from airflow_provider_apitask.hooks.fields import ConnectionLike, Fields, field_error, truth
from airflow_provider_apitask.hooks.session_login import read_csrf
from airflow_provider_apitask.hooks.storage import open_file

__all__ = [
    "CONN_TYPE",
    "KNOWN_FIELDS",
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
#: Seconds to connect, and to wait for each piece of an answer.
DEFAULT_TIMEOUT: Timeout = (10.0, 30.0)
#: Everything in Extra that is read; nothing else does anything.
KNOWN_FIELDS = AUTH_FIELDS | {
    *("headers", "allow_http", "allowed_origins", "anonymous_origins", "health_endpoint", "health_method"),
    *("timeout", "connect_timeout", "rate_limit", "verify", "ca_bundle", "client_cert", "client_key"),
    *("proxy", "proxy_login", "proxy_password", "csrf_header", "csrf_cookie"),
}


@dataclass(frozen=True, slots=True)
class ApiConnection:
    """A connection read: the API, and how to reach it."""

    api: Api
    options: TransportOptions = field(default_factory=TransportOptions)
    health: RequestSpec = field(default_factory=lambda: RequestSpec(endpoint=""))


def read_connection(conn: ConnectionLike, learned: Learned = lambda secret: None) -> ApiConnection:
    """Read a connection of type ``apitask`` or ``http``.

    :param learned: is told each secret that is got at run time, such as a token.

    :raises ConnectionFieldError: naming the connection, the field and what is allowed.
    """
    if conn.conn_type == CONN_TYPE:
        found = _ApitaskReader(conn, learned).read()
    elif conn.conn_type == "http":
        from airflow_provider_apitask.hooks.http_transport import read_http_connection

        found = read_http_connection(conn)
    else:
        raise field_error(conn, "conn_type", f"is {conn.conn_type!r}; an API needs {CONN_TYPE!r} or 'http'")
    return replace(found, options=replace(found.options, open_file=open_file))


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

    def __init__(self, conn: ConnectionLike, learned: Learned) -> None:
        self._conn = conn
        self._fields = Fields(conn)
        self._learned = learned

    def read(self) -> ApiConnection:
        conn, fields = self._conn, self._fields
        for name in sorted(fields.names() - KNOWN_FIELDS):
            log.warning("The connection %r has an unknown field in Extra, ignored: %s", conn.conn_id, name)
        allow_http = fields.boolean("allow_http")
        base_url = checked_base_url(conn, self._base_url(), allow_http=allow_http)
        timeout = self._timeout()
        redactor = Redactor()

        def learned(secret: str) -> None:
            redactor.learn(secret)
            self._learned(secret)

        worker_auth = read_worker_auth(fields)
        auth = read_auth(fields, base_url, timeout, learned, redactor.text)
        headers = self._headers()
        redactor.add(*auth.secrets, *secret_values(headers), conn.password)
        redactor.add(*self._proxy_secrets(), *self._worker_secrets())
        api = Api(
            conn_id=conn.conn_id,
            base_url=base_url,
            auth=auth,
            headers=headers,
            allow_http=allow_http,
            origins=self._origins(),
            csrf=CsrfTokens(read_csrf(fields), redactor.text, learned, conn.conn_id),
            timeout=timeout,
            redactor=redactor,
        )
        options = TransportOptions(
            verify=self._verify(),
            cert=self._cert(),
            proxies=self._proxies(),
            rate_limit=fields.number("rate_limit"),
            worker_auth=worker_auth,
            ca_field="ca_bundle",
            cert_fields=("client_cert", "client_key"),
        )
        return ApiConnection(api, options, health=self._health())

    def _timeout(self) -> Timeout:
        connect, read = read_timeout(self._conn) or DEFAULT_TIMEOUT
        return self._fields.number("connect_timeout") or connect, read

    def _origins(self) -> OriginRules:
        given = {name: self._fields.items(f"{name}_origins") for name in ("allowed", "anonymous")}
        for name, origins in given.items():
            try:
                OriginRules.parse(**{name: origins})
            except OriginError as error:
                what = f"has an entry that is no origin: {error.message.rstrip('.')}"
                raise self._error(f"{name}_origins", what) from None
        return OriginRules.parse(**given)

    def _verify(self) -> bool | str:
        if not self._fields.boolean("verify", default=True):
            return False
        return self._fields.text("ca_bundle") or True

    def _cert(self) -> str | tuple[str, str] | None:
        cert, key = self._fields.text("client_cert"), self._fields.text("client_key")
        if key and not cert:
            raise self._error("client_cert", "is empty, and client_key needs it")
        return (cert, key) if cert and key else cert or None

    def _proxies(self) -> dict[str, str]:
        proxy = self._fields.text("proxy")
        if not proxy:
            return {}
        url = proxy if "://" in proxy else f"http://{proxy}"
        if "@" in url:
            raise self._error("proxy", "has a user name in it; use the fields proxy_login and proxy_password")
        try:
            origin(url)
        except OriginError:
            what = f"is {proxy!r}; it must be a URL such as 'http://proxy:3128'"
            raise self._error("proxy", what) from None
        parts = urlsplit(url)
        login = self._fields.text("proxy_login")
        if login:
            user = f"{quote(login, safe='')}:{quote(self._fields.text('proxy_password'), safe='')}"
            parts = parts._replace(netloc=f"{user}@{parts.netloc}")
        return {"all": parts.geturl()}

    def _proxy_secrets(self) -> tuple[str, ...]:
        """The password, alone and as it is sent."""
        password = self._fields.text("proxy_password")
        pair = f"{self._fields.text('proxy_login')}:{password}"
        return (password, base64.b64encode(pair.encode()).decode()) if password else ()

    def _worker_secrets(self) -> list[str]:
        """What an authentication of the requests library is made with, and a login as Basic sends it."""
        if self._fields.text("auth_type") != "requests":
            return []
        given = self._fields.mapping("requests_auth_params", secret=True)
        found = [str(value) for name, value in given.items() if name not in ("username", "user", "login")]
        users = {self._conn.login, given.get("username")} - {None}
        pairs = [f"{user}:{secret}" for user in users for secret in (self._conn.password, *found) if secret]
        return [*found, *(base64.b64encode(pair.encode()).decode() for pair in pairs)]

    def _health(self) -> RequestSpec:
        method = self._fields.choice("health_method", ("GET", "HEAD"), "GET")
        return RequestSpec(method=method, endpoint=self._fields.text("health_endpoint"))

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

    def _headers(self) -> Headers:
        value = self._fields.mapping("headers")
        self._fields.check_headers("headers", value)
        return Headers(
            [
                (name, wire_text(item))
                for name, items in value.items()
                for item in (items if isinstance(items, list) else [items])
                if item is not None
            ]
        )

    def _error(self, name: str, what: str) -> ConnectionFieldError:
        return field_error(self._conn, name, what)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
