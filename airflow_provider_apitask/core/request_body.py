"""The body of a request: what an author gives becomes bytes, or an upload that is sent piece by piece."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from datetime import date, time
from typing import Any
from uuid import UUID

from airflow_provider_apitask.core.bodies import XML_ENCODING
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.request_spec import BODY_FORMATS
from airflow_provider_apitask.core.uploads import FileRef, Upload, encode_multipart, is_file
from airflow_provider_apitask.core.urls import query_text, wire_text

__all__ = ["encode_body"]

#: Names as XML 1.0 §2.3 has them, a little narrower; with the prefixes that xmltodict takes.
_XML_KEY = re.compile(r"@?[^\W\d][\w.\-]*(?::[^\W\d][\w.\-]*)?|\#text")
#: What no XML document can hold (XML 1.0 §2.2), not even as a reference.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def encode_body(body: Any, body_format: str) -> tuple[bytes | Upload | None, str | None]:
    """Encode a body and name its media type.

    :returns: the body and its Content-Type; None for both where there is no body.
    :raises ParameterError: where the body does not fit the format.
    """
    if body is None:
        return None, None
    content_type = BODY_FORMATS[body_format]
    if body_format == "multipart":
        return encode_multipart(body, _json_text), content_type
    if isinstance(body, FileRef):  # raw
        return Upload.of_file(body), body.content_type
    if isinstance(body, bytes):
        return body, content_type
    try:
        return _text(body, body_format), content_type
    except UnicodeEncodeError as error:
        raise ParameterError(f"body cannot be written as UTF-8: {error}.", parameter="body") from None


def _text(body: Any, body_format: str) -> bytes:
    if body_format == "xml":
        return _xml(body)
    if body_format == "form":
        return _form(body).encode()
    if isinstance(body, str):
        # In json, text is taken as JSON that somebody has rendered already.
        return body.encode()
    if body_format == "json":
        return _json_text(body).encode()
    more = "; a file is {'path': …}" if is_file(body) else "; body_format='json' takes dicts and lists"
    raise ParameterError(
        f"body must be text or bytes with body_format={body_format!r}, not {type(body).__name__}{more}.",
        parameter="body",
    )


def _form(body: Any) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, Mapping):
        raise ParameterError(
            f"body must be a dict or text with body_format='form', not {type(body).__name__}.",
            parameter="body",
        )
    return query_text(body.items(), "body")


# -- JSON ------------------------------------------------------------------------------------------


def _json_text(body: Any) -> str:
    try:
        return json_text(body, default=_plain)
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        # Of a float Python does not always say which it was.
        why = "NaN and infinity are no JSON numbers (RFC 8259 §6)" if "Out of range" in str(error) else error
        raise ParameterError(f"body cannot be written as JSON: {why}.", parameter="body") from None


def _plain(value: Any) -> Any:
    """A value as one that JSON has: ISO 8601 for dates."""
    if isinstance(value, (date, time)):  # and datetime
        return value.isoformat()
    if isinstance(value, (bytes, UUID)):
        return wire_text(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if hasattr(value, "__iter__"):  # lazy XCom sequences
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


# -- XML -------------------------------------------------------------------------------------------


def _xml(body: Any) -> bytes:
    if isinstance(body, str):
        # What its declaration says is what a server reads it by.
        declared = XML_ENCODING.match(body.lstrip("\ufeff")[:200].encode("ascii", "replace"))
        encoding = declared[1].decode() if declared else "utf-8"
        try:
            codecs.lookup(encoding)
            return body.encode(encoding, "strict" if encoding.lower() == "utf-8" else "xmlcharrefreplace")
        except LookupError:
            raise ParameterError(
                f"body declares the encoding {encoding!r}, which is not known.", parameter="body"
            ) from None
    if not isinstance(body, Mapping):
        raise ParameterError(
            f"body must be a dict or text with body_format='xml', not {type(body).__name__}.",
            parameter="body",
        )
    import xmltodict

    try:
        text = xmltodict.unparse(_xml_plain(body))
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"body cannot be written as XML: {error}.", parameter="body") from None
    return str(text).encode()


def _xml_plain(value: Any) -> Any:
    """The same of dicts, lists and texts alone; a name that could break out of its tag is refused."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or not _XML_KEY.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an element, '@attribute' or '#text'")
        return {name: _xml_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_xml_plain(item) for item in value]
    if value is None:
        return None
    text = wire_text(value)
    if found := _NOT_IN_XML.search(text):
        raise ValueError(f"the character {found[0]!r} cannot stand in XML")
    return text
