"""Places where a result is written before it has its name: a file, or an object of a storage."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import unquote, urlsplit

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.redaction import Redactor

__all__ = ["Place", "place_of"]


def place_of(path: str, unique: str) -> Place:
    """Return where a path or URL says that something is to be stored.

    :param unique: tells this task instance from others that write to the same place, and is the same
        for all its tries.
    :raises ParameterError: if it cannot be the path of a file.
    """
    scheme = urlsplit(path).scheme if "://" in path else ""
    name = path.rpartition("/")[2]
    if not name or name in (".", "..") or "\0" in path:
        raise ParameterError(
            f"output_path must name a file, and {checks.shown(path)} names none: a name must follow the last "
            "slash.",
            parameter="output_path",
        )
    if scheme in ("", "file", "local"):
        return _File(Path(unquote(urlsplit(path).path) if scheme else path), unique)
    try:
        return _Object(path, unique)
    except Exception as error:  # noqa: BLE001 - whatever fsspec or a connection raises
        raise ParameterError(
            f"output_path: there is no storage for {scheme}:// ({Redactor().line(str(error))}); its "
            "provider, such as apache-airflow-providers-amazon[s3fs] for s3, may not be installed.",
            parameter="output_path",
        ) from None


class Place(Protocol):
    """Where something is written before it has its name."""

    #: Whether what is written of pages is there for the next try.
    resumable: bool

    def open(self) -> BinaryIO:
        """Open an empty part; what earlier tries have left is removed."""
        ...

    def reopen(self) -> BinaryIO | None:
        """Open the part that an earlier try has left, None if there is nothing."""
        ...

    def commit(self) -> None:
        """Give the part its name."""
        ...

    def remove(self) -> None:
        """Remove the part."""
        ...


class _File:
    """A file of this machine; ``os.replace`` puts it in place in one step.

    Others may write to its folder: the part has a random name, and neither a link nor a file of another user
    is opened or replaced.
    """

    resumable = True

    def __init__(self, path: Path, unique: str) -> None:
        self._path = path
        self._prefix = f".{path.name}.{unique}."
        self._part: Path | None = None
        self._check()

    def open(self) -> BinaryIO:
        if not self._path.parent.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
        for left in self._left():
            left.unlink(missing_ok=True)
        self._part = self._path.with_name(f"{self._prefix}{secrets.token_hex(8)}.part")
        return os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600), "wb")

    def reopen(self) -> BinaryIO | None:
        for left in self._left():
            file = os.fdopen(os.open(left, os.O_RDWR | _SAFELY), "r+b")
            if _is_own(os.fstat(file.fileno())):
                self._part = left
                return file
            file.close()
        return None

    def commit(self) -> None:
        if self._part is None:
            raise RuntimeError("nothing was written")
        self._check()
        self._part.replace(self._path)

    def remove(self) -> None:
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def _left(self) -> list[Path]:
        """Return what earlier tries of this task instance have left, the newest first."""
        parts = self._path.parent.glob(f"{glob.escape(self._prefix)}*.part")
        found = [(part.lstat(), part) for part in parts]
        own = [(status.st_mtime_ns, part) for status, part in found if _is_own(status)]
        return [part for _, part in sorted(own, reverse=True)]

    def _check(self) -> None:
        """Refuse to replace anything but a regular file: a device, for example, would be gone.

        :raises ParameterError: naming what is there.
        """
        try:
            mode = self._path.lstat().st_mode
        except OSError:
            return  # not there; whether it can be written shows when it is
        if not stat.S_ISREG(mode):
            kind = next((name for test, name in _KINDS.items() if test(mode)), "not a regular file")
            raise ParameterError(
                f"output_path: {self._path} is {kind}, and only a regular file is replaced. Name a new file, "
                "or remove what is there.",
                parameter="output_path",
            )


#: Never through a link, nor waiting for the other end of a FIFO.
_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KINDS: dict[Callable[[int], bool], str] = {
    stat.S_ISDIR: "a directory",
    stat.S_ISLNK: "a symbolic link",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def _is_own(status: os.stat_result) -> bool:
    """Whether a file is a regular one that this user made, with no other name."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1


class _Object:
    """An object of a storage: written beside the target, then moved within the storage."""

    resumable = False

    def __init__(self, url: str, unique: str) -> None:
        from airflow.sdk import ObjectStoragePath

        self._path = ObjectStoragePath(url)
        self._part: Any = self._path.with_name(f".{self._path.name}.{unique}.part")

    def open(self) -> BinaryIO:
        return cast("BinaryIO", self._part.open("wb"))

    def reopen(self) -> BinaryIO | None:
        return None

    def commit(self) -> None:
        # Both are in one storage. Not Path.rename, which refuses a target that is there already.
        self._path.fs.mv(self._part.path, self._path.path)

    def remove(self) -> None:
        if self._part.exists():
            self._part.unlink()
