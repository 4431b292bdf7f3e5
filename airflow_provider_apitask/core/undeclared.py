"""Decide whether a job is done if its author declared nothing and a response has no status (rule 10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.bodies import decode_text, says_xml
from airflow_provider_apitask.core.status import StatusWords, Verdict

__all__ = ["is_empty", "why_not_done"]

#: Levels of nested objects that are searched for a status word. Lists are not: their items are results.
_MAX_DEPTH = 3
#: Bytes of text or XML that are searched.
_MAX_TEXT_BYTES = 4096
_XML_TEXT = re.compile(r">([^<>]{1,60})<")


def is_empty(reading: Reading) -> bool:
    """Whether a response says nothing: no body, ``null``, ``{}`` or ``[]``."""
    if not reading.response.body.strip():
        return True
    return reading.has_json and reading.document in (None, {}, [])


def why_not_done(reading: Reading, words: StatusWords) -> str | None:
    """Return why a 2xx without a status does not mean that the job is done; None if it does."""
    response = reading.response
    if response.status == 204:
        return None
    if is_empty(reading):
        return f"{reading.shown} with nothing in it, so it does not say whether the job is done"
    for where, text in _texts(reading):
        word = text.strip()
        if words.knows(word) and words.verdict(word) is Verdict.RUNNING:
            return (
                f"{reading.shown} without a status, but {where} is {word!r}, as for a running job; "
                "set job.status_path to the path of the status"
            )
    return None


def _texts(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield the texts that may be a status, each with its place."""
    if reading.has_json:
        yield from _members(reading.document, "$", 0)
    elif says_xml(reading.response):
        start = reading.response.body[:_MAX_TEXT_BYTES].decode("utf-8", "replace")
        yield from (("a text in the XML", text) for text in _XML_TEXT.findall(start))
    elif len(reading.response.body) <= _MAX_TEXT_BYTES:
        yield "the body", decode_text(reading.response)


def _members(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        for name, member in value.items():
            yield from _members(member, f"{path}.{name}", depth + 1)
