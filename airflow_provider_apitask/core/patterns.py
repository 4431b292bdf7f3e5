"""Regular expressions of an author in a text of a server, searched within a time limit.

With :mod:`re`, some patterns take hours on 30 characters and hold the interpreter meanwhile. The regex
library reads the same patterns, lets other threads run, and gives up in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.errors import ParameterError, PatternTimeoutError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

__all__ = ["JSON_SCHEMA_KEYWORDS", "found", "limit_jsonpath"]

#: How long one search can take, seconds.
MAX_SEARCH_SECONDS = 1.0
#: What a message quotes of a pattern, characters.
_QUOTED_CHARS = 100


def found(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text.

    :raises PatternTimeoutError: if that takes too long.
    """
    return _limited("search", pattern, text) is not None


def limit_jsonpath(expression: Any) -> None:
    """Bound the time of the patterns in an expression of jsonpath-ng: ``=~`` in filters, and ``sub``."""
    if getattr(expression, "op", None) == "=~":
        expression.find = _matching(expression.target, expression.value)
    if hasattr(expression, "regex") and hasattr(expression, "repl"):
        expression.regex = _Substitution(expression.regex.pattern)
    for name in ("left", "right", "target", "expressions", "operands"):
        part = getattr(expression, name, None)
        for each in part if isinstance(part, list) else [part]:
            if each is not None:
                limit_jsonpath(each)


def _matching(target: Any, pattern: str) -> Callable[[Any], list[Any]]:
    def find(datum: Any) -> list[Any]:
        from jsonpath_ng import DatumInContext

        return [
            match
            for match in target.find(DatumInContext.wrap(datum))
            if isinstance(match.value, str) and found(pattern, match.value)
        ]

    return find


class _Substitution:
    """What jsonpath-ng uses of a compiled pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def sub(self, replacement: str, text: str) -> Any:
        return _limited("sub", self._pattern, replacement, text)


def _limited(function: str, pattern: str, *arguments: str) -> Any:
    import regex

    try:
        return getattr(regex, function)(pattern, *arguments, timeout=MAX_SEARCH_SECONDS)
    except TimeoutError:
        raise PatternTimeoutError(
            f"The regular expression {pattern[:_QUOTED_CHARS]!r} takes longer than {MAX_SEARCH_SECONDS:g} s "
            f"on a text of {len(arguments[-1])} characters: write it without nested repetitions."
        ) from None
    except regex.error as error:
        raise ParameterError(
            f"{pattern[:_QUOTED_CHARS]!r} is not a valid regular expression: {error}.", parameter="pattern"
        ) from None


# -- JSON Schema -----------------------------------------------------------------------------------


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "string") and not found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if found(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    from jsonschema import Draft202012Validator

    if validator.is_type(instance, "object"):
        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        extra = {
            name: value
            for name, value in instance.items()
            if name not in named and not any(found(pattern, name) for pattern in patterns)
        }
        yield from Draft202012Validator.VALIDATORS["additionalProperties"](validator, additional, extra, {})


#: Keywords of JSON Schema that search by patterns, as functions of the jsonschema library.
JSON_SCHEMA_KEYWORDS: dict[str, Callable[..., Iterator[ValidationError]]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
