"""Joining, resolving and comparing URLs; the only place where one is put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import SplitResult, quote, quote_plus, unquote, urljoin, urlsplit, urlunsplit

from airflow_provider_apitask.core.errors import OriginError, ParameterError

__all__ = [
    "Origin",
    "add_query",
    "dot_segments",
    "has_user_info",
    "is_absolute",
    "is_below",
    "join",
    "last_segment",
    "origin",
    "query_text",
    "resolve",
    "wire_text",
]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A browser and a library may read these differently, which is how an origin check is fooled.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
# RFC 3986 §3.3-3.4 and "%" for what is encoded already: these stay, everything else is encoded.
_KEEP = "%:/?#[]@!$&'()*+,;=-._~"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DOT_SEGMENT = re.compile(r"/\.\.?(?:/|$)")
_SEPARATOR = re.compile(r"[/\\]")
#: Stripped from a segment: some servers ignore blanks and control characters around it.
_BLANKS = "".join(map(chr, range(0x21)))
#: How often a path is percent-decoded to find what a chain of servers could make of it.
_MAX_DECODINGS = 8
#: Ends of a monitor URL that name what it tells, not the job.
_NO_IDS = frozenset({"status", "state"})
#: Digits of a decimal that are still written out; 1E+999999999 would fill the memory.
_LONGEST = 400
#: Longest piece of a URL in an error, characters.
_SHOWN = 200

Origin = tuple[str, str, int]


def is_absolute(reference: str) -> bool:
    """Whether a reference has a scheme of its own."""
    return bool(_ABSOLUTE.match(reference))


@lru_cache(maxsize=256)  # each check of a job asks it for the same two URLs
def origin(url: str) -> Origin:
    """Scheme, host and port of a URL (RFC 6454 §4).

    :raises OriginError: where it is no http(s) URL with a host, or could be read in two ways.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _not_a_url(url, str(error)) from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname or _FORBIDDEN.search(url):
        raise _not_a_url(url, "it must begin with http:// or https:// and a host")
    return scheme, parts.hostname.lower(), _DEFAULT_PORTS[scheme] if port is None else port


def has_user_info(url: str) -> bool:
    """Whether a URL that has an :func:`origin` has a user name or password before its host."""
    return "@" in url and "@" in urlsplit(url).netloc


def join(base: str, endpoint: str) -> str:
    """Join base URL and endpoint with exactly one slash between them.

    The path of the base is kept whether or not the endpoint begins with a slash; a slash at the
    end of the endpoint is kept too, as some servers tell the two apart. An absolute endpoint
    stands for itself. A query of the base comes first.

    :raises OriginError: where the endpoint is no URL.
    """
    if is_absolute(endpoint):
        url = _encoded(endpoint.partition("#")[0])
        _parts(url)
        return url
    parts = urlsplit(base)
    path, _, query = endpoint.partition("#")[0].partition("?")
    joined = f"{parts.path.rstrip('/')}/{path.lstrip('/')}" if path else parts.path
    queries = "&".join(filter(None, (parts.query, query)))
    url = _encoded(urlunsplit((parts.scheme, parts.netloc, joined, queries, "")))
    # One HTTP library would take the dots away, the other send them (RFC 3986 §5.2.4).
    return (
        urljoin(url, urlunsplit(urlsplit(url)._replace(scheme="", netloc=""))) if _has_dots(joined) else url
    )


def resolve(reference: str, against: str) -> str:
    """Resolve a URL that a server gave against the URL that was answered (RFC 9110 §10.2.2).

    :raises OriginError: where it is no URL.
    """
    try:
        resolved = urlsplit(urljoin(against, reference.strip()))
    except ValueError as error:
        raise _not_a_url(reference, str(error)) from None
    # User info in a URL of the server would be a credential that nobody configured.
    netloc = resolved.netloc.rpartition("@")[2]
    return _encoded(urlunsplit(resolved._replace(netloc=netloc, fragment="")))


def add_query(url: str, params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> str:
    """Add query parameters: a list repeats its name, None leaves the parameter out.

    :raises ParameterError: where a value has no text.
    :raises OriginError: where ``url`` is no URL.
    """
    if not params:
        return url
    encoded = query_text(params.items() if isinstance(params, Mapping) else params, "params")
    parts = _parts(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, encoded)))))


def query_text(pairs: Iterable[tuple[str, Any]], parameter: str) -> str:
    """Names and values as ``application/x-www-form-urlencoded``.

    :raises ParameterError: where a value has no text.
    """
    try:
        return "&".join(
            f"{quote_plus(str(name))}={quote_plus(wire_text(item))}"
            for name, value in pairs
            for item in _items(value)
            if item is not None
        )
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{parameter} cannot be written: {error}.", parameter=parameter) from None


def _items(value: Any) -> Iterable[Any]:
    """The values of one name; those of a set in one order always."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return value if isinstance(value, (list, tuple)) else (value,)


def wire_text(value: Any) -> str:
    """The text of a value in a query, form or header: ``true``, ISO 8601 dates, exact numbers.

    :raises TypeError: for a dict or list, which has none.
    :raises ValueError: for bytes that are no text, and what is no number.
    """
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        raise TypeError(f"a {type(value).__name__} cannot stand in one value")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if (isinstance(value, float) and not isfinite(value)) or (
        isinstance(value, Decimal) and not value.is_finite()
    ):
        raise ValueError(f"{value} is no number that a server could read")
    if isinstance(value, Decimal):
        return str(value) if abs(value.adjusted()) > _LONGEST else format(value, "f")
    if isinstance(value, bytes):
        return value.decode()
    return str(value)


def dot_segments(reference: str) -> int:
    """Count the segments of a path that are ``.`` or ``..`` for any server on its way.

    Servers and proxies decode a path more than once, take a backslash for a slash, and cut ``;parameters``
    off a segment.
    """
    path = re.split("[?#]", reference, maxsplit=1)[0]
    for _ in range(_MAX_DECODINGS):
        if (decoded := unquote(path)) == path:
            break
        path = decoded
    else:
        return path.count("%")  # encoded too often to be a name
    segments = (segment.partition(";")[0].strip(_BLANKS) for segment in _SEPARATOR.split(path))
    return sum(segment in (".", "..") for segment in segments)


def is_below(url: str, base: str) -> bool:
    """Whether a URL of the same origin has the path of ``base``, or one below it."""
    path, root = _parts(url).path, _parts(base).path.rstrip("/")
    return path == root or path.startswith(f"{root}/")


def last_segment(url: str) -> str | None:
    """The last telling segment of the path, decoded: the usual place of an id in a monitor URL."""
    segments = [segment for segment in urlsplit(url).path.split("/") if segment]
    while len(segments) > 1 and segments[-1].lower() in _NO_IDS:
        segments.pop()
    return unquote(segments[-1])[:_SHOWN] if segments else None


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise _not_a_url(url, str(error)) from None


def _encoded(url: str) -> str:
    """Percent-encode what may not stand in a URL (spaces, non-ASCII), leave the rest as it is."""
    if url.isascii():
        return quote(url, safe=_KEEP)
    try:
        parts = urlsplit(url)
        netloc = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
        return quote(urlunsplit(parts._replace(netloc=netloc)), safe=_KEEP)
    except ValueError as error:  # and UnicodeError
        raise _not_a_url(url, str(error)) from None


def _has_dots(path: str) -> bool:
    return "/." in path and bool(_DOT_SEGMENT.search(path))


def _not_a_url(text: str, why: str) -> OriginError:
    shown = text[:_SHOWN]
    return OriginError(f"{shown!r} is not a URL that can be asked: {why[:_SHOWN]}.", url=shown)
