"""The body of an answer: bytes become text by their charset, and text becomes JSON."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from typing import Any

from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.exact_json import fraction
from airflow_provider_apitask.core.messages import Response

__all__ = [
    "MAX_CONTAINERS",
    "XML_ENCODING",
    "decode_text",
    "is_binary",
    "is_html",
    "json_or_text",
    "parse_json",
    "says_json",
    "says_xml",
]

#: Charsets that a server may name, by the spellings of Python. Not every codec of Python: ``idna`` takes
#: seconds for 4 MiB, and ``unicode_escape`` is not a charset.
_CHARSETS = (
    *("utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"),
    *("ascii", "us-ascii", "latin1", "latin-1", *(f"iso-8859-{part}" for part in range(1, 17) if part != 12)),
    *(f"{prefix}{page}" for prefix in ("cp", "windows-") for page in range(1250, 1259)),
    *("cp437", "cp850", "cp866", "cp874", "cp932", "cp936", "cp949", "cp950", "macintosh", "mac-roman"),
    *("koi8-r", "koi8-u", "shift_jis", "sjis", "euc-jp", "iso-2022-jp", "euc-kr"),
    *("gb2312", "gbk", "gb18030", "big5", "big5-hkscs"),
)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")
_CODECS = {_NOT_IN_NAMES.sub("", name): name for name in _CHARSETS} | {"windows31j": "cp932"}
#: Decoded at a time, bytes: with ``errors="replace"`` some codecs take a second for 1 MiB of invalid bytes,
#: and other threads run only between two calls.
_DECODED_BYTES = 16 * 1024
#: Byte order marks; the one of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: The encoding in an XML declaration, which must be readable as ASCII to be seen.
XML_ENCODING = re.compile(rb"""<\?xml\s[^<>]{0,100}?encoding\s*=\s*["']([A-Za-z][\w.-]{0,40})["']""")
#: Media types of texts that do not begin with ``text/``.
_TEXTS = frozenset(
    {"application/javascript", "application/x-www-form-urlencoded", "application/x-ndjson"}
    | {"application/sql", "application/graphql", "application/jsonl", "application/problem+json"}
)
#: Most lists and objects of a JSON body, whatever its media type: each takes some 80 bytes in Python, where
#: JSON needs two.
MAX_CONTAINERS = 2_000_000
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)


def decode_text(response: Response) -> str:
    """The body as text: by its byte order mark, its charset, its XML declaration, else UTF-8.

    The mark comes first (RFC 7303 §3.1). Bytes that the charset does not have become U+FFFD.
    """
    return _decode(response, "replace")


def _decode(response: Response, errors: str) -> str:
    body = response.body
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], encoding, errors)
    match = _CHARSET.search(response.headers.get("Content-Type") or "")
    name = _charset(match[1]) if match else None
    if name is None and (declared := XML_ENCODING.match(body[:200].lstrip())):
        name = _charset(declared[1].decode())
    return _decoded(body, name or "utf-8", errors)


def _decoded(body: bytes, name: str, errors: str) -> str:
    if errors == "strict" or len(body) <= _DECODED_BYTES:
        return body.decode(name, errors)
    pieces = (body[start : start + _DECODED_BYTES] for start in range(0, len(body), _DECODED_BYTES))
    return "".join(codecs.iterdecode(pieces, name, errors))


def parse_json(response: Response) -> Any:
    """The body as JSON; an empty body is None.

    Numbers are exact: those with more digits than a double holds are of the type ``Decimal``.

    :raises AnswerError: where it is none, or more than memory can bear; without a text of its own about
        the request.
    """
    if not response.body.strip():
        return None
    _refuse_too_many(response.body)
    try:
        # Strict: an id with a character replaced in it is the id of something else.
        return _loads(_decode(response, "strict"))
    except UnicodeDecodeError as error:
        raise AnswerError(
            f"the body is not JSON (the byte 0x{error.object[error.start]:02x} at position {error.start} is "
            f"no {error.encoding})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the body is not JSON ({error})") from None


def says_json(response: Response) -> bool:
    """Whether the media type is one of JSON (RFC 8259 §11, RFC 6839 §3.1)."""
    media_type = response.media_type
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def says_xml(response: Response) -> bool:
    """Whether the media type is one of XML (RFC 7303 §9, §8.1)."""
    media_type = response.media_type
    return media_type in ("application/xml", "text/xml") or media_type.endswith("+xml")


def json_or_text(response: Response) -> Any:
    """The value that an answer stands for: its JSON, else its text; an empty body is None.

    JSON is what says so in its media type, or, where that says something vague or wrong, what
    parses as an object or list.

    :raises AnswerError: if the response says that it is JSON and is not, or has too many lists and objects.
    """
    if not response.body:
        return None
    if says_json(response):
        return parse_json(response)
    text = decode_text(response)
    if text.lstrip()[:1] in ("{", "["):
        _refuse_too_many(response.body)
        try:
            return _loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def is_binary(response: Response) -> bool:
    """Whether a body is no text: by its bytes, where its media type does not say that it is one."""
    media_type = response.media_type
    if media_type.startswith(("text/", "multipart/")) or media_type.endswith(("json", "xml", "yaml", "csv")):
        return False
    if media_type in _TEXTS or not response.body:
        return False
    if b"\0" in response.body[:1024]:
        return True
    match = _CHARSET.search(response.headers.get("Content-Type") or "")
    try:
        response.body.decode((match and _charset(match[1])) or "utf-8")
    except (LookupError, ValueError):
        return True
    return False


def is_html(response: Response) -> bool:
    """Whether the body is an HTML page, by type and look: some label JSON as HTML, or HTML as nothing."""
    start = response.body[:1024].removeprefix(codecs.BOM_UTF8).lstrip()
    if response.media_type in ("text/html", "application/xhtml+xml"):
        return start[:1] == b"<"
    return response.media_type in ("", "text/plain") and start[:9].lower().startswith(
        (b"<!doctype", b"<html")
    )


def _charset(name: str) -> str | None:
    return _CODECS.get(_NOT_IN_NAMES.sub("", name.lower()))


def _refuse_too_many(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise AnswerError(f"the body has more than {MAX_CONTAINERS} lists and objects")


def _loads(text: str) -> Any:
    return json.loads(
        text, parse_constant=_refuse_constant, parse_float=fraction, object_pairs_hook=_unambiguous
    )


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique: of two statuses nobody could tell which one holds (RFC 8259 §4)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {twice[:50]!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number (RFC 8259 §6)")
