"""Sending a body with files: opened when it is sent, read piece by piece, closed after it."""

from __future__ import annotations

import io
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeAlias

from airflow_provider_apitask.core.messages import Failure, Headers, Request
from airflow_provider_apitask.core.uploads import FileRef, Upload
from airflow_provider_apitask.drivers.wire import UnusableError, wire_headers

__all__ = ["FileOpener", "OpenUpload", "open_local", "open_upload"]

#: Opens what a :class:`FileRef` names, for reading bytes; it must be able to ``seek``. Any exception will do.
FileOpener: TypeAlias = Callable[[Any], BinaryIO]

_BOUNDARY = re.compile(r"""\s*;\s*boundary\s*=\s*("[^"]*"|[^;]*)""", re.IGNORECASE)


def open_local(path: Any) -> BinaryIO:
    """Open a file of this machine.

    :raises OSError: where there is none, or something without a length of its own, such as a pipe.
    """
    found = Path(path)
    if not stat.S_ISREG(found.stat().st_mode):
        raise OSError("it is no regular file")
    return found.open("rb")


def open_upload(request: Request, opener: FileOpener) -> OpenUpload | None:
    """Open the files of a request; None where its body is plain bytes.

    :raises UnusableError: where a file cannot be opened, or has no length.
    """
    return OpenUpload(request.body, opener) if isinstance(request.body, Upload) else None


class OpenUpload:
    """A body that is read like a file, with its files open: a context manager that closes them.

    :param opener: opens what is named by a :class:`FileRef`.
    """

    def __init__(self, upload: Upload, opener: FileOpener) -> None:
        # Not to be guessed: whoever knew it could write parts of his own into a file.
        self.boundary = secrets.token_hex(20) if upload.is_multipart else None
        self._pieces: list[tuple[Any, BinaryIO, int]] = []
        try:
            for piece in upload.pieces(self.boundary or ""):
                self._pieces.append(_opened(piece, opener))
        except BaseException:
            self.close()
            raise
        self.size = sum(size for _, _, size in self._pieces)
        self._current, self._left, self._position = 0, self._length(0), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def headers(self, request: Request) -> Headers:
        """The header fields to send: the length, and the Content-Type with the boundary of this sending."""
        given = request.headers.get("Content-Type")
        if given and self.boundary:
            request = request.with_headers(
                ("Content-Type", f"{_BOUNDARY.sub('', given)}; boundary={self.boundary}")
            )
        return wire_headers(request, self.size)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``; empty at the end.

        :raises UnusableError: where a file cannot be read, or is shorter than it was.
        """
        while self._current < len(self._pieces):
            if not self._left:
                self._current += 1
                self._left = self._length(self._current)
                continue
            name, stream, _ = self._pieces[self._current]
            data = _guarded(name, stream.read, self._left if size < 0 else min(size, self._left))
            if not data:
                raise UnusableError(Failure.BODY, f"{name}: it has become shorter while it was sent")
            self._left -= len(data)
            self._position += len(data)
            return bytes(data)
        return b""

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go back to the start, as libraries do to send a body once more.

        :raises OSError: for any other place.
        """
        if (offset, whence) != (0, io.SEEK_SET):
            raise OSError("a body can be sent from its start alone")
        for name, stream, _ in self._pieces:
            _guarded(name, stream.seek, 0)
        self._current, self._left, self._position = 0, self._length(0), 0
        return 0

    def close(self) -> None:
        """Close the files."""
        for _, stream, _ in self._pieces:
            stream.close()

    def _length(self, index: int) -> int:
        return self._pieces[index][2] if index < len(self._pieces) else 0


def _opened(piece: bytes | FileRef, opener: FileOpener) -> tuple[Any, BinaryIO, int]:
    if isinstance(piece, bytes):
        return "", io.BytesIO(piece), len(piece)
    stream = _guarded(piece.path, opener, piece.path)
    try:
        size = _guarded(piece.path, stream.seek, 0, io.SEEK_END)
        _guarded(piece.path, stream.seek, 0)
    except BaseException:
        stream.close()
        raise
    return piece.path, stream, size


def _guarded(name: Any, action: Callable[..., Any], *args: Any) -> Any:
    """Do something with a file: what a storage raises is of any type, and no error of the network."""
    try:
        return action(*args)
    except UnusableError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnusableError(Failure.BODY, f"{name}: {why or type(error).__name__}") from None
