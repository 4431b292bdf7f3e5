"""The link to a job that people follow: to its page, its log, its monitor.

It is stored where everybody can read it and opened by a browser, so it is an http(s) URL without
anything that could be a credential. That no link is found never fails a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit, urlunsplit

from airflow_provider_apitask.core.answers import Reading, find_in
from airflow_provider_apitask.core.errors import AnswerError, ApiTaskError, OriginError
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.next_request import known_value
from airflow_provider_apitask.core.redaction import Redactor, is_secret_name
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.templating import expand_url, is_template
from airflow_provider_apitask.core.turn import Turn
from airflow_provider_apitask.core.urls import origin, resolve

__all__ = ["linked", "public_link"]

#: Longest link, characters: what every browser takes.
_LONGEST = 2000
#: What makes a pre-signed URL beside its signature: when, by whom, for how long. The names of AWS and
#: Google; those of Azure are too short to be told from others, and worth nothing without ``sig``.
_SIGNING = re.compile(r"x-(?:amz|goog|oss|cos)-", re.IGNORECASE)
_PAIR = re.compile(r"[?&/;]")


def linked(turn: Turn, reading: Reading) -> State:
    """The state with the link, once an answer gives one; the first one stays."""
    state, path = turn.state, turn.call.job.link_path
    if path is None or state.link is not None:
        return state
    try:
        found = list(_found(turn, reading, path))
    except ApiTaskError:
        return state  # something that a template needs is not in this answer
    for reference in found:
        try:
            link = public_link(reference, reading.response.url, turn.api.redactor)
        except OriginError:
            continue
        if link is not None:
            return replace(state, link=link)
    return state


def public_link(reference: str, against: str, redactor: Redactor) -> str | None:
    """A link as it can be shown to everybody: credentials and signatures are cut out of it.

    :param against: URL of the answer that it was in (RFC 9110 §10.2.2).
    :returns: None where its path holds a credential, or it is too long.
    :raises OriginError: where it is no http(s) URL.
    """
    reference, _, fragment = reference.strip().partition("#")
    link = redactor.link(resolve(reference, against))
    if link is None:
        return None
    origin(link)
    parts = urlsplit(link)
    path = unquote(parts.path)
    if redactor.text(path) != path:
        return None
    query = "&".join(pair for pair in parts.query.split("&") if not _is_secret(pair, redactor))
    if any(_is_secret(part, redactor) for part in (fragment, *_PAIR.split(fragment))):
        fragment = ""
    fragment = quote(fragment, safe="%/?:@!$&'()*+,;=-._~")
    link = urlunsplit(parts._replace(query=query, fragment=fragment))
    return link if len(link) <= _LONGEST else None


def _found(turn: Turn, reading: Reading, path: str) -> Iterator[str]:
    """The texts that an answer has at a path, or the one that a template makes of it."""
    if not is_template(path):
        found = find_in(reading, path)
        yield from (text for text in (found if isinstance(found, list) else [found]) if _is_text(text))
        return

    def lookup(name: str) -> Any:
        try:
            return known_value(turn.call, turn.api, turn.state, name)
        except AnswerError:
            found = find_in(reading, name)
            if found is MISSING:
                raise
            return found

    yield expand_url(path, lookup, reading.response.url)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_secret(pair: str, redactor: Redactor) -> bool:
    plain = unquote_plus(pair)
    name = plain.partition("=")[0]
    if _SIGNING.match(name) or is_secret_name(name):
        return True
    # The value may be a URL with a credential in its own query.
    return any(redactor.text(text) != text for text in (plain, unquote_plus(plain)))
