r"""``{path}`` placeholders: values of earlier answers of the same call, in later requests.

``{runId}``, ``{result.id}``, ``{$.jobs[0].id}``, ``{/job/id}`` of XML, ``{headers.Location}``. Braces
around anything that is no path, such as JSON text, stay as they are; ``\{`` and ``\}`` write literal
braces, and a backslash before anything else is a backslash. In a URL ``{+name}`` keeps the slashes of
a value that is a path (RFC 6570 §3.2.3). Jinja comes first, so ``{{ … }}`` never arrives here, and it
leaves ``\{`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.urls import dot_segments, is_absolute, resolve, wire_text

__all__ = ["Lookup", "expand", "expand_url", "is_template", "mentions", "placeholders", "replaced", "single"]

#: Gives the value of a path, or raises what names it.
Lookup = Callable[[str], Any]

_PATH = r"""(?P<path>
        \$[^{}]*                                     # JSONPath
        | (?://?|\./+)[A-Za-z_@][^{}]* | xpath:[^{}]+  # XPath
        | [A-Za-z_@][^{}\s"':,]*                     # a name or a dotted path
    )\}"""
_PLACEHOLDER = re.compile(r"\\(?P<brace>[{}]) | \{" + _PATH, re.VERBOSE)
_IN_URL = re.compile(r"\\(?P<brace>[{}]) | \{(?P<keep>\+?)" + _PATH, re.VERBOSE)


def placeholders(value: Any) -> Iterator[str]:
    """All paths that stand in braces anywhere in a (nested) value."""
    if isinstance(value, str):
        yield from (match["path"] for match in _IN_URL.finditer(value) if match["path"])
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from placeholders(key)
            yield from placeholders(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from placeholders(item)


def mentions(value: Any, text: str) -> bool:
    """Whether a text occurs anywhere in a (nested) value."""
    if isinstance(value, str):
        return text in value
    if isinstance(value, bytes):
        return text.encode() in value
    if isinstance(value, Mapping):
        return any(mentions(part, text) for pair in value.items() for part in pair)
    return isinstance(value, (list, tuple)) and any(mentions(item, text) for item in value)


def replaced(value: Any, texts: Mapping[str, str]) -> Any:
    """Return a (nested) value with each text in place of its key. Other braces keep their meaning."""
    if isinstance(value, str):
        for old, new in texts.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, bytes):
        for old, new in texts.items():
            value = value.replace(old.encode(), new.encode())
        return value
    if isinstance(value, Mapping):
        return {replaced(name, texts): replaced(item, texts) for name, item in value.items()}
    return [replaced(item, texts) for item in value] if isinstance(value, (list, tuple)) else value


def is_template(text: str) -> bool:
    """Whether a text that may be a path of an answer is a URL, or one with placeholders, instead."""
    return is_absolute(text) or _IN_URL.search(text) is not None


def expand(value: Any, lookup: Lookup) -> Any:
    """Fill in placeholders; one that is the whole text keeps the type of its value."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole and whole["path"]:
            return lookup(whole["path"])
        return _PLACEHOLDER.sub(lambda match: match["brace"] or _text(single(lookup(match["path"]))), value)
    if isinstance(value, dict):
        return {_key(expand(key, lookup)): expand(item, lookup) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [expand(item, lookup) for item in value]
    return value


def single(value: Any) -> Any:
    """What a list of one plain value is where only one can stand, as in a URL: that value."""
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], (dict, list)):
        return value[0]
    return value


def expand_url(template: str, lookup: Lookup, base_url: str) -> str:
    """Fill in placeholders of a URL, each value percent-encoded whole (``:``, ``+``, ``/`` too).

    ``{+name}`` keeps the slashes between the segments of a value, such as ``operations/7``.

    A value that begins the template and is a URL or an absolute path itself, such as
    ``{links.self}/results``, is a link of the server: it is taken as it is.

    :param base_url: absolute paths of the server belong to its host, not to the path of this URL.
    :raises AnswerError: if a value is null, empty, a list or an object, or has ``..`` in it that would lead
        out of the path that the author wrote.
    """

    def value_of(path: str) -> str:
        value = single(lookup(path))
        if isinstance(value, (dict, list)):
            what = "an object" if isinstance(value, dict) else f"a list of {len(value)}"
            raise AnswerError(
                f"{{{path}}} is {what}, and the URL {template!r} needs a single value there.", looked_for=path
            )
        text = _text(value) if value is not None else ""
        if not text:
            raise AnswerError(
                f"{{{path}}} is empty, and the URL {template!r} needs a value there.", looked_for=path
            )
        return text

    def filled(match: re.Match[str]) -> str:
        if match["brace"]:
            return match["brace"]
        text = value_of(match["path"])
        if match["keep"]:
            return "/".join(map(_segment, text.strip("/").split("/")))
        return _segment(text)

    def expanded(part: str) -> str:
        url = _IN_URL.sub(filled, part)
        if dot_segments(url) > dot_segments(_IN_URL.sub("x", part)):
            raise AnswerError(
                f"A value for the URL {template!r} has a '.' or '..' between slashes, which would lead to "
                "another path than that of the endpoint. Such a value is refused."
            )
        return url

    first = _IN_URL.match(template)
    if first and first["path"]:
        text = value_of(first["path"])
        if is_absolute(text) or text.startswith("/"):
            return _appended(resolve(text, base_url), expanded(template[first.end() :]))
    return expanded(template)


def _segment(text: str) -> str:
    return quote(text, safe="")


def _appended(url: str, rest: str) -> str:
    """A URL with more path (and query) behind it; its own query stays, at the end."""
    path, mark, query = url.partition("?")
    if not rest or rest.startswith(("?", "&", "#")):
        return url + (rest.replace("?", "&", 1) if mark else rest)
    # One slash between the two; a URL that ends in one and is continued without keeps it.
    joined = f"{path.rstrip('/') if rest.startswith('/') else path}{rest}"
    return f"{joined}{'&' if '?' in rest else '?'}{query}" if query else joined


def _key(value: Any) -> Any:
    """A name in a dict: what cannot be one is its JSON."""
    return _text(value) if isinstance(value, (dict, list)) else value


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)) or value is None:
        return json_text(value)
    return wire_text(value)
