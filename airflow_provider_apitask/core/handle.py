"""The handle of a job: what one task leaves in XCom for people, links and an ``ApiStatusSensor``.

A public, versioned dict of JSON values, without a secret:

=================  =============================================================================
``version``        1
``api_conn_id``    id of the Airflow connection that the job was submitted with
``job_id``         what identifies the job to people, None where nothing does
``status``         the last status seen, as the server wrote it; None before the first
``phase``          where the call stood when the handle was written, see ``core.state.Phase``
``status_url``     monitor URL that the server gave, None where a ``status_request`` is configured
``result_url``     location of the result, where the server gave one
``link``           where people can look at the job, see ``AsyncJob.link_path``
``submitted_at``   when the server accepted the job, ISO 8601 in UTC
``deadline_at``    when the job counts as timed out, ISO 8601 in UTC; None for never
``polls``          status checks so far
``values``         parts of earlier answers that later requests need, by name or path
``operation_id``   of the call in the operation log, None where there is none
=================  =============================================================================

XCom has whole numbers of 64 bits and doubles. Another number is the text of its digits, and in
``values``, where requests need it as it was, ``{"$number": digits}``.

A value whose name sounds like a secret is left out of ``values``, and masked in the query of a URL:
XCom keeps what it is given as it is.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import OriginError, ParameterError
from airflow_provider_apitask.core.portable import as_carried, pack, unpack
from airflow_provider_apitask.core.redaction import MASK, Redactor, is_secret_name
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.storable import unsigned
from airflow_provider_apitask.core.urls import origin

__all__ = ["HANDLE_KEY", "HANDLE_VERSION", "handle_of", "parse_handle", "read_handle"]

HANDLE_VERSION = 1
#: The XCom key of the handle.
HANDLE_KEY = "api_job"


def handle_of(state: State, api_conn_id: str) -> dict[str, Any]:
    """Return the handle of a job."""
    return {
        "version": HANDLE_VERSION,
        "api_conn_id": api_conn_id,
        "job_id": as_carried(state.job_id)[0],
        "status": as_carried(state.status)[0],
        "phase": state.phase.value,
        "status_url": _shown_url(state.status_url),
        "result_url": _shown_url(state.result_url),
        "link": state.link,
        "submitted_at": _iso(state.submitted_at),
        "deadline_at": _iso(state.deadline_at),
        "polls": state.polls,
        "values": pack(
            {name: unsigned(value) for name, value in state.values.items() if not is_secret_name(name)}
        ),
        "operation_id": state.operation_id,
    }


def parse_handle(handle: Any) -> Mapping[str, Any]:
    """Return a handle as a dict, also from its text as JSON or as Jinja renders a dict.

    :raises ParameterError: where it is no handle, or one of another version.
    """
    record = _parsed(handle) if isinstance(handle, str) else handle
    if not isinstance(record, Mapping) or not {"version", "job_id"} <= record.keys():
        raise ParameterError(
            f"handle must be what an ApiCallOperator left under the XCom key {HANDLE_KEY!r}, such as "
            f"start.output[{HANDLE_KEY!r}], not {checks.shown(handle)}.",
            parameter="handle",
        )
    if record["version"] != HANDLE_VERSION:
        raise ParameterError(
            f"handle is of version {checks.shown(record['version'])}, and this package reads version "
            f"{HANDLE_VERSION}.",
            parameter="handle",
        )
    return record


def read_handle(handle: Any) -> State:
    """Read the handle of a job that is to be waited for.

    :param handle: a dict, or its text as JSON or as Jinja renders a dict.
    :raises ParameterError: where it is no handle, naming the field that is wrong.
    """
    record = parse_handle(handle)
    values = record.get("values")
    if values is not None and not isinstance(values, Mapping):
        raise _field_error("values", values, "must be a dict")
    return State(
        phase=Phase.POLL,
        job_id=record["job_id"],
        values=dict(unpack(values or {})),
        status_url=_url(record, "status_url"),
        result_url=_url(record, "result_url"),
        status=record.get("status"),
        link=_link(record),
        submitted_at=_unix(record, "submitted_at"),
        deadline_at=_unix(record, "deadline_at"),
        operation_id=_operation_id(record),
    )


def _operation_id(record: Mapping[str, Any]) -> str | None:
    operation_id = record.get("operation_id")
    if operation_id is not None and not isinstance(operation_id, str):
        raise _field_error("operation_id", operation_id, "must be a text")
    return operation_id


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        # Jinja writes a dict as Python does.
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _shown_url(url: str | None) -> str | None:
    """The URL as it is, unless its query holds what looks like a credential."""
    if url is None:
        return None
    redacted = Redactor().url(url)
    return redacted if MASK in redacted and MASK not in url else url


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _url(record: Mapping[str, Any], name: str) -> str | None:
    url = record.get(name)
    if url is None:
        return None
    if not isinstance(url, str):
        raise _field_error(name, url, "must be a URL")
    if MASK in url:
        raise _field_error(
            name, url, "held a credential that was left out; say with status_request where to ask"
        )
    return url


def _link(record: Mapping[str, Any]) -> str | None:
    link = record.get("link")
    if link is not None:
        try:
            origin(link if isinstance(link, str) else "")
        except OriginError:
            raise _field_error("link", link, "must be an http(s) URL") from None
    return link


def _unix(record: Mapping[str, Any], name: str) -> float | None:
    text = record.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise _field_error(name, text, "must be an ISO 8601 time") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _field_error(name: str, value: Any, what: str) -> ParameterError:
    return ParameterError(f"handle: its field {name} ({checks.shown(value)}) {what}.", parameter="handle")
