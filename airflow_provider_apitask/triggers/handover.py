"""What passes between worker and trigger besides the trigger's own arguments.

The event of a trigger is logged whole, so it carries the state alone. An answer that holds the
result goes through XCom, and is asked for again where that is not to be had.
"""

from __future__ import annotations

import base64
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_apitask.core.checks import shown
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError
from airflow_provider_apitask.core.messages import Headers, Response
from airflow_provider_apitask.core.portable import as_carried
from airflow_provider_apitask.core.records import OperationRecord
from airflow_provider_apitask.core.redaction import Redactor, is_secret_name
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.urls import wire_text
from airflow_provider_apitask.links.remote_job import LINK_KEY
from airflow_provider_apitask.triggers.progress import PROGRESS_KEY
from airflow_provider_apitask.triggers.xcom import aset_xcom, xcom_key

if TYPE_CHECKING:
    from airflow.sdk import Context


__all__ = [
    "ANSWER_KEY",
    "event_of",
    "for_airflow",
    "for_xcom",
    "plain_json",
    "pull_answer",
    "push_answer",
    "push_link",
    "records_of_event",
    "state_of_event",
    "take_event",
    "woken_event",
]

log = logging.getLogger(__name__)

#: XCom key of an answer on its way from trigger to worker.
ANSWER_KEY = "api_job_answer"
#: Longest body that goes this way, bytes; a longer one is fetched again by the worker.
_MAX_ANSWER = 1024 * 1024
_EVENT_VERSION = 1
#: Longest list of records in an event.
_MOST_RECORDS = 50
#: What a warning quotes of a number, characters.
_LONGEST_NUMBER = 40


def event_of(state: State, left: bool = False, records: Sequence[OperationRecord] = ()) -> dict[str, Any]:
    """The payload of the trigger's event.

    :param left: whether something was kept for a restart, and has to be removed.
    :param records: what the trigger did, for the worker to give to the operation log.
    """
    event: dict[str, Any] = {"version": _EVENT_VERSION, "state": state.to_dict()}
    if records:
        # It is stored and logged whole: the newest are enough of a trigger that logs in for ever.
        event["records"] = [record.to_dict() for record in records[-_MOST_RECORDS:]]
    return {**event, "left": True} if left else event


def records_of_event(event: Any) -> list[OperationRecord]:
    """What the trigger did; what cannot be read of it is left out, as the job matters more."""
    records = event.get("records") if isinstance(event, Mapping) else None
    found = []
    for record in records if isinstance(records, list) else ():
        try:
            found.append(OperationRecord.from_dict(record))
        except (ApiTaskError, KeyError, TypeError, ValueError) as error:
            log.warning("A record of the trigger cannot be read, and is not logged: %s", error)
    return found


def woken_event(state: dict[str, Any], since: float | None) -> dict[str, Any]:
    """The payload of the event that ends a trigger from outside, as the service has called back.

    :param state: with which the trigger was made.
    :param since: Unix time at which the task was deferred.
    """
    return {"version": _EVENT_VERSION, "state": state, "left": True, "woken": since}


def take_event(context: Context, event: Any) -> tuple[State, Response | None]:
    """Take over from the trigger: where the call stands, and the answer that holds the result.

    :param event: the payload of the trigger's event.
    :raises ParameterError: where it is none, for example from another version of this package.
    """
    state = state_of_event(event)
    if event.get("woken") is not None:
        state = _progressed(context, state, event["woken"])
    if event.get("left"):
        _remove(context, PROGRESS_KEY)
    return state, pull_answer(context) if state.inline else None


def _progressed(context: Context, state: State, since: float) -> State:
    """The state of a trigger that was ended from outside: as it has kept it, else with which it was made."""
    ti: Any = context["ti"]
    try:
        record = ti.xcom_pull(task_ids=ti.task_id, key=PROGRESS_KEY, map_indexes=ti.map_index)
        if isinstance(record, Mapping) and record.get("since") == since:
            return State.from_dict(record["state"])
    except Exception as error:  # noqa: BLE001 - the job runs: it is gone on with all the same
        log.warning("What the trigger has kept of the job could not be read: %r", error)
    return state


