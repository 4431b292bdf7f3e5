"""Which origins may be asked, and whether credentials go along (rules 16 and 17)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self
from urllib.parse import urlsplit

from airflow_provider_apitask.core.errors import OriginError
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.urls import Origin, origin

__all__ = ["OriginRules", "Trust"]

_WILDCARD = re.compile(r"(https?)://\*\.([A-Za-z0-9.-]+\.[A-Za-z0-9-]+)(?::(\d+))?/?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Trust(Enum):
    """What an origin may be sent."""

    CREDENTIALS = auto()
    ANONYMOUS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRules:
    """The origins besides the API's own.

    :param allowed: are sent the connection's credentials too.
    :param anonymous: are asked without credentials, cookies and the author's headers, by ``GET``.
    :param anonymous_suffixes: the same for all hosts below a domain.
    """

    allowed: frozenset[Origin] = frozenset()
    anonymous: frozenset[Origin] = frozenset()
    anonymous_suffixes: frozenset[Origin] = frozenset()

    @classmethod
    def parse(cls, allowed: Iterable[str] = (), anonymous: Iterable[str] = ()) -> Self:
        """Read origins such as ``https://files.example.com``; anonymous ones may begin ``https://*.``.

        :raises OriginError: for what is no origin. A wildcard never gets credentials.
        """
        exact, suffixes = set(), set()
        for text in anonymous:
            if match := _WILDCARD.fullmatch(text):
                scheme, host, port = match.groups()
                scheme = scheme.lower()
                suffixes.add((scheme, f".{host.lower()}", int(port) if port else _DEFAULT_PORTS[scheme]))
            else:
                exact.add(_parsed(text))
        return cls(
            allowed=frozenset(map(_parsed, allowed)),
            anonymous=frozenset(exact),
            anonymous_suffixes=frozenset(suffixes),
        )

    @property
    def schemes(self) -> set[str]:
        """The schemes by which these origins are reached."""
        return {scheme for scheme, _, _ in self.allowed | self.anonymous | self.anonymous_suffixes}

    def trust(self, target: Origin) -> Trust | None:
        """What an origin may be sent; None for nothing at all."""
        if target in self.allowed:
            return Trust.CREDENTIALS
        scheme, host, port = target
        below = any(
            (s, p) == (scheme, port) and host.endswith(suffix) for s, suffix, p in self.anonymous_suffixes
        )
        return Trust.ANONYMOUS if below or target in self.anonymous else None


def _parsed(text: str) -> Origin:
    if "*" in text:
        raise OriginError(
            f"{text!r}: only anonymous origins may have a wildcard, as in 'https://*.example.com'."
        )
    found = origin(text)
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        # It would be taken for the whole host, and somebody meant less.
        raise OriginError(
            f"{Redactor().url(text)!r} has more than scheme, host and port, and an origin is those alone."
        )
    return found
