"""The ``Link`` header field (RFC 8288 §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["link_to"]

_TARGET = re.compile(r"\s*,?\s*<([^>]*)>")
_PARAMETER = re.compile(
    r"""\s*;\s*(?P<name>[^\s=;,"<>]+)(?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^\s;,"]*)))?"""
)


def link_to(fields: Iterable[str], relation: str) -> str | None:
    """The target of the first link with this relation; None where there is none.

    :param fields: values of all ``Link`` fields of one answer.
    :param relation: such as ``next``.
    """
    for field in fields:
        for target, parameters in _links(field):
            relations = parameters.get("rel", "").lower().split()
            # A link with an anchor is about another document (§3.2).
            if relation in relations and "anchor" not in parameters:
                return target
    return None


def _links(field: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Targets with their parameters; what follows something unreadable is skipped to the next ``<``."""
    position = 0
    while position < len(field):
        target = _TARGET.match(field, position)
        if target is None:
            position = field.find("<", position + 1)
            if position < 0:
                return
            continue
        position = target.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(field, position):
            value = parameter["quoted"]
            value = re.sub(r"\\(.)", r"\1", value) if value is not None else parameter["token"] or ""
            # The first of a name counts (§3.3).
            parameters.setdefault(parameter["name"].lower(), value)
            position = parameter.end()
        yield target[1].strip(), parameters
