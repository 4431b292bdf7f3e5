"""Bodies of answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_apitask.core import bodies
from airflow_provider_apitask.core.bodies import decode_text, is_html, json_or_text, parse_json, says_xml
from airflow_provider_apitask.core.errors import AnswerError

from .helpers import make_response

#: Codecs of Python that a server may not choose.
_NO_CHARSETS = (
    *("hex", "base64", "zip", "rot13", "idna", "punycode", "undefined", "unicode_escape", "bz2", "mbcs"),
    "raw_unicode_escape",
)
#: By the codec of Python, a spelling as servers use it.
_USUAL_CHARSETS = {
    "cp1252": "windows-1252",
    "cp1251": "CP1251",
    "iso8859-15": "ISO-8859-15",
    "iso8859-1": "iso_8859-1",
    "shift_jis": "Shift_JIS",
    "cp932": "windows-31j",
    "euc_jp": "EUC-JP",
    "iso2022_jp": "iso-2022-jp",
    "gb18030": "GB18030",
    "gbk": "GBK",
    "gb2312": "GB2312",
    "big5": "Big5",
    "euc_kr": "euc-kr",
    "koi8-r": "KOI8-R",
    "utf-16-le": "UTF-16LE",
    "utf-32-be": "utf-32be",
    "ascii": "US-ASCII",
}


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
        ("ä".encode("utf-16"), "text/plain", "ä"),
        ("ä".encode("utf-32"), None, "ä"),
        ("\ufeffä".encode(), "text/plain; charset=latin-1", "ä"),
        ("\ufeffä".encode("utf-16-be"), "text/plain; charset=utf-8", "ä"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>ä".encode("latin-1"), None,
         "<?xml version='1.0' encoding='ISO-8859-1'?>ä"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>ä".encode(), "text/xml; charset=utf-8",
         "<?xml version='1.0' encoding='ISO-8859-1'?>ä"),
        ("<?xml version='1.0' encoding='nonsense'?>ä".encode(), "text/xml",
         "<?xml version='1.0' encoding='nonsense'?>ä"),
        (b"\xff", "text/plain", "�"),
        *((b"ab", f"text/plain; charset={codec}", "ab") for codec in _NO_CHARSETS),
        # Python's codecs "idna", "utf-7" and "cp037" would make something else of these.
        (b"xn--mnchen-3ya", "text/plain; charset=idna", "xn--mnchen-3ya"),
        (b"xn--mnchen-3ya", "text/plain; charset=cp037", "xn--mnchen-3ya"),
        (b"+AOk-", "text/plain; charset=utf-7", "+AOk-"),
    ],
)  # fmt: skip
def test_decode(content: bytes, content_type: str, text: str) -> None:
    assert decode_text(make_response(200, content, content_type=content_type)) == text


@pytest.mark.parametrize(("codec", "name"), _USUAL_CHARSETS.items())
def test_usual_charsets(codec: str, name: str) -> None:
    content = "aé日ф".encode(codec, "ignore")
    assert decode_text(
        make_response(200, content, content_type=f"text/plain; charset={name}")
    ) == content.decode(codec)


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
        (b"[9007199254740993, 0.1, 1E5, -0]", "application/json", [9007199254740993, 0.1, 100000.0, 0]),
        ('"é"'.encode("latin-1"), "application/json; charset=latin-1", "é"),
        ('{"a": "é"}'.encode("utf-16"), "application/json", {"a": "é"}),
        (b'{"a": 1, "a": 2}', "text/plain", '{"a": 1, "a": 2}'),
    ],
)
def test_json_or_text(content: bytes, content_type: str | None, value: Any) -> None:
    assert json_or_text(make_response(200, content, content_type=content_type)) == value


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"<html>", b"NaN", b"[Infinity]", b"1e9999", b"-1e9999", b"9" * 5000, b"{'a': 1}",
        b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b'{"a": 1} x', b'{"a": "\xff"}',
        b'{"a": 1, "b": 2, "a": 1}', b'[{"x": {"a": 1, "a": null}}]',
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
        (b"0.10", 0.1),
        (b"1e22", 1e22),
        (b"0.12345678901234567890", Decimal("0.12345678901234567890")),
        (b"1E400", Decimal("1E400")),
        (b"1E4400", None),
        (b"-1e4400", None),
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


@pytest.mark.parametrize(
    ("content", "content_type", "why"),
    [
        (b'{"id": "\xe4"}', "application/json", "the byte 0xe4 at position 8 is no utf-8"),
        (b'"\xe4"', "application/json; charset=ascii", "the byte 0xe4 at position 1 is no ascii"),
        (b'{"status": 1, "status": 2}', None, "the name 'status' stands twice in one object"),
        (b"[NaN]", None, "NaN is no JSON number"),
    ],
)
def test_why_it_is_no_json(content: bytes, content_type: str | None, why: str) -> None:
    with pytest.raises(AnswerError) as caught:
        parse_json(make_response(200, content, content_type=content_type))
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("content_type", "xml"),
    [
        ("text/xml", True),
        ("application/xml; charset=utf-8", True),
        ("application/atom+xml", True),
        ("text/html", False),
    ],
)
def test_says_xml(content_type: str, xml: bool) -> None:
    assert says_xml(make_response(200, b"", content_type=content_type)) is xml


@pytest.mark.parametrize(("count", "refused"), [(1999, False), (2000, True)])
@pytest.mark.parametrize("item", [b"[],", b"{},"])
def test_json_of_very_many_lists(
    monkeypatch: pytest.MonkeyPatch, item: bytes, count: int, refused: bool
) -> None:
    body = b"[" + item * count + b"1]"
    monkeypatch.setattr(bodies, "MAX_CONTAINERS", 2000)
    if refused:
        with pytest.raises(AnswerError, match="more than 2000 lists"):
            parse_json(make_response(body=body))
    else:
        assert len(parse_json(make_response(body=body))) == count + 1


@pytest.mark.parametrize("content_type", ["text/plain", None, "application/octet-stream", "application/json"])
def test_lists_and_objects_are_counted_whatever_the_media_type(
    monkeypatch: pytest.MonkeyPatch, content_type: str | None
) -> None:
    monkeypatch.setattr(bodies, "MAX_CONTAINERS", 10)
    assert json_or_text(make_response(200, b"[[],{},[]]", content_type=content_type)) == [[], {}, []]
    assert json_or_text(make_response(200, b"x" + b"[" * 20, content_type="text/plain")) == "x" + "[" * 20
    with pytest.raises(AnswerError, match="more than 10 lists and objects"):
        json_or_text(make_response(200, b"[" + b"[]," * 20 + b"0]", content_type=content_type))


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "shift_jis", "iso-8859-6"])
def test_a_long_text_is_decoded_piece_by_piece_as_it_is_whole(charset: str) -> None:
    content = "a".encode(charset) + b"\xff\xa5\x81" * 50_000
    whole = content.decode(charset, "replace")
    assert decode_text(make_response(200, content, content_type=f"text/plain; charset={charset}")) == whole
