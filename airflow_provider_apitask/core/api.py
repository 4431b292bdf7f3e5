"""An API as the core sees it: where it is, what goes along with a request, and where that may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from airflow_provider_apitask.core.auth import Auth, NoAuth
from airflow_provider_apitask.core.connection_lookup import Lookups
from airflow_provider_apitask.core.csrf import CsrfTokens
from airflow_provider_apitask.core.errors import AnswerError, OriginError, ParameterError
from airflow_provider_apitask.core.messages import DEFAULT_MAX_BYTES, Headers, Purpose, Request, Timeout
from airflow_provider_apitask.core.origins import OriginRules, Trust
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.request_body import encode_body
from airflow_provider_apitask.core.request_spec import RequestSpec, has_control
from airflow_provider_apitask.core.templating import Lookup, expand, expand_url
from airflow_provider_apitask.core.uploads import with_files
from airflow_provider_apitask.core.urls import (
    Origin,
    add_query,
    dot_segments,
    has_user_info,
    is_below,
    join,
    origin,
    resolve,
    wire_text,
)

__all__ = ["Api", "as_timeout"]

#: JSON first: a server that can choose would send HTML to ``*/*`` alone.
_DEFAULT_HEADERS = Headers(
    [("Accept", "application/json, */*;q=0.5"), ("User-Agent", "airflow-provider-apitask")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One API: what an Airflow connection says, less how it is stored.

    :param conn_id: of the Airflow connection, for messages.
    :param base_url: absolute URL that endpoints are joined to.
    :param headers: sent with each request to the API's own origin, below those of the author.
    :param allow_http: whether plain ``http`` is wanted; it is never taken in place of ``https``.
    :param origins: further origins that may be asked.
    :param csrf: the CSRF tokens of the API, fetched where a call wants them.
    :param lookups: what lookups of the connection have found since this was made.
    :param timeout: seconds (connect, read) where the author gives none.
    """

    conn_id: str
    base_url: str
    auth: Auth = field(default_factory=NoAuth)
    headers: Headers = field(default_factory=Headers, repr=False)
    allow_http: bool = False
    origins: OriginRules = field(default_factory=OriginRules)
    csrf: CsrfTokens = field(default_factory=CsrfTokens, repr=False, compare=False)
    lookups: Lookups = field(default_factory=Lookups, repr=False, compare=False)
    timeout: Timeout = (10.0, 30.0)
    redactor: Redactor = field(default_factory=Redactor, repr=False, compare=False)

    def admit(self, url: str) -> Trust:
        """Say what may be sent to a URL (rules 16 and 17).

        :raises OriginError: for nothing at all, naming both origins and the remedy.
        """
        target, own = origin(url), origin(self.base_url)
        moved = origin(self.auth.base_url) if self.auth.base_url else own
        own_scheme = target[0] == "https" or (own[0] == "http" and self.allow_http)
        if target in (own, moved) and own_scheme and not has_user_info(url):
            return Trust.CREDENTIALS
        shown = self.redactor.url(url)[:200]
        if has_user_info(url):
            raise OriginError(
                f"{shown} holds user info before its host, and was not asked: credentials belong into the "
                f"connection {self.conn_id!r}.",
                url=shown,
            )
        if target[0] == "http" and not (own[0] == "http" and self.allow_http):
            remedy = (
                f"set allow_http on the connection {self.conn_id!r} where plain HTTP is really wanted"
                if own[0] == "http"
                else "the API itself is reached by https, which is never given up"
            )
            raise OriginError(f"{shown} is plain HTTP and was not asked: {remedy}.", url=shown)
        trust = self.origins.trust(target)
        if trust is None:
            raise OriginError(
                f"{shown} is another origin ({_origin_text(target)}) than the connection {self.conn_id!r} "
                f"({_origin_text(own)}), and was not asked: the connection's credentials would have gone "
                "there. If it is to be trusted, add it to the connection's allowed_origins, or to its "
                "anonymous_origins where it needs no credentials, as pre-signed URLs do; if it is valid "
                "inside the server's network only, name the endpoint in the task.",
                url=shown,
            )
        return trust

    def keep_below(self, url: str, parameter: str) -> None:
        """Refuse a rendered URL or absolute path of the API's own origin that is not below its base URL.

        :raises ParameterError: naming the parameter.
        """
        target = resolve(url, self.base_url)
        if origin(target) != origin(self.base_url):
            return
        if dot_segments(url) or not is_below(target, self.base_url):
            raise ParameterError(
                f"{parameter} was rendered to a URL that is not below the base URL of the connection "
                f"{self.conn_id!r}. Write the beginning of the URL in the DAG file if it is to be requested.",
                parameter=parameter,
            )

    def placed(self, url: str) -> str:
        """The URL to send to: a login may have moved the base URL elsewhere."""
        moved, base = self.auth.base_url, self.base_url.rstrip("/")
        if moved is None or not (url == base or url.startswith((f"{base}/", f"{base}?"))):
            return url
        return moved + url.removeprefix(base)

    def build(
        self,
        spec: RequestSpec,
        purpose: Purpose,
        *,
        lookup: Lookup | None = None,
        url: str | None = None,
        timeout: Any = None,
        max_bytes: int | None = None,
        csrf_endpoint: str | None = None,
    ) -> Request:
        """Turn what the author declared into a request, without credentials.

        :param lookup: gives the values of ``{path}`` placeholders; None leaves braces as they are.
        :param url: asked where the author gives no endpoint.
        :param timeout: where the request itself has none.
        :param csrf_endpoint: where a CSRF token is fetched, empty for the URL of the request; None
            where it needs none.
        :raises OriginError: where the URL may not be asked.
        :raises AnswerError: where a placeholder has no value, or one that cannot be sent.
        :raises ParameterError: where a parameter, header or body cannot be written.
        """
        params, fields, endpoint = spec.params, spec.headers, spec.endpoint
        body = with_files(spec.body, spec.body_format)
        try:
            if lookup is not None:
                params, fields, body = expand(params, lookup), expand(fields, lookup), expand(body, lookup)
                endpoint = expand_url(endpoint, lookup, self.base_url) if endpoint is not None else None
            target = join(self.base_url, endpoint or "") if endpoint is not None or url is None else url
            target = add_query(target, _pairs(params))
        except UnicodeError as error:
            raise AnswerError(f"The URL cannot be written as UTF-8: {error}.") from None
        if not self.auth.moves_base_url:
            self.admit(target)
        content, content_type = encode_body(body, spec.body_format)
        headers = _below(self.headers)
        if content_type:
            headers = headers.merged([("Content-Type", content_type)])
        if fields:
            headers = headers.merged(_header_fields(fields))
        given_timeout = spec.timeout if spec.timeout is not None else timeout
        return Request(
            purpose=purpose,
            method=spec.method,
            url=target,
            headers=headers,
            body=content,
            timeout=self.timeout if given_timeout is None else as_timeout(given_timeout),
            max_bytes=max_bytes or DEFAULT_MAX_BYTES,
            csrf_url=None
            if csrf_endpoint is None
            else join(self.base_url, csrf_endpoint)
            if csrf_endpoint
            else target,
        )


