"""Checks of what an author wrote, cheap enough for the parsing of a DAG file.

A value that Jinja still has to render, or an ``XComArg``, passes here and is checked again when
the task runs (see :func:`rendered`). It may hold a secret then, in a place that is none for it, and is
not quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from airflow_provider_apitask.core.errors import ParameterError

__all__ = [
    "choice",
    "choices",
    "codes",
    "conn_id",
    "flag",
    "is_open",
    "known_keys",
    "mapping",
    "number",
    "quotes",
    "rendered",
    "shown",
    "timeout",
    "unquoted",
    "web_link",
    "words",
]

#: Largest number taken for seconds or a count: no clock or sleep can use a larger one.
_LARGEST = 10**9
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")
_PLAIN = (str, bytes, int, float, Decimal, list, tuple, dict, Mapping, timedelta, set, frozenset)
#: Longest quotation in an error, characters.
_LONGEST_SHOWN = 100
#: Shorter texts and numbers are no secrets, for the redactor either, and tell what went wrong.
_SHORTEST_SECRET = 4
#: What Jinja makes of None and of flags.
_TELL_NOTHING = frozenset({"None", "True", "False"})

_is_rendered: ContextVar[bool] = ContextVar("apitask_is_rendered", default=False)
_quotes: ContextVar[bool] = ContextVar("apitask_quotes", default=True)


@contextmanager
def rendered() -> Iterator[None]:
    """Take every text within this context, or a function it decorates, as rendered, and quote none in errors.

    A text with ``{{`` in it is checked like any other then: it is what a template rendered to.
    """
    token = _is_rendered.set(True)
    try:
        with unquoted():
            yield
    finally:
        _is_rendered.reset(token)


@contextmanager
def unquoted(is_unquoted: bool = True) -> Iterator[None]:
    """Within this context errors quote no value: it may come from an upstream task or a template.

    :param is_unquoted: False changes nothing.
    """
    token = _quotes.set(_quotes.get() and not is_unquoted)
    try:
        yield
    finally:
        _quotes.reset(token)


def quotes() -> bool:
    """Whether errors may quote what they were given, see :func:`unquoted`."""
    return _quotes.get()


def shown(value: Any) -> str:
    """What an error says of a value that cannot be used.

    While a DAG file is parsed, the value as the author wrote it. While the task runs its type
    alone, unless it is too short for a secret: a template may have put one anywhere. Names that an
    author gives, of headers or in ``extract``, are shown all the same: Jinja renders no keys.
    """
    if quotes() or _tells_nothing(value):
        text = repr(value)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return "a text that is not shown" if isinstance(value, str) else f"a value of type {type(value).__name__}"


def _tells_nothing(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if not isinstance(value, (str, int, float)):
        return False
    text = str(value)
    return len(text) < _SHORTEST_SECRET or text in _TELL_NOTHING


def is_open(value: Any) -> bool:
    """Whether a value is known only when the task runs: a Jinja template or an XComArg."""
    if isinstance(value, str):
        return ("{{" in value or "{%" in value) and not _is_rendered.get()
    # A function or class that was not called is a mistake, which the checks of its parameter name.
    return value is not None and not isinstance(value, _PLAIN) and not callable(value)


def web_link(value: Any, parameter: str) -> None:
    """Refuse a link, or a template of one, that a browser would not take for a web page.

    :raises ParameterError: naming the parameter.
    """
    scheme = _SCHEME.match(value)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        raise ParameterError(
            f"{parameter} must be a link of http or https, not {shown(value)}.", parameter=parameter
        )


def conn_id(value: Any) -> None:
    """Refuse what is not the id of a connection.

    :raises ParameterError: naming the parameter.
    """
    if not is_open(value) and not (isinstance(value, str) and value):
        raise ParameterError(
            f"api_conn_id must be the id of a connection, not {shown(value)}.", parameter="api_conn_id"
        )


def choice(value: Any, parameter: str, allowed: Sequence[str]) -> str:
    """Return one of ``allowed``, in whatever case it was written.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if isinstance(value, str) and (is_open(value) or value in allowed):
        return value
    if isinstance(value, str) and value.lower() in allowed:
        return value.lower()
    raise ParameterError(
        f"{parameter} must be one of {', '.join(allowed)}, not {shown(value)}.", parameter=parameter
    )


def choices(value: Any, parameter: str, allowed: Sequence[str]) -> Any:
    """Return a list of some of ``allowed``; a single one may be given alone, None as None.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if value is None or is_open(value):
        return value
    given = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
    return [
        choice(item, parameter, allowed) for item in (given if isinstance(given, (list, tuple)) else (given,))
    ]


def flag(value: Any, parameter: str) -> Any:
    """Return True or False.

    :raises ParameterError: naming the parameter.
    """
    if isinstance(value, bool) or is_open(value):
        return value
    raise ParameterError(f"{parameter} must be True or False, not {shown(value)}.", parameter=parameter)


def number(
    value: Any, parameter: str, *, minimum: float = 0, above: bool = False, whole: bool = False
) -> Any:
    """Return a number (a timedelta as seconds, a rendered text as what it says), None as None.

    :param minimum: smallest value allowed; with ``above``, the value must be larger.
    :raises ParameterError: naming the parameter and what is allowed.
    """
    if value is None or is_open(value):
        return value
    given = value
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, (str, Decimal)):
        try:
            value = float(value)
        except ValueError:
            value = None
    kind = "a whole number" if whole else "a number"
    bound = f"above {minimum:g}" if above else f"of at least {minimum:g}"
    # Whole numbers are finite; isfinite would make a float of one, whatever its size.
    finite = isinstance(value, int) or (isinstance(value, float) and isfinite(value))
    if (
        not finite
        or isinstance(value, bool)
        or not minimum <= value <= _LARGEST
        or (above and value == minimum)
        or (whole and value != int(value))
    ):
        raise ParameterError(f"{parameter} must be {kind} {bound}, not {shown(given)}.", parameter=parameter)
    return int(value) if whole else value


def timeout(value: Any, parameter: str = "timeout") -> Any:
    """Return a timeout of one request: seconds, or a pair of seconds (connect, read).

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if isinstance(value, (list, tuple)):
        if len(value) != 2 or None in value:
            raise ParameterError(
                f"{parameter} must be seconds or a pair (connect, read), not {shown(value)}.",
                parameter=parameter,
            )
        return tuple(number(item, parameter, above=True) for item in value)
    return number(value, parameter, above=True)


def mapping(value: Any, parameter: str) -> Any:
    """Return a dict, None as None.

    :raises ParameterError: naming the parameter.
    """
    if value is None or is_open(value) or isinstance(value, Mapping):
        return value
    raise ParameterError(f"{parameter} must be a dict, not {type(value).__name__}.", parameter=parameter)


def paths(value: Any, parameter: str) -> Any:
    """Return a path as it is and several paths as a list; the text of each is checked elsewhere.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if isinstance(value, str) or is_open(value):
        return value
    if not isinstance(value, (list, tuple)) or not value:
        raise ParameterError(
            f"{parameter} must be a path such as '$.status', or a list of paths, not {shown(value)}.",
            parameter=parameter,
        )
    return list(value)


def words(value: Any, parameter: str) -> Any:
    """Return a list of words (texts, numbers, booleans); a single one may be given alone.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if value is None or is_open(value):
        return value
    if isinstance(value, (set, frozenset)):
        # In one order always: Airflow takes another order for another version of the DAG.
        value = sorted(value, key=str)
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    for word in given:
        if not isinstance(word, (str, int, float, Decimal)) and not is_open(word):
            raise ParameterError(
                f"{parameter} must be a list of words, numbers or booleans; {shown(word)} is none.",
                parameter=parameter,
            )
    return given


def codes(value: Any, parameter: str) -> Any:
    """Return a list of HTTP codes; a single one may be given alone.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    if value is None or is_open(value):
        return value
    given = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
    return [_code(code, parameter) for code in (given if isinstance(given, (list, tuple)) else (given,))]


def _code(code: Any, parameter: str) -> Any:
    if is_open(code):
        return code
    if isinstance(code, str) and code.strip().isdecimal():
        code = int(code)
    if not isinstance(code, int) or not 100 <= code <= 599:
        raise ParameterError(
            f"{parameter} must be HTTP codes from 100 to 599, not {shown(code)}.", parameter=parameter
        )
    return code


def known_keys(value: Mapping[str, Any], parameter: str, allowed: Iterable[str]) -> None:
    """Refuse keys that nothing would read.

    :raises ParameterError: naming the key and what is allowed.
    """
    allowed = sorted(allowed)
    for key in value:
        if key not in allowed:
            raise ParameterError(
                f"{parameter} has no field {shown(key)}; allowed are {', '.join(allowed)}.",
                parameter=parameter,
            )
