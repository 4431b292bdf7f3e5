"""The call that the rendered parameters of an ``ApiCallOperator`` make."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.call import Call, Handling, Mode
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.pagination import Pagination
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.status_codes import parse_codes
from airflow_provider_apitask.core.storable import refuse_stored_secrets
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.operators.idempotency import idempotency_of
from airflow_provider_apitask.operators.parameters import (
    callback_as_template,
    check_parameters,
    compiled,
    csrf_endpoint_of,
    rejected_of,
    request_of,
)

if TYPE_CHECKING:
    from airflow_provider_apitask.core.callback_spec import Callback

__all__ = ["build_call"]


def build_call(given: Mapping[str, Any], context: Any) -> Call:
    """Build the call, checked whole before anything is sent.

    :param given: the parameters by name, rendered.
    :param context: of the task.
    :raises ParameterError: naming the parameter and what is allowed.
    """
    check_parameters(given)
    if given["response_path"] is not None:
        compiled(given["response_path"], "response_path")
    job = AsyncJob.parse(given["job"]).compiled()
    callback, seed, url = _callback_of(given, context, job)
    if given["mode"] == "async" and given["deferrable"] and given["wait_for_completion"]:
        refuse_stored_secrets(job, csrf_endpoint_of(given))
    request = request_of(given)
    rules, pages = given["response_validation"], given["pagination"]
    return Call(
        request=request,
        mode=Mode(given["mode"]),
        job=job,
        retry=_retry_of(given),
        rejected_status_codes=tuple(rejected_of(given) or ()),
        response_path=given["response_path"],
        handling=Handling(given["response_handling"].lower()),
        validation=None if rules is None else ResponseValidation.parse(rules).compiled(),
        timeout=request.timeout,
        csrf_endpoint=csrf_endpoint_of(given),
        max_response_bytes=checks.number(given["max_response_bytes"], "max_response_bytes", whole=True),
        idempotency=idempotency_of(given, context),
        pagination=None if pages is None else Pagination.parse(pages).compiled(),
        stored=given["output_path"] is not None,
        callback=callback,
        callback_seed=seed,
        callback_url=url,
    )


def _callback_of(
    given: Mapping[str, Any], context: Any, job: AsyncJob
) -> tuple[Callback | None, str | None, Callable[[str], str] | None]:
    """How the service calls back, what ids are made from, and what makes a URL of an id.

    :raises ParameterError: where the configuration does not say what a URL needs.
    """
    given_callback = callback_as_template(given["callback"])
    if given_callback is None:
        return None, None, None
    from airflow_provider_apitask.core.callback_spec import Callback, seed_of
    from airflow_provider_apitask.hooks.callback_url import Claim, callback_url, token_of_url
    from airflow_provider_apitask.hooks.masking import mask_on_worker

    callback = Callback.parse(given_callback).compiled()
    ti = context["ti"]

    @cache
    def url_of(callback_id: str) -> str:
        map_index = ti.map_index if ti.map_index is not None else -1
        url = callback_url(Claim(ti.dag_id, ti.task_id, ti.run_id, map_index, callback_id))
        mask_on_worker(token_of_url(url))
        return url

    seed = seed_of(secrets.token_hex(16), time.time() + callback.lifetime(job.deadline))
    url_of(f"{seed}.0")  # what is missing in the configuration is told before anything is sent
    return callback, seed, url_of


def _retry_of(given: Mapping[str, Any]) -> RetryPolicy:
    codes = parse_codes(given["retry_codes"], "retry_codes")
    return RetryPolicy(
        count=checks.number(given["retry_count"], "retry_count", whole=True),
        delay=checks.number(given["retry_wait"], "retry_wait"),
        factor=checks.number(given["retry_factor"], "retry_factor", minimum=1),
        codes=None if codes is None else tuple(codes),
    )
