"""Reading a page of a result: what it contributes, and where the next one is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

from airflow_provider_apitask.core.answers import Reading, find_in, items_in
from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.errors import AnswerError, OriginError, ResultTooLargeError
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.extraction import MISSING
from airflow_provider_apitask.core.json_values import exact
from airflow_provider_apitask.core.link_header import link_to
from airflow_provider_apitask.core.messages import DEFAULT_MAX_BYTES
from airflow_provider_apitask.core.next_request import next_request
from airflow_provider_apitask.core.pagination import Pagination, Paging
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move
from airflow_provider_apitask.core.urls import resolve

__all__ = ["take_page"]

#: Longest URL or cursor of a next page, characters: it is kept in the state of the call.
_LONGEST_PLACE = 64 * 1024
_NO = frozenset({"", "false", "no", "0", "none", "null", "n", "f"})


def take_page(call: Call, pagination: Pagination, api: Api, state: State, reading: Reading) -> Move:
    """Take what a page contributes, and go on with the next one or end.

    :raises ApiTaskError: where the page cannot be used, or a limit is reached.
    """
    before = Paging.of(state.paging, pagination) or Paging(style=pagination.style)
    items = _items(pagination, reading, first=not before.pages)
    now = replace(
        before,
        pages=before.pages + 1,
        items=before.items + len(items),
        bytes=before.bytes + len(reading.response.body),
    )
    place, why = _next_place(pagination, api, reading, now, len(items))
    limit, items, now = _within_limits(call, pagination, reading, now, before, items, more=place is not None)
    if limit is not None or place is None:
        return _last(call, state, reading, items, now, limit or why)
    now = replace(now, next=place, mark=_checked(pagination, reading, before, now, place))
    state = state.at(
        Phase.FETCH, paging=now.to_dict(), next_at=None, attempts=0, failing_since=None, intent_at=None
    )
    next_request(call, api, state)  # one that may not be asked is found while the page is at hand
    event = None
    if _is_notable(now.pages):
        told = f"{reading.shown} with page {now.pages}; {now.items} items so far, there are more."
        event = Event(EventKind.ANSWERED, told)
    return Move(state=state, event=event, answer=reading.response, page=items)


def _last(call: Call, state: State, reading: Reading, items: list[Any], now: Paging, why: str) -> Move:
    state = state.at(
        Phase.SUCCEEDED,
        paging=replace(now, next=None, mark="").to_dict(),
        next_at=None,
        attempts=0,
        failing_since=None,
    )
    told = f"{reading.shown} with page {now.pages}, the last ({why}): {now.items} items, {now.bytes} bytes."
    kind = EventKind.ANSWERED if call.mode is Mode.SYNC else EventKind.ENDED
    return Move(state=state, event=Event(kind, told), answer=reading.response, page=items)


# -- what a page has -----------------------------------------------------------------------------


def _items(pagination: Pagination, reading: Reading, *, first: bool) -> list[Any]:
    path = pagination.items
    if path is None:
        value = reading.value()
        return [] if value is None else value if isinstance(value, list) else [value]
    reading.require_json_if_said()
    found = items_in(reading, path)
    if found is MISSING:
        if first and pagination.missing_items == "fail":
            raise reading.error(
                "pagination.items",
                path,
                "matches nothing in the first page (missing_items='empty' takes that for an empty list)",
            )
        return []
    items: list[Any] = found if isinstance(found, list) else [found]
    return items


def _next_place(
    pagination: Pagination, api: Api, reading: Reading, now: Paging, count: int
) -> tuple[Any, str]:
    """URL, cursor, number or offset of the next page; None and why where there is none."""
    has_more = None
    if pagination.has_more is not None:
        has_more = _flag(find_in(reading, pagination.has_more))
        if not has_more:
            return None, f"{pagination.has_more} says so"
    for path, reached in ((pagination.total, now.items), (pagination.total_pages, now.pages)):
        total = _number(reading, path)
        if total is not None and reached >= total:
            return None, f"{path} is {total}"
    if pagination.page_param is not None or pagination.offset_param is not None:
        if not count:
            return None, "it is empty"
        return (pagination.first_page + now.pages if pagination.page_param else now.items), ""
    place = _cursor(pagination, reading) if pagination.cursor else _link(pagination, api, reading)
    if place is None and has_more:
        what = pagination.cursor or pagination.next_link or "the Link header"
        raise AnswerError(
            f"{reading.shown}: {pagination.has_more} says that there are more pages, but {what} does not "
            f"name the next one; {reading.excerpt}.",
            **reading.data,
            looked_for=what,
        )
    return place, "no next one is named"


def _link(pagination: Pagination, api: Api, reading: Reading) -> str | None:
    if pagination.next_link is not None:
        found = find_in(reading, pagination.next_link)
        name = f"pagination.next_link={pagination.next_link!r}"
    else:
        found = link_to(reading.response.headers.get_all("Link"), "next")
        name = "the Link header"
    if found is MISSING or not found:
        return None
    if not isinstance(found, str) or len(found) > _LONGEST_PLACE:
        raise _unusable(reading, name, "a URL")
    url = resolve(found, reading.response.url)
    # A server repeats what it was asked with; each request gets its credentials anew (rule 18).
    kept = api.redactor.link(url)
    if kept is None:
        shown = api.redactor.url(url)
        raise OriginError(
            f"The server gave {shown} as the next page, with a credential of the connection in its path. "
            "That would be stored, so it is not followed.",
            url=shown,
        )
    return kept


def _cursor(pagination: Pagination, reading: Reading) -> str | int | None:
    found = find_in(reading, str(pagination.cursor))
    if found is MISSING or found is None or found is False or found == "":
        return None
    if not isinstance(found, (str, int)) or found is True or len(str(found)) > _LONGEST_PLACE:
        raise _unusable(reading, f"pagination.cursor={pagination.cursor!r}", "a text or number")
    return found


def _unusable(reading: Reading, name: str, wanted: str) -> AnswerError:
    return AnswerError(
        f"{reading.shown}, but {name} is not {wanted} of at most {_LONGEST_PLACE} characters; "
        f"{reading.excerpt}.",
        **reading.data,
    )


def _flag(found: Any) -> bool:
    return found is not MISSING and (
        found.strip().lower() not in _NO if isinstance(found, str) else bool(found)
    )


def _number(reading: Reading, path: str | None) -> int | Decimal | None:
    found = find_in(reading, path) if path is not None else None
    if found is MISSING or found is None:
        return None  # some servers count on the first page alone
    number = exact(found, text=True)
    if number is None:
        raise reading.error("pagination", str(path), "is no number there")
    return number


# -- what may be too much ------------------------------------------------------------------------


def _within_limits(
    call: Call,
    pagination: Pagination,
    reading: Reading,
    now: Paging,
    before: Paging,
    items: list[Any],
    *,
    more: bool,
) -> tuple[str | None, list[Any], Paging]:
    """What of a page is taken, and the limit that ends the pages, None for none.

    :raises ResultTooLargeError: where a limit is to fail.
    """
    stops = pagination.on_limit == "stop"
    longest = pagination.max_bytes
    if longest is None and not call.stored:
        longest = call.max_response_bytes or DEFAULT_MAX_BYTES
    if longest is not None and now.bytes > longest:
        if stops:
            return f"max_bytes={longest}", [], replace(before, pages=before.pages)
        raise _too_large(reading, "max_bytes", longest, now)
    most = pagination.max_items
    if most is not None and (now.items > most or (stops and now.items == most and more)):
        if not stops:
            raise _too_large(reading, "max_items", most, now)
        taken = items[: most - before.items]
        return f"max_items={most}", taken, replace(now, items=before.items + len(taken))
    if more and now.pages >= pagination.max_pages:
        if stops:
            return f"max_pages={pagination.max_pages}", items, now
        raise _too_large(reading, "max_pages", pagination.max_pages, now)
    return None, items, now


def _too_large(reading: Reading, name: str, limit: int, now: Paging) -> ResultTooLargeError:
    return ResultTooLargeError(
        f"{reading.shown} with page {now.pages}, which makes {now.items} items and {now.bytes} bytes, and "
        f"there may be more: pagination.{name} is {limit}. Raise it, ask for less, store the result with "
        "output_path, or take what there is with pagination.on_limit='stop'.",
        **reading.data,
        limit=name,
        pages=now.pages,
        items=now.items,
    )


def _checked(pagination: Pagination, reading: Reading, before: Paging, now: Paging, place: Any) -> str:
    """Find circles with one remembered place (Brent): it is another one at each power of two.

    :returns: the digest to remember.
    :raises AnswerError: where the place was asked for before.
    """
    if pagination.style in ("page", "offset"):
        return ""  # they only grow
    digest = _digest(place)
    again = before.pages > 0 and place == before.next
    if pagination.follows_links and not before.pages:
        again = place == reading.response.url and reading.request.method == pagination.next_method
    if again or digest == before.mark:
        kind = "link" if pagination.follows_links else "cursor"
        shown = reading.redacted(str(place))
        raise AnswerError(
            f"{reading.shown} with page {now.pages}, whose next {kind} {shown!r} was asked for before: the "
            "pages would go on in a circle. The server does not know the parameter, or "
            f"pagination.{pagination.style} is not where the next {kind} is.",
            **reading.data,
            pages=now.pages,
            retryable=False,
        )
    return digest if _is_notable(now.pages) else before.mark


def _is_notable(pages: int) -> bool:
    """Whether it is a power of two."""
    return pages & (pages - 1) == 0


def _digest(place: Any) -> str:
    return hashlib.sha256(repr(place).encode("utf-8", "surrogatepass")).hexdigest()[:16]
