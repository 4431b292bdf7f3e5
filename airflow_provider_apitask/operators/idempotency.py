"""The idempotency key as the author of an ``ApiCallOperator`` declares it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.idempotency import DEFAULT_HEADER, PLACEHOLDER
from airflow_provider_apitask.core.request_spec import RequestSpec, has_control
from airflow_provider_apitask.core.templating import mentions
from airflow_provider_apitask.operators.placing import is_known_later, place_of

if TYPE_CHECKING:
    from airflow_provider_apitask.core.idempotency import Idempotency

__all__ = ["check_idempotency", "idempotency_of"]

#: What an idempotency key can be derived for.
_SCOPES = ("task", "try")


def idempotency_of(given: Mapping[str, Any], context: Any) -> Idempotency | None:
    """Return what makes the key of a task instance, None if the author wants no key.

    :param context: of the task.
    """
    key = given.get("idempotency_key")
    if key is None:
        return None
    from airflow_provider_apitask.core.idempotency import Idempotency

    header = given.get("idempotency_header")
    if key not in _SCOPES:
        from airflow_provider_apitask.core.urls import wire_text

        return Idempotency(seed=wire_text(key), header=header, fixed=True)
    ti = context["ti"]
    # Airflow raises the number of tries when a user clears the task: that is another submit.
    parts = [ti.dag_id, ti.task_id, ti.run_id, ti.map_index, getattr(ti, "max_tries", 0)]
    if key == "try":
        parts.append(ti.try_number)
    seed = "\n".join(str(part) for part in parts)
    return Idempotency(seed=seed, header=header, per_try=key == "try")


def check_idempotency(given: Mapping[str, Any], later: Collection[str]) -> None:
    """Check key and header, and that the key is somewhere in the request.

    :param given: values by name; what is left out has its default.
    :param later: names of those that are not known yet, being mapped.
    :raises ParameterError: naming the parameter and the remedy.
    """
    key, header = given.get("idempotency_key"), given.get("idempotency_header", DEFAULT_HEADER)
    if key is not None and not checks.is_open(key):
        if not isinstance(key, str) or not key:
            raise ParameterError(
                "idempotency_key must be 'task', 'try' or a template.", parameter="idempotency_key"
            )
        if has_control(key):
            raise ParameterError(
                "idempotency_key has a line break or control character in it.", parameter="idempotency_key"
            )
    if header is not None:
        if not isinstance(header, str):
            raise ParameterError(
                f"idempotency_header must be the name of a header field, not {checks.shown(header)}.",
                parameter="idempotency_header",
            )
        RequestSpec(headers={header: ""}).checked()
    if not {"idempotency_key", "idempotency_header"} & set(later):
        _check_place(given, later, key, header)


def _check_place(given: Mapping[str, Any], later: Collection[str], key: Any, header: str | None) -> None:
    place, job = place_of(PLACEHOLDER, given), given.get("job")
    if key is None:
        extract = job.get("extract") if isinstance(job, Mapping) else None
        if place is None and mentions(job, PLACEHOLDER) and PLACEHOLDER[1:-1] not in (extract or ()):
            place = "job"
        if place is not None:
            raise ParameterError(
                f"{place} has {PLACEHOLDER} in it, but there is no key: give idempotency_key='task'.",
                parameter="idempotency_key",
            )
        return
    paged = given.get("pagination") is not None and given.get("mode") != "async" and job is None
    if place is not None and paged:
        # With the same key the server would send the first page again.
        raise ParameterError(
            f"{place} has {PLACEHOLDER} in it, and pagination would send it with each page: leave it to "
            "idempotency_header.",
            parameter="pagination",
        )
    # A key that the author made may be there as it is, or say that the request may be repeated.
    if key in _SCOPES and header is None and place is None and not is_known_later(given, later):
        raise ParameterError(
            f"idempotency_header is None, and the key is nowhere in the request: put {PLACEHOLDER} where the "
            "server takes it, such as body={'request_id': '" + PLACEHOLDER + "'}.",
            parameter="idempotency_header",
        )
