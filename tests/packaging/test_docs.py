"""The pages that are made from the code, and those that quote it: nothing is missing or out of date."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_apitask as package
from airflow_provider_apitask import exceptions
from airflow_provider_apitask.core.value_object import ValueObject
from docs._ext.parameters import connection_fields, described, errors, load, options, parameters_of

#: The documentation is that of the newest Airflow: before 3.3 there is less to describe.
pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference.md").read_text()
TROUBLESHOOTING = (DOCS / "troubleshooting.md").read_text()
LISTED = re.findall(r"^\.\. parameters:: (\S+)$", REFERENCE, re.MULTILINE)

# -- the reference -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTED)
def test_every_parameter_is_described(path: str) -> None:
    documented = load(path)
    silent = [parameter.name for parameter in parameters_of(documented) if not parameter.meaning]
    assert silent == []
    # What is described and not there any more.
    _, told, _ = described(documented)
    assert set(told) <= {parameter.name for parameter in parameters_of(documented)} | {"kwargs"}


def test_reference_has_every_class_that_an_author_uses() -> None:
    for module in pkgutil.iter_modules([str(ROOT / "airflow_provider_apitask" / "core")]):
        importlib.import_module(f"airflow_provider_apitask.core.{module.name}")
    classes = [getattr(package, name) for name in package.__all__ if name not in ("__version__", "ApiHook")]
    classes += [cls for cls in _below(ValueObject) if cls.__module__.startswith("airflow_provider_apitask.")]
    assert {f"{cls.__module__}.{cls.__qualname__}" for cls in classes} <= set(LISTED)


def test_a_parameter_without_a_description_is_found() -> None:
    @dataclasses.dataclass
    class Documented:
        """Has two fields.

        :param told: what it is,
            on two lines.
        """

        told: int = 1
        silent: Any = None

    told, silent = parameters_of(Documented)
    assert (told.type, told.default, told.meaning) == ("int", "1", "what it is, on two lines.")
    assert (silent.type, silent.default, silent.meaning) == ("", "None", "")


def test_what_a_value_object_takes_is_told() -> None:
    job = load("airflow_provider_apitask.core.job.AsyncJob")
    types = {parameter.name: parameter.type for parameter in parameters_of(job)}
    assert "" not in types.values()
    assert types["deadline"] == "seconds"


def test_template_fields_are_those_of_the_operator() -> None:
    operator = load("airflow_provider_apitask.operators.api_call.ApiCallOperator")
    templated = {parameter.name for parameter in parameters_of(operator) if parameter.templated}
    assert templated == set(operator.template_fields)


def test_every_field_and_option_is_described() -> None:
    silent = [field.name for fields in connection_fields().values() for field in fields if not field.meaning]
    silent += [option.name for option in options() if not option.meaning]
    assert silent == []


def _below(cls: type) -> Iterator[type]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


# -- troubleshooting -----------------------------------------------------------------------------

#: What differs from case to case.
GAP = "…"


def rows() -> Iterator[list[str]]:
    """The cells of each row of the tables."""
    for line in TROUBLESHOOTING.splitlines():
        if line.startswith("| ") and not line.startswith(("| text", "| ---")):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


@functools.cache
def texts_of_the_code() -> list[str]:
    """Each text of the package as it is shown, with gaps where values are filled in."""
    found = []
    for file in (ROOT / "airflow_provider_apitask").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else GAP for p in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%(?:\.\d)?[rsdf]", GAP, node.value))
    return found


def test_every_error_class_is_in_troubleshooting() -> None:
    told = {name for row in rows() if len(row) == 4 for name in re.findall(r"`(\w+Error)`", row[1])}
    assert {cls.__name__ for cls, _ in errors()} - told == set()
    assert told - set(exceptions.__all__) == {"ImportError"}


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0][:40])
def test_quoted_text_is_in_the_code(row: list[str]) -> None:
    quoted = re.match(r"`([^`]+)`", row[0])
    assert quoted is not None
    pieces = [re.escape(piece) for piece in quoted[1].split(GAP) if piece.strip(" .,:()")]
    pattern = re.compile(".*?".join(pieces), re.DOTALL)
    assert any(pattern.search(text) for text in texts_of_the_code())


def test_a_text_that_is_not_in_the_code_would_be_found() -> None:
    assert not any("The server may have taken the requests:" in text for text in texts_of_the_code())
