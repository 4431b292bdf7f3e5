"""Whatever an author writes and a server answers: no exception but the package's own.

A few hundred cases of each by default. ``APITASK_FUZZ_EXAMPLES`` asks for more of each; ``tox run -e fuzz``
runs 100,000 in all.
"""

from __future__ import annotations

import json
import os
import random
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.answers import Reading, find_all_in, find_in, items_in, result_of
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.extraction import MISSING, Shape, check_path, compile_path
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.core.portable import as_carried
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.templating import expand, expand_url, placeholders
from airflow_provider_apitask.core.validation import ResponseValidation

from .helpers import BASE, make_api

pytestmark = pytest.mark.once

_LONG = "APITASK_FUZZ_EXAMPLES" in os.environ
_EXAMPLES = int(os.environ.get("APITASK_FUZZ_EXAMPLES", "200"))
#: In the long run the cases are new ones, and a failure is told as it was found: to make it smaller is slow.
_PHASES = (Phase.explicit, Phase.generate) if _LONG else tuple(Phase)

fuzzed = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    phases=_PHASES,
    database=None,
    # Everyday the same cases, so that nobody is stopped by what another change did not mend.
    derandomize=not _LONG,
    suppress_health_check=list(HealthCheck),
)

# -- what a server may say -----------------------------------------------------------------------

