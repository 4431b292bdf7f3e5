"""One place that takes secrets out of texts, URLs and headers (PROTOCOL: a secret is never seen).

Two ways together: known values (the credentials of a connection, tokens got at run time) are
replaced wherever they stand, and values under a name that sounds like a secret are replaced
whatever they are.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit, urlunsplit

__all__ = ["MASK", "Redactor", "is_credential_name", "is_secret_name", "without_callback_urls"]

MASK = "***"
#: Shorter values are not replaced: they would turn whole texts into asterisks.
_MIN_LENGTH = 4
#: Shorter values are left in what a job is followed by: a password may well be ``jobs``.
_MIN_LENGTH_KEPT = 8
#: Longest message, characters: what an event, a log line and a database row can bear.
_LONGEST_LINE = 2000
#: How many secrets that were got at run time are known at once: a triggerer runs for months.
_LEARNED = 100

_NAMING_WORDS = (
    r"authorization|cookie|token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|subscription[-_]?key"
    r"|private[-_]?key|signature|credential|session[-_]?id|icsessionid|assertion|client[-_]?secret|x-auth"
)
_SECRET_NAME = re.compile(rf"(?:{_NAMING_WORDS})|^(?:sig|auth|pwd|pass|key|jwt|code|sid)$", re.IGNORECASE)
#: Names that hold a word above and no secret.
_HARMLESS = re.compile(
    r"^(?:next|page|continuation)[-_]?(?:page[-_]?)?token$|token[-_]?type$|^(?:max|min)[-_]?(?:\w*[-_])?tokens$",
    re.IGNORECASE,
)
#: Names that may hold a secret, and mostly hold something else: masked, but no reason to refuse anything.
_AMBIGUOUS = frozenset({"key", "code"})

# Whole words, never given back in part: a hostile text would take quadratic time.
_NAMED_VALUE = re.compile(
    rf"""(?<![\w-])(?=[\w-]*(?:{_NAMING_WORDS}))(?P<name>[\w-]++)(?P<sep>["']?\s*[:=]\s*)(?P<value>(?!\*\*\*)(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&<>}}\]]+))""",
    re.IGNORECASE,
)
#: These hold several words, of which the last is the credential: ``Authorization: ApiKey abc``.
_CREDENTIAL_FIELD = re.compile(
    r"""(?P<name>\b(?:proxy-)?authorization|\b(?:set-)?cookie)(?P<sep>["']?\s*[:=]\s*+["']?+)(?!\*\*\*)[^"'\r\n]+""",
    re.IGNORECASE,
)
_SCHEME_VALUE = re.compile(r"\b(Bearer|Basic|Digest|Negotiate)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
#: The secret end of a URL that a service is to call, however a slash is written in JSON or another URL. Known
#: by its shape: a triggerer has thousands of them at once.
_CALLBACK = re.compile(
    r"(?P<route>apitask(?P<slash>\\*/|%(?:25)*2F)callback(?P=slash))[\w.~-]{16,}", re.IGNORECASE
)
_URL = re.compile(r"\bhttps?://[^\s\"'<>]+", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a header, query parameter or field of this name is taken to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS.search(name)


def is_credential_name(name: str) -> bool:
    """Whether a field of this name surely holds a credential: narrower than :func:`is_secret_name`."""
    return is_secret_name(name) and name.lower() not in _AMBIGUOUS


def without_callback_urls(value: Any) -> Any:
    """A (nested) value without the URLs that a service was given to call and has repeated."""
    if isinstance(value, str):
        return _without_callback(value)
    if isinstance(value, Mapping):
        return {name: without_callback_urls(item) for name, item in value.items()}
    return [without_callback_urls(item) for item in value] if isinstance(value, (list, tuple)) else value


def _without_callback(text: str) -> str:
    # Looked for first: most texts have none.
    return _CALLBACK.sub(rf"\g<route>{MASK}", text) if "apitask" in text else text


class Redactor:
    """Replaces the secrets of one connection, and whatever looks like a secret, by ``***``.

    :param secrets: values that must never be seen; those under four characters are ignored.
    """

    __slots__ = ("_configured", "_learned", "_values")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._configured: set[str] = set()
        self._learned: dict[str, set[str]] = {}
        #: Every spelling of each secret; the longest first, so that one that holds another is replaced whole.
        self._values: tuple[str, ...] = ()
        self.add(*secrets)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"

    def add(self, *secrets: str | None) -> None:
        """Know further values for good, such as the fields of a connection."""
        for secret in secrets:
            if secret and len(secret) >= _MIN_LENGTH:
                self._configured |= _written(secret)
        self._order()

    def learn(self, secret: str) -> None:
        """Know a value that was got at run time, such as a token, until a hundred newer ones have come."""
        if len(secret) < _MIN_LENGTH:
            return
        known = self._learned.pop(secret) if secret in self._learned else _written(secret)
        self._learned[secret] = known  # the newest
        while len(self._learned) > _LEARNED:
            del self._learned[next(iter(self._learned))]
        self._order()

    def _order(self) -> None:
        self._values = tuple(sorted(self._configured.union(*self._learned.values()), key=len, reverse=True))

    def text(self, text: str) -> str:
        """Redact free text: known values, URLs in it, and ``name: value`` pairs of secret names."""
        text = self._known(text)
        text = _URL.sub(lambda match: self.url(match.group()), text)
        text = _SCHEME_VALUE.sub(rf"\1 {MASK}", text)
        text = _CREDENTIAL_FIELD.sub(rf"\g<name>\g<sep>{MASK}", text)
        return _NAMED_VALUE.sub(_mask_named, text)

    def line(self, text: str) -> str:
        """Redact a message and make it fit for every log: cut, without lone surrogates."""
        text = self.text(text).encode("utf-8", "replace").decode()
        return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"

    def data(self, value: Any) -> Any:
        """Redact the texts in a (nested) JSON value; fields with the name of a secret go whole."""
        if isinstance(value, str):
            return self.line(value)
        if isinstance(value, Mapping):
            return {
                name: MASK if isinstance(item, str) and is_secret_name(str(name)) else self.data(item)
                for name, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value

    def url(self, url: str) -> str:
        """Redact a URL: user info and the values of secret query parameters go, the rest stays."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return "<not a URL>"
        netloc = f"{MASK}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
        query = "&".join(map(self._masked, parts.query.split("&"))) if parts.query else ""
        return self._known(urlunsplit(parts._replace(netloc=netloc, query=query, fragment="")))

    def link(self, url: str) -> str | None:
        """A URL of the server that is kept to be asked later, without the credentials it may repeat.

        Each request gets them anew from the connection.

        :returns: the URL without the query parameters that hold one; None where its path does.
        """
        parts = urlsplit(url)
        if self.holds(parts.path) or self.holds(unquote(parts.path)):
            return None
        if not parts.query:
            return url
        query = "&".join(pair for pair in parts.query.split("&") if not self._is_credential(pair))
        return urlunsplit(parts._replace(query=query))

    def kept(self, value: Any) -> Any:
        """A (nested) JSON value of the server that later requests need, without known secrets."""
        if isinstance(value, str):
            if not self.holds(unquote_plus(value)) and not self.holds(value):
                return value
            return (self.link(value) if _URL.match(value) or value.startswith("/") else None) or MASK
        if isinstance(value, Mapping):
            return {name: self.kept(item) for name, item in value.items()}
        return [self.kept(item) for item in value] if isinstance(value, (list, tuple)) else value

    def holds(self, text: str) -> bool:
        """Whether a known secret, other than a very short one, stands in a text."""
        if _CALLBACK.search(text):
            return True
        return any(value in text for value in self._values if len(value) >= _MIN_LENGTH_KEPT)

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Redact header fields: by name, else by what is known."""
        return [(name, MASK if is_secret_name(name) else self.text(value)) for name, value in headers]

    def _is_credential(self, parameter: str) -> bool:
        name, _, value = parameter.partition("=")
        plain = unquote_plus(value)
        if any(map(self.holds, (parameter, plain, unquote_plus(plain)))):
            return True
        return plain in self._values and is_secret_name(name)

    def _masked(self, parameter: str) -> str:
        name, equals, value = parameter.partition("=")
        if equals and value and (is_secret_name(name) or self._is_credential(parameter)):
            return f"{self._known(name)}={MASK}"
        return parameter

    def _known(self, text: str) -> str:
        # One after the other: a pattern of them all takes far longer to compile and to search.
        for value in self._values:
            text = text.replace(value, MASK)
        return _without_callback(text)


def _written(secret: str) -> set[str]:
    """A secret in each way that a server may write it: in a URL, a form, JSON, Python or Base64."""
    standard = base64.b64encode(secret.encode()).decode()
    escaped = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    escaped |= {_ESCAPE.sub(lambda match: match.group().lower(), text) for text in escaped}
    escaped |= {quote(text, safe="") for text in escaped}  # in a URL that is a parameter of a URL
    return {
        *(secret, standard, standard.rstrip("="), base64.urlsafe_b64encode(secret.encode()).decode()),
        *(json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]),
        *escaped,
    }


def _mask_named(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match.group()
    value = match["value"]
    quote_mark = value[0] if value[0] in "\"'" else ""
    return f"{match['name']}{match['sep']}{quote_mark}{MASK}{quote_mark}"
