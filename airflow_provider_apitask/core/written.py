"""What the author wrote of a request, which limits what its templates may render to.

A value that comes out of a template or an XCom may be chosen by a server, or by a person who triggers the
DAG. It fills in what the author wrote: it neither leads out of the path of an endpoint, nor adds a query to
it, nor names a file of the worker that is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.uploads import is_file
from airflow_provider_apitask.core.urls import dot_segments, is_absolute

__all__ = ["check_rendered"]

_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)
#: Fields of a job that hold requests, besides those that are named ``…_request``.
_HOLDERS = ("job", "reconcile", "status_list")


def check_rendered(
    written: Any, rendered: Mapping[str, Any], parameter: str = ""
) -> Iterator[tuple[str, str]]:
    """Check each request among rendered parameters against what the author wrote.

    :param written: the same parameters before they were rendered; what is missing was not written.
    :returns: names and values of the URLs and absolute paths that a template has made.
    :raises ParameterError: naming the parameter.
    """
    before = written if isinstance(written, Mapping) else {}
    for name, value in rendered.items():
        own = f"{parameter}.{name}" if parameter else name
        if name == "body":
            _check_files(before.get(name), value, str(rendered.get("body_format") or "").lower(), own)
        elif isinstance(value, Mapping) and (name in _HOLDERS or name.endswith("request")):
            yield from check_rendered(before.get(name), value, own)
        elif isinstance(value, str) and name.endswith(("endpoint", "request")):
            template = before.get(name)
            if _check_endpoint(template if isinstance(template, str) else "", value, own):
                yield own, value
        elif own == "job_id" and value != before.get(name) and _is_link(value):
            yield own, value  # of a sensor: it is the URL that is polled


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and (is_absolute(value) or value.startswith("/"))


def _check_endpoint(template: str, rendered: str, parameter: str) -> bool:
    """Check an endpoint, and return whether a template has made it an absolute URL."""
    literal = _STATEMENT.sub("", _EXPRESSION.sub("x", template))
    added = (
        "'..'"
        if dot_segments(rendered) > dot_segments(literal)
        else next((mark for mark in "?#" if mark in rendered and mark not in literal), None)
    )
    if added is not None:
        raise ParameterError(
            f"{parameter}: a rendered value adds {added} to the endpoint, which its template does not have. "
            "Write it outside of the braces of the template, or give a query as query_params.",
            parameter=parameter,
        )
    return is_absolute(rendered) and not is_absolute(literal)


def _check_files(written: Any, rendered: Any, body_format: str, parameter: str) -> None:
    if body_format == "raw":
        _check_file(written, rendered, parameter)
    elif body_format == "multipart" and isinstance(rendered, Mapping):
        before = written if isinstance(written, Mapping) else {}
        for name, value in rendered.items():
            own, template = f"{parameter}[{name!r}]", before.get(name)
            if not isinstance(value, (list, tuple)):
                _check_file(template, value, own)
                continue
            items = template if isinstance(template, (list, tuple)) else ()
            for index, item in enumerate(value):
                _check_file(items[index] if index < len(items) else None, item, own)


def _check_file(written: Any, rendered: Any, parameter: str) -> None:
    if is_file(rendered) and not is_file(written):
        raise ParameterError(
            f"{parameter}: a rendered value names a file to send. Only a 'path' key that is written in the "
            "DAG file does that; its value may be a template. A dict that is data goes into {'content': …}.",
            parameter=parameter,
        )
