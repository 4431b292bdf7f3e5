"""What an author may give to an ``ApiStatusSensor``, checked while the DAG file is parsed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.request_spec import RequestSpec

__all__ = ["check_target", "quoting_the_author"]


def quoting_the_author(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor: its errors quote what was given, unless a mapped task is made while it runs."""

    @wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        # Airflow's constructor of each operator sets it before it calls this one.
        with checks.rendered(getattr(self, "_BaseOperator__from_mapped", False)):
            init(self, *args, **kwargs)

    return checked


def check_target(handle: Any, job_id: Any, status_request: Any, job: Any) -> None:
    """Check that something says which job is waited for, and where its status is asked for.

    :param job: the ``AsyncJob`` as a dict, a template, or None.
    :raises ParameterError: naming the parameter that is missing or too many.
    """
    in_job = job.get("status_request") if isinstance(job, dict) else None
    if status_request is not None and in_job is not None:
        raise ParameterError(
            "status_request is given twice: leave it out, or job.status_request.", parameter="status_request"
        )
    request = in_job if status_request is None else status_request
    if handle is None and request is None and not checks.is_open(job):
        raise ParameterError(
            "handle is missing: give handle=start.output['api_job'] of the task that started the job, "
            "or status_request, and job_id where that asks for one.",
            parameter="handle",
        )
    if request is None or checks.is_open(request):
        return
    spec = RequestSpec.parse(request, "status_request")
    unknown = sorted(set(spec.placeholders()) - ({"job_id"} if job_id is not None else set()))
    if handle is None and unknown:
        missing = "job_id" if unknown == ["job_id"] else "handle"
        names = ", ".join(f"{{{name}}}" for name in unknown)
        raise ParameterError(f"{missing} is missing: status_request asks for {names}.", parameter=missing)
