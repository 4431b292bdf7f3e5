"""The request for one page of a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.pagination import Pagination, Paging
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.templating import Lookup
from airflow_provider_apitask.core.urls import add_query

__all__ = ["page_request", "without_body"]


def page_request(
    pagination: Pagination,
    paging: Paging | None,
    build: Callable[..., Request],
    spec: RequestSpec,
    purpose: Purpose,
    *,
    url: str | None = None,
    lookup: Lookup | None = None,
) -> Request:
    """Build the request for one page.

    :param paging: how far the pages have been read; None for the first.
    :param build: :meth:`Api.build` with what all requests of the call share.
    :param spec: the request that got the first page.
    :param url: asked where ``spec`` has no endpoint.
    :param lookup: gives the values of ``{path}`` placeholders; None leaves braces as they are.
    :raises ApiTaskError: as :meth:`Api.build`.
    """
    if paging is not None and pagination.follows_links:
        if pagination.next_method == "GET":
            spec = without_body(spec)
        spec = replace(spec, method=pagination.next_method, endpoint=None, params=None)
        return build(spec, Purpose.RESULT, url=paging.next, lookup=lookup)
    sent = pagination.parameters(paging.next if paging is not None else None)
    if pagination.send_in == "query":
        request = build(spec, purpose, url=url, lookup=lookup)
        return replace(request, url=_with_query(request.url, sent)) if sent else request
    if not sent:
        return build(spec, purpose, url=url, lookup=lookup)
    if lookup is None:
        return build(_with_body(spec, sent), purpose, url=url)
    # By placeholders of their own, so that braces in a cursor of the server stay what they are.
    own = {f"@page.{name}": value for name, value in sent.items()}
    spec = _with_body(spec, {name: f"{{@page.{name}}}" for name in sent})
    return build(spec, purpose, url=url, lookup=lambda path: own[path] if path in own else lookup(path))


def without_body(spec: RequestSpec) -> RequestSpec:
    """A GET with the author's header fields, less those that described the body (RFC 9110 §15.4.4)."""
    given = spec.headers if isinstance(spec.headers, Mapping) else {}
    kept = {name: value for name, value in given.items() if not name.lower().startswith("content-")}
    return RequestSpec(headers=kept, timeout=spec.timeout)


def _with_query(url: str, params: Mapping[str, Any]) -> str:
    """The URL with these parameters in place of those of the same names."""
    parts = urlsplit(url)
    pairs = (pair for pair in parts.query.split("&") if pair)
    kept = "&".join(pair for pair in pairs if unquote_plus(pair.partition("=")[0]) not in params)
    return add_query(urlunsplit(parts._replace(query=kept)), params)


def _with_body(spec: RequestSpec, values: Mapping[str, Any]) -> RequestSpec:
    body: Any = {} if spec.body is None else spec.body
    for name, value in values.items():
        body = _with_field(body, name.split("."), value)
    return replace(spec, body=body)


def _with_field(body: Any, names: list[str], value: Any) -> dict[Any, Any]:
    if not isinstance(body, Mapping):
        raise ParameterError(
            f"pagination.send_in='body' needs a body that is a dict, and it is a {type(body).__name__}.",
            parameter="pagination.send_in",
        )
    first, *rest = names
    inner = _with_field(body.get(first) or {}, rest, value) if rest else value
    return {**body, first: inner}
