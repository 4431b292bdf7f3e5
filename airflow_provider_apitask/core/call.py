"""A call as the state machine runs it: the request, the mode and the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airflow_provider_apitask.core.callback_spec import Callback
from airflow_provider_apitask.core.idempotency import Idempotency
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.messages import DEFAULT_MAX_BYTES, MAX_TRIGGERER_BYTES
from airflow_provider_apitask.core.pagination import Pagination
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.validation import ResponseValidation

__all__ = ["Call", "Handling", "Mode"]


class Mode(StrEnum):
    """What the answer to the submit means."""

    SYNC = "sync"
    ASYNC = "async"


class Handling(StrEnum):
    """What becomes of the answer that is the result."""

    STORE = "store"
    VALIDATE = "validate"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API call, its templates rendered.

    :param request: the submit; in async mode it starts the job.
    :param mode: sync, the answer is the result; async, the answer tells of a job.
    :param retry: in-task retries of the submit.
    :param rejected_status_codes: codes of the submission's response that mean "not accepted", besides those
        of most servers; see ``status_codes``.
    :param response_path: the part of a synchronous answer that is the result.
    :param handling: store, it is checked and handed on; validate, it is checked; ignore, neither.
    :param validation: what a good result is; None for a 2xx.
    :param timeout: seconds of one request, or (connect, read); None takes the connection's.
    :param csrf_endpoint: where a CSRF token is fetched for each unsafe request, empty for the URL of
        that request itself; None where none is needed.
    :param max_response_bytes: longest body that is read; None takes the default.
    :param for_triggerer: whether a triggerer runs it: responses are bounded more tightly there (rule 23).
    :param pagination: how the pages of the result follow each other; None where it is one answer.
    :param stored: whether the result goes to a storage, in place of memory.
    :param callback: how the service calls back; None where it does not.
    :param callback_seed: what the ids of callbacks are made from, see ``callback_spec.seed_of``; None in a
        process that does not submit.
    :param callback_url: makes the URL of a callback from its id; it is a secret.
    :param idempotency: makes the key by which the server knows the submit again; None for no key.
    """

    request: RequestSpec = field(default_factory=RequestSpec)
    mode: Mode = Mode.SYNC
    job: AsyncJob = field(default_factory=AsyncJob)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    rejected_status_codes: tuple[int | str, ...] = ()
    response_path: str | None = None
    handling: Handling = Handling.STORE
    validation: ResponseValidation | None = None
    timeout: Any = None
    csrf_endpoint: str | None = None
    max_response_bytes: int | None = None
    for_triggerer: bool = False
    idempotency: Idempotency | None = None
    pagination: Pagination | None = None
    stored: bool = False
    callback: Callback | None = None
    callback_seed: str | None = None
    callback_url: Callable[[str], str] | None = field(default=None, repr=False, compare=False)

    @property
    def max_bytes(self) -> int:
        """Longest body that is read in this process."""
        most = self.max_response_bytes or DEFAULT_MAX_BYTES
        return min(most, MAX_TRIGGERER_BYTES) if self.for_triggerer else most

    @property
    def returns_items(self) -> bool:
        """Whether the result is what all pages of it have."""
        return self.pagination is not None and self.handling is Handling.STORE

    def accepts(self, status: int) -> bool:
        """Whether an HTTP code is that of a good result."""
        if self.validation is None or self.handling is Handling.IGNORE:
            return 200 <= status < 300
        return self.validation.accepts(status)

    def secrets(self) -> Iterator[str]:
        """The credentials that the author put into the requests: a server may repeat them."""
        for request in (self.request, *self.job.requests()):
            if isinstance(request, RequestSpec):
                yield from request.secrets()
