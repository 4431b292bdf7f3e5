"""How value objects show themselves: what was given, without what is secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.redaction import MASK, Redactor, is_secret_name

__all__ = ["shown_as_given"]

#: Longest text of one field, characters.
_LONGEST = 2000


def shown_as_given(value: Any) -> str:
    """The ``repr`` of a dataclass: the fields that differ from their defaults, secrets masked by name."""
    given = []
    for field in fields(value):
        item = getattr(value, field.name)
        if item is not MISSING and item != field.default:
            text = repr(_masked(item))
            given.append(f"{field.name}={text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}")
    return f"{type(value).__name__}({', '.join(given)})"


def _masked(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {name: _masked_part(str(name), part) for name, part in item.items()}
    if isinstance(item, (list, tuple)):
        return [_masked(part) for part in item]
    if isinstance(item, bytes):
        return f"<{len(item)} bytes>"
    if isinstance(item, str):
        nobody = Redactor()
        return nobody.text(nobody.url(item) if "?" in item else item)
    return item


def _masked_part(name: str, part: Any) -> Any:
    kept = part is None or isinstance(part, (Mapping, bool)) or not is_secret_name(name)
    return _masked(part) if kept else MASK
