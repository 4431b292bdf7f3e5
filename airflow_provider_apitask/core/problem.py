"""What an answer says about a failure, in words for a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from airflow_provider_apitask.core.bodies import decode_text, parse_json
from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.extraction import MISSING, compile_path
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Request, Response
from airflow_provider_apitask.core.visible import visible

__all__ = ["Redact", "cut", "describe", "first_text", "reason", "status_line"]

#: Takes secrets out of a text. It has to come before the text is cut: half a secret is one too.
Redact = Callable[[str], str]

#: Longest piece of a server's text in an error, characters.
_EXCERPT = 300
_UNANSWERED = {
    Failure.TOO_LARGE: "answered",
    Failure.BODY: "was not sent whole",
    Failure.MEMORY: "was answered and not read",
}
#: What is looked at to make one.
_WINDOW = 16 * _EXCERPT
#: What a secret has no part in, mostly.
_BETWEEN_WORDS = re.compile(r"[\s\"'<>,;&]")
#: Where servers put the reason of an error, the most telling first.
_TEXT_KEYS = ("message", "error_message", "errorMessage", "msg", "error_description", "description", "reason")
_NESTED_KEYS = ("error", "errors", "detail", "details", "fault", "faultstring", "status_message", "exception")


def status_line(response: Response) -> str:
    """Code and phrase, such as ``404 Not Found``."""
    try:
        return f"{response.status} {HTTPStatus(response.status).phrase}"
    except ValueError:
        return str(response.status)


def reason(document: Any, error_path: str | None, redact: Redact) -> str | None:
    """The reason that a JSON answer gives: at ``error_path``, as RFC 9457, or in a common shape."""
    if error_path:
        found = compile_path(error_path).find(document)
        return None if found is MISSING or found is None else cut(_flat(found), redact)
    if not isinstance(document, dict):
        return None
    # A title alone may be that of the job; a problem has more (RFC 9457 §3.1).
    if isinstance(document.get("title"), str) and ("detail" in document or "type" in document):
        parts = (document["title"], document.get("detail"))
        return cut(": ".join(part for part in parts if isinstance(part, str) and part), redact) or None
    found = _common(document, depth=0) or document.get("title")
    return cut(found, redact) if found and isinstance(found, str) else None


def first_text(response: Response, redact: Redact) -> str:
    """The start of the body, on one line, said to be empty where it is."""
    if not response.body.strip():
        return "the body is empty"
    # Cut first: four bytes make a character at most, and a body can be large.
    start = replace(response, body=response.body[: 4 * _WINDOW])
    text = " ".join(decode_text(start).split())
    kind = response.media_type or "no Content-Type"
    return f"the body ({kind}, {len(response.body)} bytes) begins {cut(text, redact)!r}"


def _document(response: Response) -> Any:
    try:
        return parse_json(response)
    except AnswerError:
        return None


def describe(
    request: Request,
    event: Response | NetworkFailure,
    redact: Redact,
    document_of: Callable[[Response], Any] = _document,
) -> str:
    """What was tried and what came back: one sentence without its full stop.

    :param document_of: returns the JSON of a response, None if it has none.
    """
    tried = f"{request.method} {request.url}"
    if isinstance(event, NetworkFailure):
        answered = _UNANSWERED.get(event.failure, "got no answer")
        return f"{tried} {answered}: {event}"
    why = reason(document_of(event), None, redact)
    return f"{tried} answered {status_line(event)}: {why or first_text(event, redact)}"


def _common(document: Any, depth: int) -> str | None:
    if depth > 3:
        return None
    if isinstance(document, str):
        return document or None
    if isinstance(document, list):
        texts = [text for item in document[:3] if (text := _common(item, depth + 1))]
        return "; ".join(texts) or None
    if not isinstance(document, dict):
        return None
    code = _code(document)
    for key in _TEXT_KEYS:
        if isinstance(document.get(key), str) and document[key]:
            return f"{code}: {document[key]}" if code else str(document[key])
    for key in _NESTED_KEYS:
        if document.get(key) and (text := _common(document[key], depth + 1)):
            return text
    return None


def _flat(value: Any) -> str:
    """A text for a value that the author pointed at; of a document, the reason in it or its JSON."""
    if isinstance(value, str):
        return value
    try:
        return _common(value, depth=0) or json_text(value, spaced=True)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"  # nested too deep


def _code(error: dict[str, Any]) -> str:
    """A short code, or the place of a validation error (``loc`` of pydantic)."""
    for key in ("code", "error_code", "errorCode", "loc"):
        found = error.get(key)
        if isinstance(found, list) and len(found) <= 10:
            found = ".".join(str(part) for part in found if isinstance(part, (str, int)))
        if isinstance(found, (str, int)) and found and not isinstance(found, bool):
            return str(found)
    return ""


def cut(text: str, redact: Redact, longest: int = _EXCERPT, *, lines: bool = False) -> str:
    """Return the start of a text, redacted before it is cut.

    :param lines: keep line breaks; in a message they could forge a line of the log.
    """
    if len(text) > _WINDOW:
        # Half a secret would not be known: the word that is cut goes whole.
        ends = [match.end() for match in _BETWEEN_WORDS.finditer(text, 0, _WINDOW)]
        text = f"{text[: ends[-1] if ends else _WINDOW]}…"
    text = redact(text)
    if not lines:
        text = visible(text)
    return text if len(text) <= longest else f"{text[:longest]}…"
