"""Results in pages: the ways to the next one, where they end, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_apitask.core.durable import Record, begin, is_notable
from airflow_provider_apitask.core.errors import (
    AnswerError,
    OriginError,
    ParameterError,
    RequestFailedError,
    ResultTooLargeError,
)
from airflow_provider_apitask.core.link_header import link_to
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.pagination import Pagination, Paging
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State

from .helpers import BASE, DROPPED, HTML, T0, Driven, make_api, make_call, make_job

NEXT: dict[str, Any] = {"items": "items", "next_link": "next"}
CURSOR: dict[str, Any] = {"items": "items", "cursor": "next", "cursor_param": "cursor"}


def paged(
    pagination: dict[str, Any],
    *,
    method: str = "GET",
    body: Any = None,
    params: Any = None,
    endpoint: str = "/jobs",
    **fields: Any,
) -> Driven:
    request = RequestSpec(method=method, endpoint=endpoint, body=body, params=params)
    api = make_api(redactor=fields.pop("redactor", Redactor()))
    call = make_call(sync=True, pagination=Pagination(**pagination), **{"request": request, **fields})
    return Driven(call, api)


def page(*items: Any, **more: Any) -> dict[str, Any]:
    return {"items": list(items), **more}


# -- the ways to the next page -------------------------------------------------------------------


@pytest.mark.parametrize(
    "link", ["/v1/jobs?p=2", "jobs?p=2", "?p=2", f"{BASE}/jobs?p=2", "//api.example.com/v1/jobs?p=2"]
)
def test_a_link_in_the_body_resolves_against_its_page(link: str) -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, 2, next=link))
    assert (driven.phase, driven.request().url) == (Phase.FETCH, f"{BASE}/jobs?p=2")
    driven.answer(200, page(3))
    assert driven.done().value == [1, 2, 3]


@pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}, {"next": False}])
def test_no_link_ends(end: dict[str, Any]) -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, **end))
    assert driven.done().value == [1]
    assert driven.phase is Phase.SUCCEEDED


def test_a_link_in_the_header() -> None:
    driven = paged({"link_header": True})
    driven.answer(200, [1], {"Link": '<?p=0>; rel="prev", </v1/jobs?p=2,3>; title="a, b"; rel="last next"'})
    assert driven.request().url == f"{BASE}/jobs?p=2,3"
    driven.answer(200, [2], {"Link": "<?p=1>; rel=prev"})
    assert driven.done().value == [1, 2]


def test_the_next_link_of_a_post_is_a_get_without_its_body() -> None:
    fields = RequestSpec(
        method="POST", endpoint="/search", body={"q": 1}, headers={"X-A": "1", "Content-Language": "en"}
    )
    driven = paged(NEXT, request=fields)
    driven.answer(200, page(1, next="/v1/more"))
    request = driven.request()
    assert (request.method, request.url, request.body) == ("GET", "https://api.example.com/v1/more", None)
    assert request.headers.get("X-A") == "1"
    assert request.headers.get("Content-Language") is None
    assert request.purpose is Purpose.RESULT


def test_or_a_post_with_it() -> None:
    driven = paged({**NEXT, "next_method": "post"}, method="POST", body={"q": 1}, params={"a": 1})
    driven.answer(200, page(1, next="/v1/jobs?p=2"))
    request = driven.request()
    assert (request.method, request.url, request.body) == ("POST", f"{BASE}/jobs?p=2", b'{"q":1}')


def test_a_cursor_takes_the_place_of_what_the_author_sent() -> None:
    driven = paged(CURSOR, params={"cursor": "start", "n": 1})
    driven.answer(200, page(1, next="a b&c"))
    assert driven.request().url == f"{BASE}/jobs?n=1&cursor=a+b%26c"
    driven.answer(200, page(2, next=17))
    assert driven.request().url == f"{BASE}/jobs?n=1&cursor=17"
    driven.answer(200, page(3, next=None))
    assert driven.done().value == [1, 2, 3]


def test_a_cursor_in_the_body_of_a_post() -> None:
    body = {"q": {"a": 1}, "page": {"size": 2}}
    driven = paged({**CURSOR, "cursor_param": "page.cursor", "send_in": "body"}, method="POST", body=body)
    assert json.loads(driven.request().body or b"") == body
    driven.answer(200, page(1, next="{status_url}"))
    sent = {"q": {"a": 1}, "page": {"size": 2, "cursor": "{status_url}"}}
    request = driven.request()
    assert (request.method, json.loads(request.body or b"")) == ("POST", sent)
    driven.answer(200, page(2))
    assert driven.done().value == [1, 2]


def test_a_cursor_from_the_last_item() -> None:
    pagination = {"items": "items", "cursor": "items[-1].id", "cursor_param": "after", "has_more": "more"}
    driven = paged(pagination)
    driven.answer(200, page({"id": "a"}, {"id": "b"}, more=True))
    assert driven.request().url == f"{BASE}/jobs?after=b"
    driven.answer(200, page({"id": "c"}, more=False))
    assert [item["id"] for item in driven.done().value] == ["a", "b", "c"]


def test_page_numbers_until_an_empty_page() -> None:
    driven = paged(
        {"page_param": "page", "limit_param": "size", "limit": 2, "first_page": 0}, params={"page": 9}
    )
    assert driven.request().url == f"{BASE}/jobs?size=2&page=0"
    driven.answer(200, [1, 2])
    assert driven.request().url == f"{BASE}/jobs?size=2&page=1"
    driven.answer(200, [3])
    driven.answer(200, [])
    assert driven.done().value == [1, 2, 3]
    assert driven.requests[-1].url.endswith("page=2")


def test_an_offset_counts_what_came_not_what_was_asked_for() -> None:
    driven = paged({"items": "items", "offset_param": "o", "limit_param": "l", "limit": 100, "total": "n"})
    assert driven.request().url == f"{BASE}/jobs?l=100&o=0"
    driven.answer(200, page(1, 2, n="3"))
    assert driven.request().url == f"{BASE}/jobs?l=100&o=2"
    driven.answer(200, page(3, n=3))
    assert driven.done().value == [1, 2, 3]


@pytest.mark.parametrize("more", [False, "false", 0, "no", None])
def test_has_more_ends(more: Any) -> None:
    driven = paged({"items": "items", "page_param": "p", "has_more": "more"})
    driven.answer(200, page(1, more=True))
    driven.answer(200, page(2, more=more))
    assert driven.done().value == [1, 2]


def test_total_pages_ends() -> None:
    driven = paged({"items": "items", "page_param": "p", "total_pages": "pages"})
    driven.answer(200, page(1, pages=2))
    driven.answer(200, page(2, pages=2))
    assert driven.done().value == [1, 2]


def test_the_result_request_of_a_job_comes_in_pages() -> None:
    job = make_job(
        result_request={"endpoint": "/results/{job_id}", "params": {"n": "{size}"}}, extract={"size": "n"}
    )
    driven = Driven(
        make_call(job=job, pagination=Pagination(**{**CURSOR, "send_in": "query"})),
        state=State(
            phase=Phase.POLL, job_id="7", status_url=f"{BASE}/jobs/7", values={"size": 2}, submitted_at=T0
        ),
    )
    driven.answer(200, {"status": "succeeded"})
    assert driven.request().url == f"{BASE}/results/7?n=2"
    driven.answer(200, page(1, next="{x}"))
    driven = driven.through_json()
    assert driven.request().url == f"{BASE}/results/7?n=2&cursor=%7Bx%7D"
    driven.answer(200, page(2))
    assert driven.done().value == [2]  # what page 1 had is with the process that read it


def test_an_answer_that_holds_the_first_page() -> None:
    driven = Driven.polling()
    driven.operation.call = make_call(pagination=Pagination(**NEXT))
    driven.answer(200, page(1, status="succeeded", next="/v1/more"))
    assert driven.request().url == "https://api.example.com/v1/more"
    driven.answer(200, page(2))
    assert driven.done().value == [1, 2]


def test_a_see_other_leads_to_the_first_page() -> None:
    driven = paged(CURSOR, method="POST", body={"q": 1})
    driven.answer(303, headers={"Location": "/v1/found?x=1"})
    driven.answer(200, page(1, next="b"))
    request = driven.request()
    assert (request.method, request.url) == ("GET", "https://api.example.com/v1/found?x=1&cursor=b")


def test_a_page_of_a_post_has_no_idempotency_key() -> None:
    from airflow_provider_apitask.core.idempotency import Idempotency

    driven = paged(
        CURSOR, method="POST", body={}, idempotency=Idempotency(seed="s", header="Idempotency-Key")
    )
    assert driven.request().headers.get("Idempotency-Key")
    driven.answer(200, page(1, next="b"))
    assert driven.request().headers.get("Idempotency-Key") is None


# -- what a page has -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "items"),
    [
        (None, [1, 2], [1, 2]),
        (None, {"a": 1}, [{"a": 1}]),
        (None, None, []),
        ("items", page(1), [1]),
        ("$.items[*]", page([1]), [[1]]),
        ("$.items[*]", page(), []),
        ("items", {"items": None}, []),
        ("items", {"items": {"a": 1}}, [{"a": 1}]),
    ],
)
def test_items(path: str | None, body: Any, items: list[Any]) -> None:
    driven = paged({"items": path, "next_link": "next"})
    driven.answer(200, body)
    assert driven.done().value == items


def test_a_first_page_without_items_fails_and_names_the_path() -> None:
    driven = paged(NEXT)
    driven.answer(200, {"other": []})
    error = driven.error()
    assert isinstance(error, AnswerError)
    assert "pagination.items='items'" in error.message
    assert "missing_items='empty'" in error.message


def test_unless_the_author_says_that_this_is_an_empty_list() -> None:
    driven = paged({**NEXT, "missing_items": "empty"})
    driven.answer(200, {"kind": "list"})
    assert driven.done().value == []


def test_a_later_page_may_have_none() -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, next="?p=2"))
    driven.answer(200, {"next": None})
    assert driven.done().value == [1]


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    [
        *(
            "https://evil.example/x",
            "http://api.example.com/v1/jobs?p=2",
            "//evil.example/",
            "ftp://api.example.com/",
        ),
        *(
            "https://api.example.com:8443/",
            "javascript:alert(1)",
            "http://[::1",
            "https://api.example.com@evil.example/",
        ),
    ],
)
def test_a_link_to_another_origin_is_refused(link: str) -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, next=link))
    assert isinstance(driven.error(), OriginError)
    assert len(driven.requests) == 1


@pytest.mark.parametrize("link", [7, ["a"], {"href": "x"}, True, "x" * 70_000])
def test_a_link_that_is_none(link: Any) -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, next=link))
    assert "pagination.next_link='next' is not a URL" in driven.error().message


@pytest.mark.parametrize("cursor", [["a"], {"a": 1}, True, 1.5, "x" * 70_000])
def test_a_cursor_that_is_none(cursor: Any) -> None:
    driven = paged(CURSOR)
    driven.answer(200, page(1, next=cursor))
    assert "pagination.cursor='next' is not a text or number" in driven.error().message


def test_more_without_a_cursor() -> None:
    driven = paged({**CURSOR, "has_more": "more"})
    driven.answer(200, page(1, more=True))
    assert (
        "more says that there are more pages, but next does not name the next one" in driven.error().message
    )


def test_a_total_that_is_no_number() -> None:
    driven = paged({"items": "items", "page_param": "p", "total": "n"})
    driven.answer(200, page(1, n="many"))
    assert "'n' is no number there" in driven.error().message


def test_the_same_cursor_twice() -> None:
    driven = paged(CURSOR)
    driven.answer(200, page(1, next="same"))
    driven.answer(200, page(2, next="same"))
    error = driven.error()
    assert "'same' was asked for before" in error.message
    assert not error.retryable


def test_a_link_to_the_page_itself() -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, next="/v1/jobs"))
    assert "was asked for before" in driven.error().message


@given(st.integers(0, 12), st.integers(1, 12))
def test_every_circle_is_found(ahead: int, length: int) -> None:
    driven = paged(CURSOR)
    for number in range(4 * (ahead + length) + 4):
        place = number if number < ahead else ahead + (number - ahead) % length
        driven.answer(200, page(next=f"c{place}"))
        if driven.phase is not Phase.FETCH:
            break
    assert "was asked for before" in driven.error().message


def test_a_credential_in_a_link_is_not_kept() -> None:
    driven = paged(NEXT, redactor=Redactor(["s3cr3t-key-value"]))
    driven.answer(200, page(1, next="?p=2&api_key=s3cr3t-key-value"))
    assert "s3cr3t" not in json.dumps(driven.state.to_dict())
    assert driven.request().url == f"{BASE}/jobs?p=2"
    driven = paged(NEXT, redactor=Redactor(["s3cr3t-key-value"]))
    driven.answer(200, page(1, next="/v1/s3cr3t-key-value/2"))
    assert isinstance(driven.error(), OriginError)
    assert "s3cr3t" not in driven.error().message


def test_a_login_page_in_place_of_a_page() -> None:
    driven = paged(NEXT)
    driven.answer(200, page(1, next="?p=2"))
    while not driven.phase.ended:
        driven.answer(200, HTML, content_type="text/html")
    assert "HTML page" in driven.error().message
    assert len(driven.requests) > 2, "the page is requested again, the call is not repeated"


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_pages", "max_items"])
def test_a_limit_fails_and_names_the_remedies(name: str) -> None:
    driven = paged({**CURSOR, name: 2})
    driven.answer(200, page(1, next="a"))
    driven.answer(200, page(2, 3, next="b"))
    error = driven.error()
    assert isinstance(error, ResultTooLargeError)
    assert error.data["limit"] == name
    for remedy in (f"pagination.{name} is 2", "output_path", "on_limit='stop'"):
        assert remedy in error.message
    assert not error.retryable


@pytest.mark.parametrize(
    ("limit", "items"), [({"max_pages": 2}, [1, 2, 3]), ({"max_items": 2}, [1, 2]), ({"max_bytes": 40}, [1])]
)
def test_or_stops_with_what_there_is(limit: dict[str, int], items: list[int]) -> None:
    driven = paged({**CURSOR, **limit, "on_limit": "stop"})
    driven.answer(200, page(1, next="a"))
    driven.answer(200, page(2, 3, next="b"))
    assert driven.done().value == items
    assert driven.state.paging is not None
    assert driven.state.paging["items"] == len(items)


def test_a_limit_that_is_just_reached_is_none() -> None:
    driven = paged({**CURSOR, "max_pages": 2, "max_items": 3})
    driven.answer(200, page(1, next="a"))
    driven.answer(200, page(2, 3))
    assert driven.done().value == [1, 2, 3]


def test_bytes_are_bounded_by_default() -> None:
    driven = paged(CURSOR, max_response_bytes=50)
    driven.answer(200, page("x" * 20, next="a"))
    driven.answer(200, page("y" * 20, next="b"))
    assert driven.error().data["limit"] == "max_bytes"
    stored = paged(CURSOR, max_response_bytes=50, stored=True)
    stored.answer(200, page("x" * 20, next="a"))
    stored.answer(200, page("y" * 20))
    assert stored.done().value == ["x" * 20, "y" * 20]


# -- a page that fails ---------------------------------------------------------------------------


def test_a_page_that_fails_is_asked_for_again() -> None:
    driven = paged(CURSOR)
    driven.answer(200, page(1, next="a"))
    driven.answer(503, headers={"Retry-After": "7"})
    assert driven.next_wait() == pytest.approx(7, abs=1)
    driven.tell(DROPPED)
    driven.answer(200, page(2))
    assert driven.done().value == [1, 2]
    assert {request.url for request in driven.requests[1:]} == {f"{BASE}/jobs?cursor=a"}
    assert driven.state.attempts == 0


def test_one_by_post_only_where_it_surely_was_not_taken() -> None:
    driven = paged(CURSOR, method="POST", body={})
    driven.answer(200, page(1, next="a"))
    driven.answer(429)
    assert driven.phase is Phase.FETCH
    driven.tell(DROPPED)
    error = driven.error()
    assert isinstance(error, RequestFailedError)
    assert "page 2 of its result could not be fetched" in error.message


def test_a_page_that_is_not_there_is_not_waited_for() -> None:
    driven = paged(CURSOR)
    driven.answer(200, page(1, next="a"))
    driven.answer(404)
    assert "page 2 of its result could not be fetched" in driven.error().message


# -- another process -----------------------------------------------------------------------------


def test_a_stored_result_is_gone_on_with() -> None:
    driven = paged(CURSOR, method="POST", body={}, stored=True)
    driven.answer(200, page(1, 2, next="a"))
    call = driven.operation.call
    record = Record.from_dict(json.loads(json.dumps(Record(generation=0, state=driven.state).to_dict())))
    state = begin(record, call, 0).move.state
    again = Driven(call, state=state)
    assert again.request().body == b"{}"
    assert again.request().url == f"{BASE}/jobs?cursor=a"
    again.answer(200, page(3))
    assert again.operation.take_items() == [3]
    assert again.state.paging is not None
    assert again.state.paging["items"] == 3


def test_one_in_memory_is_begun_anew() -> None:
    driven = paged(CURSOR)
    driven.answer(200, page(1, next="a"))
    state = begin(Record(generation=0, state=driven.state), driven.operation.call, 0).move.state
    assert (state.phase, state.paging) == (Phase.SUBMIT, None)


def test_each_page_is_worth_a_record() -> None:
    driven = paged(CURSOR)
    driven.answer(200, page(1, next="a"))
    before = driven.state
    driven.answer(200, page(2, next="b"))
    assert is_notable(before, driven.state)


def test_the_state_is_small() -> None:
    driven = paged(CURSOR)
    for number in range(50):
        driven.answer(200, page(*["x" * 1000] * 10, next=f"c{number}"))
    assert len(json.dumps(driven.state.to_dict())) < 400
    assert len(driven.events) < 10


@given(
    st.lists(
        st.lists(st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=4), min_size=1, max_size=8
    ),
    st.sampled_from(["next_link", "link_header", "cursor", "offset", "page"]),
    st.sampled_from(["GET", "POST"]),
)
def test_any_pages_come_back_whole_and_in_order(pages: list[list[Any]], style: str, method: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "next_link": NEXT,
        "link_header": {"items": "items", "link_header": True},
        "cursor": CURSOR,
        "offset": {"items": "items", "offset_param": "o"},
        "page": {"items": "items", "page_param": "p"},
    }
    if style in ("offset", "page"):
        pages = [items for items in pages if items] + [[]]
    driven = paged(ways[style], method=method, body={} if method == "POST" else None)
    for number, items in enumerate(pages, start=1):
        last = number == len(pages)
        link = f"/v1/jobs?n={number}"
        headers = {"Link": f"<{link}>; rel=next"} if style == "link_header" and not last else {}
        driven.answer(200, page(*items, next=None if last else link), headers)
        if not last:
            driven = _cut(driven)
    assert driven.done().value == [item for items in pages for item in items]
    assert driven.phase is Phase.SUCCEEDED


def _cut(driven: Driven) -> Driven:
    """In another process, which was given what the pages had so far."""
    items = driven.operation.take_items()
    other = driven.through_json()
    other.operation._items = items
    return other


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["style", "next", "pages", "items", "bytes", "mark"]), inner)
        ),
    )
)
def test_any_record_is_read_or_is_none(record: Any) -> None:
    found = Paging.of(record, Pagination(**CURSOR))
    assert found is None or found.to_dict() == {**record, "style": "cursor"}


# -- the declaration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_fields", "named"),
    [
        ({}, "one way to the next page"),
        ({"next_link": "a", "link_header": True}, "not both next_link and link_header"),
        ({"cursor": "a"}, "both are needed"),
        ({"page_param": "p", "cursor_param": "c"}, "both are needed"),
        ({"page_param": "p", "limit": 5}, "pagination.limit_param"),
        ({"page_param": "p", "next_method": "POST"}, "pagination.next_method"),
        ({"page_param": 7}, "pagination.page_param"),
        ({"next_link": "a..b"}, "pagination.next_link"),
        ({"next_link": "a", "max_pages": 0}, "pagination.max_pages"),
        ({"next_link": "a", "on_limit": "warn"}, "pagination.on_limit"),
        ({"next_link": "a", "nxt": 1}, "pagination has no field 'nxt'"),
        ("next", "pagination must be a Pagination or a dict"),
    ],
)
def test_what_cannot_be(given_fields: Any, named: str) -> None:
    with pytest.raises(ParameterError, match="pagination") as caught:
        Pagination.as_template(given_fields)
    assert named in caught.value.message


def test_a_path_that_cannot_be_compiled() -> None:
    with pytest.raises(ParameterError, match=r"pagination\.items"):
        Pagination(items="$.a[?(", next_link="x")
    with pytest.raises(ParameterError, match=r"pagination\.items"):
        Pagination(items="$.a[?(@.b ==)]", next_link="x").compiled()


def test_templates_pass_and_it_comes_back_the_same() -> None:
    fields = {"items": "{{ a }}", "next_link": "{{ b }}", "max_pages": "{{ c }}"}
    assert Pagination.as_template(fields) == fields
    made = Pagination(**NEXT, max_pages="5")
    assert Pagination.parse(json.loads(json.dumps(made.to_dict()))) == made
    assert made.max_pages == 5


# -- RFC 8288 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "target"),
    [
        ("<a>; rel=next", "a"),
        ('<a>; rel="next"', "a"),
        ('<a>;rel="NEXT last"', "a"),
        ("<a>; REL=next", "a"),
        ('<a,b>; title="x, <c>; rel=next"; rel=next', "a,b"),
        ('<a>; rel=prev, <b>; rel="next"', "b"),
        (r'<a>; title="\"; rel=prev"; rel=next', "a"),
        ("<a>; rel=prev; rel=next", None),
        ("<a>; rel=next; anchor=x", None),
        ("<a>; crossorigin; rel=next", "a"),
        ("junk <a>; rel=next", "a"),
        ("<a>; rel=nextpage", None),
        ("<>; rel=next", ""),
        ("<a; rel=next", None),
        ("", None),
    ],
)
def test_link_header(field: str, target: str | None) -> None:
    assert link_to([field], "next") == target


def test_several_fields() -> None:
    assert link_to(["<a>; rel=prev", "<b>; rel=next"], "next") == "b"


@given(st.lists(st.text(st.sampled_from('<>;,="\\ relnxta')), max_size=3))
def test_any_header_is_read(fields: list[str]) -> None:
    found = link_to(fields, "next")
    assert found is None or isinstance(found, str)
