"""Reading the fields of a connection, each complaint naming connection and field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from airflow_provider_apitask.core.errors import ConnectionFieldError, ParameterError
from airflow_provider_apitask.core.request_spec import RequestSpec

__all__ = ["ConnectionLike", "Fields", "field_error", "fingerprint", "truth"]

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


class ConnectionLike(Protocol):
    """The fields of an Airflow connection that are read, alike in all versions."""

    @property
    def conn_id(self) -> str: ...  # noqa: D102 - Airflow's own names, here and below
    @property
    def conn_type(self) -> str | None: ...  # noqa: D102
    @property
    def host(self) -> str | None: ...  # noqa: D102
    @property
    def schema(self) -> str | None: ...  # noqa: D102
    @property
    def login(self) -> str | None: ...  # noqa: D102
    @property
    def password(self) -> str | None: ...  # noqa: D102
    @property
    def port(self) -> int | None: ...  # noqa: D102
    @property
    def extra_dejson(self) -> dict[str, Any]: ...  # noqa: D102


def field_error(conn: ConnectionLike, name: str, what: str) -> ConnectionFieldError:
    """The error of one field of a connection."""
    return ConnectionFieldError(
        f"The connection {conn.conn_id!r} cannot be used: its field {name} {what}.",
        conn_id=conn.conn_id,
        field=name,
    )


def fingerprint(conn: ConnectionLike) -> tuple[object, ...]:
    """Return what differs if any field of the connection has changed."""
    extra = sorted((str(name), repr(value)) for name, value in (conn.extra_dejson or {}).items())
    return (conn.conn_type, conn.host, conn.schema, conn.port, conn.login, conn.password, *extra)


def truth(value: Any) -> bool | None:
    """What a flag in Extra says, which is text in a connection given as URI; None for neither."""
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


class Fields:
    """The fields in Extra of one connection. The form stores null and empty text for what is left out."""

    def __init__(self, conn: ConnectionLike) -> None:
        self.conn = conn
        self._extra: dict[str, Any] = dict(conn.extra_dejson or {})

    def names(self) -> set[str]:
        """The fields that hold something."""
        return {name for name, value in self._extra.items() if value not in (None, "", [], {})}

    def error(self, name: str, what: str) -> ConnectionFieldError:
        """The error of a field.

        :param what: completes the sentence that begins with its name.
        """
        return field_error(self.conn, name, what)

    def text(self, name: str, default: str = "") -> str:
        """A text, without the white space around it that copying leaves."""
        value = self._extra.get(name)
        return default if value in (None, "") else str(value).strip()

    def needed(self, name: str, why: str, value: str | None = None) -> str:
        """A text that must be there.

        :param why: who needs it, such as ``auth_type 'bearer'``.
        :param value: of a field that is not in Extra.
        """
        found = self.text(name) if value is None else value
        if not found:
            raise self.error(name, f"is empty, and {why} needs it")
        return found

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self.text(name, default)
        if value not in allowed:
            raise self.error(name, f"is {value!r}; it must be one of {', '.join(allowed)}")
        return value

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """True or false; a URI of a connection has only texts for them."""
        value = self._extra.get(name)
        if value is None or value == "":
            return default
        found = truth(value)
        if found is None:
            raise self.error(name, f"is {value!r}; it must be true or false")
        return found

    def number(self, name: str) -> float | None:
        """A number above 0."""
        value = self._extra.get(name)
        if value is None or value == "":
            return None
        try:
            found = 0.0 if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            found = 0.0
        if not 0 < found < float("inf"):
            raise self.error(name, f"is {value!r}; it must be a number above 0")
        return found

    def mapping(self, name: str, *, secret: bool = False) -> dict[str, Any]:
        """A JSON object, as such or as text."""
        value = self._extra.get(name)
        if isinstance(value, str) and value.strip():
            try:
                value = json.loads(value)
            except ValueError:
                value = None if not value else []
        if value is None or value == "":
            return {}
        if not isinstance(value, Mapping):
            shown = "" if secret else f", not {value!r}"
            raise self.error(name, f'must be a JSON object such as {{"name": "value"}}{shown}')
        return {str(key): item for key, item in value.items()}

    def header_name(self, name: str, default: str) -> str:
        """The name of a header that may be set."""
        value = self.text(name, default)
        self.check_headers(name, {value: ""})
        return value

    def check_headers(self, name: str, headers: Mapping[str, Any]) -> None:
        """Refuse headers that cannot be sent; their values are not shown."""
        try:
            RequestSpec(headers=headers).checked()
        except ParameterError as error:
            raise self.error(name, f"cannot be sent ({error.message.rstrip('.')})") from None

    def items(self, name: str) -> list[str]:
        """A list of texts: a JSON array, or text with commas or line breaks."""
        value = self._extra.get(name)
        if value is None:
            return []
        if isinstance(value, str):
            value = value.replace("\n", ",").split(",")
        if not isinstance(value, (list, tuple)):
            value = [value]
        return [text for item in value if (text := str(item).strip())]
