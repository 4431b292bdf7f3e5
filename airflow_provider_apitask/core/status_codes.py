"""HTTP codes that an author names: one, several, ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from airflow_provider_apitask.core.checks import is_open, shown
from airflow_provider_apitask.core.errors import ParameterError

__all__ = ["code_in", "codes_text", "parse_codes"]

_CLASS = re.compile(r"[1-5]xx", re.IGNORECASE)
_RANGE = re.compile(r"(\d{3})\s*-\s*(\d{3})")


def parse_codes(value: Any, parameter: str) -> Any:
    """Return a list of codes (``404``), classes (``2xx``) and ranges (``200-204``); None as None.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if value is None or is_open(value):
        return value
    if isinstance(value, (set, frozenset)):
        # In one order always: Airflow takes another order for another version of the DAG.
        value = sorted(value, key=str)
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    codes = [item if is_open(item) else _one(item, parameter) for item in given]
    if not codes:
        raise ParameterError(f"{parameter} must name an HTTP code at least.", parameter=parameter)
    return codes


def code_in(status: int, codes: Iterable[Any]) -> bool:
    """Whether a code is one of those that :func:`parse_codes` returned."""
    return any(low <= status <= high for low, high in map(_span, codes))


def codes_text(codes: Iterable[Any]) -> str:
    """The codes in words, such as ``200, 4xx or 500-503``."""
    texts = [str(code) for code in codes]
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]


def _one(item: Any, parameter: str) -> int | str:
    text = str(item).strip().lower() if isinstance(item, (int, str)) and not isinstance(item, bool) else ""
    if text.isascii() and text.isdigit() and len(text) == 3 and 100 <= int(text) <= 599:
        return int(text)
    if _CLASS.fullmatch(text):
        return text
    if match := _RANGE.fullmatch(text):
        low, high = match.groups()
        if 100 <= int(low) <= int(high) <= 599:
            return f"{low}-{high}"
    raise ParameterError(
        f"{parameter} must be HTTP codes from 100 to 599, alone (404), as a class ('2xx') or as a range "
        f"('200-204'), not {shown(item)}.",
        parameter=parameter,
    )


def _span(code: Any) -> tuple[int, int]:
    if isinstance(code, int):
        return code, code
    if _CLASS.fullmatch(code):
        return int(code[0]) * 100, int(code[0]) * 100 + 99
    low, _, high = code.partition("-")
    return int(low), int(high)