def as_timeout(value: float | tuple[float, float] | list[float]) -> Timeout:
    """Seconds, or a pair (connect, read), as a pair."""
    if isinstance(value, (list, tuple)):
        connect, read = value
        return float(connect), float(read)
    return float(value), float(value)


@lru_cache(maxsize=64)
def _below(headers: Headers) -> Headers:
    """The headers of each request of a connection, before those of the author."""
    return _DEFAULT_HEADERS.merged(headers)


def _pairs(params: Any) -> Mapping[str, Any] | None:
    if params is None or isinstance(params, Mapping):
        return params
    raise ParameterError(f"params must be a dict, not {type(params).__name__}.", parameter="params")


def _header_fields(fields: Any) -> list[tuple[str, str]]:
    if not isinstance(fields, Mapping):
        raise ParameterError(f"headers must be a dict, not {type(fields).__name__}.", parameter="headers")
    pairs = []
    for name, value in fields.items():
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if item is None:
                continue
            try:
                text = wire_text(item)
            except (TypeError, ValueError) as error:
                raise ParameterError(
                    f"headers: {name} cannot be written: {error}.", parameter="headers"
                ) from None
            if has_control(text):
                raise ParameterError(
                    f"headers: the value of {name} has a line break or control character in it.",
                    parameter="headers",
                )
            # Lone surrogates: an answer can hold them in JSON, no wire can.
            pairs.append((str(name), text.encode("utf-8", "replace").decode()))
    return pairs


def _origin_text(value: Origin) -> str:
    scheme, host, port = value
    return f"{scheme}://{host}:{port}"