_NAMES = st.one_of(
    st.sampled_from(
        ["id", "status", "a-b", "items", "n", "@id", "#text", "$ref", "", "x y", "0", "é", "'", '"']
    ),
    st.text(max_size=4),
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["ok", "{id}", "\\{", "https://evil.example/", "/a/b?c#d", "..", "//x", "\ud800", "\0", "http://[",
         "1e9",
         10**400, -(10**30), 5e-324, 1e308, -0.0, "²", "٣", "2026-01-01", "😀"]
    ),
)  # fmt: skip
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=10,
)
_DEEP = st.sampled_from(["[", '{"a":', "<a>", "<a b='1'>", '[{"a":']).flatmap(
    lambda piece: st.integers(1, 2000).map(lambda times: (piece * times).encode())
)
_CLOSED = st.one_of(st.integers(1, 30), st.integers(1, 30), st.sampled_from([200, 990])).flatmap(
    lambda depth: st.sampled_from(
        [b"[" * depth + b"1" + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth,
         b"<a>" * depth + b"1" + b"</a>" * depth]
    )
)  # fmt: skip
_XML_PIECES = st.sampled_from(
    ["<a>", "</a>", "<b x='1'>", "</b>", "<p:a xmlns:p='urn:p'>", "</p:a>", "<a xmlns='urn:d'>", "<i/>",
     "text", " ",
     "&amp;", "&lt;", "&bad;", "&#0;", "&#x1F600;", "&#55296;", "<![CDATA[x]]>", "<![CDATA[", "]]>",
     "<!-- c -->",
     "<!--", "<?pi x?>", "<?xml version='1.0' encoding='utf-16'?>", "<?xml version='1.0'?>", "<!DOCTYPE a>",
     "<!DOCTYPE a [<!ENTITY x 'y'>]>", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", "\0", "\ufffe", "é", "😀",
     "<", ">",
     "<a a='1' a='2'>", "xmlns:xml='x'", "<xml:a/>", "<q:a/>", "<a p:x='1' xmlns:p='u'/>", "\r\n"]
)  # fmt: skip
_XML = st.lists(_XML_PIECES, max_size=10).map("".join)
_GOOD_XML = st.recursive(
    st.sampled_from(["1", "", "é", "<i/>", "<i a='1' b=''/>", "&lt;", "<p:i p:a='1' xmlns:p='urn:p'/>"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"<a x='1'>{''.join(parts)}</a>"),
    max_leaves=6,
).map(lambda text: f"<r xmlns='urn:r'>{text}</r>")
_CHARSETS = st.sampled_from(
    ["utf-8", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "ascii", "utf-7"]
)
_MUTATIONS = st.tuples(st.integers(0, 200), st.sampled_from(["cut", "flip", "twice", "none", "none"]))


def _encoded(text: str, charset: str, mutation: tuple[int, str]) -> bytes:
    body = text.encode(charset, "replace")
    at, how = mutation
    if how == "cut":
        return body[:at]
    if how == "flip":
        return bytes([*body[:at], 0xFF, *body[at + 1 :]])
    return body[:at] + body if how == "twice" else body


_TEXTS = st.one_of(
    _JSON.map(json.dumps),
    _JSON.map(lambda value: json.dumps(value, ensure_ascii=False)),
    _JSON.map(json.dumps),
    _XML,
    _GOOD_XML,
    _GOOD_XML,
    st.sampled_from(
        [
            "NaN",
            "[NaN, -Infinity]",
            "1e999",
            "[1e9999]",
            '{"id": 1e-400, "n": 12345678901234567.89, "a": [0.10000000000000001, 1E+4299]}',
            '{"status": 2.00000000000000000001, "items": [{"n": 1e400}], "a": {"$number": "1e9999999"}}',
            '{"a":1,"a":2}',
            "1" * 5000,
            "<!DOCTYPE html><html>",
            "null",
            "-",
            "'a'",
        ]
    ),
    st.text(max_size=20),
)
_BODIES = st.one_of(
    st.builds(_encoded, _TEXTS, st.just("utf-8"), _MUTATIONS),
    st.builds(_encoded, _TEXTS, _CHARSETS, _MUTATIONS),
    st.binary(max_size=30),
    _DEEP,
    _CLOSED,
)
_TYPES = st.one_of(
    st.sampled_from(
        ["application/json", "application/json", "application/xml", "text/html", "text/plain; charset=utf-16",
         "text/xml; charset=latin-1", "application/problem+json; charset=hex",
         "text/plain; charset=unicode_escape",
         "application/soap+xml;charset=\"utf-8\"", "; charset=", "x/y; charset=idna", "a; charset=utf-7",
         "a; charset=cp037", "application/json; charset=base64", "", "x"]
    ),
    st.text(max_size=10).map(lambda name: f"text/plain; charset={name}"),
)  # fmt: skip
_HEADERS = st.dictionaries(
    st.sampled_from(["Location", "Operation-Location", "X-A", "ETag", "Content-Location"]),
    st.one_of(
        st.sampled_from(
            ["/a", "?b", "", "http://[", "//x", "https://a..ü/", "mailto:a@b", "\\\\x", "a:b", "http://x:y/"]
        ),
        st.text(max_size=8),
    ),
    max_size=2,
)


@st.composite
def _readings(draw: st.DrawFn) -> Reading:
    headers = Headers({"Content-Type": draw(_TYPES), **draw(_HEADERS)})
    code = draw(st.sampled_from([200, 200, 201, 202, 204, 404, 503, 999]))
    return Reading(_ASKED, Response(code, f"{BASE}/jobs", headers, draw(_BODIES)), str)


_ASKED = Request(Purpose.SUBMIT, "POST", f"{BASE}/jobs")

# -- what an author may write --------------------------------------------------------------------

_STEPS = st.sampled_from(
    [".id", ".a", ".a-b", "[0]", "[-1]", "[*]", ".*", "..id", "..*", "['a-b']", '["x y"]', "['']", "[1:]",
     "[::2]", "[::0]",
     "[-3:1]", "[0,1]", "['a','b']", "[?(@.id)]", "[?(@.id==1)]", "[?(@.n>1 && @.id=='ok')]", "[?@.a=~'^o']",
     "[?(@.a=~'(')]", "[?(@.n<'x')]", ".`len`", ".`keys`", ".`parent`", ".`sorted`", ".`split(., 0, -1)`",
     ".`sub(/o/, x)`",
     ".`sub(/(/, x)`", "[\\id]", "[/n]", " + $.n", " * 2", " - $.id", "|id", " where id", "['*']",
     "[99999999999999999999]",
     "[?(@.id!=null)]", "[?(@ == 1)]", "[?(length(@.a)>1)]", "[?(@.a[*]==1)]", ".`str()`", ".`this`", "[²]",
     "[' ]", ".", "[", "]"]
)  # fmt: skip
#: The time of the library grows with the depth of the answer to the power of the ``..`` in a path.
_JSON_PATHS = (
    st.lists(_STEPS, max_size=4)
    .map(lambda steps: "$" + "".join(steps))
    .filter(lambda path: path.count("..") < 2)
)
_DOTTED_PATHS = st.one_of(
    st.lists(st.one_of(_NAMES, _STEPS), min_size=1, max_size=4).map("".join),
    st.lists(_NAMES, min_size=1, max_size=4).map(".".join),
    st.sampled_from(
        ["id", "a.0", "a[0].b", "a[-1]", "a['b.c']", "headers.Location", "headers.X-A", "headers.", "n.²"]
    ),
    st.text(max_size=8),
)
_X_STEPS = st.sampled_from(
    ["/a", "//a", "/*", "//*", "/@x", "//@*", "/text()", "[1]", "[last()]", "[@x='1']", "/p:a", "//p:i/@p:a",
     "/r/a", "/..", "/.",
     "[position()<3]", "[a>1]", "[count(*)=0]", "/namespace::*", "/ancestor::*", "[", "]", "|//i",
     "[contains(.,'e')]",
     "[substring(.,0 div 0)]", "/self::a", "[0 div 0]", "[. = 1 div 0]", "/processing-instruction()",
     "/comment()", "()", "'"]
)  # fmt: skip
_X_PATHS = st.one_of(
    st.lists(_X_STEPS, min_size=1, max_size=4).map(lambda steps: f"/{''.join(steps).removeprefix('/')}"),
    st.sampled_from(
        ["xpath:count(//*)", "xpath:1 div 0", "xpath:string(/r)", "xpath:sum(//a)", "xpath:true()", "xpath:",
         "xpath:$x",
         "xpath:f()", "xpath:id('a')", "xpath:document('/etc/passwd')", "xpath:name(//*)",
         "xpath:number('x')", "xpath:-1e400",
         "./a", ".//i", "xpath:concat('\0', 'a')", "xpath:re:test('a', '(')", "xpath:string-length(.)",
         "xpath:lang('é')",
         "xpath:key('a', 'b')", "xpath:current()", "xpath://a/@x | //namespace::*", "/\ud800", "//\0", "//é",
         "xpath:'" + "a" * 99]
    ),
    st.text(max_size=8).map(lambda text: f"xpath:{text}"),
    st.text(max_size=8).map(lambda text: f"/{text}"),
)  # fmt: skip
_PATHS = st.one_of(_JSON_PATHS, _DOTTED_PATHS, _X_PATHS)


def _own_errors_only(steps: Any) -> None:
    """Run steps, each of which may end in an error of the package; such an error tells something."""
    for step in steps:
        try:
            step()
        except ApiTaskError as error:
            json.dumps(error.to_dict())
            if not error.message.strip():
                pytest.fail("an error that says nothing")


def _extraction(path: str, reading: Reading) -> None:
    def of_document(document: Any) -> None:
        compiled = compile_path(path)
        found, every = compiled.find(document), compiled.find_all(document)
        assert (found is MISSING) == (not every)
        assert MISSING not in every

    def of_shape(result: Any) -> None:
        if not path.startswith("headers.") and compile_path(path).shape is not Shape.VALUE:
            assert isinstance(result, list)

    def across(values: dict[str, Any]) -> None:
        state = State(values=values)
        again = State.from_dict(json.loads(json.dumps(state.to_dict())))
        assert json_text(again.values) == json_text(values)

    _own_errors_only(
        [
            lambda: check_path(path, "p"),
            lambda: of_document(reading.document),
            lambda: of_document(reading.xml),
            lambda: find_in(reading, path),
            lambda: find_all_in(reading, path),
            lambda: result_of(reading, "response_path", path),
            lambda: of_shape(result_of(reading, "response_path", path)),
            lambda: items_in(reading, path),
            lambda: result_of(reading, "response_path", None),
            lambda: across(reading.values({"x": path}, [path])),
            lambda: as_carried(reading.value()),
            lambda: json_text(reading.value()),
            lambda: reading.reason(path),
            reading.usual_id,
            reading.refuse_html,
        ]
    )


@fuzzed
@given(_DOTTED_PATHS, _readings())
def test_dotted_paths(path: str, reading: Reading) -> None:
    _extraction(path, reading)


@fuzzed
@given(_JSON_PATHS, _readings())
def test_json_paths(path: str, reading: Reading) -> None:
    _extraction(path, reading)


@fuzzed
@given(_X_PATHS, _readings())
def test_xpaths(path: str, reading: Reading) -> None:
    _extraction(path, reading)


# -- templates -----------------------------------------------------------------------------------

_PIECES = st.one_of(
    st.sampled_from(
        ["{id}", "{result.id}", "{$.jobs[0].id}", "{/job/id}", "{headers.Location}", "{job_id}", "\\{",
         "\\}", "\\", "{", "}",
         "{}", "{ }", '{"a": 1}', "{{", "}}", "{%", "/", "//", "?", "&", "#", "..", "/./",
         "https://api.example.com/v1/", "http://[",
         "https://", ":", "é", "\ud800", "\n", "\0", " ", "%", "%zz", "{xpath:count(//a)}", "{$}", "{./a}",
         "@", "{\\{a}"]
    ),
    st.text(max_size=3),
    _STEPS.map(lambda step: f"{{${step}}}"),
    _X_STEPS.map(lambda step: f"{{{step}}}"),
)  # fmt: skip
_TEMPLATES = st.lists(_PIECES, max_size=4).map("".join)
_NESTED = st.recursive(
    st.one_of(_TEMPLATES, _LEAVES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEMPLATES, inner, max_size=3)),
    max_leaves=4,
)
_FORMATS = st.sampled_from(["json", "form", "raw", "xml", "multipart", None])
_METHODS = st.sampled_from(["GET", "POST", "DELETE"])


