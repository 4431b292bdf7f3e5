"""What an answer breaks of the rules of its author, for a person and for a program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.errors import ResponseValidationError
from airflow_provider_apitask.core.exact_json import json_pieces
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.field_checks import Broken
from airflow_provider_apitask.core.redaction import MASK, is_secret_name

__all__ = ["LONGEST", "MOST", "Violation", "bounded", "broken_at", "quote", "quote_at", "validation_error"]

#: Most violations that are listed: an answer of a million wrong items is told by a hundred of them.
MOST = 100
#: Longest value that is quoted, characters.
LONGEST = 160
#: What of a value is written to quote its start, characters: it may be the whole of a large answer.
_WINDOW = 4096
#: Longest list of violations in a message, characters; the data of the error has them all.
_LONGEST_LIST = 1400
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that an answer breaks. All texts are short and redacted.

    :param rule: name of the rule, such as ``field_checks.pattern``.
    :param path: where in the answer; ``status_code`` for the HTTP code.
    :param expected: what the rule asks for.
    :param found: what the answer has instead.
    """

    rule: str
    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: at {self.path} expected {self.expected}, found {self.found}"

    def to_dict(self) -> dict[str, str]:
        """Return the violation as JSON."""
        return asdict(self)


def quote(reading: Reading, value: Any) -> str:
    """The start of a value as JSON, redacted; ``nothing`` for what is not there."""
    if value is MISSING:
        return "nothing"
    pieces, size = [], 0
    try:
        for piece in json_pieces(value, str):
            pieces.append(piece)
            size += len(piece)
            if size > _WINDOW:
                break
    except (ValueError, RecursionError, TypeError):
        return f"<{type(value).__name__}>"  # nested too deep, or an author's value that is no JSON
    return reading.redacted("".join(pieces), LONGEST).encode("utf-8", "replace").decode()


def quote_at(reading: Reading, path: str, value: Any) -> str:
    """The same for the value at a path, which is masked where the path has the name of a secret."""
    names = _WORD.findall(path)
    # In an answer ``code`` is that of an error, not that of a login.
    if isinstance(value, str) and names and names[-1] != "code" and is_secret_name(names[-1]):
        return f'"{MASK}"'
    return quote(reading, value)


def broken_at(reading: Reading, path: str, found: Any, broken: Broken, place: str | None = None) -> Violation:
    """The violation of a field's check.

    :param place: which of the values at the path it is, in words; by default the path.
    """
    expected = broken.words
    if broken.value is not MISSING:
        expected += quote_at(reading, path, broken.value)
    return Violation(f"field_checks.{broken.rule}", place or path, expected, quote_at(reading, path, found))


def bounded(violations: Iterable[Violation]) -> list[Violation]:
    """The first ``MOST`` violations, and where there are more, one that says so."""
    found = list(islice(violations, MOST + 1))
    if len(found) <= MOST:
        return found
    return [*found[:MOST], Violation("all rules", "$", f"nothing besides the {MOST} listed", "more")]


def validation_error(reading: Reading, violations: Sequence[Violation]) -> ResponseValidationError:
    """The error that lists all violations: one a line, all of them in the data."""
    lines: list[str] = []
    for number, violation in enumerate(violations, 1):
        line = f"\n{number}. {violation}"
        if sum(map(len, lines)) + len(line) > _LONGEST_LIST:
            lines.append(f"\n… and {len(violations) - len(lines)} more, in the violations of this error.")
            break
        lines.append(line)
    rules = "1 rule" if len(violations) == 1 else f"{len(violations)} rules"
    return ResponseValidationError(
        f"{reading.shown}, and breaks {rules} of response_validation:{''.join(lines)}",
        **reading.data,
        violations=[violation.to_dict() for violation in violations],
    )
