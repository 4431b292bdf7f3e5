"""From the fields of a connection to its authentication, one function for each kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from airflow_provider_apitask.core.auth import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    DigestAuth,
    DriverAuth,
    HeadersAuth,
    NoAuth,
    OAuth1Auth,
    OAuth1Settings,
    OAuth2Auth,
    OAuth2Settings,
    Renewal,
)
from airflow_provider_apitask.core.auth.oauth1 import SIGNATURE_METHODS
from airflow_provider_apitask.core.auth.oauth2 import GRANT_TYPES
from airflow_provider_apitask.core.auth.static import KEY_PLACES
from airflow_provider_apitask.core.errors import OriginError
from airflow_provider_apitask.core.messages import Purpose, Request, Timeout
from airflow_provider_apitask.core.problem import Redact
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.urls import is_absolute, join, origin
from airflow_provider_apitask.hooks.fields import Fields
from airflow_provider_apitask.hooks.session_login import read_session

__all__ = ["AUTH_FIELDS", "AUTH_TYPES", "Learned", "read_auth", "read_worker_auth"]

#: Is told each secret that is got at run time.
Learned = Callable[[str], None]


def read_auth(
    fields: Fields, base_url: str, timeout: Timeout, learned: Learned, redact: Redact = str
) -> Auth:
    """Read the authentication of a connection.

    :param base_url: that relative endpoints of a login are joined to.
    :param timeout: seconds (connect, read) of a login.
    :param learned: is told each secret that is got at run time.
    :param redact: takes secrets out of what is said of an answer.
    :raises ConnectionFieldError: naming the field that is missing or wrong.
    """
    default = "basic" if fields.conn.login else "none"
    kind = fields.choice("auth_type", AUTH_TYPES, default)
    reader = _Reader(fields, base_url, timeout, learned, redact)
    auth = _READERS[kind](reader)
    auth.renewal = reader.renewal()
    return auth


class _Reader:
    """Reads one kind each; every kind says which fields it needs."""

    def __init__(
        self, fields: Fields, base_url: str, timeout: Timeout, learned: Learned, redact: Redact
    ) -> None:
        self.fields = fields
        self.base_url = base_url
        self.timeout = timeout
        self.learned = learned
        self.redact = redact

    def none(self) -> Auth:
        if self.fields.conn.login or self.fields.conn.password:
            raise self.fields.error("auth_type", "is 'none', and there is a login or password")
        return NoAuth()

    def basic(self) -> Auth:
        return BasicAuth(*self._login("basic"))

    def digest(self) -> Auth:
        return DigestAuth(*self._login("digest"))

    def bearer(self) -> Auth:
        return BearerAuth(self._secret_or_password("bearer_token", "bearer"))

    def api_key(self) -> Auth:
        place = self.fields.choice("key_in", KEY_PLACES, "header")
        if place == "header":
            name = self.fields.header_name("key_name", "X-API-Key")
        else:
            name = self.fields.text("key_name", "api_key")
        return ApiKeyAuth(name, self._secret_or_password("key_secret", "api_key"), place)

    def headers(self) -> Auth:
        found = self.fields.mapping("headers_secret", secret=True)
        if not found:
            raise self.fields.error("headers_secret", "is empty, and auth_type 'headers' needs it")
        if any(isinstance(value, (dict, list)) or value is None for value in found.values()):
            raise self.fields.error("headers_secret", "must hold one text for each header")
        headers = {name: str(value) for name, value in found.items()}
        self.fields.check_headers("headers_secret", headers)
        return HeadersAuth(headers)

    def oauth1(self) -> Auth:
        fields = self.fields
        method = fields.choice("oauth1_signature_method", SIGNATURE_METHODS, "HMAC-SHA1")
        rsa_key = fields.text("oauth1_rsa_private_key")
        if method.startswith("RSA"):
            rsa_key = fields.needed("oauth1_rsa_private_key", f"the signature method {method}")
        auth = OAuth1Auth(
            OAuth1Settings(
                client_key=fields.needed("oauth1_client_key", "auth_type 'oauth1'"),
                client_secret=fields.text("oauth1_client_secret"),
                token=fields.text("oauth1_user_token"),
                token_secret=fields.text("oauth1_user_secret"),
                signature_method=method,
                rsa_key=rsa_key,
                realm=fields.text("oauth1_realm"),
            )
        )
        if method.startswith("RSA"):
            try:
                auth.signed(Request(Purpose.TEST, "GET", self.base_url))
            except Exception:  # noqa: BLE001 - of libraries below oauthlib, each with its own
                raise fields.error(
                    "oauth1_rsa_private_key", "cannot be used: it must be a private RSA key in PEM"
                ) from None
        return auth

    def oauth2(self) -> Auth:
        fields = self.fields
        why = "auth_type 'oauth2'"
        grant = fields.choice("oauth2_grant", GRANT_TYPES, "client_credentials")
        params = {name: str(value) for name, value in fields.mapping("oauth2_params", secret=True).items()}
        for name in ("audience", "resource"):
            if value := fields.text(f"oauth2_{name}"):
                params[name] = value
        username = password = ""
        if grant == "password":
            username, password = self._login("oauth2 with oauth2_grant 'password'")
        needed = f"{why} with oauth2_grant {grant!r}"

        def read(name: str, needing: str) -> str:
            return fields.needed(name, needed) if grant == needing else fields.text(name)

        settings = OAuth2Settings(
            token_url=self._url("oauth2_endpoint", why),
            grant_type=grant,
            client_id=read("oauth2_client_id", "client_credentials"),
            client_secret=read("oauth2_client_secret", "client_credentials"),
            client_auth=fields.choice("oauth2_client_auth", ("basic", "body"), "basic"),
            scope=fields.text("oauth2_scope") or None,
            params=params,
            username=username,
            password=password,
            refresh_token=read("oauth2_refresh_token", "refresh_token"),
            timeout=self.timeout,
        )
        return OAuth2Auth(settings, **self._living())

    def session(self) -> Auth:
        return read_session(self.fields, self._url, self.timeout, **self._living())

    def requests(self) -> Auth:
        """Read nothing: the driver adds the credentials, see :func:`read_worker_auth`."""
        return DriverAuth()

    # -- what several kinds need -------------------------------------------------------------

    def _login(self, kind: str) -> tuple[str, str]:
        conn, why = self.fields.conn, f"auth_type {kind!r}"
        login = self.fields.needed("login", why, conn.login or "")
        # An empty password is one, where somebody wrote it down.
        password = conn.password if conn.password is not None else self.fields.needed("password", why, "")
        return login, password

    def _secret_or_password(self, name: str, kind: str) -> str:
        found = self.fields.text(name) or self.fields.conn.password
        if not found:
            raise self.fields.error(
                name, f"is empty, as password is, and auth_type {kind!r} needs one of them"
            )
        return found

    def _url(self, name: str, why: str) -> str:
        value = self.fields.needed(name, why)
        url = value if is_absolute(value) else join(self.base_url, value)
        try:
            scheme, _, _ = origin(url)
        except OriginError:
            raise self.fields.error(name, "is not a valid URL") from None
        if scheme == "http" and not self.fields.boolean("allow_http"):
            raise self.fields.error(
                name, "is plain HTTP, which sends the credentials readable for all: use https"
            )
        return url

    def renewal(self) -> Renewal:
        """Read which responses refuse the credential, whatever its kind."""
        fields = self.fields
        codes = fields.items("renew_codes")
        if not all(code.isdecimal() and 100 <= int(code) <= 599 for code in codes):
            raise fields.error(
                "renew_codes", f"is {codes!r}; it must be a list of HTTP codes such as 401, 403"
            )
        return Renewal(
            codes=frozenset(map(int, codes)) or frozenset({401}), login_page=fields.text("login_page") or None
        )

    def _living(self) -> dict[str, Any]:
        return {
            "clock": time.time,
            "learned": self.learned,
            "redact": self.redact,
            "conn_id": self.fields.conn.conn_id,
        }


_READERS: dict[str, Callable[[_Reader], Auth]] = {
    "none": _Reader.none,
    "basic": _Reader.basic,
    "bearer": _Reader.bearer,
    "api_key": _Reader.api_key,
    "headers": _Reader.headers,
    "digest": _Reader.digest,
    "oauth1": _Reader.oauth1,
    "oauth2": _Reader.oauth2,
    "session": _Reader.session,
    "requests": _Reader.requests,
}
#: What ``auth_type`` can be.
AUTH_TYPES = tuple(_READERS)
#: The fields in Extra that are read here.
AUTH_FIELDS = frozenset(
    {
        *(
            "auth_type",
            "bearer_token",
            "key_name",
            "key_in",
            "key_secret",
            "headers_secret",
            "renew_codes",
            "login_page",
        ),
        *("oauth1_client_key", "oauth1_client_secret", "oauth1_user_token", "oauth1_user_secret"),
        *("oauth1_signature_method", "oauth1_rsa_private_key", "oauth1_realm"),
        *(
            "oauth2_endpoint",
            "oauth2_grant",
            "oauth2_client_id",
            "oauth2_client_secret",
            "oauth2_client_auth",
        ),
        *("oauth2_scope", "oauth2_audience", "oauth2_resource", "oauth2_params", "oauth2_refresh_token"),
        *("session_endpoint", "session_method", "session_body", "session_body_format", "session_path"),
        *("session_header", "session_template", "session_lifetime", "session_lifetime_path"),
        *("session_base_url_path", "session_csrf_endpoint", "requests_auth", "requests_auth_params"),
    }
)


def read_worker_auth(fields: Fields) -> Callable[[Any], Any] | None:
    """An authentication of the requests library, by the dotted path of its class; None for another kind.

    It is made with login and password where there is a login, as ``HttpHook`` does it.
    """
    if fields.choice("auth_type", AUTH_TYPES, "none") != "requests":
        return None
    path = fields.needed("requests_auth", "auth_type 'requests'")
    params = fields.mapping("requests_auth_params", secret=True)
    module, _, name = path.rpartition(".")
    login, password = fields.conn.login, fields.conn.password
    try:
        made = getattr(import_module(module), name)
        auth: Callable[[Any], Any] = made(*((login, password) if login else ()), **params)
    except Exception as error:  # noqa: BLE001 - a class that anybody may have written
        # Its text may quote what it was given.
        said = Redactor([login or "", password or "", *map(str, params.values())]).line(str(error))
        raise fields.error("requests_auth", f"is {path!r}, which cannot be made ({said})") from None
    if not callable(auth):
        raise fields.error("requests_auth", f"is {path!r}, which is no authentication of requests")
    return auth
