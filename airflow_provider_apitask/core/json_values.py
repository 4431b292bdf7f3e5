"""Values of JSON: their types, and comparing them as JSON has them, not as Python does.

``true`` is no ``1`` here, ``1.0`` is ``1``, and numbers are compared by the digits they are written
with: as binary fractions ``0.1`` would not be the ``Decimal("0.1")`` of an author.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite, trunc
from typing import Any

__all__ = ["TYPES", "exact", "is_of_type", "json_type", "same", "type_name"]

#: The types of JSON Schema (draft 2020-12, validation §6.1.1).
TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
#: Other names for them: those of Python.
_ALIASES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "none": "null",
    "nonetype": "null",
}


def type_name(name: Any) -> str | None:
    """The JSON name of a type given by that, by Python's name or as Python's type; None for no type."""
    text = name.__name__ if isinstance(name, type) else name
    if text is None:
        return "null"
    folded = text.strip().lower() if isinstance(text, str) else ""
    folded = _ALIASES.get(folded, folded)
    return folded if folded in TYPES else None


def json_type(value: Any) -> str:
    """The narrowest JSON type of a value; a number without a fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, (list, tuple)):
        return "array"
    number = exact(value)
    # Not by division, of which Decimal has 28 digits.
    return "integer" if number is not None and number == trunc(number) else "number"


def is_of_type(value: Any, name: str) -> bool:
    """Whether a value is of a JSON type; an integer is a number too."""
    found = json_type(value)
    return found == name or (name == "number" and found == "integer")


def exact(value: Any, *, text: bool = False, near: Any = None) -> int | Decimal | None:
    """A number by its digits; None for what is no finite number, as a boolean is none.

    :param text: whether a text that says a number is one, as after the rendering of a template.
    :param near: what it is compared with. Where that is a float, so is this: a server that writes its
        doubles with 17 digits has 0.10000000000000001 for what an author writes as 0.1.
    """
    if isinstance(value, Decimal) and isinstance(near, float) and isfinite(rounded := float(value)):
        value = rounded
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        # The shortest digits that give this float: those that the server wrote, mostly.
        return Decimal(repr(value)) if isfinite(value) else None
    if isinstance(value, str) and text:
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            return None
    return value if isinstance(value, Decimal) and value.is_finite() else None


def same(expected: Any, found: Any) -> bool:
    """Whether two values are the same JSON value, nested ones included."""
    one, two = exact(expected), exact(found, near=expected)
    if one is not None or two is not None:
        return one is not None and two is not None and one == two
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return expected.keys() == found.keys() and all(same(expected[key], found[key]) for key in expected)
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(expected) == len(found) and all(map(same, expected, found))
    return type(expected) is type(found) and bool(expected == found)
