"""The record of one operation: what hooks are given, and what the operation log keeps.

A logical call (submit, its checks, its result, a cancel) has one ``operation_id``; each operation of it
has a record of its own. Everything in a record is redacted before the record is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

from airflow_provider_apitask.core.checks import shown
from airflow_provider_apitask.core.errors import ParameterError

__all__ = ["OPERATION_TYPE", "RECORD_VERSION", "OperationRecord", "OperationStatus", "Owner", "Subtype"]

RECORD_VERSION = 1
_MAX_TEXT_CHARS = 10_000
#: The year 10000, Unix time.
_END_OF_TIME = 253_402_300_800
#: ``operation_type`` of all records of this package.
OPERATION_TYPE = "api_call"


class Subtype(StrEnum):
    """What was done."""

    INVOKE = "invoke"
    RECONCILE = "reconcile"
    POLL = "poll"
    RESULT = "result"
    DOWNLOAD = "download"
    CANCEL = "cancel"
    LOGIN = "login"
    CALLBACK = "callback"


class OperationStatus(StrEnum):
    """How it ended."""

    #: It goes on; a record of the same id follows.
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    #: The process was ended in the middle.
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The task whose operation it is, and the connection it went through; None for what is not known."""

    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    map_index: int = -1
    try_number: int | None = None
    api_conn_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    """One operation. Times are Unix seconds, sizes bytes.

    :param record_id: of this record alone: a sink that gets it twice keeps it once.
    :param operation_id: the same for all operations of one logical call.
    :param subtype: what was done; of checks of a job there is one record for all of a process.
    :param status: how it ended.
    :param started_at: when the first request was sent.
    :param ended_at: when the last answer was there; None while it goes on.
    :param url: redacted, of the last request.
    :param http_status: code of the last answer, None where none came.
    :param job_id: of the remote job.
    :param job_status: its last status word.
    :param requests: requests made, redirects included.
    :param retries: of these, those that repeated one that had failed.
    :param bytes_sent: of bodies.
    :param bytes_received: of bodies, as they came over the wire.
    :param validation: ``passed`` or ``failed`` where rules were given, else None.
    :param error_kind: class of the error.
    :param error_message: redacted, bounded.
    """

    record_id: str
    operation_id: str
    subtype: Subtype
    status: OperationStatus
    started_at: float
    ended_at: float | None = None
    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    map_index: int = -1
    try_number: int | None = None
    api_conn_id: str | None = None
    method: str | None = None
    url: str | None = None
    http_status: int | None = None
    job_id: str | None = None
    job_status: str | None = None
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    validation: str | None = None
    error_kind: str | None = None
    error_message: str | None = None
    version: int = RECORD_VERSION

    @property
    def success(self) -> bool | None:
        """Whether it went well; None while it goes on."""
        return None if self.status is OperationStatus.RUNNING else self.status is OperationStatus.SUCCESS

    def owned_by(self, owner: Owner) -> Self:
        """The record with what it does not know of its owner: a trigger may not be told."""
        if self.task_id is not None:
            return self
        return replace(self, **{**asdict(owner), "api_conn_id": self.api_conn_id or owner.api_conn_id})

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Read a record.

        :raises ParameterError: for what is none, or one of another version.
        """
        version = record.get("version") if isinstance(record, Mapping) else None
        if not isinstance(record, Mapping) or version != RECORD_VERSION:
            raise ParameterError(
                f"This is no operation record of version {RECORD_VERSION}: {shown(version)}.",
                parameter="record",
            )
        names = {field.name for field in fields(cls)}
        given = {str(name): value for name, value in record.items() if name in names}
        for field in fields(cls):
            if field.name in given and not _fits(given[field.name], str(field.type)):
                raise ParameterError(f"The operation record has an invalid {field.name}.", parameter="record")
        given["subtype"] = Subtype(given["subtype"])
        given["status"] = OperationStatus(given["status"])
        return cls(**given)


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value is of the type of a field, and such that a database and a date can hold it."""
    kind, _, optional = annotation.partition(" | ")
    if value is None:
        return bool(optional)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 2**63
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME
    return isinstance(value, str) and len(value) <= _MAX_TEXT_CHARS
