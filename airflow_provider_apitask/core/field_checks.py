"""Checks of one field of an answer: its type, its value, its size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.json_values import TYPES, exact, is_of_type, same, type_name
from airflow_provider_apitask.core.kinds import Count, Flag, Number, OneOrMore, Text, Value, Values
from airflow_provider_apitask.core.value_object import ValueObject

__all__ = ["Broken", "FieldCheck"]

#: Other names for a rule, as products and authors write them.
_ALIASES = {"equals": "value", "in": "one_of"}
_SIZES = ("min_length", "max_length", "length")
_SIZED = (str, list, Mapping)


class Broken(NamedTuple):
    """A rule that a value breaks, and what the rule asks for: words, and a value to be quoted after them."""

    rule: str
    words: str
    value: Any = MISSING


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FieldCheck(ValueObject):
    """What one field of an answer must be. Every rule is optional; those given must all hold.

    :param type: a JSON type, or several: string, number, integer, boolean, object, array, null.
        Python's names (str, int, …) do as well.
    :param value: the value itself; also written ``equals``. Numbers by value, texts exactly.
    :param one_of: values of which it must be one; also written ``in``.
    :param pattern: regular expression that is found in the text; anchor it to match all of it.
    :param min: smallest number.
    :param max: largest number.
    :param min_length: fewest characters, items or members.
    :param max_length: most characters, items or members.
    :param length: exact number of characters, items or members.
    :param optional: whether the field may be missing; False by default.
    :param absent: whether the field must be missing; False by default.
    """

    type: OneOrMore = None
    value: Value = MISSING
    one_of: Values = None
    pattern: Text = None
    min: Number = None
    max: Number = None
    min_length: Count = None
    max_length: Count = None
    length: Count = None
    optional: Flag = None
    absent: Flag = None

    @classmethod
    def parse(cls, value: Any, parameter: str = "") -> Self:
        """Read a check from a dict.

        :raises ParameterError: naming the rule and what is allowed.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ParameterError(
                f"{parameter} must be a dict of rules such as {{'value': {checks.shown(value)}}} or "
                f"{{'type': 'string'}}, not {checks.shown(value)}.",
                parameter=parameter,
            )
        allowed = {field.name for field in fields(cls)}
        checks.known_keys(value, parameter, allowed | set(_ALIASES))
        rules: dict[str, Any] = {}
        for name, rule in value.items():
            field = _ALIASES.get(name, str(name))
            if field in rules:
                raise ParameterError(
                    f"{parameter} has {field!r} twice, as {name!r} too.", parameter=parameter
                )
            rules[field] = _rule(field, rule, f"{parameter}.{name}")
        check = cls(**rules)
        if not check.to_dict():
            raise ParameterError(f"{parameter} has no rule.", parameter=parameter)
        if check.absent and len(rules) > 1:
            raise ParameterError(
                f"{parameter}: what must be absent can have no other rule.", parameter=parameter
            )
        return check

    def broken(self, found: Any) -> Iterator[Broken]:
        """The rules that a value breaks; ``MISSING`` is a field that is not there.

        A value of another type than ``type`` asks for is not looked at further.
        """
        if self.absent:
            if found is not MISSING:
                yield Broken("absent", "nothing")
            return
        if found is MISSING:
            if not self.optional:
                yield Broken("required", "a value")
            return
        if self.type is not None and not any(is_of_type(found, name) for name in self.type):
            yield Broken("type", f"a value of type {' or '.join(self.type)}")
            return
        if self.value is not MISSING and not same(self.value, found):
            yield Broken("value", "", self.value)
        if self.one_of is not None and not any(same(item, found) for item in self.one_of):
            yield Broken("one_of", "one of ", self.one_of)
        if self.pattern is not None and not (isinstance(found, str) and _is_found(self.pattern, found)):
            yield Broken("pattern", "a text with a match of the pattern ", self.pattern)
        yield from self._bounds_broken(found)

    def _bounds_broken(self, found: Any) -> Iterator[Broken]:
        number = exact(found, near=self.min)
        if (least := exact(self.min, text=True)) is not None and (number is None or number < least):
            yield Broken("min", f"a number of at least {least}")
        number = exact(found, near=self.max)
        if (most := exact(self.max, text=True)) is not None and (number is None or number > most):
            yield Broken("max", f"a number of at most {most}")
        size = len(found) if isinstance(found, _SIZED) else None
        if self.min_length is not None and (size is None or size < int(self.min_length)):
            yield Broken("min_length", f"at least {self.min_length} characters or items")
        if self.max_length is not None and (size is None or size > int(self.max_length)):
            yield Broken("max_length", f"at most {self.max_length} characters or items")
        if self.length is not None and size != int(self.length):
            yield Broken("length", f"exactly {self.length} characters or items")


def _is_found(pattern: str, text: str) -> bool:
    from airflow_provider_apitask.core.patterns import found

    return found(pattern, text)


def _rule(name: str, rule: Any, parameter: str) -> Any:
    if name == "value":
        return rule
    if rule is None:
        return rule
    if name == "type":
        return _types(rule, parameter)
    if checks.is_open(rule):
        return rule
    if name == "one_of":
        if not isinstance(rule, (list, tuple, set, frozenset)) or not rule:
            raise ParameterError(
                f"{parameter} must be a list of values, not {checks.shown(rule)}.", parameter=parameter
            )
        return sorted(rule, key=str) if isinstance(rule, (set, frozenset)) else list(rule)
    if name == "pattern":
        return _pattern(rule, parameter)
    if name in ("min", "max"):
        if exact(rule, text=True) is None:
            raise ParameterError(
                f"{parameter} must be a number, not {checks.shown(rule)}.", parameter=parameter
            )
        return rule
    if name in _SIZES:
        return checks.number(rule, parameter, whole=True)
    if not isinstance(rule, bool):
        raise ParameterError(
            f"{parameter} must be True or False, not {checks.shown(rule)}.", parameter=parameter
        )
    return rule


def _types(given: Any, parameter: str) -> Any:
    # A type of Python, such as str, would pass for a value that is known later.
    names = list(given) if isinstance(given, (list, tuple)) else [given]
    types = [
        name if checks.is_open(name) and not isinstance(name, type) else type_name(name) for name in names
    ]
    if not types or None in types:
        raise ParameterError(
            f"{parameter} must be one of {', '.join(TYPES)}, or a list of them, not {checks.shown(given)}.",
            parameter=parameter,
        )
    return types


def _pattern(given: Any, parameter: str) -> str:
    try:
        re.compile(given)
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise ParameterError(
            f"{parameter} must be a regular expression, not {checks.shown(given)}: {error}.",
            parameter=parameter,
        ) from None
    if not isinstance(given, str):
        raise ParameterError(f"{parameter} must be a text, not {checks.shown(given)}.", parameter=parameter)
    return given
