"""What the function of ``@task.api_call`` has returned, kept for the tries after this one.

A function may return another request each time: an earlier try's job must be gone on with by the
parameters it was started with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.operators.journal import Journal
from airflow_provider_apitask.operators.query_params import renamed

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["Built"]

#: Key in Airflow's task state store, beside the record of the job; of an XCom before Airflow 3.3.
_KEY = "api_job_request"


class Built:
    """The parameters that a function has returned, of this task instance."""

    def __init__(self, context: Context) -> None:
        self._ti: Any = context["ti"]
        self._store: Any = context.get("task_state_store")
        self._journal = Journal(context)

    @staticmethod
    def checked(returned: Mapping[str, Any], operator: type[Any]) -> dict[str, Any]:
        """What a function returned, with names that the operator has.

        :raises ParameterError: naming what it has not.
        """
        names = {
            name
            for name, parameter in signature(operator.__init__).parameters.items()
            if parameter.kind is Parameter.KEYWORD_ONLY
        }
        given = renamed(returned)
        checks.known_keys(given, "what the function of @task.api_call returned", names | {"params"})
        if "job" in given:
            given["job"] = AsyncJob.as_template(given["job"])
        if "response_validation" in given:
            given["response_validation"] = ResponseValidation.as_template(given["response_validation"])
        return given

    def of_earlier_try(self, idempotency_key: Any) -> dict[str, Any] | None:
        """What the function returned in a try whose submit may have been taken, None for nothing such.

        :param idempotency_key: with one, what is sent again must be the same.
        """
        record = self._journal.read() if self._store is not None else None
        if record is None or record.generation != self._journal.generation or record.cleared:
            return None
        state = record.state
        under_way = state.intent_at is not None or state.submitted_at is not None
        if not under_way and idempotency_key is None:
            return None
        return self._parameters(self._store.get(_KEY))

    def of_this_try(self) -> dict[str, Any]:
        """What the function returned before the task was deferred.

        :raises ParameterError: where that is gone.
        """
        kept = self._store.get(_KEY) if self._store is not None else None
        if kept is None:
            kept = self._ti.xcom_pull(task_ids=self._ti.task_id, key=_KEY, map_indexes=self._ti.map_index)
        if (parameters := self._parameters(kept)) is None:
            raise ParameterError(
                "What the function of @task.api_call returned before the task was deferred is gone; the job "
                "itself may still be running on the server.",
                parameter="python_callable",
            )
        return parameters

    def _parameters(self, kept: Any) -> dict[str, Any] | None:
        if not isinstance(kept, Mapping) or kept.get("generation") != self._journal.generation:
            return None
        parameters = kept.get("parameters")
        return dict(parameters) if isinstance(parameters, Mapping) else None

    def keep(self, parameters: Mapping[str, Any]) -> None:
        """Keep what the function returned, before anything is sent.

        :raises ParameterError: where it holds a credential in plain, or what is no JSON.
        """
        job = parameters.get("job")
        requests = job.values() if isinstance(job, Mapping) else ()
        given = [_request({**parameters, "params": parameters.get("query_params")})]
        given += [_request(request) for request in requests if isinstance(request, Mapping)]
        if any(not checks.is_open(text) for request in given for _, text in request.credentials()):
            raise ParameterError(
                "The function of @task.api_call returned a credential, and what it returns is stored while "
                "its job is waited for. Put the credential into the connection, or return a template for it "
                "such as '{{ var.value.token }}'.",
                parameter="headers",
            )
        try:
            json.dumps(dict(parameters))
        except (TypeError, ValueError):
            raise ParameterError(
                "What the function of @task.api_call returns is stored while its job is waited for, and has "
                "to be JSON: texts, numbers, lists, dicts. Functions such as response_check belong into the "
                "decorator.",
                parameter="python_callable",
            ) from None
        kept = {"generation": self._journal.generation, "parameters": dict(parameters)}
        if self._store is not None:
            self._store.set(_KEY, kept)
        else:
            self._ti.xcom_push(key=_KEY, value=kept)


def _request(given: Mapping[str, Any]) -> RequestSpec:
    fields: dict[str, Any] = {name: given.get(name) for name in ("endpoint", "params", "headers", "body")}
    return RequestSpec(**fields)
