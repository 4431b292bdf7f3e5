"""A request as an author declares it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from urllib.parse import unquote_plus

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.kinds import Body, Pairs, Text, Timeout
from airflow_provider_apitask.core.value_object import ValueObject

__all__ = ["BODY_FORMATS", "METHODS", "RequestSpec", "has_control", "is_sendable"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
#: Format of a body → media type; parameters such as ``charset`` are left out, as some servers refuse them.
#: The boundary of ``multipart`` is chosen where the request is sent, anew each time.
BODY_FORMATS: dict[str, str | None] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data",
    "xml": "application/xml",
    "raw": None,
}
#: Those that a file can be a part of.
_WITH_FILES = ("multipart", "raw")

_WORD = re.compile(r"[A-Za-z][a-z]*")
#: A number below it is a count or a choice, and not a credential.
_SMALL_NUMBER = 1000

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # RFC 9110 §9.1, less its punctuation
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: The longest header field of most servers is shorter.
_MAX_CREDENTIAL_CHARS = 64 * 1024
#: What belongs to the connection between client and server, and would break it (RFC 9110 §7.6.1).
_TRANSPORT_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"}
    | {"proxy-authorization", "proxy-connection", "expect", "x-forwarded-host"}
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequestSpec(ValueObject):
    """A request: method, endpoint and what goes with it.

    :param method: HTTP method, ``GET`` by default.
    :param endpoint: path that is joined to the base URL of the connection, or an absolute URL of
        the same origin; ``{path}`` placeholders are percent-encoded. A rendered value stays below the base
        URL and adds no query.
    :param params: query parameters; a list repeats its name, None leaves it out.
    :param headers: header fields; a list repeats its name.
    :param body: a dict or list for json; a dict for form; a dict, text or bytes for xml; text, bytes
        or a file for raw; a dict for multipart, with texts, files and dicts (parts of JSON) in it. A file is
        ``{"path": …}``, optionally with ``filename`` and ``content_type``; its path may be a URL of an object
        storage. Only a ``path`` key that is written in the DAG file names a file.
    :param body_format: json, form, multipart, xml or raw.
    :param timeout: seconds, or (connect, read); by default that of the call.
    """

    _parameter: ClassVar[str] = "request"
    _forms: ClassVar[str] = (
        "an endpoint or a dict with method, endpoint, params, headers, body, body_format and timeout"
    )

    method: Text = "GET"
    endpoint: Text = None
    params: Pairs = None
    headers: Pairs = None
    body: Body = None
    body_format: str = "json"
    timeout: Timeout = None

    @classmethod
    def parse(cls, value: Any, parameter: str = "", method: str = "GET") -> Self:
        """Read a request from a text (that endpoint) or a dict.

        :param method: where none is given.
        :raises ParameterError: naming the parameter and what is allowed.
        """
        if isinstance(value, str):
            value = {"endpoint": value}
        if isinstance(value, Mapping):
            value = {"method": method, **value}
        # By name: a dataclass with slots is another class than the one that a bare super() stands for.
        return super(RequestSpec, cls).parse(value, parameter)

    def checked(self, parameter: str = "") -> Self:
        """Return the request with its values normalised.

        :raises ParameterError: naming the parameter and what is allowed.
        """
        prefix = f"{parameter}." if parameter else ""
        method = self.method
        if not checks.is_open(method):
            if not isinstance(method, str) or not _TOKEN.fullmatch(method):
                raise ParameterError(
                    f"{prefix}method must be an HTTP method such as {', '.join(METHODS)}, not "
                    f"{checks.shown(method)}.",
                    parameter=f"{prefix}method",
                )
            method = method.upper()
        endpoint = self.endpoint
        if endpoint is not None and not isinstance(endpoint, str) and not checks.is_open(endpoint):
            raise ParameterError(
                f"{prefix}endpoint must be text, not {type(endpoint).__name__}.",
                parameter=f"{prefix}endpoint",
            )
        checks.mapping(self.params, f"{prefix}params")
        body_format = checks.choice(self.body_format, f"{prefix}body_format", tuple(BODY_FORMATS))
        if self.body is not None and body_format in _WITH_FILES:
            # Read where there is something to check: this is a part of parsing a DAG file.
            from airflow_provider_apitask.core.uploads import check_files

            check_files(self.body, body_format, f"{prefix}body")
        return type(self)(
            method=method,
            endpoint=endpoint,
            params=self.params,
            headers=_checked_headers(self.headers, f"{prefix}headers"),
            body=self.body,
            body_format=body_format,
            timeout=checks.timeout(self.timeout, f"{prefix}timeout"),
        )

    def placeholders(self) -> Iterator[str]:
        """All ``{path}`` placeholders of the request."""
        from airflow_provider_apitask.core.templating import placeholders

        for part in (self.endpoint, self.params, self.headers, self.body):
            yield from placeholders(part)

    def secrets(self) -> Iterator[str]:
        """Return the credentials that the author put into the request: a server may repeat them."""
        for _, text in self.credentials():
            # With its scheme, and without: "Bearer abc".
            yield from (text, text.rpartition(" ")[2])

    def credentials(self) -> Iterator[tuple[str, str]]:
        """Return what stands under the name of a credential: field, such as ``body.auth.token``, and text."""
        endpoint = self.endpoint if isinstance(self.endpoint, str) else ""
        query = [pair.partition("=") for pair in endpoint.partition("?")[2].partition("#")[0].split("&")]
        parts = {
            "headers": self.headers,
            "params": self.params,
            "body": self.body,
            "endpoint": [{unquote_plus(name): unquote_plus(value)} for name, _, value in query],
        }
        for part, value in parts.items():
            yield from _credentials_in(value, part)


def _credentials_in(
    value: Any, field: str, named: bool = False, below: bool = False
) -> Iterator[tuple[str, str]]:
    """Return the texts and long numbers in a (nested) value that are credentials by their names.

    :param named: whether the name of the value is that of a credential.
    :param below: whether one above it is: then a word, such as ``basic``, is not a credential.
    """
    from airflow_provider_apitask.core.redaction import is_credential_name

    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _credentials_in(item, field, named, below)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            is_named = is_credential_name(str(name)) or (named and str(name).startswith("#"))
            yield from _credentials_in(item, f"{field}.{name}", is_named, below or is_named)
    elif below and isinstance(value, (str, bytes)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if named or not _WORD.fullmatch(text):
            yield field, text
    elif named and isinstance(value, int) and abs(value) >= _SMALL_NUMBER:
        yield field, str(value)


def has_control(text: str) -> bool:
    """Whether a header value has a character that none may have (RFC 9110 §5.5)."""
    return bool(_CONTROL.search(text))


def is_sendable(credential: str) -> bool:
    """Return whether a header field can carry a credential that a server returned."""
    try:
        credential.encode()  # JSON can hold a lone surrogate
    except UnicodeEncodeError:
        return False
    return 0 < len(credential) <= _MAX_CREDENTIAL_CHARS and not has_control(credential)


def _checked_headers(headers: Any, parameter: str) -> Any:
    if not isinstance(checks.mapping(headers, parameter), Mapping):
        return headers
    for name, value in headers.items():
        if checks.is_open(name):
            continue
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ParameterError(
                f"{parameter}: {checks.shown(name)} is no name of a header field.", parameter=parameter
            )
        if name.lower() in _TRANSPORT_HEADERS:
            raise ParameterError(
                f"{parameter}: {name} is set by the HTTP client itself and cannot be given.",
                parameter=parameter,
            )
        for item in value if isinstance(value, (list, tuple)) else (value,):
            text = item.decode("latin-1") if isinstance(item, bytes) else item
            if isinstance(text, str) and not checks.is_open(item) and has_control(text):
                # The value stays out of the message: it may be a credential with a stray newline.
                raise ParameterError(
                    f"{parameter}: the value of {name} has a line break or control character in it.",
                    parameter=parameter,
                )
    return headers
