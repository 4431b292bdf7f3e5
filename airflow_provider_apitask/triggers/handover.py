"""What passes between worker and trigger besides the trigger's own arguments.

The event of a trigger is logged whole, so it carries the state alone. An answer that holds the
result goes through XCom, and is asked for again where that is not to be had.
"""

from __future__ import annotations

import base64
import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_apitask.core.checks import shown
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError
from airflow_provider_apitask.core.messages import Headers, Response
from airflow_provider_apitask.core.redaction import Redactor, is_credential_name, is_secret_name
from airflow_provider_apitask.core.state import State
from airflow_provider_apitask.core.urls import wire_text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.job import AsyncJob

__all__ = [
    "ANSWER_KEY",
    "event_of",
    "for_airflow",
    "plain_json",
    "pull_answer",
    "push_answer",
    "refuse_stored_secrets",
    "state_of_event",
]

log = logging.getLogger(__name__)

#: XCom key of an answer on its way from trigger to worker.
ANSWER_KEY = "api_job_answer"
#: Longest body that goes this way, bytes; a longer one is fetched again by the worker.
_MAX_ANSWER = 1024 * 1024
_EVENT_VERSION = 1


def event_of(state: State) -> dict[str, Any]:
    """The payload of the trigger's event."""
    return {"version": _EVENT_VERSION, "state": state.to_dict()}


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


def refuse_stored_secrets(job: AsyncJob) -> None:
    """Refuse a job whose requests carry credentials that would be stored with the trigger.

    :raises ParameterError: naming the request and the field; its value stays out of the message.
    """
    requests = {"status_request": job.status_request, "result_request": job.result_request}
    for parameter, request in requests.items():
        for part in ("headers", "params"):
            fields = getattr(request, part, None)
            for name in fields if isinstance(fields, Mapping) else ():
                if is_credential_name(str(name)):
                    raise ParameterError(
                        f"job.{parameter}.{part}: {name} looks like a credential, and would be stored in "
                        "Airflow's database while the task is deferred. Put it into the connection, or set "
                        "deferrable=False.",
                        parameter=f"job.{parameter}.{part}",
                    )


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
        await _set_xcom(record, _xcom_key(task_instance))
    except Exception as error:  # noqa: BLE001 - the job has succeeded: this must not fail it
        log.warning("The job's answer could not be handed over, so it is asked for again: %r", error)
        return False
    return True


def pull_answer(context: Context) -> Response | None:
    """Take the answer that the trigger left, and remove it; None where there is none."""
    from airflow.providers.common.compat.sdk import XCom

    ti = context["ti"]
    try:
        record = ti.xcom_pull(task_ids=ti.task_id, key=ANSWER_KEY, map_indexes=ti.map_index)
        if record is None:
            return None
        XCom.delete(key=ANSWER_KEY, **_xcom_key(ti))
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


def _xcom_key(task_instance: Any) -> dict[str, Any]:
    names = ("dag_id", "task_id", "run_id", "map_index")
    return {name: getattr(task_instance, name) for name in names}


async def _set_xcom(record: dict[str, Any], key: dict[str, Any]) -> None:
    from airflow.providers.common.compat.sdk import XCom

    if hasattr(XCom, "aset"):  # Airflow 3.3
        await XCom.aset(ANSWER_KEY, record, **key)
    else:
        from asgiref.sync import sync_to_async

        # Not in any other kind of thread: the triggerer of 3.2 takes no messages from those.
        await sync_to_async(XCom.set, thread_sensitive=False)(ANSWER_KEY, record, **key)
