"""What an author may give to an ``ApiCallOperator``, checked while the DAG file is parsed.

A mapped task is checked too: before it is expanded, with what is known of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_apitask.callables import check_callable, check_hooks
from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path, compile_path
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.status_codes import code_in, parse_codes
from airflow_provider_apitask.operators.idempotency import check_idempotency
from airflow_provider_apitask.operators.placing import is_known_later, place_of

__all__ = [
    "MODES",
    "callback_as_template",
    "check_parameters",
    "compiled",
    "csrf_endpoint_of",
    "mode_of",
    "pages_as_template",
    "rejected_of",
    "request_of",
    "rules_as_template",
]

#: The values of ``core.call.Mode``, which parsing a DAG file need not import.
MODES = ("sync", "async")
#: The values of ``core.call.Handling``.
HANDLINGS = ("store", "validate", "ignore")
#: As in ``core.callback_spec``, which parsing a DAG file need not import.
_PLACEHOLDER = "{callback_url}"

#: Parameters of the operator, and what they are called in a request.
_REQUEST = {
    "method": "method",
    "endpoint": "endpoint",
    "query_params": "params",
    "headers": "headers",
    "body": "body",
    "body_format": "body_format",
    "timeout": "timeout",
}


def check_parameters(given: Mapping[str, Any], later: Collection[str] = ()) -> None:
    """Check parameters by themselves and against each other.

    :param given: values by name; what is left out has its default.
    :param later: names of those that are not known yet, being mapped.
    :raises ParameterError: naming the parameter and what is allowed.
    """
    checks.conn_id(given.get("api_conn_id", "api_default"))
    if given.get("endpoint") is None and "endpoint" not in later:
        raise ParameterError(
            "endpoint is missing: the path to call, such as '/jobs'; '' calls the base URL itself.",
            parameter="endpoint",
        )
    for name in ("body_format", "response_handling"):
        if checks.is_open(given.get(name)):
            raise ParameterError(f"{name} cannot be a template: {checks.shown(given[name])}.", parameter=name)
    request_of(given)
    _check_csrf(given)
    check_idempotency(given, later)
    for name in ("wait_for_completion", "deferrable", "require_csrf_token", "log_response"):
        if not isinstance(given.get(name) or False, bool):
            raise ParameterError(
                f"{name} must be True or False, not {checks.shown(given[name])}.", parameter=name
            )
    checks.number(given.get("retry_count"), "retry_count", whole=True)
    checks.number(given.get("retry_wait"), "retry_wait")
    checks.number(given.get("retry_factor"), "retry_factor", minimum=1)
    parse_codes(given.get("retry_codes"), "retry_codes")
    rejected_of(given)
    check_hooks(given.get("operation_log"))
    checks.number(given.get("max_response_bytes"), "max_response_bytes", minimum=1, whole=True)
    checks.number(given.get("max_xcom_bytes"), "max_xcom_bytes", minimum=1, whole=True)
    AsyncJob.as_template(given.get("job"))
    pages_as_template(given.get("pagination"))
    _check_output(given, later)
    _check_handling(given)
    response_path = given.get("response_path")
    if response_path is not None and not checks.is_open(response_path):
        check_path(response_path, "response_path")
    if not {"mode", "job"} & set(later):
        mode = mode_of(given.get("mode"), given.get("job"), given.get("callback"))
        _check_mode(mode, given.get("job"), response_path)
        _check_callback(given, later, mode)


def mode_of(mode: Any, job: Any, callback: Any = None) -> str:
    """The mode, which is async by default where a job is described, or the service calls back.

    :raises ParameterError: naming what is allowed.
    """
    if mode is None:
        return "async" if job is not None or callback not in (None, False) else "sync"
    text = mode.lower() if isinstance(mode, str) else mode
    if text not in MODES:
        raise ParameterError(
            f"mode must be one of {', '.join(MODES)}, not {checks.shown(mode)}.", parameter="mode"
        )
    return str(text)


def compiled(path: str, parameter: str) -> None:
    """Compile a path, so that a wrong one fails before anything is sent.

    :raises ParameterError: naming the parameter.
    """
    try:
        compile_path(path)
    except ParameterError as error:
        raise ParameterError(f"{parameter}: {error.message}", parameter=parameter) from None


def request_of(given: Mapping[str, Any]) -> RequestSpec:
    """The request, its values normalised.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    parts = {part: given[name] for name, part in _REQUEST.items() if name in given}
    return RequestSpec(**{"method": "POST", **parts}).checked()


