"""Bodies with files: described here, opened and read by the drivers.

The description can be sent any number of times: each sending opens the files anew.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.templating import placeholders
from airflow_provider_apitask.core.urls import wire_text

__all__ = ["FileRef", "Part", "Upload", "check_files", "encode_multipart", "is_file", "with_files"]

#: RFC 7578 §4.4: what is to be said of a file whose type nobody told.
_UNKNOWN_TYPE = "application/octet-stream"
_FILE_KEYS = ("path", "filename", "content_type")
_CONTENT_KEYS = ("content", "filename", "content_type")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that is sent.

    :param path: a path of this machine, a URL of an object storage such as ``s3://conn@bucket/key``,
        or an object with ``open(mode)``.
    :param filename: what the server is told; by default the end of the path.
    :param content_type: media type; by default none for a whole body, and
        ``application/octet-stream`` in a multipart one.
    """

    path: Any
    filename: str | None = None
    content_type: str | None = None

    @classmethod
    def read(cls, value: Any, parameter: str) -> Self:
        """Read what an author wrote: ``{"path": …, "filename": …, "content_type": …}``, or a path object.

        :raises ParameterError: naming what is wrong.
        """
        if not isinstance(value, Mapping):
            return cls(value)
        checks.known_keys(value, parameter, _FILE_KEYS)
        path = value["path"]
        if not isinstance(path, str) and not _is_path_object(path) and not checks.is_open(path):
            raise ParameterError(
                f"{parameter}.path must be a path or a URL, not {type(path).__name__}.", parameter=parameter
            )
        if isinstance(path, str) and (not path or next(placeholders(path), None)):
            why = (
                "is empty"
                if not path
                else f"is {checks.shown(path)}: a server cannot choose which file is sent"
            )
            raise ParameterError(f"{parameter}.path {why}.", parameter=parameter)
        return cls(path, _label(value, "filename", parameter), _label(value, "content_type", parameter))

    @property
    def name(self) -> str:
        """What the server is told that the file is called."""
        return self.filename or posixpath.basename(str(self.path).replace(os.sep, "/"))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart body: its header with the empty line after it, and its content."""

    head: bytes
    content: bytes | FileRef


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is put together while it is sent.

    :param parts: of a multipart body; or a single one that is all of the body.
    """

    parts: tuple[Part, ...]
    is_multipart: bool = True

    @classmethod
    def of_file(cls, file: FileRef) -> Self:
        """A body that is one file."""
        return cls((Part(b"", file),), is_multipart=False)

    def pieces(self, boundary: str) -> list[bytes | FileRef]:
        """The body in order (RFC 2046 §5.1.1).

        :param boundary: a text that stands nowhere in the parts.
        """
        if not self.is_multipart:
            return [part.content for part in self.parts]
        found: list[bytes | FileRef] = []
        for part in self.parts:
            found += [f"--{boundary}\r\n".encode() + part.head, part.content, b"\r\n"]
        return [*found, f"--{boundary}--\r\n".encode()]


def is_file(value: Any) -> bool:
    """Whether an author means a file by a value of a body."""
    return _is_path_object(value) or (isinstance(value, Mapping) and "path" in value)


def check_files(body: Any, body_format: str, parameter: str) -> None:
    """Check the files of a body as far as they are known.

    :raises ParameterError: naming what is wrong.
    """
    if checks.is_open(body) and not _is_path_object(body):
        return
    if body_format == "multipart" and body is not None and not isinstance(body, Mapping):
        raise ParameterError(
            f"{parameter} must be a dict with body_format='multipart', not {type(body).__name__}: names with "
            "values, and files as {'path': …}.",
            parameter=parameter,
        )
    with_files(body, body_format, parameter)


