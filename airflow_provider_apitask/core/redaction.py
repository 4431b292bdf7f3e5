"""Redaction of texts, URLs and headers before they are shown or stored (PROTOCOL rule 18).

Known values (the credentials of a connection, tokens obtained at run time) are replaced however the server
spells them, see ``spellings``. Values under the name of a secret are replaced whatever they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit

from airflow_provider_apitask.core.spellings import occurs, spans_of, spellings_of
from airflow_provider_apitask.core.visible import visible, visible_lines

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
    rf"""(?<![\w-])(?=[\w-]*(?:{_NAMING_WORDS}))(?P<name>[\w-]++)(?P<sep>\\*["']?\s*[:=]\s*)
    (?P<value>(?!\*\*\*)(?:\\+["'][^"'\\\r\n]*|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&<>}}\]]+))""",
    re.IGNORECASE | re.VERBOSE,
)
#: What :data:`_NAMED_VALUE` needs, found far sooner in a text that has none of it.
_NAME_PARTS = (
    *("authorization", "cookie", "token", "secret", "passw", "passphrase", "key", "signature", "credential"),
    *("session", "assertion", "x-auth"),
)
#: Before a colon and a word these are prose, such as ``Invalid token: expired``.
_PROSE_NAMES = frozenset({"token", "secret", "signature", "credential", "credentials", "assertion"})
#: These hold several words, of which the last is the credential: ``Authorization: ApiKey abc``.
_CREDENTIAL_FIELD = re.compile(
    r"""(?P<name>\b(?:proxy-)?authorization|\b(?:set-)?cookie)(?P<sep>\\*["']?\s*[:=]\s*+\\*+["']?+)
    (?!\*\*\*)(?:[^"'\r\n]|(?<==)"[^"\r\n]*")+""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME_VALUE = re.compile(
    r"\b(?P<scheme>Bearer|Basic|Digest|Negotiate)\s+(?P<value>[A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE
)
_SCHEMES = ("bearer", "basic", "digest", "negotiate")
#: A word, or the name of a parameter (RFC 9110 §11.6.1), and not a credential.
_WORD = re.compile(r"[A-Z]?[a-z]{1,23}(?:[-/][a-z]{1,23})*[.=]?")
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
        #: The spellings of each secret.
        self._configured: dict[str, set[str]] = {}
        self._learned: dict[str, set[str]] = {}
        #: All of them, the longest first, so that one that holds another is replaced whole.
        self._values: tuple[str, ...] = ()
        self.add(*secrets)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"

    def add(self, *secrets: str | None) -> None:
        """Know further values for good, such as the fields of a connection."""
        for secret in secrets:
            if secret and len(secret) >= _MIN_LENGTH and secret not in self._configured:
                self._configured[secret] = spellings_of(secret)
        self._order()

    def learn(self, secret: str) -> None:
        """Know a value obtained at run time, such as a token, until a hundred newer ones have come."""
        if len(secret) >= _MIN_LENGTH:
            known = self._learned.get(secret)
            self._remember({secret: known if known is not None else spellings_of(secret)})

    def inherit(self, other: Redactor) -> None:
        """Know what another redactor knows as well: a rotated secret may be repeated by the server later."""
        former = {**other._learned, **other._configured}
        self._remember({secret: known for secret, known in former.items() if secret not in self._configured})

    def _remember(self, secrets: Mapping[str, set[str]]) -> None:
        for secret, known in secrets.items():
            self._learned.pop(secret, None)
            self._learned[secret] = known  # the newest
        while len(self._learned) > _LEARNED:
            del self._learned[next(iter(self._learned))]
        self._order()

    def _order(self) -> None:
        known = set().union(*self._configured.values(), *self._learned.values())
        self._values = tuple(sorted(known, key=len, reverse=True))

    def mask(self, text: str) -> str:
        """Replace secrets alone: known values, those in URLs, and ``name: value`` pairs of secret names."""
        text = self._known(text)
        lowered = text.lower()
        if "://" in lowered:
            text = _URL.sub(lambda match: _by_name(match.group()), text)
        if any(scheme in lowered for scheme in _SCHEMES):
            text = _SCHEME_VALUE.sub(_mask_scheme, text)
        if any(part in lowered for part in _NAME_PARTS):
            text = _CREDENTIAL_FIELD.sub(rf"\g<name>\g<sep>{MASK}", text)
            text = _NAMED_VALUE.sub(_mask_named, text)
        return text

    def text(self, text: str) -> str:
        """Redact free text and escape its control characters; line breaks stay."""
        return visible_lines(self.mask(text))

    def line(self, text: str, *, lines: bool = False) -> str:
        """Redact a message and make it fit for every log: in one line, cut, without lone surrogates.

        :param lines: keep line breaks, in a message that has its own.
        """
        text = self.mask(text).encode("utf-8", "replace").decode()
        text = visible_lines(text) if lines else visible(text)
        return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"

    def data(self, value: Any) -> Any:
        """Redact a (nested) JSON value; what is below the name of a secret goes whole."""
        if isinstance(value, str):
            return self.line(value)
        if isinstance(value, Mapping):
            return {
                self.line(name) if isinstance(name, str) else name: (
                    _masked_whole(item) if is_secret_name(str(name)) else self.data(item)
                )
                for name, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        if isinstance(value, (int, float, Decimal)) and str(value) in self._values:
            return MASK
        return value

    def url(self, url: str) -> str:
        """Redact a URL: user info and the values of secret query parameters go, the rest stays."""
        return self._known(_by_name(url))

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
        return occurs(text, [value for value in self._values if len(value) >= _MIN_LENGTH_KEPT])

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Redact header fields: by name, else by what is known."""
        return [
            (visible(name), MASK if is_secret_name(name) else visible(self.text(value)))
            for name, value in headers
        ]

    def _is_credential(self, parameter: str) -> bool:
        name, _, value = parameter.partition("=")
        plain = unquote_plus(value)
        if any(map(self.holds, (parameter, plain, unquote_plus(plain)))):
            return True
        return plain in self._values and is_secret_name(name)

    def _known(self, text: str) -> str:
        if occurs(text, self._values):
            pieces, done = [], 0
            for start, end in spans_of(text, self._values):
                pieces += [text[done:start], MASK]
                done = end
            text = "".join([*pieces, text[done:]])
        return _without_callback(text)


def _by_name(url: str) -> str:
    """Mask user info and what stands under the name of a secret in a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<not a URL>"
    netloc = f"{MASK}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    path = _NAMED_VALUE.sub(_mask_named, parts.path) if ";" in parts.path else parts.path
    query = "&".join(map(_parameter, parts.query.split("&"))) if parts.query else ""
    return urlunsplit(parts._replace(netloc=netloc, path=path, query=query, fragment=""))


def _parameter(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={MASK}" if equals and value and is_secret_name(unquote_plus(name)) else pair


def _mask_named(match: re.Match[str]) -> str:
    name, separator, value = match["name"], match["sep"], match["value"]
    if not is_secret_name(name):
        return match.group()
    if name.lower() in _PROSE_NAMES and separator == ": " and _WORD.fullmatch(value):
        return match.group()
    begin = re.match(r"""\\*["']?""", value)
    opening = begin.group() if begin is not None else ""
    closing = opening if opening in ("'", '"') else ""
    return f"{name}{separator}{opening}{MASK}{closing}"


def _mask_scheme(match: re.Match[str]) -> str:
    return match.group() if _WORD.fullmatch(match["value"]) else f"{match['scheme']} {MASK}"


def _masked_whole(value: Any) -> Any:
    """Mask each text and number in a (nested) value."""
    if isinstance(value, Mapping):
        return {name: _masked_whole(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked_whole(item) for item in value]
    return value if value is None or isinstance(value, bool) else MASK