def rejected_of(given: Mapping[str, Any]) -> Any:
    """Return ``rejected_status_codes`` as a list, None if the author gave none.

    :raises ParameterError: naming what is allowed.
    """
    codes = parse_codes(given.get("rejected_status_codes"), "rejected_status_codes")
    if codes is not None and any(code_in(status, codes) for status in range(100, 400)):
        raise ParameterError(
            "rejected_status_codes takes codes from 400 on: others are never read as errors of the request.",
            parameter="rejected_status_codes",
        )
    return codes


def csrf_endpoint_of(given: Mapping[str, Any]) -> str | None:
    """Where a CSRF token is fetched: empty for the request's own URL, None where none is required."""
    return (given.get("csrf_token_endpoint") or "") if given.get("require_csrf_token") else None


def rules_as_template(value: Any) -> Any:
    """``response_validation`` as the plain dict that Jinja can render, checked; None as None.

    :raises ParameterError: naming the field and what is allowed.
    """
    if value is None:
        return None  # as of most calls: reading rules imports much
    from airflow_provider_apitask.core.validation import ResponseValidation

    return ResponseValidation.as_template(value)


def callback_as_template(value: Any) -> Any:
    """The same for ``callback``."""
    if value is None or value is False:
        return None
    from airflow_provider_apitask.core.callback_spec import Callback

    return Callback.as_template(value)


def _check_callback(given: Mapping[str, Any], later: Collection[str], mode: str) -> None:
    """Refuse a callback whose URL is nowhere, and a place for a URL that there is not."""
    place = place_of(_PLACEHOLDER, given)
    if "callback" in later:
        return
    if given.get("callback") in (None, False):
        if place is not None:
            raise ParameterError(
                f"{place} has {_PLACEHOLDER} in it: give callback=True, so that there is such a URL.",
                parameter="callback",
            )
        return
    callback_as_template(given["callback"])
    if mode == "sync":
        raise ParameterError(
            "callback is for mode='async'; leave mode out, or callback.", parameter="callback"
        )
    if given.get("wait_for_completion", True) is False:
        raise ParameterError(
            "callback needs wait_for_completion=True: without it nobody waits for the callback.",
            parameter="callback",
        )
    if place is None and not is_known_later(given, later):
        raise ParameterError(
            f"callback is given, and {_PLACEHOLDER} is nowhere in the request: put it where the service "
            "takes the URL to call, such as body={'callbackURL': '" + _PLACEHOLDER + "'}.",
            parameter="callback",
        )


def pages_as_template(value: Any) -> Any:
    """The same for ``pagination``.

    :raises ParameterError: naming the field and what is allowed.
    """
    if value is None:
        return None
    from airflow_provider_apitask.core.pagination import Pagination

    return Pagination.as_template(value)


def _check_csrf(given: Mapping[str, Any]) -> None:
    endpoint = given.get("csrf_token_endpoint")
    if endpoint is None:
        return
    if not checks.is_open(endpoint) and not isinstance(endpoint, str):
        raise ParameterError(
            f"csrf_token_endpoint must be text, not {type(endpoint).__name__}.",
            parameter="csrf_token_endpoint",
        )
    if not given.get("require_csrf_token"):
        raise ParameterError(
            "csrf_token_endpoint needs require_csrf_token=True.", parameter="csrf_token_endpoint"
        )


