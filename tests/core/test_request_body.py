"""Bodies of requests."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
import xmltodict
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.request_body import encode_body
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.uploads import FileRef, Upload, with_files

_FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "body_format", "content", "content_type"),
    [
        (None, "json", None, None),
        (None, "multipart", None, None),
        ({"ä": [1, None, True]}, "json", '{"ä":[1,null,true]}'.encode(), "application/json"),
        ([], "json", b"[]", "application/json"),
        ('{"ready": 1}', "json", b'{"ready": 1}', "application/json"),
        (0, "json", b"0", "application/json"),
        (b"{}", "json", b"{}", "application/json"),
        ({"d": dt.date(2026, 1, 2)}, "json", b'{"d":"2026-01-02"}', "application/json"),
        ([dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), dt.time(3, 4)], "json",
         b'["2026-01-02T03:00:00+00:00","03:04:00"]', "application/json"),
        ({"n": Decimal("1.50"), "i": Decimal(2)}, "json", b'{"n":1.5,"i":2}', "application/json"),
        ({"n": Decimal("0.12345678901234567890123"), "é": [{1: True}, None]}, "json",
         '{"n":0.12345678901234567890123,"é":[{"1":true},null]}'.encode(), "application/json"),
        ([Decimal("1E+30"), Decimal("1E+400"), Decimal("12345678901234567890.5")], "json",
         b"[1E+30,1E+400,12345678901234567890.5]", "application/json"),
        ({"s": {"b", "a"}}, "json", b'{"s":["a","b"]}', "application/json"),
        ({"b": "ä".encode(), "u": UUID(int=0)}, "json",
         '{"b":"ä","u":"00000000-0000-0000-0000-000000000000"}'.encode(), "application/json"),
        (MappingProxyType({"a": 1}), "json", b'{"a":1}', "application/json"),
        ({"a": [1, 2], "b": None, "c": True, "d": "x&y"}, "form", b"a=1&a=2&c=true&d=x%26y", _FORM),
        ({"a": {"z", "y"}, "b": b"\xc3\xa4", "c": "", "d": []}, "form", b"a=y&a=z&b=%C3%A4&c=", _FORM),
        ("a=1", "form", b"a=1", _FORM),
        ("<a/>", "xml", b"<a/>", "application/xml"),
        ("<?xml version='1.0' encoding='latin-1'?><a>é€</a>", "xml",
         b"<?xml version='1.0' encoding='latin-1'?><a>\xe9&#8364;</a>", "application/xml"),
        ({"a": {"@id": 5, "b": ["x<", None, True], "c:d": dt.date(2026, 1, 2), "#text": "é"}}, "xml",
         '<?xml version="1.0" encoding="utf-8"?>\n<a id="5"><b>x&lt;</b><b></b><b>true</b>'
         "<c:d>2026-01-02</c:d>é</a>".encode(), "application/xml"),
        (b"<a/>", "xml", b"<a/>", "application/xml"),
        ("text", "raw", b"text", None),
        (b"\x00\xff", "raw", b"\x00\xff", None),
    ],
)  # fmt: skip
def test_encode(body: Any, body_format: str, content: bytes | None, content_type: str | None) -> None:
    assert encode_body(body, body_format) == (content, content_type)


@pytest.mark.parametrize(
    ("body", "body_format", "why"),
    [
        ({"a": float("nan")}, "json", "NaN and infinity"),
        ({"a": Decimal("NaN")}, "json", "NaN is no JSON number"),
        ({"a": [Decimal("0.1234567890123456789"), float("inf")]}, "json", "NaN and infinity"),
        ([Decimal("0.1234567890123456789"), Decimal("Infinity")], "json", "Infinity is no JSON number"),
        ({"a": b"\xff"}, "json", "decode"),
        ({"a": object()}, "json", "object is no JSON value"),
        ({(1, 2): 3}, "json", "keys"),
        ("\ud800", "json", "UTF-8"),
        ([1], "form", "list"),
        ({"a": {"b": 1}}, "form", "dict"),
        ({"a": float("nan")}, "form", "nan is no number"),
        ({"a": Decimal("sNaN")}, "form", "sNaN is no number"),
        ({"a": 1}, "raw", "text or bytes"),
        (5, "raw", "text or bytes"),
        ({"path": "/x"}, "raw", "a file is"),
        (5, "xml", "a dict or text"),
        ({"a": 1, "b": 2}, "xml", "root"),
        ({"a": [1, 2]}, "xml", "root"),
        ({"a b": 1}, "xml", "'a b' is no name"),
        ({"a": {"x><evil/><x": 1}}, "xml", "is no name"),
        ({"a": {'@q" onload="': 1}}, "xml", "is no name"),
        ({"a": "\x00"}, "xml", "cannot stand in XML"),
        ({"a": float("inf")}, "xml", "no number"),
        ("<?xml version='1.0' encoding='no-such'?><a/>", "xml", "no-such"),
        ([1], "multipart", "a dict"),
        ({"a": {"b": 1, "content": 2}}, "multipart", "'b'|b "),
        ({"a": {"path": "/etc/passwd"}}, "multipart", "path"),
        ({"a": {"content": "x", "content_type": "{{ a }}\r\nX: y"}}, "multipart", "control"),
        ({"a": {"content": "x", "filename": "{{ a }}\r\nX: y"}}, "multipart", "control"),
        ({"a": {"content": float("nan")}}, "multipart", "nan is no number"),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit(body: Any, body_format: str, why: str) -> None:
    with pytest.raises(ParameterError, match=why) as caught:
        encode_body(body, body_format)
    assert str(caught.value.data["parameter"]).startswith("body")


@pytest.mark.parametrize("body_format", ["json", "xml"])
def test_a_body_that_holds_itself(body_format: str) -> None:
    body: dict[str, Any] = {}
    body["a"] = body
    with pytest.raises(ParameterError):
        encode_body(body, body_format)


def pieces(body: Any) -> list[Any]:
    upload, content_type = encode_body(with_files(body, "multipart"), "multipart")
    assert isinstance(upload, Upload)
    assert content_type == "multipart/form-data"
    return upload.pieces("XX")


def test_multipart() -> None:
    found = pieces(
        {
            "n": [1, None, True],
            "day": dt.date(2026, 1, 2),
            'é"\r\n': "ü",
            "raw": b"\xff",
            "meta": {"content": {"k": Decimal("1.5")}},
            "workflow_params": {"seconds": 1},
            "text": {"content": "x", "filename": "a.txt", "content_type": "text/plain"},
            "none": None,
            "file": {"path": '/data/größe "1".csv'},
            "named": {"path": "s3://conn@b/k", "filename": "n.csv", "content_type": "text/csv"},
        }
    )
    files = [piece for piece in found if isinstance(piece, FileRef)]
    assert files == [FileRef('/data/größe "1".csv'), FileRef("s3://conn@b/k", "n.csv", "text/csv")]
    text = b"".join(b"FILE" if isinstance(piece, FileRef) else piece for piece in found).decode("latin-1")
    head = '--XX\r\nContent-Disposition: form-data; name="'
    assert text.encode("latin-1").replace(b"\xff", b"?").decode() == (
        f'{head}n"\r\n\r\n1\r\n{head}n"\r\n\r\ntrue\r\n{head}day"\r\n\r\n2026-01-02\r\n'
        f'{head}é%22%0D%0A"\r\n\r\nü\r\n'
        f'{head}raw"\r\n\r\n?\r\n'
        f'{head}meta"\r\nContent-Type: application/json\r\n\r\n{{"k":1.5}}\r\n'
        f'{head}workflow_params"\r\nContent-Type: application/json\r\n\r\n{{"seconds":1}}\r\n'
        f'{head}text"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nx\r\n'
        f'{head}file"; filename="größe %221%22.csv"\r\nContent-Type: application/octet-stream\r\n\r\nFILE\r\n'
        f'{head}named"; filename="n.csv"\r\nContent-Type: text/csv\r\n\r\nFILE\r\n'
        "--XX--\r\n"
    )


def test_a_raw_body_from_a_file() -> None:
    body = with_files({"path": "/x/y.csv", "content_type": "text/csv"}, "raw")
    upload, content_type = encode_body(body, "raw")
    assert isinstance(upload, Upload)
    assert (upload.pieces(""), content_type) == ([FileRef("/x/y.csv", None, "text/csv")], "text/csv")


@pytest.mark.parametrize(
    ("body", "body_format", "why"),
    [
        ({"path": ""}, "raw", "body.path is empty"),
        ({"path": "/x", "name": "y"}, "raw", "name"),
        ({"path": 5}, "raw", "int"),
        ({"f": {"path": "/data/{result.file}"}}, "multipart", "cannot choose"),
        ({"f": [{"path": "{$.x}"}]}, "multipart", "cannot choose"),
        ({"f": {"path": "/x", "filename": "a\r\nX: y"}}, "multipart", "control"),
        ({"f": {"path": "/x", "content_type": "a\nb"}}, "multipart", "control"),
        ({"f": {"path": "/x", "content": "y"}}, "multipart", "content"),
        (
            {"f": {"path": "/x", "seconds": 1}},
            "multipart",
            r"'path'.*besides 'seconds'.*\{'content': \{…\}\}",
        ),
        ({"f": [{"content": "x", "rows": 1}]}, "multipart", "'content'.*besides 'rows'"),
        ("text", "multipart", "must be a dict"),
        ([1], "multipart", "must be a dict"),
    ],
)
def test_files_are_checked_when_the_dag_is_parsed(body: Any, body_format: str, why: str) -> None:
    with pytest.raises(ParameterError, match=why) as caught:
        RequestSpec(body=body, body_format=body_format).checked("job.result_request")
    assert str(caught.value.data["parameter"]).startswith("job.result_request.body")


@pytest.mark.parametrize(
    "body", [{"f": {"path": "{{ ti.xcom_pull('a') }}"}}, "{{ params.x }}", None, {"f": PurePosixPath("x")}]
)
def test_what_is_known_later_passes(body: Any) -> None:
    RequestSpec(body=body, body_format="multipart").checked()


_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
_SCALARS = (
    st.none() | st.booleans() | _NUMBERS | _DECIMALS | st.text(st.characters(exclude_categories=["Cs"]))
)


@settings(deadline=None)  # a library is imported at the first use
@given(
    st.recursive(
        _SCALARS,
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
        ),
    )
)
def test_json_says_what_was_meant(body: Any) -> None:
    if isinstance(body, str):
        body = [body]
    content, _ = encode_body(body, "json")
    if content is None:
        assert body is None
        return
    assert isinstance(content, bytes)
    read = json.loads(content, parse_float=Decimal, parse_int=Decimal)
    assert _same(read, body), (content, body)


def _same(read: Any, given: Any) -> bool:
    if isinstance(given, dict):
        return read.keys() == given.keys() and all(_same(read[name], given[name]) for name in given)
    if isinstance(given, list):
        return len(read) == len(given) and all(map(_same, read, given))
    if isinstance(given, float):
        return float(read) == given
    return bool(read == given)


_NAMES = st.from_regex(r"[A-Za-zé_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
).filter(lambda text: text == text.strip())


@settings(deadline=None)  # a library is imported at the first use
@given(
    _NAMES,
    st.recursive(
        _TEXTS,
        lambda inner: st.dictionaries(_NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1),
    ),
)
def test_a_dict_comes_back_out_of_xml(root: str, content: Any) -> None:
    sent, _ = encode_body({root: content}, "xml")
    assert isinstance(sent, bytes)
    assert xmltodict.parse(sent) == {root: content}
