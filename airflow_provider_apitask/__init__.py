"""Call any REST API from Apache Airflow, as a task that knows how the call really ended.

The classes that a DAG needs can be imported from here; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_apitask.core.callback_spec import Callback
    from airflow_provider_apitask.core.job import AsyncJob
    from airflow_provider_apitask.core.pagination import Pagination
    from airflow_provider_apitask.core.validation import ResponseValidation
    from airflow_provider_apitask.hooks.api import ApiHook
    from airflow_provider_apitask.operators.api_call import ApiCallOperator
    from airflow_provider_apitask.retry_policy import ApiRetryPolicy
    from airflow_provider_apitask.sensors.api_status import ApiStatusSensor
    from airflow_provider_apitask.triggers.api_event import ApiEventTrigger
    from airflow_provider_apitask.triggers.api_status import ApiStatusTrigger

__all__ = [
    "ApiCallOperator",
    "ApiEventTrigger",
    "ApiHook",
    "ApiRetryPolicy",
    "ApiStatusSensor",
    "ApiStatusTrigger",
    "AsyncJob",
    "Callback",
    "Pagination",
    "ResponseValidation",
    "__version__",
]

__version__ = "0.1.0"

_PLACES = {
    "ApiCallOperator": "operators.api_call",
    "ApiEventTrigger": "triggers.api_event",
    "ApiHook": "hooks.api",
    "ApiRetryPolicy": "retry_policy",
    "ApiStatusSensor": "sensors.api_status",
    "ApiStatusTrigger": "triggers.api_status",
    "AsyncJob": "core.job",
    "Callback": "core.callback_spec",
    "Pagination": "core.pagination",
    "ResponseValidation": "core.validation",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