_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
_VALUES = st.one_of(
    _LEAVES, _DECIMALS, st.lists(_LEAVES, max_size=2), st.dictionaries(_NAMES, _LEAVES, max_size=2)
)


class _Values:
    """Gives a path its value of an answer, and always the same."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __call__(self, path: str) -> Any:
        return self.values[random.Random(path).randrange(len(self.values))]


_LOOKUPS = st.lists(_VALUES, min_size=1, max_size=3).map(_Values)


@fuzzed
@given(_NESTED, _LOOKUPS)
def test_templates(template: Any, lookup: _Values) -> None:
    paths = list(placeholders(template))
    assert all(isinstance(path, str) and path for path in paths)
    asked: list[str] = []

    def noting(path: str) -> Any:
        asked.append(path)
        return lookup(path)

    _own_errors_only([lambda: expand(template, noting)])
    assert set(asked) <= set(paths), "only what is named is asked for"
    if not paths and isinstance(template, str):
        assert expand(template, lookup) == re.sub(r"\\([{}])", r"\1", template)


@fuzzed
@given(_TEMPLATES, _LOOKUPS)
def test_templates_of_urls(template: str, lookup: _Values) -> None:
    def check() -> None:
        url = expand_url(template, lookup, BASE)
        assert isinstance(url, str)

    # What no URL can be made of is told by whoever builds the request.
    try:
        _own_errors_only([check])
    except UnicodeError as error:
        if "surrogate" not in str(error):
            raise


@fuzzed
@given(
    st.tuples(_METHODS, st.one_of(st.none(), _TEMPLATES), _FORMATS),
    st.dictionaries(_TEMPLATES, _NESTED, max_size=2),
    st.dictionaries(_TEMPLATES, _NESTED, max_size=2),
    st.one_of(st.none(), _NESTED),
    _LOOKUPS,
)
def test_templates_of_requests(
    what: tuple[str, str | None, str | None], params: Any, headers: Any, body: Any, lookup: _Values
) -> None:
    method, endpoint, body_format = what
    given_fields = {
        "method": method,
        "endpoint": endpoint,
        "params": params,
        "headers": headers,
        "body": body,
        "body_format": body_format,
    }

    def build() -> None:
        spec = RequestSpec(
            **{name: item for name, item in given_fields.items() if item is not None}
        ).checked()
        request = make_api().build(spec, Purpose.POLL, lookup=lookup, url=f"{BASE}/x")
        assert urlsplit(request.url).hostname == "api.example.com", "nobody else is asked"
        assert request.url.isascii()

    _own_errors_only([build])


# -- validation ----------------------------------------------------------------------------------

_REGEXES = st.one_of(
    st.sampled_from(["^o", "[0-9]+$", "(a|b)*c", "(", "\\", "[", "(?i)x", "a{99999999999}"]),
    st.text(max_size=5),
)
_ODD = st.one_of(_JSON, _PATHS)
_CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(
            st.sampled_from(["str", "number", ["integer", "null"], "array", "object", "thing"]), _LEAVES
        ),
        "value": _JSON,
        "one_of": st.one_of(st.lists(_JSON, max_size=3), _LEAVES),
        "pattern": _REGEXES,
        "min": st.one_of(st.integers(), st.floats(), st.sampled_from(["2.5", "x", "1e400", "NaN", "sNaN"])),
        "max": st.one_of(st.integers(), st.decimals(), _LEAVES),
        "min_length": st.one_of(st.integers(), _LEAVES),
        "length": st.one_of(st.integers(0, 5), st.floats()),
        "optional": st.one_of(st.booleans(), _LEAVES),
        "absent": st.booleans(),
        "equals": _LEAVES,
    },
)
_CODES = st.one_of(
    st.sampled_from([200, "404", "2xx", "500-503", "9xx", "503-500", "-", "²xx", [200, "4xx"], []]), _LEAVES
)
_CONDITIONS = st.one_of(
    st.dictionaries(_PATHS, st.one_of(_LEAVES, st.lists(_LEAVES, max_size=2), _CHECKS), max_size=2),
    st.builds(dict, status_code=_CODES),
    _ODD,
)
_KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "array", "string", ["null", "integer"], "thing", 1]),
        "required": st.one_of(st.lists(_NAMES, max_size=2), _LEAVES),
        "enum": st.one_of(st.lists(_JSON, max_size=2), _LEAVES),
        "const": _JSON,
        "pattern": _REGEXES,
        "patternProperties": st.dictionaries(_REGEXES, st.booleans(), max_size=1),
        "minimum": _LEAVES,
        "multipleOf": st.one_of(st.integers(), st.floats(), _LEAVES),
        "maxLength": _LEAVES,
        "uniqueItems": st.booleans(),
        "format": st.sampled_from(["date", "date-time", "email", "ipv4", "ipv6", "uuid", "regex",
        "idn-email", "x"]),
        "$ref": st.sampled_from(["#", "#/$defs/x", "#/$defs/none", "http://x/", "http://[", "%", "",
        "#\ud800", 1]),
        "$defs": st.just({"x": {"items": {"$ref": "#/$defs/x"}}}),
        "$schema": st.sampled_from(
            ["http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-04/schema#", "x", "",
             1, None, "http://["]
        ),
        "$id": st.sampled_from(["x", "http://[", "#a", "urn:x", 1]),
        "contains": st.booleans(),
        "unevaluatedProperties": st.booleans(),
        "$dynamicRef": st.sampled_from(["#", "#x", "x"]),
    },
)  # fmt: skip
_SCHEMAS = st.recursive(
    _KEYWORDS,
    lambda inner: st.builds(
        lambda own, name, one: {**own, name: one},
        _KEYWORDS,
        st.sampled_from(["items", "additionalProperties", "not", "if", "then", "propertyNames", "contains"]),
        st.one_of(inner, st.booleans()),
    ),
    max_leaves=4,
)
_RULES = st.fixed_dictionaries(
    {},
    optional={
        "expected_status_code": _CODES,
        "required_fields": st.one_of(st.lists(_PATHS, max_size=3), _PATHS, _JSON),
        "field_checks": st.one_of(st.dictionaries(_PATHS, _CHECKS, max_size=2), _JSON),
        "json_schema": st.one_of(_SCHEMAS, _SCHEMAS, _JSON),
        "success_when": _CONDITIONS,
        "failure_when": _CONDITIONS,
        "running_when": st.lists(_CONDITIONS, max_size=2),
    },
)


def _validated(rules: Any, reading: Reading) -> None:
    def check() -> None:
        validation = ResponseValidation.parse(rules).compiled()
        found = validation.check(reading)
        for violation in found:
            assert all((violation.rule, violation.path, violation.expected, violation.found))
        validation.verdict(reading)
        validation.require(reading)
        assert not found

    _own_errors_only([lambda: ResponseValidation.as_template(rules), check])


@fuzzed
@given(_RULES, _readings())
def test_validation(rules: Any, reading: Reading) -> None:
    _validated(rules, reading)


_ONE_RULE = st.one_of(
    st.builds(lambda path, check: {"field_checks": {path: check}}, _PATHS, _CHECKS),
    st.builds(lambda schema: {"json_schema": schema}, _SCHEMAS),
    st.builds(lambda path, value: {"success_when": {path: value}}, _PATHS, st.one_of(_LEAVES, _CHECKS)),
)


@fuzzed
@given(_ONE_RULE, _readings())
def test_one_rule(rules: Any, reading: Reading) -> None:
    """Few of many odd rules at once are good ones: alone, one is looked at with an answer more often."""
    _validated(rules, reading)
