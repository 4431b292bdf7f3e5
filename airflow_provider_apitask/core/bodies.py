"""Bodies: what an author gives becomes bytes, what a server gives becomes JSON or text."""

from __future__ import annotations

import codecs
import json
import math
import re
from datetime import date
from decimal import Decimal
from typing import Any

from airflow_provider_apitask.core.errors import AnswerError, ParameterError
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.urls import query_text

__all__ = ["BODY_FORMATS", "decode_text", "encode_body", "is_html", "json_or_text", "parse_json", "says_json"]

#: Format name → media type; parameters such as ``charset`` are left out, as some servers refuse them.
BODY_FORMATS: dict[str, str | None] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "xml": "application/xml",
    "raw": None,
}

#: Codecs of Python that are no charsets (IANA), though ``bytes.decode`` takes some of them.
_NO_CHARSETS = frozenset(
    {"unicode_escape", "unicode-escape", "raw_unicode_escape", "raw-unicode-escape", "punycode", "undefined"}
)
#: Longest number that is written, digits: Python reads none that is longer.
_MOST_DIGITS = 4300
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)


def encode_body(body: Any, body_format: str) -> tuple[bytes | None, str | None]:
    """Encode a body and name its media type.

    :returns: bytes and Content-Type; None for both where there is no body.
    :raises ParameterError: where the body does not fit the format.
    """
    if body is None:
        return None, None
    content_type = BODY_FORMATS[body_format]
    if isinstance(body, bytes):
        return body, content_type
    if body_format == "form":
        text = _to_form(body)
    elif isinstance(body, str):
        # In json, text is taken as JSON that somebody has rendered already.
        text = body
    elif body_format == "json":
        text = _to_json(body)
    else:
        raise ParameterError(
            f"body must be text or bytes with body_format={body_format!r}, not {type(body).__name__}; "
            "body_format='json' takes dicts and lists.",
            parameter="body",
        )
    try:
        return text.encode(), content_type
    except UnicodeEncodeError as error:
        raise ParameterError(f"body cannot be written as UTF-8: {error}.", parameter="body") from None


def decode_text(response: Response) -> str:
    """The body as text: by the charset of its Content-Type, else UTF-8; never an error."""
    match = _CHARSET.search(response.headers.get("Content-Type") or "")
    if match and (name := _charset(match[1])) not in ("utf-8", None):
        try:
            return response.body.decode(name, errors="replace")
        except (LookupError, ValueError):
            pass  # a codec, but none for text
    return response.body.decode("utf-8-sig", errors="replace")


def parse_json(response: Response) -> Any:
    """The body as JSON; an empty body is None.

    :raises AnswerError: where it is none, without a text of its own about the request.
    """
    if not response.body.strip():
        return None
    try:
        return _loads(decode_text(response))
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the body is not JSON ({error})") from None


def says_json(response: Response) -> bool:
    """Whether the media type is one of JSON (RFC 8259 §11, RFC 6839 §3.1)."""
    media_type = response.media_type
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def json_or_text(response: Response) -> Any:
    """The value that an answer stands for: its JSON, else its text; an empty body is None.

    JSON is what says so in its media type, or, where that says something vague or wrong, what
    parses as an object or list.

    :raises AnswerError: where the answer says that it is JSON and is not.
    """
    if not response.body:
        return None
    if says_json(response):
        return parse_json(response)
    text = decode_text(response)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def is_html(response: Response) -> bool:
    """Whether the body is an HTML page, by type and look: some label JSON as HTML, or HTML as nothing."""
    start = response.body[:1024].removeprefix(codecs.BOM_UTF8).lstrip()
    if response.media_type in ("text/html", "application/xhtml+xml"):
        return start[:1] == b"<"
    return response.media_type in ("", "text/plain") and start[:9].lower().startswith(
        (b"<!doctype", b"<html")
    )


def _to_json(body: Any) -> str:
    try:
        return json.dumps(
            body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_default
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"body cannot be written as JSON: {error}.", parameter="body") from None


def _json_default(value: Any) -> Any:
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, Decimal):
        # An int of a million digits takes long to make and is refused only then.
        if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
            raise TypeError(f"{value} is no JSON number that can be read")
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if hasattr(value, "__iter__"):  # lazy XCom sequences
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _to_form(body: Any) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        raise ParameterError(
            f"body must be a dict or text with body_format='form', not {type(body).__name__}.",
            parameter="body",
        )
    return query_text(body.items(), "body")


def _charset(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return None if found in _NO_CHARSETS else found


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number (RFC 8259 §6)")


def _finite(digits: str) -> float:
    """A number that JSON can be written with again; ``1e999`` would be read as infinite."""
    number = float(digits)
    if number in (math.inf, -math.inf):
        raise ValueError(f"the number {digits[:20]} is out of range")
    return number
