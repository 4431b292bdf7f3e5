"""What a path takes depends on the path: one value, or a list however many there are."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.answers import Reading, items_in, result_of
from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.extraction import MISSING, Shape, compile_path, find_result, find_value
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.templating import expand, expand_url

from .helpers import BASE, Driven, make_call, make_job, make_response

VALUE, PICKED, LIST = Shape.VALUE, Shape.PICKED, Shape.LIST
_ASKED = Request(Purpose.SUBMIT, "POST", f"{BASE}/jobs")


@pytest.mark.parametrize(
    ("path", "shape", "selects_items"),
    [
        ("$", VALUE, False),
        ("$.a.b[0]['c d']", VALUE, False),
        ("a[-1].b", VALUE, False),
        ("$.a.`len`", VALUE, False),
        ("$.a + $.b", VALUE, False),
        ("$.a[\\id]", VALUE, False),
        ("/job/status", VALUE, False),
        ("$.a[?(@.id==1)]", PICKED, True),
        ("$.a[?(@.id==1)].b", PICKED, False),
        ("$.a[?(@.b[*]==1)].c", PICKED, False),
        ("$.a[?(@.id==1)].b[0]", PICKED, False),
        ("$.a[*]", LIST, True),
        ("$.a.*", LIST, True),
        ("$.a[*].b", LIST, False),
        ("$.a[*].b[0]", LIST, False),
        ("$.a[1:]", LIST, True),
        ("$['a','b']", LIST, True),
        ("$..b", LIST, False),
        ("$..b[*]", LIST, True),
        ("$.a[?(@.id==1)].b[*].c", LIST, False),
        ("$.a[*][?(@.id==1)]", LIST, True),
    ],
)
def test_shapes(path: str, shape: Shape, selects_items: bool) -> None:
    compiled = compile_path(path)
    assert (compiled.shape, compiled.selects_items) == (shape, selects_items)


@pytest.mark.parametrize(
    ("path", "document", "result"),
    [
        ("$.a[*].n", {"a": [{"n": 1}, {"n": 2}]}, [1, 2]),
        ("$.a[*].n", {"a": [{"n": 1}]}, [1]),
        ("$.a[*].n", {"a": []}, []),
        ("$.a[*].n", {"a": None}, []),
        ("$.a[*].n", {"b": []}, MISSING),
        ("$.a[*]", {"a": [[1, 2]]}, [[1, 2]]),
        ("$.a[1:]", {"a": [1, 2]}, [2]),
        ("$.a[1:]", {"a": [1]}, []),
        ("$..n", {"a": {"n": 1}}, [1]),
        ("$..n", {"a": {}}, []),
        ("$..n", None, MISSING),
        ("$.a[?(@.ok==true)]", {"a": [{"ok": True}]}, [{"ok": True}]),
        ("$.a[?(@.ok==true)]", {"a": [{"ok": False}]}, []),
        ("$.a[?(@.ok==true)].n", {}, MISSING),
        ("$['a','b']", {"a": 1}, [1]),
        ("$.a", {"a": [1]}, [1]),
        ("a[0]", {"a": [1]}, 1),
        ("$.a.`len`", {"a": [1]}, 1),
    ],
)
def test_a_result_of_a_path_that_can_match_several_is_a_list(path: str, document: Any, result: Any) -> None:
    assert find_result(path, document) == result
    reading = Reading(_ASKED, make_response(200, document), str)
    if result is MISSING:
        with pytest.raises(AnswerError, match="response_path="):
            result_of(reading, "response_path", path)
    else:
        assert result_of(reading, "response_path", path) == result


@pytest.mark.parametrize(
    ("path", "document", "items"),
    [
        ("$.rows", {"rows": [[1], [2]]}, [[1], [2]]),
        ("$.rows[*]", {"rows": [[1], [2]]}, [[1], [2]]),
        ("$.rows[*]", {"rows": [[1]]}, [[1]]),
        ("$.groups[*].rows", {"groups": [{"rows": [1, 2]}]}, [1, 2]),
        ("$.groups[*].rows", {"groups": [{"rows": [1, 2]}, {"rows": [3]}, {"rows": 4}]}, [1, 2, 3, 4]),
        ("$..rows", {"a": {"rows": [1]}}, [1]),
        ("$.rows[?(@.n==1)]", {"rows": [{"n": 1}]}, [{"n": 1}]),
        ("$.rows[*]", {"rows": []}, []),
        ("$.rows[*]", {"other": []}, MISSING),
        ("$.row", {"row": {"n": 1}}, [{"n": 1}]),
        ("$.row", {"row": None}, []),
    ],
)
def test_items(path: str, document: Any, items: Any) -> None:
    assert items_in(Reading(_ASKED, make_response(200, document), str), path) == items


@pytest.mark.parametrize(
    ("path", "document", "value"),
    [
        ("$.jobs[*].id", {"jobs": [{"id": 1}]}, [1]),
        ("$.jobs[*].id", {"jobs": []}, MISSING),
        ("$..id", {"jobs": {"id": 1}}, [1]),
        ("$.jobs[?(@.name=='x')].id", {"jobs": [{"name": "x", "id": 1}]}, 1),
        ("$.jobs[?(@.name=='x')].id", {"jobs": [{"name": "x", "id": 1}, {"name": "x", "id": 2}]}, [1, 2]),
        ("$.jobs", {"jobs": [1]}, [1]),
    ],
)
def test_a_value_for_a_later_request(path: str, document: Any, value: Any) -> None:
    assert find_value(path, document) == value
    reading = Reading(_ASKED, make_response(200, document), str)
    if value is not MISSING:
        assert reading.values({"named": path}, [path]) == {"named": value, path: value}


def test_where_only_one_value_can_stand_a_list_of_one_is_that() -> None:
    known: dict[str, Any] = {"ids": [7], "two": [1, 2], "odd": [[1]]}
    assert expand("{ids}", known.__getitem__) == [7]
    assert expand("job {ids} of {two}", known.__getitem__) == "job 7 of [1,2]"
    assert expand_url("/jobs/{ids}", known.__getitem__, BASE) == "/jobs/7"
    for name in ("two", "odd"):
        with pytest.raises(AnswerError, match="needs a single value"):
            expand_url(f"/jobs/{{{name}}}", known.__getitem__, BASE)


def test_a_job_is_followed_by_an_id_that_is_searched_for() -> None:
    job = make_job(
        extract={"run": "$..runId"},
        job_id="run",
        status_request={
            "method": "POST",
            "endpoint": "/runs/{run}",
            "body": {"runs": "{run}", "of": "{$..runId}"},
        },
        status_path="$..state",
        result_path="$.rows[*].n",
    )
    driven = Driven(make_call(job=job))
    driven.answer(200, {"started": {"runId": "r-7"}})
    assert driven.state.job_id == "r-7"
    driven.answer(200, {"run": {"state": "succeeded"}, "rows": [{"n": 1}]})
    request = driven.requests[-1]
    assert (request.url, request.body) == (f"{BASE}/runs/r-7", b'{"runs":["r-7"],"of":["r-7"]}')
    assert driven.done().value == [1]
