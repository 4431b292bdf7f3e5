"""A retry policy for Airflow 3.3: retries as the API asks, and not at all what cannot succeed.

::

    ApiCallOperator(task_id="start", retries=5, retry_policy=ApiRetryPolicy(), …)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError

try:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError("ApiRetryPolicy needs Airflow 3.3 or newer, which has retry policies.") from error

__all__ = ["ApiRetryPolicy"]


class ApiRetryPolicy(RetryPolicy):
    """Decides about the next try of a task by what the API said.

    An error with a ``Retry-After`` of the server is retried after that time, one that a new try cannot
    cure is not retried, any other is left to the task's own ``retries`` and ``retry_delay``. The number
    of tries is bounded by ``retries`` in each case.

    :param max_delay: longest wait that is taken from a server, seconds, one hour by default.
    :raises ParameterError: where that is no number above 0.
    """

    def __init__(self, max_delay: float = 3600.0) -> None:
        if max_delay is None or checks.is_open(max_delay):
            raise ParameterError(
                f"max_delay must be a number above 0, not {max_delay!r}.", parameter="max_delay"
            )
        self.max_delay = float(checks.number(max_delay, "max_delay", above=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiRetryPolicy) and self.max_delay == other.max_delay

    def __hash__(self) -> int:
        return hash((ApiRetryPolicy, self.max_delay))

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Decide about the next try after an exception."""
        if not isinstance(exception, ApiTaskError):
            return RetryDecision.default()
        if not exception.retryable:
            return RetryDecision.fail(reason=f"{type(exception).__name__}: a new try would not cure it")
        asked = exception.data.get("retry_after")
        if not isinstance(asked, (int, float)):
            return RetryDecision.default()
        wait = min(float(asked), self.max_delay)
        return RetryDecision.retry(
            delay=timedelta(seconds=wait), reason=f"the server asks to wait {wait:.0f} s"
        )

    def serialize(self) -> dict[str, Any]:
        """Return the policy as JSON."""
        return {"max_delay": self.max_delay}

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> ApiRetryPolicy:
        """Read a policy from :meth:`serialize`."""
        return cls(max_delay=data.get("max_delay", 3600.0))
