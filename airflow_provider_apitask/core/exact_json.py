"""JSON whose numbers keep their digits, on the way in and on the way out.

Python reads a number with a fraction as a double, which holds some 16 digits. One that would lose digits
is a ``Decimal`` here, any other a float as everywhere. The JSON of the standard library can write no
``Decimal``, so this does; for a value without one it is left to the library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

__all__ = ["fraction", "json_pieces", "json_text"]

#: Longest number with a fraction or exponent, characters, and its largest power of ten: that is the limit
#: that Python has for whole numbers, and no number takes long or much memory with it.
_LONGEST = 4300
#: A number of so many characters has at most 15 digits, which every double holds (IEEE 754).
_ALWAYS_HELD = 16
_COMPACT = (",", ":")
_SPACED = (", ", ": ")


def fraction(digits: str) -> float | Decimal:
    """A JSON number with a fraction or an exponent: a float where that says its digits, else a Decimal.

    :raises ValueError: for one of more than 4300 digits, or beyond 1E+4300 or 1E-4300.
    """
    if len(digits) > _LONGEST:
        raise ValueError(f"a number of {len(digits)} digits is not read, {_LONGEST} are")
    number = float(digits)
    if (len(digits) <= _ALWAYS_HELD and "e" not in digits and "E" not in digits) or repr(number) == digits:
        return number
    try:
        exact = Decimal(digits)
    except InvalidOperation:
        raise _out_of_range(digits) from None
    if isfinite(number) and Decimal(repr(number)) == exact:
        return number
    if abs(exact.adjusted()) >= _LONGEST:
        raise _out_of_range(digits)
    return exact


def _out_of_range(digits: str) -> ValueError:
    return ValueError(f"the number {digits[:20]} is out of range")


class _InexactError(Exception):
    """A decimal that no float is equal to: the encoder of the standard library cannot write it."""


def json_text(value: Any, *, spaced: bool = False, default: Callable[[Any], Any] | None = None) -> str:
    """A value as JSON, each number with its digits.

    :param spaced: a space behind commas and colons, for people.
    :param default: makes something that JSON has of what it has not.
    :raises TypeError: for what ``default`` does not know.
    :raises ValueError: for NaN, infinity, and what holds itself.
    :raises RecursionError: for what is nested too deep.
    """
    separators = _SPACED if spaced else _COMPACT
    plain = default or _no_json
    try:
        return json.dumps(
            value,
            ensure_ascii=False,
            allow_nan=False,
            separators=separators,
            default=lambda item: _number(item) if isinstance(item, Decimal) else plain(item),
        )
    except _InexactError:
        return "".join(_pieces(value, separators, plain))


def json_pieces(value: Any, default: Callable[[Any], Any]) -> Iterator[str]:
    """The same piece by piece, spaced, for who wants the start of it only."""
    return _pieces(value, _SPACED, default)


def _no_json(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _number(value: Decimal) -> int | float:
    _require_finite(value)
    if value.as_tuple().exponent in (0, 1, 2, 3):
        return int(value)
    # By its shortest text, which is what is written: 0.1 is not the binary fraction behind it.
    if Decimal(repr(float(value))) == value:
        return int(value) if value == value.to_integral_value() else float(value)
    raise _InexactError


def _require_finite(value: Decimal) -> None:
    if not value.is_finite():
        raise ValueError(f"{value} is no JSON number (RFC 8259 §6)")


def _pieces(value: Any, separators: tuple[str, str], plain: Callable[[Any], Any]) -> Iterator[str]:
    comma, colon = separators
    if isinstance(value, Decimal):
        _require_finite(value)
        yield str(value)
    elif isinstance(value, dict):
        between = "{"
        for name, item in value.items():
            yield f"{between}{_encode(name) if isinstance(name, str) else _name(name)}{colon}"
            yield from _pieces(item, separators, plain)
            between = comma
        yield "}" if value else "{}"
    elif isinstance(value, (list, tuple)):
        between = "["
        for item in value:
            yield between
            yield from _pieces(item, separators, plain)
            between = comma
        yield "]" if value else "[]"
    elif value is None or isinstance(value, (str, int, float)):
        yield _encode(value)
    else:
        yield from _pieces(plain(value), separators, plain)


def _name(key: Any) -> str:
    """A key as the encoder of the standard library writes it: numbers and booleans are texts then."""
    return _encode({key: 0})[1:-4]


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
