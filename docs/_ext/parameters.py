"""What the reference says of each parameter, read from the code: signature, docstring, ``template_fields``.

It knows nothing of Sphinx, so that tests can use it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_apitask.core import kinds
from airflow_provider_apitask.core.missing import MISSING
from airflow_provider_apitask.core.value_object import ValueObject

_FIELD = re.compile(r"^:(?P<field>\w+)(?: (?P<name>[^:]+))?:\s*(?P<text>.*)$")


@dataclass(frozen=True)
class Parameter:
    """A parameter as the reference shows it; ``meaning`` is reStructuredText, empty where nothing is said."""

    name: str
    type: str
    default: str
    templated: bool
    meaning: str


def load(path: str) -> Any:
    """The object of a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def described(documented: Any) -> tuple[str, dict[str, str], list[str]]:
    """The docstring of a class or function in parts.

    :returns: its text without fields, what it says of each parameter, and the other fields as they stand.
    """
    text: list[str] = []
    parameters: dict[str, list[str]] = {}
    others: list[str] = []
    into = text
    for line in inspect.cleandoc(documented.__doc__ or "").splitlines():
        if match := _FIELD.match(line):
            if match["field"] == "param":
                into = parameters.setdefault(match["name"].split()[-1], [])
                into.append(match["text"])
            else:
                into = others
                into.append(line)
        elif into is text or not line or line.startswith(" "):
            into.append(line.strip() if into is not text and into is not others else line)
        else:
            into = text
            into.append(line)
    told = {name: " ".join(lines).strip() for name, lines in parameters.items()}
    return "\n".join(text).strip(), told, others


def parameters_of(documented: Any) -> Iterator[Parameter]:
    """Each parameter of a class or function that an author can give, in its order."""
    _, told, _ = described(documented)
    fields = getattr(documented, "template_fields", None)
    # A value object is templated whole, with the parameter that holds it.
    whole = isinstance(documented, type) and issubclass(documented, ValueObject)
    for parameter in inspect.signature(documented).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        annotation = parameter.annotation
        default = parameter.default
        yield Parameter(
            name=parameter.name,
            type="" if annotation is parameter.empty else _type(annotation),
            default="" if default is parameter.empty else _shown(default),
            templated=whole or (fields is not None and parameter.name in fields),
            meaning=told.get(parameter.name, ""),
        )


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if text in kinds.__all__:
        return str(getattr(kinds, text).__metadata__[0])
    # What takes many forms is told by its meaning.
    return "" if text == "Any" else text.removesuffix(" | None")


def _shown(default: Any) -> str:
    return "" if default is MISSING else repr(default)


@dataclass(frozen=True)
class Field:
    """A field of the connection form."""

    name: str
    label: str
    type: str
    default: str
    meaning: str


def connection_fields() -> dict[str, list[Field]]:
    """The fields of a connection by section of the form, in its order; the standard ones have none."""
    from airflow_provider_apitask.get_provider_info import get_provider_info

    info: dict[str, Any] = get_provider_info()
    (kind,) = (each for each in info["connection-types"] if each["connection-type"] == "apitask")
    sections: dict[str, list[Field]] = {}
    for name, field in kind["conn-fields"].items():
        schema = field["schema"]
        found = Field(
            name=name,
            label=field["label"],
            type=_json_type(schema),
            default=json.dumps(schema["default"]) if schema.get("default") is not None else "",
            meaning=escaped(field.get("description", "")),
        )
        sections.setdefault(schema.get("section", "More"), []).append(found)
    return sections


@dataclass(frozen=True)
class Option:
    """An option of Airflow's configuration."""

    section: str
    name: str
    type: str
    default: str
    meaning: str


def options() -> Iterator[Option]:
    """The options of Airflow's configuration that the provider adds."""
    from airflow_provider_apitask.get_provider_info import get_provider_info

    info: dict[str, Any] = get_provider_info()
    for section, content in info.get("config", {}).items():
        for name, option in content["options"].items():
            default = option.get("default")
            meaning = " ".join((option.get("description") or "").split())
            yield Option(section, name, option["type"], "" if default is None else str(default), meaning)


def _json_type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"] if value is not None)
    given = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(kind for kind in given if kind != "null")


def escaped(text: str) -> str:
    """Plain text as reStructuredText."""
    return re.sub(r"([*`|_\\])", r"\\\1", text)


def errors() -> Iterator[tuple[Any, str]]:
    """Each class of errors that a task can end with, and what its docstring says first."""
    from airflow_provider_apitask import exceptions

    for name in exceptions.__all__:
        found = getattr(exceptions, name)
        if isinstance(found, type) and name != "ApiTaskError":
            yield found, " ".join(inspect.cleandoc(found.__doc__ or "").split("\n\n")[0].split())
