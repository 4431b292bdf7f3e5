"""What a task leaves of a job that it has started: its handle in XCom, and the answer to the submit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.bodies import decode_text, json_or_text
from airflow_provider_apitask.core.errors import AnswerError
from airflow_provider_apitask.core.handle import HANDLE_KEY, handle_of, read_handle
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.state import State

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.operation import Inbound

__all__ = ["handed_over", "leave_handle", "submit_value"]

log = logging.getLogger(__name__)


def leave_handle(context: Context, state: State, api_conn_id: str, *, needed: bool) -> None:
    """Leave the handle of the job in XCom.

    :param needed: whether the task ends with it; else what goes wrong is logged, as the job runs and must not
        be lost over what people read.
    """
    try:
        context["ti"].xcom_push(key=HANDLE_KEY, value=handle_of(state, api_conn_id))
    except Exception as error:
        if needed:
            raise
        log.warning("The job's handle could not be stored in XCom: %r", error)


def handed_over(context: Context) -> State | None:
    """The job as its handle in XCom knows it, None without one."""
    try:
        ti: Any = context["ti"]
        handle = ti.xcom_pull(task_ids=ti.task_id, key=HANDLE_KEY, map_indexes=ti.map_index)
        return None if handle is None else read_handle(handle)
    except Exception as error:  # noqa: BLE001 - the record in the state store will do
        log.warning("The job's handle could not be read from XCom: %r", error)
        return None


def submit_value(inbound: Inbound | None) -> Any:
    """What the answer to a submit stands for; one that is not what it says is text, as the job runs."""
    if not isinstance(inbound, Response):
        return None
    try:
        return json_or_text(inbound)
    except AnswerError:
        return decode_text(inbound)
