"""Where the parameters of a request hold a placeholder that is filled in when the request is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.templating import mentions

__all__ = ["is_known_later", "place_of"]

_PARTS = ("endpoint", "query_params", "headers", "body")


def place_of(text: str, given: Mapping[str, Any]) -> str | None:
    """Return the first parameter of the request that holds a text, None if none does."""
    return next((name for name in _PARTS if mentions(given.get(name), text)), None)


def is_known_later(given: Mapping[str, Any], later: Collection[str]) -> bool:
    """Whether a template or a mapped value may still bring a text into the request."""
    return any(name in later or _may_hold_more(given.get(name)) for name in _PARTS)


def _may_hold_more(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_may_hold_more, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_may_hold_more, value))
    return checks.is_open(value)
