"""Bodies in both directions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_apitask.core.bodies import decode_text, encode_body, is_html, json_or_text, parse_json
from airflow_provider_apitask.core.errors import AnswerError, ParameterError

from .helpers import make_response

_FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "body_format", "content", "content_type"),
    [
        (None, "json", None, None),
        ({"ä": [1, None, True]}, "json", '{"ä":[1,null,true]}'.encode(), "application/json"),
        ([], "json", b"[]", "application/json"),
        ('{"ready": 1}', "json", b'{"ready": 1}', "application/json"),
        (0, "json", b"0", "application/json"),
        (b"{}", "json", b"{}", "application/json"),
        ({"d": date(2026, 1, 2)}, "json", b'{"d":"2026-01-02"}', "application/json"),
        ({"n": Decimal("1.50"), "i": Decimal(2)}, "json", b'{"n":1.5,"i":2}', "application/json"),
        ({"s": {"b", "a"}}, "json", b'{"s":["a","b"]}', "application/json"),
        ({"a": [1, 2], "b": None, "c": True, "d": "x&y"}, "form", b"a=1&a=2&c=true&d=x%26y", _FORM),
        ("a=1", "form", b"a=1", _FORM),
        ("<a/>", "xml", b"<a/>", "application/xml"),
        ("text", "raw", b"text", None),
        (b"\x00\xff", "raw", b"\x00\xff", None),
    ],
)  # fmt: skip
def test_encode(body: Any, body_format: str, content: bytes | None, content_type: str | None) -> None:
    assert encode_body(body, body_format) == (content, content_type)


@pytest.mark.parametrize(
    ("body", "body_format"),
    [
        ({"a": float("nan")}, "json"),
        ({"a": Decimal("Infinity")}, "json"),
        ({"a": Decimal("NaN")}, "json"),
        ({"a": Decimal("sNaN")}, "json"),
        ({"a": Decimal("1E+999999999")}, "json"),
        ({"a": object()}, "json"),
        ({(1, 2): 3}, "json"),
        ("\ud800", "json"),
        ([1], "form"),
        ({"a": {"b": 1}}, "form"),
        ({"a": 1}, "raw"),
        ({"a": 1}, "xml"),
        (5, "raw"),
    ],
)
def test_a_body_that_does_not_fit(body: Any, body_format: str) -> None:
    with pytest.raises(ParameterError, match="body"):
        encode_body(body, body_format)


def test_a_body_that_holds_itself() -> None:
    body: list[Any] = []
    body.append(body)
    with pytest.raises(ParameterError):
        encode_body(body, "json")


#: Codecs of Python that a server may not choose.
_NO_CHARSETS = (
    *("hex", "base64", "zip", "rot13", "idna", "punycode", "undefined", "unicode_escape", "bz2", "mbcs"),
    "raw_unicode_escape",
)


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("ä".encode(), "text/plain", "ä"),
        ("ä".encode("latin-1"), "text/plain; charset=ISO-8859-1", "ä"),
        ("ä".encode("latin-1"), 'text/plain; Charset="latin1"', "ä"),
        ("ä".encode(), "text/plain; charset=nonsense", "ä"),
        (b"\xef\xbb\xbfx", "text/plain", "x"),
        (b"\xef\xbb\xbfx", "text/plain; charset=UTF8", "x"),
        ("ä".encode("utf-16"), "text/plain; charset=utf-16", "ä"),
        (b"\xff", "text/plain", "�"),
        *((b"ab", f"text/plain; charset={codec}", "ab") for codec in _NO_CHARSETS),
    ],
)  # fmt: skip
def test_decode(content: bytes, content_type: str, text: str) -> None:
    assert decode_text(make_response(200, content, content_type=content_type)) == text


@pytest.mark.parametrize(
    ("content", "content_type", "value"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b"null", "application/json", None),
        (b"", "application/json", None),
        (b"  ", "application/json", None),
        (b"5", "application/vnd.x+json", 5),
        (b"5", "text/json", 5),
        (b"\xef\xbb\xbf[1]", "application/json", [1]),
        (b" [1]", "text/html", [1]),
        (b'{"a": 1}', None, {"a": 1}),
        (b"{not json", None, "{not json"),
        (b"[NaN]", None, "[NaN]"),
        (b"5", "text/plain", "5"),
        (b"null", None, "null"),
        (b"123456789012345678901234567890", "application/json", 123456789012345678901234567890),
    ],
)
def test_json_or_text(content: bytes, content_type: str | None, value: Any) -> None:
    assert json_or_text(make_response(200, content, content_type=content_type)) == value


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"<html>", b"NaN", b"[Infinity]", b"1e999", b"-1e999", b"9" * 5000, b"{'a': 1}", b"[" * 100_000,
        b'{"a":' * 100_000, b"\xff\xfe", b'{"a": 1} x',
    ],
)  # fmt: skip
def test_no_json(content: bytes) -> None:
    with pytest.raises(AnswerError, match="not JSON"):
        parse_json(make_response(200, content))


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"0.1", 0.1),
        (b"-0", 0),
        (b"9007199254740993", 9007199254740993),
        (b"1E400", None),
        (b"-1e400", None),
        (b"1" + b"0" * 4000, 10**4000),
    ],
)
def test_numbers_are_exact_or_refused(content: bytes, number: Any) -> None:
    answer = make_response(200, b'{"n": ' + content + b"}")
    if number is not None:
        found = parse_json(answer)["n"]
        assert (found, type(found)) == (number, type(number))
        return
    with pytest.raises(AnswerError, match=f"the number {content.decode()} is out of range"):
        parse_json(answer)


@pytest.mark.parametrize(
    ("content", "content_type", "html"),
    [
        (b"<p>", "text/html", True),
        (b"\n \xef\xbb\xbf<p>", "text/html", False),
        (b"\xef\xbb\xbf \n<p>", "text/html; charset=utf-8", True),
        (b"<p/>", "application/xhtml+xml", True),
        (b'{"a": 1}', "text/html", False),
        (b"", "text/html", False),
        (b"<!doctype HTML>", None, True),
        (b"<HTML lang=en>", "text/plain", True),
        (b"<xml/>", None, False),
        (b"<html>", "application/xml", False),
    ],
)
def test_is_html(content: bytes, content_type: str | None, html: bool) -> None:
    assert is_html(make_response(200, content, content_type=content_type)) is html
