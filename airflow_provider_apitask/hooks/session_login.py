"""From the fields of a connection to a session login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_apitask.core.auth import SessionAuth, SessionSettings
from airflow_provider_apitask.core.csrf_token import CsrfSettings
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Timeout
from airflow_provider_apitask.core.request_body import encode_body
from airflow_provider_apitask.core.templating import expand, placeholders
from airflow_provider_apitask.hooks.fields import Fields

__all__ = ["read_csrf", "read_session"]

_WHY = "auth_type 'session'"
_PATHS = ("session_path", "session_base_url_path", "session_lifetime_path")


def read_csrf(fields: Fields) -> CsrfSettings:
    """Read how the API hands out CSRF tokens."""
    header = fields.header_name("csrf_header", CsrfSettings().header)
    return CsrfSettings(header=header, cookie=fields.text("csrf_cookie") or None)


def read_session(
    fields: Fields, url: Callable[[str, str], str], timeout: Timeout, **living: Any
) -> SessionAuth:
    """Read a session login.

    :param url: reads the URL in a field, given its name and what needs it.
    :param timeout: seconds (connect, read) of a login.
    :param living: what :class:`SessionAuth` takes besides its settings.
    :raises ConnectionFieldError: naming the field that is missing or wrong.
    """
    for name in _PATHS:
        _check_path(fields, name)
    csrf_url = url("session_csrf_endpoint", _WHY) if fields.text("session_csrf_endpoint") else None
    body = fields.mapping("session_body", secret=True) or {"username": "{login}", "password": "{password}"}
    encoded = _encoder(fields, body, with_csrf_token=csrf_url is not None)
    content, content_type = encoded("")
    headers = Headers([("Accept", "application/json" if csrf_url is None else "application/json, */*")])
    request = Request(
        Purpose.LOGIN,
        fields.choice("session_method", ("POST", "PUT", "GET"), "POST"),
        url("session_endpoint", _WHY),
        headers=headers.merged([("Content-Type", content_type)]) if content_type else headers,
        body=content,
        timeout=timeout,
    )
    template = fields.text("session_template", "Bearer {token}")
    if "{token}" not in template:
        raise fields.error("session_template", "must contain {token}, which stands for the token")
    settings = SessionSettings(
        request=request,
        token_path=fields.needed("session_path", _WHY),
        header=fields.header_name("session_header", "Authorization"),
        template=template,
        lifetime=fields.number("session_lifetime"),
        lifetime_path=fields.text("session_lifetime_path") or None,
        base_url_path=fields.text("session_base_url_path") or None,
        csrf=read_csrf(fields),
        csrf_url=csrf_url,
        csrf_field=next((name for name, value in body.items() if value == "{csrf_token}"), None),
        body_with=lambda csrf_token: encoded(csrf_token)[0],
        secrets=(fields.conn.password or "", *_literals(body)),
    )
    return SessionAuth(settings, **living)


def _encoder(
    fields: Fields, body: dict[str, Any], *, with_csrf_token: bool
) -> Callable[[str], tuple[Any, str | None]]:
    """Return what makes the login body and its media type from a CSRF token."""
    body_format = fields.choice("session_body_format", ("json", "form"), "json")
    conn, named = fields.conn, set(placeholders(body))
    login = {"login": conn.login or "", "password": conn.password or ""}
    if "login" in named:
        fields.needed("login", _WHY, login["login"])
    if "csrf_token" in named and not with_csrf_token:
        raise fields.error("session_csrf_endpoint", "is empty, and {csrf_token} in session_body needs it")

    def encoded(csrf_token: str) -> tuple[Any, str | None]:
        values = {**login, "csrf_token": csrf_token}
        try:
            return encode_body(expand(body, lambda path: values.get(path, f"{{{path}}}")), body_format)
        except ParameterError as error:
            raise fields.error("session_body", f"cannot be sent ({error.message.rstrip('.')})") from None

    return encoded


def _check_path(fields: Fields, name: str) -> None:
    try:
        if path := fields.text(name):
            check_path(path, name)
    except ParameterError as error:
        raise fields.error(name, f"is not a valid path ({error.message.rstrip('.')})") from None


def _literals(value: Any) -> Iterator[str]:
    """Yield the texts of a login body that are not placeholders."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _literals(item)
    elif value is not None and not any(placeholders(value)):
        yield str(value)