def _check_output(given: Mapping[str, Any], later: Collection[str]) -> None:
    """Refuse what cannot be done to a result that comes in pages, or is not kept in memory."""
    path, form = given.get("output_path"), given.get("output_format")
    paged = given.get("pagination") is not None or "pagination" in later
    stored = path is not None or "output_path" in later
    if path is not None and not checks.is_open(path) and (not isinstance(path, str) or not path.strip()):
        raise ParameterError(
            f"output_path must be a path or URL of a file, not {checks.shown(path)}.", parameter="output_path"
        )
    if form is not None:
        checks.choice(form, "output_format", ("raw", "jsonl"))
        if not stored:
            raise ParameterError("output_format needs output_path.", parameter="output_format")
        if "pagination" not in later and (form == "jsonl") != paged:
            why = "pages are stored as jsonl, an item in a line" if paged else "jsonl is for pagination"
            raise ParameterError(f"output_format={form!r} does not fit: {why}.", parameter="output_format")
    job = given.get("job")
    result_path = job.get("result_path") if isinstance(job, Mapping) else getattr(job, "result_path", None)
    cuts = {"response_path": given.get("response_path"), "job.result_path": result_path}
    for name in (name for name, value in cuts.items() if value is not None):
        if given.get("pagination") is not None:
            raise ParameterError(
                f"{name} and pagination cannot both be given: pagination.items says what a page contributes.",
                parameter=name,
            )
        if path is not None:
            raise ParameterError(
                f"{name} and output_path cannot both be given: the answer is stored as it comes, without "
                "being read.",
                parameter=name,
            )
    _check_handling_of_output(given, paged=given.get("pagination") is not None, stored=path is not None)
    if path is None or given.get("wait_for_completion", True) is not False:
        return
    raise ParameterError(
        "output_path needs wait_for_completion=True: without it the task ends before there is a result.",
        parameter="output_path",
    )


def _check_handling_of_output(given: Mapping[str, Any], *, paged: bool, stored: bool) -> None:
    """Refuse to check an answer that is not there as one: it is many, or went to the storage unread."""
    name = "pagination" if paged else "output_path"
    if not paged and not stored:
        return
    handling = given.get("response_handling") or "store"
    if str(handling).lower() == "ignore" or (stored and str(handling).lower() == "validate"):
        raise ParameterError(
            f"response_handling={handling!r} and {name} cannot both be given.", parameter="response_handling"
        )
    why = "sees one answer, and there are many" if paged else "needs the answer, which is stored unread"
    for function in ("response_check", "response_filter"):
        if given.get(function) is not None:
            raise ParameterError(f"{function} and {name} cannot both be given: it {why}.", parameter=function)
    rules = rules_as_template(given.get("response_validation"))
    if not paged and isinstance(rules, Mapping) and set(rules) - {"expected_status_code"}:
        raise ParameterError(
            "response_validation can have no rule but expected_status_code with output_path: the answer is "
            "stored unread.",
            parameter="response_validation",
        )


def _check_handling(given: Mapping[str, Any]) -> None:
    handling = checks.choice(given.get("response_handling") or "store", "response_handling", HANDLINGS)
    rules = {
        "response_validation": given.get("response_validation"),
        "response_check": given.get("response_check"),
        "response_filter": given.get("response_filter"),
    }
    named = [name for name, rule in rules.items() if rule is not None]
    if handling == "ignore" and named:
        raise ParameterError(
            f"{named[0]} is given, and response_handling='ignore' looks at no answer.",
            parameter="response_handling",
        )
    if handling == "validate" and not {"response_validation", "response_check"} & set(named):
        raise ParameterError(
            "response_handling='validate' needs response_validation or response_check.",
            parameter="response_handling",
        )
    rules_as_template(rules["response_validation"])
    for name in ("response_check", "response_filter"):
        check_callable(rules[name], name)


def _check_mode(mode: str, job: Any, response_path: Any) -> None:
    if mode == "sync" and job is not None:
        raise ParameterError("job is for mode='async'; leave mode out, or job.", parameter="job")
    if mode == "async" and response_path is not None:
        raise ParameterError(
            "response_path is for mode='sync'; a job's result is cut by job.result_path.",
            parameter="response_path",
        )
