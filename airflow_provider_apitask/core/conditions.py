"""Conditions on an answer that say how the call went: by its HTTP code, its body, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.answers import Reading, find_all_in
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import MISSING, check_path
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.json_values import exact, same
from airflow_provider_apitask.core.status import fold
from airflow_provider_apitask.core.status_codes import code_in, parse_codes

__all__ = [
    "STATUS_CODE",
    "conditions_as_dicts",
    "means",
    "parse_conditions",
    "paths_of",
    "which_applies",
    "which_holds",
]

#: The key of a condition that is the HTTP code; a field of that name is ``$.status_code``.
STATUS_CODE = "status_code"

#: Path or ``status_code`` → codes, a list of values, or a FieldCheck; all must hold.
Condition = dict[str, Any]


def parse_conditions(value: Any, parameter: str) -> Any:
    """Return a list of conditions, of which one must hold; None as None.

    :param value: a dict, all of which must hold, or a list of such dicts.
    :raises ParameterError: naming the condition and what is allowed.
    """
    if value is None or checks.is_open(value):
        return value
    if isinstance(value, Mapping):
        return [_condition(value, parameter)]
    if not isinstance(value, (list, tuple)) or not value:
        raise ParameterError(
            f"{parameter} must be a dict such as {{'$.status': 'ok'}} or a list of such, "
            f"not {checks.shown(value)}.",
            parameter=parameter,
        )
    return [
        item if checks.is_open(item) else _condition(item, f"{parameter}[{number}]")
        for number, item in enumerate(value)
    ]


def conditions_as_dicts(conditions: Any) -> Any:
    """Return what :func:`parse_conditions` made as JSON."""
    if not isinstance(conditions, list):
        return conditions
    return [
        {path: item.to_dict() if isinstance(item, FieldCheck) else item for path, item in condition.items()}
        if isinstance(condition, Mapping)
        else condition
        for condition in conditions
    ]


def which_holds(conditions: list[Condition], reading: Reading, *, every: bool) -> Condition | None:
    """The first condition that holds for an answer; None for none.

    :param every: whether all values that a path matches must meet it, or one is enough.
    """
    return next((condition for condition in conditions if _holds(condition, reading, every)), None)


def which_applies(conditions: list[Condition] | None, reading: Reading, *, every: bool) -> Condition | None:
    """As :func:`which_holds`, for the answer to a check.

    An answer other than 2xx meets only a condition that names its ``status_code``: the error of a
    gateway has a body too, and says nothing of what was asked for.
    """
    asked = conditions or []
    if not reading.response.ok:
        asked = [condition for condition in asked if STATUS_CODE in condition]
    return which_holds(asked, reading, every=every)


def paths_of(conditions: list[Condition]) -> list[str]:
    """What the conditions look at, each once, in order."""
    return list(dict.fromkeys(path for condition in conditions for path in condition))


def means(expected: Any, found: Any) -> bool:
    """Whether a value is the one that a condition names.

    Numbers by value; where one of the two is a text, as status words are (PROTOCOL rule 12).
    """
    if isinstance(expected, str) or isinstance(found, str):
        if any(isinstance(value, (dict, list, tuple)) or value is None for value in (expected, found)):
            return False
        # What is nothing once it is folded, such as "-", is compared as it stands.
        return fold(expected) == fold(found) if fold(expected) else bool(expected == found)
    return same(expected, found)


def _holds(condition: Condition, reading: Reading, every: bool) -> bool:
    for path, expected in condition.items():
        if path == STATUS_CODE:
            if not code_in(reading.response.status, expected):
                return False
            continue
        found = find_all_in(reading, path)
        if isinstance(expected, FieldCheck):
            met = [not any(expected.broken(value)) for value in found or [MISSING]]
        else:
            met = [any(means(item, value) for item in expected) for value in found]
        if not met or not (all(met) if every else any(met)):
            return False
    return True


def _condition(value: Any, parameter: str) -> Condition:
    if not isinstance(value, Mapping) or not value:
        raise ParameterError(
            f"{parameter} must be a dict such as {{'$.status': 'ok'}}, not {checks.shown(value)}.",
            parameter=parameter,
        )
    condition: Condition = {}
    for path, expected in value.items():
        # The whole of it may come from a template, names included.
        name = f"{parameter}[{path!r}]" if checks.quotes() else parameter
        if path == STATUS_CODE:
            if expected is None:
                raise ParameterError(f"{name} must name an HTTP code at least.", parameter=name)
            condition[path] = parse_codes(expected, name)
            continue
        if not checks.is_open(path):
            check_path(path, name)
        if isinstance(expected, (Mapping, FieldCheck)):
            condition[path] = FieldCheck.parse(expected, name)
        else:
            condition[path] = _values(expected, name)
    return condition


def _values(expected: Any, parameter: str) -> list[Any]:
    if isinstance(expected, (set, frozenset)):
        expected = sorted(expected, key=str)
    values = list(expected) if isinstance(expected, (list, tuple)) else [expected]
    for value in values:
        plain = value is None or isinstance(value, (str, bool)) or exact(value) is not None
        if not plain and not checks.is_open(value):
            raise ParameterError(
                f"{parameter} must be a value, a list of values or a dict of checks, "
                f"not {checks.shown(value)}.",
                parameter=parameter,
            )
    if not values:
        raise ParameterError(f"{parameter} must name a value at least.", parameter=parameter)
    return values
