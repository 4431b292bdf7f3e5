"""Numbers that Airflow cannot carry: what its messages and XCom make of them, and what goes in their place.

Between the processes of Airflow a value is msgpack, which has whole numbers of 64 bits and doubles: a larger
whole number ends the task with an OverflowError, and Airflow makes a float of a Decimal. So what this
package sends to itself is packed, and what it leaves for others holds such a number as a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.exact_json import fraction

__all__ = ["DEEPEST", "as_carried", "pack", "unpack"]

#: Levels of lists and dicts of a value that goes between processes: Python counts about two calls for each,
#: and allows for a thousand.
DEEPEST = 100

#: The one name of an object that stands for a number: ``{"$number": "0.12345678901234567890"}``. An object
#: of an answer that has this one name goes as ``{"$number": {…}}``.
_NUMBER = "$number"
_LEAST, _MOST = -(2**63), 2**63 - 1


def pack(value: Any, deepest: int = DEEPEST + 20) -> Any:
    """A value whose numbers go through every message of Airflow; :func:`unpack` gives it back as it was.

    Lists and dicts are gone through, and anything else that is no number is left as it is.

    :param deepest: levels of lists and dicts that it may have; by default some more than ``DEEPEST``, for
        what holds such a value.
    :raises RecursionError: for what is nested deeper.
    """
    if isinstance(value, (Mapping, list, tuple)) and not deepest:
        raise RecursionError("nested too deep")
    if isinstance(value, Mapping):
        packed = {name: pack(item, deepest - 1) for name, item in value.items()}
        return {_NUMBER: packed} if packed.keys() == {_NUMBER} else packed
    if isinstance(value, (list, tuple)):
        return [pack(item, deepest - 1) for item in value]
    return {_NUMBER: str(value)} if _is_odd(value) else value


def unpack(value: Any, deepest: int = 2 * DEEPEST) -> Any:
    """What :func:`pack` was given; of tuples lists.

    :raises ParameterError: where a number is none, or it is nested deeper than anything that was packed.
    """
    if not isinstance(value, (Mapping, list)):
        return value
    if not deepest:
        raise ParameterError("What was kept is nested too deep.", parameter="state")
    if isinstance(value, list):
        return [unpack(item, deepest - 1) for item in value]
    if value.keys() == {_NUMBER}:
        inner = value[_NUMBER]
        if not isinstance(inner, Mapping):
            return _number(inner)
        value = inner
    return {name: unpack(item, deepest - 1) for name, item in value.items()}


def as_carried(value: Any) -> tuple[Any, str | None]:
    """A value as XCom can carry it, for everybody: a number that would lose digits there is a text of them.

    A number of many digits that are those of a double, such as 0.10000000000000001 (C writes 0.1 like that
    with ``%.17g``), is that double.

    :returns: the value, itself where nothing had to change, and the first number that is a text now.
    :raises RecursionError: for what is nested too deep.
    """
    return _carried(value) if _has_odd(value) else (value, None)


def _carried(value: Any) -> tuple[Any, str | None]:
    if isinstance(value, (dict, list, tuple)):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        carried = [(name, *_carried(item)) for name, item in pairs]
        if all(item is old for (_, item, _), (_, old) in zip(carried, pairs, strict=True)):
            return value, None
        first = next((text for _, _, text in carried if text is not None), None)
        if isinstance(value, dict):
            return {name: item for name, item, _ in carried}, first
        return [item for _, item, _ in carried], first
    if not _is_odd(value) or (isinstance(value, Decimal) and _is_kept(value)):
        return value, None
    if isinstance(value, Decimal) and (double := _double(value)) is not None:
        return double, None
    return str(value), str(value)


def _has_odd(value: Any) -> bool:
    """Whether an odd number is anywhere in it: mostly there is none, and then this is all that it costs."""
    if isinstance(value, (str, float)):
        return False
    if isinstance(value, dict):
        return any(map(_has_odd, value.values()))
    return any(map(_has_odd, value)) if isinstance(value, (list, tuple)) else _is_odd(value)


def _is_odd(value: Any) -> bool:
    if isinstance(value, int):  # and bool
        return not _LEAST <= value <= _MOST
    return isinstance(value, Decimal) and value.is_finite()


def _is_kept(value: Decimal) -> bool:
    """Whether Airflow gives back this Decimal: it goes as a whole number or as a float."""
    if int(value.as_tuple().exponent) >= 0:
        return _LEAST <= value <= _MOST
    return Decimal(repr(float(value))) == value


def _double(value: Decimal) -> float | None:
    """The double whose digits these are, written to as many; None for none."""
    number = float(value)
    if not isfinite(number):
        return None
    count = len(value.as_tuple().digits)
    return number if Decimal(f"{number:.{count - 1}e}") == value else None


def _number(digits: Any) -> int | Decimal:
    if isinstance(digits, str):
        try:
            if digits.lstrip("-").isdecimal():
                return int(digits)
            fraction(digits)  # within bounds
            return Decimal(digits)
        except ValueError:
            pass
    raise ParameterError("A number that was kept cannot be read any more.", parameter="state")
