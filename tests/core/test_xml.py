"""Reading XML answers."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import xmltodict
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.answers import Reading, find_in, result_of
from airflow_provider_apitask.core.errors import AnswerError, ParameterError
from airflow_provider_apitask.core.extraction import MISSING, check_path, compile_path, is_xpath
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.xml import MAX_NODES, parse_xml

from .helpers import make_response

DOCUMENT = b"""<?xml version="1.0"?>
<!-- who -->
<job id="7" xmlns="urn:jobs" xmlns:x="urn:x">
  <status> DONE
  </status>
  <x:run-id>12345678901234567890</x:run-id>
  <empty/>
  <item n="1"><name>a &amp; b</name></item>
  <item n="2"><name>c</name><name>d</name>tail</item>
  <x:link x:href="/r/7" rel="self"><x:to/></x:link>
  <x:inner xmlns:x="urn:other"><x:deep>5.10</x:deep></x:inner>
  <text>a<!-- c -->b<![CDATA[<c>]]></text>
</job>"""


def reading(content: bytes, content_type: str | None = "application/xml") -> Reading:
    request = Request(Purpose.POLL, "GET", "https://h/x")
    return Reading(request, make_response(200, content, content_type=content_type), str)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/job/status", "DONE"),
        ("//status", "DONE"),
        ("./status", "DONE"),
        ("xpath:string(/job/@id)", "7"),
        ("/job/@id", "7"),
        ("/job/x:run-id", "12345678901234567890"),
        ("/job/x:run-id/text()", "12345678901234567890"),
        ("//*[local-name()='run-id']", "12345678901234567890"),
        ("/job/item[@n='2']/name[1]", "c"),
        ("/job/item/@n", ["1", "2"]),
        ("xpath:count(/job/item)", 2),
        ("xpath:sum(/job/item/@n) div 2", 1.5),
        ("xpath:number(/job/status)", MISSING),
        ("xpath:/job/status = ' DONE\n  '", True),
        ("/job/empty", ""),
        ("/job/text", "ab<c>"),
        ("/job/item[1]", {"@n": "1", "name": "a & b"}),
        ("/job/item[2]", {"@n": "2", "name": ["c", "d"], "#text": "tail"}),
        ("/job/x:link", {"@x:href": "/r/7", "@rel": "self", "x:to": ""}),
        ("/job/nothing", MISSING),
        ("/job/y:unknown", MISSING),
        ("/jobs", MISSING),
        ("//x:deep", MISSING),  # the prefix is the one that was declared first
        ("//*[local-name()='deep']", "5.10"),
    ],
)
def test_find(path: str, value: Any) -> None:
    check_path(path, "p")
    assert is_xpath(path)
    assert find_in(reading(DOCUMENT), path) == value


@pytest.mark.parametrize("path", ["$.a", "a/b", "['/a']", "xpath", "a.b", "@id"])
def test_what_is_no_xpath_reads_json(path: str) -> None:
    assert not is_xpath(path)


@pytest.mark.parametrize(
    "path", ["/job/[", "//", "xpath:", "xpath:count(", "xpath:f(.)", "xpath:$v", "/a b", "/a["]
)
def test_an_xpath_that_is_none(path: str) -> None:
    check_path(path, "p")
    with pytest.raises(ParameterError, match="is no valid XPath"):
        compile_path(path)


def test_brackets_within_texts() -> None:
    path = "/a[contains(., '[(')]"
    check_path(path, "p")
    assert find_in(reading(b"<a>[(</a>"), path) == "[("


@pytest.mark.parametrize(
    ("content", "content_type", "value"),
    [
        ("<a>é</a>".encode(), "text/xml", "é"),
        ("<a>é</a>".encode("latin-1"), "text/xml; charset=iso-8859-1", "é"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode("latin-1"), "text/xml", "é"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode(), "text/xml; charset=utf-8", "é"),
        ('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode("utf-16"), "text/xml", "é"),
        ("\ufeff<a>é</a>".encode(), None, "é"),
        (b"\n <a>&#233;</a>\n", None, "é"),
        (b"<!DOCTYPE a PUBLIC '-//X//EN' \"http://127.0.0.1:9/x.dtd\"><a>x</a>", None, "x"),
    ],
)
def test_charsets(content: bytes, content_type: str | None, value: str) -> None:
    assert find_in(reading(content, content_type), "/a") == value


LAUGHS = (
    b"<!DOCTYPE a [<!ENTITY l0 'lol'>"
    + b"".join(b"<!ENTITY l%d '%s'>" % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    + b"]><a>&l9;</a>"
)
FILE = Path(__file__).as_uri().encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LAUGHS, "DTD of its own"),
        (b"<!-- x --><?p?>\n" + LAUGHS, "DTD of its own"),
        (LAUGHS.decode().encode("utf-16"), "DTD of its own"),
        (b"<!DOCTYPE a [<!ENTITY e SYSTEM '" + FILE + b"'>]><a>&e;</a>", "DTD of its own"),
        (b"<!DOCTYPE a [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/'> %p;]><a/>", "DTD of its own"),
        (b"<!DOCTYPE a SYSTEM ']>' [<!ENTITY e 'x'>]><a>&e;</a>", "DTD of its own"),
        (b"<!DOCTYPE a", "DTD of its own"),
        (b"<a>&e;</a>", "the entity &e;"),
        (b"<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/x'><a>&e;</a>", "the entity &e;"),
        (b"<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/x'><a b='&e;'/>", "the entity &e;"),
        (b"<a>" * 100_000, "is not XML"),
        (b"<a>" * 1000 + b"</a>" * 1000, "is not XML"),
        (b"<a>" + b"<b/>" * MAX_NODES + b"</a>", f"more than {MAX_NODES}"),
        (b"<a " + b" ".join(b"a%d=''" % n for n in range(MAX_NODES)) + b"/>", f"more than {MAX_NODES}"),
        (b"<a>", "is not XML"),
        (b"<a/><b/>", "is not XML"),
        (b"<a>\x00</a>", "is not XML"),
        (b'{"a": 1}', "is not XML"),
        (b"<a b='1' b='2'/>", "is not XML"),
        (b"<p:a/>", "is not XML"),
    ],
)
def test_what_is_not_read(content: bytes, why: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(AnswerError, match="the body is") as caught:
            parse_xml(make_response(200, content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert why in caught.value.message
    assert peak < 8 * len(content) + 1_000_000
    with pytest.raises(AnswerError) as told:
        result_of(reading(content), "response_path", "/a/c")
    assert why in told.value.message


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_body(content: bytes) -> None:
    assert parse_xml(make_response(200, content)) is None
    assert find_in(reading(content), "/a") is MISSING


def test_a_path_of_json_on_xml_says_what_to_do() -> None:
    with pytest.raises(AnswerError, match=r"for XML it must be an XPath, such as '/job/status'"):
        result_of(reading(DOCUMENT), "response_path", "$.job.status")


def test_an_xpath_on_json_says_what_came() -> None:
    with pytest.raises(AnswerError, match=r"response_path='/job' needs XML, and the body is not XML"):
        result_of(reading(b'{"job": 1}', "application/json"), "response_path", "/job")


def test_reading_json_needs_no_library() -> None:
    code = (
        "import sys; from airflow_provider_apitask.core import answers, request_body, extraction;"
        "extraction.check_path('/a', 'p');"
        "assert not {'lxml', 'xmltodict', 'urllib3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


_NAMES = st.from_regex(r"[A-Za-zé_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
).filter(lambda text: text == text.strip())
_ELEMENTS = st.recursive(
    _TEXTS,
    lambda inner: st.dictionaries(
        _NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=3
    ),
    max_leaves=5,
)


@settings(deadline=None)  # a library is imported at the first use
@given(_NAMES, _ELEMENTS)
def test_what_is_written_is_read(root: str, content: Any) -> None:
    sent = xmltodict.unparse({root: content}).encode()
    assert find_in(reading(sent), f"/{root}") == content


@settings(deadline=None)  # a library is imported at the first use
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")), st.text(max_size=20))
def test_anything_is_read_or_refused(text: str, path: str) -> None:
    content = text.encode("utf-8", "replace")
    for body in (content, b"<a>" + content + b"</a>"):
        try:
            document = parse_xml(make_response(200, body))
        except AnswerError:
            document = None
        with suppress(ParameterError):
            compile_path(f"/{path}").find(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(f"<a>{' ' * 2_000_000}</a>", None, id="spaces"),
        pytest.param(f"<a>{'<?xml ' * 300_000}</a>", "is not XML", id="declarations"),
        pytest.param(f"<!DOCTYPE {'a' * 2_000_000}><a/>", "a DTD of its own", id="doctype"),
    ],
)
def test_long_texts_take_neither_time_nor_memory(text: str, said: str | None) -> None:
    """What is looked for at the start took quadratic time, and a DOCTYPE a hundred bytes a character."""
    sent = make_response(200, text.encode())
    tracemalloc.start()
    try:
        if said is None:
            parse_xml(sent)
        else:
            with pytest.raises(AnswerError, match=said):
                parse_xml(sent)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_many_namespaces() -> None:
    """Each name took as long as there were declarations above it."""
    many = range(20_000)
    declared = " ".join(f"xmlns:p{n}='u{n}'" for n in many)
    elements = "".join(f"<p{n}:b p1:c=''><d/></p{n}:b>" for n in many)
    sent = f"<a {declared}>{elements}</a>".encode()
    found = find_in(reading(sent), "/a")
    assert found["p7:b"] == {"@p1:c": "", "d": ""}


def test_a_refused_answer_is_not_kept_in_a_cycle() -> None:
    """Its body would use memory until Python looks for cycles, which it does by number, not by size."""

    def redact(text: str) -> str:
        return text

    request, kept = Request(Purpose.POLL, "GET", "https://api.example.com/"), weakref.ref(redact)
    gc.disable()
    try:
        one = Reading(request, make_response(200, b"{<"), redact)
        assert one.document is None
        assert one.xml is None
        del one, redact
        assert kept() is None
    finally:
        gc.enable()