def with_files(body: Any, body_format: str, parameter: str = "body") -> Any:
    """The body with each file that its author named as a :class:`FileRef`.

    To be done before placeholders are filled in: what a server answered is never taken as the name of a
    file on this side. What templates give has passed ``core.written``.

    :raises ParameterError: naming what is wrong.
    """
    if body_format == "raw":
        return FileRef.read(body, parameter) if is_file(body) else body
    if body_format != "multipart" or not isinstance(body, Mapping):
        return body

    def marked(name: Any, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [marked(name, item) for item in value]
        where = f"{parameter}[{name!r}]"
        if isinstance(value, Mapping):
            _refuse_mixed(value, where)
        return FileRef.read(value, where) if is_file(value) else value

    return {name: marked(name, value) for name, value in body.items()}


def _refuse_mixed(value: Mapping[Any, Any], parameter: str) -> None:
    """Refuse a dict that describes a part, or names a file, and has other keys besides.

    :raises ParameterError: naming the keys and the remedy.
    """
    allowed = _FILE_KEYS if "path" in value else _CONTENT_KEYS
    described = [key for key in value if key in allowed]
    others = [checks.shown(key) for key in value if key not in allowed]
    if described and others:
        raise ParameterError(
            f"{parameter} has {described[0]!r}, which describes a part of the body, besides "
            f"{', '.join(others[:5])}: to send the dict as JSON, write {{'content': {{…}}}}.",
            parameter=parameter,
        )


def encode_multipart(body: Any, json_text: Callable[[Any], str]) -> Upload:
    """A dict as ``multipart/form-data`` (RFC 7578).

    A list repeats its name, None is left out. A value is text, a file, ``{"content": …}`` with the name and
    type that the part is to have, or another dict, which is a part of JSON. Content that is a dict or list
    is JSON, too.

    :param json_text: writes JSON.
    :raises ParameterError: where a value cannot be written.
    """
    if not isinstance(body, Mapping):
        raise ParameterError(
            f"body must be a dict with body_format='multipart', not {type(body).__name__}.", parameter="body"
        )
    return Upload(
        tuple(
            _part(str(name), item, json_text)
            for name, value in body.items()
            for item in (value if isinstance(value, (list, tuple)) else (value,))
            if item is not None
        )
    )


def _part(name: str, value: Any, json_text: Callable[[Any], str]) -> Part:
    try:
        if isinstance(value, FileRef):
            return Part(_head(name, value.name, value.content_type or _UNKNOWN_TYPE), value)
        if not isinstance(value, Mapping):
            return Part(_head(name, None, None), _bytes(value))
        where = f"body[{name!r}]"
        if not set(value) & {*_FILE_KEYS, *_CONTENT_KEYS}:
            value = {"content": value}
        checks.known_keys(value, where, _CONTENT_KEYS)
        with checks.rendered():  # nothing renders a label any more: a server may have given it
            content_type, filename = (_label(value, key, where) for key in ("content_type", "filename"))
        content = value.get("content")
        if isinstance(content, (Mapping, list, tuple)):
            content, content_type = json_text(content), content_type or "application/json"
        return Part(_head(name, filename, content_type), _bytes(content if content is not None else ""))
    except (TypeError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"body[{name!r}] cannot be written: {error}.", parameter="body") from None


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else wire_text(value).encode()


def _head(name: str, filename: str | None, content_type: str | None) -> bytes:
    # Not its encoder: that holds whole files in memory. The names are what is easily done wrong.
    from urllib3.fields import RequestField

    field = RequestField(name, b"", filename=filename)
    field.make_multipart(content_type=content_type)
    return field.render_headers().encode()


def _label(value: Mapping[str, Any], key: str, parameter: str) -> str | None:
    """A file name or media type; it may not end the header line that it goes into."""
    text = value.get(key)
    if text is None or checks.is_open(text) or (isinstance(text, str) and not _CONTROL.search(text)):
        return text
    raise ParameterError(
        f"{parameter}.{key} must be text without control characters, not {checks.shown(text)}.",
        parameter=parameter,
    )


def _is_path_object(value: Any) -> bool:
    """Whether a value is a ``Path`` or an ``ObjectStoragePath``, which are told by what they can do."""
    return hasattr(value, "open") and hasattr(value, "parent")
