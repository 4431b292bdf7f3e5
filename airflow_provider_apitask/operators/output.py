"""Writing a result where ``output_path`` says: to a file, or to any storage that Airflow reaches.

It is written under another name beside the target, and gets its own name when it is whole: nobody ever
sees a part of it. What is left of one that failed is removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from airflow_provider_apitask.core.bodies import is_binary
from airflow_provider_apitask.core.errors import (
    AnswerError,
    ResultTooLargeError,
    StorageError,
)
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.operators.places import place_of
from airflow_provider_apitask.triggers.handover import for_xcom

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.call import Call
    from airflow_provider_apitask.operators.run import CallRun

__all__ = ["Output", "output_of", "refuse_binary", "within_xcom"]

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
#: Read at a time of what an earlier try has written, bytes.
_BLOCK = 1024 * 1024
#: IANA has no type for lines of JSON; this one is understood the most.
_JSONL_TYPE = "application/x-ndjson"
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class Output:
    """The result of one call on its way to a storage; also the sink of its answer.

    :param path: a local path, a ``file://`` URL, or one of ``ObjectStoragePath``.
    :param limit: bytes that are taken at most; None for any number.
    :param unique: tells this task instance from others that write to the same place, and is the same
        for all its tries.
    :raises ParameterError: where the path cannot be one of a file.
    """

    def __init__(self, path: str, *, limit: int | None = None, unique: str) -> None:
        self.path = path
        self.limit = limit
        self._place = place_of(path, unique)
        self._file: BinaryIO | None = None
        #: Whether there is something that is not in its place yet.
        self._pending = False
        self._digest = hashlib.sha256()
        self._size = 0

    # -- one answer --------------------------------------------------------------------------

    def begin(self) -> Output:
        """Begin with an empty file, in place of what a try before has left.

        :raises StorageError: where it cannot be written.
        """
        self._close()
        self._digest, self._size = hashlib.sha256(), 0
        self._pending = True
        self._file = self._do("opened", self._place.open)
        return self

    def write(self, data: bytes) -> None:
        """Write the next piece.

        :raises StorageError: where it cannot be written.
        """
        file = self._file
        if file is None:
            raise RuntimeError("begin() was not called")
        self._do("written", lambda: file.write(data))
        self._digest.update(data)
        self._size += len(data)

    # -- pages -------------------------------------------------------------------------------

    def continues(self, items: int) -> bool:
        """Go on with what an earlier try of this task has written, where that is there.

        :param items: lines that it must have; more are cut off.
        """
        try:
            file = self._place.reopen()
        except OSError:
            return False
        if file is None:
            return False
        digest, size = _first_lines(file, items)
        if digest is None:
            file.close()
            return False
        file.truncate(size)
        file.seek(size)
        self._file, self._digest, self._size, self._pending = file, digest, size, True
        return True

    def write_items(self, items: Iterable[Any]) -> None:
        """Write each item as a line of JSON, so that a process that dies has lost none of them.

        :raises StorageError: where they cannot be written.
        """
        if self._file is None:
            self.begin()
        for item in items:
            self.write(_line(item))
        if (file := self._file) is not None and self._place.resumable:
            self._do("written", file.flush)

    # -- the end -----------------------------------------------------------------------------

    def commit(self, content_type: str | None = None, **counts: int) -> dict[str, Any]:
        """Give it its name, and return what refers to it.

        :param content_type: None for lines of JSON.
        :raises StorageError: where that cannot be done.
        """
        if self._file is None:
            self.begin()
        self._do("written", self._close)
        self._do("moved into place", self._place.commit)
        self._pending = False
        return {
            "path": self.path,
            "size": self._size,
            "sha256": self._digest.hexdigest(),
            "content_type": _JSONL_TYPE if content_type is None else content_type,
            **counts,
        }

    def discard(self) -> None:
        """Remove what has been written; nothing of it is in place."""
        if not self._pending:
            return
        self._pending = False
        try:
            self._close()
            self._place.remove()
        except Exception as error:  # noqa: BLE001 - a storage raises anything, and something else failed before
            log.warning("What was written for %s could not be removed: %r", self.path, error)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _do(self, what: str, action: Callable[[], _Result]) -> _Result:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - a storage raises anything
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StorageError(
                f"output_path: {self.path} could not be {what}: {why or type(error).__name__}.",
                path=self.path,
            ) from None


def _first_lines(file: BinaryIO, count: int) -> tuple[Any, int]:
    """The digest and length of the first lines; None where there are fewer."""
    digest, size, found = hashlib.sha256(), 0, 0
    while found < count:
        block = file.read(_BLOCK)
        if not block:
            return None, 0
        lines = block.count(b"\n")
        if found + lines >= count:
            end = -1
            for _ in range(count - found):
                end = block.index(b"\n", end + 1)
            block, lines = block[: end + 1], count - found
        found += lines
        digest.update(block)
        size += len(block)
    return digest, size


def _line(item: Any) -> bytes:
    text = json_text(item, default=str)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
        return _HALF_PAIR.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode() + b"\n"


def output_of(path: Any, call: Call, context: Context) -> Output:
    """Where a task instance stores its result.

    :raises ParameterError: where the path cannot be one of a file.
    """
    ti: Any = context["ti"]
    parts = "\n".join(str(part) for part in (ti.dag_id, ti.task_id, ti.run_id, ti.map_index))
    unique = hashlib.sha256(parts.encode()).hexdigest()[:12]
    return Output(str(path), limit=call.max_response_bytes, unique=unique)


def refuse_binary(run: CallRun, value: Any) -> None:
    """Refuse a result that is neither JSON nor text: XCom holds JSON, and the bytes would be lost in it.

    :raises AnswerError: naming the remedies.
    """
    answer, call = run.operation.answer, run.call
    cut = call.response_path is not None or call.job.result_path is not None
    if answer is None or cut or not isinstance(value, str) or not is_binary(answer):
        return
    kind = answer.media_type or "no media type"
    message = (
        f"{answer.url} answered with {answer.size} bytes that are neither JSON nor text ({kind}), which XCom "
        "cannot hold: store the answer with output_path, or read it with response_filter."
    )
    raise run.redacted(AnswerError(message, url=answer.url, status_code=answer.status, retryable=False))


def within_xcom(value: Any, limit: int | None) -> Any:
    """The return value, which XCom is to hold.

    :param limit: bytes of its JSON; None for any number.
    :raises ResultTooLargeError: naming the remedies.
    """
    value = for_xcom(value)
    if limit is None:
        return value
    try:
        size = len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError):
        return value  # no JSON: what XCom makes of it is not known here
    if size <= limit:
        return value
    raise ResultTooLargeError(
        f"The result has {size} bytes, and XCom is to hold {limit} (max_xcom_bytes) at most. Take less of it "
        "(response_path, job.result_path, pagination.max_items), store it with output_path, or raise "
        "max_xcom_bytes.",
        limit="max_xcom_bytes",
        size=size,
    )
