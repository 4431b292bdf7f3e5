"""Reading a value out of an answer: by JSONPath, a plain dotted path, or XPath.

``$…`` is JSONPath (RFC 9535 in the dialect of jsonpath-ng). A path that begins with ``/`` or ``./`` is
an XPath, and so is whatever stands behind ``xpath:``, such as ``xpath:count(//item)``. Anything else is a
dotted path such as ``result.id``, ``jobs[0].job_state`` or ``task-id``. It comes to the same as a JSONPath
that only names members and items, as most do; then no library is needed either.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Protocol

from airflow_provider_apitask.core.checks import quotes, shown
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.missing import MISSING

__all__ = [
    "MISSING",
    "Path",
    "Shape",
    "check_path",
    "compile_path",
    "find_items",
    "find_result",
    "find_value",
    "is_plain",
    "is_xpath",
    "walks",
]


_STEP = re.compile(
    r"""\[\s*(?:(?P<index>-?\d+)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\]|(?P<name>[^.\[\]]+)"""
)


#: A JSONPath of members and items alone: read here, it costs no import of jsonpath-ng, and the
#: hyphen of ``$.task-id`` is no minus.
_PLAIN_JSONPATH = re.compile(r"""\$(?:\.[\w-]+|\[\s*(?:-?\d+|'[^'\\]*'|"[^"\\]*")\s*\])*""")

#: The same with ``[*]`` or ``.*`` in it: the library takes 60 µs for each item that it matches, and its
#: versions differ in what they make of an object there.
_EACH = r"\[\s*\*\s*\]|\.\*(?![\w-])"
_STARRED_JSONPATH = re.compile(rf"""\$(?:{_EACH}|\.[\w-]+|\[\s*(?:-?\d+|'[^'\\*]*'|"[^"\\*]*")\s*\])*""")


_ENDS_IN_EACH = re.compile(rf"(?:{_EACH})\Z")

_QUOTED = re.compile(r"""'[^']*'|"[^"]*["]""")
#: What means "and", and texts, in which it means nothing.
_AND = re.compile(rf"{_QUOTED.pattern}|&&")
#: What jsonpath-ng raises beside its own errors, while it reads a path (such as a pattern in it that is none)
#: and while it follows one.
_LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    re.error,
)
_XPATH_PREFIX = "xpath:"
#: An index of a dotted path: not every digit of Unicode makes an int.
_INDEX = re.compile(r"-?[0-9]{1,18}")


#: Steps of jsonpath-ng.
_LISTING = frozenset({"Wildcard", "Slice", "Descendants", "Union", "Intersect"})
_FILTERING = frozenset({"Filter", "Where", "WhereNot"})


class Shape(Enum):
    """What a path can match, told from the path alone and from no answer (RFC 9535 §2.3.5.1)."""

    #: One value at most: it names members and items alone. Of an XPath nothing more is known.
    VALUE = auto()
    #: The values that meet a filter: one where it names an id, and any number.
    PICKED = auto()
    #: Any number, by a wildcard, a slice, several names or indexes, or ``..``.
    LIST = auto()


class Path(Protocol):
    """A compiled path."""

    @property
    def shape(self) -> Shape:
        """What it can match."""

    @property
    def selects_items(self) -> bool:
        """Whether it ends in a wildcard, slice, filter or several names: each match is meant by itself."""

    def find(self, document: Any) -> Any:
        """The value at the path: ``MISSING`` for none, a list where the path matches several."""

    def find_all(self, document: Any) -> list[Any]:
        """Each value that the path matches; a value that is a list itself stays one."""


def find_result(path: str, document: Any) -> Any:
    """What a path takes as a result: its type depends on the path, not on how much there is.

    A path that can match several values gives a list always, an empty one too; where what it names before
    its first wildcard or filter is not there, it is MISSING.
    """
    compiled = compile_path(path)
    if compiled.shape is Shape.VALUE:
        return compiled.find(document)
    found = compiled.find_all(document)
    is_there = document is not None and _start_of(path).find(document) is not MISSING
    return found if found or is_there else MISSING


def find_items(path: str, document: Any) -> Any:
    """What a path adds to a list of items; MISSING as :func:`find_result`.

    A list that it names is joined, as is each of ``$.groups[*].rows``; what a wildcard or filter at its end
    matches is an item each, a list too.
    """
    compiled, found = compile_path(path), find_result(path, document)
    if found is MISSING:
        return MISSING
    if compiled.shape is Shape.VALUE:
        return [] if found is None else found if isinstance(found, list) else [found]
    if compiled.selects_items:
        return found
    return [item for part in found for item in (part if isinstance(part, list) else [part])]


def find_value(path: str, document: Any) -> Any:
    """What a path is for a later request, as all of a value: a list where it has the shape of one.

    One that meets a filter is itself: that is how an id is looked up. MISSING for none.
    """
    compiled = compile_path(path)
    if compiled.shape is not Shape.LIST:
        return compiled.find(document)
    return compiled.find_all(document) or MISSING


def _start_of(path: str) -> Path:
    """What a JSONPath names before its first wildcard or filter."""
    match = _PLAIN_JSONPATH.match(path)
    return compile_path(match[0] if match else "$")


def is_xpath(text: str) -> bool:
    """Whether a path reads XML, and not JSON."""
    return text.startswith(("/", "./", _XPATH_PREFIX))


def is_plain(text: str) -> bool:
    """Return whether a path only names members and items, so that following it takes no time."""
    return not is_xpath(text) and (not text.startswith("$") or bool(_PLAIN_JSONPATH.fullmatch(text)))


def walks(text: str) -> bool:
    """Return whether a path can visit each node of a document, even many times, as a filter and ``..`` do."""
    return not is_plain(text) and not _STARRED_JSONPATH.fullmatch(text)


def check_path(text: Any, parameter: str) -> None:
    """Refuse what cannot be a path, cheaply enough for the parsing of a DAG file.

    :raises ParameterError: naming the parameter.
    """
    if not isinstance(text, str) or not text.strip():
        raise ParameterError(
            f"{parameter} must be a JSONPath such as '$.status', a dotted path such as 'result.id', or for "
            f"XML an XPath such as '/job/status', not {shown(text)}.",
            parameter=parameter,
        )
    if is_xpath(text):
        return  # brackets may stand in its texts: it is read when the task runs
    bare = _QUOTED.sub("", text)
    if bare.count("[") != bare.count("]") or bare.count("(") != bare.count(")"):
        raise ParameterError(
            f"{parameter}: the path {shown(text)} has unbalanced brackets.", parameter=parameter
        )
    if not text.startswith("$"):
        _DottedPath(text, parameter)


@lru_cache(maxsize=1024)
def compile_path(text: str) -> Path:
    """Compile a path once per process.

    :raises ParameterError: where it is no valid path.
    """
    if is_xpath(text):
        from airflow_provider_apitask.core.xml import XPath

        return XPath(text.removeprefix(_XPATH_PREFIX))
    if _PLAIN_JSONPATH.fullmatch(text):
        return _DottedPath(text[1:].removeprefix("."), "path")
    if _STARRED_JSONPATH.fullmatch(text):
        return _StarredPath(text)
    return _JsonPath(text) if text.startswith("$") else _DottedPath(text, "path")


class _DottedPath:
    __slots__ = ("_steps",)

    shape = Shape.VALUE
    selects_items = False

    def __init__(self, text: str, parameter: str) -> None:
        steps: list[str | int] = []
        position = 0
        while position < len(text):
            match = _STEP.match(text, position)
            if not match:
                rest = text[position:]
                raise ParameterError(
                    f"{parameter}: {shown(text)} is no dotted path, it cannot be read from {shown(rest)} on.",
                    parameter=parameter,
                )
            index, single, double, name = match.group("index", "single", "double", "name")
            steps.append(
                int(index[:19])
                if index is not None
                else next(t for t in (single, double, name) if t is not None)
            )
            position = match.end()
            if position < len(text) and text[position] == ".":
                position += 1
                if position == len(text):
                    raise ParameterError(
                        f"{parameter}: the path {shown(text)} ends in a dot.", parameter=parameter
                    )
        self._steps = tuple(steps)

    def find(self, document: Any) -> Any:
        for step in self._steps:
            if isinstance(document, dict):
                document = document.get(str(step), MISSING)
            elif isinstance(document, list) and _is_index(step):
                index = int(step)
                document = document[index] if -len(document) <= index < len(document) else MISSING
            else:
                return MISSING
            if document is MISSING:
                return MISSING
        return document

    def find_all(self, document: Any) -> list[Any]:
        found = self.find(document)
        return [] if found is MISSING else [found]


class _StarredPath:
    """Plain paths, and each item of an array or member of an object between them (RFC 9535 §2.3.2)."""

    __slots__ = ("_first", "_rest", "selects_items")

    shape = Shape.LIST
    selects_items: bool

    def __init__(self, text: str) -> None:
        first, *rest = (_DottedPath(part.removeprefix("."), "path") for part in re.split(_EACH, text[1:]))
        self._first, self._rest = first, rest
        self.selects_items = _ENDS_IN_EACH.search(text) is not None

    def find(self, document: Any) -> Any:
        return _one_or_list(self.find_all(document))

    def find_all(self, document: Any) -> list[Any]:
        values = self._first.find_all(document)
        for path in self._rest:
            found = (path.find(child) for value in values for child in _children(value))
            values = [value for value in found if value is not MISSING]
        return values


class _JsonPath:
    __slots__ = ("_expression", "selects_items", "shape")

    shape: Shape
    selects_items: bool

    def __init__(self, text: str) -> None:
        # 30 ms of import, so not before a path is really used.
        from jsonpath_ng.exceptions import JSONPathError
        from jsonpath_ng.ext import parse

        from airflow_provider_apitask.core.patterns import limit_jsonpath

        errors = (JSONPathError, *_LIBRARY_ERRORS)
        with warnings.catch_warnings():
            # Of operators that its next version drops: the author hears of them then.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                try:
                    self._expression = parse(text)
                except errors:
                    # Old versions of jsonpath-ng do not know the "and" of RFC 9535.
                    older = _AND.sub(lambda match: "&" if match[0] == "&&" else match[0], text)
                    if older == text:
                        raise
                    self._expression = parse(older)
            except errors as error:
                why = f": {error}" if quotes() else "."
                raise ParameterError(f"{shown(text)} is no valid JSONPath{why}", parameter="path") from None
        limit_jsonpath(self._expression)
        self.shape = _shape(self._expression)
        last: Any = self._expression
        while type(last).__name__ in ("Child", "Descendants"):
            last = last.right
        self.selects_items = _shape(last) is not Shape.VALUE

    def find(self, document: Any) -> Any:
        return _one_or_list(self.find_all(document))

    def find_all(self, document: Any) -> list[Any]:
        try:
            return [match.value for match in self._expression.find(document)]
        except _LIBRARY_ERRORS:
            # A filter that compares what cannot be compared, in this document, or one nested
            # deeper than the library can walk (RecursionError): no match.
            return []


def _shape(step: Any) -> Shape:
    """The shape of an expression of jsonpath-ng; what its filters compare says nothing of it."""
    kind = type(step).__name__
    if kind in _LISTING or _names(step) == ("*",) or len(_names(step)) > 1:
        return Shape.LIST
    shapes = {_shape(part) for name in ("left", "right") if (part := getattr(step, name, None)) is not None}
    if Shape.LIST in shapes:
        return Shape.LIST
    return Shape.PICKED if kind in _FILTERING or Shape.PICKED in shapes else Shape.VALUE


def _names(step: Any) -> tuple[Any, ...]:
    """The members or items that a step of jsonpath-ng names."""
    return tuple(getattr(step, "fields", ()) or getattr(step, "indices", ()) or ())


def _one_or_list(found: list[Any]) -> Any:
    if not found:
        return MISSING
    return found[0] if len(found) == 1 else found


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_index(step: str | int) -> bool:
    return isinstance(step, int) or bool(_INDEX.fullmatch(step))
