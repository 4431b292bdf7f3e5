"""How the pages of a result follow each other, as an author declares it, and how far they have been read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path
from airflow_provider_apitask.core.kinds import Count
from airflow_provider_apitask.core.value_object import ValueObject, compile_paths

__all__ = ["DEFAULT_MAX_PAGES", "Pagination", "Paging"]

#: Pages that are read at most where the author sets no bound: a server may give a next one for ever.
DEFAULT_MAX_PAGES = 1000

#: The ways to the next page, by the field that asks for each.
_STYLES = {
    "next_link": "next_link",
    "link_header": "link_header",
    "cursor": "cursor",
    "page_param": "page",
    "offset_param": "offset",
}
_PATHS = ("items", "next_link", "cursor", "has_more", "total", "total_pages")
_NAMES = ("cursor_param", "page_param", "offset_param", "limit_param")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Pagination(ValueObject):
    """How a result comes in pages.

    One way to the next page is given: ``next_link``, ``link_header``, ``cursor``, ``page_param`` or
    ``offset_param``.

    :param items: path of what a page contributes, mostly a list; by default the whole page. Lists are
        joined, anything else is one item.
    :param missing_items: ``fail`` where the first page has nothing at ``items``, or ``empty``: that is
        how some APIs write an empty list.
    :param next_link: path of the next page's URL in the body; relative ones resolve against the page's
        own. Absent, null or empty on the last page.
    :param link_header: True: the URL is in the ``Link`` header with ``rel=next`` (RFC 8288).
    :param next_method: how such a URL is asked: ``GET``, or ``POST`` with the body of the first request.
    :param cursor: path of what names the next page; absent, null or empty on the last.
    :param cursor_param: parameter that carries it.
    :param page_param: parameter that carries the number of the page.
    :param first_page: number of the first page, 1 by default.
    :param offset_param: parameter that carries the number of the items before the page.
    :param limit_param: parameter that carries ``limit``.
    :param limit: items that the server is asked to put on a page.
    :param send_in: where these parameters are: ``query``, or ``body`` with their names as dotted paths.
    :param has_more: path of a flag; false, null or absent ends the pages.
    :param total: path of the number of all items; that many end the pages.
    :param total_pages: path of the number of all pages.
    :param max_pages: pages that are read at most, 1000 by default.
    :param max_items: items that are taken at most; no bound by default.
    :param max_bytes: bytes of all pages together; by default ``max_response_bytes`` (32 MiB), and no
        bound where the result goes to ``output_path``.
    :param on_limit: what a limit does: ``fail``, or ``stop`` with what there is.

    Without ``has_more``, ``total`` and ``total_pages``, page numbers and offsets end at an empty page.
    """

    _parameter: ClassVar[str] = "pagination"

    items: str | None = None
    missing_items: str = "fail"
    next_link: str | None = None
    link_header: bool = False
    next_method: str = "GET"
    cursor: str | None = None
    cursor_param: str | None = None
    page_param: str | None = None
    first_page: Count = 1
    offset_param: str | None = None
    limit_param: str | None = None
    limit: Count = None
    send_in: str = "query"
    has_more: str | None = None
    total: str | None = None
    total_pages: str | None = None
    max_pages: Count = DEFAULT_MAX_PAGES
    max_items: Count = None
    max_bytes: Count = None
    on_limit: str = "fail"

    def __post_init__(self) -> None:
        """Check every field; those that Jinja still has to render are checked when the task runs."""
        self._take_defaults()
        normal: dict[str, Any] = {
            "missing_items": checks.choice(self.missing_items, "pagination.missing_items", ("fail", "empty")),
            "link_header": checks.flag(self.link_header, "pagination.link_header"),
            "next_method": _method(self.next_method),
            "send_in": checks.choice(self.send_in, "pagination.send_in", ("query", "body")),
            "on_limit": checks.choice(self.on_limit, "pagination.on_limit", ("fail", "stop")),
            "first_page": checks.number(self.first_page, "pagination.first_page", whole=True),
        }
        for name in ("limit", "max_pages", "max_items", "max_bytes"):
            value = getattr(self, name)
            normal[name] = checks.number(value, f"pagination.{name}", minimum=1, whole=True)
        for name in _NAMES:
            _check_name(getattr(self, name), f"pagination.{name}")
        for name, path in self._named_paths():
            if not checks.is_open(path):
                check_path(path, name)
        self._set(normal)
        self._check_style()

    def compiled(self) -> Self:
        """Compile every path, so that a wrong one fails before anything is sent.

        :raises ParameterError: naming the field.
        """
        compile_paths(self._named_paths())
        return self

    @property
    def style(self) -> str:
        """The way to the next page: ``next_link``, ``link_header``, ``cursor``, ``page`` or ``offset``."""
        return self._styles()[0]

    @property
    def follows_links(self) -> bool:
        """Whether the server gives the URL of the next page."""
        return self.style in ("next_link", "link_header")

    def parameters(self, position: Any) -> dict[str, Any]:
        """What is sent to ask for one page.

        :param position: cursor, page number or offset; None for the first page.
        """
        sent: dict[str, Any] = {}
        if self.limit_param is not None and self.limit is not None:
            sent[self.limit_param] = self.limit
        if self.cursor_param is not None and position is not None:
            sent[self.cursor_param] = position
        if self.page_param is not None:
            sent[self.page_param] = self.first_page if position is None else position
        if self.offset_param is not None:
            sent[self.offset_param] = 0 if position is None else position
        return sent

    def _styles(self) -> list[str]:
        return [style for name, style in _STYLES.items() if getattr(self, name)]

    def _check_style(self) -> None:
        given = self._styles()
        if len(given) != 1:
            which = f"not both {' and '.join(given)}" if given else "none is given"
            raise ParameterError(
                f"pagination needs one way to the next page: {', '.join(_STYLES)}; {which}.",
                parameter="pagination",
            )
        if (self.cursor is None) != (self.cursor_param is None):
            raise ParameterError(
                "pagination.cursor is the path of the cursor in an answer, pagination.cursor_param the "
                "parameter that carries it in the next request: both are needed.",
                parameter="pagination.cursor_param",
            )
        if (self.limit is None) != (self.limit_param is None):
            raise ParameterError(
                "pagination.limit is sent as pagination.limit_param: both are needed.",
                parameter="pagination.limit_param",
            )
        if self.next_method != "GET" and not self.follows_links:
            raise ParameterError(
                "pagination.next_method is for next_link and link_header; other pages are asked for as the "
                "first was.",
                parameter="pagination.next_method",
            )

    def _named_paths(self) -> Iterator[tuple[str, Any]]:
        for name in _PATHS:
            if (path := getattr(self, name)) is not None:
                yield f"pagination.{name}", path


def _method(value: Any) -> Any:
    upper = value.upper() if isinstance(value, str) and not checks.is_open(value) else value
    return checks.choice(upper, "pagination.next_method", ("GET", "POST"))


def _check_name(value: Any, parameter: str) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ParameterError(
            f"{parameter} must be the name of a parameter, not {checks.shown(value)}.", parameter=parameter
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """How far the pages of a result have been read: small, whatever they hold.

    :param style: see :attr:`Pagination.style`.
    :param next: URL, cursor, page number or offset that is asked for next; None after the last page.
    :param pages: pages that were read.
    :param items: items that they had.
    :param bytes: length of their bodies.
    :param mark: one of the earlier values of ``next``, as a digest: circles are found with it.
    """

    style: str
    next: Any = None
    pages: int = 0
    items: int = 0
    bytes: int = 0
    mark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, record: Any, pagination: Pagination | None) -> Self | None:
        """Read it from a state; None where there is none that fits."""
        if pagination is None or not isinstance(record, Mapping) or record.get("style") != pagination.style:
            return None
        counts = [record.get(name) for name in ("pages", "items", "bytes")]
        place, mark = record.get("next"), record.get("mark")
        kinds = (int,) if pagination.style in ("page", "offset") else (str, int)
        if not isinstance(place, kinds) or not isinstance(mark, str):
            return None
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            return None
        return cls(style=pagination.style, next=place, mark=mark, **{n: record[n] for n in _COUNTS})


_COUNTS = ("pages", "items", "bytes")
