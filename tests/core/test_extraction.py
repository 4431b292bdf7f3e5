"""Reading values out of documents."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import MISSING, check_path, compile_path

DOCUMENT = {
    "status": "ok",
    "none": None,
    "task-id": 5,
    "a.b": "dot",
    "result": {"id": "r", "0": "zero"},
    "jobs": [{"job_state": ["RUNNING"], "id": 1}, {"id": 2}],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.status", "ok"),
        ("status", "ok"),
        ("$.none", None),
        ("none", None),
        ("$.task-id", 5),
        ("task-id", 5),
        ("$['task-id']", 5),
        ('$["a.b"]', "dot"),
        ("['a.b']", "dot"),
        ("result.id", "r"),
        ("$.result.id", "r"),
        ("$.result['id']", "r"),
        ("result.0", "zero"),
        ("jobs[0].job_state", ["RUNNING"]),
        ("$.jobs[0].job_state[0]", "RUNNING"),
        ("jobs.0.id", 1),
        ("jobs[-1].id", 2),
        ("$.jobs[-1].id", 2),
        ("$.jobs[*].id", [1, 2]),
        ("$.jobs[?(@.id==2)].id", 2),
        ("$..job_state", ["RUNNING"]),
        ("$.jobs[9]", MISSING),
        ("jobs[9]", MISSING),
        ("jobs[-3]", MISSING),
        ("$.jobs.id", MISSING),
        ("nothing", MISSING),
        ("$.nothing.at.all", MISSING),
        ("status.more", MISSING),
        ("jobs.²", MISSING),
        ("jobs.--1", MISSING),
        (f"jobs[{'9' * 5000}]", MISSING),
        (f"jobs.{'9' * 5000}", MISSING),
        ("$.jobs[?(@.task-id==2)].id", MISSING),
        ("$.jobs[?(@.id>1 && @.id<3)].id", 2),
        ("$.jobs[*]['job_state'][0]", "RUNNING"),
        ("$.jobs[*].nothing", MISSING),
    ],
)
def test_find(path: str, value: Any) -> None:
    assert compile_path(path).find(DOCUMENT) == value


def test_hyphens_are_no_minus_in_a_jsonpath_with_wildcards_or_filters() -> None:
    document = {"jobs": [{"task-id": 1, "end-state": "x"}, {"task-id": 2, "end-state": "y"}]}
    assert compile_path("$.jobs[*].task-id").find(document) == [1, 2]
    assert compile_path("$.jobs[?(@.task-id==2)].end-state").find(document) == "y"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
_STEPS = st.sampled_from(
    [*"$@.*[]()?'\"`:,|&+-/=!<>~0aé²", "..", "[*]", "[?(@.a", "==", "[0]", "[-1:]", "`len`", "xpath:", "{"]
)


@settings(deadline=None)  # a library is imported at the first use
@given(_JSON, st.lists(_STEPS, max_size=8).map("".join) | st.text(max_size=10))
def test_any_path_is_refused_or_finds_something(document: Any, path: str) -> None:
    for text in (path, f"${path}"):
        with suppress(ParameterError):
            check_path(text, "p")
            compile_path(text).find(document)


@settings(deadline=None)  # a library is imported at the first use
@given(_JSON, st.text(max_size=5).filter(lambda name: "'" not in name))
def test_what_stands_at_a_name_is_found(value: Any, name: str) -> None:
    path = f"['{name}'][0]"
    check_path(path, "p")
    assert compile_path(path).find({name: [value]}) is value


@pytest.mark.parametrize("document", [None, True, 5, 1.5, "text", [], {}, [[]], {"status": None}])
@pytest.mark.parametrize("path", ["$.a.b", "a.b", "a[0]", "$.a[?(@.b > 1)].c", "$..a", "$.a.`len`"])
def test_any_document_can_be_asked(path: str, document: Any) -> None:
    assert compile_path(path).find(document) is MISSING


def test_a_document_nested_too_deep_for_the_library_matches_nothing() -> None:
    deep: Any = {}
    for _ in range(50_000):
        deep = {"a": deep}
    assert compile_path("$..b").find(deep) is MISSING


@pytest.mark.parametrize("path", ["", " ", None, 5, "a..b", "a.", "a[", "a[x]", "$.a[?(", "jobs[0", ".a"])
def test_what_is_no_path_is_named(path: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        check_path(path, "job.status_path")
    assert "job.status_path" in caught.value.message
    assert caught.value.data["parameter"] == "job.status_path"


@pytest.mark.parametrize("path", ["$.[", "$.a[?(@.b", "$a", "$.a b c"])
def test_what_is_no_jsonpath(path: str) -> None:
    with pytest.raises(ParameterError, match="JSONPath"):
        compile_path(path)


def test_missing_is_false_and_shown() -> None:
    assert not MISSING
    assert repr(MISSING) == "<nothing>"


def test_plain_paths_need_no_library() -> None:
    code = (
        "import sys; from airflow_provider_apitask.core.extraction import compile_path as c;"
        "c('$.status'), c(\"$.a-b[0]['c']\"), c('x.y'); assert 'jsonpath_ng' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("jobs[5].id", []),
        ("$.jobs[*].id", [1, 2]),
        ("$.jobs[0].job_state", [["RUNNING"]]),
        ("$.jobs[*].job_state", [["RUNNING"]]),
        ("none", [None]),
        ("$.no", []),
        ("$.no[*]", []),
        ("$.jobs[?(@.id>1)].id", [2]),
    ],
)
def test_find_all(path: str, values: list[Any]) -> None:
    assert compile_path(path).find_all(DOCUMENT) == values


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$[*]", [{"k": 1, "a*": 5}, {"k": [2, 3]}, 4]),
        ("$.*", [{"k": 1, "a*": 5}, {"k": [2, 3]}, 4]),
        ("$[*].k", [1, [2, 3]]),
        ("$[ * ]['k'][*]", [2, 3]),
        ("$[1].k[*]", [2, 3]),
        ("$[0][*]", [1, 5]),
        ("$[0].*", [1, 5]),
        ("$[1].*[1]", [3]),
        ("$[*][*][*]", [2, 3]),
        ("$[2][*]", []),
        ("$.no[*]", []),
        ("$[0]['a*']", [5]),
    ],
)
def test_each_item_or_member(path: str, values: list[Any]) -> None:
    document = [{"k": 1, "a*": 5}, {"k": [2, 3]}, 4]
    assert compile_path(path).find_all(document) == values
    found = compile_path(path).find(document)
    assert found == (values if len(values) > 1 else values[0] if values else MISSING)


def test_each_item_needs_no_library() -> None:
    code = (
        "import sys\nfrom airflow_provider_apitask.core.extraction import compile_path\n"
        "assert compile_path('$.a[*].b').find({'a': [{'b': 1}, {'b': 2}]}) == [1, 2]\n"
        "assert 'jsonpath_ng' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_a_jsonpath_with_a_pattern_that_is_none() -> None:
    with pytest.raises(ParameterError, match="is no valid JSONPath"):
        compile_path("$.`sub(/(/, x)`")


def test_a_jsonpath_above_the_root_matches_nothing() -> None:
    assert compile_path("$.`parent`").find({"a": 1}) is MISSING