def state_of_event(event: Any) -> State:
    """Read the payload of the trigger's event.

    :raises ParameterError: where it is none, for example from another version of this package.
    """
    version = event.get("version") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or version != _EVENT_VERSION:
        raise ParameterError(
            f"The trigger's event cannot be read: its version is {shown(version)}, and this package reads "
            f"version {_EVENT_VERSION}. The job itself may still be running on the server.",
            parameter="event",
        )
    return State.from_dict(event.get("state", {}))


def plain_json(value: Any) -> Any:
    """A value as JSON holds it: what Jinja rendered to native objects may be dates or tuples."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_json(item) for item in value]
    return wire_text(value)


def for_xcom(value: Any) -> Any:
    """A result as XCom can hold it; the log tells of numbers that are texts there."""
    try:
        carried, digits = as_carried(value)
    except (ValueError, RecursionError):
        return value  # XCom refuses it, and says why
    if digits is not None:
        log.warning(
            "XCom cannot hold every number of the result, such as %s: these are texts of their digits there. "
            "output_path keeps them as numbers, and a response_filter can make something else of them.",
            digits if len(digits) <= _LONGEST_NUMBER else f"{digits[:_LONGEST_NUMBER]}…",
        )
    return carried


async def push_answer(task_instance: Any, response: Response, redactor: Redactor) -> bool:
    """Leave an answer for the worker.

    :param task_instance: of the trigger; None under ``dag.test()``.
    :returns: whether it was left; where not, the worker asks again.
    """
    if task_instance is None or len(response.body) > _MAX_ANSWER:
        return False
    record = {
        "status": response.status,
        "url": redactor.url(response.url),
        "headers": [[name, value] for name, value in response.headers if not is_secret_name(name)],
        "body": base64.b64encode(response.body).decode(),
    }
    try:
        await aset_xcom(ANSWER_KEY, record, task_instance)
    except Exception as error:  # noqa: BLE001 - the job has succeeded: this must not fail it
        log.warning("The job's answer could not be handed over, so it is asked for again: %r", error)
        return False
    return True


async def push_link(task_instance: Any, link: str | None) -> None:
    """Show the link to a job that is waited for.

    :param task_instance: of the trigger; None under ``dag.test()``.
    """
    if task_instance is None:
        return
    try:
        await aset_xcom(LINK_KEY, link, task_instance)
    except Exception as error:  # noqa: BLE001 - the worker shows it when the job is done
        log.warning("The link to the job could not be stored in XCom: %r", error)


def pull_answer(context: Context) -> Response | None:
    """Take the answer that the trigger left, and remove it; None where there is none."""
    from airflow.providers.common.compat.sdk import XCom

    ti = context["ti"]
    try:
        record = ti.xcom_pull(task_ids=ti.task_id, key=ANSWER_KEY, map_indexes=ti.map_index)
        if record is None:
            return None
        XCom.delete(key=ANSWER_KEY, **xcom_key(ti))
        headers = Headers([(str(name), str(value)) for name, value in record["headers"]])
        body = base64.b64decode(record["body"])
        return Response(int(record["status"]), str(record["url"]), headers, body)
    except Exception as error:  # noqa: BLE001 - the job has succeeded: this must not fail it
        log.warning("The job's answer could not be taken over, so it is asked for again: %r", error)
        return None


def for_airflow(error: ApiTaskError) -> Exception:
    """The error as Airflow has to see it: one that a retry cannot cure or makes worse is final.

    It stays an instance of its own class, and is an ``AirflowFailException`` besides.
    """
    if error.retryable:
        return error
    cls: Any = type(error)
    raised: Exception = _final(cls)(error.message, **error.data)
    return raised


@functools.cache
def _final(cls: Any) -> Any:
    if issubclass(cls, AirflowFailException):
        return cls
    return type(
        cls.__name__, (cls, AirflowFailException), {"__module__": cls.__module__, "__doc__": cls.__doc__}
    )


def _remove(context: Context, key: str) -> None:
    from airflow.providers.common.compat.sdk import XCom

    try:
        XCom.delete(key=key, **xcom_key(context["ti"]))
    except Exception as error:  # noqa: BLE001 - it is in nobody's way
        log.warning("The XCom %r could not be removed: %r", key, error)
