"""JSON Schema: what an answer breaks of one. Nothing is ever fetched for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.exact_json import fraction, json_text
from airflow_provider_apitask.core.json_values import exact, is_of_type
from airflow_provider_apitask.core.patterns import JSON_SCHEMA_KEYWORDS
from airflow_provider_apitask.core.violations import LONGEST, MOST, Violation, quote_at

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["check_json_schema", "compile_schema"]

#: Formats that the library checks with nothing but Python, in every version that is supported. Those
#: that hang on what else is installed would make an answer good here and bad there.
_FORMATS = ("date", "email", "idn-email", "ipv4", "ipv6", "uuid")
#: Keywords whose message by the library names what its value does not: the property at fault.
_TELLING = frozenset(
    {
        *("additionalProperties", "unevaluatedProperties", "dependentRequired"),
        *("additionalItems", "unevaluatedItems", "dependencies", "propertyNames"),
    }
)


def compile_schema(schema: Mapping[str, Any], parameter: str) -> Validator:
    """Check a schema and every ``$ref`` in it, and make ready what checks answers by it.

    :raises ParameterError: where it is no schema of its draft, of none that is known, or refers to
        something that is not in it.
    """
    try:
        text = json_text(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"{parameter} cannot be written as JSON: {error}.", parameter=parameter
        ) from None
    try:
        return _compiled(text)
    except ParameterError as error:
        raise ParameterError(f"{parameter} {error.message}", parameter=parameter) from None


def check_json_schema(schema: Mapping[str, Any], reading: Reading, parameter: str) -> list[Violation]:
    """All that the body of an answer breaks of a schema, at most ``MOST`` and one more.

    :raises ParameterError: as :func:`compile_schema`.
    """
    from referencing.exceptions import Unresolvable

    errors = compile_schema(schema, parameter).iter_errors(reading.document)
    violations: list[Violation] = []
    try:
        violations.extend(_violation(reading, error) for error in islice(errors, MOST + 1))
    except RecursionError:
        # Of the answer, or of a schema that refers to itself and goes no deeper.
        violations.append(Violation("json_schema", "$", "nested less deep", "too deep for this schema"))
    except Unresolvable as error:
        raise ParameterError(
            f"{parameter} refers to {error.ref!r}, which is not in it.", parameter=parameter
        ) from None
    return violations


@lru_cache(maxsize=64)
def _compiled(text: str) -> Validator:
    # Some 40 ms of import, so not before a schema is really used.
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError
    from jsonschema.validators import extend, validator_for
    from jsonschema_specifications import REGISTRY

    schema = json.loads(text, parse_float=fraction)
    # With another default, a draft that is unknown would be taken for the newest one.
    find: Any = validator_for
    named = schema.get("$schema", Draft202012Validator.META_SCHEMA["$schema"])
    try:
        draft = find({"$schema": named}, default=None)
    except (AttributeError, TypeError, ValueError):  # no URL at all
        draft = None
    if draft is None:
        raise ParameterError(f"names the draft {named!r}, which is unknown.")
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise ParameterError(f"is no JSON Schema: at {error.json_path}, {error.message}.") from None
    except RecursionError:
        raise ParameterError("is nested too deep.") from None
    except OverflowError as error:
        raise ParameterError(f"has a pattern that is none: {error}.") from None
    # The draft is known now; a $ref to the root would choose it anew, without what follows.
    schema.pop("$schema", None)
    try:
        _check_references(schema, draft)
    except ValueError as error:
        raise ParameterError(f"has a URL in a $ref or $id that is none: {error}.") from None
    # A registry of its own keeps the library from fetching what a $ref names.
    types = draft.TYPE_CHECKER.redefine("integer", lambda _, value: is_of_type(value, "integer"))
    exact_draft: Any = extend(draft, {"multipleOf": _multiple_of, **JSON_SCHEMA_KEYWORDS}, type_checker=types)
    validator: Validator = exact_draft(schema, registry=REGISTRY, format_checker=FormatChecker(_FORMATS))
    return validator


def _check_references(schema: Any, draft: Any) -> None:
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import specification_with

    specification = specification_with(draft.META_SCHEMA["$schema"])
    root = specification.create_resource(schema)
    waiting = [(root, REGISTRY.resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        contents = resource.contents
        reference = contents.get("$ref") if isinstance(contents, Mapping) else None
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                raise ParameterError(
                    f"refers to {reference!r}, which is not in it; nothing is fetched for a schema: put it "
                    "under $defs."
                ) from None
        waiting.extend((child, resolver.in_subresource(child)) for child in resource.subresources())


def _multiple_of(validator: Any, factor: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``multipleOf`` by digits: for the library, 19.99 is no multiple of 0.01."""
    from jsonschema.exceptions import ValidationError

    number, step = exact(instance), exact(factor)
    if number is not None and step and Fraction(number) % Fraction(step):
        yield ValidationError(f"not a multiple of {factor}")


def _violation(reading: Reading, error: ValidationError) -> Violation:
    path = reading.redacted(_path(error.absolute_path))
    found = quote_at(reading, path, error.instance)
    if error.validator is None:  # a schema that is false has no keyword
        return Violation("json_schema", path, "nothing", found)
    keyword = str(error.validator)
    if keyword == "required":
        expected = f"the property {error.message.removesuffix(' is a required property')}"
    elif keyword in _TELLING:
        expected = f"{keyword} ({error.message})"
    else:
        expected = f"{keyword} {quote_at(reading, path, error.validator_value)}"
    return Violation(f"json_schema.{keyword}", path, reading.redacted(expected, 2 * LONGEST), found)


def _path(steps: Iterable[Any]) -> str:
    text = "$"
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if step.isidentifier() else f"[{json.dumps(step, ensure_ascii=False)}]"
    return text
