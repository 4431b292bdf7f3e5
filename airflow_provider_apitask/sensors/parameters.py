"""What an author may give to an ``ApiStatusSensor``, checked while the DAG file is parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.urls import is_absolute

__all__ = ["check_target", "quoting_the_author", "status_request_of"]


def quoting_the_author(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor: its errors quote what was given, unless a mapped task is made while it runs."""

    @wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        # Airflow's constructor of each operator sets it before it calls this one.
        with checks.unquoted(getattr(self, "_BaseOperator__from_mapped", False)):
            init(self, *args, **kwargs)

    return checked


def status_request_of(handle: Any, job_id: Any, status_request: Any, job: Any) -> Any:
    """Return how the status is asked for, None if nothing says so.

    A job that is polled at the URL of the server's response (``LOCATION``, ``OGC_PROCESSES``) names no
    endpoint: then ``job_id`` is that URL or its path, or an id below ``/jobs``.

    :param job: the ``AsyncJob`` as a dict, a template, or None.
    :raises ParameterError: if both name an endpoint.
    """
    request = job.get("status_request") if isinstance(job, Mapping) else None
    if status_request is not None:
        if request is not None and not _lacks_endpoint(request):
            raise ParameterError(
                "status_request is given twice: leave it out, or job.status_request.",
                parameter="status_request",
            )
        own = {"endpoint": status_request} if isinstance(status_request, str) else status_request
        request = {**request, **own} if isinstance(request, Mapping) and isinstance(own, Mapping) else own
    if handle is None and job_id is not None and isinstance(job, Mapping) and _lacks_endpoint(request):
        is_url = is_absolute(str(job_id)) or str(job_id).startswith("/")
        request = {**(request or {}), "endpoint": "{job_id}" if is_url else "/jobs/{job_id}"}
    return request


def _lacks_endpoint(request: Any) -> bool:
    return request is None or (isinstance(request, Mapping) and request.get("endpoint") is None)


def check_target(handle: Any, job_id: Any, status_request: Any, job: Any) -> None:
    """Check that something says which job is waited for, and where its status is asked for.

    :param job: the ``AsyncJob`` as a dict, a template, or None.
    :raises ParameterError: naming the parameter that is missing or too many.
    """
    request = status_request_of(handle, job_id, status_request, job)
    spec = (
        RequestSpec()
        if request is None or checks.is_open(request)
        else RequestSpec.parse(request, "status_request")
    )
    if handle is None and _lacks_endpoint(request) and not checks.is_open(job):
        raise ParameterError(
            "handle is missing: give handle=start.output['api_job'] of the task that started the job, "
            "or status_request, and job_id if that asks for one.",
            parameter="handle",
        )
    if handle is not None or (job_id is not None and checks.is_open(job)):
        return
    known = set() if job_id is None else {"job_id", AsyncJob.parse(job).path_of_job_id}
    if unknown := sorted(set(spec.placeholders()) - known):
        missing = "job_id" if job_id is None and len(unknown) == 1 else "handle"
        names = ", ".join(f"{{{name}}}" for name in unknown)
        raise ParameterError(f"{missing} is missing: status_request asks for {names}.", parameter=missing)
